//! Which AWS role a person acts in, by a domain's rules, and why there may be no session of it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::ids::{AccountId, DomainAlias, GroupName};

/// The ARN of an IAM role.
#[derive(Clone, PartialEq, Eq)]
pub struct RoleArn {
    text: String,
    partition: String,
    account: String,
}

impl RoleArn {
    /// The ARN as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The account it is in.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The partition it is in.
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// What people call the role: its name without the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for RoleArn {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = "it is not the ARN of a role";
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "iam", "", account, resource] = *parts else { return Err(malformed) };
        let name = resource.strip_prefix("role/").ok_or(malformed)?;
        let name_ok = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@-_/".contains(c))
            && !name.ends_with('/');
        if !partition.starts_with("aws") || account.parse::<AccountId>().is_err() || !name_ok {
            return Err(malformed);
        }
        Ok(Self { text: text.to_owned(), partition: partition.to_owned(), account: account.to_owned() })
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A role for the members of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRule {
    /// The group.
    pub group: GroupName,
    /// Its members' role.
    pub role: RoleArn,
}

/// The roles of a domain's people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRoles {
    /// Rules, of which the first that matches counts.
    pub rules: Vec<RoleRule>,
    /// The role of whom no rule matches; without one they have none.
    pub otherwise: Option<RoleArn>,
}

/// A role, and the rule that chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// The role.
    pub role: &'a RoleArn,
    /// The group whose rule it was; nothing if none matched.
    pub by: Option<&'a GroupName>,
}

impl PersonRoles {
    /// The role of somebody with these groups.
    #[must_use]
    pub fn choose(&self, groups: &BTreeSet<GroupName>) -> Option<Chosen<'_>> {
        let rule = self.rules.iter().find(|rule| groups.contains(&rule.group));
        let chosen = rule.map(|rule| Chosen { role: &rule.role, by: Some(&rule.group) });
        chosen.or_else(|| Some(Chosen { role: self.otherwise.as_ref()?, by: None }))
    }

    /// Every role that somebody may get.
    pub fn all(&self) -> impl Iterator<Item = &RoleArn> {
        self.rules.iter().map(|rule| &rule.role).chain(&self.otherwise)
    }
}

/// Why there is no role session. `Display` is for logs; terminals have their own words for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// No rule of the domain matches the person, and it has no other role; or it has none for the probe.
    #[error("none of the roles of domain {0} is for the actor")]
    NoneFor(DomainAlias),
    /// The person has no ID token to become the role with.
    #[error("no ID token of the person: {0}")]
    NoToken(#[from] NoToken),
    /// STS refused: the role's trust policy, or the policies of whoever asks.
    #[error("STS refused the role {role}: {message}")]
    Denied {
        /// The role's name.
        role: String,
        /// AWS's words.
        message: String,
    },
    /// STS says that the person's ID token has expired.
    #[error("STS says that the ID token has expired: {0}")]
    TokenExpired(String),
    /// STS does not take the ID token: its issuer, audience or signature is not what the account knows.
    #[error("STS does not take the ID token: {0}")]
    TokenInvalid(String),
    /// The provider told STS that the token counts no more.
    #[error("the provider rejected the ID token before STS: {0}")]
    TokenRejected(String),
    /// STS could not ask the person's provider for its keys.
    #[error("STS could not reach the identity provider: {0}")]
    ProviderAway(String),
    /// Session policy and tags do not fit into what STS has room for.
    #[error("the session's policy and tags are too large for STS: {0}")]
    TooLarge(String),
    /// STS cannot read the session's policy: a fault of ours.
    #[error("STS cannot read the session's policy: {0}")]
    MalformedPolicy(String),
    /// STS is switched off in the region.
    #[error("STS is not active in the region: {0}")]
    RegionDisabled(String),
    /// The process's own credentials are missing, wrong or over.
    #[error("the gateway's own credentials are not taken: {0}")]
    OwnCredentials(String),
    /// Too many calls.
    #[error("STS throttles")]
    Throttled,
    /// STS is unreachable, or fails.
    #[error("no role session from STS: {0}")]
    Unavailable(String),
}

/// Why a person has no ID token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// No provider vouches for them: they are of the configuration file.
    #[error("they have not signed in with a provider")]
    NotSignedIn,
    /// The one there was is over and cannot be renewed.
    #[error("their sign-in is over and cannot be renewed")]
    Lapsed,
    /// It is over, and the provider cannot be asked for another one now.
    #[error("their provider cannot be asked for another one")]
    ProviderAway,
    /// It cannot be read: Postgres is away.
    #[error("it cannot be read")]
    Unreadable,
}

impl RoleError {
    /// Whether the same question may be answered a moment later.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Throttled
                | Self::Unavailable(_)
                | Self::ProviderAway(_)
                | Self::NoToken(NoToken::ProviderAway | NoToken::Unreadable)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arn(name: &str) -> RoleArn {
        format!("arn:aws:iam::111111111111:role/{name}").parse().unwrap()
    }

    fn rule(group: &str, role: &str) -> RoleRule {
        RoleRule { group: group.parse().unwrap(), role: arn(role) }
    }

    fn groups(names: &[&str]) -> BTreeSet<GroupName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn the_first_rule_in_the_files_order_wins_whatever_order_groups_are_in() {
        let roles = PersonRoles {
            rules: vec![rule("okta/z-leads", "leads"), rule("okta/a-team", "team")],
            otherwise: Some(arn("everybody")),
        };
        let of = |names: &[&str]| roles.choose(&groups(names)).map(|chosen| chosen.role.name().to_owned());
        assert_eq!(of(&["okta/a-team", "okta/z-leads"]).as_deref(), Some("leads"));
        assert_eq!(of(&["okta/a-team"]).as_deref(), Some("team"));
        assert_eq!(of(&["local/a-team", "okta/a-team-2"]).as_deref(), Some("everybody"));
        let chosen = roles.choose(&groups(&["okta/a-team"])).unwrap();
        assert_eq!(chosen.by.map(GroupName::as_str), Some("okta/a-team"));
        assert_eq!(roles.all().count(), 3);
    }

    #[test]
    fn whom_no_rule_matches_has_no_role_where_there_is_no_other() {
        let roles = PersonRoles { rules: vec![rule("okta/ml", "ml")], otherwise: None };
        assert_eq!(roles.choose(&groups(&["okta/hr"])), None);
        assert_eq!(roles.choose(&groups(&[])), None);
    }

    #[test]
    fn a_roles_name_is_told_without_its_path() {
        assert_eq!(arn("teams/ml/reader").name(), "reader");
        for bad in [
            "arn:aws:iam::1:role/x",
            "arn:aws:iam::111111111111:user/x",
            "x",
            "arn:aws:iam::111111111111:role/",
        ] {
            assert!(bad.parse::<RoleArn>().is_err(), "{bad}");
        }
    }
}
