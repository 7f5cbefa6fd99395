//! Idleness, carried out: looks at what runs, judges it, and takes each stop from its warning to its end.
//!
//! The rules are `domain::idle`'s; here is what they need of the world. Nothing is kept in memory between two passes
//! but how the clock ran: the row of a run says where it is, and whoever writes it names the version that they read, so
//! that any replica goes on where another stopped and no step is taken twice.

mod ask;
mod carry;
mod pass;
#[cfg(test)]
mod schedules;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

pub use ask::{Ended, Status, Stopping, Up};

use super::lock::lock;
use crate::domain::idle::{Policies, Rule, Subject};
use crate::domain::ids::{GroupName, ReplicaId};
use crate::domain::ports::{Clock, Eyes, SpaceControl, Tell};
use crate::domain::run::OpenRun;
use crate::domain::user::{Users, owners};
use crate::store::Store;

/// A difference between wall and monotonic time that is no slewing any more: the clock was set.
const JUMP: Duration = Duration::from_secs(2);

/// What idleness is made of.
pub struct Parts {
    /// This process.
    pub replica: ReplicaId,
    /// Postgres.
    pub store: Store,
    /// SageMaker.
    pub control: Arc<dyn SpaceControl>,
    /// Looks inside spaces.
    pub eyes: Arc<dyn Eyes>,
    /// Tells people.
    pub tell: Arc<dyn Tell>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// When spaces count as idle.
    pub policies: watch::Receiver<Arc<Policies>>,
    /// Everybody, for the groups of owners.
    pub users: watch::Receiver<Arc<Users>>,
}

/// Idleness. Cheap to clone.
#[derive(Clone)]
pub struct Idle(Arc<Inner>);

struct Inner {
    parts: Parts,
    clock: Mutex<ClockWatch>,
}

/// How the clock has run.
#[derive(Default)]
struct ClockWatch {
    /// Wall and monotonic time when it was looked at last.
    last: Option<(OffsetDateTime, Duration)>,
    /// When it was last found set, in monotonic time.
    jumped: Option<Duration>,
}

impl Idle {
    /// Puts the parts together. Nothing runs by itself.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner { parts, clock: Mutex::default() }))
    }

    fn parts(&self) -> &Parts {
        &self.0.parts
    }

    /// Watches the clock. Called often, also by replicas that do not judge: whoever takes over knows of a jump.
    pub fn watch_clock(&self) {
        let _ = self.now();
    }

    /// The time, and whether the clock has run evenly for long enough that every look since then has been told.
    fn now(&self) -> (OffsetDateTime, bool) {
        let (wall, run) = (self.parts().clock.now(), self.parts().clock.elapsed());
        let gap = self.parts().policies.borrow().longest_gap();
        let mut watch = lock(&self.0.clock);
        if let Some((last_wall, last_run)) = watch.last.replace((wall, run)) {
            let passed =
                time::Duration::try_from(run.saturating_sub(last_run)).unwrap_or(time::Duration::MAX);
            if ((wall - last_wall) - passed).abs() > JUMP {
                watch.jumped = Some(run);
            }
        }
        (wall, watch.jumped.is_none_or(|jumped| run.saturating_sub(jumped) > gap))
    }

    /// The policy of a run's space.
    #[must_use]
    pub fn rule(&self, run: &OpenRun) -> Rule {
        let policies = self.parts().policies.borrow().clone();
        let (space, tags) = (&run.space, run.tags.clone().unwrap_or_default());
        let groups: BTreeSet<GroupName> =
            owners(&self.parts().users.borrow(), space).flat_map(|owner| owner.groups.clone()).collect();
        let subject = Subject { domain: &space.domain, space: space.name(), groups: &groups, tags: &tags };
        policies.of(&subject).clone()
    }
}
