//! From a provider's claims to a person: pure, and refusing rather than guessing.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::config::Provider;
use crate::domain::ids::UserName;
use crate::domain::vouched::Vouched;

/// Clocks may differ by so much.
pub(super) const SKEW_S: i64 = 60;
/// More groups than anybody is in; a provider that sends more sends something else.
const MOST_GROUPS: usize = 2_000;

/// Why claims do not make a person. `Display` is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// A claim that must be there is missing.
    #[error("the claim {0} is missing")]
    Missing(String),
    /// A claim is of another kind than it must be.
    #[error("the claim {0} is not what it should be")]
    Malformed(String),
    /// The provider left the groups out since there are too many (OpenID Connect Core 5.6.2, distributed claims).
    #[error("the provider sent a reference instead of the groups: there are too many of them")]
    GroupsOverflow,
    /// The token does not count yet.
    #[error("the ID token is not valid yet")]
    NotYetValid,
    /// No claim gives a name that can be shown.
    #[error("no claim gives a name of letters, digits and . _ + @ -")]
    NoName,
}

/// What is left to check of an ID token whose signature, issuer, audience, nonce and expiry are right.
pub(super) fn check_not_before(claims: &Map<String, Value>, now: OffsetDateTime) -> Result<(), ClaimsError> {
    for claim in ["nbf", "iat"] {
        let Some(value) = claims.get(claim) else { continue };
        let seconds = value.as_f64().ok_or_else(|| ClaimsError::Malformed(claim.to_owned()))?;
        if seconds > (now.unix_timestamp() + SKEW_S) as f64 {
            return Err(ClaimsError::NotYetValid);
        }
    }
    Ok(())
}

/// Whether the groups must be asked for at the userinfo endpoint.
pub(super) fn lacks_groups(provider: &Provider, claims: &Map<String, Value>) -> bool {
    !claims.contains_key(&provider.groups_claim) && !points_elsewhere(provider, claims)
}

/// The person that claims are about.
pub(super) fn vouched(provider: &Provider, claims: &Map<String, Value>) -> Result<Vouched, ClaimsError> {
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str).filter(|text| !text.is_empty());
    let subject = text("sub").ok_or_else(|| ClaimsError::Missing("sub".to_owned()))?;
    let verified = claims.get("email_verified").is_some_and(|v| v == true || v == "true");
    let email = text("email").filter(|_| verified);
    let name = [email, text("preferred_username"), Some(subject)]
        .into_iter()
        .flatten()
        .find_map(|text| text.parse::<UserName>().ok())
        .ok_or(ClaimsError::NoName)?;
    Ok(Vouched {
        provider: provider.alias.clone(),
        subject: subject.to_owned(),
        name,
        email: email.map(str::to_owned),
        groups: groups(provider, claims)?,
    })
}

/// The groups. A missing claim is an error: an empty list would take rights away, or give those of nobody.
fn groups(provider: &Provider, claims: &Map<String, Value>) -> Result<BTreeSet<String>, ClaimsError> {
    let claim = &provider.groups_claim;
    let malformed = || ClaimsError::Malformed(claim.clone());
    match claims.get(claim) {
        None if points_elsewhere(provider, claims) => Err(ClaimsError::GroupsOverflow),
        None => Err(ClaimsError::Missing(claim.clone())),
        Some(Value::String(one)) => Ok([one.clone()].into()),
        Some(Value::Array(list)) if list.len() <= MOST_GROUPS => {
            list.iter().map(|group| group.as_str().map(str::to_owned).ok_or_else(malformed)).collect()
        }
        Some(_) => Err(malformed()),
    }
}

fn points_elsewhere(provider: &Provider, claims: &Map<String, Value>) -> bool {
    let names = claims.get("_claim_names").and_then(Value::as_object);
    names.is_some_and(|names| names.contains_key(&provider.groups_claim))
        || claims.get("hasgroups").is_some_and(|v| v == true || v == "true")
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    pub(in crate::identity) fn provider() -> Provider {
        Provider {
            alias: "okta".parse().unwrap(),
            name: "Okta".to_owned(),
            issuer: "https://login.example.com".parse().unwrap(),
            client_id: "spaceport".to_owned(),
            client_secret: None,
            scopes: Vec::new(),
            groups_claim: "groups".to_owned(),
            required_groups: BTreeSet::new(),
            login_age: Duration::from_secs(3600),
        }
    }

    fn of(claims: Value) -> Result<Vouched, ClaimsError> {
        vouched(&provider(), claims.as_object().unwrap())
    }

    #[test]
    fn name_is_the_verified_address_or_what_the_provider_prefers() {
        let with = |email_verified: Value| {
            of(json!({ "sub": "1", "email": "a@x.org", "email_verified": email_verified,
                       "preferred_username": "anna", "groups": [] }))
            .unwrap()
        };
        assert_eq!(
            (with(json!(true)).name.as_str(), with(json!(true)).email.as_deref()),
            ("a@x.org", Some("a@x.org"))
        );
        assert_eq!((with(json!(false)).name.as_str(), with(json!(false)).email), ("anna", None));
        assert_eq!(with(json!(1)).name.as_str(), "anna", "a number verifies nothing");
        assert_eq!(of(json!({ "sub": "Zoë", "groups": [] })), Err(ClaimsError::NoName));
    }

    #[test]
    fn missing_or_overflowing_groups_are_an_error_and_not_an_empty_list() {
        assert_eq!(of(json!({ "sub": "1" })), Err(ClaimsError::Missing("groups".to_owned())));
        let elsewhere = json!({ "sub": "1", "_claim_names": { "groups": "src1" } });
        assert_eq!(of(elsewhere.clone()), Err(ClaimsError::GroupsOverflow));
        assert!(!lacks_groups(&provider(), elsewhere.as_object().unwrap()));
        assert_eq!(of(json!({ "sub": "1", "hasgroups": "true" })), Err(ClaimsError::GroupsOverflow));
        assert_eq!(
            of(json!({ "sub": "1", "groups": [1] })),
            Err(ClaimsError::Malformed("groups".to_owned()))
        );
        assert_eq!(of(json!({ "sub": "1", "groups": "ml" })).unwrap().groups, ["ml".to_owned()].into());
    }

    #[test]
    fn token_from_the_future_is_refused_beyond_the_clocks_difference() {
        let now = datetime!(2026-11-26 12:00 UTC);
        let at = |claim: &str, offset: i64| {
            let claims = json!({ claim: now.unix_timestamp() + offset });
            check_not_before(claims.as_object().unwrap(), now)
        };
        for claim in ["nbf", "iat"] {
            assert_eq!(at(claim, 30), Ok(()));
            assert_eq!(at(claim, 120), Err(ClaimsError::NotYetValid));
        }
    }
}
