//! Money at the door: what was spent this month, and whether a space may still be started on it.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::debug;

use super::Gateway;
use super::errors::OpenError;
use super::journal::Journal;
use crate::config::Costs;
use crate::domain::audit::AuditEvent;
use crate::domain::budget::OverBudget;
use crate::domain::cost::{Cost, Payer, Payers};
use crate::domain::ids::{ConnectionId, InstanceType, SessionId, SpaceId};
use crate::domain::money::Money;
use crate::domain::price::PriceTable;
use crate::domain::space::Space;
use crate::domain::user::{User, Users};
use crate::store::cost::Whose;
use crate::store::{Store, StoreError};

/// What spaces cost, and the budgets that refuse starts. Cheap to clone.
#[derive(Clone)]
pub(super) struct Budgets {
    pub(super) costs: Arc<Costs>,
    pub(super) store: Store,
    pub(super) users: watch::Receiver<Arc<Users>>,
    pub(super) journal: Journal,
}

impl Gateway {
    /// What a space has cost since the month began; nothing while Postgres is away.
    pub async fn month_of_space(&self, space: SpaceId) -> Option<Cost> {
        self.month(&Whose::Spaces(vec![space])).await
    }

    /// What the spaces of a person have cost since the month began; nothing for somebody without a profile, and while
    /// Postgres is away.
    pub async fn month_of_user(&self, user: &User) -> Option<Cost> {
        if user.profiles.is_empty() {
            return None;
        }
        let theirs = user.profiles.iter().map(|profile| (profile.domain.clone(), profile.name.clone()));
        self.month(&Whose::Profiles(theirs.collect())).await
    }

    /// What an hour of a space's app costs on an instance type; nothing where it is unknown, or Postgres away.
    pub async fn hourly_price(&self, space: &Space, instance_type: &InstanceType) -> Option<Money> {
        let prices = self.inner.store.prices().await.ok()?;
        self.listed_price(&prices, space, instance_type)
    }

    /// The same by prices that were read already.
    pub(super) fn listed_price(
        &self,
        prices: &PriceTable,
        space: &Space,
        instance_type: &InstanceType,
    ) -> Option<Money> {
        let Budgets { costs, journal, .. } = &self.inner.reach.budgets;
        let usage = space.app.as_ref().map(|app| app.app_type).or(space.app_type)?.into();
        let terms = costs.terms.domains.get(&space.domain).cloned().unwrap_or_default();
        let rates = prices.rates(&space.arn.region, usage, instance_type.as_str(), &terms);
        rates.at(journal.now()).map(Money::from_nano_usd)
    }

    async fn month(&self, whose: &Whose) -> Option<Cost> {
        let Budgets { costs, store, journal, .. } = &self.inner.reach.budgets;
        let cost = store.month_cost(&costs.terms, whose, journal.now()).await;
        cost.inspect_err(|error| debug!(%error, "the month's costs are not known")).ok()
    }
}

impl Budgets {
    /// Refuses a start on a budget that is spent, and writes that down.
    pub(super) async fn check(
        &self,
        user: &User,
        (session, connection): (Option<SessionId>, Option<ConnectionId>),
        space: &Space,
    ) -> Result<(), OpenError> {
        // Whose budget it is cannot be told without the record, and it is the record that is away.
        let over = self.over(user, space).await.map_err(|_| OpenError::RecordAway)?;
        let Some(over) = over else { return Ok(()) };
        let event = AuditEvent::over_budget((user.id, &user.name), space.id, &over);
        let event = event.within(session, connection);
        let audit = self.journal.audit(event).await;
        Err(OpenError::OverBudget { over: Box::new(over), audit })
    }

    /// The first spent budget that the start would count on: its owner's, or, where the owner is nobody who is known,
    /// that of whoever starts it.
    async fn over(&self, user: &User, space: &Space) -> Result<Option<OverBudget>, StoreError> {
        if !self.costs.budgets.iter().any(|budget| budget.refuse_start) {
            return Ok(None);
        }
        let payers = Payers::of(&Arc::clone(&self.users.borrow()));
        let starter = Payer { id: user.id, name: user.name.clone(), groups: user.groups.clone() };
        let payer = payers.payer(&space.domain, space.owner.as_ref()).unwrap_or(&starter);
        let (now, terms) = (self.journal.now(), &self.costs.terms);
        let (_, renews_on) = terms.zone.month(now);
        for budget in &self.costs.budgets {
            if !budget.refuse_start || !budget.of.covers(&space.domain, Some(payer)) {
                continue;
            }
            let spent = self.store.spent(terms, budget, &payers, now).await?;
            if let Err(over) = budget.may_start(&spent, renews_on) {
                return Ok(Some(over));
            }
        }
        Ok(None)
    }
}
