//! Reads the AWS tags of spaces, in the domains where somebody asks for them: one replica at a time, hourly for each
//! space, and slower than the service role's calls may go, so that listings do not wait for it.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::lead::Leadership;
use crate::config::Domain;
use crate::domain::ids::{DomainAlias, ReplicaId};
use crate::domain::ports::{AwsError, Clock, SpaceControl};
use crate::domain::space::Space;
use crate::store::{Store, StoreError};

/// How often spaces are looked for whose tags are due.
const EVERY: Duration = Duration::from_secs(5);
/// How long what was read counts.
const AGE: Duration = Duration::from_secs(60 * 60);
/// How long a space is left alone whose tags could not be read.
const AGAIN: Duration = Duration::from_secs(5 * 60);
/// Spaces in a round: half of what the service role may call by default in that time.
const ROW: u16 = 10;
/// How long the claim to the job lasts: longer than a round.
const LEASE_S: u32 = 120;
/// How long a call may take.
const CALL: Duration = Duration::from_secs(20);

/// The job.
pub struct TagJob {
    store: Store,
    control: Arc<dyn SpaceControl>,
    clock: Arc<dyn Clock>,
    domains: Vec<(DomainAlias, Leadership)>,
    /// Whether the last round brought what it was to bring.
    well: bool,
}

/// Why a round brought less.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0} of {1}: {2}")]
    Aws(String, DomainAlias, AwsError),
}

impl TagJob {
    /// A job for the domains that want it; nothing if there are none.
    #[must_use]
    pub fn of(
        domains: &[Domain],
        store: Store,
        control: Arc<dyn SpaceControl>,
        clock: Arc<dyn Clock>,
        replica: ReplicaId,
    ) -> Option<Self> {
        let claim = |domain: &Domain| {
            let job = format!("tags {}", domain.alias);
            (domain.alias.clone(), Leadership::new(store.clone(), job, replica, LEASE_S))
        };
        let domains: Vec<_> = domains.iter().filter(|domain| domain.read_tags).map(claim).collect();
        (!domains.is_empty()).then_some(Self { store, control, clock, domains, well: true })
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
        for (_, leadership) in &self.domains {
            leadership.release().await;
        }
    }

    async fn round(&mut self) {
        let mut trouble = None;
        for (domain, leadership) in &self.domains {
            if leadership.held().await
                && let Err(error) = self.read(domain).await
            {
                trouble = Some(error);
            }
        }
        // Once, until it is well again.
        if let Some(error) = &trouble
            && self.well
        {
            warn!(%error, "tags could not be read; those that were read before go on to count");
        }
        self.well = trouble.is_none();
    }

    async fn read(&self, domain: &DomainAlias) -> Result<(), Trouble> {
        let mut trouble = None;
        for space in self.store.due_tags(domain, self.clock.now() - AGE, ROW).await? {
            if let Err(error) = self.read_space(&space).await? {
                // What is not about this one space would be no better at the next.
                let about_it = matches!(error, AwsError::NotFound(_) | AwsError::Invalid(_));
                trouble = Some(Trouble::Aws(space.name().to_string(), domain.clone(), error));
                if !about_it {
                    break;
                }
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    async fn read_space(&self, space: &Space) -> Result<Result<(), AwsError>, StoreError> {
        let read = tokio::select! {
            read = self.control.space_tags(space) => read,
            () = self.clock.sleep(CALL) => Err(AwsError::Unreachable("no answer".to_owned())),
        };
        let now: OffsetDateTime = self.clock.now();
        match read {
            Ok(tags) => {
                debug!(space.name = %space.name(), tags = tags.len(), "tags were read");
                self.store.write_tags(space.id, Some(&tags), now).await?;
                Ok(Ok(()))
            }
            Err(error) => {
                // A space that is gone by now, say, must not hold up the others.
                self.store.write_tags(space.id, None, now - AGE + AGAIN).await?;
                Ok(Err(error))
            }
        }
    }
}
