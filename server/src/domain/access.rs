//! The access policy: data, and one pure function that answers with its reason.

use std::collections::BTreeSet;
use std::fmt;

use time::OffsetDateTime;

use super::ids::{DomainAlias, GroupName, SpaceName, UserName};
use super::space::{Sharing, Space};
use super::user::{Standing, User, Withdrawal};

/// What a person wants with a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Reach it: a shell, a command, a forward in session mode.
    Open,
    /// Reach it end to end through `ssh -J`.
    Jump,
    /// Start its app.
    Start,
    /// Restart or change it: remote access on, another instance type.
    Change,
    /// Let the space use the person's SSH agent.
    ForwardAgent,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Jump => "jump to",
            Self::Start => "start",
            Self::Change => "change",
            Self::ForwardAgent => "forward an agent into",
        })
    }
}

/// Who may use what. Deny wins; what nothing allows is denied.
#[derive(Debug, Clone, Default)]
pub struct AccessPolicy {
    /// Groups whose members may use the shared spaces of a domain.
    pub members: Vec<Membership>,
    /// Grants of single spaces to single people, for a time.
    pub grants: Vec<Grant>,
    /// Denials, which win over everything.
    pub denials: Vec<Denial>,
    /// Groups that may not use jump mode.
    pub no_jump: BTreeSet<GroupName>,
    /// Whether agents may be forwarded into shared spaces, where one Unix user serves everybody.
    pub agent_into_shared: bool,
}

/// A group whose members belong to a domain.
#[derive(Debug, Clone)]
pub struct Membership {
    /// The domain.
    pub domain: DomainAlias,
    /// The group.
    pub group: GroupName,
}

/// One space for one person for a time.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Whom.
    pub user: UserName,
    /// The space's domain.
    pub domain: DomainAlias,
    /// The space.
    pub space: SpaceName,
    /// Until when.
    pub until: OffsetDateTime,
    /// Why, in the words of who approved it.
    pub reason: String,
}

/// What somebody may not have, whatever else says so.
#[derive(Debug, Clone)]
pub struct Denial {
    /// Whom.
    pub user: UserName,
    /// Only in this domain, or in all.
    pub domain: Option<DomainAlias>,
    /// Only spaces of this name, or all.
    pub space: Option<SpaceName>,
    /// Why.
    pub reason: String,
}

impl Denial {
    /// Whether it keeps this user from this space.
    fn covers(&self, user: &User, space: &Space) -> bool {
        self.user == user.name
            && self.domain.as_ref().is_none_or(|domain| *domain == space.domain)
            && self.space.as_ref().is_none_or(|name| name == space.name())
    }
}

/// Why something is allowed or denied. `Display` is a sentence that follows "because" or "Why:".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// The space's owner profile is the user's.
    Owner,
    /// The space is shared and the user belongs to its domain by this group.
    Member(GroupName),
    /// A grant runs.
    Granted {
        /// Until when.
        until: OffsetDateTime,
        /// Why.
        reason: String,
    },
    /// An admin suspended the user.
    Suspended,
    /// The person is no longer a user of the gateway.
    NoLongerAUser,
    /// Their login has lapsed.
    LoginLapsed(OffsetDateTime),
    /// Their provider's word was withdrawn.
    Withdrawn(Withdrawal),
    /// A denial stands.
    Denied(String),
    /// The space is private and belongs to somebody else.
    PrivateTo(Option<String>),
    /// The space is shared, but not with this user.
    NotAMember(DomainAlias),
    /// A grant existed and has ended.
    GrantEnded(OffsetDateTime),
    /// One of the user's groups may not use jump mode.
    JumpSwitchedOff(GroupName),
    /// Agents are not forwarded into shared spaces.
    AgentIntoShared,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("it is yours"),
            Self::Member(group) => write!(f, "it is shared and you are in {group}"),
            Self::Granted { until, reason } => write!(f, "a grant runs until {}: {reason:?}", minute(*until)),
            Self::Suspended => f.write_str("an admin suspended your access"),
            Self::NoLongerAUser => f.write_str("you are no longer a user of this gateway"),
            Self::LoginLapsed(at) => write!(f, "your login lapsed at {}", minute(*at)),
            Self::Withdrawn(Withdrawal::Refused) => {
                f.write_str("your identity provider no longer renews your login")
            }
            Self::Withdrawn(Withdrawal::LeftGroup) => {
                f.write_str("you are no longer in a group that may sign in here")
            }
            Self::Denied(reason) => write!(f, "an admin denied it: {reason:?}"),
            Self::PrivateTo(Some(owner)) => write!(f, "it is private to {owner}"),
            Self::PrivateTo(None) => f.write_str("it is private to somebody else"),
            Self::NotAMember(domain) => {
                write!(f, "it is shared in {domain}, and you are in none of its groups")
            }
            Self::GrantEnded(at) => write!(f, "your grant ended at {}", minute(*at)),
            Self::JumpSwitchedOff(group) => write!(f, "ssh -J is switched off for {group}"),
            Self::AgentIntoShared => f.write_str("everybody in a shared space could use your agent"),
        }
    }
}

/// A time as terminals show it: to the minute, in UTC.
fn minute(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

/// An answer and the rule that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow(Because),
    /// No.
    Deny(Because),
}

/// Proof that the policy allowed a user an action on a space. Only [`authorize`] makes one.
#[derive(Debug, Clone)]
pub struct Authorized {
    space: Space,
    action: Action,
    because: Because,
}

impl Authorized {
    /// The space it was allowed on.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }
    /// What was allowed.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }
    /// Why.
    #[must_use]
    pub const fn because(&self) -> &Because {
        &self.because
    }
}

/// Decides, and hands out proof of a yes.
///
/// # Errors
/// The reason of a no.
pub fn authorize(
    policy: &AccessPolicy,
    user: &User,
    space: &Space,
    action: Action,
    now: OffsetDateTime,
) -> Result<Authorized, Because> {
    match decide(policy, user, space, action, now) {
        Decision::Allow(because) => Ok(Authorized { space: space.clone(), action, because }),
        Decision::Deny(because) => Err(because),
    }
}

/// Whether somebody still vouches for a person, whatever they want.
///
/// # Errors
/// Why not.
pub fn stands(user: &User, now: OffsetDateTime) -> Result<(), Because> {
    match user.standing {
        _ if user.suspended => Err(Because::Suspended),
        Standing::Withdrawn { why, .. } => Err(Because::Withdrawn(why)),
        Standing::Until(until) if now >= until => Err(Because::LoginLapsed(until)),
        Standing::Until(_) | Standing::Configured => Ok(()),
    }
}

/// Whether a user may do something with a space, and why.
#[must_use]
pub fn decide(
    policy: &AccessPolicy,
    user: &User,
    space: &Space,
    action: Action,
    now: OffsetDateTime,
) -> Decision {
    if let Err(because) = stands(user, now) {
        return Decision::Deny(because);
    }
    if let Some(denial) = policy.denials.iter().find(|denial| denial.covers(user, space)) {
        return Decision::Deny(Because::Denied(denial.reason.clone()));
    }
    let because = match reach(policy, user, space, now) {
        Ok(because) => because,
        Err(because) => return Decision::Deny(because),
    };
    match action {
        Action::Jump => match policy.no_jump.intersection(&user.groups).next() {
            Some(group) => Decision::Deny(Because::JumpSwitchedOff(group.clone())),
            None => Decision::Allow(because),
        },
        Action::ForwardAgent if space.sharing == Sharing::Shared && !policy.agent_into_shared => {
            Decision::Deny(Because::AgentIntoShared)
        }
        Action::Open | Action::Start | Action::Change | Action::ForwardAgent => Decision::Allow(because),
    }
}

/// Why a space is within a user's reach, or why it is not.
fn reach(policy: &AccessPolicy, user: &User, space: &Space, now: OffsetDateTime) -> Result<Because, Because> {
    if user.owns(space) {
        return Ok(Because::Owner);
    }
    // Grants name people of the configuration. Whoever a provider calls by the same name is somebody else.
    let named = user.standing == Standing::Configured;
    let grant = policy
        .grants
        .iter()
        .filter(|g| named && g.user == user.name && g.domain == space.domain && g.space == *space.name())
        .max_by_key(|g| g.until);
    if let Some(grant) = grant.filter(|g| now < g.until) {
        return Ok(Because::Granted { until: grant.until, reason: grant.reason.clone() });
    }
    if space.sharing == Sharing::Shared {
        let member =
            policy.members.iter().find(|m| m.domain == space.domain && user.groups.contains(&m.group));
        if let Some(member) = member {
            return Ok(Because::Member(member.group.clone()));
        }
    }
    Err(match (grant, space.sharing) {
        (Some(grant), _) => Because::GrantEnded(grant.until),
        (None, Sharing::Shared) => Because::NotAMember(space.domain.clone()),
        (None, Sharing::Private) => Because::PrivateTo(space.owner.as_ref().map(ToString::to_string)),
    })
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
