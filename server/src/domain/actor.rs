//! Who acts towards AWS, and under which name CloudTrail will show it.

use std::fmt;
use std::ops::RangeInclusive;

use super::ids::{UserId, UserName};

/// The name under which the gateway looks into spaces by itself. No person ever has it in CloudTrail.
pub const PROBE: &str = "spaceport-probe";

/// Who is behind a role session: a person, or the probe, by which the gateway looks into spaces itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actor(Who);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Person(Person),
    Probe,
}

/// A person, as they act.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Person {
    user: UserId,
    name: UserName,
    subject: String,
}

impl Actor {
    /// The actor for a person.
    #[must_use]
    pub fn person(user: &super::user::User) -> Self {
        Self(Who::Person(Person { user: user.id, name: user.name.clone(), subject: user.subject.clone() }))
    }

    /// The actor for a look into a space that nobody asked for.
    #[must_use]
    pub const fn probe() -> Self {
        Self(Who::Probe)
    }

    /// The person, if it is one.
    #[must_use]
    pub const fn as_person(&self) -> Option<&Person> {
        match &self.0 {
            Who::Person(person) => Some(person),
            Who::Probe => None,
        }
    }

    /// The name that people read.
    #[must_use]
    pub fn name(&self) -> &str {
        self.as_person().map_or(PROBE, |person| person.name.as_str())
    }

    /// `RoleSessionName` and `SourceIdentity`: `[\w+=,.@-]{2,64}` (STS AssumeRole), never the same for two actors.
    #[must_use]
    pub fn source_identity(&self) -> String {
        self.as_person().map_or_else(|| PROBE.to_owned(), Person::source_identity)
    }
}

impl Person {
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

    /// As [`Actor::source_identity`]. A name that had to be cut or changed carries the whole id of the user's row.
    #[must_use]
    pub fn source_identity(&self) -> String {
        let keep = |c: char| c.is_ascii_alphanumeric() || "+=,.@-_".contains(c);
        self.told_apart(self.name.as_str(), keep, 2..=64)
    }

    /// A text within what AWS takes: these characters, so many of them. Two different texts of two people never come
    /// out the same: what had to be changed ends in the user's id, and so does what could be mistaken for that or for
    /// the probe.
    #[must_use]
    pub fn told_apart(&self, text: &str, keep: fn(char) -> bool, length: RangeInclusive<usize>) -> String {
        let clean: String = text.chars().map(|c| if keep(c) { c } else { '_' }).collect();
        let reserved = clean.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
        let mistaken = ends_in_an_id(text) || text.eq_ignore_ascii_case(PROBE);
        if clean == text && length.contains(&clean.chars().count()) && !reserved && !mistaken {
            return clean;
        }
        let id = self.user.uuid().simple().to_string();
        let room = length.end().saturating_sub(id.len() + 1);
        // A text that AWS reserves must not begin with its prefix even now.
        let head: String =
            clean.chars().map(|c| if reserved && c == ':' { '_' } else { c }).take(room).collect();
        format!("{head}-{id}")
    }
}

/// Whether a text ends as one that was changed does.
fn ends_in_an_id(text: &str) -> bool {
    text.rsplit_once('-').is_some_and(|(_, id)| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::testing::user;
    use super::*;

    const IDS: [u128; 3] = [1, 2, u128::MAX];

    fn actor(id: u128, name: &str, subject: &str) -> Person {
        Person {
            user: UserId::from(Uuid::from_u128(id)),
            name: name.parse().unwrap(),
            subject: subject.to_owned(),
        }
    }

    /// Names that are easily taken for each other: short, long, of one case or the other, or ending in an id.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            "[aA][._+@-]?[bB]?[._]?",
            "a{30,33}b?",
            "a{62,128}",
            (0..IDS.len(), "[a-]{0,3}|a{31}|a{32}")
                .prop_map(|(id, head)| format!("{head}-{}", Uuid::from_u128(IDS[id]).simple())),
            "[a-zA-Z0-9._+@-]{1,128}",
        ]
    }

    /// Anything that a provider may call a person.
    fn subject() -> impl Strategy<Value = String> {
        prop_oneof![name(), "[aA][|_ é.#/]{0,2}[bß]?", "é{250,300}", "(?i)aws:[a-z:|]{0,3}", "\\PC{0,300}"]
    }

    fn tag(c: char) -> bool {
        c.is_alphanumeric() || " _.:/=+-@".contains(c)
    }

    proptest! {
        #[test]
        fn two_people_never_have_the_same_source_identity(one in name(), two in name(), ids in (0..3_usize, 0..3_usize)) {
            prop_assume!(one != two && ids.0 != ids.1);
            let (one, two) = (actor(IDS[ids.0], &one, "s"), actor(IDS[ids.1], &two, "s"));
            prop_assert_ne!(one.source_identity(), two.source_identity());
        }

        #[test]
        fn a_source_identity_is_stable_and_one_that_sts_takes(name in name()) {
            let identity = actor(7, &name, "s").source_identity();
            prop_assert!((2..=64).contains(&identity.len()), "{}", identity);
            prop_assert!(identity.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@-_".contains(c)), "{}", identity);
            prop_assert_eq!(actor(7, &name, "another subject").source_identity(), identity);
        }

        #[test]
        fn two_subjects_never_come_out_the_same(one in subject(), two in subject(), ids in (0..3_usize, 0..3_usize)) {
            prop_assume!(one != two && ids.0 != ids.1);
            let told = |id: usize, text: &str| actor(IDS[id], "a", text).told_apart(text, tag, 1..=256);
            let (one, two) = (told(ids.0, &one), told(ids.1, &two));
            prop_assert_ne!(&one, &two);
            prop_assert!((1..=256).contains(&one.chars().count()) && one.chars().all(tag), "{}", one);
            prop_assert!(!one.to_ascii_lowercase().starts_with("aws:"), "{}", one);
        }
    }

    #[test]
    fn look_alikes_have_names_of_their_own_that_stay_the_same() {
        // Another release must not change one: CloudTrail's older records and trust policies have them.
        let (dots, long) = ("a.b@x".to_owned(), "a".repeat(128));
        let names = [dots.as_str(), "a_b@x", "a-b@x", "A.b@x", "a+b@x", "a.b@x.", long.as_str()];
        let identities: Vec<String> =
            (1..).zip(names).map(|(id, name)| actor(id, name, "s").source_identity()).collect();
        assert_eq!(identities[..6], names[..6], "what fits is as it is");
        let tail = "a".repeat(31) + "-00000000000000000000000000000007";
        assert_eq!(identities[6], tail);
        // Names are plain by their type; subjects are whatever a provider writes, at any length.
        let subjects = ["ä.b@x", "a\u{308}.b@x", "а.b@x", "a|b@x", "a_b@x", "名前", ""];
        let long = ["é".repeat(200), "e".repeat(200), "é".repeat(300)];
        let all = subjects.into_iter().map(str::to_owned).chain(long);
        let told: std::collections::BTreeSet<String> = (1..)
            .zip(all)
            .map(|(id, text)| actor(id, "anna", &text).told_apart(&text, tag, 1..=256))
            .collect();
        assert_eq!(told.len(), 10);
        assert!("ä.b@x".parse::<UserName>().is_err() && "a".repeat(200).parse::<UserName>().is_err());
    }

    #[test]
    fn address_that_fits_is_the_source_identity_as_it_is() {
        assert_eq!(Actor::person(&user("alice@example.com", &[])).source_identity(), "alice@example.com");
    }

    #[test]
    fn no_person_is_taken_for_the_probe() {
        assert_eq!(Actor::probe().source_identity(), "spaceport-probe");
        for name in ["spaceport-probe", "Spaceport-Probe"] {
            let identity = Actor::person(&user(name, &[])).source_identity();
            assert!(
                identity.starts_with(&format!("{name}-")) && identity.len() == name.len() + 33,
                "{identity}"
            );
        }
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
