//! Reads AWS's price list of each region with a domain, once a day, by one replica.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Domain;
use crate::domain::ids::Region;
use crate::domain::ports::{Clock, PriceLists};
use crate::store::{Store, StoreError};

/// How often it is looked whether a list is due.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// How long a list may take: it has a few pages.
const LIMIT: Duration = Duration::from_secs(120);

/// The job.
pub struct PriceJob {
    store: Store,
    lists: Arc<dyn PriceLists>,
    clock: Arc<dyn Clock>,
    regions: BTreeSet<Region>,
}

impl PriceJob {
    /// A job for the regions of these domains. China's lists are in another currency, and those of AWS GovCloud need
    /// credentials of another partition.
    #[must_use]
    pub fn new(domains: &[Domain], store: Store, lists: Arc<dyn PriceLists>, clock: Arc<dyn Clock>) -> Self {
        let domains = domains.iter().filter(|domain| domain.partition == "aws");
        Self { store, lists, clock, regions: domains.map(|domain| domain.region.clone()).collect() }
    }

    /// Reads until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let rounds = async {
            loop {
                for region in &self.regions {
                    if let Err(error) = self.read(region).await {
                        warn!(%region, %error, "the price list could not be looked after");
                    }
                }
                self.clock.sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = rounds => {}
        }
    }

    /// Reads a region's list if it is due.
    ///
    /// # Errors
    /// When Postgres is away. An answer of AWS that cannot be used is logged and kept: what was known stays.
    pub async fn read(&self, region: &Region) -> Result<(), StoreError> {
        if !self.store.claim_price_reading(region, self.clock.now()).await? {
            return Ok(());
        }
        let asked = self.lists.price_list(region);
        let read = tokio::select! {
            read = asked => read.map_err(|error| error.to_string()),
            () = self.clock.sleep(LIMIT) => Err(format!("no answer in {} s", LIMIT.as_secs())),
        };
        let list = match read {
            Ok(list) if list.prices.is_empty() => Err("it shows no price of Studio".to_owned()),
            other => other,
        };
        match list {
            Ok(list) => {
                let (prices, malformed) = (list.prices.len(), list.malformed);
                let changed = self.store.take_prices(region, &list, self.clock.now()).await?;
                info!(%region, prices, changed, malformed, "price list read");
            }
            Err(problem) => {
                warn!(%region, problem, "the price list could not be read: known prices stay");
                self.store.price_reading_failed(region, &problem).await?;
            }
        }
        Ok(())
    }
}
