//! What pages about spaces are told: that one of theirs has changed, so that they show themselves anew.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::{Query, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::feed::{Latest, Source};
use super::{News, Reader, stream_to, too_many};
use crate::domain::ids::SpaceId;
use crate::domain::user::{Role, User};
use crate::store::{Store, StoreError};
use crate::web::pages::Problem;
use crate::web::site::Site;
use crate::web::visit::Person;

/// A number for each space that changes with what its page says, read for all readers at once.
pub(in crate::web) struct SpaceVersions(pub(super) Store);

/// What was seen of all spaces.
pub(in crate::web) struct Seen {
    versions: HashMap<SpaceId, i64>,
    /// One number for all of them.
    all: u64,
}

#[async_trait]
impl Source for SpaceVersions {
    type Seen = Seen;
    const PAUSE: Duration = Duration::from_millis(500);

    async fn look(&self) -> Result<Seen, StoreError> {
        let versions = self.0.space_versions().await?;
        let all = digest(&versions, versions.keys().copied());
        Ok(Seen { versions, all })
    }
}

/// One number for some spaces, whatever their order.
fn digest(versions: &HashMap<SpaceId, i64>, spaces: impl Iterator<Item = SpaceId>) -> u64 {
    let one = |space: SpaceId| {
        let mut hasher = DefaultHasher::new();
        (space, versions.get(&space)).hash(&mut hasher);
        hasher.finish()
    };
    spaces.map(one).fold(0, u64::wrapping_add)
}

/// Which spaces a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) enum Of {
    /// Those that its reader may open.
    Mine,
    /// All.
    Everybody,
    /// One.
    Space(SpaceId),
}

impl Of {
    fn read(text: &str) -> Option<Self> {
        match text {
            "mine" => Some(Self::Mine),
            "everybody" => Some(Self::Everybody),
            id => id.parse().ok().map(Self::Space),
        }
    }

    fn written(self) -> String {
        match self {
            Self::Mine => "mine".to_owned(),
            Self::Everybody => "everybody".to_owned(),
            Self::Space(id) => id.to_string(),
        }
    }

    fn spaces(self, site: &Site, user: &User) -> Vec<SpaceId> {
        let ids = |spaces: Vec<crate::domain::space::Space>| spaces.iter().map(|space| space.id).collect();
        match self {
            Self::Mine => ids(site.gateway.spaces(user)),
            Self::Everybody => ids(site.gateway.every_space()),
            Self::Space(id) => vec![id],
        }
    }
}

/// Where a page that is made now is told of changes since then. Ask before its contents are read, so that none is missed.
pub(in crate::web) async fn address(site: &Site, user: &User, of: Of) -> Result<String, Problem> {
    let versions = site.store.space_versions().await?;
    let seen = digest(&versions, of.spaces(site, user).into_iter());
    Ok(format!("/live/spaces?of={}&seen={seen}", of.written()))
}

/// What a page says of itself.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct Asked {
    of: String,
    /// What it has seen of its spaces.
    #[serde(default)]
    seen: u64,
}

struct SpacesNews {
    site: Arc<Site>,
    user: Arc<User>,
    of: Of,
    latest: Latest<SpaceVersions>,
    all: Option<u64>,
    seen: u64,
}

/// A stream that tells a page about spaces when it is old.
pub(in crate::web) async fn stream(
    State(site): State<Arc<Site>>,
    person: Person,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let user = Arc::clone(&person.who.user);
    let of = Of::read(&asked.of).ok_or(Problem::NotFound)?;
    let sees_everybody = user.role >= Role::Auditor;
    let may = match of {
        Of::Mine => true,
        Of::Everybody => sees_everybody,
        Of::Space(id) => sees_everybody || site.gateway.spaces(&user).iter().any(|space| space.id == id),
    };
    if !may {
        return Err(Problem::NotFound);
    }
    let least = if of == Of::Everybody { Role::Auditor } else { Role::User };
    let Some(reader) = Reader::new(&site, person, least) else { return Ok(too_many()) };
    let latest = site.live.spaces.watch();
    let news = SpacesNews { site, user, of, latest, all: None, seen: asked.seen };
    Ok(stream_to(reader, news).into_response())
}

impl News for SpacesNews {
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.latest.changed().await.ok()?;
            let latest = self.latest.borrow_and_update().clone();
            // Most looks find nothing new anywhere: then nobody's spaces are gone through.
            let Some(latest) = latest.filter(|latest| self.all != Some(latest.all)) else { continue };
            self.all = Some(latest.all);
            let seen = digest(&latest.versions, self.of.spaces(&self.site, &self.user).into_iter());
            if std::mem::replace(&mut self.seen, seen) != seen {
                return Some(Event::default().event("spaces").id(seen.to_string()).data("{}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_its_spaces_in_any_order() {
        let (one, other) = (SpaceId::generate(), SpaceId::generate());
        let versions = HashMap::from([(one, 1), (other, 2)]);
        let both = digest(&versions, [one, other].into_iter());
        assert_eq!(both, digest(&versions, [other, one].into_iter()));
        assert_ne!(both, digest(&HashMap::from([(one, 1), (other, 3)]), [one, other].into_iter()));
        assert_ne!(both, digest(&versions, [one].into_iter()));
    }

    #[test]
    fn what_a_page_shows_is_written_as_it_is_read() {
        for of in [Of::Mine, Of::Everybody, Of::Space(SpaceId::generate())] {
            assert_eq!(Of::read(&of.written()), Some(of));
        }
        assert_eq!(Of::read("yours"), None);
    }
}
