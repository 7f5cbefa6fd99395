//! Who people are: users, their keys and their groups, from the configuration file and from OpenID Connect providers.
//!
//! What is *not* here: what a person may do with a space (`domain::access`), pages (`web`), and SSH itself (`ssh`).

mod api_tokens;
mod approvals;
pub mod certificates;
mod certify;
mod claims;
pub mod directory;
pub mod grants;
mod keys;
mod logins;
mod people;
mod providers;
mod renewal;
mod sign_in;
mod strangers;
mod suspensions;
mod terminal;
mod tokens;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::keys::PublicKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use self::api_tokens::{Bearer, MakeTokenError, MyToken, NoBearer, WantedToken};
pub use self::approvals::{Answered, ApproveError, Asked, Asker, NotBound, Progress, Question};
pub use self::certify::CertifyError;
pub use self::directory::{Directory, Entry};
pub use self::keys::{AddKeyError, MyKey, PastedKeyError};
pub use self::logins::MyLogin;
pub use self::providers::ProviderError;
pub use self::sign_in::{Answer, Begun, Choice, SignInError, SignedIn, SignedInUser, Visitor};
pub use self::terminal::MyKeys;
pub use crate::store::keys::AddedKeyRow;

use self::approvals::Approvals;
use self::certificates::Claim;
use self::people::{People, Rows, rules, with_rows};
use self::providers::Providers;
use crate::config::{self, ConfiguredUser, Domain, Provider, Web};
use crate::domain::access;
use crate::domain::email::EmailAddress;
use crate::domain::ids::{DomainAlias, ReplicaId, UserId};
use crate::domain::ownership::Ownership;
use crate::domain::ports::Clock;
use crate::domain::rate::Turns;
use crate::domain::refusals::Refusals;
use crate::domain::user::{Roles, User, Users};
use crate::store::secrets::SealingKey;
use crate::store::{Store, StoreError};

/// How often replicas look whether people or keys have changed.
const LOOK: Duration = Duration::from_secs(1);
/// The time in which sign-ins of one place are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Why people could not be taken over. Those in force stay.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Rows could not be read or written.
    #[error("the users' rows could not be read or written")]
    Store(#[from] StoreError),
    /// The client for providers could not be made.
    #[error("no HTTP client for identity providers")]
    Http(#[from] reqwest::Error),
}

/// What identity is made of.
pub struct Parts<'a> {
    /// Where rows are.
    pub store: Store,
    /// What seals tokens at rest.
    pub sealing: SealingKey,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Which replica audit rows name.
    pub replica: ReplicaId,
    /// The pages, if there are any.
    pub web: Option<&'a Web>,
    /// The providers that people sign in with.
    pub providers: &'a [Provider],
    /// Whether a browser may approve a key.
    pub approval: &'a config::Approval,
    /// The domains, for whose user profile is whose.
    pub domains: &'a [Domain],
    /// Where work goes on that whoever asked for it may have left.
    pub tasks: TaskTracker,
}

/// What the configuration file says about people.
#[derive(Default)]
struct Listed {
    users: Vec<(UserId, ConfiguredUser)>,
    roles: Roles,
    longest_grant: Duration,
}

/// The people that the gateway knows. Cheap to clone; every clone sees a change at once.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    sealing: SealingKey,
    clock: Arc<dyn Clock>,
    replica: ReplicaId,
    tasks: TaskTracker,
    providers: Option<Providers>,
    /// Nothing where nobody can approve a key.
    approvals: Option<Approvals>,
    /// How often sign-ins are begun, and who came back from one that never was.
    sign_ins: Mutex<Turns<IpAddr>>,
    /// How often programs ask for a person.
    api_requests: Mutex<Turns<UserId>>,
    longest_token: Duration,
    strangers: Mutex<Refusals>,
    /// How long a login may be idle, and how often a provider is asked again.
    idle: Duration,
    renew_every: Duration,
    domains: Vec<DomainAlias>,
    ownership: Vec<(DomainAlias, Ownership)>,
    listed: Mutex<Listed>,
    people: watch::Sender<Arc<People>>,
    everybody: watch::Sender<Arc<Users>>,
    /// Readings take turns, so that an older one never replaces a newer.
    reading: tokio::sync::Mutex<i64>,
}

impl Identity {
    /// Takes over the list of users, each of whom gets a row, and reads who has signed in.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn start(parts: Parts<'_>, listed: &config::People) -> Result<Self, IdentityError> {
        let Parts { store, sealing, clock, replica, web, providers, approval, domains, tasks } = parts;
        let site = web.filter(|_| !providers.is_empty()).map(|web| &web.public_url);
        let approvals = Approvals::open(&store, &sealing, site, approval).await?;
        let providers = web
            .map(|web| Providers::new(providers, web.public_url.clone(), Arc::clone(&clock)))
            .transpose()?;
        let inner = Inner {
            store,
            sealing,
            clock,
            replica,
            tasks,
            providers,
            approvals,
            sign_ins: Mutex::new(Turns::new(web.map_or(1, |web| web.sign_ins_per_minute), MINUTE)),
            api_requests: Mutex::new(Turns::new(web.map_or(1, |web| web.api_requests_per_minute), MINUTE)),
            longest_token: web.map_or(Duration::ZERO, |web| web.longest_token),
            strangers: Mutex::default(),
            idle: web.map_or(Duration::ZERO, |web| web.idle),
            renew_every: web.map_or(Duration::ZERO, |web| web.renew_every),
            domains: domains.iter().map(|domain| domain.alias.clone()).collect(),
            ownership: rules(domains),
            listed: Mutex::default(),
            people: watch::Sender::new(Arc::default()),
            everybody: watch::Sender::new(Arc::default()),
            reading: tokio::sync::Mutex::new(-1),
        };
        let identity = Self { inner: Arc::new(inner) };
        identity.reload(listed).await?;
        Ok(identity)
    }

    /// Takes over a changed list. Connections of people and keys that are gone end by themselves.
    ///
    /// # Errors
    /// When Postgres is away; then nothing changes.
    pub async fn reload(&self, listed: &config::People) -> Result<(), IdentityError> {
        let users = with_rows(&self.inner.store, listed, &*self.inner.clock).await?;
        *self.inner.listed.lock().unwrap_or_else(PoisonError::into_inner) =
            Listed { users, roles: listed.roles.clone(), longest_grant: listed.longest_grant };
        self.read().await?;
        Ok(())
    }

    /// Whose key this is. Ask again after a signature was verified: a key alone proves nothing.
    #[must_use]
    pub fn user_for_key(&self, key: &PublicKey) -> Option<Arc<User>> {
        self.inner.people.borrow().by_key(key, self.inner.clock.now())
    }

    /// Whose key this is or, if it has lapsed meanwhile, was: for connections that it let in.
    #[must_use]
    pub fn owner_of_key(&self, key: &PublicKey) -> Option<Arc<User>> {
        self.inner.people.borrow().owner(key)
    }

    /// The user with this row, as known now.
    #[must_use]
    pub fn user(&self, id: UserId) -> Option<Arc<User>> {
        self.inner.people.borrow().by_id(id)
    }

    /// Where a person gets mail: an address that their provider has verified; nothing for who is suspended or sent away.
    #[must_use]
    pub fn address(&self, id: UserId) -> Option<EmailAddress> {
        self.inner.people.borrow().address(id).cloned()
    }

    /// Whether somebody vouches for a person now, and nobody keeps them out.
    #[must_use]
    pub fn stands(&self, user: &User) -> bool {
        access::stands(user, self.inner.clock.now()).is_ok()
    }

    /// Everybody as admins see them, as known now.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        self.inner.people.borrow().directory()
    }

    /// Whom a certificate's principal claims to be.
    #[must_use]
    pub fn claimed(&self, claim: &Claim) -> Option<Arc<User>> {
        let people = self.inner.people.borrow();
        match claim {
            Claim::Id(id) => people.by_id(*id),
            Claim::Name(name) => people.named(|known| known == name),
            Claim::Email(name) => people.named(|known| known.as_str().eq_ignore_ascii_case(name.as_str())),
        }
    }

    /// Everybody, as known now and at every later change.
    #[must_use]
    pub fn everybody(&self) -> watch::Receiver<Arc<Users>> {
        self.inner.everybody.subscribe()
    }

    /// Tells of every later change of people and keys.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes(self.inner.people.subscribe())
    }

    /// Follows what other replicas change, and asks providers again about people who are connected, until stopped.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            ((), (), ()) = async { tokio::join!(self.follow(), self.keep_renewing(), self.keep_reporting()) } => {}
        }
        self.report_strangers(true).await;
    }

    async fn follow(&self) {
        let mut away = false;
        loop {
            self.inner.clock.sleep(LOOK).await;
            let known = *self.inner.reading.lock().await;
            let looked = match self.inner.store.people_version().await {
                Ok(version) if version == known => Ok(()),
                Ok(_) => self.read().await,
                Err(error) => Err(error),
            };
            match looked {
                Ok(()) if std::mem::take(&mut away) => info!("people are followed again"),
                Ok(()) => {}
                Err(error) if !std::mem::replace(&mut away, true) => {
                    warn!(error = error.detail(), "people are as they were read last");
                }
                Err(_) => {}
            }
        }
    }

    /// Reads people and keys.
    async fn read(&self) -> Result<(), StoreError> {
        let mut reading = self.inner.reading.lock().await;
        // The version first: what changes meanwhile is read again.
        let version = self.inner.store.people_version().await?;
        let rows = Rows::read(&self.inner.store, self.inner.clock.now()).await?;
        let people = {
            let listed = self.inner.listed.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::new(People::of(&listed.users, (&listed.roles, &self.inner.ownership), &rows))
        };
        self.inner.everybody.send_replace(people.everybody());
        self.inner.people.send_replace(people);
        *reading = version;
        Ok(())
    }
}

/// Tells when people or keys have changed.
pub struct Changes(watch::Receiver<Arc<People>>);

impl Changes {
    /// Completes at the next change; never once nobody can make one. Cancel-safe.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
