//! What people ask of a space beside opening it: what it is doing, to keep it up, to stop it, to start it.

mod report;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

pub use report::{Report, stopped_at, would_stop_at};

use super::Gateway;
use super::errors::{AskError, OpenError};
use super::idle::{Idle, Stopping};
use super::standing::Question;
use super::start::{SpaceChange, limited};
use super::want::{Connection, Progress};
use crate::domain::access::Action;
use crate::domain::actor::Actor;
use crate::domain::cost::Cost;
use crate::domain::idle::Hold;
use crate::domain::ids::InstanceType;
use crate::domain::money::Money;
use crate::domain::ports::SpaceControl;
use crate::domain::space::{AppStatus, Space};
use crate::domain::user::User;
pub use crate::store::sessions::LiveSession;

/// What became of a wish to hold a space.
#[derive(Debug, Clone)]
pub struct Held {
    /// Until when; nothing where the person let go.
    pub until: Option<OffsetDateTime>,
    /// The hold that runs longest now, whoever's.
    pub longest: Option<Hold>,
    /// What that time costs about, where the price is known.
    pub cost: Option<Money>,
}

/// What became of a wish to stop a space.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// What came of it.
    pub outcome: Stopping,
    /// What the space cost this month.
    pub month: Cost,
}

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

impl Gateway {
    /// What a space is doing, what that rests on, what it costs and who is in it.
    ///
    /// # Errors
    /// When the person may not know, nobody watches, or Postgres is away.
    pub async fn status(
        &self,
        user: &User,
        connection: &Connection,
        space: &Space,
    ) -> Result<Report, AskError> {
        self.may(user, connection, space, Action::See).await?;
        let (inner, idle) = (&self.inner, self.idle()?);
        let now = inner.clock.now();
        let status = idle.status(space).await?;
        let run_on = status.up.as_ref().and_then(|up| up.run.instance_type.clone());
        let instance_type = match run_on.or_else(|| space.app.as_ref()?.instance_type.clone()) {
            Some(known) => Some(known),
            None => self.chosen_type(user, space).await,
        };
        let price = self.price(space, instance_type.as_ref()).await;
        let month = self.month_so_far(space).await?;
        let sessions = self.sessions_in(space).await?;
        let space = space.clone();
        Ok(Report { space, now, instance_type, price, status, month, sessions }.with_old_looks_unknown())
    }

    /// Keeps a space up for a time; without one, lets go of it.
    ///
    /// # Errors
    /// When the person may not, the time is too long, nobody watches, or Postgres is away.
    pub async fn hold(
        &self,
        user: &User,
        connection: &Connection,
        space: &Space,
        (length, reason): (Option<Duration>, &str),
    ) -> Result<Held, AskError> {
        self.may(user, connection, space, Action::Hold).await?;
        let (inner, idle) = (&self.inner, self.idle()?);
        let longest = inner.starter.limits.longest_hold;
        if length.is_some_and(|length| length > longest) {
            return Err(AskError::TooLong(longest));
        }
        let until = idle.hold(user, space, (length, reason), connection.address).await?;
        let now = inner.clock.now();
        let longest = inner.store.holds(&[space.id], now).await?.remove(&space.id);
        let listed = space.app.as_ref().and_then(|app| app.instance_type.clone());
        let instance_type = match (listed, length) {
            (None, Some(_)) => self.chosen_type(user, space).await,
            (listed, _) => listed,
        };
        let price = self.price(space, instance_type.as_ref()).await;
        let cost = price.zip(length).and_then(|(hourly, length)| {
            let time_us = i64::try_from(length.as_micros()).ok()?;
            Some(Money::for_time(time_us, i64::try_from(hourly.rounded(9)).ok()?))
        });
        Ok(Held { until, longest, cost })
    }

    /// Stops a space. While others are in it, only by force.
    ///
    /// # Errors
    /// When the person may not, others are in it, nobody watches, or Postgres is away.
    pub async fn stop(
        &self,
        user: &User,
        connection: &Connection,
        space: &Space,
        force: bool,
    ) -> Result<Stopped, AskError> {
        self.may(user, connection, space, Action::Stop).await?;
        let idle = self.idle()?;
        self.nobody_else(user, space, force).await?;
        let outcome = idle.stop(user, space).await?;
        self.look_soon(space);
        let month = self.month_so_far(space).await?;
        Ok(Stopped { outcome, month })
    }

    /// Starts a space, and reports to `progress`. On another instance type a space that is up is restarted; while
    /// others are in it, only by force.
    ///
    /// # Errors
    /// When the person may not, others are in it, or it cannot be started.
    pub async fn start(
        &self,
        user: &User,
        connection: &Connection,
        space: &Space,
        wish: &StartWish,
        progress: &watch::Sender<Option<Progress>>,
    ) -> Result<Started, AskError> {
        if !self.accepting() {
            return Err(OpenError::Draining.into());
        }
        self.may(user, connection, space, Action::Start).await?;
        let starter = &self.inner.starter;
        let app = starter.app(space).await.map_err(OpenError::Aws)?;
        let up = app.as_ref().filter(|app| app.status == AppStatus::InService);
        let on = up.and_then(|app| app.instance_type.as_ref());
        let other = wish.instance_type.clone().filter(|wanted| on != Some(wanted));
        if up.is_some() && other.is_none() {
            return Ok(Started::Already);
        }
        if other.is_some() {
            self.may(user, connection, space, Action::Change).await?;
        }
        if app.is_some_and(|app| matches!(app.status, AppStatus::InService | AppStatus::Pending)) {
            // What is up or coming up and stays so costs nothing anew.
            if other.is_some() {
                self.nobody_else(user, space, wish.force).await?;
                self.in_budget(user, connection, space).await?;
            }
        } else {
            self.in_budget(user, connection, space).await?;
        }
        let actor = Actor::person(user);
        match other {
            None => starter.up(&actor, space, progress).await?,
            instance_type => {
                let change = SpaceChange { instance_type, ..SpaceChange::default() };
                starter.change(&actor, space, &change, progress).await?
            }
        };
        self.look_soon(space);
        Ok(Started::Now)
    }

    fn idle(&self) -> Result<&Idle, AskError> {
        self.inner.idle.get().ok_or(AskError::NotWatched)
    }

    /// Asks the policy and writes its answer down.
    async fn may(
        &self,
        user: &User,
        connection: &Connection,
        space: &Space,
        action: Action,
    ) -> Result<(), AskError> {
        let question = Question { user, space, action, session: None, connection: Some(connection.id) };
        // Whoever looks again and again, as a script does, fills no log; only a refusal is written down.
        if action == Action::See && self.inner.standing.ask(&question).0.is_ok() {
            return Ok(());
        }
        match self.inner.standing.decide(question).await {
            Ok(_) => Ok(()),
            Err((because, audit)) => Err(OpenError::Denied { because, audit }.into()),
        }
    }

    async fn in_budget(&self, user: &User, connection: &Connection, space: &Space) -> Result<(), AskError> {
        Ok(self.inner.reach.budgets.check(user, (None, connection.id), space).await?)
    }

    async fn sessions_in(&self, space: &Space) -> Result<Vec<LiveSession>, AskError> {
        let mut sessions = self.inner.store.live_sessions().await?;
        sessions.retain(|session| session.space_id == space.id);
        Ok(sessions)
    }

    /// Refuses while others have sessions in the space, unless it is meant.
    async fn nobody_else(&self, user: &User, space: &Space, force: bool) -> Result<(), AskError> {
        if force {
            return Ok(());
        }
        let sessions = self.sessions_in(space).await?;
        let others = sessions.into_iter().filter(|session| session.user_id != user.id);
        let others: BTreeSet<String> = others.map(|session| session.user).collect();
        if others.is_empty() { Ok(()) } else { Err(AskError::Others(others.into_iter().collect())) }
    }

    /// What the space's own settings say that it will run on; nothing where AWS does not say.
    async fn chosen_type(&self, user: &User, space: &Space) -> Option<InstanceType> {
        let (inner, actor) = (&self.inner, Actor::person(user));
        let control: &Arc<dyn SpaceControl> = &inner.reach.control;
        limited(&*inner.clock, control.start_settings(&actor, space)).await.ok()?.instance_type
    }

    /// What an hour costs, where it is known.
    async fn price(&self, space: &Space, instance_type: Option<&InstanceType>) -> Option<Money> {
        self.hourly_price(space, instance_type?).await
    }

    async fn month_so_far(&self, space: &Space) -> Result<Cost, AskError> {
        self.month_of_space(space.id).await.ok_or(AskError::RecordAway)
    }

    /// The next listing comes at once: something was changed.
    fn look_soon(&self, space: &Space) {
        let (catalog, domain) = (self.inner.catalog.clone(), space.domain.clone());
        self.inner.tracker.spawn(async move { catalog.after_change(&domain).await });
    }
}
