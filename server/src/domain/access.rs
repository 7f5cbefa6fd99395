//! The access policy: data, and one pure function that answers with its reason.

mod rule;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

pub use self::rule::{Explanation, Rule};

use super::grant::ListedGrant;
use super::ids::{DomainAlias, GroupName, SpaceName, UserName};
use super::space::{Sharing, Space};
use super::user::{Role, Standing, User, Withdrawal};

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
    /// Learn what it is doing, what it costs and who is in it.
    See,
    /// Keep it from being stopped for idleness.
    Hold,
    /// Stop its app.
    Stop,
}

impl Action {
    /// Whether an admin may do it with any space: what costs money and what would be lost is theirs to decide, what is
    /// inside a space is not.
    #[must_use]
    pub const fn is_admins(self) -> bool {
        matches!(self, Self::Hold | Self::Stop)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Jump => "jump to",
            Self::Start => "start",
            Self::Change => "change",
            Self::ForwardAgent => "forward an agent into",
            Self::See => "see",
            Self::Hold => "hold",
            Self::Stop => "stop",
        })
    }
}

impl FromStr for Action {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "open" => Ok(Self::Open),
            "jump" => Ok(Self::Jump),
            "start" => Ok(Self::Start),
            "change" => Ok(Self::Change),
            "forward-agent" => Ok(Self::ForwardAgent),
            "see" => Ok(Self::See),
            "hold" => Ok(Self::Hold),
            "stop" => Ok(Self::Stop),
            _ => Err("write open, jump, start, change, forward-agent, see, hold or stop"),
        }
    }
}

/// Who may use what. Deny wins; what nothing allows is denied.
#[derive(Debug, Clone, Default)]
pub struct AccessPolicy {
    /// Groups whose members may use the shared spaces of a domain.
    pub members: Vec<Membership>,
    /// Grants of the configuration file. Those of the database are held by their people.
    pub grants: Vec<ListedGrant>,
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

/// What somebody may not have, whatever else says so.
#[derive(Debug, Clone)]
pub struct Denial {
    /// Whom: everybody who is called so, whoever vouches for them.
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
    /// The user is an admin, and it is one of [`Action::is_admins`].
    Admin,
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
    /// The key that the person connected with was removed, or has lapsed.
    KeyRemoved,
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
            Self::Admin => f.write_str("you are an admin"),
            Self::Member(group) => write!(f, "it is shared and you are in {group}"),
            Self::Granted { until, reason } => write!(f, "a grant runs until {}: {reason:?}", minute(*until)),
            Self::Suspended => f.write_str("an admin suspended your access"),
            Self::NoLongerAUser => f.write_str("you are no longer a user of this gateway"),
            Self::KeyRemoved => f.write_str("the key that you connected with no longer counts"),
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
    explain(policy, user, space, action, now).decision
}

/// The decision, and where the rule stands that made it.
#[must_use]
pub fn explain(
    policy: &AccessPolicy,
    user: &User,
    space: &Space,
    action: Action,
    now: OffsetDateTime,
) -> Explanation {
    let deny = |because, rule| Explanation { decision: Decision::Deny(because), rule };
    if let Err(because) = stands(user, now) {
        let rule = if because == Because::Suspended { Rule::Suspension } else { Rule::Standing };
        return deny(because, rule);
    }
    let mut denials = policy.denials.iter().enumerate();
    if let Some((at, denial)) = denials.find(|(_, denial)| denial.covers(user, space)) {
        return deny(Because::Denied(denial.reason.clone()), Rule::Denial(at));
    }
    let (because, rule) = match reach(policy, user, space, now) {
        Ok(reached) => reached,
        Err(_) if user.role == Role::Admin && action.is_admins() => (Because::Admin, Rule::Role),
        Err((because, rule)) => return deny(because, rule),
    };
    match action {
        Action::Jump => match policy.no_jump.intersection(&user.groups).next() {
            Some(group) => deny(Because::JumpSwitchedOff(group.clone()), Rule::NoJump(group.clone())),
            None => Explanation { decision: Decision::Allow(because), rule },
        },
        Action::ForwardAgent if space.sharing == Sharing::Shared && !policy.agent_into_shared => {
            deny(Because::AgentIntoShared, Rule::AgentIntoShared)
        }
        Action::Open
        | Action::Start
        | Action::Change
        | Action::ForwardAgent
        | Action::See
        | Action::Hold
        | Action::Stop => Explanation { decision: Decision::Allow(because), rule },
    }
}

/// Why a space is within a user's reach, or why it is not, and by which rule.
fn reach(
    policy: &AccessPolicy,
    user: &User,
    space: &Space,
    now: OffsetDateTime,
) -> Result<(Because, Rule), (Because, Rule)> {
    if let Some(profile) = user.owning_profile(space) {
        return Ok((Because::Owner, Rule::Profile(profile.clone())));
    }
    // Grants of the file name its own people. Whoever a provider calls by the same name is somebody else.
    let named = user.standing == Standing::Configured;
    let listed = policy.grants.iter().enumerate().filter(|(_, listed)| named && listed.user == user.name);
    let listed = listed.map(|(at, listed)| (&listed.grant, Rule::ListedGrant(at)));
    let held = user.grants.iter().map(|held| (&held.grant, Rule::HeldGrant(held.id)));
    let grant = listed.chain(held).filter(|(grant, _)| grant.covers(space)).max_by_key(|(g, _)| g.until);
    let ended = match grant {
        Some((grant, rule)) if now < grant.until => {
            return Ok((Because::Granted { until: grant.until, reason: grant.reason.clone() }, rule));
        }
        ended => ended,
    };
    if space.sharing == Sharing::Shared {
        let mut members = policy.members.iter().enumerate();
        let member = members.find(|(_, m)| m.domain == space.domain && user.groups.contains(&m.group));
        if let Some((at, member)) = member {
            return Ok((Because::Member(member.group.clone()), Rule::Member(at)));
        }
    }
    Err(match (ended, space.sharing) {
        (Some((grant, rule)), _) => (Because::GrantEnded(grant.until), rule),
        (None, Sharing::Shared) => (Because::NotAMember(space.domain.clone()), Rule::Nothing),
        (None, Sharing::Private) => {
            (Because::PrivateTo(space.owner.as_ref().map(ToString::to_string)), Rule::Nothing)
        }
    })
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
