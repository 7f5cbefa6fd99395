//! Shapes of requests, and checking a request against one as strictly as AWS does: wrong types and unknown members are
//! a `SerializationException`, broken constraints a `ValidationException` that lists them all.

use serde_json::Value;

use crate::account::Object;
use crate::error::ApiError;

/// The shape of a value.
#[derive(Debug)]
pub(crate) enum Shape {
    Text { min: usize, max: usize, pattern: Option<&'static Pattern> },
    OneOf(&'static [&'static str]),
    Int { min: i64, max: i64 },
    Flag,
    List { of: &'static Self, max: usize },
    Struct(&'static [Field]),
}

/// A member of a structure.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: &'static Shape,
    pub(crate) required: bool,
}

/// A regular expression of the API's model, and the same in code.
pub(crate) struct Pattern {
    pub(crate) text: &'static str,
    pub(crate) matches: fn(&str) -> bool,
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

/// A member that must be there.
pub(crate) const fn required(name: &'static str, shape: &'static Shape) -> Field {
    Field { name, shape, required: true }
}

/// A member that may be there.
pub(crate) const fn optional(name: &'static str, shape: &'static Shape) -> Field {
    Field { name, shape, required: false }
}

/// Checks the input of an operation; members that are null count as absent and are taken out.
pub(crate) fn check(fields: &'static [Field], input: &mut Object) -> Result<(), ApiError> {
    drop_nulls(input);
    types(fields, input, "")?;
    let mut broken = Vec::new();
    constraints(fields, input, "", &mut broken);
    match broken.len() {
        0 => Ok(()),
        1 => Err(ApiError::validation(format!("1 validation error detected: {}", broken.join("; ")))),
        n => Err(ApiError::validation(format!("{n} validation errors detected: {}", broken.join("; ")))),
    }
}

fn drop_nulls(object: &mut Object) {
    object.retain(|_, value| !value.is_null());
    object.values_mut().filter_map(Value::as_object_mut).for_each(drop_nulls);
}

fn types(fields: &'static [Field], object: &Object, path: &str) -> Result<(), ApiError> {
    for (name, value) in object {
        let at = join(path, name);
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            return Err(ApiError::serialization(format!("Unexpected member '{at}'")));
        };
        type_of(field.shape, value, &at)?;
    }
    Ok(())
}

fn type_of(shape: &'static Shape, value: &Value, at: &str) -> Result<(), ApiError> {
    match (shape, value) {
        (Shape::Text { .. } | Shape::OneOf(_), Value::String(_)) | (Shape::Flag, Value::Bool(_)) => Ok(()),
        (Shape::Int { .. }, Value::Number(number)) if number.is_i64() => Ok(()),
        (Shape::List { of, .. }, Value::Array(list)) => list
            .iter()
            .enumerate()
            .try_for_each(|(i, one)| type_of(of, one, &format!("{at}.{}.member", i + 1))),
        (Shape::Struct(fields), Value::Object(object)) => types(fields, object, at),
        _ => Err(ApiError::serialization(format!("The value of '{at}' is not of the expected type"))),
    }
}

fn constraints(fields: &'static [Field], object: &Object, path: &str, broken: &mut Vec<String>) {
    for field in fields {
        let at = join(path, field.name);
        match object.get(field.name) {
            Some(value) => constraint(field.shape, value, &at, broken),
            None if field.required => {
                broken.push(format!(
                    "Value null at '{at}' failed to satisfy constraint: Member must not be null"
                ));
            }
            None => {}
        }
    }
}

fn constraint(shape: &'static Shape, value: &Value, at: &str, broken: &mut Vec<String>) {
    let mut fails = |shown: &str, must: String| {
        broken.push(format!("Value '{shown}' at '{at}' failed to satisfy constraint: Member must {must}"));
    };
    match (shape, value) {
        (Shape::Text { min, max, pattern }, Value::String(text)) => {
            let length = text.chars().count();
            if length < *min {
                fails(text, format!("have length greater than or equal to {min}"));
            }
            if length > *max {
                fails(text, format!("have length less than or equal to {max}"));
            }
            if let Some(pattern) = pattern.filter(|pattern| !(pattern.matches)(text)) {
                fails(text, format!("satisfy regular expression pattern: {}", pattern.text));
            }
        }
        (Shape::OneOf(values), Value::String(text)) if !values.contains(&text.as_str()) => {
            fails(text, format!("satisfy enum value set: [{}]", values.join(", ")));
        }
        (Shape::Int { min, max }, Value::Number(number)) => match number.as_i64() {
            Some(n) if n < *min => {
                fails(&n.to_string(), format!("have value greater than or equal to {min}"))
            }
            Some(n) if n > *max => fails(&n.to_string(), format!("have value less than or equal to {max}")),
            _ => {}
        },
        (Shape::List { of, max }, Value::Array(list)) => {
            if list.len() > *max {
                fails("[...]", format!("have length less than or equal to {max}"));
            }
            for (i, one) in list.iter().enumerate() {
                constraint(of, one, &format!("{at}.{}.member", i + 1), broken);
            }
        }
        (Shape::Struct(fields), Value::Object(object)) => constraints(fields, object, at, broken),
        _ => {}
    }
}

/// Paths are written in lower camel case.
fn join(path: &str, name: &str) -> String {
    let mut chars = name.chars();
    let name: String = chars.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(chars).collect();
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::shapes;
    use super::*;

    fn refusal(operation: &str, input: Value) -> Option<(String, String)> {
        let mut input = input.as_object().cloned().unwrap_or_default();
        let fields = shapes::input(operation)?;
        check(fields, &mut input).err().map(|e| (e.code.into_owned(), e.message))
    }

    fn code(operation: &str, input: Value) -> Option<String> {
        refusal(operation, input).map(|(code, _)| code)
    }

    #[test]
    fn good_requests_pass_and_nulls_are_absent() {
        assert_eq!(code("ListSpaces", json!({"MaxResults": 100, "NextToken": null})), None);
        assert_eq!(code("DescribeSpace", json!({"DomainId": "d-1", "SpaceName": "Mixed-Case"})), None);
        let session =
            json!({"ResourceIdentifier": "arn:aws:sagemaker:eu-west-1:111122223333:space/d-1/demo"});
        assert_eq!(code("StartSession", session), None);
    }

    #[test]
    fn wrong_types_and_unknown_members_do_not_deserialize() {
        for input in [json!({"MaxResults": "10"}), json!({"maxResults": 10}), json!({"MaxResults": 1.5})] {
            assert_eq!(code("ListSpaces", input).as_deref(), Some("SerializationException"));
        }
        let nested = json!({"DomainId": "d-1", "SpaceName": "a", "SpaceSettings": {"Remote": "ENABLED"}});
        assert_eq!(code("UpdateSpace", nested).as_deref(), Some("SerializationException"));
    }

    #[test]
    fn broken_constraints_are_listed_together() {
        let (code, message) = refusal("DescribeSpace", json!({"DomainId": "D-1"})).unwrap_or_default();
        assert_eq!(code, "ValidationException");
        assert!(message.starts_with("2 validation errors detected: "), "{message}");
        assert!(message.contains("Value null at 'spaceName'"), "{message}");
        assert!(message.contains("'d-(-*[a-z0-9]){1,61}'") || message.contains("pattern: d-("), "{message}");
    }

    #[test]
    fn limits_of_numbers_texts_enums_and_lists() {
        for (operation, input) in [
            ("ListSpaces", json!({"MaxResults": 0})),
            ("ListSpaces", json!({"MaxResults": 101})),
            (
                "ListTags",
                json!({"ResourceArn": "arn:aws:sagemaker:r:111122223333:space/d-1/x", "MaxResults": 10}),
            ),
            ("ListApps", json!({"SortOrder": "Up"})),
            ("ListApps", json!({"SortBy": "LastModifiedTime"})),
            ("DescribeDomain", json!({"DomainId": "x".repeat(64)})),
            ("StartSession", json!({"ResourceIdentifier": "demo"})),
            ("StartSession", json!({"ResourceIdentifier": ""})),
            (
                "AddTags",
                json!({"ResourceArn": "arn:aws:sagemaker:r:111122223333:x", "Tags": [{"Key": "a#", "Value": ""}]}),
            ),
            ("AddTags", json!({"ResourceArn": "arn:aws:sagemaker:r:111122223333:x", "Tags": [{"Key": "a"}]})),
        ] {
            assert_eq!(
                code(operation, input.clone()).as_deref(),
                Some("ValidationException"),
                "{operation} {input}"
            );
        }
    }
}
