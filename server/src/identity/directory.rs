//! Everybody who is known, as admins see them: who vouches for them, what keeps them out, how many keys they have.

use std::sync::Arc;

use crate::config::{self, Domain, UserKey};
use crate::domain::ids::UserId;
use crate::domain::ports::Clock;
use crate::domain::user::User;
use crate::store::suspensions::Suspension;
use crate::store::{Store, StoreError};

use super::people::{People, Rows, rules, with_rows};

/// Somebody who is known.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The person.
    pub user: Arc<User>,
    /// The alias of the provider that vouches for them; `local` is the configuration file.
    pub provider: String,
    /// The keys that the configuration file gives them.
    pub listed_keys: Vec<UserKey>,
    /// How many keys they have added that count or will lapse later.
    pub added_keys: usize,
    /// Who keeps them out, if an admin does. The file may do it as well.
    pub suspension: Option<Suspension>,
}

impl Entry {
    /// `PROVIDER/NAME`: what tells namesakes of two providers apart.
    #[must_use]
    pub fn written(&self) -> String {
        format!("{}/{}", self.provider, self.user.name)
    }
}

/// Why a text names no single person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NobodyFound {
    /// There is nobody of that name.
    #[error("nobody is called {0:?}")]
    Nobody(String),
    /// There are several; each as they must be written.
    #[error("{text:?} is the name of several people: write {}", .choices.join(" or "))]
    Several {
        /// What was asked for.
        text: String,
        /// How to write each.
        choices: Vec<String>,
    },
}

/// Everybody, by name.
#[derive(Debug, Default)]
pub struct Directory {
    entries: Vec<Entry>,
}

impl Directory {
    pub(super) fn of(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_cached_key(|entry| (entry.user.name.clone(), entry.provider.clone(), entry.user.id));
        Self { entries }
    }

    /// Reads everybody as a server with this configuration would, for commands beside it.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn read(
        store: &Store,
        people: &config::People,
        domains: &[Domain],
        clock: &dyn Clock,
    ) -> Result<Self, StoreError> {
        let listed = with_rows(store, people, clock).await?;
        let rows = Rows::read(store, clock.now()).await?;
        let people = People::of(&listed, (&people.roles, &rules(domains)), &rows);
        Ok(Self { entries: people.directory().entries.clone() })
    }

    /// Everybody, by name.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The person with this row.
    #[must_use]
    pub fn entry(&self, id: UserId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.user.id == id)
    }

    /// Those whose name, provider or groups hold a text, in any case of letters; everybody for an empty one.
    pub fn like<'a>(&'a self, text: &str) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let wanted = text.trim().to_lowercase();
        self.entries.iter().filter(move |entry| {
            let groups = entry.user.groups.iter().map(|group| group.as_str());
            let mut words = groups.chain([entry.user.name.as_str(), &entry.provider]);
            words.any(|word| word.to_lowercase().contains(&wanted))
        })
    }

    /// The one person whom a text names: `PROVIDER/NAME`, the id of their row, or their name alone where nobody else
    /// has it.
    ///
    /// # Errors
    /// When there is nobody, or several.
    pub fn find(&self, text: &str) -> Result<&Entry, NobodyFound> {
        let text = text.trim();
        if let Some(entry) = text.parse().ok().and_then(|id| self.entry(id)) {
            return Ok(entry);
        }
        let mut found = self.named(|entry| entry.written() == text);
        if found.is_empty() {
            found = self.named(|entry| entry.user.name.as_str() == text);
        }
        match found.as_slice() {
            [entry] => Ok(entry),
            [] => Err(NobodyFound::Nobody(text.chars().filter(|c| !c.is_control()).take(80).collect())),
            several => Err(NobodyFound::Several {
                text: text.to_owned(),
                choices: several.iter().map(|entry| self.choice(entry)).collect(),
            }),
        }
    }

    fn named(&self, is_meant: impl Fn(&Entry) -> bool) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| is_meant(entry)).collect()
    }

    /// The shortest text that finds this person and nobody else.
    fn choice(&self, entry: &Entry) -> String {
        let written = entry.written();
        if self.named(|other| other.written() == written).len() == 1 {
            written
        } else {
            entry.user.id.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::user;

    fn entry(provider: &str, name: &str) -> Entry {
        Entry {
            user: Arc::new(user(name, &[])),
            provider: provider.to_owned(),
            listed_keys: Vec::new(),
            added_keys: 0,
            suspension: None,
        }
    }

    fn found<'a>(directory: &'a Directory, text: &str) -> Result<&'a str, NobodyFound> {
        directory.find(text).map(|entry| entry.provider.as_str())
    }

    #[test]
    fn namesakes_are_told_apart_by_their_providers() {
        let directory =
            Directory::of(vec![entry("okta", "anna"), entry("local", "anna"), entry("okta", "bo")]);
        assert_eq!(found(&directory, "bo"), Ok("okta"));
        assert_eq!(found(&directory, "local/anna"), Ok("local"));
        assert_eq!(found(&directory, "okta/anna"), Ok("okta"));
        let choices = vec!["local/anna".to_owned(), "okta/anna".to_owned()];
        let several = NobodyFound::Several { text: "anna".to_owned(), choices };
        assert_eq!(
            several.to_string(),
            "\"anna\" is the name of several people: write local/anna or okta/anna"
        );
        assert_eq!(found(&directory, "anna"), Err(several));
        assert_eq!(found(&directory, "okta/bo\n"), Ok("okta"));
        assert_eq!(found(&directory, "local/bo").unwrap_err(), NobodyFound::Nobody("local/bo".to_owned()));
    }

    #[test]
    fn namesakes_of_one_provider_are_told_apart_by_their_rows() {
        let directory = Directory::of(vec![entry("okta", "anna"), entry("okta", "anna")]);
        let Err(NobodyFound::Several { choices, .. }) = directory.find("okta/anna") else {
            panic!("two people match")
        };
        for (choice, entry) in choices.iter().zip(directory.entries()) {
            assert_eq!(directory.find(choice).unwrap().user.id, entry.user.id);
        }
    }
}
