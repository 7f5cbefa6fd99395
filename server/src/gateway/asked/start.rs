//! Starting a space by its name: waited for over SSH, or left to itself from a page.

use tokio::sync::watch;
use tracing::warn;

use crate::domain::access::Action;
use crate::domain::actor::Actor;
use crate::domain::ids::{InstanceType, StartId};
use crate::domain::space::{AppStatus, Space};
use crate::domain::start::StartStep;
use crate::domain::user::User;
use crate::gateway::Gateway;
use crate::gateway::errors::{AskError, OpenError};
use crate::gateway::start::SpaceChange;
use crate::gateway::want::{Asker, Progress};
use crate::store::starts::NewStart;

/// How a space is to be started.
#[derive(Debug, Clone, Default)]
pub struct StartWish {
    /// On what, if not on what it has.
    pub instance_type: Option<InstanceType>,
    /// Whether to restart it under other people's sessions.
    pub force: bool,
}

/// A space that is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It was before.
    Already,
    /// It is now.
    Now,
}

/// A start that may be made: whether the space is restarted on another instance type.
struct Cleared(Option<InstanceType>);

impl Gateway {
    /// Starts a space, and reports to `progress`. On another instance type a space that is up is restarted; while
    /// others are in it, only by force.
    ///
    /// # Errors
    /// When the person may not, others are in it, or it cannot be started.
    pub async fn start(
        &self,
        asker: &Asker<'_>,
        space: &Space,
        wish: &StartWish,
        progress: &watch::Sender<Option<Progress>>,
    ) -> Result<Started, AskError> {
        match self.clear(asker, space, wish).await? {
            None => Ok(Started::Already),
            Some(cleared) => {
                self.carry_out(asker.user, space, cleared, progress).await?;
                Ok(Started::Now)
            }
        }
    }

    /// The same for somebody who does not wait: it goes on by itself, and how far it is stands in the database for
    /// every replica's pages. `tell` finds the words for what went wrong.
    ///
    /// # Errors
    /// When the person may not, or others are in it, or it is known at once that it cannot be started.
    pub async fn start_alone(
        &self,
        asker: &Asker<'_>,
        space: &Space,
        wish: &StartWish,
        tell: impl FnOnce(&AskError) -> String + Send + 'static,
    ) -> Result<Started, AskError> {
        let Some(cleared) = self.clear(asker, space, wish).await? else { return Ok(Started::Already) };
        let id = StartId::generate();
        let new = NewStart {
            id,
            space: space.id,
            by: asker.user.name.clone(),
            at: self.inner.clock.now(),
            instance_type: cleared.0.clone(),
            step: StartStep::Requested.to_string(),
        };
        self.inner.store.begin_start(&new).await?;
        let (gateway, user, space) = (self.clone(), asker.user.clone(), space.clone());
        self.inner.tracker.spawn(async move {
            let problem = gateway.watched_start(id, &user, &space, cleared).await.err().map(|e| tell(&e));
            let ended =
                gateway.inner.store.end_start(id, gateway.inner.clock.now(), problem.as_deref()).await;
            if let Err(error) = ended {
                warn!(error = error.detail(), space.name = %space.name(), "how a start ended is not written");
            }
        });
        Ok(Started::Now)
    }

    /// Starts a space and writes down each step.
    async fn watched_start(
        &self,
        id: StartId,
        user: &User,
        space: &Space,
        cleared: Cleared,
    ) -> Result<(), AskError> {
        let (sender, mut progress) = watch::channel(None::<Progress>);
        let work = async move { self.carry_out(user, space, cleared, &sender).await };
        tokio::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                Ok(()) = progress.changed() => {
                    let step = progress.borrow_and_update().as_ref().map(|now| now.step.to_string());
                    // A step that is not written is followed by another, or by the end.
                    if let Some(step) = step {
                        let _ = self.inner.store.step_start(id, &step).await;
                    }
                }
            }
        }
    }

    /// Whether somebody may start a space just now; nothing if it is up as they want it.
    async fn clear(
        &self,
        asker: &Asker<'_>,
        space: &Space,
        wish: &StartWish,
    ) -> Result<Option<Cleared>, AskError> {
        if !self.accepting() {
            return Err(OpenError::Draining.into());
        }
        self.may(asker, space, Action::Start).await?;
        let app = self.inner.starter.app(space).await.map_err(OpenError::Aws)?;
        let up = app.as_ref().filter(|app| app.status == AppStatus::InService);
        let on = up.and_then(|app| app.instance_type.as_ref());
        let other = wish.instance_type.clone().filter(|wanted| on != Some(wanted));
        if up.is_some() && other.is_none() {
            return Ok(None);
        }
        if other.is_some() {
            self.may(asker, space, Action::Change).await?;
        }
        if app.is_some_and(|app| matches!(app.status, AppStatus::InService | AppStatus::Pending)) {
            // What is up or coming up and stays so costs nothing anew.
            if other.is_some() {
                self.nobody_else(asker, space, wish.force).await?;
                self.in_budget(asker, space).await?;
            }
        } else {
            self.in_budget(asker, space).await?;
        }
        Ok(Some(Cleared(other)))
    }

    async fn carry_out(
        &self,
        user: &User,
        space: &Space,
        Cleared(other): Cleared,
        progress: &watch::Sender<Option<Progress>>,
    ) -> Result<(), AskError> {
        let (starter, actor) = (&self.inner.starter, Actor::person(user));
        match other {
            None => starter.up(&actor, space, progress).await?,
            instance_type => {
                let change = SpaceChange { instance_type, ..SpaceChange::default() };
                starter.change(&actor, space, &change, progress).await?
            }
        };
        self.look_soon(space);
        Ok(())
    }
}
