//! Identifiers: a type for each, so that no two can be confused.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier that sorts by the time it was made (UUID version 7, RFC 9562).
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
            /// The identifier as a UUID.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
            /// The last four hexadecimal digits, which people are shown and quote.
            #[must_use]
            pub fn short(self) -> String {
                let text = self.0.simple().to_string();
                text.get(28..).unwrap_or_default().to_owned()
            }
        }
        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }
    )*};
}

uuid_ids! {
    /// A user's row.
    UserId,
    /// A space's row: one space from its creation to its deletion.
    SpaceId,
    /// A run's row: one life of a space's app.
    RunId,
    /// One SSH client's TCP connection to the gateway.
    ConnectionId,
    /// One user's use of one space over one connection.
    SessionId,
    /// One SSH channel inside a session.
    ChannelId,
    /// One SSH client connection of ours to a space.
    LinkId,
    /// One Session Manager data channel to a space.
    StreamId,
    /// One running gateway process.
    ReplicaId,
    /// One row of the audit log.
    AuditId,
    /// One web sign-in.
    LoginId,
    /// One SSH key that a person added.
    KeyId,
    /// One grant of a space to a person.
    GrantId,
    /// One request of a person not to stop a space.
    HoldId,
    /// One stop of a space, from its warning to its end.
    StopId,
    /// One start of a space that somebody asked for on a page.
    StartId,
    /// One token for the API.
    TokenId,
    /// One message of an admin to the terminals of a session.
    MessageId,
}

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is malformed: {rule}")]
pub struct MalformedName {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

impl MalformedName {
    pub(crate) fn new(kind: &'static str, text: &str, rule: &'static str) -> Self {
        let text = text.chars().filter(|c| !c.is_control()).take(80).collect();
        Self { kind, text, rule }
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $rule:literal, $ok:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = MalformedName;
            fn from_str(text: &str) -> Result<Self, MalformedName> {
                let ok: fn(&str) -> bool = $ok;
                if text.is_empty() || text.len() > $max || !ok(text) {
                    return Err(MalformedName::new($kind, text, $rule));
                }
                Ok(Self(text.to_owned()))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    )*};
}

/// `[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}`, the pattern of space, app and user profile names.
fn studio_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

names! {
    /// The name of a SageMaker Studio space. AWS treats case as significant, SSH clients do not keep it.
    SpaceName, "space name", 63, "letters, digits and inner hyphens, at most 63", studio_name;
    /// The name of a SageMaker user profile.
    UserProfileName, "user profile name", 63, "letters, digits and inner hyphens, at most 63", studio_name;
    /// The identifier of a SageMaker domain, `d-…`.
    StudioDomainId, "domain id", 63, "d- and then letters, digits and hyphens, at most 63",
        |t| t.starts_with("d-") && t.len() > 2 && t.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    /// What operators call a domain in the configuration, and people write behind the dot: `SPACE.DOMAIN`.
    DomainAlias, "domain alias", 40, "lower-case letters, digits and inner hyphens, at most 40",
        |t| studio_name(t) && !t.chars().any(|c| c.is_ascii_uppercase());
    /// An AWS region, `us-east-1`.
    Region, "region", 32, "lower-case letters, digits and hyphens",
        |t| t.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    /// An AWS account number, 12 digits.
    AccountId, "account", 12, "12 digits", |t| t.len() == 12 && t.chars().all(|c| c.is_ascii_digit());
    /// A user's name as operators, logs and terminals show it: an e-mail address or a short name.
    UserName, "user name", 128, "letters, digits and . _ + @ -, at most 128",
        |t| t.chars().all(|c| c.is_ascii_alphanumeric() || ".-_+@".contains(c));
    /// What operators call an identity provider: the part of a group's name before the slash. `local` is the
    /// configuration itself.
    ProviderAlias, "provider alias", 40, "lower-case letters, digits and inner hyphens, at most 40",
        |t| studio_name(t) && !t.chars().any(|c| c.is_ascii_uppercase());
    /// A group of the identity provider, `provider/group`.
    GroupName, "group", 256, "provider/group, without control characters",
        |t| t.split_once('/').is_some_and(|(p, g)| !p.is_empty() && !g.is_empty()) && !t.chars().any(char::is_control);
    /// An instance type, `ml.m5.xlarge`.
    InstanceType, "instance type", 64, "ml. and then letters, digits, dots and hyphens",
        |t| t.starts_with("ml.") && t.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
}
