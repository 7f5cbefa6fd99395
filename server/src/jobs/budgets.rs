//! Looks after budgets: which levels were reached, each told once.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::Costs;
use crate::domain::budget::Warning;
use crate::domain::cost::Payers;
use crate::domain::ids::ReplicaId;
use crate::domain::notice::Notice;
use crate::domain::ports::{Clock, Notify};
use crate::domain::user::Users;
use crate::store::people::Change;
use crate::store::{Store, StoreError};

/// How often budgets are looked at.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// The job.
pub struct BudgetJob {
    store: Store,
    clock: Arc<dyn Clock>,
    replica: ReplicaId,
    notify: Arc<dyn Notify>,
    costs: Arc<Costs>,
    users: watch::Receiver<Arc<Users>>,
}

impl BudgetJob {
    /// A job for the configured budgets; nothing if there are none.
    #[must_use]
    pub fn of(
        costs: &Arc<Costs>,
        store: Store,
        clock: Arc<dyn Clock>,
        (replica, notify): (ReplicaId, Arc<dyn Notify>),
        users: watch::Receiver<Arc<Users>>,
    ) -> Option<Self> {
        let costs = Arc::clone(costs);
        (!costs.budgets.is_empty()).then_some(Self { store, clock, replica, notify, costs, users })
    }

    /// Looks until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let rounds = async {
            loop {
                match self.due_warnings().await {
                    Ok(warnings) => {
                        for warning in warnings {
                            warn!(budget = %warning.of, percent = warning.percent, "{warning}");
                            self.notify.tell(&notice(&warning), &[]);
                        }
                    }
                    Err(error) => warn!(error = &error as &dyn Error, "budgets could not be looked at"),
                }
                self.clock.sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = rounds => {}
        }
    }

    /// Levels that were reached and that nobody was told about: each is answered once a month, to one replica, and is in
    /// the audit log. Of several levels of a budget only the highest is to be told.
    ///
    /// # Errors
    /// When Postgres is away; then what is due is answered later.
    pub async fn due_warnings(&self) -> Result<Vec<Warning>, StoreError> {
        let (now, terms) = (self.clock.now(), &self.costs.terms);
        let payers = Payers::of(&Arc::clone(&self.users.borrow()));
        let (month, _) = terms.zone.month(now);
        let mut due = Vec::new();
        for budget in &self.costs.budgets {
            let spent = self.store.spent(terms, budget, &payers, now).await?;
            let mut highest = None;
            for percent in budget.reached(&spent) {
                let warning = Warning {
                    of: budget.of.clone(),
                    month,
                    percent,
                    spent: spent.total(),
                    at_least: spent.at_least(),
                    limit: budget.limit(),
                };
                if self.store.note_warning(&warning, &self.change(now)).await? {
                    highest = Some(warning);
                }
            }
            due.extend(highest);
        }
        Ok(due)
    }

    fn change(&self, at: time::OffsetDateTime) -> Change {
        Change {
            replica: self.replica,
            actor: None,
            called: "spaceport".to_owned(),
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            at,
        }
    }
}

/// A warning, for webhooks and the admins' mail.
fn notice(warning: &Warning) -> Notice {
    Notice::BudgetReached {
        whose: warning.of.to_string(),
        percent: warning.percent,
        spent: warning.spent_so_far(),
        limit: warning.limit.to_string(),
        month: format!("{}-{:02}", warning.month.year(), u8::from(warning.month.month())),
    }
}
