//! Who acts towards AWS, and under which name CloudTrail will show it.

use std::fmt;

use super::ids::{UserId, UserName};

/// The person behind a role session. The probe of a later release becomes a second way to make one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actor {
    user: UserId,
    name: UserName,
    subject: String,
}

impl Actor {
    /// The actor for a person.
    #[must_use]
    pub fn person(user: &super::user::User) -> Self {
        Self { user: user.id, name: user.name.clone(), subject: user.subject.clone() }
    }

    /// The user's row.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The provider's identifier of the person, for the session tag.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The user's name.
    #[must_use]
    pub const fn name(&self) -> &UserName {
        &self.name
    }

    /// `RoleSessionName` and `SourceIdentity`: `[\w+=,.@-]{2,64}` (STS AssumeRole), never the same for two people.
    ///
    /// A name that had to be cut or changed carries eight hexadecimal digits of the user's id.
    #[must_use]
    pub fn source_identity(&self) -> String {
        let name = self.name.as_str();
        let clean: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "+=,.@-_".contains(c) { c } else { '_' })
            .collect();
        if clean == name && (2..=64).contains(&clean.len()) && !clean.to_ascii_lowercase().starts_with("aws:")
        {
            return clean;
        }
        let id = self.user.uuid().simple().to_string();
        let tail = id.get(24..).unwrap_or_default();
        let head: String = clean.chars().take(55).collect();
        format!("{head}-{tail}")
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::user;
    use super::*;

    #[test]
    fn address_that_fits_is_the_source_identity_as_it_is() {
        assert_eq!(Actor::person(&user("alice@example.com", &[])).source_identity(), "alice@example.com");
    }

    #[test]
    fn names_that_are_cut_stay_apart_and_within_the_pattern() {
        let long = "a".repeat(100);
        let (one, two) = (Actor::person(&user(&long, &[])), Actor::person(&user(&long, &[])));
        assert_ne!(one.source_identity(), two.source_identity());
        for identity in [one.source_identity(), Actor::person(&user("b", &[])).source_identity()] {
            assert!((2..=64).contains(&identity.len()), "{identity}");
            assert!(
                identity.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@-_".contains(c)),
                "{identity}"
            );
        }
    }
}
