//! Policies: when a space counts as idle and what happens then, and which policy is a space's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

use super::hours::Hours;
use crate::domain::ids::{DomainAlias, GroupName, SpaceName};

/// The longest that one sign counts as being at work now.
const FRESH: Duration = Duration::from_secs(300);
/// After so many missed looks there is a gap.
const GAP: u32 = 3;

/// What follows from idleness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: a space is watched and never stopped.
    Never,
    /// It is written down what would have been stopped.
    DryRun,
    /// It is stopped, after a warning.
    Stop,
}

impl Mode {
    /// As the configuration has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::DryRun => "dry-run",
            Self::Stop => "stop",
        }
    }
}

/// What is needed beside the gateway's own evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsideRule {
    /// A look inside: without one nothing is known.
    Required,
    /// A look inside where one is set up. Elsewhere what the gateway saw suffices.
    WhereSetUp,
}

/// When a space counts as idle and what happens then.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// What follows.
    pub mode: Mode,
    /// Without any sign for so long a space may be stopped.
    pub idle: Duration,
    /// Between the warning and the stop.
    pub grace: Duration,
    /// CPU use that counts as work, in percent of one core.
    pub cpu_percent: f64,
    /// GPU use that counts as work, in percent of one GPU.
    pub gpu_percent: f64,
    /// Whether somebody must have looked inside.
    pub inside: InsideRule,
    /// Hours with an idle time of their own.
    pub hours: Option<Hours>,
    /// After so long what is inside no longer postpones a stop: it could be made up there.
    pub longest_run: Option<Duration>,
    /// Between two looks.
    pub look_every: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::DryRun,
            idle: Duration::from_secs(60 * 60),
            grace: Duration::from_secs(300),
            cpu_percent: 20.0,
            gpu_percent: 5.0,
            inside: InsideRule::Required,
            hours: None,
            longest_run: Some(Duration::from_secs(7 * 86_400)),
            look_every: Duration::from_secs(60),
        }
    }
}

impl Policy {
    /// For how long after its last sign a space counts as active rather than idle.
    #[must_use]
    pub fn fresh(&self) -> Duration {
        FRESH.min(self.idle / 2)
    }

    /// The longest between two looks that is no gap.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        self.look_every * GAP
    }

    /// Whether anything follows from idleness, be it in earnest or not.
    #[must_use]
    pub const fn stops(&self) -> bool {
        !matches!(self.mode, Mode::Never)
    }

    /// When a space that is idle since then may be stopped; never under some policies.
    #[must_use]
    pub fn due(&self, since: OffsetDateTime) -> Option<OffsetDateTime> {
        if !self.stops() {
            return None;
        }
        match &self.hours {
            Some(hours) => hours.due(since, self.idle),
            None => Some(since + self.idle),
        }
    }
}

/// Which spaces a policy is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All that no other policy is for.
    Default,
    /// Those of a domain.
    Domain(DomainAlias),
    /// Those whose owner is in a group.
    Group(GroupName),
    /// Those with a tag.
    Tag {
        /// The tag's key.
        key: String,
        /// Its value.
        value: String,
    },
    /// One.
    Space(DomainAlias, SpaceName),
}

impl Scope {
    fn covers(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Default => true,
            Self::Domain(domain) => domain == subject.domain,
            Self::Group(group) => subject.groups.contains(group),
            Self::Tag { key, value } => subject.tags.get(key) == Some(value),
            Self::Space(domain, space) => domain == subject.domain && space == subject.space,
        }
    }

    const fn nearness(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Domain(_) => 1,
            Self::Group(_) => 2,
            Self::Tag { .. } => 3,
            Self::Space(..) => 4,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Domain(domain) => write!(f, "domain {domain}"),
            Self::Group(group) => write!(f, "group {group}"),
            Self::Tag { key, value } => write!(f, "tag {key}={value}"),
            Self::Space(domain, space) => write!(f, "space {space}.{domain}"),
        }
    }
}

/// A space, by what policies look at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its domain.
    pub domain: &'a DomainAlias,
    /// Its name.
    pub space: &'a SpaceName,
    /// The groups of its owner.
    pub groups: &'a BTreeSet<GroupName>,
    /// Its tags, as far as they are read.
    pub tags: &'a BTreeMap<String, String>,
}

/// A policy and what it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What it is for; its name to people.
    pub scope: Scope,
    /// What it says.
    pub policy: Policy,
}

/// All policies there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Policies {
    default: Rule,
    rules: Vec<Rule>,
}

impl Default for Policies {
    fn default() -> Self {
        Self::new(Policy::default(), Vec::new())
    }
}

impl Policies {
    /// The default, and what stands above it. Of two for the same kind of scope the first counts.
    #[must_use]
    pub fn new(default: Policy, mut rules: Vec<Rule>) -> Self {
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.scope.nearness()));
        Self { default: Rule { scope: Scope::Default, policy: default }, rules }
    }

    /// The nearest policy of a space: its own, that of a tag, of a group of its owner, of its domain, the default.
    #[must_use]
    pub fn of(&self, subject: &Subject<'_>) -> &Rule {
        self.rules.iter().find(|rule| rule.scope.covers(subject)).unwrap_or(&self.default)
    }

    /// The longest between two looks that is no gap, the same under every policy.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        self.default.policy.longest_gap()
    }

    /// Whether any policy needs the tags of a domain's spaces.
    #[must_use]
    pub fn need_tags(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.scope, Scope::Tag { .. }))
    }

    /// Every policy, the nearest first.
    pub fn all(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().chain([&self.default])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_policy_counts_and_is_named() {
        let policy = |minutes: u64| Policy { idle: Duration::from_secs(minutes * 60), ..Policy::default() };
        let rule = |scope, minutes| Rule { scope, policy: policy(minutes) };
        let policies = Policies::new(
            policy(1),
            vec![
                rule(Scope::Domain("main".parse().unwrap()), 2),
                rule(Scope::Group("okta/a".parse().unwrap()), 3),
                rule(Scope::Group("okta/b".parse().unwrap()), 33),
                rule(Scope::Space("main".parse().unwrap(), "lab".parse().unwrap()), 5),
                rule(Scope::Tag { key: "team".to_owned(), value: "x".to_owned() }, 4),
            ],
        );
        let named = |domain: &str, space: &str, groups: &[&str], tag: Option<&str>| {
            let groups = groups.iter().map(|group| group.parse().unwrap()).collect();
            let tags = tag.map(|value| ("team".to_owned(), value.to_owned())).into_iter().collect();
            let (domain, space) = (domain.parse().unwrap(), space.parse().unwrap());
            let subject = Subject { domain: &domain, space: &space, groups: &groups, tags: &tags };
            policies.of(&subject).scope.to_string()
        };
        assert_eq!(named("other", "lab", &[], None), "the default");
        assert_eq!(named("main", "other", &[], Some("y")), "domain main");
        assert_eq!(named("main", "other", &["okta/b", "okta/a"], None), "group okta/a");
        assert_eq!(named("main", "other", &["okta/b"], Some("x")), "tag team=x");
        assert_eq!(named("main", "lab", &["okta/b"], Some("x")), "space lab.main");
        assert!(policies.need_tags());
    }
}
