//! What a token for the API may do: its scopes. The role of its person bounds it besides, at each request.

use std::fmt;
use std::str::FromStr;

use super::user::Role;

/// One thing that a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// See spaces.
    SpacesRead,
    /// Hold, start and stop them.
    SpacesWrite,
    /// See one's own keys.
    KeysRead,
    /// Add and remove them, and take certificates.
    KeysWrite,
    /// See sessions.
    SessionsRead,
    /// End them.
    SessionsWrite,
    /// See what everybody's spaces cost.
    CostRead,
    /// See the audit log.
    AuditRead,
    /// See policies and the gateway's health.
    GatewayRead,
    /// See people and grants.
    PeopleRead,
    /// Suspend people, and grant spaces to them.
    PeopleWrite,
}

/// Every scope: its name, who can use it, and what a person reads.
const SCOPES: [(Scope, &str, Role, &str); 11] = [
    (Scope::SpacesRead, "spaces:read", Role::User, "see spaces, what they are doing and what they cost"),
    (Scope::SpacesWrite, "spaces:write", Role::User, "hold, start and stop spaces"),
    (Scope::KeysRead, "keys:read", Role::User, "see your SSH keys"),
    (
        Scope::KeysWrite,
        "keys:write",
        Role::User,
        "add and remove your SSH keys: whoever has it can open your spaces",
    ),
    (
        Scope::SessionsRead,
        "sessions:read",
        Role::User,
        "see your sessions; everybody’s, for auditors and admins",
    ),
    (Scope::SessionsWrite, "sessions:write", Role::Admin, "end everybody’s sessions"),
    (Scope::CostRead, "cost:read", Role::Auditor, "see what everybody’s spaces cost"),
    (Scope::AuditRead, "audit:read", Role::Auditor, "see the audit log"),
    (Scope::GatewayRead, "gateway:read", Role::Auditor, "see policies and the gateway’s health"),
    (Scope::PeopleRead, "people:read", Role::Admin, "see people and grants"),
    (Scope::PeopleWrite, "people:write", Role::Admin, "suspend people and grant spaces"),
];

impl Scope {
    /// Those that somebody of this role can use, in the order in which people read them.
    pub fn of(role: Role) -> impl Iterator<Item = Self> {
        SCOPES.into_iter().filter(move |(_, _, least, _)| role >= *least).map(|(scope, ..)| scope)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The least role that can use it.
    #[must_use]
    pub fn role(self) -> Role {
        self.row().2
    }

    /// What it allows, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        self.row().3
    }

    fn row(self) -> (Self, &'static str, Role, &'static str) {
        SCOPES[self as usize]
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        SCOPES
            .into_iter()
            .find(|(_, name, ..)| *name == text)
            .map(|(scope, ..)| scope)
            .ok_or_else(|| format!("{text:?} is no scope"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_stands_in_its_own_row_and_is_read_back() {
        for (at, (scope, name, ..)) in SCOPES.into_iter().enumerate() {
            assert_eq!(scope as usize, at, "{name}");
            assert_eq!((scope.as_str(), name.parse()), (name, Ok(scope)));
        }
        assert!("spaces".parse::<Scope>().is_err());
    }

    #[test]
    fn a_role_has_the_scopes_of_those_below_it() {
        let count = |role| Scope::of(role).count();
        assert_eq!((count(Role::User), count(Role::Auditor), count(Role::Admin)), (5, 8, 11));
    }
}
