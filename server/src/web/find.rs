//! The space that an address names, for pages and the API.

use super::site::Site;
use crate::domain::ids::{DomainAlias, SpaceName};
use crate::domain::space::Space;
use crate::domain::user::{Role, User};

/// The two parts of an address that name a space: its domain and its name.
pub(super) type At = axum::extract::Path<(String, String)>;

/// A space, and whether the person may use it or only see it.
pub(super) struct Found {
    pub(super) space: Space,
    pub(super) may_use: bool,
}

/// The space that an address names, if the person may know of it.
pub(super) fn find(site: &Site, user: &User, (domain, name): &(String, String)) -> Option<Found> {
    let (domain, name) = (domain.parse::<DomainAlias>().ok()?, name.parse::<SpaceName>().ok()?);
    if let Some(space) = site.gateway.space(user, &domain, &name) {
        return Some(Found { space, may_use: true });
    }
    let sees_everybody = user.role >= Role::Auditor;
    let named = |space: &Space| space.domain == domain && *space.name() == name;
    let seen = site.gateway.every_space().into_iter().find(named).filter(|_| sees_everybody)?;
    Some(Found { space: seen, may_use: false })
}

/// The same, if the person may use it: who only sees it finds nothing to press.
pub(super) fn find_usable(site: &Site, user: &User, at: &(String, String)) -> Option<Found> {
    find(site, user, at).filter(|found| found.may_use)
}
