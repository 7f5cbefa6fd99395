//! AssumeRoleWithWebIdentity: nobody signs the call, an ID token proves who asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::ask::{self, Ask, Form, name_rule, validation};
use super::{answer, denied, lasts, packed_percent};
use crate::account::Object;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::iam::{Context, Effect, Question};
use crate::oidc::{self, Claims, Token, name_of, provider_arn};
use crate::roles::{Principal, Role};
use crate::trail::Event;
use crate::xml::Element;

/// The claim whose tags become the session's.
const TAGS: &str = "https://aws.amazon.com/tags";
/// The claim whose text becomes the session's source identity.
const SOURCE_IDENTITY: &str = "https://aws.amazon.com/source_identity";
/// How long a role's sessions last at most; what a role has unless its owner raised it.
const ROLE_MAX_S: i64 = 3600;

/// Runs the operation and answers its result element; the event tells CloudTrail, without the token.
pub(crate) async fn run(cloud: &Arc<Cloud>, mut form: Form, event: &mut Event) -> Result<Element, ApiError> {
    if let Some(error) = cloud.faults().failure_of("AssumeRoleWithWebIdentity") {
        return Err(error);
    }
    let (mut ask, token) = ask::read_web(&mut form)?;
    event.request_parameters = Value::Object(ask::shown(&ask));
    event.resource = Some(ask.role_arn.clone());
    form.finish()?;
    let account = account_of(&ask)?;
    let claims = proven(cloud, &account, &token).await?;
    let provider = provider_arn(&account, &claims.issuer);
    event.user_identity = Some(json!({
        "type": "WebIdentityUser",
        "principalId": format!("{provider}:{}:{}", claims.audience, claims.subject),
        "userName": claims.subject,
        "identityProvider": provider,
    }));
    (ask.tags, ask.transitive) = tags(&claims.all)?;
    ask.source_identity = source_identity(&claims.all)?;
    event.request_parameters = Value::Object(ask::shown(&ask));
    let role = cloud.world().roles.get(&ask.role_arn).cloned();
    let role = trusted(role, &ask, &claims, &provider)?;
    if ask.duration_s > ROLE_MAX_S {
        let words = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(validation(words.to_owned()));
    }
    let principal = session(&role, &ask);
    let packed = packed_percent(&ask, &principal)?;
    let now = cloud.clock.now();
    let expires = now + lasts(cloud, &ask);
    let credentials = cloud.keys().issue(principal.clone(), now, expires);
    event.response_elements =
        json!({ "assumedRoleUser": { "arn": principal.arn() }, "accessKeyId": credentials.access_key_id });
    let name = "AssumeRoleWithWebIdentityResult";
    let result = answer(name, &principal, &credentials, expires, packed);
    Ok(result
        .text("SubjectFromWebIdentityToken", &claims.subject)
        .text("Provider", &claims.issuer)
        .text("Audience", &claims.audience))
}

fn account_of(ask: &Ask) -> Result<String, ApiError> {
    let account = ask.role_arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(":role/"));
    let (account, _) = account.ok_or_else(|| validation("Request ARN is invalid".to_owned()))?;
    Ok(account.to_owned())
}

/// What the token says, if a provider that the account has registered signed it.
async fn proven(cloud: &Cloud, account: &str, token: &str) -> Result<Claims, ApiError> {
    let token = Token::parse(token)?;
    let provider = cloud.world().oidc_providers.get(&provider_arn(account, token.issuer())).cloned();
    // Two issuers may differ by their scheme alone.
    let provider = provider.filter(|provider| provider.url == token.issuer()).ok_or_else(|| {
        let words = format!("No OpenIDConnect provider found in your account for {}", token.issuer());
        ApiError::new("InvalidIdentityToken", words)
    })?;
    let keys = oidc::published_keys(&provider).await?;
    token.prove(&provider, &keys, cloud.clock.now())
}

/// Tags of the token in the form that AWS documents: `{"principal_tags": {KEY: [VALUE]}, "transitive_tag_keys": [KEY]}`.
fn tags(claims: &Object) -> Result<(crate::roles::Tags, BTreeSet<String>), ApiError> {
    let odd = || ApiError::new("InvalidIdentityToken", format!("The claim {TAGS} is malformed"));
    let Some(claim) = claims.get(TAGS) else { return Ok(Default::default()) };
    let claim = claim.as_object().ok_or_else(odd)?;
    let mut members = Vec::new();
    for (key, values) in claim.get("principal_tags").and_then(Value::as_object).ok_or_else(odd)? {
        let [Value::String(value)] = values.as_array().map(Vec::as_slice).ok_or_else(odd)? else {
            return Err(odd());
        };
        members.push(BTreeMap::from([("Key".to_owned(), key.clone()), ("Value".to_owned(), value.clone())]));
    }
    let tags = ask::read_tags(members)?;
    let keys = match claim.get("transitive_tag_keys") {
        None => Vec::new(),
        Some(keys) => keys.as_array().cloned().ok_or_else(odd)?,
    };
    let keys =
        keys.iter().map(|key| key.as_str().map(|key| BTreeMap::from([(String::new(), key.to_owned())])));
    let transitive = ask::read_transitive(keys.collect::<Option<_>>().ok_or_else(odd)?, &tags)?;
    Ok((tags, transitive))
}

fn source_identity(claims: &Object) -> Result<Option<String>, ApiError> {
    let Some(claim) = claims.get(SOURCE_IDENTITY) else { return Ok(None) };
    let text = claim.as_str().unwrap_or_default();
    name_rule("sourceIdentity", text, 64)?;
    Ok(Some(text.to_owned()))
}

/// The role, if its trust policy lets this provider's token do everything that it asks for.
fn trusted(role: Option<Role>, ask: &Ask, claims: &Claims, provider: &str) -> Result<Role, ApiError> {
    let context = context(ask, claims, provider);
    let mut actions = vec!["sts:AssumeRoleWithWebIdentity"];
    if !ask.tags.is_empty() {
        actions.push("sts:TagSession");
    }
    if ask.source_identity.is_some() {
        actions.push("sts:SetSourceIdentity");
    }
    let refused = |action: &str| denied(format!("Not authorized to perform {action}"));
    let role = role.ok_or_else(|| refused("sts:AssumeRoleWithWebIdentity"))?;
    for action in actions {
        let question = Question { action, resource: &ask.role_arn, context: &context };
        if role.trust.trust_federated(provider, &question) != Some(Effect::Allow) {
            return Err(refused(action));
        }
    }
    Ok(role)
}

fn context(ask: &Ask, claims: &Claims, provider: &str) -> Context {
    let (mut context, name) = (Context::default(), name_of(&claims.issuer));
    context.set(&format!("{name}:sub"), &claims.subject);
    context.set(&format!("{name}:aud"), &claims.audience);
    if let Some(Value::Array(methods)) = claims.all.get("amr") {
        let methods = methods.iter().filter_map(Value::as_str).map(str::to_owned);
        context.set_all(&format!("{name}:amr"), methods.collect());
    }
    context.set("aws:FederatedProvider", provider);
    super::describe(&mut context, ask, None);
    context
}

fn session(role: &Role, ask: &Ask) -> Principal {
    let mut tags = role.tags.clone();
    for (key, value) in &ask.tags {
        tags.retain(|present, _| !present.eq_ignore_ascii_case(key));
        tags.insert(key.clone(), value.clone());
    }
    Principal {
        tags,
        transitive: ask.transitive.clone(),
        source_identity: ask.source_identity.clone(),
        session_policy: ask.policy.clone(),
        ..Principal::of_role(role, &ask.session)
    }
}
