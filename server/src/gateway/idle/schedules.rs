//! The random schedules of `domain::idle` on real Postgres, through all that carries the rules out: two replicas that
//! take turns and race, rows, locks, and processes that end in the middle of a step. `SPACEPORT_DATABASE_SCHEDULES`
//! sets how many run.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::actor::Actor;
use crate::domain::idle::schedules::truth::{App, Dice, HORIZON, POLL, Plan, TICK, Truth};
use crate::domain::idle::{Answer, Inside, NoLook, Phase, Policies, Sign, Stopper};
use crate::domain::ids::{DomainAlias, InstanceType, SpaceId, UserId, UserProfileName};
use crate::domain::ports::{AwsError, IdleNews, SessionGrant};
use crate::domain::run::Tags;
use crate::domain::space::{self, AppStatus, AppType, Space, SpaceArn};
use crate::domain::start::{AppReport, StartSettings};
use crate::gateway::fakes;
use crate::gateway::lock::lock;
use crate::store::people::Change;
use crate::store::signs::NewSign;
use crate::store::testing::TestDatabase;

/// Schedules that run at the same time.
const AT_ONCE: usize = 4;

/// The world of one schedule as the gateway meets it: AWS, the inside of the space, people and the clock.
struct World {
    truth: Mutex<Truth>,
    database: TestDatabase,
    /// Ends the process that is in the middle of something.
    death: Mutex<CancellationToken>,
    alerts: AtomicU32,
}

impl World {
    fn with<T>(&self, what: impl FnOnce(&mut Truth) -> T) -> T {
        what(&mut lock(&self.truth))
    }

    /// Now and then a process ends before it has heard the answer.
    async fn or_death(&self) {
        if self.with(|truth| truth.trouble(2)) {
            lock(&self.death).cancel();
            std::future::pending::<()>().await;
        }
    }

    /// The space as a listing shows it.
    fn listed(&self) -> Space {
        let mut space = fakes::space("lab", "own", "alice");
        space.app = self.with(|truth| {
            let status = match truth.app {
                App::Up => AppStatus::InService,
                App::Going { .. } => AppStatus::Deleting,
                App::None => return None,
            };
            Some(space::App {
                app_type: AppType::JupyterLab,
                status,
                created_at: truth.created_at(),
                instance_type: Some(fakes::named("ml.m5.xlarge")),
                image: None,
            })
        });
        space
    }
}

#[async_trait]
impl Clock for World {
    fn now(&self) -> OffsetDateTime {
        self.with(|truth| truth.wall())
    }
    fn elapsed(&self) -> Duration {
        self.with(|truth| Duration::from_secs(u64::try_from(truth.now).unwrap()))
    }
    async fn sleep(&self, _duration: Duration) {
        std::future::pending().await
    }
}

#[async_trait]
impl Eyes for World {
    async fn look_inside(&self, _run: &OpenRun) -> Result<Inside, NoLook> {
        self.with(Truth::inside)
    }
}

#[async_trait]
impl Tell for World {
    async fn tell(&self, _run: &OpenRun, news: IdleNews) {
        self.or_death().await;
        match news {
            IdleNews::StopsSoon { .. } => self.with(Truth::tell),
            IdleNews::TooLong => drop(self.alerts.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        }
    }
}

/// Of AWS idleness asks for two things: what an app is, and to delete it.
#[async_trait]
impl SpaceControl for World {
    async fn describe_app(
        &self,
        _arn: &SpaceArn,
        _domain: &DomainAlias,
        _app: AppType,
    ) -> Result<AppReport, AwsError> {
        self.or_death().await;
        let unreachable = || AwsError::Unreachable("no answer".to_owned());
        if self.with(|truth| truth.trouble(10)) {
            return Err(unreachable());
        }
        let app = self.listed().app.ok_or_else(|| AwsError::NotFound("no such app".to_owned()))?;
        Ok(AppReport {
            status: app.status,
            failure: None,
            created_at: Some(app.created_at),
            instance_type: app.instance_type,
        })
    }
    async fn stop_app(&self, _space: &Space) -> Result<(), AwsError> {
        // Whoever asks has just written that it does.
        let now = self.now();
        let stoppers = self.database.stoppers().await;
        let asks =
            |stopper: &Stopper| matches!(stopper.phase(), Phase::Deleting { since, .. } if *since == now);
        let asking: Vec<_> = stoppers.iter().filter(|(_, stopper)| asks(stopper)).collect();
        assert_eq!(asking.len(), 1, "a stop that is not on record: {stoppers:?}");
        let answer = self.with(|truth| {
            assert_eq!(asking[0].0, truth.created_at(), "a stop of another run");
            truth.check();
            truth.delete(truth.created)
        });
        self.or_death().await;
        match answer {
            Answer::Accepted => Ok(()),
            Answer::Unclear => Err(AwsError::Unreachable("no answer".to_owned())),
            Answer::Refused(said) => Err(AwsError::LimitExceeded(said)),
        }
    }
    fn domains(&self) -> Vec<DomainAlias> {
        vec![fakes::named("lab")]
    }
    fn may_probe(&self, _domain: &DomainAlias) -> bool {
        true
    }
    async fn list_spaces(&self, _domain: &DomainAlias) -> Result<Vec<Space>, AwsError> {
        Ok(vec![self.listed()])
    }
    async fn sso_user(&self, _: &DomainAlias, _: &UserProfileName) -> Result<Option<String>, AwsError> {
        Ok(None)
    }
    async fn space_tags(&self, _space: &Space) -> Result<Tags, AwsError> {
        Ok(Tags::new())
    }
    async fn start_settings(&self, _: &Actor, _: &Space) -> Result<StartSettings, AwsError> {
        unreachable!("idleness starts nothing")
    }
    async fn update_space(
        &self,
        _: &Actor,
        _: &Space,
        _: Option<bool>,
        _: Option<&InstanceType>,
    ) -> Result<(), AwsError> {
        unreachable!("idleness changes nothing")
    }
    async fn create_app(&self, _: &Actor, _: &Space, _: &StartSettings) -> Result<(), AwsError> {
        unreachable!("idleness starts nothing")
    }
    async fn delete_app(&self, _: &Actor, _: &Space) -> Result<(), AwsError> {
        unreachable!("nobody stops anything by hand")
    }
    async fn start_session(&self, _: &Actor, _: &Space) -> Result<SessionGrant, AwsError> {
        unreachable!("idleness opens nothing")
    }
}

/// One schedule on a database of its own.
struct Schedule {
    world: Arc<World>,
    replicas: [Idle; 2],
    user: UserId,
    space: Option<SpaceId>,
    written_until: i64,
}

impl Schedule {
    async fn new(seed: u64) -> Self {
        let mut plan = Plan::of(&mut Dice(seed));
        // Listings that are older than others change nothing: here, clocks are only ever put forward.
        plan.jumps.retain(|(_, by)| *by > 0);
        let world = Arc::new(World {
            truth: Mutex::new(Truth::new(plan, seed)),
            database: TestDatabase::new().await,
            death: Mutex::default(),
            alerts: AtomicU32::new(0),
        });
        let now = world.now();
        let user = world.database.store.ensure_user("alice", &fakes::named("alice"), now).await.unwrap();
        let replicas = [replica(&world), replica(&world)];
        Self { world, replicas, user, space: None, written_until: -1 }
    }

    async fn run(&mut self) {
        while self.world.with(|truth| truth.now) < HORIZON {
            self.world.with(Truth::happen);
            self.replicas.iter().for_each(Idle::watch_clock);
            if !self.world.with(|truth| truth.gateway_is_down()) {
                self.turn().await;
            }
            self.world.with(|truth| truth.assert_gone_in_time());
            self.world.with(|truth| truth.now += TICK);
        }
    }

    async fn turn(&mut self) {
        let now = self.world.with(|truth| truth.now);
        let pass = now % POLL == 0;
        // What is listed at a time when the gateway was down is listed when it is back.
        let space = match self.space {
            Some(space) if !pass => space,
            _ => self.list().await,
        };
        self.space = Some(space);
        self.people(space).await;
        let both = self.world.with(|truth| truth.dice.percent(30));
        let (first, second) = if now / POLL % 2 == 0 { (0, 1) } else { (1, 0) };
        // Both at once when a lease has just changed hands.
        let done = |one: usize| {
            let idle = self.replicas[one].clone();
            async move {
                if pass {
                    idle.pass().await?;
                }
                idle.wake().await
            }
        };
        let death = CancellationToken::new();
        *lock(&self.world.death) = death.clone();
        let work = async {
            if both {
                let (one, two) = tokio::join!(done(first), done(second));
                one.and(two)
            } else {
                done(first).await
            }
        };
        tokio::select! {
            done = work => done.unwrap(),
            () = death.cancelled() => {
                let anew = replica(&self.world);
                anew.watch_clock();
                self.replicas[first] = anew;
            }
        }
    }

    /// What the watcher writes.
    async fn list(&self) -> SpaceId {
        let listed = vec![self.world.listed()];
        let lab = fakes::named("lab");
        self.world.database.store.sync_spaces(&lab, listed, self.world.now()).await.unwrap()[0].id
    }

    /// What people do, as replicas write it.
    async fn people(&mut self, space: SpaceId) {
        let (user, since) = (self.user, self.written_until);
        let (keys, held, was_held) = self.world.with(|truth| {
            let new = truth.plan.keys.iter().filter(|at| (since + 1..=truth.now).contains(*at));
            let keys: Vec<NewSign> =
                new.map(|at| NewSign { space, user, sign: Sign::Keys, at: truth.wall_of(*at) }).collect();
            let held = truth.held_until().map(|until| truth.wall_of(until));
            (keys, held, !truth.plan.holds.is_empty())
        });
        self.written_until = self.world.with(|truth| truth.now);
        let store = &self.world.database.store;
        if !keys.is_empty() {
            store.write_signs(&keys).await.unwrap();
        }
        if was_held {
            let change = Change {
                replica: ReplicaId::generate(),
                actor: Some(user),
                called: "alice".to_owned(),
                address: std::net::Ipv4Addr::LOCALHOST.into(),
                at: self.world.now(),
            };
            store.hold_space(space, user, held, "", &change).await.unwrap();
        }
    }
}

fn replica(world: &Arc<World>) -> Idle {
    let policy = world.with(|truth| truth.plan.policy.clone());
    let policies = watch::Sender::new(Arc::new(Policies::new(policy, Vec::new())));
    let users: watch::Sender<Arc<Users>> = watch::Sender::new(Arc::default());
    Idle::new(Parts {
        replica: ReplicaId::generate(),
        store: world.database.store.clone(),
        control: world.clone(),
        eyes: world.clone(),
        tell: world.clone(),
        clock: world.clone(),
        policies: policies.subscribe(),
        users: users.subscribe(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_too_no_space_is_stopped_that_should_not_be_and_none_is_left_up() {
    let count = std::env::var("SPACEPORT_DATABASE_SCHEDULES").ok();
    let count = count.and_then(|count| count.parse().ok()).unwrap_or(100);
    let (stops, alerts, finished) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    stream::iter(0..count)
        .for_each_concurrent(AT_ONCE, |seed| {
            let (stops, alerts, finished) = (&stops, &alerts, &finished);
            async move {
                let mut schedule = Schedule::new(seed).await;
                let done = AssertUnwindSafe(schedule.run()).catch_unwind().await;
                assert!(done.is_ok(), "schedule {seed}");
                let stopped = u64::from(schedule.world.with(|truth| truth.stops));
                stops.fetch_add(stopped, Ordering::Relaxed);
                alerts.fetch_add(schedule.world.alerts.load(Ordering::Relaxed).into(), Ordering::Relaxed);
                let on_record = schedule.world.database.stops_that("stopped").await;
                finished.fetch_add(u64::try_from(on_record).unwrap(), Ordering::Relaxed);
            }
        })
        .await;
    let [stops, alerts, finished] = [stops, alerts, finished].map(AtomicU64::into_inner);
    assert!(stops > count / 4, "{stops} stops");
    assert!(finished > stops / 2, "{finished} of {stops} stops are on record");
    assert!(count < 50 || alerts > 0, "{alerts} alerts");
}
