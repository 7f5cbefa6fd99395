//! An authenticated client: who it is, where its login name leads, and the sessions it has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::keys::PublicKey;
use russh::server::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SetOnce, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::messages::{self, Message};
use super::remote::{self, Arrivals};
use super::target::{self, Named};
use crate::domain::access::{Because, stands};
use crate::domain::audit::AuditEvent;
use crate::domain::ending::EndReason;
use crate::domain::ids::{MalformedName, SpaceId, SpaceName};
use crate::domain::names::Target;
use crate::domain::record::Mode;
use crate::domain::space::Space;
use crate::domain::space_news::SpaceNews;
use crate::domain::user::User;
use crate::gateway::{Connection, FindError, OpenError, Session};
use crate::identity::certificates::Permits;

/// How long the channels of an ended session may take to say farewell.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long the word of who stopped a space may come after its end: from another replica, it goes by Postgres.
const LATE_NEWS: Duration = Duration::from_secs(1);

/// Why a name leads nowhere.
#[derive(Debug, Clone)]
pub(super) enum Nowhere {
    /// It is no name at all.
    Malformed(MalformedName),
    /// It names no space that the person may open.
    Find(FindError),
    /// The session with that space was refused.
    Open(SpaceName, OpenError),
}

impl Nowhere {
    /// The exit status that goes with it.
    pub(super) const fn status(&self) -> u32 {
        match self {
            Self::Malformed(_) | Self::Find(_) => 1,
            Self::Open(_, error) => messages::status_of(error),
        }
    }
}

/// Where the login name leads.
pub(super) enum Home {
    /// To the gateway's own commands.
    CommandLine,
    /// Nowhere.
    Nowhere(Nowhere),
    /// To a space, with a session.
    Space(Arc<Live>),
}

/// A session that this connection began.
pub(super) struct Live {
    /// The gateway's handle.
    pub(super) session: Session,
    /// Holds a token for each channel of the session, so that its end can wait for their last words.
    pub(super) channels: TaskTracker,
    expelled: watch::Sender<Option<EndReason>>,
    over: AtomicBool,
}

impl Live {
    /// The space's name.
    pub(super) fn space_name(&self) -> &str {
        self.session.space().name().as_str()
    }

    /// Completes when somebody but the client ends the session. Cancel-safe.
    pub(super) async fn ended(&self) -> EndReason {
        let mut expelled = self.expelled.subscribe();
        let expelled = async {
            match expelled.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
                Ok(Some(reason)) => reason,
                // The sender lives as long as `self`.
                Ok(None) | Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            reason = self.session.ended() => reason,
            reason = expelled => reason,
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// The answer to a wish for a jump; several channels may wait for one session to begin.
type Begun = Arc<SetOnce<Result<Arc<Live>, Nowhere>>>;

/// An authenticated client.
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) user: Arc<User>,
    pub(super) credential: Credential,
    pub(super) permits: Permits,
    pub(super) login: String,
    pub(super) connection: Connection,
    pub(super) handle: Handle,
    /// Cancelled when the connection is over.
    pub(super) gone: CancellationToken,
    /// Every task of this connection.
    pub(super) tasks: TaskTracker,
    /// Channels that the space opened and whose confirmation has arrived.
    pub(super) arrivals: Arrivals,
    /// Words for every channel of the connection that runs a command.
    pub(super) asides: watch::Sender<Option<Message>>,
    /// Set once a channel of the login name's space was open: the space is up.
    pub(super) reached: SetOnce<()>,
    slots: Arc<Semaphore>,
    settling: AtomicBool,
    home: SetOnce<Home>,
    jumps: Mutex<HashMap<SpaceId, Begun>>,
    lives: Mutex<Vec<Arc<Live>>>,
    disconnect: watch::Sender<Option<Message>>,
}

/// What a client logged in with.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    /// A key that is the person's for as long as it is listed. When it lapses counts at the login.
    Key(PublicKey),
    /// A certificate: its time counts at the login, the person's standing ever after.
    Certificate,
    /// A person's approval of this connection alone; their standing counts ever after.
    Approval,
}

/// What a client proved, and the connection it did so on.
pub(super) struct Proven {
    pub(super) user: Arc<User>,
    pub(super) credential: Credential,
    pub(super) permits: Permits,
    pub(super) login: String,
    pub(super) connection: Connection,
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>, proven: Proven, handle: Handle) -> Arc<Self> {
        let Proven { user, credential, permits, login, connection } = proven;
        let slots = shared.settings.max_channels_per_connection as usize;
        Arc::new(Self {
            shared,
            user,
            credential,
            permits,
            login,
            connection,
            handle,
            gone: CancellationToken::new(),
            tasks: TaskTracker::new(),
            arrivals: Arrivals::default(),
            asides: watch::Sender::new(None),
            reached: SetOnce::new(),
            slots: Arc::new(Semaphore::new(slots)),
            settling: AtomicBool::new(false),
            home: SetOnce::new(),
            jumps: Mutex::default(),
            lives: Mutex::default(),
            disconnect: watch::Sender::new(None),
        })
    }

    /// A place for one more channel, if there is one.
    pub(super) fn slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().try_acquire_owned().ok()
    }

    /// Right after authentication: where the login name plainly is one of the person's spaces, or the command line,
    /// its session begins. Otherwise it may be a jump host's, which means nothing; it is looked at once needed.
    pub(super) fn arrive(self: &Arc<Self>) {
        if !matches!(target::named(&self.login, &self.spaces()), Named::Nothing) {
            self.settle();
        }
    }

    /// The spaces that the person may open, as the catalogue has them now.
    pub(super) fn spaces(&self) -> Vec<Space> {
        self.shared.gateway.spaces(&self.user)
    }

    /// Finds out where the login name leads and begins the session there, once.
    fn settle(self: &Arc<Self>) {
        if self.settling.swap(true, Ordering::Relaxed) {
            return;
        }
        let client = self.clone();
        self.tasks.spawn(async move {
            let home = client.find_home().await;
            if let Home::Space(live) = &home {
                remote::welcome(&client, live);
            }
            // Nobody else sets it.
            let _ = client.home.set(home);
        });
    }

    /// Where the login name leads. Cancel-safe.
    pub(super) async fn home(self: &Arc<Self>) -> &Home {
        self.settle();
        self.home.wait().await
    }

    /// The same, if that has been asked before.
    pub(super) async fn home_so_far(&self) -> Option<&Home> {
        if self.settling.load(Ordering::Relaxed) { Some(self.home.wait().await) } else { None }
    }

    async fn find_home(self: &Arc<Self>) -> Home {
        let target = match target::read(&self.login) {
            Ok(Target::CommandLine) => return Home::CommandLine,
            Ok(target) => target,
            Err(error) => {
                self.audit("name.malformed", &error.to_string()).await;
                return Home::Nowhere(Nowhere::Malformed(error));
            }
        };
        let space = match self.shared.gateway.find(&self.user, &self.connection, &target).await {
            Ok(space) => space,
            Err(error) => return Home::Nowhere(Nowhere::Find(error)),
        };
        match self.begin(&space, Mode::Session).await {
            Ok(live) => Home::Space(live),
            Err(error) => Home::Nowhere(Nowhere::Open(space.name().clone(), error)),
        }
    }

    /// The session for jumps to the space that a target names; it begins with the first.
    pub(super) async fn jump(self: &Arc<Self>, target: &Target) -> Result<Arc<Live>, Nowhere> {
        let found = self.shared.gateway.find(&self.user, &self.connection, target).await;
        let space = found.map_err(Nowhere::Find)?;
        let begun = {
            let mut jumps = self.jumps.lock().unwrap_or_else(PoisonError::into_inner);
            // A session that failed to begin, or is over, gives way to a new one.
            jumps.retain(|_, begun| match begun.get() {
                Some(Ok(live)) => !live.is_over(),
                Some(Err(_)) => false,
                None => true,
            });
            let begun = jumps.entry(space.id).or_insert_with(|| {
                let begun: Begun = Arc::default();
                let (client, space, setter) = (self.clone(), space.clone(), begun.clone());
                self.tasks.spawn(async move {
                    let outcome = client.begin(&space, Mode::Jump).await;
                    let name = space.name().clone();
                    let _ = setter.set(outcome.map_err(|error| Nowhere::Open(name, error)));
                });
                begun
            });
            begun.clone()
        };
        begun.wait().await.clone()
    }

    async fn begin(self: &Arc<Self>, space: &Space, mode: Mode) -> Result<Arc<Live>, OpenError> {
        let session = self.shared.gateway.begin(&self.user, space, mode, &self.connection).await?;
        let live = Arc::new(Live {
            session,
            channels: TaskTracker::new(),
            expelled: watch::Sender::new(None),
            over: AtomicBool::new(false),
        });
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).push(live.clone());
        let (client, watched) = (self.clone(), live.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = client.gone.cancelled() => {}
                reason = watched.ended() => client.session_over(&watched, reason).await,
            }
        });
        Ok(live)
    }

    /// The gateway ended a session: its channels say farewell, and the last one takes the connection with it.
    async fn session_over(&self, live: &Live, reason: EndReason) {
        live.channels.close();
        tokio::select! {
            () = live.channels.wait() => {}
            () = self.shared.clock.sleep(FAREWELL) => {}
        }
        live.session.close(reason.clone()).await;
        live.over.store(true, Ordering::Relaxed);
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !other.is_over());
        if self.is_idle() {
            self.end(self.farewell(&reason, live).await);
        }
    }

    /// Whether no session is live.
    pub(super) fn is_idle(&self) -> bool {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The user or the key is no longer known, or was suspended: every session ends, and the connection with them.
    pub(super) fn expel(&self, because: &Because) {
        if self.is_idle() {
            self.end(messages::not_a_user(because));
        }
        for live in self.lives.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            live.expelled.send_replace(Some(EndReason::NoLongerAllowed(because.clone())));
        }
    }

    /// Why the person must go, if they must.
    pub(super) fn must_go(&self) -> Option<Because> {
        let user = match &self.credential {
            Credential::Key(key) => self.shared.identity.owner_of_key(key),
            Credential::Certificate | Credential::Approval => self.shared.identity.user(self.user.id),
        };
        match user {
            Some(user) if user.id != self.user.id => Some(Because::NoLongerAUser),
            Some(user) => stands(&user, self.shared.clock.now()).err(),
            None if self.shared.identity.user(self.user.id).is_some() => Some(Because::KeyRemoved),
            None => Some(Because::NoLongerAUser),
        }
    }

    /// Asks for the end of the connection. The first words stand.
    pub(super) fn end(&self, words: Message) {
        self.disconnect.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(words);
            }
            first
        });
    }

    /// Completes when the connection should end, with what to say. Cancel-safe.
    pub(super) async fn asked_to_end(&self) -> Message {
        let mut asked = self.disconnect.subscribe();
        match asked.wait_for(Option::is_some).await.map(|words| words.clone()) {
            Ok(Some(words)) => words,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// The connection is over: tasks end, and so do the sessions, each with its row.
    pub(super) async fn leave(&self) {
        self.gone.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let lives = std::mem::take(&mut *self.lives.lock().unwrap_or_else(PoisonError::into_inner));
        for live in lives {
            live.session.close(EndReason::ClientLeft).await;
        }
    }

    /// What a person reads when a session is over. Takes at most [`LATE_NEWS`].
    pub(super) async fn farewell(&self, reason: &EndReason, live: &Live) -> Message {
        let clock = &self.shared.clock;
        let (space, at) = (live.space_name(), clock.now());
        if *reason == EndReason::SpaceStopped {
            let mut news = live.session.news();
            let stops = |news: &Option<SpaceNews>| matches!(news, Some(SpaceNews::Stopping(_)));
            let stopped = tokio::select! {
                biased;
                news = news.wait_for(stops) => news.ok().and_then(|news| news.clone()),
                () = clock.sleep(LATE_NEWS) => None,
            };
            if let Some(SpaceNews::Stopping(trigger)) = stopped {
                return messages::stopped(space, at, &trigger, &self.shared.address);
            }
        }
        messages::ended(reason, space, at, &self.shared.address)
    }

    /// What a person reads whose name leads nowhere.
    pub(super) fn nowhere(&self, nowhere: &Nowhere, name: &str) -> Message {
        let address = &self.shared.address;
        match nowhere {
            Nowhere::Malformed(error) => messages::malformed(error, address),
            Nowhere::Find(error) => messages::find_failed(error, name, address),
            Nowhere::Open(space, error) => {
                messages::open_failed(error, space.as_str(), self.shared.clock.now(), address)
            }
        }
    }

    async fn audit(&self, kind: &'static str, why: &str) {
        let detail = serde_json::json!({ "login": messages::clean(&self.login), "why": why });
        let event = AuditEvent::refused(Some((self.user.id, &self.user.name)), "", kind, detail);
        self.shared.gateway.audit(event.within(None, Some(self.connection.id))).await;
    }
}
