//! From what a person wrote to the one space that they mean and may open.

use serde_json::json;

use super::Gateway;
use super::catalog::Trouble;
use super::errors::FindError;
use super::want::{Connection, printable};
use crate::domain::access::{AccessPolicy, Action, Decision, decide};
use crate::domain::audit::AuditEvent;
use crate::domain::ids::DomainAlias;
use crate::domain::names::{Target, Unresolved, resolve};
use crate::domain::space::Space;
use crate::domain::user::User;
use time::OffsetDateTime;

/// What looking in the catalogue brings.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Found(Space),
    Ambiguous(Vec<String>),
    /// Only spaces that the policy keeps from the person have the name: the first of them.
    Kept(Space),
    Unknown(Vec<String>),
}

impl Gateway {
    /// The one space that a target names for a person; a refusal is audited.
    ///
    /// # Errors
    /// When none or several match, or the policy says no, or nothing is known because AWS or Postgres is away.
    pub async fn find(
        &self,
        user: &User,
        connection: &Connection,
        target: &Target,
    ) -> Result<Space, FindError> {
        let catalog = &self.inner.catalog;
        let mut seen = self.look(user, target);
        if matches!(seen, Look::Unknown(_) | Look::Kept(_)) {
            catalog.look_again(domain_of(target)).await;
            seen = self.look(user, target);
        }
        let refused = |kind, detail| {
            AuditEvent::refused(Some((user.id, &user.name)), "", kind, detail)
                .within(None, Some(connection.id))
        };
        let asked = printable(&written(target));
        match seen {
            Look::Found(space) => Ok(space),
            Look::Kept(space) => Err(self.denied(user, connection, space).await),
            Look::Ambiguous(choices) => {
                let detail = json!({ "asked": asked, "choices": choices });
                self.inner.journal.audit(refused("space.ambiguous", detail)).await;
                Err(FindError::Ambiguous { choices })
            }
            Look::Unknown(near) => match catalog.trouble(domain_of(target)) {
                Some(Trouble::Aws(error)) => Err(FindError::CatalogueAway(error)),
                Some(Trouble::Record) => Err(FindError::RecordAway),
                None => {
                    self.inner.journal.audit(refused("space.unknown", json!({ "asked": asked }))).await;
                    Err(FindError::Unknown { near })
                }
            },
        }
    }

    /// The spaces that a person may open, by name.
    #[must_use]
    pub fn spaces(&self, user: &User) -> Vec<Space> {
        let (policy, now) = (self.inner.standing.policy(), self.inner.journal.now());
        let mut spaces = self.inner.catalog.spaces();
        spaces.retain(|space| may_open(&policy, user, space, now));
        spaces.sort_by(|a, b| (a.name(), &a.domain).cmp(&(b.name(), &b.domain)));
        spaces
    }

    /// When the catalogue's oldest listing was read; nothing before the first.
    #[must_use]
    pub fn spaces_read_at(&self) -> Option<OffsetDateTime> {
        self.inner.catalog.read_at()
    }

    fn look(&self, user: &User, target: &Target) -> Look {
        let policy = self.inner.standing.policy();
        look(&policy, user, self.inner.catalog.spaces(), target, self.inner.journal.now())
    }

    async fn denied(&self, user: &User, connection: &Connection, space: Space) -> FindError {
        let question = super::standing::Question {
            user,
            space: &space,
            action: Action::Open,
            session: None,
            connection: Some(connection.id),
        };
        match self.inner.standing.decide(question).await {
            Err((because, audit)) => FindError::Denied { space: space.name().clone(), because, audit },
            // The policy changed in this very moment: the next try finds it.
            Ok(_) => FindError::Unknown { near: vec![space.name().to_string()] },
        }
    }
}

fn may_open(policy: &AccessPolicy, user: &User, space: &Space, now: OffsetDateTime) -> bool {
    matches!(decide(policy, user, space, Action::Open, now), Decision::Allow(_))
}

/// Only what the person may open is a candidate, so a stranger's space never shadows one's own.
fn look(
    policy: &AccessPolicy,
    user: &User,
    spaces: Vec<Space>,
    target: &Target,
    now: OffsetDateTime,
) -> Look {
    let (own, others): (Vec<Space>, Vec<Space>) =
        spaces.into_iter().partition(|space| may_open(policy, user, space, now));
    match resolve(target, &own) {
        Ok(space) => Look::Found(space.clone()),
        Err(Unresolved::Ambiguous { choices }) => Look::Ambiguous(choices),
        Err(Unresolved::Unknown { near }) => {
            let kept = others.iter().find(|space| resolve(target, std::slice::from_ref(*space)).is_ok());
            kept.map_or(Look::Unknown(near), |space| Look::Kept(space.clone()))
        }
    }
}

const fn domain_of(target: &Target) -> Option<&DomainAlias> {
    match target {
        Target::Named { domain, .. } => domain.as_ref(),
        Target::CommandLine | Target::Arn(_) => None,
    }
}

fn written(target: &Target) -> String {
    match target {
        Target::CommandLine => crate::domain::names::COMMAND_LINE.to_owned(),
        Target::Named { space, domain: None } => space.to_string(),
        Target::Named { space, domain: Some(domain) } => format!("{space}.{domain}"),
        Target::Arn(arn) => arn.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::Denial;
    use crate::gateway::fakes::{named, space, user};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn seen(spaces: &[Space], asked: &str) -> Look {
        let alice = user("alice", "alice");
        look(&AccessPolicy::default(), &alice, spaces.to_vec(), &named::<Target>(asked), NOW)
    }

    #[test]
    fn a_strangers_space_never_shadows_ones_own() {
        let (own, strangers) = (space("lab", "Train", "alice"), space("prod", "train", "bo"));
        let spaces = [strangers.clone(), own.clone()];
        assert_eq!(seen(&spaces, "train"), Look::Found(own.clone()));
        assert_eq!(seen(&spaces, "train.prod"), Look::Kept(strangers.clone()));
        assert_eq!(seen(&spaces, &own.arn.to_string()), Look::Found(own));
        assert_eq!(seen(&spaces, &strangers.arn.to_string()), Look::Kept(strangers));
    }

    #[test]
    fn a_space_of_a_profile_of_the_same_name_elsewhere_is_a_strangers() {
        let (own, strangers) = (space("lab", "train", "alice"), space("west", "train", "alice"));
        let spaces = [strangers.clone(), own.clone()];
        assert_eq!(seen(&spaces, "train"), Look::Found(own));
        assert_eq!(seen(&spaces, "train.west"), Look::Kept(strangers));
    }

    #[test]
    fn near_names_are_ones_own_only() {
        let spaces = [space("lab", "fraud-gnn", "alice"), space("lab", "frud-gnm", "bo")];
        assert_eq!(seen(&spaces, "frud-gnn"), Look::Unknown(vec!["fraud-gnn".to_owned()]));
    }

    #[test]
    fn two_of_ones_own_are_both_listed() {
        let spaces = [space("lab", "train", "alice"), space("prod", "train", "alice")];
        let choices = vec!["train.lab".to_owned(), "train.prod".to_owned()];
        assert_eq!(seen(&spaces, "train"), Look::Ambiguous(choices));
    }

    #[test]
    fn a_denied_space_is_no_candidate() {
        let own = space("lab", "train", "alice");
        let space = Some(named("train"));
        let denial = Denial { user: named("alice"), domain: None, space, reason: String::new() };
        let policy = AccessPolicy { denials: vec![denial], ..Default::default() };
        let found = look(&policy, &user("alice", "alice"), vec![own.clone()], &named("train"), NOW);
        assert_eq!(found, Look::Kept(own));
    }
}
