//! What STS is asked for a role: the form of the Query protocol, and the rules of each parameter.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::account::Object;
use crate::error::ApiError;
use crate::iam::{Policy, PolicyKind};
use crate::roles::Tags;
use crate::sagemaker::patterns;

/// Plain characters that a session policy may have.
const POLICY_CHARS: usize = 2048;
/// Session tags of one call.
const TAGS_MAX: usize = 50;

/// The parameters of a Query request, taken out as they are read.
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// The members of `name.member.N`, each a map from what follows.
    fn members(&mut self, name: &str) -> Vec<BTreeMap<String, String>> {
        // Clients send an empty list as an empty parameter of its name.
        if self.0.get(name).is_some_and(String::is_empty) {
            self.0.remove(name);
        }
        let prefix = format!("{name}.member.");
        let mut members: BTreeMap<u32, BTreeMap<String, String>> = BTreeMap::new();
        let keys: Vec<String> = self.0.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
        for key in keys {
            let rest = key.get(prefix.len()..).unwrap_or_default();
            let (index, member) = rest.split_once('.').unwrap_or((rest, ""));
            if let (Ok(index), Some(value)) = (index.parse(), self.0.remove(&key)) {
                members.entry(index).or_default().insert(member.to_owned(), value);
            }
        }
        members.into_values().collect()
    }

    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            Some(name) => Err(validation(format!("Unexpected parameter '{name}'"))),
            None => Ok(()),
        }
    }
}

/// What was asked.
pub(super) struct Ask {
    pub(super) role_arn: String,
    pub(super) session: String,
    pub(super) duration_s: i64,
    pub(super) tags: Tags,
    pub(super) transitive: BTreeSet<String>,
    pub(super) source_identity: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) policy: Option<Policy>,
    pub(super) policy_chars: usize,
}

pub(super) fn validation(message: String) -> ApiError {
    ApiError::new("ValidationError", message)
}

/// Reads the parameters of AssumeRole.
pub(super) fn read(form: &mut Form) -> Result<Ask, ApiError> {
    let mut ask = common(form)?;
    ask.source_identity = form.take("SourceIdentity");
    if let Some(identity) = &ask.source_identity {
        name_rule("sourceIdentity", identity, 64)?;
        if identity.to_lowercase().starts_with("aws:") {
            return Err(validation("SourceIdentity must not start with 'aws:'".to_owned()));
        }
    }
    ask.tags = read_tags(form.members("Tags"))?;
    ask.transitive = read_transitive(form.members("TransitiveTagKeys"), &ask.tags)?;
    ask.external_id = form.take("ExternalId");
    Ok(ask)
}

/// Reads the parameters of AssumeRoleWithWebIdentity, and the token: tags and source identity are in it.
pub(super) fn read_web(form: &mut Form) -> Result<(Ask, String), ApiError> {
    let ask = common(form)?;
    let token = need(form, "WebIdentityToken")?;
    if !(4..=20_000).contains(&token.len()) {
        // The value is a secret: AWS does not repeat it either.
        return Err(validation(
            "1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: \
             Member must have length between 4 and 20000"
                .to_owned(),
        ));
    }
    Ok((ask, token))
}

fn need(form: &mut Form, name: &str) -> Result<String, ApiError> {
    form.take(name).ok_or_else(|| {
        validation(format!(
            "1 validation error detected: Value null at '{}' failed to satisfy constraint: Member must not be null",
            lower_first(name)
        ))
    })
}

/// What every way to become a role takes.
fn common(form: &mut Form) -> Result<Ask, ApiError> {
    let (role_arn, session) = (need(form, "RoleArn")?, need(form, "RoleSessionName")?);
    name_rule("roleSessionName", &session, 64)?;
    let duration = form.take("DurationSeconds").unwrap_or_else(|| "3600".to_owned());
    let duration_s = duration.parse().map_err(|_| ApiError::new("MalformedInput", "DurationSeconds"))?;
    if !(900..=43_200).contains(&duration_s) {
        return Err(validation(format!(
            "1 validation error detected: Value '{duration_s}' at 'durationSeconds' failed to satisfy constraint: \
             Member must have value between 900 and 43200"
        )));
    }
    let policy_text = form.take("Policy");
    let policy_chars = policy_text.as_deref().map_or(0, |text| text.chars().count());
    if policy_chars > POLICY_CHARS {
        return Err(validation(format!(
            "1 validation error detected: Value at 'policy' failed to satisfy constraint: \
             Member must have length less than or equal to {POLICY_CHARS}"
        )));
    }
    let policy = policy_text.map(|text| Policy::parse_text(&text, PolicyKind::Identity)).transpose();
    Ok(Ask {
        role_arn,
        session,
        duration_s,
        tags: Tags::new(),
        transitive: BTreeSet::new(),
        source_identity: None,
        external_id: None,
        policy: policy.map_err(|error| ApiError::new("MalformedPolicyDocument", error.to_string()))?,
        policy_chars,
    })
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

/// What session names and source identities are made of.
pub(super) fn name_rule(member: &str, text: &str, max: usize) -> Result<(), ApiError> {
    let fits = text.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c));
    if fits && (2..=max).contains(&text.chars().count()) {
        return Ok(());
    }
    Err(validation(format!(
        "1 validation error detected: Value '{text}' at '{member}' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [\\w+=,.@-]{{2,{max}}}"
    )))
}

pub(super) fn read_tags(members: Vec<BTreeMap<String, String>>) -> Result<Tags, ApiError> {
    if members.len() > TAGS_MAX {
        return Err(validation(format!(
            "1 validation error detected: Value at 'tags' failed to satisfy constraint: \
             Member must have length less than or equal to {TAGS_MAX}"
        )));
    }
    let (mut tags, mut seen) = (Tags::new(), BTreeSet::new());
    for mut member in members {
        let (Some(key), Some(value)) = (member.remove("Key"), member.remove("Value")) else {
            return Err(validation("Tags must have a Key and a Value".to_owned()));
        };
        let lengths = (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
        if !lengths
            || !patterns::tag(&key)
            || !patterns::tag(&value)
            || key.to_lowercase().starts_with("aws:")
        {
            return Err(validation(format!("The session tag '{key}' is not valid")));
        }
        if !seen.insert(key.to_lowercase()) {
            return Err(ApiError::new(
                "InvalidParameterValue",
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            ));
        }
        tags.insert(key, value);
    }
    Ok(tags)
}

pub(super) fn read_transitive(
    members: Vec<BTreeMap<String, String>>,
    tags: &Tags,
) -> Result<BTreeSet<String>, ApiError> {
    let keys: BTreeSet<String> = members
        .into_iter()
        .filter_map(|mut member| member.remove(""))
        .map(|key| key.to_lowercase())
        .collect();
    if keys.iter().any(|key| !tags.keys().any(|tag| tag.to_lowercase() == *key)) {
        return Err(ApiError::new(
            "InvalidParameterValue",
            "One or more of the specified transitive tag keys are not included in the requested tags.",
        ));
    }
    Ok(keys)
}

/// The parameters as CloudTrail shows them.
pub(super) fn shown(ask: &Ask) -> Object {
    let shown = json!({
        "roleArn": ask.role_arn,
        "roleSessionName": ask.session,
        "durationSeconds": ask.duration_s,
        "sourceIdentity": ask.source_identity,
        "principalTags": ask.tags,
        "transitiveTagKeys": ask.transitive,
        "policy": ask.policy.as_ref().map(|policy| policy.document.to_string()),
    });
    let mut shown = shown.as_object().cloned().unwrap_or_default();
    shown.retain(|_, value| !value.is_null() && *value != json!({}) && *value != json!([]));
    shown
}
