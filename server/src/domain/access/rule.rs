//! Where a rule stands: what an operator changes to get another answer.

use std::fmt;

use super::Decision;
use crate::domain::ids::{GrantId, GroupName};
use crate::domain::user::Profile;

/// A decision and the rule that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Yes or no, and what the person is told.
    pub decision: Decision,
    /// Where the rule stands.
    pub rule: Rule,
}

/// Where a rule stands. Sections of the file are counted from 0, as the faults of a configuration are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// The person is suspended, by an admin or in the file.
    Suspension,
    /// Nobody vouches for the person.
    Standing,
    /// One of `[[access.denials]]`.
    Denial(usize),
    /// A user profile of the person.
    Profile(Profile),
    /// The person's role.
    Role,
    /// One of `[[access.grants]]`.
    ListedGrant(usize),
    /// A grant of the database.
    HeldGrant(GrantId),
    /// One of `[[access.members]]`.
    Member(usize),
    /// `access.no_jump` has one of the person's groups.
    NoJump(GroupName),
    /// `access.agent_into_shared` is off.
    AgentIntoShared,
    /// No rule names the space for the person.
    Nothing,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspension => f.write_str("the person's suspension"),
            Self::Standing => f.write_str("the person's login"),
            Self::Denial(at) => write!(f, "access.denials[{at}] of the configuration file"),
            Self::Profile(profile) => write!(f, "the person's user profile {profile}"),
            Self::Role => f.write_str("the person's role, which [roles] of the configuration file gives"),
            Self::ListedGrant(at) => write!(f, "access.grants[{at}] of the configuration file"),
            Self::HeldGrant(id) => write!(f, "grant {id} of the database"),
            Self::Member(at) => write!(f, "access.members[{at}] of the configuration file"),
            Self::NoJump(group) => write!(f, "access.no_jump of the configuration file, for {group}"),
            Self::AgentIntoShared => f.write_str("access.agent_into_shared of the configuration file"),
            Self::Nothing => f.write_str("none: what no rule names is denied"),
        }
    }
}
