//! Prices and budgets of a server: the prices that come with it, and the jobs that look after both.

use std::sync::Arc;

use anyhow::{Context, Result};
use time::Date;
use time::macros::date;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::aws::Aws;
use crate::config::{Config, Costs};
use crate::domain::ids::ReplicaId;
use crate::domain::ports::{Clock, Notify, PriceLists};
use crate::domain::price::{SEED_REGION, seed};
use crate::domain::user::Users;
use crate::jobs::budgets::BudgetJob;
use crate::jobs::prices::PriceJob;
use crate::notify::Notifier;
use crate::store::Store;

/// The prices that come with the server, and the day that they are of.
const PRICES: &str = include_str!("../../data/prices-us-east-1.tsv");
const PRICES_AS_OF: Date = date!(2026 - 08 - 24);

/// What they need of the server.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) costs: &'a Arc<Costs>,
    pub(super) store: &'a Store,
    pub(super) replica: ReplicaId,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) notifier: &'a Notifier,
}

impl Parts<'_> {
    /// Writes the prices down and starts the jobs.
    pub(super) async fn start(
        self,
        users: watch::Receiver<Arc<Users>>,
        aws: &Aws,
        (tracker, stop): (&TaskTracker, &CancellationToken),
    ) -> Result<()> {
        let Self { config, costs, store, replica, clock, notifier } = self;
        store.seed_prices(&seed(PRICES, &SEED_REGION.parse()?, PRICES_AS_OF)).await.context("the prices")?;
        if costs.refresh_prices {
            let lists: Arc<dyn PriceLists> = Arc::new(aws.clone());
            let job = PriceJob::new(&config.domains, store.clone(), lists, Arc::clone(clock));
            tracker.spawn(job.run(stop.clone()));
        }
        let notify: Arc<dyn Notify> = Arc::new(notifier.clone());
        if let Some(job) = BudgetJob::of(costs, store.clone(), Arc::clone(clock), (replica, notify), users) {
            tracker.spawn(job.run(stop.clone()));
        }
        Ok(())
    }
}
