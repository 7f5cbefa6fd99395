//! Spaces, their apps and their runs, as the catalogue knows them.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use super::ids::{
    AccountId, DomainAlias, InstanceType, MalformedName, Region, SpaceId, SpaceName, StudioDomainId,
    UserProfileName,
};

/// The name of a space all over AWS:
/// `arn:PARTITION:sagemaker:REGION:ACCOUNT:space/DOMAIN/NAME`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SpaceArn {
    /// `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: String,
    /// The region of the domain.
    pub region: Region,
    /// The account of the domain.
    pub account: AccountId,
    /// The domain.
    pub domain: StudioDomainId,
    /// The space.
    pub name: SpaceName,
}

impl SpaceArn {
    /// The ARN of the space's app of this type, which is always named `default`.
    #[must_use]
    pub fn app(&self, app_type: AppType) -> String {
        let Self { partition, region, account, domain, name } = self;
        format!("arn:{partition}:sagemaker:{region}:{account}:app/{domain}/{name}/{app_type}/default")
    }
}

impl fmt::Display for SpaceArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, region, account, domain, name } = self;
        write!(f, "arn:{partition}:sagemaker:{region}:{account}:space/{domain}/{name}")
    }
}

impl fmt::Debug for SpaceArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SpaceArn {
    type Err = MalformedName;

    fn from_str(text: &str) -> Result<Self, MalformedName> {
        let rule = "arn:aws:sagemaker:REGION:ACCOUNT:space/DOMAIN/SPACE";
        let malformed = || MalformedName::new("space ARN", text, rule);
        let mut parts = text.splitn(6, ':');
        let mut part = || parts.next().ok_or_else(malformed);
        let (arn, partition, service) = (part()?, part()?, part()?);
        let (region, account, resource) = (part()?, part()?, part()?);
        let mut path = resource.split('/');
        let (kind, domain, name) = (path.next(), path.next(), path.next());
        let (Some(domain), Some(name), None) = (domain, name, path.next()) else { return Err(malformed()) };
        let partition_ok =
            partition.starts_with("aws") && partition.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        if arn != "arn" || !partition_ok || service != "sagemaker" || kind != Some("space") {
            return Err(malformed());
        }
        Ok(Self {
            partition: partition.to_owned(),
            region: region.parse()?,
            account: account.parse()?,
            domain: domain.parse()?,
            name: name.parse()?,
        })
    }
}

/// The kinds of app that remote access serves. Others are listed by AWS and ignored by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AppType {
    /// JupyterLab.
    JupyterLab,
    /// Code Editor.
    CodeEditor,
}

impl fmt::Display for AppType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::JupyterLab => "JupyterLab",
            Self::CodeEditor => "CodeEditor",
        })
    }
}

impl FromStr for AppType {
    type Err = MalformedName;
    fn from_str(text: &str) -> Result<Self, MalformedName> {
        match text {
            "JupyterLab" => Ok(Self::JupyterLab),
            "CodeEditor" => Ok(Self::CodeEditor),
            _ => Err(MalformedName::new("app type", text, "JupyterLab or CodeEditor")),
        }
    }
}

/// Who shares a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One owner.
    Private,
    /// Everybody of the domain, all as one Unix user.
    Shared,
}

/// What a space's space and app status mean together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceState {
    /// The app is in service.
    Running,
    /// The app is pending.
    Starting,
    /// The app is being deleted.
    Stopping,
    /// There is no app.
    Stopped,
    /// The space itself is being created or changed.
    Updating,
    /// The space or its app failed.
    Failed,
}

impl fmt::Display for SpaceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Updating => "updating",
            Self::Failed => "failed",
        })
    }
}

/// The app that runs, or ran last, in a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its type.
    pub app_type: AppType,
    /// `Pending`, `InService`, `Deleting`, `Deleted`, `Failed`.
    pub status: AppStatus,
    /// When AWS created it: what tells one run from the next.
    pub created_at: OffsetDateTime,
    /// What it runs on, where the listing says.
    pub instance_type: Option<InstanceType>,
    /// The image that it runs, where the listing says.
    pub image: Option<AppImage>,
}

/// The image that an app runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppImage {
    /// Its ARN.
    pub arn: String,
    /// Which version of it: an alias such as `3.2.0`, or the version's ARN.
    pub version: Option<String>,
}

/// AWS's status of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppStatus {
    /// Being started.
    Pending,
    /// Up: what costs money.
    InService,
    /// Being stopped.
    Deleting,
    /// Gone; AWS lists it for a day.
    Deleted,
    /// Did not start.
    Failed,
}

impl AppStatus {
    /// AWS's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InService => "InService",
            Self::Deleting => "Deleting",
            Self::Deleted => "Deleted",
            Self::Failed => "Failed",
        }
    }

    /// The status that AWS calls so.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Pending, Self::InService, Self::Deleting, Self::Deleted, Self::Failed];
        all.into_iter().find(|status| status.word() == word)
    }
}

/// AWS's status of a space, reduced to what we act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceStatus {
    /// Usable.
    InService,
    /// `Pending` or `Updating`.
    Updating,
    /// `Deleting`.
    Deleting,
    /// `Failed`, `Update_Failed`, `Delete_Failed`.
    Failed,
}

impl SpaceStatus {
    /// AWS's word, or the one that stands for several.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::InService => "InService",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
            Self::Failed => "Failed",
        }
    }

    /// The status that goes by this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::InService, Self::Updating, Self::Deleting, Self::Failed];
        all.into_iter().find(|status| status.word() == word)
    }
}

/// A space, as the last listing showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// Its row.
    pub id: SpaceId,
    /// Its name all over AWS.
    pub arn: SpaceArn,
    /// The configured domain it belongs to.
    pub domain: DomainAlias,
    /// Who owns it, where AWS says.
    pub owner: Option<UserProfileName>,
    /// Who shares it.
    pub sharing: Sharing,
    /// The app type that the space is made for; nothing for kinds that remote access does not serve.
    pub app_type: Option<AppType>,
    /// Whether `RemoteAccess` is `ENABLED`; an old space without the setting counts as off.
    pub remote_access: bool,
    /// AWS's status of the space.
    pub status: SpaceStatus,
    /// The app, if AWS lists one.
    pub app: Option<App>,
    /// The size of its EBS volume, where the listing says.
    pub storage_gib: Option<u32>,
}

impl Space {
    /// Whether its name, its domain or its owner has this text, in small letters, in it.
    #[must_use]
    pub fn is_called(&self, text: &str) -> bool {
        let owner = self.owner.as_ref().map_or("", |owner| owner.as_str());
        [self.name().as_str(), self.domain.as_str(), owner]
            .iter()
            .any(|name| name.to_lowercase().contains(text))
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &SpaceName {
        &self.arn.name
    }

    /// What space and app status mean together.
    #[must_use]
    pub fn state(&self) -> SpaceState {
        match (self.status, self.app.as_ref().map(|a| a.status)) {
            (SpaceStatus::Failed, _) => SpaceState::Failed,
            (SpaceStatus::Updating, _) => SpaceState::Updating,
            (SpaceStatus::Deleting, _) => SpaceState::Stopping,
            (SpaceStatus::InService, status) => match status {
                Some(AppStatus::InService) => SpaceState::Running,
                Some(AppStatus::Pending) => SpaceState::Starting,
                Some(AppStatus::Deleting) => SpaceState::Stopping,
                Some(AppStatus::Failed) => SpaceState::Failed,
                Some(AppStatus::Deleted) | None => SpaceState::Stopped,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::space;
    use super::*;

    #[test]
    fn arn_is_read_and_written_back() {
        let text = "arn:aws-us-gov:sagemaker:us-gov-west-1:123456789012:space/d-abc1/My-Space";
        let arn: SpaceArn = text.parse().unwrap();
        assert_eq!(arn.to_string(), text);
        assert_eq!(
            arn.app(AppType::CodeEditor),
            "arn:aws-us-gov:sagemaker:us-gov-west-1:123456789012:app/d-abc1/My-Space/CodeEditor/default"
        );
        for wrong in [
            "arn:aws:sagemaker:us-east-1:123456789012:app/d-abc1/x",
            "arn:aws:sagemaker:us-east-1:12345:space/d-abc1/x",
            "arn:aws:sagemaker:us-east-1:123456789012:space/d-abc1/x/y",
            "arn:gcp:sagemaker:us-east-1:123456789012:space/d-abc1/x",
            "arn:aws:sagemaker",
        ] {
            assert!(wrong.parse::<SpaceArn>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn state_follows_space_and_app() {
        let mut demo = space("demo", "alice", Sharing::Private);
        assert_eq!(demo.state(), SpaceState::Running);
        for (status, state) in [
            (AppStatus::Pending, SpaceState::Starting),
            (AppStatus::Deleting, SpaceState::Stopping),
            (AppStatus::Deleted, SpaceState::Stopped),
            (AppStatus::Failed, SpaceState::Failed),
        ] {
            demo.app = demo.app.map(|app| App { status, ..app });
            assert_eq!(demo.state(), state);
        }
        demo.app = None;
        assert_eq!(demo.state(), SpaceState::Stopped);
        demo.status = SpaceStatus::Updating;
        assert_eq!(demo.state(), SpaceState::Updating);
    }
}
