//! Apps: list, describe, create, delete.

use serde_json::{Value, json};

use super::page::{self, Entry};
use super::{domain_of, epoch, put, tags};
use crate::account::{App, AppKey, AppStatus, Object, Owner, Space, SpaceStatus, World};
use crate::cloud::Call;
use crate::error::ApiError;
use crate::roles::Tags;

/// What an app of a space runs on if nobody says.
const DEFAULT_INSTANCE: &str = "ml.t3.medium";

fn key_of(call: &Call<'_>) -> Result<AppKey, ApiError> {
    let owner = match (call.text("SpaceName"), call.text("UserProfileName")) {
        (Some(name), None) => Owner::Space(name.to_owned()),
        (None, Some(name)) => Owner::Profile(name.to_owned()),
        _ => {
            return Err(ApiError::validation(
                "Exactly one of SpaceName and UserProfileName must be specified.",
            ));
        }
    };
    Ok(AppKey {
        domain: call.required("DomainId"),
        owner,
        app_type: call.required("AppType"),
        name: call.required("AppName"),
    })
}

fn missing(key: &AppKey) -> ApiError {
    ApiError::not_found(format!("App [{}] does not exist.", key.resource()))
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Value, ApiError> {
    call.authorize("sagemaker:ListApps", &call.arn("app/*/*"), |_| {})?;
    call.cloud.forget_old_apps();
    let world = call.cloud.world();
    let found = world.apps.iter().filter(|(key, _)| {
        world.domain(call.account(), call.region(), &key.domain).is_some() && wanted(call, key)
    });
    let entries = found.map(|(key, app)| Entry {
        created: app.created,
        modified: app.created,
        name: key.resource(),
        shown: summary(key, app),
    });
    page::answer(call, "Apps", entries.collect())
}

fn wanted(call: &Call<'_>, key: &AppKey) -> bool {
    let space = call.text("SpaceNameEquals").map(|name| Owner::Space(name.to_owned()));
    let profile = call.text("UserProfileNameEquals").map(|name| Owner::Profile(name.to_owned()));
    call.text("DomainIdEquals").is_none_or(|domain| domain == key.domain)
        && space.is_none_or(|space| space == key.owner)
        && profile.is_none_or(|profile| profile == key.owner)
}

fn summary(key: &AppKey, app: &App) -> Value {
    let mut shown = json!({
        "DomainId": key.domain,
        "AppType": key.app_type,
        "AppName": key.name,
        "Status": app.status.as_str(),
        "CreationTime": epoch(app.created),
        "ResourceSpec": app.resources,
    });
    match &key.owner {
        Owner::Space(name) => put(&mut shown, "SpaceName", Some(json!(name))),
        Owner::Profile(name) => put(&mut shown, "UserProfileName", Some(json!(name))),
    }
    shown
}

pub(super) fn describe(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let key = key_of(call)?;
    let arn = call.arn(&key.resource());
    call.authorize("sagemaker:DescribeApp", &arn, |_| {})?;
    call.cloud.forget_old_apps();
    let world = call.cloud.world();
    domain_of(call, &world, &key.domain)?;
    let app = world.apps.get(&key).ok_or_else(|| missing(&key))?;
    let mut shown = summary(&key, app);
    put(&mut shown, "AppArn", Some(json!(arn)));
    put(&mut shown, "RecoveryMode", Some(json!(app.recovery_mode)));
    put(&mut shown, "FailureReason", app.failure.as_ref().map(|reason| json!(reason)));
    if app.status == AppStatus::InService {
        // Health checks count as activity on AWS too, which makes the second of little use.
        put(&mut shown, "LastHealthCheckTimestamp", Some(epoch(call.now)));
        put(&mut shown, "LastUserActivityTimestamp", Some(epoch(call.now)));
    }
    Ok(shown)
}

pub(super) fn create(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let key = key_of(call)?;
    let arn = call.arn(&key.resource());
    let tags = tags::read(&call.input)?;
    let space = space_of_app(call, &key);
    let resources = resources(call, space.as_ref(), &key.app_type);
    authorize_create(call, &key, &arn, space.as_ref(), &resources, &tags)?;
    let mut world = call.cloud.world();
    let domain = domain_of(call, &world, &key.domain)?;
    let (account, region) = (domain.account.clone(), domain.region.clone());
    let inherited = domain.tag_propagation;
    let Some(space) = space else {
        return Err(ApiError::validation(format!(
            "Space or user profile [{}] cannot run this app.",
            key.resource()
        )));
    };
    refuse_create(&world, &space, &key)?;
    let instance_type = resources.get("InstanceType").and_then(Value::as_str).unwrap_or(DEFAULT_INSTANCE);
    if !world.quota_left(&account, &region, instance_type) {
        return Err(ApiError::limit(format!(
            "The account-level service limit 'Studio {} Apps running on {instance_type} instances' is {} Apps. \
             Please use AWS Service Quotas to request an increase for this quota.",
            key.app_type,
            world.quota(instance_type)
        )));
    }
    let mut all_tags = if inherited { space.tags.clone() } else { Tags::new() };
    all_tags.extend(tags);
    let run = uuid::Uuid::new_v4().to_string();
    let app = App {
        run: run.clone(),
        status: AppStatus::Pending,
        failure: None,
        resources,
        recovery_mode: call.input.get("RecoveryMode").and_then(Value::as_bool).unwrap_or_default(),
        remote_access: space.remote_access(),
        created: call.now,
        in_service: None,
        ended: None,
        ssh: None,
        tags: all_tags,
    };
    world.apps.insert(key.clone(), app);
    drop(world);
    call.cloud.bring_up(key, run);
    Ok(json!({ "AppArn": arn }))
}

fn space_of_app(call: &Call<'_>, key: &AppKey) -> Option<Space> {
    let Owner::Space(name) = &key.owner else { return None };
    let world = call.cloud.world();
    world.domain(call.account(), call.region(), &key.domain)?;
    world.spaces.get(&(key.domain.clone(), name.clone())).cloned()
}

/// What the request names, over what the space's settings name.
fn resources(call: &Call<'_>, space: Option<&Space>, app_type: &str) -> Object {
    let mut resources = space.map(|space| space.default_resources(app_type)).unwrap_or_default();
    let asked = call.input.get("ResourceSpec").and_then(Value::as_object).cloned().unwrap_or_default();
    resources.extend(asked);
    resources.entry("InstanceType").or_insert_with(|| json!(DEFAULT_INSTANCE));
    resources
}

/// The app and, as the request names it, the space must both be allowed.
fn authorize_create(
    call: &mut Call<'_>,
    key: &AppKey,
    arn: &str,
    space: Option<&Space>,
    resources: &Object,
    tags: &Tags,
) -> Result<(), ApiError> {
    let asked = call.input.get("ResourceSpec").and_then(|spec| spec.get("InstanceType")).is_some();
    let instance_type = resources.get("InstanceType").and_then(Value::as_str).unwrap_or_default().to_owned();
    let owner = space.and_then(|space| space.owner.as_ref());
    let owner_arn = owner.map(|owner| call.arn(&format!("user-profile/{}/{owner}", key.domain)));
    let further = |context: &mut crate::iam::Context| {
        // The key stands for what the request asks, not for what the space's settings will add.
        if asked {
            context.set_all("sagemaker:InstanceTypes", vec![instance_type.clone()]);
        }
        if let Some(owner) = &owner_arn {
            context.set("sagemaker:OwnerUserProfileArn", owner);
        }
        if let Some(sharing) = space.and_then(|space| space.sharing.as_ref()) {
            context.set("sagemaker:SpaceSharingType", sharing);
        }
        tags::request_keys(tags, context);
    };
    // A new app has no tags yet; those of a former app of this name do not speak for it.
    call.authorize_new("sagemaker:CreateApp", arn, further)?;
    if let Owner::Space(name) = &key.owner {
        call.authorize("sagemaker:CreateApp", &call.arn(&format!("space/{}/{name}", key.domain)), further)?;
    }
    if !tags.is_empty() {
        call.authorize_new("sagemaker:AddTags", arn, |context| tags::request_keys(tags, context))?;
    }
    Ok(())
}

fn refuse_create(world: &World, space: &Space, key: &AppKey) -> Result<(), ApiError> {
    if space.status != SpaceStatus::InService {
        return Err(ApiError::validation(format!("Space [{}] is {}.", space.name, space.status.as_str())));
    }
    if space.app_type().is_some_and(|app_type| app_type != key.app_type) {
        return Err(ApiError::validation(format!(
            "AppType {} does not match the AppType of Space [{}].",
            key.app_type, space.name
        )));
    }
    if matches!(&*key.app_type, "JupyterLab" | "CodeEditor") && key.name != "default" {
        return Err(ApiError::validation("AppName must be 'default' for this AppType."));
    }
    match world.live_app(&key.domain, &space.name) {
        Some((live, app)) => Err(ApiError::in_use(format!(
            "App [{}] already exists and is {}.",
            live.resource(),
            app.status.as_str()
        ))),
        None => Ok(()),
    }
}

pub(super) fn delete(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let key = key_of(call)?;
    call.authorize("sagemaker:DeleteApp", &call.arn(&key.resource()), |_| {})?;
    let status = {
        let world = call.cloud.world();
        domain_of(call, &world, &key.domain)?;
        world.apps.get(&key).ok_or_else(|| missing(&key))?.status
    };
    match status {
        AppStatus::Deleted => Err(missing(&key)),
        AppStatus::Pending | AppStatus::Deleting => {
            Err(ApiError::in_use(format!("App [{}] is {}.", key.resource(), status.as_str())))
        }
        AppStatus::InService | AppStatus::Failed => {
            call.cloud.take_down(&key);
            Ok(json!({}))
        }
    }
}
