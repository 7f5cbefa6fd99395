//! Users: people known to the gateway.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use time::OffsetDateTime;

use super::grant::HeldGrant;
use super::ids::{DomainAlias, GroupName, MalformedName, UserId, UserName, UserProfileName};
use super::space::Space;

/// What a user may do beside using their own spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Uses spaces.
    User,
    /// Also reads everybody's sessions, cost and audit.
    Auditor,
    /// Also ends sessions, stops spaces and changes policy.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::User => "user",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        })
    }
}

/// Which groups' members may do more than others.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    /// Groups of admins.
    pub admin: BTreeSet<GroupName>,
    /// Groups of auditors.
    pub auditor: BTreeSet<GroupName>,
}

impl Roles {
    /// The highest role that any of these groups has.
    #[must_use]
    pub fn of(&self, groups: &BTreeSet<GroupName>) -> Role {
        if !self.admin.is_disjoint(groups) {
            Role::Admin
        } else if !self.auditor.is_disjoint(groups) {
            Role::Auditor
        } else {
            Role::User
        }
    }
}

/// Why a provider's word for a person no longer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// It refused to renew the login.
    Refused,
    /// The person is no longer in a group that signing in requires.
    LeftGroup,
}

impl Withdrawal {
    /// The word that the user's row keeps.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::LeftGroup => "left_group",
        }
    }
}

/// Whose word says that a person may connect, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The configuration file's, for as long as it names them.
    Configured,
    /// Their provider's, by a login that lapses at this time.
    Until(OffsetDateTime),
    /// Nobody's any more.
    Withdrawn {
        /// Since when.
        at: OffsetDateTime,
        /// Why.
        why: Withdrawal,
    },
}

/// A SageMaker user profile: its name means a person in its own domain only. Written `DOMAIN/PROFILE`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Profile {
    /// The configured domain.
    pub domain: DomainAlias,
    /// The profile's name there.
    pub name: UserProfileName,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.name)
    }
}

impl FromStr for Profile {
    type Err = MalformedName;

    fn from_str(text: &str) -> Result<Self, MalformedName> {
        let (domain, name) = text.split_once('/').ok_or_else(|| {
            MalformedName::new("user profile", text, "a domain's alias, /, a profile's name")
        })?;
        Ok(Self { domain: domain.parse()?, name: name.parse()? })
    }
}

/// A person, as identity established them for one decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's row.
    pub id: UserId,
    /// What logs and terminals call them.
    pub name: UserName,
    /// The provider's stable identifier of the person: OIDC `sub`, or the configured name.
    pub subject: String,
    /// Groups, each with its provider.
    pub groups: BTreeSet<GroupName>,
    /// SageMaker user profiles that are this person's.
    pub profiles: BTreeSet<Profile>,
    /// Spaces that an admin granted this person. Those that are over stay for a while, so that a refusal can say so.
    pub grants: Vec<HeldGrant>,
    /// What else they may do.
    pub role: Role,
    /// Whether an admin has suspended them.
    pub suspended: bool,
    /// Who vouches for them.
    pub standing: Standing,
}

/// Everybody who is known, by the id of their row.
pub type Users = HashMap<UserId, Arc<User>>;

/// The people whose a space is by its owner's user profile; none for a space without an owner, or an unknown one.
pub fn owners<'a>(users: &'a Users, space: &Space) -> impl Iterator<Item = &'a Arc<User>> {
    let owner = space.owner.clone().map(|name| Profile { domain: space.domain.clone(), name });
    users.values().filter(move |user| owner.as_ref().is_some_and(|owner| user.profiles.contains(owner)))
}

impl User {
    /// The profile of this person by which a space is theirs: one of the space's own domain.
    #[must_use]
    pub fn owning_profile(&self, space: &Space) -> Option<&Profile> {
        let owner = space.owner.as_ref()?;
        self.profiles.iter().find(|profile| profile.domain == space.domain && profile.name == *owner)
    }

    /// Whether a space belongs to one of this person's profiles in the space's own domain.
    #[must_use]
    pub fn owns(&self, space: &Space) -> bool {
        self.owning_profile(space).is_some()
    }
}
