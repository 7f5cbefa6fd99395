//! Spaces: list, describe, create, update, delete.

use serde_json::{Value, json};

use super::page::{self, Entry};
use super::{domain_of, epoch, put, tags};
use crate::account::{Domain, Object, Owner, Space, SpaceStatus, World};
use crate::cloud::Call;
use crate::error::ApiError;
use crate::iam::Context;

fn missing(domain: &str, name: &str) -> ApiError {
    ApiError::not_found(format!("Space [{domain}/{name}] does not exist."))
}

fn space_of<'w>(world: &'w World, domain: &str, name: &str) -> Result<&'w Space, ApiError> {
    world.spaces.get(&(domain.to_owned(), name.to_owned())).ok_or_else(|| missing(domain, name))
}

/// Authorizes an action on the space that the input names, and gives its domain, name and ARN.
fn authorized(
    call: &mut Call<'_>,
    action: &str,
    further: impl FnOnce(&mut Context),
) -> Result<(String, String, String), ApiError> {
    let (domain, name) = (call.required("DomainId"), call.required("SpaceName"));
    let arn = call.arn(&format!("space/{domain}/{name}"));
    call.authorize(action, &arn, further)?;
    domain_of(call, &call.cloud.world(), &domain)?;
    Ok((domain, name, arn))
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Value, ApiError> {
    call.authorize("sagemaker:ListSpaces", &call.arn("space/*/*"), |_| {})?;
    let world = call.cloud.world();
    let (wanted, part) = (call.text("DomainIdEquals"), call.text("SpaceNameContains"));
    let found = world.spaces.iter().filter(|((domain, name), _)| {
        world.domain(call.account(), call.region(), domain).is_some()
            && wanted.is_none_or(|wanted| wanted == domain)
            && part.is_none_or(|part| name.contains(part))
    });
    let entries = found.map(|((domain, name), space)| Entry {
        created: space.created,
        modified: space.modified,
        name: format!("{domain}/{name}"),
        shown: summary(domain, space),
    });
    page::answer(call, "Spaces", entries.collect())
}

fn summary(domain: &str, space: &Space) -> Value {
    let mut settings = json!({});
    for member in ["AppType", "RemoteAccess", "SpaceStorageSettings"] {
        put(&mut settings, member, space.settings.get(member).cloned());
    }
    let mut shown = json!({
        "DomainId": domain,
        "SpaceName": space.name,
        "Status": space.status.as_str(),
        "CreationTime": epoch(space.created),
        "LastModifiedTime": epoch(space.modified),
        "SpaceSettingsSummary": settings,
    });
    put_ownership(&mut shown, space, "SpaceSharingSettingsSummary", "OwnershipSettingsSummary");
    shown
}

fn put_ownership(shown: &mut Value, space: &Space, sharing: &str, ownership: &str) {
    put(shown, sharing, space.sharing.as_ref().map(|sharing| json!({ "SharingType": sharing })));
    put(shown, ownership, space.owner.as_ref().map(|owner| json!({ "OwnerUserProfileName": owner })));
    put(shown, "SpaceDisplayName", space.display_name.as_ref().map(|name| json!(name)));
}

pub(super) fn describe(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let (id, name, arn) = authorized(call, "sagemaker:DescribeSpace", |_| {})?;
    let world = call.cloud.world();
    let domain = domain_of(call, &world, &id)?;
    let space = space_of(&world, &id, &name)?;
    let mut shown = json!({
        "DomainId": id,
        "SpaceArn": arn,
        "SpaceName": name,
        "HomeEfsFileSystemUid": "200001",
        "Status": space.status.as_str(),
        "LastModifiedTime": epoch(space.modified),
        "CreationTime": epoch(space.created),
        "SpaceSettings": space.settings,
        "Url": space_url(domain, space),
    });
    put_ownership(&mut shown, space, "SpaceSharingSettings", "OwnershipSettings");
    Ok(shown)
}

fn space_url(domain: &Domain, space: &Space) -> String {
    let app = space.app_type().unwrap_or("jupyter").to_lowercase();
    format!("https://{}.studio.{}.sagemaker.aws/{app}/default", domain.id, domain.region)
}

/// The condition keys that settings give.
fn setting_keys(settings: Option<&Object>, context: &mut Context) {
    let Some(settings) = settings else { return };
    if let Some(access) = settings.get("RemoteAccess").and_then(Value::as_str) {
        context.set("sagemaker:RemoteAccess", access);
    }
    let types: Vec<String> = settings
        .values()
        .filter_map(|of_type| of_type.get("DefaultResourceSpec")?.get("InstanceType")?.as_str())
        .map(str::to_owned)
        .collect();
    if !types.is_empty() {
        context.set_all("sagemaker:InstanceTypes", types);
    }
}

pub(super) fn create(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let tags = tags::read(&call.input)?;
    let settings = call.input.get("SpaceSettings").and_then(Value::as_object).cloned();
    let member = |outer: &str, inner: &str| {
        call.input.get(outer).and_then(|o| o.get(inner)).and_then(Value::as_str).map(str::to_owned)
    };
    let owner = member("OwnershipSettings", "OwnerUserProfileName");
    let sharing = member("SpaceSharingSettings", "SharingType");
    let (shared, owned) =
        (sharing.clone(), owner.as_ref().map(|owner| call.arn(&owner_resource(call, owner))));
    let (id, name, arn) = authorized(call, "sagemaker:CreateSpace", |context| {
        setting_keys(settings.as_ref(), context);
        tags::request_keys(&tags, context);
        if let Some(sharing) = shared {
            context.set("sagemaker:SpaceSharingType", sharing);
        }
        if let Some(owned) = owned {
            context.set("sagemaker:OwnerUserProfileArn", owned);
        }
    })?;
    if !tags.is_empty() {
        call.authorize("sagemaker:AddTags", &arn, |context| tags::request_keys(&tags, context))?;
    }
    if owner.is_some() != sharing.is_some() {
        return Err(ApiError::validation(
            "OwnershipSettings and SpaceSharingSettings must be specified together.",
        ));
    }
    let mut world = call.cloud.world();
    if let Some(owner) =
        owner.as_ref().filter(|owner| !world.profiles.contains_key(&(id.clone(), (*owner).clone())))
    {
        return Err(ApiError::validation(format!("UserProfile [{id}/{owner}] does not exist.")));
    }
    if world.spaces.contains_key(&(id.clone(), name.clone())) {
        return Err(ApiError::in_use(format!("Space [{id}/{name}] already exists.")));
    }
    let space = Space {
        name: name.clone(),
        display_name: call.text("SpaceDisplayName").map(str::to_owned),
        owner,
        sharing,
        settings: settings.unwrap_or_default(),
        status: SpaceStatus::Pending,
        created: call.now,
        modified: call.now,
        tags,
    };
    world.spaces.insert((id.clone(), name.clone()), space);
    drop(world);
    call.cloud.settle_space(&id, &name);
    Ok(json!({ "SpaceArn": arn }))
}

fn owner_resource(call: &Call<'_>, owner: &str) -> String {
    format!("user-profile/{}/{owner}", call.required("DomainId"))
}

pub(super) fn update(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let patch = call.input.get("SpaceSettings").and_then(Value::as_object).cloned();
    let (id, name, arn) =
        authorized(call, "sagemaker:UpdateSpace", |context| setting_keys(patch.as_ref(), context))?;
    let display_name = call.text("SpaceDisplayName").map(str::to_owned);
    let mut world = call.cloud.world();
    let space = world.spaces.get_mut(&(id.clone(), name.clone())).ok_or_else(|| missing(&id, &name))?;
    if space.status != SpaceStatus::InService {
        return Err(ApiError::in_use(format!("Space [{id}/{name}] is {}.", space.status.as_str())));
    }
    if let Some(patch) = patch {
        refuse_patch(space, &patch)?;
        merge(&mut space.settings, patch);
    }
    if display_name.is_some() {
        space.display_name = display_name;
    }
    space.status = SpaceStatus::Updating;
    space.modified = call.now;
    drop(world);
    call.cloud.settle_space(&id, &name);
    Ok(json!({ "SpaceArn": arn }))
}

/// What cannot be changed once a space exists.
fn refuse_patch(space: &Space, patch: &Object) -> Result<(), ApiError> {
    if patch.contains_key("AppType") {
        return Err(ApiError::validation("Updating AppType for Space is not supported"));
    }
    let wanted = patch
        .get("SpaceStorageSettings")
        .and_then(|storage| storage.get("EbsStorageSettings")?.get("EbsVolumeSizeInGb")?.as_i64());
    if let (Some(wanted), Some(present)) = (wanted, space.volume_gb())
        && wanted < present
    {
        return Err(ApiError::validation("EbsVolumeSizeInGb cannot be decreased."));
    }
    Ok(())
}

/// Members that the patch does not name stay.
fn merge(settings: &mut Object, patch: Object) {
    for (member, value) in patch {
        match (settings.get_mut(&member), value) {
            (Some(Value::Object(present)), Value::Object(patch)) => merge(present, patch),
            (_, value) => {
                settings.insert(member, value);
            }
        }
    }
}

pub(super) fn delete(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let (id, name, _) = authorized(call, "sagemaker:DeleteSpace", |_| {})?;
    let mut world = call.cloud.world();
    space_of(&world, &id, &name)?;
    let owner = Owner::Space(name.clone());
    if world
        .apps
        .iter()
        .any(|(key, app)| key.domain == id && key.owner == owner && app.status.holds_machine())
    {
        return Err(ApiError::validation(format!(
            "Unable to delete Space [{id}/{name}]: it has running apps."
        )));
    }
    let space = world.spaces.get_mut(&(id.clone(), name.clone())).ok_or_else(|| missing(&id, &name))?;
    if space.status != SpaceStatus::InService {
        return Err(ApiError::in_use(format!("Space [{id}/{name}] is {}.", space.status.as_str())));
    }
    space.status = SpaceStatus::Deleting;
    drop(world);
    call.cloud.remove_space(&id, &name);
    Ok(json!({}))
}
