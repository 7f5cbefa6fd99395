//! Looking inside spaces: what is at work there, and telling Studio's own idle shutdown of people who are.
//!
//! A look is one small script on the standard input of a shell, and two questions to the space's Jupyter server. What
//! comes back was made by whoever is inside: `domain::probe` reads it.

mod command;
mod jupyter;

use std::time::Duration;

use async_trait::async_trait;
use tracing::debug;

use super::Gateway;
use super::clock::within;
use super::errors::OpenError;
use super::link::{Link, LinkError};
use super::links::NoSight;
use crate::domain::idle::{Inside, NoLook};
use crate::domain::ids::{SpaceId, UserId};
use crate::domain::ports::{AwsError, Eyes};
use crate::domain::probe::{self, ProbeFailure};
use crate::domain::run::OpenRun;
use crate::domain::space::AppType;
use crate::telemetry::metrics as names;

/// The longest that a look may take once there is a way in.
const LOOK_LIMIT: Duration = Duration::from_secs(8);

/// Sets the time that Studio's own idle shutdown goes by, in the format that it reads: in one step, so that it never
/// finds half of it.
const STILL_HERE: &[u8] = b"PATH=/usr/bin:/bin
file=/tmp/.sagemaker-last-active-timestamp
date -u +%Y-%m-%dT%H:%M:%S.000Z >\"$file.$$\" && mv -f \"$file.$$\" \"$file\"
";

/// Why a look over an open link did not show anything. `Display` stands behind "unknown:".
#[derive(Debug, thiserror::Error)]
enum Blind {
    #[error("the SSH server in the space did not take the look: {0}")]
    Link(#[from] LinkError),
    #[error("the shell in the space ended with {0}")]
    Ended(String),
    #[error(transparent)]
    Probe(#[from] ProbeFailure),
    #[error("JupyterLab in the space could not be asked: {0}")]
    Jupyter(String),
    #[error("the look inside took longer than {} s", LOOK_LIMIT.as_secs())]
    TooLong,
}

#[async_trait]
impl Eyes for Gateway {
    async fn look_inside(&self, run: &OpenRun) -> Result<Inside, NoLook> {
        let looked = self.see(run).await;
        if let Err(no) = &looked
            && !no.not_set_up
        {
            debug!(space.name = %run.space.name(), reason = no.why, "nothing seen inside");
            metrics::counter!(names::LOOKS_FAILED).increment(1);
        }
        looked
    }
}

impl Gateway {
    async fn see(&self, run: &OpenRun) -> Result<Inside, NoLook> {
        let sight = self.inner.links.sight(run).await.map_err(|no| no_way_in(run, &no))?;
        let looked = within(&*self.inner.clock, LOOK_LIMIT, self.through(sight.link(), run)).await;
        looked
            .unwrap_or(Err(Blind::TooLong))
            .map_err(|blind| NoLook { why: blind.to_string(), not_set_up: false })
    }

    async fn through(&self, link: &Link, run: &OpenRun) -> Result<Inside, Blind> {
        let jupyter = async {
            match run.space.app.as_ref().map(|app| app.app_type).or(run.space.app_type) {
                Some(AppType::JupyterLab) => jupyter::ask(link).await.map(Some),
                _ => Ok(None),
            }
        };
        let script = command::output_of(link, probe::SCRIPT, probe::LONGEST_OUTPUT);
        let (said, jupyter) = tokio::try_join!(script, jupyter)?;
        Ok(probe::inside(probe::read(&said)?, jupyter, self.inner.clock.now()))
    }

    /// A person is at work in a space by way of this replica: Studio's own idle shutdown is told, over their own link. Of
    /// those who jump nothing of ours is inside: then it is told the way that looks go.
    pub(super) async fn still_here(&self, space: SpaceId, user: UserId) {
        // No person waits for this.
        let told = match self.inner.links.of_person(user, space) {
            Some(link) => self.tell_studio(&link).await,
            None => self.tell_studio_as_looks_go(space).await,
        };
        if let Err(reason) = told {
            debug!(space.id = %space, reason, "Studio's own idle shutdown was not told");
        }
    }

    async fn tell_studio_as_looks_go(&self, space: SpaceId) -> Result<(), String> {
        let run = self.inner.store.open_run(space).await.map_err(|error| error.to_string())?;
        let run = run.ok_or("no run of it is on record")?;
        let sight = self.inner.links.sight(&run).await.map_err(|no| no_way_in(&run, &no).why)?;
        self.tell_studio(sight.link()).await
    }

    async fn tell_studio(&self, link: &Link) -> Result<(), String> {
        let told = within(&*self.inner.clock, LOOK_LIMIT, command::output_of(link, STILL_HERE, 0)).await;
        told.unwrap_or(Err(Blind::TooLong)).map(drop).map_err(|blind| blind.to_string())
    }
}

/// Why there is no way in, as it stands behind "unknown:".
fn no_way_in(run: &OpenRun, no: &NoSight) -> NoLook {
    let domain = &run.space.domain;
    let why = match no {
        NoSight::NotSetUp => {
            let why = format!("no look inside is set up for domain {domain}");
            return NoLook { why, not_set_up: true };
        }
        NoSight::Lost => "the way in was lost".to_owned(),
        NoSight::Failed(OpenError::NoFreeStream(_)) => "its streams are in use by people".to_owned(),
        NoSight::Failed(OpenError::Aws(AwsError::Role(error))) => {
            format!("the probe has no role session in domain {domain}: {error}")
        }
        NoSight::Failed(OpenError::Aws(error)) => format!("the probe has no way in: {error}"),
        NoSight::Failed(OpenError::Dial(error)) => format!("the probe has no way in: {error}"),
        NoSight::Failed(_) => "the SSH server in the space did not let the probe in".to_owned(),
    };
    NoLook { why, not_set_up: false }
}
