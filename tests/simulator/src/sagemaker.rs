//! SageMaker's control plane: the operations that concern domains, spaces, apps and sessions.

mod apps;
mod domains;
pub(crate) mod instance_types;
mod page;
pub(crate) mod patterns;
pub(crate) mod schema;
mod shapes;
mod spaces;
mod start_session;
mod tags;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::account::{Domain, World};
use crate::cloud::Call;
use crate::error::ApiError;

/// Runs one operation.
pub(crate) fn run(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let fields = shapes::input(call.operation).ok_or_else(ApiError::unknown_operation)?;
    schema::check(fields, &mut call.input)?;
    match call.operation {
        "ListDomains" => domains::list(call),
        "DescribeDomain" => domains::describe(call),
        "ListUserProfiles" => domains::list_profiles(call),
        "DescribeUserProfile" => domains::describe_profile(call),
        "ListSpaces" => spaces::list(call),
        "DescribeSpace" => spaces::describe(call),
        "CreateSpace" => spaces::create(call),
        "UpdateSpace" => spaces::update(call),
        "DeleteSpace" => spaces::delete(call),
        "ListApps" => apps::list(call),
        "DescribeApp" => apps::describe(call),
        "CreateApp" => apps::create(call),
        "DeleteApp" => apps::delete(call),
        "AddTags" => tags::add(call),
        "ListTags" => tags::list(call),
        "StartSession" => start_session::start(call),
        _ => Err(ApiError::unknown_operation()),
    }
}

/// Whether an operation would take this input.
pub(crate) fn check(operation: &str, input: Value) -> anyhow::Result<()> {
    let fields = shapes::input(operation).with_context(|| format!("{operation} is not simulated"))?;
    let mut input = input.as_object().cloned().unwrap_or_default();
    schema::check(fields, &mut input).map_err(|error| anyhow!("{}: {}", error.code, error.message))
}

/// Epoch seconds, as JSON 1.1 writes time.
fn epoch(at: OffsetDateTime) -> Value {
    let ms = at.unix_timestamp_nanos() / 1_000_000;
    json!(ms as f64 / 1000.0)
}

/// The domain that a call names, if the caller's account has it in this region.
fn domain_of<'w>(call: &Call<'_>, world: &'w World, id: &str) -> Result<&'w Domain, ApiError> {
    world
        .domain(call.account(), call.region(), id)
        .ok_or_else(|| ApiError::not_found(format!("Domain [{id}] does not exist.")))
}

/// Sets the members that have a value.
fn put(object: &mut Value, member: &str, value: Option<Value>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(member.to_owned(), value);
    }
}

#[cfg(test)]
mod tests;
