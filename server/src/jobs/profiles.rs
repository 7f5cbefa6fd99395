//! Reads for whom user profiles were made, in the domains whose rule of ownership asks for users of IAM Identity Center.
//!
//! Every replica does it, and what one has read the others leave alone for an hour. What is *not* here: what follows for
//! whom (`domain::ownership`).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::config::Domain;
use crate::domain::ids::{DomainAlias, ReplicaId};
use crate::domain::ownership::Rule;
use crate::domain::ports::{Clock, SpaceControl};
use crate::store::people::Change;
use crate::store::{Store, StoreError};

/// How often owners are looked for that were not read yet.
const EVERY: Duration = Duration::from_secs(5);
/// How long what was read counts.
const AGE: Duration = Duration::from_secs(60 * 60);
/// Profiles that are read in a row; AWS takes some tens of such calls a second.
const ROW: u16 = 20;
/// How long a call may take.
const CALL: Duration = Duration::from_secs(20);

/// The job.
pub struct ProfileJob {
    store: Store,
    control: Arc<dyn SpaceControl>,
    clock: Arc<dyn Clock>,
    replica: ReplicaId,
    domains: Vec<DomainAlias>,
    /// Whether the last round brought what it was to bring.
    well: bool,
}

/// Why a round brought less.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("user profile {0} of {1}: {2}")]
    Aws(String, DomainAlias, String),
}

impl ProfileJob {
    /// A job for the domains that need it; nothing if there are none.
    #[must_use]
    pub fn of(
        domains: &[Domain],
        store: Store,
        control: Arc<dyn SpaceControl>,
        clock: Arc<dyn Clock>,
        replica: ReplicaId,
    ) -> Option<Self> {
        let asks = |domain: &&Domain| {
            let rule = domain.ownership.as_ref().map(|ownership| &ownership.profile);
            matches!(rule, Some(Rule::SingleSignOn(_)))
        };
        let domains: Vec<DomainAlias> =
            domains.iter().filter(asks).map(|domain| domain.alias.clone()).collect();
        (!domains.is_empty()).then_some(Self { store, control, clock, replica, domains, well: true })
    }

    /// Reads until it is stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let rounds = async {
            loop {
                self.round().await;
                self.clock.sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = rounds => {}
        }
    }

    async fn round(&mut self) {
        let mut trouble = None;
        for domain in &self.domains {
            if let Err(error) = self.read(domain).await {
                trouble = Some(error);
            }
        }
        // Once, until it is well again.
        if let Some(error) = &trouble
            && self.well
        {
            warn!(%error, "not every owner of a space is known; those who are not reach no private space");
        }
        self.well = trouble.is_none();
    }

    async fn read(&self, domain: &DomainAlias) -> Result<(), Trouble> {
        let due = self.store.due_profiles(domain, self.clock.now() - AGE, ROW).await?;
        for profile in due {
            let asked = self.control.sso_user(domain, &profile);
            let read = tokio::select! {
                read = asked => read.map_err(|error| error.to_string()),
                () = self.clock.sleep(CALL) => Err("no answer".to_owned()),
            };
            let user = read.map_err(|error| Trouble::Aws(profile.to_string(), domain.clone(), error))?;
            debug!(%domain, user_profile.name = %profile, "a user profile was read");
            let change = Change {
                replica: self.replica,
                actor: None,
                called: "spaceport".to_owned(),
                address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                at: self.clock.now(),
            };
            self.store.write_profile(domain, &profile, user.as_deref(), &change).await?;
        }
        Ok(())
    }
}
