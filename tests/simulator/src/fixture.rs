//! What an account holds when the simulator starts, and how tests describe spaces.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::account::{App, AppKey, AppStatus, Domain, Object, Owner, Profile, Space, SpaceStatus, World};
use crate::iam::{Policy, PolicyKind};
use crate::policies;
use crate::roles::{Role, Tags};
use crate::sagemaker;

/// The account of the default fixture.
pub const ACCOUNT: &str = "111122223333";
/// Its region.
pub const REGION: &str = "eu-west-1";
/// Its domain.
pub const DOMAIN: &str = "d-studio0example";
/// The role that the product runs as.
pub const SERVICE_ROLE: &str = "gateway-service";
/// The role that it becomes for a person.
pub const USER_ROLE: &str = "gw-user";
/// The role that it becomes for its probe.
pub const PROBE_ROLE: &str = "gw-probe";
/// The role in which it looks into spaces, which is also the name that it acts under.
pub const LOOK_ROLE: &str = "spaceport-probe";
/// An instance type of which the default fixture may run none.
pub const TYPE_OVER_QUOTA: &str = "ml.p4d.24xlarge";
/// An instance type that AWS has none left of.
pub const TYPE_WITHOUT_CAPACITY: &str = "ml.g5.48xlarge";
/// Why apps of that type fail.
pub const CAPACITY_REASON: &str = "CapacityError: Unable to provision requested ML compute capacity due to \
     InsufficientInstanceCapacity error. Please retry using a different ML instance type.";

/// A space as a test describes it. It has remote access, JupyterLab and the owner's tag unless said otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceSpec {
    /// Name of the space.
    pub name: String,
    /// Domain; the fixture's first one if absent.
    #[serde(default)]
    pub domain: Option<String>,
    /// Owner's user profile.
    #[serde(default)]
    pub owner: Option<String>,
    /// Whether the space is shared.
    #[serde(default)]
    pub shared: bool,
    /// The name that the console shows.
    #[serde(default)]
    pub display_name: Option<String>,
    /// `JupyterLab` or `CodeEditor`.
    #[serde(default = "jupyter_lab")]
    pub app_type: String,
    /// Instance type of the space's settings.
    #[serde(default = "usual_instance")]
    pub instance_type: String,
    /// Whether an app is in service.
    #[serde(default)]
    pub running: bool,
    /// `RemoteAccess`; absent on old spaces, which means disabled.
    #[serde(default = "enabled")]
    pub remote_access: Option<bool>,
    /// Size of the volume.
    #[serde(default = "usual_volume")]
    pub volume_gb: i64,
    /// Tags beyond those that the owner's or the sharing give.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether the space lacks the tags by which the user role's policy knows it.
    #[serde(default)]
    pub untagged: bool,
}

fn jupyter_lab() -> String {
    "JupyterLab".to_owned()
}
fn usual_instance() -> String {
    "ml.m5.xlarge".to_owned()
}
fn enabled() -> Option<bool> {
    Some(true)
}
fn usual_volume() -> i64 {
    20
}

impl SpaceSpec {
    /// A stopped private space.
    pub fn private(name: &str, owner: &str) -> Self {
        Self { owner: Some(owner.to_owned()), ..Self::bare(name) }
    }

    /// A stopped shared space. Studio records who made it as its owner.
    pub fn shared(name: &str, owner: &str) -> Self {
        Self { shared: true, ..Self::private(name, owner) }
    }

    fn bare(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            domain: None,
            owner: None,
            shared: false,
            display_name: None,
            app_type: jupyter_lab(),
            instance_type: usual_instance(),
            running: false,
            remote_access: enabled(),
            volume_gb: usual_volume(),
            tags: BTreeMap::new(),
            untagged: false,
        }
    }

    /// With another instance type.
    #[must_use]
    pub fn on(self, instance_type: &str) -> Self {
        Self { instance_type: instance_type.to_owned(), ..self }
    }

    /// With an app in service.
    #[must_use]
    pub fn running(self) -> Self {
        Self { running: true, ..self }
    }

    /// With remote access switched off.
    #[must_use]
    pub fn without_remote_access(self) -> Self {
        Self { remote_access: Some(false), ..self }
    }

    /// In another domain.
    #[must_use]
    pub fn in_domain(self, domain: &str) -> Self {
        Self { domain: Some(domain.to_owned()), ..self }
    }

    /// With Code Editor instead of JupyterLab.
    #[must_use]
    pub fn code_editor(self) -> Self {
        Self { app_type: "CodeEditor".to_owned(), ..self }
    }

    fn settings(&self) -> Object {
        let settings = json!({
            "AppType": self.app_type,
            (format!("{}AppSettings", self.app_type)): { "DefaultResourceSpec": self.resources() },
            "SpaceStorageSettings": { "EbsStorageSettings": { "EbsVolumeSizeInGb": self.volume_gb } },
        });
        let mut settings = settings.as_object().cloned().unwrap_or_default();
        if let Some(on) = self.remote_access {
            settings.insert("RemoteAccess".to_owned(), json!(if on { "ENABLED" } else { "DISABLED" }));
        }
        settings
    }

    fn resources(&self) -> Value {
        json!({
            "InstanceType": self.instance_type,
            "SageMakerImageArn": format!("arn:aws:sagemaker:{REGION}:819792524951:image/sagemaker-distribution-cpu"),
            "SageMakerImageVersionAlias": "3.2.0",
        })
    }

    /// Whether SageMaker would take its names and tags: tests must not meet texts that AWS never sends.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let tags: Vec<Value> = self.tags.iter().map(|(k, v)| json!({ "Key": k, "Value": v })).collect();
        let input = json!({
            "DomainId": "d-any",
            "SpaceName": self.name,
            "Tags": tags,
            "OwnershipSettings": self.owner.as_ref().map(|owner| json!({ "OwnerUserProfileName": owner })),
            "SpaceDisplayName": self.display_name,
        });
        sagemaker::check("CreateSpace", input)
    }

    /// The space that this describes.
    pub(crate) fn space(&self, now: OffsetDateTime) -> Space {
        let mut tags: Tags = self.tags.clone();
        if !self.untagged {
            if self.shared {
                tags.insert("gw-sharing".to_owned(), "shared".to_owned());
            } else if let Some(owner) = &self.owner {
                tags.insert("gw-owner".to_owned(), owner.clone());
            }
        }
        let sharing = if self.shared { "Shared" } else { "Private" };
        Space {
            name: self.name.clone(),
            display_name: self.display_name.clone(),
            owner: self.owner.clone(),
            sharing: self.owner.as_ref().map(|_| sharing.to_owned()),
            settings: self.settings(),
            status: SpaceStatus::InService,
            created: now,
            modified: now,
            tags,
        }
    }

    /// A Pending app of this space.
    pub(crate) fn app(&self, domain: &Domain, space: &Space, now: OffsetDateTime) -> (AppKey, App) {
        let key = AppKey {
            domain: domain.id.clone(),
            owner: Owner::Space(self.name.clone()),
            app_type: self.app_type.clone(),
            name: "default".to_owned(),
        };
        let app = App {
            run: uuid::Uuid::new_v4().to_string(),
            status: AppStatus::Pending,
            failure: None,
            resources: space.default_resources(&self.app_type),
            recovery_mode: false,
            remote_access: space.remote_access(),
            created: now,
            in_service: None,
            ended: None,
            ssh: None,
            tags: if domain.tag_propagation { space.tags.clone() } else { Tags::new() },
        };
        (key, app)
    }
}

/// One domain and what is in it. Several make up a world; those of one account share its roles.
/// Read from a file, what is absent is as in `bare`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default = "Fixture::bare", deny_unknown_fields)]
pub struct Fixture {
    /// Account of the domain.
    pub account: String,
    /// Region of the domain.
    pub region: String,
    /// Id of the domain.
    pub domain: String,
    /// Its name.
    pub domain_name: String,
    /// Whether people sign in to the domain through Identity Center.
    pub sso: bool,
    /// Whether apps inherit the tags of their space.
    pub tag_propagation: bool,
    /// User profiles.
    pub profiles: Vec<String>,
    /// Spaces.
    pub spaces: Vec<SpaceSpec>,
    /// Apps that may run at once, by instance type.
    pub quotas: BTreeMap<String, u32>,
    /// Instance types that fail to start, and the reason.
    pub capacity: BTreeMap<String, String>,
}

impl Default for Fixture {
    fn default() -> Self {
        let alice = |name| SpaceSpec::private(name, "alice");
        let spaces = vec![
            alice("demo").running(),
            alice("gpu").on("ml.g5.xlarge").running(),
            alice("stopped"),
            alice("small").on("ml.t3.medium"),
            alice("no-remote").without_remote_access(),
            alice("over-quota").on(TYPE_OVER_QUOTA),
            alice("no-capacity").on(TYPE_WITHOUT_CAPACITY),
            alice("Mixed-Case").running(),
            SpaceSpec::private("bo-private", "bo"),
            SpaceSpec::shared("team", "bo").running(),
        ];
        Self { spaces, ..Self::bare() }
    }
}

impl Fixture {
    /// The default domain with its people and no space.
    pub fn bare() -> Self {
        Self {
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            domain: DOMAIN.to_owned(),
            domain_name: "studio".to_owned(),
            sso: false,
            tag_propagation: true,
            profiles: ["alice", "bo", "carol"].map(str::to_owned).to_vec(),
            spaces: Vec::new(),
            quotas: BTreeMap::from([(TYPE_OVER_QUOTA.to_owned(), 0)]),
            capacity: BTreeMap::from([(TYPE_WITHOUT_CAPACITY.to_owned(), CAPACITY_REASON.to_owned())]),
        }
    }

    /// A further domain of the default account, with the default people and no space.
    pub fn domain(id: &str, name: &str) -> Self {
        Self { domain: id.to_owned(), domain_name: name.to_owned(), ..Self::bare() }
    }

    /// With one space more.
    #[must_use]
    pub fn with(mut self, space: SpaceSpec) -> Self {
        self.spaces.push(space);
        self
    }

    /// Puts the domain, its people and its account's roles into a world; spaces come later, as they may have to start.
    pub(crate) fn enter(&self, world: &mut World, now: OffsetDateTime) -> anyhow::Result<()> {
        let domain = Domain {
            id: self.domain.clone(),
            name: self.domain_name.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            auth_mode: if self.sso { "SSO" } else { "IAM" },
            tag_propagation: self.tag_propagation,
            created: now,
            modified: now,
            tags: Tags::new(),
        };
        world.domains.insert(domain.id.clone(), domain);
        for name in &self.profiles {
            world.profiles.insert((self.domain.clone(), name.clone()), profile(name, self.sso, now));
        }
        world.quotas.extend(self.quotas.clone());
        let account = &self.account;
        for (name, trust, policy) in [
            (SERVICE_ROLE, policies::service_trust(), policies::service(account)),
            (USER_ROLE, policies::person_trust(account), policies::person(account)),
            (PROBE_ROLE, policies::probe_trust(account), policies::probe(account)),
        ] {
            let role = Role::new(account, name, &trust, &policy)?;
            world.roles.entry(role.arn()).or_insert(role);
        }
        // One role for the domains of an account, with a policy for each.
        let look = policies::look(account, &self.domain);
        let role = Role::new(account, LOOK_ROLE, &policies::look_trust(account), &look)?;
        let policy = Policy::parse(&look, PolicyKind::Identity)?;
        let role = world.roles.entry(role.arn()).or_insert(role);
        role.policies.insert(self.domain.clone(), policy);
        Ok(())
    }
}

/// A user profile; in a domain of Identity Center it is bound to the user of that name.
pub(crate) fn profile(name: &str, sso: bool, now: OffsetDateTime) -> Profile {
    Profile {
        name: name.to_owned(),
        single_sign_on: sso.then(|| format!("{name}@example.org")),
        created: now,
        modified: now,
        tags: Tags::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_file_names_what_differs() -> anyhow::Result<()> {
        let text = r#"[{"domain": "d-1", "spaces": [{"name": "a", "owner": "alice", "running": true}]}]"#;
        let fixtures: Vec<Fixture> = serde_json::from_str(text)?;
        let first = fixtures.first().ok_or_else(|| anyhow::anyhow!("no domain"))?;
        assert_eq!((first.domain.as_str(), first.account.as_str()), ("d-1", ACCOUNT));
        assert_eq!(first.profiles, ["alice", "bo", "carol"]);
        assert!(first.spaces.iter().all(|s| s.running && s.remote_access == Some(true)));
        assert!(serde_json::from_str::<Vec<Fixture>>(r#"[{"color": "red"}]"#).is_err());
        Ok(())
    }
}
