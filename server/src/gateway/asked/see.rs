//! What spaces are doing, for whoever may know.

use std::collections::HashMap;
use std::time::Duration;

use super::report::Report;
use crate::domain::access::Action;
use crate::domain::cost::Cost;
use crate::domain::day::{Day, Zone};
use crate::domain::ids::{DomainAlias, InstanceType, SpaceId, SpaceName};
use crate::domain::space::{Space, SpaceState};
use crate::domain::user::User;
use crate::gateway::errors::AskError;
use crate::gateway::want::Asker;
use crate::gateway::{Gateway, LiveSession};
use crate::store::cost::Whose;

impl Gateway {
    /// What a space is doing, what that rests on, what it costs and who is in it.
    ///
    /// # Errors
    /// When the person may not know, nobody watches, or Postgres is away.
    pub async fn status(&self, asker: &Asker<'_>, space: &Space) -> Result<Report, AskError> {
        self.may(asker, space, Action::See).await?;
        let mut report = self.report(space).await?;
        // What it ran on last need not be what it runs on next.
        if matches!(report.state(), SpaceState::Stopped | SpaceState::Failed)
            && let Some(chosen) = self.chosen_type(asker.user, space).await
        {
            report.price = self.hourly_price(space, &chosen).await;
            report.instance_type = Some(chosen);
        }
        Ok(report)
    }

    /// The same for whoever may know of every space, and without asking AWS.
    ///
    /// # Errors
    /// When nobody watches, or Postgres is away.
    pub async fn report(&self, space: &Space) -> Result<Report, AskError> {
        let mut reports = self.reports(vec![space.clone()]).await?;
        reports.pop().ok_or(AskError::RecordAway)
    }

    /// The same for several spaces, in their order.
    ///
    /// # Errors
    /// When nobody watches, or Postgres is away.
    pub async fn reports(&self, spaces: Vec<Space>) -> Result<Vec<Report>, AskError> {
        let (inner, idle) = (&self.inner, self.idle()?);
        let now = inner.clock.now();
        let ids: Vec<SpaceId> = spaces.iter().map(|space| space.id).collect();
        let mut statuses = idle.statuses(&ids).await?;
        let mut sessions = HashMap::<SpaceId, Vec<LiveSession>>::new();
        for session in inner.store.live_sessions_in(&ids).await? {
            sessions.entry(session.space_id).or_default().push(session);
        }
        let mut months = self.months(ids).await?;
        let prices = inner.store.prices().await?;
        let reports = spaces.into_iter().map(|space| {
            let status = statuses.remove(&space.id).unwrap_or_default();
            let run_on = status.up.as_ref().and_then(|up| up.run.instance_type.clone());
            let listed = space.app.as_ref().and_then(|app| app.instance_type.clone());
            let last = status.ended.as_ref().and_then(|ended| ended.instance_type.clone());
            let instance_type: Option<InstanceType> = run_on.or(listed).or(last);
            let price = instance_type.as_ref().and_then(|on| self.listed_price(&prices, &space, on));
            let month = months.remove(&space.id).unwrap_or_default();
            let sessions = sessions.remove(&space.id).unwrap_or_default();
            Report { space, now, instance_type, price, status, month, sessions }.with_old_looks_unknown()
        });
        Ok(reports.collect())
    }

    /// The space of this name in this domain, if the person may open it.
    #[must_use]
    pub fn space(&self, user: &User, domain: &DomainAlias, name: &SpaceName) -> Option<Space> {
        self.spaces(user).into_iter().find(|space| space.domain == *domain && space.name() == name)
    }

    /// Every space that is known, whoever may open it; for those who see what everybody does.
    #[must_use]
    pub fn every_space(&self) -> Vec<Space> {
        let mut spaces = self.inner.catalog.spaces();
        spaces.sort_by(|a, b| (a.name(), &a.domain).cmp(&(b.name(), &b.domain)));
        spaces
    }

    /// What the spaces of a person have cost since the month began, and today; nothing for somebody without a profile.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn money_of(&self, user: &User) -> Result<Option<(Cost, Cost)>, AskError> {
        if user.profiles.is_empty() {
            return Ok(None);
        }
        let inner = &self.inner;
        let (terms, now) = (&inner.reach.budgets.costs.terms, inner.clock.now());
        let ((first, _), today) = (terms.zone.month(now), terms.zone.date(now));
        let theirs = user.profiles.iter().map(|profile| (profile.domain.clone(), profile.name.clone()));
        let costs = inner.store.costs(terms, &Whose::Profiles(theirs.collect()), (first, today), now).await?;
        let month = costs.rows.iter().map(|row| row.cost).sum();
        let today = costs.rows.iter().filter(|row| row.date == today).map(|row| row.cost).sum();
        Ok(Some((month, today)))
    }

    /// What a space cost on each of these days, in their order, in the time zone of costs.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn days_of_space(&self, space: SpaceId, days: &[Day]) -> Result<Vec<Cost>, AskError> {
        let inner = &self.inner;
        let (terms, now) = (&inner.reach.budgets.costs.terms, inner.clock.now());
        let dates = days.iter().map(|day| day.date);
        let (Some(first), Some(last)) = (dates.clone().min(), dates.max()) else { return Ok(Vec::new()) };
        let costs = inner.store.costs(terms, &Whose::Spaces(vec![space]), (first, last), now).await?;
        let of = |day: &Day| costs.rows.iter().filter(|row| row.date == day.date).map(|row| row.cost).sum();
        Ok(days.iter().map(of).collect())
    }

    /// The time zone whose days and months costs have.
    #[must_use]
    pub fn cost_zone(&self) -> &Zone {
        &self.inner.reach.budgets.costs.terms.zone
    }

    /// The longest that a person may hold a space.
    #[must_use]
    pub fn longest_hold(&self) -> Duration {
        self.inner.starter.limits.longest_hold
    }

    /// What each of these spaces has cost since the month began.
    async fn months(&self, spaces: Vec<SpaceId>) -> Result<HashMap<SpaceId, Cost>, AskError> {
        let inner = &self.inner;
        let (terms, now) = (&inner.reach.budgets.costs.terms, inner.clock.now());
        let ((first, _), today) = (terms.zone.month(now), terms.zone.date(now));
        let costs = inner.store.costs(terms, &Whose::Spaces(spaces), (first, today), now).await?;
        let mut months = HashMap::<SpaceId, Cost>::new();
        for row in &costs.rows {
            *months.entry(row.space).or_default() += row.cost;
        }
        Ok(months)
    }
}
