//! Domains and user profiles; the simulator's API only reads them.

use serde_json::{Value, json};

use super::page::{self, Entry};
use super::{domain_of, epoch, put};
use crate::account::{Domain, Profile};
use crate::cloud::Call;
use crate::error::ApiError;
use crate::roles::role_arn;

fn url(domain: &Domain) -> String {
    format!("https://{}.studio.{}.sagemaker.aws", domain.id, domain.region)
}

fn execution_role(domain: &Domain) -> String {
    role_arn(&domain.account, "studio-execution")
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Value, ApiError> {
    call.authorize("sagemaker:ListDomains", &call.arn("domain/*"), |_| {})?;
    let world = call.cloud.world();
    let here = world.domains.values().filter(|d| d.account == call.account() && d.region == call.region());
    let entries = here.map(|domain| Entry {
        created: domain.created,
        modified: domain.modified,
        name: domain.id.clone(),
        shown: json!({
            "DomainArn": domain.arn_of(&format!("domain/{}", domain.id)),
            "DomainId": domain.id,
            "DomainName": domain.name,
            "Status": "InService",
            "CreationTime": epoch(domain.created),
            "LastModifiedTime": epoch(domain.modified),
            "Url": url(domain),
        }),
    });
    page::answer(call, "Domains", entries.collect())
}

pub(super) fn describe(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let id = call.required("DomainId");
    call.authorize("sagemaker:DescribeDomain", &call.arn(&format!("domain/{id}")), |_| {})?;
    let world = call.cloud.world();
    let domain = domain_of(call, &world, &id)?;
    let execution_role = execution_role(domain);
    Ok(json!({
        "DomainArn": domain.arn_of(&format!("domain/{id}")),
        "DomainId": id,
        "DomainName": domain.name,
        "HomeEfsFileSystemId": "fs-0123456789abcdef0",
        "Status": "InService",
        "CreationTime": epoch(domain.created),
        "LastModifiedTime": epoch(domain.modified),
        "SecurityGroupIdForDomainBoundary": "sg-0123456789abcdef0",
        "AuthMode": domain.auth_mode,
        "DefaultUserSettings": { "ExecutionRole": execution_role, "StudioWebPortal": "ENABLED" },
        "DomainSettings": { "ExecutionRoleIdentityConfig": "USER_PROFILE_NAME" },
        "AppNetworkAccessType": "PublicInternetOnly",
        "SubnetIds": ["subnet-0123456789abcdef0"],
        "VpcId": "vpc-0123456789abcdef0",
        "Url": url(domain),
        "TagPropagation": if domain.tag_propagation { "ENABLED" } else { "DISABLED" },
        "DefaultSpaceSettings": { "ExecutionRole": execution_role },
    }))
}

pub(super) fn list_profiles(call: &mut Call<'_>) -> Result<Value, ApiError> {
    call.authorize("sagemaker:ListUserProfiles", &call.arn("user-profile/*/*"), |_| {})?;
    let world = call.cloud.world();
    let (wanted, part) = (call.text("DomainIdEquals"), call.text("UserProfileNameContains"));
    let found = world.profiles.iter().filter(|((domain, name), _)| {
        world.domain(call.account(), call.region(), domain).is_some()
            && wanted.is_none_or(|wanted| wanted == domain)
            && part.is_none_or(|part| name.contains(part))
    });
    let entries = found.map(|((domain, name), profile)| Entry {
        created: profile.created,
        modified: profile.modified,
        name: format!("{domain}/{name}"),
        shown: json!({
            "DomainId": domain,
            "UserProfileName": name,
            "Status": "InService",
            "CreationTime": epoch(profile.created),
            "LastModifiedTime": epoch(profile.modified),
        }),
    });
    page::answer(call, "UserProfiles", entries.collect())
}

pub(super) fn describe_profile(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let (id, name) = (call.required("DomainId"), call.required("UserProfileName"));
    call.authorize("sagemaker:DescribeUserProfile", &call.arn(&format!("user-profile/{id}/{name}")), |_| {})?;
    let world = call.cloud.world();
    let domain = domain_of(call, &world, &id)?;
    let profile = world
        .profiles
        .get(&(id.clone(), name.clone()))
        .ok_or_else(|| ApiError::not_found(format!("UserProfile [{id}/{name}] does not exist.")))?;
    Ok(shown_profile(domain, profile))
}

fn shown_profile(domain: &Domain, profile: &Profile) -> Value {
    let mut shown = json!({
        "DomainId": domain.id,
        "UserProfileArn": domain.arn_of(&format!("user-profile/{}/{}", domain.id, profile.name)),
        "UserProfileName": profile.name,
        "HomeEfsFileSystemUid": "200001",
        "Status": "InService",
        "LastModifiedTime": epoch(profile.modified),
        "CreationTime": epoch(profile.created),
        "UserSettings": { "ExecutionRole": execution_role(domain) },
    });
    if let Some(value) = &profile.single_sign_on {
        put(&mut shown, "SingleSignOnUserIdentifier", Some(json!("UserName")));
        put(&mut shown, "SingleSignOnUserValue", Some(json!(value)));
    }
    shown
}
