//! Users: people known to the gateway.

use std::collections::BTreeSet;

use super::ids::{GroupName, UserId, UserName, UserProfileName};

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
    pub profiles: BTreeSet<UserProfileName>,
    /// What else they may do.
    pub role: Role,
    /// Whether an admin has suspended them.
    pub suspended: bool,
}
