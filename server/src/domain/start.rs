//! Starting a space: what AWS would refuse late is found early, each with the reason and the next step.

use std::fmt;

use time::OffsetDateTime;

use super::ids::InstanceType;
use super::space::SpaceStatus;

/// Memory that remote access needs, in GiB
/// (SageMaker AI Developer Guide, "remote-access").
pub const REMOTE_ACCESS_MEMORY_GIB: u32 = 8;

/// Instance types that the guide refuses for remote access, with what to take instead.
const TOO_SMALL: &[(&str, &str)] = &[
    ("ml.t3.micro", "ml.t3.large"),
    ("ml.t3.small", "ml.t3.large"),
    ("ml.t3.medium", "ml.t3.large"),
    ("ml.c5.large", "ml.c5.xlarge"),
    ("ml.c6i.large", "ml.c6i.xlarge"),
    ("ml.c6id.large", "ml.c6id.xlarge"),
    ("ml.c7i.large", "ml.c7i.xlarge"),
];

/// What `DescribeSpace` says that a start depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartSettings {
    /// The instance type that the app will get; without one, AWS takes `ml.t3.medium`.
    pub instance_type: Option<InstanceType>,
    /// The version alias of the image, `3.2.0`, where the space names one.
    pub image_version: Option<String>,
    /// The ARN of the image, where the space names one.
    pub image: Option<String>,
    /// The ARN of the exact image version, where the space names one.
    pub image_version_arn: Option<String>,
    /// The lifecycle configuration that the space names.
    pub lifecycle_config: Option<String>,
    /// Whether remote access is on.
    pub remote_access: bool,
    /// AWS's status of the space: nothing can be started while it is being changed.
    pub status: SpaceStatus,
}

/// A start that cannot work, known before AWS is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartProblem {
    /// Remote access is off; switching it on changes the space.
    RemoteAccessOff,
    /// The instance has too little memory.
    TooLittleMemory {
        /// What the space asks for.
        instance_type: String,
        /// What would do.
        instead: &'static str,
    },
    /// The image is older than remote access.
    ImageTooOld {
        /// Its version.
        version: String,
    },
}

/// Everything that would keep a start from working, worst first.
#[must_use]
pub fn problems(settings: &StartSettings) -> Vec<StartProblem> {
    let mut problems = Vec::new();
    let instance = settings.instance_type.as_ref().map_or("ml.t3.medium", InstanceType::as_str);
    if let Some((_, instead)) = TOO_SMALL.iter().find(|(small, _)| *small == instance) {
        problems.push(StartProblem::TooLittleMemory { instance_type: instance.to_owned(), instead });
    }
    if let Some(version) = settings.image_version.as_ref().filter(|v| too_old(v)) {
        problems.push(StartProblem::ImageTooOld { version: version.clone() });
    }
    if !settings.remote_access {
        problems.push(StartProblem::RemoteAccessOff);
    }
    problems
}

/// SageMaker Distribution serves remote access from 2.7 on (Developer Guide, "remote-access").
fn too_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (2, 7),
        (Some(Ok(major)), None) => major < 2,
        _ => false,
    }
}

/// Where a start has got to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartStep {
    /// `CreateApp` was accepted, or an app was already on its way.
    Requested,
    /// The app is pending.
    Pending,
    /// The app is in service.
    InService,
    /// Its agent is not registered with Session Manager yet.
    Registering,
    /// A stream is open.
    Connected,
}

impl fmt::Display for StartStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "asked AWS for the app",
            Self::Pending => "waiting for an instance",
            Self::InService => "app in service",
            Self::Registering => "waiting for the agent in the space",
            Self::Connected => "connected",
        })
    }
}

/// What an app is doing now: what `DescribeApp` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppReport {
    /// AWS's status.
    pub status: super::space::AppStatus,
    /// AWS's words for a failure.
    pub failure: Option<String>,
    /// When this app was created.
    pub created_at: Option<OffsetDateTime>,
    /// What it runs on.
    pub instance_type: Option<InstanceType>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(instance: Option<&str>, image: Option<&str>) -> StartSettings {
        StartSettings {
            instance_type: instance.map(|i| i.parse().unwrap()),
            image_version: image.map(str::to_owned),
            image: None,
            image_version_arn: None,
            lifecycle_config: None,
            remote_access: true,
            status: SpaceStatus::InService,
        }
    }

    #[test]
    fn space_that_can_start_has_no_problem() {
        assert_eq!(problems(&settings(Some("ml.m5.xlarge"), Some("3.2.0"))), []);
        assert_eq!(problems(&settings(Some("ml.g5.xlarge"), None)), []);
    }

    #[test]
    fn small_instance_is_found_early_with_what_would_do() {
        for (instance, instead) in TOO_SMALL {
            let found = problems(&settings(Some(instance), None));
            let expected = StartProblem::TooLittleMemory { instance_type: (*instance).to_owned(), instead };
            assert_eq!(found, [expected]);
        }
        assert!(
            matches!(problems(&settings(None, None))[..], [StartProblem::TooLittleMemory { .. }]),
            "AWS takes t3.medium"
        );
    }

    #[test]
    fn image_before_2_7_is_too_old() {
        for (version, old) in [
            ("2.6.9", true),
            ("1.11", true),
            ("1", true),
            ("2.7.0", false),
            ("3.0.1", false),
            ("latest", false),
        ] {
            assert_eq!(!problems(&settings(Some("ml.m5.large"), Some(version))).is_empty(), old, "{version}");
        }
    }

    #[test]
    fn remote_access_off_comes_after_what_a_restart_must_also_mend() {
        let off = StartSettings { remote_access: false, ..settings(Some("ml.t3.medium"), None) };
        assert!(matches!(
            problems(&off)[..],
            [StartProblem::TooLittleMemory { .. }, StartProblem::RemoteAccessOff]
        ));
    }
}
