//! Idleness of a server: who looks inside spaces, who tells people, and the job.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::domain::email::EmailAddress;
use crate::domain::idle::{Because, Calm, Trigger, in_a_line};
use crate::domain::ids::{ReplicaId, UserId};
use crate::domain::notice::{About, Notice};
use crate::domain::ports::{Clock, Eyes, IdleNews, Notify, SpaceControl, Tell};
use crate::domain::run::OpenRun;
use crate::domain::user::{Users, owners};
use crate::gateway::idle::{Idle, Parts as IdleParts};
use crate::identity::Identity;
use crate::jobs::idle::IdleJob;
use crate::jobs::lead::Leadership;
use crate::notify::Notifier;
use crate::ssh::Address;
use crate::store::Store;

/// The name of the job's lease, and how long it lasts without being renewed: longer than a pass may take.
const LEASE: (&str, u32) = ("idle", 60);

/// What idleness needs of the server.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) replica: ReplicaId,
    pub(super) store: &'a Store,
    pub(super) control: Arc<dyn SpaceControl>,
    pub(super) eyes: Arc<dyn Eyes>,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) identity: &'a Identity,
    pub(super) notifier: &'a Notifier,
    pub(super) ssh: Address,
}

impl Parts<'_> {
    /// Puts idleness together and starts its job.
    pub(super) fn start(self, (tracker, stop): (&TaskTracker, &CancellationToken)) -> Idle {
        let settings = &self.config.idle;
        let tell = Teller {
            identity: self.identity.clone(),
            users: self.identity.everybody(),
            notifier: self.notifier.clone(),
            clock: Arc::clone(self.clock),
            ssh: self.ssh,
        };
        // The policies of the file: everything but people needs a restart.
        let (_, policies) = watch::channel(Arc::new(settings.policies.clone()));
        let idle = Idle::new(IdleParts {
            replica: self.replica,
            store: self.store.clone(),
            control: self.control,
            eyes: self.eyes,
            tell: Arc::new(tell),
            clock: Arc::clone(self.clock),
            policies,
            users: self.identity.everybody(),
        });
        let (name, for_s) = LEASE;
        let job = IdleJob {
            idle: idle.clone(),
            lead: Leadership::new(self.store.clone(), name, self.replica, for_s),
            store: self.store.clone(),
            clock: Arc::clone(self.clock),
            every: settings.look_every,
            kept: settings.looks_kept,
        };
        tracker.spawn(job.run(stop.clone()));
        idle
    }
}

/// Tells people by every way there is.
struct Teller {
    identity: Identity,
    users: watch::Receiver<Arc<Users>>,
    notifier: Notifier,
    clock: Arc<dyn Clock>,
    ssh: Address,
}

#[async_trait]
impl Tell for Teller {
    async fn tell(&self, run: &OpenRun, news: IdleNews) {
        if let Some(notice) = self.notice(run, news) {
            self.notifier.tell(&notice, &self.owners(run));
        }
    }
}

impl Teller {
    /// The addresses of whoever owns a run's space.
    fn owners(&self, run: &OpenRun) -> Vec<EmailAddress> {
        let owners: Vec<UserId> = owners(&self.users.borrow(), &run.space).map(|owner| owner.id).collect();
        owners.into_iter().filter_map(|user| self.identity.address(user)).collect()
    }

    fn notice(&self, run: &OpenRun, news: IdleNews) -> Option<Notice> {
        let space = &run.space;
        let about = About {
            space: space.name().clone(),
            domain: space.domain.clone(),
            owner: space.owner.as_ref().map(ToString::to_string),
        };
        Some(match news {
            // Whoever stops a space by hand needs no warning of it.
            IdleNews::StopsSoon { trigger: Trigger::Person { .. }, .. } => return None,
            // Only terminals are told before it is done.
            IdleNews::Stopping(_) => return None,
            IdleNews::StopsSoon { trigger: Trigger::Idle { since, .. }, stop_at, grounds } => {
                Notice::StopsSoon {
                    about,
                    since,
                    stop_at,
                    why: in_a_line(&grounds),
                    hold: self.ssh.command(&format!("hold {} 3h", space.name())),
                    page: self.ssh.pages.clone(),
                    cost: None,
                }
            }
            // Of a stop by hand nobody was told here.
            IdleNews::Stays(Calm::NotDone) => return None,
            IdleNews::Stays(calm) => Notice::StaysUp { about, why: why(&calm) },
            IdleNews::Stopped(trigger) => {
                let (since, by) = match trigger {
                    Trigger::Idle { since, .. } => (Some(since), "idleness".to_owned()),
                    Trigger::Person { by } => (None, by),
                };
                Notice::Stopped { about, since, at: self.clock.now(), by, cost: None }
            }
            IdleNews::Stuck { tries, said } => Notice::StopFailed { about, tries, said },
            IdleNews::TooLong => Notice::RunsTooLong { about, since: run.began_at },
        })
    }
}

/// Why a space stays up.
fn why(calm: &Calm) -> String {
    match calm {
        Calm::Active(Because::Seen(seen)) => seen.sign.to_string(),
        Calm::Active(Because::Held(hold)) => format!("{} holds it: \"{}\"", hold.by, hold.reason),
        Calm::Unknown(doubt) => doubt.to_string(),
        Calm::Policy => "its policy has changed".to_owned(),
        Calm::NotDone => "it could not be stopped".to_owned(),
    }
}
