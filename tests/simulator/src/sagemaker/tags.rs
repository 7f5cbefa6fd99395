//! Tags of resources.

use serde_json::{Value, json};

use super::page::{self, Entry};
use crate::account::Object;
use crate::cloud::Call;
use crate::error::ApiError;
use crate::iam::Context;
use crate::roles::Tags;

/// Tags that a resource may have.
const TAGS_MAX: usize = 50;

/// The tags of a request.
pub(super) fn read(input: &Object) -> Result<Tags, ApiError> {
    let mut tags = Tags::new();
    for tag in input.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        let member = |name: &str| tag.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = member("Key");
        if key.to_lowercase().starts_with("aws:") {
            return Err(ApiError::validation("Tag keys must not start with 'aws:'."));
        }
        if tags.insert(key.clone(), member("Value")).is_some() {
            return Err(ApiError::validation(format!("Duplicate tag key '{key}'.")));
        }
    }
    Ok(tags)
}

/// The condition keys that the tags of a request give.
pub(super) fn request_keys(tags: &Tags, context: &mut Context) {
    context.set_tags("aws:RequestTag", tags);
    if !tags.is_empty() {
        context.set_all("aws:TagKeys", tags.keys().cloned().collect());
    }
}

fn missing(arn: &str) -> ApiError {
    // AWS answers about tags of what is not there with its validation error.
    ApiError::validation(format!("Resource {arn} does not exist."))
}

pub(super) fn add(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let arn = call.required("ResourceArn");
    let tags = read(&call.input)?;
    call.authorize("sagemaker:AddTags", &arn, |context| request_keys(&tags, context))?;
    let mut world = call.cloud.world();
    let here = arn.starts_with(&call.arn(""));
    let present = world.tags_mut(&arn).filter(|_| here).ok_or_else(|| missing(&arn))?;
    let mut all = present.clone();
    all.extend(tags);
    if all.len() > TAGS_MAX {
        return Err(ApiError::validation(format!("A resource can have at most {TAGS_MAX} tags.")));
    }
    present.clone_from(&all);
    Ok(json!({ "Tags": shown(&all) }))
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let arn = call.required("ResourceArn");
    call.authorize("sagemaker:ListTags", &arn, |_| {})?;
    let tags = {
        let world = call.cloud.world();
        world.tags(&arn).filter(|_| arn.starts_with(&call.arn(""))).cloned().ok_or_else(|| missing(&arn))?
    };
    let entries = tags.iter().map(|(key, value)| Entry {
        created: time::OffsetDateTime::UNIX_EPOCH,
        modified: time::OffsetDateTime::UNIX_EPOCH,
        name: key.clone(),
        shown: json!({ "Key": key, "Value": value }),
    });
    call.input.entry("MaxResults").or_insert_with(|| json!(TAGS_MAX));
    page::answer(call, "Tags", entries.collect())
}

fn shown(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}
