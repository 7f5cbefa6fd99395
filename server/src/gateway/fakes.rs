//! Small stand-ins for the edge of the process, for unit tests. Whole paths are tested against the simulator.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::journal::Journal;
use super::lock::lock;
use super::want::Connection;
use crate::domain::actor::Actor;
use crate::domain::ids::{ConnectionId, DomainAlias, InstanceType, SpaceId, UserId, UserProfileName};
use crate::domain::ports::{AwsError, Clock, SessionGrant, SpaceControl};
use crate::domain::record::Change;
use crate::domain::run::Tags;
use crate::domain::space::{AppStatus, AppType, Sharing, Space, SpaceArn, SpaceStatus};
use crate::domain::start::{AppReport, StartSettings};
use crate::domain::user::{Role, Standing, User};

/// Tokio's clock, which tests pause and which then runs ahead while everybody waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct PausedClock {
    started: Instant,
}

impl PausedClock {
    pub(super) fn start() -> Self {
        Self { started: Instant::now() }
    }
}

#[async_trait]
impl Clock for PausedClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000) + self.started.elapsed()
    }
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Changes that a journal took.
pub(super) type Written = Arc<Mutex<Vec<Change>>>;

/// A journal that keeps what is written.
pub(super) fn journal(clock: &PausedClock) -> (Journal, Written) {
    let written = Written::default();
    let kept = Arc::clone(&written);
    let sink = move |changes| {
        lock(&kept).extend::<Vec<Change>>(changes);
        let done: futures_util::future::BoxFuture<'static, ()> = Box::pin(std::future::ready(()));
        done
    };
    (Journal::into(Arc::new(sink), Arc::new(*clock)), written)
}

/// No sessions yet.
pub(super) fn sessions(journal: Journal, clock: &PausedClock) -> super::sessions::Sessions {
    let clock: Arc<dyn Clock> = Arc::new(*clock);
    let activity = super::activity::Activity::new(Arc::clone(&clock), Duration::from_secs(10));
    super::sessions::Sessions::new(journal, activity, clock)
}

/// A name from a literal.
pub(super) fn named<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("malformed: {text}"))
}

/// A user with a profile of this name in each of the domains `lab` and `prod`.
pub(super) fn user(name: &str, profile: &str) -> User {
    User {
        id: UserId::generate(),
        name: named(name),
        subject: name.to_owned(),
        groups: Default::default(),
        profiles: ["lab", "prod"].map(|domain| named(&format!("{domain}/{profile}"))).into(),
        grants: Vec::new(),
        role: Role::User,
        suspended: false,
        standing: Standing::Configured,
    }
}

/// A private JupyterLab space without an app.
pub(super) fn space(domain: &str, name: &str, owner: &str) -> Space {
    Space {
        id: SpaceId::generate(),
        arn: named(&format!("arn:aws:sagemaker:us-east-1:111122223333:space/d-{domain}/{name}")),
        domain: named(domain),
        owner: Some(named(owner)),
        sharing: Sharing::Private,
        app_type: Some(AppType::JupyterLab),
        remote_access: true,
        status: SpaceStatus::InService,
        app: None,
        storage_gib: None,
    }
}

pub(super) fn connection() -> Connection {
    Connection {
        id: ConnectionId::generate(),
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        client_version: "SSH-2.0-test".to_owned(),
        key_fingerprint: "SHA256:test".to_owned(),
        authenticated_at: OffsetDateTime::UNIX_EPOCH,
    }
}

/// How long an app of the [`Studio`] takes to come up, and to go.
pub(super) const UP_AFTER: Duration = Duration::from_secs(90);
pub(super) const GONE_AFTER: Duration = Duration::from_secs(20);

/// SageMaker with one app, which lives by the clock, and with failures on order.
pub(super) struct Studio {
    clock: PausedClock,
    state: Mutex<StudioState>,
}

pub(super) struct StudioState {
    /// Every call, by operation and actor's name.
    pub(super) calls: Vec<String>,
    pub(super) app: Option<StudioApp>,
    pub(super) settings: StartSettings,
    /// The next answers to an operation, instead of what it would do.
    pub(super) failures: VecDeque<(&'static str, AwsError)>,
    pub(super) listings: VecDeque<Result<Vec<Space>, AwsError>>,
    /// Whose calls are refused.
    pub(super) refuses: Option<String>,
    /// Whether and how the next app fails.
    pub(super) next_fails: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct StudioApp {
    pub(super) created: Duration,
    pub(super) deleted: Option<Duration>,
    pub(super) fails: Option<String>,
}

impl Studio {
    pub(super) fn new(clock: &PausedClock) -> Arc<Self> {
        let settings = StartSettings {
            instance_type: Some(named("ml.m5.xlarge")),
            image_version: None,
            image: None,
            image_version_arn: None,
            lifecycle_config: None,
            remote_access: true,
            status: SpaceStatus::InService,
        };
        let state = StudioState {
            calls: Vec::new(),
            app: None,
            settings,
            failures: VecDeque::new(),
            listings: VecDeque::new(),
            refuses: None,
            next_fails: None,
        };
        Arc::new(Self { clock: *clock, state: Mutex::new(state) })
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut StudioState) -> T) -> T {
        look(&mut lock(&self.state))
    }

    /// How often an operation was called.
    pub(super) fn count(&self, operation: &str) -> usize {
        self.with(|state| state.calls.iter().filter(|call| call.starts_with(operation)).count())
    }

    fn call(&self, operation: &'static str, actor: Option<&Actor>) -> Result<(), AwsError> {
        let who = actor.map(ToString::to_string).unwrap_or_default();
        self.with(|state| {
            state.calls.push(format!("{operation} {who}").trim_end().to_owned());
            if state.refuses.as_ref().is_some_and(|refused| *refused == who) {
                return Err(AwsError::AccessDenied { operation, message: "not you".to_owned() });
            }
            match state.failures.iter().position(|(of, _)| *of == operation) {
                Some(at) => state.failures.remove(at).map_or(Ok(()), |(_, error)| Err(error)),
                None => Ok(()),
            }
        })
    }
}

impl StudioApp {
    fn status(&self, now: Duration) -> AppStatus {
        match self.deleted {
            Some(deleted) if now >= deleted + GONE_AFTER => AppStatus::Deleted,
            Some(_) => AppStatus::Deleting,
            None if now < self.created + UP_AFTER => AppStatus::Pending,
            None if self.fails.is_some() => AppStatus::Failed,
            None => AppStatus::InService,
        }
    }
}

#[async_trait]
impl SpaceControl for Studio {
    fn domains(&self) -> Vec<DomainAlias> {
        vec![named("lab"), named("prod")]
    }
    async fn list_spaces(&self, _domain: &DomainAlias) -> Result<Vec<Space>, AwsError> {
        self.call("list", None)?;
        self.clock.sleep(Duration::from_secs(1)).await;
        self.with(|state| state.listings.pop_front()).unwrap_or_else(|| Ok(Vec::new()))
    }
    async fn sso_user(
        &self,
        _domain: &DomainAlias,
        profile: &UserProfileName,
    ) -> Result<Option<String>, AwsError> {
        self.call("profile", None)?;
        Ok(Some(profile.to_string()))
    }
    fn may_probe(&self, _domain: &DomainAlias) -> bool {
        false
    }
    async fn space_tags(&self, _space: &Space) -> Result<Tags, AwsError> {
        self.call("tags", None)?;
        Ok(Tags::new())
    }
    async fn start_settings(&self, actor: &Actor, _space: &Space) -> Result<StartSettings, AwsError> {
        self.call("settings", Some(actor))?;
        Ok(self.with(|state| state.settings.clone()))
    }
    async fn update_space(
        &self,
        actor: &Actor,
        _space: &Space,
        remote_access: Option<bool>,
        _instance_type: Option<&InstanceType>,
    ) -> Result<(), AwsError> {
        self.call("update", Some(actor))?;
        self.with(|state| {
            if let Some(on) = remote_access {
                state.settings.remote_access = on;
            }
        });
        Ok(())
    }
    async fn create_app(
        &self,
        actor: &Actor,
        _space: &Space,
        _settings: &StartSettings,
    ) -> Result<(), AwsError> {
        self.call("create", Some(actor))?;
        let created = self.clock.elapsed();
        self.with(|state| {
            let fails = state.next_fails.take();
            state.app = Some(StudioApp { created, deleted: None, fails });
        });
        Ok(())
    }
    async fn describe_app(
        &self,
        _arn: &SpaceArn,
        _domain: &DomainAlias,
        _app: AppType,
    ) -> Result<AppReport, AwsError> {
        self.call("describe", None)?;
        // A call takes a while: whoever watches sees what came before it.
        tokio::task::yield_now().await;
        let app = self.with(|state| state.app.clone());
        let app = app.ok_or_else(|| AwsError::NotFound("no app".to_owned()))?;
        Ok(AppReport {
            status: app.status(self.clock.elapsed()),
            failure: app.fails.clone(),
            created_at: Some(OffsetDateTime::UNIX_EPOCH + app.created),
            instance_type: None,
        })
    }
    async fn stop_app(&self, _space: &Space) -> Result<(), AwsError> {
        self.call("stop", None)
    }
    async fn delete_app(&self, actor: &Actor, _space: &Space) -> Result<(), AwsError> {
        self.call("delete", Some(actor))?;
        let now = self.clock.elapsed();
        self.with(|state| {
            if let Some(app) = &mut state.app {
                app.deleted.get_or_insert(now);
            }
        });
        Ok(())
    }
    async fn start_session(&self, actor: &Actor, _space: &Space) -> Result<SessionGrant, AwsError> {
        self.call("session", Some(actor))?;
        Ok(SessionGrant {
            session_id: "s-1".to_owned(),
            stream_url: "wss://example.com/data-channel/s-1".to_owned(),
            token: SecretString::from("token"),
            role_session: "AROA:test".to_owned(),
            request_id: None,
        })
    }
}
