//! What people ask of a space beside opening it: what it is doing, to keep it up, to stop it, to start it.

mod report;
mod see;
mod start;
mod told;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

pub use report::{Report, stopped_at, would_stop_at};
pub use start::{StartWish, Started};
pub use told::SpaceStatus;

use super::Gateway;
use super::errors::{AskError, OpenError};
use super::idle::{Idle, Stopping};
use super::standing::Question;
use super::start::limited;
use super::want::Asker;
use crate::domain::access::Action;
use crate::domain::actor::Actor;
use crate::domain::cost::Cost;
use crate::domain::idle::Hold;
use crate::domain::ids::InstanceType;
use crate::domain::money::Money;
use crate::domain::ports::SpaceControl;
use crate::domain::space::Space;
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

impl Gateway {
    /// Keeps a space up for a time; without one, lets go of it.
    ///
    /// # Errors
    /// When the person may not, the time is too long, nobody watches, or Postgres is away.
    pub async fn hold(
        &self,
        asker: &Asker<'_>,
        space: &Space,
        (length, reason): (Option<Duration>, &str),
    ) -> Result<Held, AskError> {
        self.may(asker, space, Action::Hold).await?;
        let (inner, idle) = (&self.inner, self.idle()?);
        let longest = inner.starter.limits.longest_hold;
        if length.is_some_and(|length| length > longest) {
            return Err(AskError::TooLong(longest));
        }
        let until = idle.hold(asker.user, space, (length, reason), asker.address).await?;
        let now = inner.clock.now();
        let longest = inner.store.holds(&[space.id], now).await?.remove(&space.id);
        let listed = space.app.as_ref().and_then(|app| app.instance_type.clone());
        let instance_type = match (listed, length) {
            (None, Some(_)) => self.chosen_type(asker.user, space).await,
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
    pub async fn stop(&self, asker: &Asker<'_>, space: &Space, force: bool) -> Result<Stopped, AskError> {
        self.may(asker, space, Action::Stop).await?;
        let idle = self.idle()?;
        self.nobody_else(asker, space, force).await?;
        let outcome = idle.stop(asker.user, space).await?;
        self.look_soon(space);
        let month = self.month_so_far(space).await?;
        Ok(Stopped { outcome, month })
    }

    fn idle(&self) -> Result<&Idle, AskError> {
        self.inner.idle.get().ok_or(AskError::NotWatched)
    }

    /// Asks the policy and writes its answer down.
    async fn may(&self, asker: &Asker<'_>, space: &Space, action: Action) -> Result<(), AskError> {
        let question =
            Question { user: asker.user, space, action, session: None, connection: asker.connection };
        // Whoever looks again and again, as a script does, fills no log; only a refusal is written down.
        if action == Action::See && self.inner.standing.ask(&question).0.is_ok() {
            return Ok(());
        }
        match self.inner.standing.decide(question).await {
            Ok(_) => Ok(()),
            Err((because, audit)) => Err(OpenError::Denied { because, audit }.into()),
        }
    }

    async fn in_budget(&self, asker: &Asker<'_>, space: &Space) -> Result<(), AskError> {
        Ok(self.inner.reach.budgets.check(asker.user, (None, asker.connection), space).await?)
    }

    async fn sessions_in(&self, space: &Space) -> Result<Vec<LiveSession>, AskError> {
        Ok(self.inner.store.live_sessions_in(&[space.id]).await?)
    }

    /// Refuses while others have sessions in the space, unless it is meant.
    async fn nobody_else(&self, asker: &Asker<'_>, space: &Space, force: bool) -> Result<(), AskError> {
        if force {
            return Ok(());
        }
        let sessions = self.sessions_in(space).await?;
        let others = sessions.into_iter().filter(|session| session.user_id != asker.user.id);
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
