//! Every space of a domain with its app: `ListSpaces` and `ListApps`, joined.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use aws_sdk_sagemaker::primitives::DateTime;
use aws_sdk_sagemaker::types as sdk;
use time::OffsetDateTime;
use tracing::warn;

use super::clients::DomainClients;
use crate::config::Domain;
use crate::domain::ids::{InstanceType, SpaceId, SpaceName};
use crate::domain::ports::AwsError;
use crate::domain::run::Tags;
use crate::domain::space::{App, AppImage, AppStatus, AppType, Sharing, Space, SpaceArn, SpaceStatus};

/// The most that a page holds. The default of 10 would cost ten times the calls.
const PAGE: i32 = 100;
/// The one name that apps of spaces have.
pub(super) const APP_NAME: &str = "default";

/// What the last listing could not read, so that the log says it once and not at every listing.
#[derive(Default)]
pub(super) struct Skipped(Mutex<Vec<String>>);

impl Skipped {
    fn report(&self, domain: &Domain, mut now: Vec<String>) {
        now.sort();
        let mut before = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *before != now && !now.is_empty() {
            warn!(domain = %domain.alias, count = now.len(), "skipped what AWS listed: {}", now.join("; "));
        }
        *before = now;
    }
}

impl DomainClients {
    /// Every space of the domain, as the service.
    pub(super) async fn list(&self) -> Result<Vec<Space>, AwsError> {
        // Spaces first: an app that starts in between belongs to a space that is known.
        let spaces = self.list_spaces().await?;
        let apps = self.list_apps().await?;
        let (joined, skipped) = join(&self.config, spaces, apps);
        self.skipped.report(&self.config, skipped);
        Ok(joined)
    }

    async fn list_spaces(&self) -> Result<Vec<sdk::SpaceDetails>, AwsError> {
        let (mut all, mut next) = (Vec::new(), None);
        loop {
            let request = self.background.list_spaces().domain_id_equals(self.config.id.as_str());
            let request = request.max_results(PAGE).set_next_token(next.take());
            let page = self.paced("sagemaker:ListSpaces", || request.clone().send()).await?;
            all.extend(page.spaces.unwrap_or_default());
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    async fn list_apps(&self) -> Result<Vec<sdk::AppDetails>, AwsError> {
        let (mut all, mut next) = (Vec::new(), None);
        loop {
            let request = self.background.list_apps().domain_id_equals(self.config.id.as_str());
            let request = request.max_results(PAGE).set_next_token(next.take());
            let page = self.paced("sagemaker:ListApps", || request.clone().send()).await?;
            all.extend(page.apps.unwrap_or_default());
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// The tags of a space, as the service.
    pub(super) async fn tags(&self, arn: &SpaceArn) -> Result<Tags, AwsError> {
        let (mut all, mut next) = (Tags::new(), None);
        loop {
            let request = self.background.list_tags().resource_arn(arn.to_string());
            let request = request.set_next_token(next.take());
            let page = self.paced("sagemaker:ListTags", || request.clone().send()).await?;
            let tags = page.tags.unwrap_or_default().into_iter();
            all.extend(tags.filter_map(|tag| Some((tag.key?, tag.value?))));
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(all);
            }
        }
    }
}

/// Spaces with their apps, and what could not be read.
fn join(
    domain: &Domain,
    spaces: Vec<sdk::SpaceDetails>,
    apps: Vec<sdk::AppDetails>,
) -> (Vec<Space>, Vec<String>) {
    let mut by_space: HashMap<String, Vec<App>> = HashMap::new();
    for app in apps {
        // Apps of user profiles have no space, and other kinds of app are none of ours.
        if let Some((space, app)) = read_app(domain, app) {
            by_space.entry(space).or_default().push(app);
        }
    }
    let mut skipped = Vec::new();
    let mut joined = Vec::new();
    for details in spaces {
        if details.domain_id.as_deref().is_some_and(|id| id != domain.id.as_str()) {
            continue;
        }
        let name = details.space_name.clone().unwrap_or_default();
        match SpaceName::from_str(&name) {
            Ok(name) => {
                let apps = by_space.remove(name.as_str()).unwrap_or_default();
                joined.push(read_space(domain, name, &details, apps, &mut skipped));
            }
            Err(error) => skipped.push(error.to_string()),
        }
    }
    (joined, skipped)
}

fn read_space(
    domain: &Domain,
    name: SpaceName,
    details: &sdk::SpaceDetails,
    apps: Vec<App>,
    skipped: &mut Vec<String>,
) -> Space {
    let settings = details.space_settings_summary.as_ref();
    let owner =
        details.ownership_settings_summary.as_ref().and_then(|o| o.owner_user_profile_name.as_deref());
    let owner = owner.and_then(|owner| {
        owner.parse().map_err(|error| skipped.push(format!("owner of {name}: {error}"))).ok()
    });
    let sharing = details.space_sharing_settings_summary.as_ref().and_then(|s| s.sharing_type.as_ref());
    let app_type = settings.and_then(|s| s.app_type.as_ref()).and_then(read_app_type);
    Space {
        id: SpaceId::generate(),
        arn: arn_of(domain, name),
        domain: domain.alias.clone(),
        owner,
        // Private unless AWS says otherwise: what is not understood is not opened to a group.
        sharing: if sharing == Some(&sdk::SharingType::Shared) { Sharing::Shared } else { Sharing::Private },
        app_type,
        remote_access: settings.and_then(|s| s.remote_access.as_ref()) == Some(&sdk::FeatureStatus::Enabled),
        status: details.status.as_ref().map_or(SpaceStatus::Updating, read_space_status),
        app: current(apps, app_type),
        storage_gib: settings.and_then(read_storage),
    }
}

/// The name of a space of a domain all over AWS; listings do not carry it.
pub(super) fn arn_of(domain: &Domain, name: SpaceName) -> SpaceArn {
    SpaceArn {
        partition: domain.partition.clone(),
        region: domain.region.clone(),
        account: domain.account.clone(),
        domain: domain.id.clone(),
        name,
    }
}

/// The app that counts: of the space's kind, alive before gone, the newest. AWS lists gone ones for a day.
fn current(apps: Vec<App>, app_type: Option<AppType>) -> Option<App> {
    apps.into_iter()
        .filter(|app| app_type.is_none_or(|app_type| app.app_type == app_type))
        .max_by_key(|app| (app.status != AppStatus::Deleted, app.created_at))
}

fn read_app(domain: &Domain, details: sdk::AppDetails) -> Option<(String, App)> {
    let ours = details.domain_id.as_deref().is_none_or(|id| id == domain.id.as_str())
        && details.app_name.as_deref() == Some(APP_NAME);
    let space = details.space_name.filter(|_| ours)?;
    let app = App {
        app_type: details.app_type.as_ref().and_then(read_app_type)?,
        status: read_app_status(details.status.as_ref()?),
        created_at: read_time(details.creation_time.as_ref()?)?,
        instance_type: details.resource_spec.as_ref().and_then(read_instance_type),
        image: details.resource_spec.and_then(read_image),
    };
    Some((space, app))
}

/// The size of a space's volume.
fn read_storage(settings: &sdk::SpaceSettingsSummary) -> Option<u32> {
    let storage = settings.space_storage_settings.as_ref()?.ebs_storage_settings.as_ref()?;
    storage.ebs_volume_size_in_gb.and_then(|gib| u32::try_from(gib).ok())
}

/// The image that an app runs, and which version of it.
fn read_image(spec: sdk::ResourceSpec) -> Option<AppImage> {
    let version = spec.sage_maker_image_version_alias.or(spec.sage_maker_image_version_arn);
    spec.sage_maker_image_arn.map(|arn| AppImage { arn, version })
}

/// The kinds that remote access serves.
pub(super) fn read_app_type(app_type: &sdk::AppType) -> Option<AppType> {
    match app_type {
        sdk::AppType::JupyterLab => Some(AppType::JupyterLab),
        sdk::AppType::CodeEditor => Some(AppType::CodeEditor),
        _ => None,
    }
}

pub(super) const fn write_app_type(app_type: AppType) -> sdk::AppType {
    match app_type {
        AppType::JupyterLab => sdk::AppType::JupyterLab,
        AppType::CodeEditor => sdk::AppType::CodeEditor,
    }
}

pub(super) fn read_space_status(status: &sdk::SpaceStatus) -> SpaceStatus {
    match status {
        sdk::SpaceStatus::InService => SpaceStatus::InService,
        sdk::SpaceStatus::Deleting => SpaceStatus::Deleting,
        sdk::SpaceStatus::Failed | sdk::SpaceStatus::UpdateFailed | sdk::SpaceStatus::DeleteFailed => {
            SpaceStatus::Failed
        }
        // A status that is not known yet is not one to use the space in.
        _ => SpaceStatus::Updating,
    }
}

pub(super) fn read_app_status(status: &sdk::AppStatus) -> AppStatus {
    match status {
        sdk::AppStatus::InService => AppStatus::InService,
        sdk::AppStatus::Deleting => AppStatus::Deleting,
        sdk::AppStatus::Deleted => AppStatus::Deleted,
        sdk::AppStatus::Failed => AppStatus::Failed,
        // A status that is not known yet is neither up nor gone.
        _ => AppStatus::Pending,
    }
}

/// A time to the millisecond, which is what AWS means: it comes as a floating-point number of seconds, and the creation
/// of an app must be the same time after a trip through Postgres.
pub(super) fn read_time(time: &DateTime) -> Option<OffsetDateTime> {
    const MILLISECOND: i128 = 1_000_000;
    let nanos = (time.as_nanos() + MILLISECOND / 2).div_euclid(MILLISECOND) * MILLISECOND;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
}

/// `system` and malformed ones count as none.
pub(super) fn read_instance_type(spec: &sdk::ResourceSpec) -> Option<InstanceType> {
    spec.instance_type.as_ref().and_then(|instance_type| instance_type.as_str().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_milliseconds() {
        let time = read_time(&DateTime::from_secs_f64(1_700_000_000.960_999)).unwrap();
        assert_eq!(time.unix_timestamp_nanos(), 1_700_000_000_961_000_000);
    }
}
