//! The space that an address names, for pages and the API.

use super::site::Site;
use crate::domain::access::Action;
use crate::domain::ids::{DomainAlias, SpaceName};
use crate::domain::space::Space;
use crate::domain::user::{Role, User};

/// The two parts of an address that name a space: its domain and its name.
pub(super) type At = axum::extract::Path<(String, String)>;

/// A space, and what the person may do with it beside seeing it.
pub(super) struct Found {
    pub(super) space: Space,
    /// Open it, start it and change it.
    pub(super) may_use: bool,
    /// Hold it and stop it, as admins may with any.
    pub(super) may_stop: bool,
}

/// The space that an address names, if the person may know of it.
pub(super) fn find(site: &Site, user: &User, (domain, name): &(String, String)) -> Option<Found> {
    let (domain, name) = (domain.parse::<DomainAlias>().ok()?, name.parse::<SpaceName>().ok()?);
    if let Some(space) = site.gateway.space(user, &domain, &name) {
        return Some(Found { space, may_use: true, may_stop: true });
    }
    let sees_everybody = user.role >= Role::Auditor;
    let named = |space: &Space| space.domain == domain && *space.name() == name;
    let seen = site.gateway.every_space().into_iter().find(named).filter(|_| sees_everybody)?;
    Some(Found { space: seen, may_use: false, may_stop: may_stop(user, false) })
}

/// Whether somebody may hold and stop a space which they may or may not use.
pub(super) fn may_stop(user: &User, may_use: bool) -> bool {
    may_use || (user.role == Role::Admin && Action::Stop.is_admins())
}

/// The same as [`find`], if the person may hold and stop it: who only sees it finds nothing to press.
pub(super) fn find_stoppable(site: &Site, user: &User, at: &(String, String)) -> Option<Found> {
    find(site, user, at).filter(|found| found.may_stop)
}

/// The same, if the person may use it.
pub(super) fn find_usable(site: &Site, user: &User, at: &(String, String)) -> Option<Found> {
    find(site, user, at).filter(|found| found.may_use)
}
