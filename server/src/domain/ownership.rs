//! Whose user profile is whose, by a domain's rule: a template over what a provider says of a person, or the user of IAM
//! Identity Center for whom SageMaker made the profile.
//!
//! In a template a value becomes part of a profile's name with every run of `._+@-` and spaces as one hyphen. What SageMaker would
//! not take even then is refused, and so is a name that two people would get: nothing is cut, nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::ids::{DomainAlias, ProviderAlias, UserProfileName};
use super::user::Profile;

/// A domain's rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The only provider whose word counts.
    pub provider: ProviderAlias,
    /// How the profile is found.
    pub profile: Rule,
}

/// How a person's user profile is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Its name is made from what the provider says.
    Named(Template),
    /// It is the one whose `SingleSignOnUserValue` is what the provider says, in any case of letters (SageMaker API,
    /// `DescribeUserProfile`).
    SingleSignOn(Field),
}

/// The user profiles of a domain that SageMaker made for users of IAM Identity Center, each with its
/// `SingleSignOnUserValue`.
pub type SsoUsers = BTreeMap<UserProfileName, String>;

/// What a provider says of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The provider.
    pub provider: ProviderAlias,
    /// Its stable identifier of the person.
    pub subject: String,
    /// The person's name.
    pub name: String,
    /// Their e-mail address, if the provider has verified it.
    pub email: Option<String>,
}

/// A person in front of the rules: what is said of them, and the profiles that are written for them by name.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    /// What their provider says.
    pub claims: &'a Claims,
    /// The profiles that the configuration gives them.
    pub written: &'a BTreeSet<Profile>,
}

/// What a template may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `{name}`.
    Name,
    /// `{subject}`.
    Subject,
    /// `{email}`.
    Email,
    /// `{email_local}`: the address before its `@`.
    EmailLocal,
}

/// The fields, each as a template writes it.
const FIELDS: [(Field, &str); 4] = [
    (Field::Name, "{name}"),
    (Field::Subject, "{subject}"),
    (Field::Email, "{email}"),
    (Field::EmailLocal, "{email_local}"),
];

impl Field {
    fn of(self, claims: &Claims) -> Option<&str> {
        let value = match self {
            Self::Name => Some(claims.name.as_str()),
            Self::Subject => Some(claims.subject.as_str()),
            Self::Email => claims.email.as_deref(),
            Self::EmailLocal => {
                claims.email.as_deref().and_then(|e| e.rsplit_once('@')).map(|(local, _)| local)
            }
        };
        value.filter(|value| !value.is_empty())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FIELDS.iter().find(|(field, _)| field == self).map_or("", |(_, text)| text))
    }
}

impl FromStr for Field {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let field = FIELDS.iter().find(|(_, written)| *written == text).map(|(field, _)| *field);
        field.ok_or("it is none of {name}, {subject}, {email}, {email_local}")
    }
}

/// A profile's name with one field in it: `{name}`, `team-{email_local}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    before: String,
    field: Field,
    after: String,
}

impl FromStr for Template {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = "it does not hold exactly one of {name}, {subject}, {email}, {email_local}";
        let (field, (before, after)) = FIELDS
            .iter()
            .find_map(|(field, written)| Some((*field, text.split_once(written)?)))
            .ok_or(one)?;
        if before.contains(['{', '}']) || after.contains(['{', '}']) {
            return Err(one);
        }
        if !before.chars().chain(after.chars()).all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err("around the field it holds more than letters, digits and hyphens");
        }
        Ok(Self { before: before.to_owned(), field, after: after.to_owned() })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.before, self.field, self.after)
    }
}

/// Why a rule gives a person no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProfile {
    /// The rule listens to another provider.
    #[error("the rule is for another provider")]
    OtherProvider,
    /// One is written for them.
    #[error("a profile is written for them")]
    Written,
    /// The provider does not say what the template needs.
    #[error("there is no {0}")]
    Missing(Field),
    /// SageMaker would not take the name.
    #[error("{0:?} is no name of a user profile")]
    Unfit(String),
    /// SageMaker made none for this user of IAM Identity Center, as far as profiles that own spaces were read.
    #[error("no user profile is that of the IAM Identity Center user {0:?}")]
    NotMade(String),
    /// It made several.
    #[error("several user profiles are those of the IAM Identity Center user {0:?}")]
    Several(String),
    /// Somebody else has it, or would get it by the same rule.
    #[error("{0} would be somebody else's, too")]
    Shared(Profile),
}

/// The profile that a domain's rule gives to each of these people, in their order. All who are known must be among
/// them: only then is a name that two would get seen, and refused to both.
#[must_use]
pub fn assign(
    rule: &Ownership,
    domain: &DomainAlias,
    sso: &SsoUsers,
    people: &[Person<'_>],
) -> Vec<Result<Profile, NoProfile>> {
    let made: Vec<_> = people.iter().map(|person| find(rule, domain, sso, person)).collect();
    // Names that differ by case alone are too near to be two people's.
    let mut holders: BTreeMap<String, Vec<&Claims>> = BTreeMap::new();
    for (person, made) in people.iter().zip(&made) {
        let written = person.written.iter().filter(|profile| profile.domain == *domain);
        for profile in written.chain(made.as_ref().ok()) {
            let holders = holders.entry(folded(profile)).or_default();
            if !holders.contains(&person.claims) {
                holders.push(person.claims);
            }
        }
    }
    made.into_iter()
        .map(|made| {
            let profile = made?;
            let alone = holders.get(&folded(&profile)).is_some_and(|holders| holders.len() == 1);
            if alone { Ok(profile) } else { Err(NoProfile::Shared(profile)) }
        })
        .collect()
}

fn folded(profile: &Profile) -> String {
    profile.name.as_str().to_ascii_lowercase()
}

fn find(
    rule: &Ownership,
    domain: &DomainAlias,
    sso: &SsoUsers,
    person: &Person<'_>,
) -> Result<Profile, NoProfile> {
    if person.claims.provider != rule.provider {
        return Err(NoProfile::OtherProvider);
    }
    if person.written.iter().any(|profile| profile.domain == *domain) {
        return Err(NoProfile::Written);
    }
    let value = |field: &Field| field.of(person.claims).ok_or(NoProfile::Missing(*field));
    let name = match &rule.profile {
        Rule::Named(template) => template.name(value(&template.field)?)?,
        Rule::SingleSignOn(field) => made_for(value(field)?, sso)?,
    };
    Ok(Profile { domain: domain.clone(), name })
}

/// The one profile that was made for a user of IAM Identity Center.
fn made_for(user: &str, sso: &SsoUsers) -> Result<UserProfileName, NoProfile> {
    let mut made = sso.iter().filter(|(_, value)| value.eq_ignore_ascii_case(user)).map(|(name, _)| name);
    let name = made.next().ok_or_else(|| NoProfile::NotMade(user.to_owned()))?;
    if made.next().is_some() { Err(NoProfile::Several(user.to_owned())) } else { Ok(name.clone()) }
}

impl Template {
    /// The name with a value in its place.
    fn name(&self, value: &str) -> Result<UserProfileName, NoProfile> {
        let parts: Vec<&str> =
            value.split(|c| "._+@- ".contains(c)).filter(|part| !part.is_empty()).collect();
        let name = format!("{}{}{}", self.before, parts.join("-"), self.after);
        // Without this, a value of separators alone would leave the same words of the template to everybody.
        if parts.is_empty() {
            return Err(NoProfile::Unfit(name));
        }
        name.parse().map_err(|_| NoProfile::Unfit(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn claims(provider: &str, name: &str, email: Option<&str>) -> Claims {
        Claims {
            provider: provider.parse().unwrap(),
            subject: format!("sub-{name}"),
            name: name.to_owned(),
            email: email.map(str::to_owned),
        }
    }

    fn rule(template: &str) -> Ownership {
        Ownership { provider: "okta".parse().unwrap(), profile: Rule::Named(template.parse().unwrap()) }
    }

    fn given(template: &str, people: &[Claims]) -> Vec<Result<String, NoProfile>> {
        let none = BTreeSet::new();
        let people: Vec<_> = people.iter().map(|claims| Person { claims, written: &none }).collect();
        let given = assign(&rule(template), &"main".parse().unwrap(), &SsoUsers::new(), &people);
        given.into_iter().map(|given| given.map(|profile| profile.to_string())).collect()
    }

    #[test]
    fn each_field_becomes_a_name_that_sagemaker_takes() {
        let anna = [claims("okta", "Anna Berg", Some("a.berg+x@example.com"))];
        for (template, name) in [
            ("{name}", "main/Anna-Berg"),
            ("{subject}", "main/sub-Anna-Berg"),
            ("{email}", "main/a-berg-x-example-com"),
            ("ml-{email_local}", "main/ml-a-berg-x"),
        ] {
            assert_eq!(given(template, &anna), [Ok(name.to_owned())], "{template}");
            assert_eq!(template.parse::<Template>().unwrap().to_string(), template);
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused_and_not_guessed() {
        let people = [
            claims("other", "anna", None),
            claims("okta", "René", None),
            claims("okta", &"a".repeat(64), None),
            claims("okta", "@", None),
            claims("okta", "", None),
        ];
        let unfit = |name: &str| Err(NoProfile::Unfit(name.to_owned()));
        assert_eq!(
            given("{name}", &people),
            [
                Err(NoProfile::OtherProvider),
                unfit("René"),
                unfit(&"a".repeat(64)),
                unfit(""),
                Err(NoProfile::Missing(Field::Name))
            ]
        );
        assert_eq!(given("{email}", &people[1..2]), [Err(NoProfile::Missing(Field::Email))]);
    }

    #[test]
    fn a_name_that_two_would_get_is_nobodys() {
        let people = [claims("okta", "a.b", None), claims("okta", "A_b", None), claims("okta", "c", None)];
        let given = given("{name}", &people);
        assert!(
            matches!(given[..], [Err(NoProfile::Shared(_)), Err(NoProfile::Shared(_)), Ok(_)]),
            "{given:?}"
        );
    }

    #[test]
    fn a_profile_that_is_written_for_somebody_is_given_to_nobody_else() {
        let (boss, anna) = (claims("local", "boss", None), claims("okta", "anna", None));
        let (written, none) = (BTreeSet::from(["main/Anna".parse().unwrap()]), BTreeSet::new());
        let people = [Person { claims: &boss, written: &written }, Person { claims: &anna, written: &none }];
        let domain = "main".parse().unwrap();
        let given = assign(&rule("{name}"), &domain, &SsoUsers::new(), &people);
        assert!(matches!(given[..], [Err(NoProfile::OtherProvider), Err(NoProfile::Shared(_))]), "{given:?}");
        let people = [Person { claims: &anna, written: &written }];
        assert_eq!(assign(&rule("{name}"), &domain, &SsoUsers::new(), &people), [Err(NoProfile::Written)]);
    }

    #[test]
    fn a_profile_of_a_user_of_identity_center_is_that_users() {
        let rule = Ownership {
            provider: "okta".parse().unwrap(),
            profile: Rule::SingleSignOn("{email}".parse().unwrap()),
        };
        let sso: SsoUsers =
            [("u-1", "Anna@Example.com"), ("u-2", "bo@example.com"), ("u-3", "BO@example.com")]
                .map(|(profile, user)| (profile.parse().unwrap(), user.to_owned()))
                .into();
        let people = [
            claims("okta", "anna", Some("anna@example.com")),
            claims("other", "anna", Some("anna@example.com")),
            claims("okta", "bo", Some("bo@example.com")),
            claims("okta", "cy", Some("cy@example.com")),
            claims("okta", "dee", None),
        ];
        let written = [BTreeSet::new(), BTreeSet::from(["main/u-9".parse().unwrap()])];
        let given = |written: &BTreeSet<Profile>, people: &[Claims]| -> Vec<_> {
            let people: Vec<_> = people.iter().map(|claims| Person { claims, written }).collect();
            assign(&rule, &"main".parse().unwrap(), &sso, &people)
        };
        assert_eq!(
            given(&written[0], &people),
            [
                Ok("main/u-1".parse().unwrap()),
                Err(NoProfile::OtherProvider),
                Err(NoProfile::Several("bo@example.com".to_owned())),
                Err(NoProfile::NotMade("cy@example.com".to_owned())),
                Err(NoProfile::Missing(Field::Email)),
            ]
        );
        assert_eq!(given(&written[1], &people[..1]), [Err(NoProfile::Written)]);
        // Two people of one address are nobody's owner.
        let twins = [people[0].clone(), Claims { subject: "sub-2".to_owned(), ..people[0].clone() }];
        assert!(given(&written[0], &twins).iter().all(|given| matches!(given, Err(NoProfile::Shared(_)))));
        assert!("{nobody}".parse::<Field>().is_err() && "x{email}".parse::<Field>().is_err());
    }

    #[test]
    fn templates_that_say_nothing_of_the_person_are_refused() {
        for text in ["", "team", "{nam}", "{name}{email}", "{name}-{", "a_{name}"] {
            text.parse::<Template>().unwrap_err();
        }
    }

    fn somebody() -> impl Strategy<Value = Claims> {
        let value = || prop_oneof!["[aAb][._+@ -]{0,2}[aA]?", "[a-zA-Zé._@]{0,8}", "a{60,66}"];
        let email =
            proptest::option::of((value(), "[xX][.-]y").prop_map(|(local, host)| format!("{local}@{host}")));
        (prop_oneof!["okta", "other"], value(), value(), email).prop_map(
            |(provider, subject, name, email)| Claims {
                provider: provider.parse().unwrap(),
                subject,
                name,
                email,
            },
        )
    }

    proptest! {
        #[test]
        fn two_people_never_get_the_same_profile(
            people in vec(somebody(), 0..12),
            template in prop_oneof!["\\{name\\}", "\\{subject\\}", "\\{email\\}", "x-\\{email_local\\}"],
        ) {
            let given = given(&template, &people);
            prop_assert_eq!(given.len(), people.len());
            for (one, a) in people.iter().zip(&given) {
                prop_assert!(a.is_err() || one.provider.as_str() == "okta");
                for (two, b) in people.iter().zip(&given) {
                    let (Ok(a), Ok(b)) = (a, b) else { continue };
                    prop_assert!(one == two || !a.eq_ignore_ascii_case(b), "{:?} {:?}", one, two);
                }
            }
        }
    }
}
