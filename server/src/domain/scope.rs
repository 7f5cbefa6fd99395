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
    /// End them, and write to their terminals.
    SessionsWrite,
    /// See what everybody's spaces cost.
    CostRead,
    /// See the audit log.
    AuditRead,
    /// See policies and the gateway's health.
    GatewayRead,
    /// See people, their keys and grants.
    PeopleRead,
    /// Suspend people, take keys away from them, and grant spaces to them.
    PeopleWrite,
}

/// Every scope, in the order in which people read them.
const SCOPES: [Scope; 11] = [
    Scope::SpacesRead,
    Scope::SpacesWrite,
    Scope::KeysRead,
    Scope::KeysWrite,
    Scope::SessionsRead,
    Scope::SessionsWrite,
    Scope::CostRead,
    Scope::AuditRead,
    Scope::GatewayRead,
    Scope::PeopleRead,
    Scope::PeopleWrite,
];

impl Scope {
    /// Those that somebody of this role can use, in the order in which people read them.
    pub fn of(role: Role) -> impl Iterator<Item = Self> {
        SCOPES.into_iter().filter(move |scope| role >= scope.role())
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SpacesRead => "spaces:read",
            Self::SpacesWrite => "spaces:write",
            Self::KeysRead => "keys:read",
            Self::KeysWrite => "keys:write",
            Self::SessionsRead => "sessions:read",
            Self::SessionsWrite => "sessions:write",
            Self::CostRead => "cost:read",
            Self::AuditRead => "audit:read",
            Self::GatewayRead => "gateway:read",
            Self::PeopleRead => "people:read",
            Self::PeopleWrite => "people:write",
        }
    }

    /// The least role that can use it.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::SpacesRead | Self::SpacesWrite | Self::KeysRead | Self::KeysWrite | Self::SessionsRead => {
                Role::User
            }
            Self::CostRead | Self::AuditRead | Self::GatewayRead => Role::Auditor,
            Self::SessionsWrite | Self::PeopleRead | Self::PeopleWrite => Role::Admin,
        }
    }

    /// What it allows, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::SpacesRead => "see spaces, what they are doing and what they cost",
            Self::SpacesWrite => "hold, start and stop spaces",
            Self::KeysRead => "see your SSH keys",
            Self::KeysWrite => "add and remove your SSH keys: whoever has it can open your spaces",
            Self::SessionsRead => "see your sessions; everybody’s, for auditors and admins",
            Self::SessionsWrite => "end everybody’s sessions, and write to their terminals",
            Self::CostRead => "see what everybody’s spaces cost",
            Self::AuditRead => "see the audit log",
            Self::GatewayRead => "see policies and the gateway’s health",
            Self::PeopleRead => "see people, their keys and grants",
            Self::PeopleWrite => "suspend people, take their keys away, and grant spaces",
        }
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
        SCOPES.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| format!("{text:?} is no scope"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_is_read_back_by_its_name() {
        for scope in SCOPES {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        assert!("spaces".parse::<Scope>().is_err());
    }

    #[test]
    fn a_role_has_the_scopes_of_those_below_it() {
        let count = |role| Scope::of(role).count();
        assert_eq!((count(Role::User), count(Role::Auditor), count(Role::Admin)), (5, 8, 11));
    }
}
