//! Starting a space: checks that AWS would make late, CreateApp, and waiting until the app is in service.

mod locked;

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::Limits;
use super::clock::within;
use super::errors::OpenError;
use super::flights::{Flights, Report};
use super::want::Progress;
use crate::domain::actor::Actor;
use crate::domain::ids::{InstanceType, SpaceId};
use crate::domain::ports::{AwsError, Clock, SpaceControl};
use crate::domain::space::{AppStatus, AppType, Space, SpaceState, SpaceStatus};
use crate::domain::start::{AppReport, StartSettings, StartStep, problems};
use crate::store::Store;

/// The longest that one call to SageMaker may take, its AssumeRole included.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Polls in a row that AWS may fail before a start is given up.
const FAILED_POLLS: u32 = 6;

/// A space that is up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Up {
    /// `Clock::elapsed` when we saw its app come into service; nothing if it was up before we looked.
    pub(super) in_service: Option<Duration>,
    /// When AWS created the app: tells this run from the next.
    pub(super) created_at: Option<OffsetDateTime>,
}

/// What is changed of a space before it starts.
#[derive(Debug, Clone, Default)]
pub(super) struct SpaceChange {
    pub(super) remote_access: Option<bool>,
    pub(super) instance_type: Option<InstanceType>,
}

/// Starts spaces. What is under way for a space keeps everything else that would change it waiting.
#[derive(Clone)]
pub(super) struct Starter {
    pub(super) control: Arc<dyn SpaceControl>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tracker: TaskTracker,
    pub(super) limits: Arc<Limits>,
    pub(super) under_way: Arc<Flights<SpaceId, Result<Up, OpenError>>>,
    /// Where the lock of a space is, which stops also take.
    pub(super) locks: Option<Store>,
}

impl Starter {
    /// Brings a space up, together with whoever else wants that. The first to come does it, as themselves; if AWS
    /// refused that person, the next one tries as themselves.
    pub(super) async fn up(&self, actor: &Actor, space: &Space, report: &Report) -> Result<Up, OpenError> {
        loop {
            let (starter, who, what) = (self.clone(), actor.clone(), space.clone());
            let work = |report| async move { starter.bring_up(&who, &what, &report).await };
            let (flight, mine) = self.under_way.join(&space.id, &self.tracker, work);
            match flight.landed(report).await {
                Some(Err(error)) if error.is_personal() && !mine => {}
                Some(answer) => return answer,
                None => return Err(OpenError::Draining),
            }
        }
    }

    /// Changes a space and brings it up. A running app is deleted and made anew, since AWS reads settings at its start.
    pub(super) async fn change(
        &self,
        actor: &Actor,
        space: &Space,
        change: &SpaceChange,
        report: &Report,
    ) -> Result<Up, OpenError> {
        loop {
            let (starter, who, what, how) = (self.clone(), actor.clone(), space.clone(), change.clone());
            let work = |report| async move { starter.restart(&who, &what, &how, &report).await };
            let (flight, mine) = self.under_way.join(&space.id, &self.tracker, work);
            let answer = flight.landed(report).await;
            if mine {
                return answer.unwrap_or(Err(OpenError::Draining));
            }
        }
    }

    /// What the app of a space is doing; nothing when there is none.
    pub(super) async fn app(&self, space: &Space) -> Result<Option<AppReport>, AwsError> {
        let describe = self.control.describe_app(&space.arn, &space.domain, app_type(space)?);
        match limited(&*self.clock, describe).await {
            Ok(report) => Ok(Some(report)),
            Err(AwsError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn bring_up(&self, actor: &Actor, space: &Space, report: &Report) -> Result<Up, OpenError> {
        let begun = self.clock.elapsed();
        let before = self.app(space).await.map_err(OpenError::Aws)?;
        if let Some(app) = before.as_ref().filter(|app| app.status == AppStatus::InService) {
            return Ok(Up { in_service: None, created_at: app.created_at });
        }
        let shown = |instance_type: Option<&InstanceType>| {
            report.send_replace(Some(Progress {
                from: state_of(space, before.as_ref()),
                instance_type: instance_type.map(ToString::to_string),
                step: StartStep::Requested,
                since: begun,
            }));
        };
        if before.as_ref().is_some_and(|app| app.status == AppStatus::Pending) {
            shown(before.as_ref().and_then(|app| app.instance_type.as_ref()));
        } else {
            let settings = self.settings(actor, space).await?;
            // Only what can work is announced.
            if let Some(problem) = problems(&settings).into_iter().next() {
                return Err(OpenError::Start(problem));
            }
            shown(settings.instance_type.as_ref());
            if before.as_ref().is_some_and(|app| app.status == AppStatus::Deleting) {
                self.until_no_app(space).await?;
            }
            self.locked(space, self.create(actor, space, &settings)).await?;
        }
        self.until_in_service(space, begun, before.and_then(failed_at), report).await
    }

    /// What the start depends on, once AWS is done with changing the space.
    async fn settings(&self, actor: &Actor, space: &Space) -> Result<StartSettings, OpenError> {
        let begun = self.clock.elapsed();
        loop {
            let settings = limited(&*self.clock, self.control.start_settings(actor, space)).await;
            let settings = settings.map_err(OpenError::Aws)?;
            let waited = self.clock.elapsed().saturating_sub(begun);
            if settings.status != SpaceStatus::Updating {
                return Ok(settings);
            }
            if waited >= self.limits.change_timeout {
                return Err(OpenError::StartTimedOut { waited_s: waited.as_secs() });
            }
            self.clock.sleep(self.limits.poll_every).await;
        }
    }

    /// Asks for the app. While the last one is being deleted, or the space is being changed, AWS has it in use: then
    /// we wait.
    async fn create(&self, actor: &Actor, space: &Space, settings: &StartSettings) -> Result<(), OpenError> {
        let begun = self.clock.elapsed();
        let mut cleared = false;
        loop {
            let asked = limited(&*self.clock, self.control.create_app(actor, space, settings)).await;
            let busy = match asked {
                Ok(()) => {
                    info!(space.name = %space.name(), actor = %actor, "app asked for");
                    return Ok(());
                }
                Err(busy @ AwsError::InUse(_)) => busy,
                Err(error) => return Err(OpenError::Aws(error)),
            };
            match self.app(space).await.map_err(OpenError::Aws)?.map(|app| app.status) {
                // Somebody else was faster: theirs serves as well.
                Some(AppStatus::Pending | AppStatus::InService) => return Ok(()),
                // A failed app may hold the name.
                Some(AppStatus::Failed) if !cleared => {
                    let deleted = limited(&*self.clock, self.control.delete_app(actor, space)).await;
                    deleted.or_else(gone_is_fine).map_err(OpenError::Aws)?;
                    cleared = true;
                }
                _ => {}
            }
            if self.clock.elapsed().saturating_sub(begun) >= self.limits.change_timeout {
                return Err(OpenError::Aws(busy));
            }
            self.clock.sleep(self.limits.poll_every).await;
        }
    }

    /// Polls until the app is up. `failed_before`: an app that had failed already, which AWS may still show.
    async fn until_in_service(
        &self,
        space: &Space,
        begun: Duration,
        failed_before: Option<OffsetDateTime>,
        report: &Report,
    ) -> Result<Up, OpenError> {
        let step = |step: StartStep| {
            report.send_if_modified(|progress| match progress {
                Some(progress) if progress.step != step => {
                    progress.step = step;
                    true
                }
                _ => false,
            });
        };
        let mut failures = 0;
        loop {
            match self.app(space).await {
                Ok(Some(app)) => {
                    failures = 0;
                    match app.status {
                        AppStatus::InService => {
                            step(StartStep::InService);
                            let now = self.clock.elapsed();
                            let took = now.saturating_sub(begun);
                            info!(space.name = %space.name(), took_s = took.as_secs(), "space is up");
                            return Ok(Up { in_service: Some(now), created_at: app.created_at });
                        }
                        AppStatus::Failed if app.created_at != failed_before || failed_before.is_none() => {
                            let reason = app.failure.unwrap_or_default();
                            warn!(space.name = %space.name(), reason, "app failed");
                            return Err(OpenError::AppFailed { reason });
                        }
                        AppStatus::Pending => step(StartStep::Pending),
                        AppStatus::Failed | AppStatus::Deleting | AppStatus::Deleted => {}
                    }
                }
                // AWS may need a moment until it shows a new app.
                Ok(None) => failures = 0,
                Err(error) => {
                    failures += 1;
                    if failures == FAILED_POLLS || !is_passing(&error) {
                        return Err(OpenError::Aws(error));
                    }
                    warn!(space.name = %space.name(), %error, "poll failed");
                }
            }
            let waited = self.clock.elapsed().saturating_sub(begun);
            if waited >= self.limits.start_timeout {
                return Err(OpenError::StartTimedOut { waited_s: waited.as_secs() });
            }
            self.clock.sleep(self.limits.poll_every).await;
        }
    }

    async fn restart(
        &self,
        actor: &Actor,
        space: &Space,
        change: &SpaceChange,
        report: &Report,
    ) -> Result<Up, OpenError> {
        let before = self.app(space).await.map_err(OpenError::Aws)?;
        report.send_replace(Some(Progress {
            from: state_of(space, before.as_ref()),
            instance_type: before
                .as_ref()
                .and_then(|app| app.instance_type.as_ref())
                .map(ToString::to_string),
            step: StartStep::Requested,
            since: self.clock.elapsed(),
        }));
        if before.is_some_and(|app| matches!(app.status, AppStatus::InService | AppStatus::Pending)) {
            let deleted = limited(&*self.clock, self.control.delete_app(actor, space)).await;
            deleted.or_else(gone_is_fine).map_err(OpenError::Aws)?;
        }
        self.until_no_app(space).await?;
        self.update(actor, space, change).await?;
        self.bring_up(actor, space, report).await
    }

    async fn until_no_app(&self, space: &Space) -> Result<(), OpenError> {
        let begun = self.clock.elapsed();
        loop {
            match self.app(space).await.map_err(OpenError::Aws)?.map(|app| app.status) {
                None | Some(AppStatus::Deleted | AppStatus::Failed) => return Ok(()),
                Some(AppStatus::Deleting | AppStatus::InService | AppStatus::Pending) => {}
            }
            let waited = self.clock.elapsed().saturating_sub(begun);
            if waited >= self.limits.change_timeout {
                return Err(OpenError::StartTimedOut { waited_s: waited.as_secs() });
            }
            self.clock.sleep(self.limits.poll_every).await;
        }
    }

    /// Changes settings. The start that follows waits until the space has taken them.
    async fn update(&self, actor: &Actor, space: &Space, change: &SpaceChange) -> Result<(), OpenError> {
        let begun = self.clock.elapsed();
        loop {
            let instance_type = change.instance_type.as_ref();
            let update = self.control.update_space(actor, space, change.remote_access, instance_type);
            match limited(&*self.clock, update).await {
                Ok(()) => break,
                Err(AwsError::InUse(_))
                    if self.clock.elapsed().saturating_sub(begun) < self.limits.change_timeout =>
                {
                    self.clock.sleep(self.limits.poll_every).await;
                }
                Err(error) => return Err(OpenError::Aws(error)),
            }
        }
        info!(space.name = %space.name(), actor = %actor, change = ?change, "space changed");
        Ok(())
    }
}

/// A call to SageMaker with its limit.
pub(super) async fn limited<T>(
    clock: &dyn Clock,
    call: impl Future<Output = Result<T, AwsError>>,
) -> Result<T, AwsError> {
    within(clock, CALL_LIMIT, call)
        .await
        .unwrap_or_else(|| Err(AwsError::Unreachable(format!("no answer in {} s", CALL_LIMIT.as_secs()))))
}

fn app_type(space: &Space) -> Result<AppType, AwsError> {
    let of_app = space.app.as_ref().map(|app| app.app_type);
    space.app_type.or(of_app).ok_or_else(|| {
        AwsError::Invalid("remote access serves JupyterLab and Code Editor spaces only".to_owned())
    })
}

/// What a space is, by its app as of now and its own status as of the last listing.
pub(super) fn state_of(space: &Space, app: Option<&AppReport>) -> SpaceState {
    match app.map(|app| app.status) {
        Some(AppStatus::InService) => SpaceState::Running,
        Some(AppStatus::Pending) => SpaceState::Starting,
        Some(AppStatus::Deleting) => SpaceState::Stopping,
        Some(AppStatus::Failed) => SpaceState::Failed,
        Some(AppStatus::Deleted) | None => match (Space { app: None, ..space.clone() }).state() {
            SpaceState::Running | SpaceState::Starting => SpaceState::Stopped,
            state => state,
        },
    }
}

fn failed_at(app: AppReport) -> Option<OffsetDateTime> {
    app.created_at.filter(|_| app.status == AppStatus::Failed)
}

fn gone_is_fine(error: AwsError) -> Result<(), AwsError> {
    if matches!(error, AwsError::NotFound(_)) { Ok(()) } else { Err(error) }
}

/// Whether the same question may be answered a moment later.
const fn is_passing(error: &AwsError) -> bool {
    match error {
        AwsError::Role(error) => error.is_passing(),
        AwsError::Throttled(_) | AwsError::Internal { .. } | AwsError::Unreachable(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
