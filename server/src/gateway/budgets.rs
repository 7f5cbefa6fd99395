//! Budgets at the door: whether a space may still be started on somebody's money.

use std::sync::Arc;

use super::errors::OpenError;
use super::journal::Journal;
use super::reach::Visitor;
use crate::config::Costs;
use crate::domain::audit::AuditEvent;
use crate::domain::budget::OverBudget;
use crate::domain::cost::{Payer, Payers};
use crate::domain::space::Space;
use crate::domain::user::Users;
use crate::store::{Store, StoreError};
use tokio::sync::watch;

/// The budgets that refuse starts. Cheap to clone.
#[derive(Clone)]
pub(super) struct Budgets {
    pub(super) costs: Arc<Costs>,
    pub(super) store: Store,
    pub(super) users: watch::Receiver<Arc<Users>>,
    pub(super) journal: Journal,
}

impl Budgets {
    /// Refuses a start on a budget that is spent, and writes that down.
    pub(super) async fn check(&self, visitor: &Visitor, space: &Space) -> Result<(), OpenError> {
        // Whose budget it is cannot be told without the record, and it is the record that is away.
        let over = self.over(visitor, space).await.map_err(|_| OpenError::RecordAway)?;
        let Some(over) = over else { return Ok(()) };
        let event = AuditEvent::over_budget((visitor.user.id, &visitor.user.name), space.id, &over);
        let event = event.within(Some(visitor.session), Some(visitor.connection));
        let audit = self.journal.audit(event).await;
        Err(OpenError::OverBudget { over: Box::new(over), audit })
    }

    /// The first spent budget that the start would count on: its owner's, or, where the owner is nobody who is known,
    /// that of whoever starts it.
    async fn over(&self, visitor: &Visitor, space: &Space) -> Result<Option<OverBudget>, StoreError> {
        if !self.costs.budgets.iter().any(|budget| budget.refuse_start) {
            return Ok(None);
        }
        let payers = Payers::of(&Arc::clone(&self.users.borrow()));
        let user = &visitor.user;
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
