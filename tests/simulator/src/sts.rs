//! STS: AssumeRole, AssumeRoleWithWebIdentity and GetCallerIdentity, in the Query protocol.

mod ask;
mod web;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

pub(crate) use self::ask::Form;
use self::ask::{Ask, validation};
pub(crate) use self::web::run as run_web;
use crate::cloud::{Call, Cloud};
use crate::error::ApiError;
use crate::iam::{Context, Effect, Question};
use crate::keys::Credentials;
use crate::roles::{Principal, Role};
use crate::xml::Element;

/// AWS packs policy and tags in a binary form of its own, whose room is unknown; this is about what people report.
const PACKED_ROOM: usize = 1536;

fn denied(message: String) -> ApiError {
    ApiError { status: 403, ..ApiError::new("AccessDenied", message) }
}

/// Runs one operation and answers its result element.
pub(crate) fn run(call: &mut Call<'_>, mut form: Form) -> Result<Element, ApiError> {
    match call.operation {
        "GetCallerIdentity" => {
            form.finish()?;
            let principal = &call.caller.principal;
            Ok(Element::new("GetCallerIdentityResult")
                .text("Arn", principal.arn())
                .text("UserId", principal.user_id())
                .text("Account", &principal.account))
        }
        "AssumeRole" => {
            let asked = ask::read(&mut form);
            // CloudTrail shows what was asked even if it is refused.
            if let Ok(ask) = &asked {
                call.input = ask::shown(ask);
            }
            let ask = asked?;
            form.finish()?;
            assume_role(call, ask)
        }
        other => Err(ApiError::new(
            "InvalidAction",
            format!("Could not find operation {other} for version 2011-06-15"),
        )),
    }
}

fn assume_role(call: &mut Call<'_>, ask: Ask) -> Result<Element, ApiError> {
    call.resource = Some(ask.role_arn.clone());
    let role = call.cloud.world().roles.get(&ask.role_arn).cloned();
    trusted(call, &ask, role.as_ref())?;
    let role = role.ok_or_else(|| refusal(call, "sts:AssumeRole", &ask))?;
    if ask.duration_s > 3600 {
        // Every caller here acts in a role already.
        return Err(validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
                .to_owned(),
        ));
    }
    let principal = session(&call.caller.principal, &role, &ask)?;
    let packed = packed_percent(&ask, &principal)?;
    let expires = call.now + lasts(call.cloud, &ask);
    let credentials = call.cloud.keys().issue(principal.clone(), call.now, expires);
    call.issued.insert("assumedRoleUser".to_owned(), json!({ "arn": principal.arn() }));
    call.issued.insert("accessKeyId".to_owned(), json!(credentials.access_key_id));
    Ok(answer("AssumeRoleResult", &principal, &credentials, expires, packed))
}

/// How long a session lasts: as long as was asked for, unless a test cuts it.
fn lasts(cloud: &Cloud, ask: &Ask) -> Duration {
    let asked = Duration::seconds(ask.duration_s);
    let longest = cloud.faults().longest_role_session.and_then(|longest| Duration::try_from(longest).ok());
    longest.map_or(asked, |longest| asked.min(longest))
}

fn refusal(call: &Call<'_>, action: &str, ask: &Ask) -> ApiError {
    denied(format!(
        "User: {} is not authorized to perform: {action} on resource: {}",
        call.caller.principal.arn(),
        ask.role_arn
    ))
}

/// Each action that the call needs must be trusted by the role, and allowed by the caller's own policies unless the
/// role of the same account names the caller's role itself.
fn trusted(call: &Call<'_>, ask: &Ask, role: Option<&Role>) -> Result<(), ApiError> {
    let caller = &call.caller.principal;
    let mut context = caller.context(call.region());
    describe(&mut context, ask, caller.source_identity.as_ref());
    let mut actions = vec!["sts:AssumeRole"];
    if !ask.tags.is_empty() || !caller.transitive.is_empty() {
        actions.push("sts:TagSession");
    }
    if ask.source_identity.is_some() || caller.source_identity.is_some() {
        actions.push("sts:SetSourceIdentity");
    }
    for action in actions {
        let question = Question { action, resource: &ask.role_arn, context: &context };
        if !may(call, role, &question, &context) {
            return Err(refusal(call, action, ask));
        }
    }
    Ok(())
}

/// What trust policies see of a wish. `inherited` is the source identity of whoever calls.
fn describe(context: &mut Context, ask: &Ask, inherited: Option<&String>) {
    context.set("sts:RoleSessionName", &ask.session);
    context.set_tags("aws:RequestTag", &ask.tags);
    if !ask.tags.is_empty() {
        context.set_all("aws:TagKeys", ask.tags.keys().cloned().collect());
    }
    if !ask.transitive.is_empty() {
        context.set_all("sts:TransitiveTagKeys", ask.transitive.iter().cloned().collect());
    }
    if let Some(identity) = ask.source_identity.as_ref().or(inherited) {
        context.set("sts:SourceIdentity", identity);
    }
    if let Some(id) = &ask.external_id {
        context.set("sts:ExternalId", id);
    }
}

fn may(call: &Call<'_>, role: Option<&Role>, question: &Question<'_>, context: &Context) -> bool {
    let Some(role) = role else { return false };
    let caller = &call.caller.principal;
    // Trust policies have no Resource, so the question's does not matter to them.
    let question = Question { context, ..*question };
    let own = call.cloud.decide(caller, &question);
    if matches!(own, crate::iam::Decision::ExplicitDeny(_)) {
        return false;
    }
    let (role_arn, session_arn) = (caller.role_arn(), caller.arn());
    let direct = role.trust.trust(&[&role_arn, &session_arn], &question);
    let root = format!("arn:aws:iam::{}:root", caller.account);
    let through_account = role.trust.trust(&[&role_arn, &session_arn, &root, &caller.account], &question);
    match (direct, through_account) {
        (_, Some(Effect::Deny)) | (_, None) => false,
        // A session policy bounds what the caller itself may, whatever the trust.
        (Some(Effect::Allow), _) if role.account == caller.account && caller.session_policy.is_none() => true,
        (_, Some(Effect::Allow)) => own == crate::iam::Decision::Allow,
    }
}

fn session(caller: &Principal, role: &Role, ask: &Ask) -> Result<Principal, ApiError> {
    if let (Some(present), Some(asked)) = (&caller.source_identity, &ask.source_identity)
        && present != asked
    {
        return Err(denied("The SourceIdentity of a session cannot be changed".to_owned()));
    }
    let mut tags = role.tags.clone();
    let inherited = caller.tags.iter().filter(|(key, _)| caller.transitive.contains(&key.to_lowercase()));
    for (key, value) in inherited {
        if ask.tags.keys().any(|asked| asked.eq_ignore_ascii_case(key)) {
            return Err(ApiError::new(
                "InvalidParameterValue",
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key \
                 from the calling session.",
            ));
        }
        tags.insert(key.clone(), value.clone());
    }
    for (key, value) in &ask.tags {
        tags.retain(|present, _| !present.eq_ignore_ascii_case(key));
        tags.insert(key.clone(), value.clone());
    }
    let mut transitive = caller.transitive.clone();
    transitive.extend(ask.transitive.iter().cloned());
    Ok(Principal {
        tags,
        transitive,
        source_identity: ask.source_identity.clone().or_else(|| caller.source_identity.clone()),
        session_policy: ask.policy.clone(),
        ..Principal::of_role(role, &ask.session)
    })
}

fn packed_percent(ask: &Ask, principal: &Principal) -> Result<usize, ApiError> {
    let tags: usize = principal.tags.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
    let percent = (ask.policy_chars / 2 + tags).div_ceil(PACKED_ROOM / 100);
    if percent > 100 {
        return Err(ApiError::new(
            "PackedPolicyTooLarge",
            format!("Packed policy consumes {percent}% of allotted space, please use smaller policy."),
        ));
    }
    Ok(percent)
}

fn answer(
    name: &'static str,
    principal: &Principal,
    credentials: &Credentials,
    expires: OffsetDateTime,
    packed: usize,
) -> Element {
    let credentials = Element::new("Credentials")
        .text("AccessKeyId", &credentials.access_key_id)
        .text("SecretAccessKey", &credentials.secret_access_key)
        .text("SessionToken", credentials.session_token.as_deref().unwrap_or_default())
        .text("Expiration", crate::trail::event_time(expires.replace_nanosecond(0).unwrap_or(expires)));
    let user = Element::new("AssumedRoleUser")
        .text("AssumedRoleId", principal.user_id())
        .text("Arn", principal.arn());
    let mut result = Element::new(name).child(user).child(credentials);
    if packed > 0 {
        result = result.text("PackedPolicySize", packed.to_string());
    }
    match &principal.source_identity {
        Some(identity) => result.text("SourceIdentity", identity),
        None => result,
    }
}

/// What CloudTrail keeps of the answer.
pub(crate) fn issued(call: &Call<'_>) -> Value {
    Value::Object(call.issued.clone())
}

#[cfg(test)]
mod tests;
