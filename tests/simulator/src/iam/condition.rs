//! Conditions of a statement: operators, set operators, `IfExists`.

use serde_json::Value;

use super::policy::PolicyError;
use super::{Context, wildcard};

/// One line of a `Condition` block: an operator, a key and its values.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    set: Option<Set>,
    test: Test,
    negated: bool,
    if_exists: bool,
    key: String,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    ForAllValues,
    ForAnyValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Arn,
    Bool,
    Null,
}

/// Reads a `Condition` block.
pub(super) fn parse(block: &Value) -> Result<Vec<Condition>, PolicyError> {
    let operators = block.as_object().ok_or(PolicyError::Syntax)?;
    let mut out = Vec::new();
    for (operator, keys) in operators {
        for (key, values) in keys.as_object().ok_or(PolicyError::Syntax)? {
            out.push(condition(operator, key, values)?);
        }
    }
    Ok(out)
}

fn condition(operator: &str, key: &str, values: &Value) -> Result<Condition, PolicyError> {
    let (set, name) = match operator.split_once(':') {
        Some(("ForAllValues", name)) => (Some(Set::ForAllValues), name),
        Some(("ForAnyValue", name)) => (Some(Set::ForAnyValue), name),
        Some(_) => return Err(PolicyError::Operator(operator.to_owned())),
        None => (None, operator),
    };
    let (name, if_exists) = match name.strip_suffix("IfExists") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let (test, negated) = match name {
        "StringEquals" => (Test::Equals, false),
        "StringNotEquals" => (Test::Equals, true),
        "StringEqualsIgnoreCase" => (Test::EqualsIgnoreCase, false),
        "StringNotEqualsIgnoreCase" => (Test::EqualsIgnoreCase, true),
        "StringLike" => (Test::Like, false),
        "StringNotLike" => (Test::Like, true),
        "ArnEquals" | "ArnLike" => (Test::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
        "Bool" => (Test::Bool, false),
        "Null" if !if_exists && set.is_none() => (Test::Null, false),
        _ => return Err(PolicyError::Operator(operator.to_owned())),
    };
    if !key.contains(':') {
        return Err(PolicyError::Vendor);
    }
    Ok(Condition { set, test, negated, if_exists, key: key.to_owned(), values: texts(values)? })
}

fn texts(values: &Value) -> Result<Vec<String>, PolicyError> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(PolicyError::Syntax),
    };
    match value_list(values) {
        Some(list) => list.iter().map(one).collect(),
        None => Ok(vec![one(values)?]),
    }
}

fn value_list(value: &Value) -> Option<&Vec<Value>> {
    value.as_array()
}

impl Condition {
    /// Whether the condition holds. `variables` says whether the policy's version knows policy variables.
    pub(super) fn holds(&self, context: &Context, variables: bool) -> bool {
        let present = context.values(&self.key);
        if self.test == Test::Null {
            let absent = present.is_none_or(<[String]>::is_empty);
            return self.values.iter().any(|wanted| *wanted == absent.to_string());
        }
        let Some(present) = present.filter(|values| !values.is_empty()) else {
            return match self.set {
                // Nothing contradicts, so every value of none fits.
                Some(Set::ForAllValues) => true,
                Some(Set::ForAnyValue) => self.if_exists,
                None => self.if_exists || self.negated,
            };
        };
        let fits = |value: &String| self.fits(value, context, variables);
        match self.set {
            Some(Set::ForAllValues) => present.iter().all(fits),
            Some(Set::ForAnyValue) => present.iter().any(fits),
            None if self.negated => present.iter().all(fits),
            None => present.iter().any(fits),
        }
    }

    fn fits(&self, value: &str, context: &Context, variables: bool) -> bool {
        let wanted = self.values.iter().filter_map(|wanted| {
            // A variable without a value matches nothing.
            if variables { context.fill(wanted) } else { Some(wanted.clone()) }
        });
        let matched = wanted.into_iter().any(|wanted| match self.test {
            Test::Equals => plain(&wanted, variables) == value,
            Test::EqualsIgnoreCase | Test::Bool => plain(&wanted, variables).eq_ignore_ascii_case(value),
            Test::Like => wildcard::matches(&wanted, value),
            Test::Arn => wildcard::arn_matches(&wanted, value),
            Test::Null => false,
        });
        matched != self.negated
    }
}

fn plain(wanted: &str, variables: bool) -> String {
    if variables { wildcard::unescape(wanted) } else { wanted.to_owned() }
}
