//! Why a space is not found, or not opened. The wording for terminals is `ssh::messages`'s.

use std::time::Duration;

use time::OffsetDateTime;

use super::link::LinkError;
use crate::domain::access::Because;
use crate::domain::budget::OverBudget;
use crate::domain::ending::EndReason;
use crate::domain::ids::{AuditId, SpaceName};
use crate::domain::ports::{AwsError, DialError};
use crate::domain::space::SpaceState;
use crate::domain::start::StartProblem;
use crate::domain::streams::NoFreeStream;
use crate::store::StoreError;

/// Why a target names no space that the person may use.
#[derive(Debug, Clone)]
pub enum FindError {
    /// None of the person's spaces has that name.
    Unknown {
        /** Names that are near. */
        near: Vec<String>,
    },
    /// Several have it; each as it must be written.
    Ambiguous {
        /** The ways to write them. */
        choices: Vec<String>,
    },
    /// There is such a space, and the policy says no.
    Denied {
        /** The space. */
        space: SpaceName,
        /** Why. */
        because: Because,
        /** The audit row, to quote. */
        audit: AuditId,
    },
    /// The catalogue could never be read.
    CatalogueAway(AwsError),
    /// Postgres is away.
    RecordAway,
}

/// Why a space, or a channel to it, could not be opened.
#[derive(Debug, Clone)]
pub enum OpenError {
    /// The policy says no to this action.
    Denied {
        /** Why. */
        because: Because,
        /** The audit row, to quote. */
        audit: AuditId,
    },
    /// The space is not up, and this kind of channel does not start one.
    NotRunning(SpaceState),
    /// The space was stopped for idleness at this time, and a client that comes by itself does not start it.
    Idled(OffsetDateTime),
    /// A budget is spent, and nothing is started on it any more.
    OverBudget {
        /** What is spent. */
        over: Box<OverBudget>,
        /** The audit row, to quote. */
        audit: AuditId,
    },
    /// A start cannot work, or did not.
    Start(StartProblem),
    /// The app failed to start, in AWS's words.
    AppFailed {
        /** AWS's `FailureReason`. */
        reason: String,
    },
    /// The app did not come up in time.
    StartTimedOut {
        /** Seconds waited. */
        waited_s: u64,
    },
    /// All streams of the space are taken.
    NoFreeStream(NoFreeStream),
    /// AWS said no.
    Aws(AwsError),
    /// The stream could not be opened.
    Dial(DialError),
    /// The SSH server in the space did not greet or refused us.
    SpaceSsh(String),
    /// The space's SSH server refused the channel or the request.
    RefusedBySpace(String),
    /// Postgres is away: no new session.
    RecordAway,
    /// The gateway is draining: no new session.
    Draining,
    /// The session ended meanwhile.
    Ended(EndReason),
}

/// Why a wish about a space was not fulfilled.
#[derive(Debug, Clone)]
pub enum AskError {
    /// It could not be started, or the policy says no.
    Open(OpenError),
    /// Nobody watches spaces for idleness here.
    NotWatched,
    /// Postgres is away.
    RecordAway,
    /// A hold may last no longer than this.
    TooLong(Duration),
    /// These other people have sessions in the space.
    Others(Vec<String>),
}

impl From<OpenError> for AskError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<StoreError> for AskError {
    fn from(_: StoreError) -> Self {
        Self::RecordAway
    }
}

impl OpenError {
    /// The word for audit rows and `EndReason::NotOpened`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "denied",
            Self::NotRunning(_) => "not_running",
            Self::Idled(_) => "stopped_for_idleness",
            Self::OverBudget { .. } => "over_budget",
            Self::Start(_) => "cannot_start",
            Self::AppFailed { .. } => "app_failed",
            Self::StartTimedOut { .. } => "start_timed_out",
            Self::NoFreeStream(_) => "no_free_stream",
            Self::Aws(_) => "aws",
            Self::Dial(_) => "dial",
            Self::SpaceSsh(_) => "space_ssh",
            Self::RefusedBySpace(_) => "refused_by_space",
            Self::RecordAway => "record_away",
            Self::Draining => "draining",
            Self::Ended(_) => "ended",
        }
    }

    /// Whether the answer was about the person who asked, so that somebody else may get another one.
    pub(super) const fn is_personal(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Aws(AwsError::Role(_) | AwsError::AccessDenied { .. }))
    }
}

impl From<LinkError> for OpenError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Refused(what) => Self::RefusedBySpace(what.to_owned()),
            LinkError::OpenRefused(words) => Self::RefusedBySpace(words),
            other => Self::SpaceSsh(other.to_string()),
        }
    }
}
