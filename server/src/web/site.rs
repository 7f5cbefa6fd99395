//! The pages' listener, router and what all pages need.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;

use super::api;
use super::doors::{Doors, TlsError, server_config};
use super::guard;
use super::ledger::Ledger;
use super::live::{self, Live};
use super::pages::{
    self, Problem, approve, audit, certificate, connect, cost, grants, health, home, keys, logins, policies,
    sessions, signin, space, spaces, tokens, users,
};
use super::serve::serve;
use crate::config::{Provider, PublicUrl, Web};
use crate::domain::ids::UserId;
use crate::domain::ports::Clock;
use crate::domain::rate::Turns;
use crate::gateway::Gateway;
use crate::identity::Identity;
use crate::identity::certificates::Certificates;
use crate::ssh::{Address, SharedPort};
use crate::store::Store;

/// The stylesheet, built in.
const STYLE: &str = include_str!("../../../templates/spaceport.css");
/// What pages can do with scripting, built in.
const SCRIPT: &str = include_str!("../../../templates/spaceport.js");
/// What keeps pages up to date while they are open, built in.
const LIVE_SCRIPT: &str = include_str!("../../../templates/live.js");
/// The icon in a browser's tab.
const ICON: &str = include_str!("../../../templates/icon.svg");

const MINUTE: Duration = Duration::from_secs(60);

/// What pages are made from.
pub struct Site {
    pub(super) identity: Identity,
    pub(super) certificates: Certificates,
    pub(super) store: Store,
    pub(super) gateway: Gateway,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) address: Address,
    pub(super) host_key: HostKey,
    pub(super) ledger: Ledger,
    pub(super) public_url: PublicUrl,
    pub(super) trusted_proxies: BTreeSet<IpAddr>,
    pub(super) content_policy: HeaderValue,
    pub(super) live: Live,
    /// What each person's browsers still may ask for.
    turns: Mutex<Turns<UserId>>,
    /// Where the pages' port takes SSH, as people reach it.
    pub(super) shared_address: Option<Address>,
    shared_port: Option<SharedPort>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// What a site is made of.
pub struct Parts<'a> {
    /// Its settings.
    pub web: &'a Web,
    /// Who people sign in with.
    pub providers: &'a [Provider],
    /// Who people are.
    pub identity: Identity,
    /// Whose certificates are taken.
    pub certificates: Certificates,
    /// Postgres.
    pub store: Store,
    /// Spaces.
    pub gateway: Gateway,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How people reach the gateway by ssh.
    pub address: Address,
    /// By what they know it there.
    pub host_key: HostKey,
    /// The way in for SSH, if the port of the pages takes that too.
    pub shared_port: Option<SharedPort>,
    /// What auditors look at.
    pub ledger: Ledger,
}

/// The SSH host key, as people compare it.
#[derive(Debug, Clone)]
pub struct HostKey {
    /// `SHA256:…`.
    pub fingerprint: String,
    /// The line of `known_hosts`.
    pub known_host: String,
}

impl Site {
    /// Puts the site together; it does nothing until it is served.
    ///
    /// # Errors
    /// When the TLS files do not do.
    pub fn new(parts: Parts<'_>) -> Result<Self, TlsError> {
        let Parts {
            web,
            providers,
            identity,
            certificates,
            store,
            gateway,
            clock,
            address,
            host_key,
            shared_port,
            ledger,
        } = parts;
        // Signing out goes on to the provider, and browsers hold a form's redirects against `form-action`.
        let issuers: BTreeSet<String> = providers.iter().map(|provider| provider.issuer.origin()).collect();
        let issuers: String = issuers.into_iter().map(|origin| format!(" {origin}")).collect();
        let policy = format!(
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
             form-action 'self'{issuers}; frame-ancestors 'none'; base-uri 'none'"
        );
        Ok(Self {
            identity,
            certificates,
            live: Live::new(store.clone()),
            turns: Mutex::new(Turns::new(web.page_requests_per_minute, MINUTE)),
            store,
            gateway,
            clock,
            address,
            host_key,
            ledger,
            shared_address: shared_port.is_some().then(|| Address {
                host: web.public_url.host(),
                port: web.public_url.port(),
                pages: None,
            }),
            shared_port,
            public_url: web.public_url.clone(),
            trusted_proxies: web.trusted_proxies.clone(),
            content_policy: HeaderValue::from_str(&policy)
                .unwrap_or(HeaderValue::from_static("default-src 'none'")),
            tls: web.tls.as_ref().map(server_config).transpose()?,
        })
    }

    /// Serves the pages until cancelled.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let doors = Doors::new(listener, self.tls.clone(), self.shared_port.clone());
        let site = Arc::new(self);
        let streams = Arc::clone(&site);
        // Open streams would be waited for.
        let ending = stop.clone();
        let ended = async move {
            ending.cancelled().await;
            streams.live.end();
            streams.live.ended().await;
        };
        tokio::join!(serve(doors, router(site), stop), ended);
    }

    /// Lets somebody's browsers ask for one more page.
    ///
    /// # Errors
    /// How long they wait for it.
    pub(super) fn turn(&self, user: UserId) -> Result<(), Duration> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.take(user, self.clock.elapsed())
    }

    /// The login's cookie. The prefix has browsers refuse one that another host or plain http has set.
    pub(super) fn login_cookie(&self) -> &'static str {
        if self.public_url.is_https() { "__Host-spaceport" } else { "spaceport" }
    }

    /// The cookie of a sign-in that is under way.
    pub(super) fn sign_in_cookie(&self) -> &'static str {
        if self.public_url.is_https() { "__Host-spaceport-signin" } else { "spaceport-signin" }
    }
}

fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/signin", get(signin::choose))
        .route("/signin/{provider}", get(signin::depart))
        .route("/signin/{provider}/callback", get(signin::arrive))
        .route("/signout", post(signin::sign_out))
        .route("/k/{approval}", get(approve::show).post(approve::answer))
        .route("/spaces", get(spaces::list))
        .route("/spaces/{domain}/{space}", get(space::show))
        .route("/spaces/{domain}/{space}/hold", post(space::hold))
        .route("/spaces/{domain}/{space}/stop", post(space::stop))
        .route("/spaces/{domain}/{space}/start", post(space::start))
        .route("/connect", get(connect::show))
        .route("/keys", get(keys::list).post(keys::add))
        .route("/keys/{key}/remove", post(keys::remove))
        .route("/keys/certificate", post(certificate::issue))
        .route("/tokens", get(tokens::list).post(tokens::make))
        .route("/tokens/{token}/revoke", post(tokens::revoke))
        .route("/logins", get(logins::list))
        .route("/logins/{login}/end", post(logins::end))
        .route("/sessions", get(sessions::live::list))
        .route("/sessions/history", get(sessions::history::list))
        .route("/sessions/history.csv", get(sessions::history::csv))
        .route("/sessions/history.jsonl", get(sessions::history::jsonl))
        .route("/sessions/{session}", get(sessions::one::show))
        .route("/sessions/{session}/end", post(sessions::live::end))
        .route("/sessions/{session}/message", post(sessions::message::send))
        .route("/live/sessions", get(live::sessions::stream))
        .route("/live/spaces", get(live::spaces::stream))
        .route("/users", get(users::list))
        .route("/users.csv", get(users::export::csv))
        .route("/users.jsonl", get(users::export::jsonl))
        .route("/users/{user}", get(users::one::show))
        .route("/users/{user}/keys/{key}/remove", post(users::one::remove_key))
        .route("/users/{user}/suspend", post(users::suspend))
        .route("/users/{user}/resume", post(users::resume))
        .route("/audit", get(audit::list))
        .route("/audit.csv", get(audit::csv))
        .route("/audit.jsonl", get(audit::jsonl))
        .route("/policies", get(policies::show))
        .route("/health", get(health::show))
        .route("/cost", get(cost::show))
        .route("/cost.csv", get(cost::export))
        .route("/grants", get(grants::list).post(grants::add))
        .route("/grants/{grant}/end", post(grants::end))
        .route("/assets/spaceport.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .route("/assets/spaceport.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/assets/live.js", get(|| async { asset("text/javascript; charset=utf-8", LIVE_SCRIPT) }))
        .route("/assets/icon.svg", get(|| async { asset("image/svg+xml", ICON) }))
        .fallback(|| async { Problem::NotFound })
        .layer(axum::extract::DefaultBodyLimit::max(pages::LARGEST_FORM))
        // The API takes no cookies, so nobody else's page can use it.
        .layer(middleware::from_fn_with_state(Arc::clone(&site), guard::own_only))
        .nest(api::ROOT, api::router(&site))
        .layer(middleware::from_fn_with_state(Arc::clone(&site), guard::headers))
        // Pages of many rows are mostly the same words. Streams of events go as they are. No page holds a secret beside
        // what a stranger could have put there, so that its length tells nothing.
        .layer(CompressionLayer::new())
        .with_state(site)
}

fn asset(kind: &'static str, text: &'static str) -> impl axum::response::IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=3600")], text)
}
