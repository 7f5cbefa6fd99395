//! What an account holds: domains, user profiles, spaces, apps, roles, quotas. Plain data and look-ups;
//! what the API does with it is in `sagemaker`, how apps live is in `lifecycle`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::oidc::OidcProvider;
use crate::roles::{Role, Tags};

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// A Studio domain.
#[derive(Debug, Clone)]
pub(crate) struct Domain {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) auth_mode: &'static str,
    pub(crate) tag_propagation: bool,
    pub(crate) created: OffsetDateTime,
    pub(crate) modified: OffsetDateTime,
    pub(crate) tags: Tags,
}

impl Domain {
    /// `arn:aws:sagemaker:R:A:` and what comes after it.
    pub(crate) fn arn_of(&self, resource: &str) -> String {
        format!("arn:aws:sagemaker:{}:{}:{resource}", self.region, self.account)
    }
}

/// A user profile of a domain.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) single_sign_on: Option<String>,
    pub(crate) created: OffsetDateTime,
    pub(crate) modified: OffsetDateTime,
    pub(crate) tags: Tags,
}

/// Status of a space, a profile or a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpaceStatus {
    Pending,
    InService,
    Updating,
    Deleting,
}

impl SpaceStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InService => "InService",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
        }
    }
}

/// A space.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    pub(crate) name: String,
    pub(crate) display_name: Option<String>,
    pub(crate) owner: Option<String>,
    /// `Private` or `Shared`.
    pub(crate) sharing: Option<String>,
    /// `SpaceSettings` as the API has them.
    pub(crate) settings: Object,
    pub(crate) status: SpaceStatus,
    pub(crate) created: OffsetDateTime,
    pub(crate) modified: OffsetDateTime,
    pub(crate) tags: Tags,
}

impl Space {
    /// The app type of the space.
    pub(crate) fn app_type(&self) -> Option<&str> {
        self.settings.get("AppType").and_then(Value::as_str)
    }

    /// Whether remote access is switched on.
    pub(crate) fn remote_access(&self) -> bool {
        self.settings.get("RemoteAccess").and_then(Value::as_str) == Some("ENABLED")
    }

    /// The resources that an app of this type gets if its creator names none.
    pub(crate) fn default_resources(&self, app_type: &str) -> Object {
        let of_type = self.settings.get(&format!("{app_type}AppSettings"));
        let spec = of_type.and_then(|settings| settings.get("DefaultResourceSpec"));
        spec.and_then(Value::as_object).cloned().unwrap_or_default()
    }

    /// Size of the volume.
    pub(crate) fn volume_gb(&self) -> Option<i64> {
        self.settings
            .get("SpaceStorageSettings")?
            .get("EbsStorageSettings")?
            .get("EbsVolumeSizeInGb")?
            .as_i64()
    }
}

/// To whom an app belongs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Space(String),
    Profile(String),
}

impl Owner {
    /// The name, of whichever kind.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Space(name) | Self::Profile(name) => name,
        }
    }
}

/// What names an app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AppKey {
    pub(crate) domain: String,
    pub(crate) owner: Owner,
    pub(crate) app_type: String,
    pub(crate) name: String,
}

impl AppKey {
    /// What follows the account in the ARN.
    pub(crate) fn resource(&self) -> String {
        format!("app/{}/{}/{}/{}", self.domain, self.owner.name(), self.app_type, self.name)
    }
}

/// Where an app is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppStatus {
    Pending,
    InService,
    Deleting,
    Deleted,
    Failed,
}

impl AppStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InService => "InService",
            Self::Deleting => "Deleting",
            Self::Deleted => "Deleted",
            Self::Failed => "Failed",
        }
    }

    /// Whether it holds a machine, and so a place in the quota.
    pub(crate) fn holds_machine(self) -> bool {
        matches!(self, Self::Pending | Self::InService | Self::Deleting)
    }
}

/// One life of an app.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// Unique per life.
    pub(crate) run: String,
    pub(crate) status: AppStatus,
    pub(crate) failure: Option<String>,
    pub(crate) resources: Object,
    pub(crate) recovery_mode: bool,
    /// Whether the space had remote access when the app was made; switching it on later changes nothing.
    pub(crate) remote_access: bool,
    pub(crate) created: OffsetDateTime,
    pub(crate) in_service: Option<OffsetDateTime>,
    pub(crate) ended: Option<OffsetDateTime>,
    pub(crate) ssh: Option<SocketAddr>,
    pub(crate) tags: Tags,
}

impl App {
    pub(crate) fn instance_type(&self) -> &str {
        self.resources.get("InstanceType").and_then(Value::as_str).unwrap_or_default()
    }
}

/// Everything that every account holds.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) domains: BTreeMap<String, Domain>,
    /// By domain and name.
    pub(crate) profiles: BTreeMap<(String, String), Profile>,
    /// By domain and name.
    pub(crate) spaces: BTreeMap<(String, String), Space>,
    pub(crate) apps: BTreeMap<AppKey, App>,
    /// By ARN.
    pub(crate) roles: BTreeMap<String, Role>,
    /// By ARN.
    pub(crate) oidc_providers: BTreeMap<String, OidcProvider>,
    /// Apps that may run at once, by instance type; an unnamed type has `default_quota`.
    pub(crate) quotas: BTreeMap<String, u32>,
}

/// Apps of one instance type that may run at once, unless set.
const DEFAULT_QUOTA: u32 = 100;

impl World {
    /// The domain, if it is of this account and region.
    pub(crate) fn domain(&self, account: &str, region: &str, id: &str) -> Option<&Domain> {
        self.domains.get(id).filter(|domain| domain.account == account && domain.region == region)
    }

    /// The space that an ARN names.
    pub(crate) fn space_by_arn(&self, arn: &str) -> Option<(&Domain, &Space)> {
        let (domain, name) = space_of_arn(arn)?;
        let domain = self.domains.get(domain)?;
        let space = self.spaces.get(&(domain.id.clone(), name.to_owned()))?;
        (domain.arn_of(&format!("space/{}/{}", domain.id, space.name)) == arn).then_some((domain, space))
    }

    /// The app of a space that holds a machine, if any.
    pub(crate) fn live_app(&self, domain: &str, space: &str) -> Option<(&AppKey, &App)> {
        self.apps.iter().find(|(key, app)| {
            key.domain == domain && key.owner == Owner::Space(space.to_owned()) && app.status.holds_machine()
        })
    }

    /// The tags of a resource, by its ARN; an unknown resource has none.
    pub(crate) fn tags(&self, arn: &str) -> Option<&Tags> {
        let resource = arn.splitn(6, ':').nth(5)?;
        let parts: Vec<&str> = resource.split('/').collect();
        let (tags, domain) = match parts[..] {
            ["domain", id] => (&self.domains.get(id)?.tags, id),
            ["space", id, name] => (&self.spaces.get(&(id.to_owned(), name.to_owned()))?.tags, id),
            ["user-profile", id, name] => (&self.profiles.get(&(id.to_owned(), name.to_owned()))?.tags, id),
            ["app", id, ..] => {
                let (_, app) = self.apps.iter().find(|(key, _)| key.resource() == resource)?;
                (&app.tags, id)
            }
            _ => return None,
        };
        (self.domains.get(domain)?.arn_of(resource) == arn).then_some(tags)
    }

    /// As `tags`, to change them.
    pub(crate) fn tags_mut(&mut self, arn: &str) -> Option<&mut Tags> {
        self.tags(arn)?;
        let resource = arn.splitn(6, ':').nth(5)?;
        let parts: Vec<&str> = resource.split('/').collect();
        match parts[..] {
            ["domain", id] => Some(&mut self.domains.get_mut(id)?.tags),
            ["space", id, name] => Some(&mut self.spaces.get_mut(&(id.to_owned(), name.to_owned()))?.tags),
            ["user-profile", id, name] => {
                Some(&mut self.profiles.get_mut(&(id.to_owned(), name.to_owned()))?.tags)
            }
            _ => {
                self.apps.iter_mut().find(|(key, _)| key.resource() == resource).map(|(_, app)| &mut app.tags)
            }
        }
    }

    /// Whether one more app of this instance type may run in the account and region.
    pub(crate) fn quota_left(&self, account: &str, region: &str, instance_type: &str) -> bool {
        let limit = self.quota(instance_type);
        let running = self.apps.iter().filter(|(key, app)| {
            app.status.holds_machine()
                && app.instance_type() == instance_type
                && self.domain(account, region, &key.domain).is_some()
        });
        running.count() < limit as usize
    }

    /// How many apps of this instance type may run at once.
    pub(crate) fn quota(&self, instance_type: &str) -> u32 {
        self.quotas.get(instance_type).copied().unwrap_or(DEFAULT_QUOTA)
    }
}

/// Domain and name in the ARN of a space.
pub(crate) fn space_of_arn(arn: &str) -> Option<(&str, &str)> {
    let resource = arn.splitn(6, ':').nth(5)?;
    let (domain, name) = resource.strip_prefix("space/")?.split_once('/')?;
    (!name.contains('/')).then_some((domain, name))
}
