//! Policy documents: reading them as strictly as AWS does, and the effect of one on a question.

use serde_json::Value;

use super::condition::{self, Condition};
use super::{Question, wildcard};

/// Why a policy document is refused. `Display` is AWS's wording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PolicyError {
    #[error("Syntax errors in policy.")]
    Syntax,
    #[error("The policy is not in the valid JSON format.")]
    Json,
    #[error("Policy statement must contain actions.")]
    NoAction,
    #[error("Policy statement must contain resources.")]
    NoResource,
    #[error("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")]
    Vendor,
    #[error("Resource {0} must be in ARN format or \"*\".")]
    Arn(String),
    #[error("Condition operator {0} is not known.")]
    Operator(String),
    #[error("Statement IDs (SID) in a single policy must be unique and alphanumeric.")]
    Sid,
    #[error("Policy document must not contain principals, or must contain them in a trust policy.")]
    Principal,
}

/// What a document is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyKind {
    /// To a role or a session: names resources.
    Identity,
    /// To a role, saying who may become it: names principals.
    Trust,
}

/// What a matching statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// A policy document.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// The document as it was given.
    pub(crate) document: Value,
    variables: bool,
    statements: Vec<Statement>,
}

#[derive(Debug, Clone)]
struct Statement {
    effect: Effect,
    actions: Matcher,
    resources: Option<Matcher>,
    principals: Vec<String>,
    federated: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone)]
struct Matcher {
    patterns: Vec<String>,
    inverted: bool,
}

impl Policy {
    /// Reads a document.
    pub(crate) fn parse(document: &Value, kind: PolicyKind) -> Result<Self, PolicyError> {
        let object = document.as_object().ok_or(PolicyError::Syntax)?;
        known(object, &["Version", "Id", "Statement"])?;
        let variables = match object.get("Version").map(|version| version.as_str()) {
            Some(Some("2012-10-17")) => true,
            None | Some(Some("2008-10-17")) => false,
            Some(_) => return Err(PolicyError::Syntax),
        };
        let statements = match object.get("Statement") {
            Some(Value::Array(list)) => list.iter().map(|one| statement(one, kind)).collect(),
            Some(one @ Value::Object(_)) => statement(one, kind).map(|one| vec![one]),
            _ => Err(PolicyError::Syntax),
        }?;
        if statements.is_empty() {
            return Err(PolicyError::Syntax);
        }
        unique_sids(object.get("Statement"))?;
        Ok(Self { document: document.clone(), variables, statements })
    }

    /// Reads a document from its text.
    pub(crate) fn parse_text(text: &str, kind: PolicyKind) -> Result<Self, PolicyError> {
        Self::parse(&serde_json::from_str(text).map_err(|_| PolicyError::Json)?, kind)
    }

    /// What this policy says to a question, if anything.
    pub(crate) fn effect(&self, question: &Question<'_>) -> Option<Effect> {
        self.strongest(self.statements.iter().filter(|s| s.covers(question, self.variables)))
    }

    /// What this trust policy says to a principal with one of these names, and whether a role was named as such.
    pub(crate) fn trust(&self, principals: &[&str], question: &Question<'_>) -> Option<Effect> {
        self.strongest(self.statements.iter().filter(|s| {
            s.principals.iter().any(|named| named == "*" || principals.contains(&named.as_str()))
                && s.covers(question, self.variables)
        }))
    }

    /// What this trust policy says to whoever has a token of an identity provider, by the provider's ARN.
    pub(crate) fn trust_federated(&self, provider: &str, question: &Question<'_>) -> Option<Effect> {
        let named = |s: &&Statement| s.federated.iter().any(|named| named == "*" || named == provider);
        self.strongest(self.statements.iter().filter(named).filter(|s| s.covers(question, self.variables)))
    }

    fn strongest<'a>(&self, statements: impl Iterator<Item = &'a Statement>) -> Option<Effect> {
        statements.map(|s| s.effect).reduce(|a, b| if a == Effect::Deny { a } else { b })
    }
}

impl Statement {
    fn covers(&self, question: &Question<'_>, variables: bool) -> bool {
        let action = question.action.to_lowercase();
        let acts = self.actions.any(|pattern| wildcard::matches(&pattern.to_lowercase(), &action));
        let reaches = self.resources.as_ref().is_none_or(|resources| {
            resources.any(|pattern| {
                let filled =
                    if variables { question.context.fill(pattern) } else { Some(pattern.to_owned()) };
                filled.is_some_and(|pattern| wildcard::arn_matches(&pattern, question.resource))
            })
        });
        acts && reaches && self.conditions.iter().all(|c| c.holds(question.context, variables))
    }
}

impl Matcher {
    fn any(&self, matches: impl Fn(&str) -> bool) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern)) != self.inverted
    }
}

type Object = serde_json::Map<String, Value>;

fn known(object: &Object, names: &[&str]) -> Result<(), PolicyError> {
    if object.keys().all(|key| names.contains(&key.as_str())) { Ok(()) } else { Err(PolicyError::Syntax) }
}

fn statement(value: &Value, kind: PolicyKind) -> Result<Statement, PolicyError> {
    let object = value.as_object().ok_or(PolicyError::Syntax)?;
    known(
        object,
        &["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "Condition"],
    )?;
    let effect = match object.get("Effect").and_then(Value::as_str) {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        _ => return Err(PolicyError::Syntax),
    };
    let actions = matcher(object, "Action", "NotAction")?.ok_or(PolicyError::NoAction)?;
    if !actions
        .patterns
        .iter()
        .all(|a| a == "*" || a.split_once(':').is_some_and(|(v, n)| !v.is_empty() && !n.is_empty()))
    {
        return Err(PolicyError::Vendor);
    }
    let resources = matcher(object, "Resource", "NotResource")?;
    let named = object.get("Principal").map(principals).transpose()?;
    match kind {
        PolicyKind::Identity if named.is_some() => return Err(PolicyError::Principal),
        PolicyKind::Identity if resources.is_none() => return Err(PolicyError::NoResource),
        PolicyKind::Trust if named.is_none() || resources.is_some() => {
            return Err(PolicyError::Principal);
        }
        _ => {}
    }
    if let Some(odd) = resources.iter().flat_map(|r| &r.patterns).find(|r| !is_arn_pattern(r)) {
        return Err(PolicyError::Arn(odd.clone()));
    }
    let conditions = object.get("Condition").map(condition::parse).transpose()?.unwrap_or_default();
    let (principals, federated) = named.unwrap_or_default();
    Ok(Statement { effect, actions, resources, principals, federated, conditions })
}

fn is_arn_pattern(text: &str) -> bool {
    text == "*" || (text.starts_with("arn:") && text.split(':').count() >= 6)
}

fn matcher(object: &Object, plain: &str, inverted: &str) -> Result<Option<Matcher>, PolicyError> {
    match (object.get(plain), object.get(inverted)) {
        (Some(_), Some(_)) => Err(PolicyError::Syntax),
        (Some(value), None) => Ok(Some(Matcher { patterns: texts(value)?, inverted: false })),
        (None, Some(value)) => Ok(Some(Matcher { patterns: texts(value)?, inverted: true })),
        (None, None) => Ok(None),
    }
}

/// The principals of a statement: those of AWS, and identity providers.
fn principals(value: &Value) -> Result<(Vec<String>, Vec<String>), PolicyError> {
    match value {
        Value::String(all) if all == "*" => Ok((vec![all.clone()], vec![all.clone()])),
        Value::Object(kinds) => {
            known(kinds, &["AWS", "Service", "Federated"])?;
            let of = |kind: &str| kinds.get(kind).map(texts).transpose().map(Option::unwrap_or_default);
            Ok(([of("AWS")?, of("Service")?].concat(), of("Federated")?))
        }
        _ => Err(PolicyError::Syntax),
    }
}

fn texts(value: &Value) -> Result<Vec<String>, PolicyError> {
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(list) if !list.is_empty() => {
            list.iter().map(|one| one.as_str().map(str::to_owned).ok_or(PolicyError::Syntax)).collect()
        }
        _ => Err(PolicyError::Syntax),
    }
}

fn unique_sids(statements: Option<&Value>) -> Result<(), PolicyError> {
    let mut seen = std::collections::BTreeSet::new();
    for sid in statements.and_then(Value::as_array).into_iter().flatten().filter_map(|s| s.get("Sid")) {
        let sid = sid.as_str().ok_or(PolicyError::Sid)?;
        if !sid.bytes().all(|b| b.is_ascii_alphanumeric()) || !seen.insert(sid) {
            return Err(PolicyError::Sid);
        }
    }
    Ok(())
}
