//! A session's handle: what `ssh` does with a space over one connection.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::info;

use super::Inner;
use super::channel::{Channel, ChannelStart};
use super::clock::within;
use super::errors::OpenError;
use super::incoming;
use super::link::{LinkError, SpaceChannel};
use super::links::{LinkRide, Wanted, unwatched};
use super::lock::lock;
use super::messages::Ear;
use super::pool::Role;
use super::raw;
use super::reach::Visitor;
use super::sessions::Live;
use super::start::SpaceChange;
use super::want::{Incoming, Notice, Progress, Purpose, Starts, Want};
use crate::domain::access::{Action, Because};
use crate::domain::actor::Actor;
use crate::domain::ending::{EndReason, StreamEnd};
use crate::domain::ids::SessionId;
use crate::domain::record::ChannelKind;
use crate::domain::space::{Space, SpaceState};
use crate::domain::space_news::SpaceNews;
use crate::telemetry::metrics as names;

/// The longest that the space may take to answer for one channel.
const CHANNEL_LIMIT: Duration = Duration::from_secs(30);

/// What an SSH server in a space leaves unset, and editors need (sagemaker reference, remote commands).
const HOME: (&str, &str) = ("HOME", "/home/sagemaker-user");
const USER: (&str, &str) = ("USER", "sagemaker-user");

/// Environment variables of the client's that are passed on for one channel.
const VARIABLES: usize = 64;

/// One user's use of one space over one connection. Cheap to clone; when the last copy goes, it ends.
#[derive(Clone)]
pub struct Session {
    handle: Arc<Handle>,
}

struct Handle {
    inner: Arc<Inner>,
    live: Arc<Live>,
    /// Held while `-R` listens in the space: the link must not linger out under it.
    forwards: Mutex<Vec<(String, u32, LinkRide)>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.live.abandon();
    }
}

impl Session {
    pub(super) fn new(inner: Arc<Inner>, live: Arc<Live>) -> Self {
        Self { handle: Arc::new(Handle { inner, live, forwards: Mutex::default() }) }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.handle.live.id
    }

    /// The space, as it was found.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.handle.live.space
    }

    /// Opens a channel in the space: shell, exec and subsystems start a stopped space and report to `progress`.
    ///
    /// # Errors
    /// Why it could not be opened; or the session's end, if that comes first.
    pub async fn open(
        &self,
        want: Want,
        progress: &watch::Sender<Option<Progress>>,
    ) -> Result<Channel, OpenError> {
        let clock = &self.handle.inner.clock;
        let begun = clock.elapsed();
        let opened = self.unless_ended(self.open_channel(want, progress)).await;
        let started = progress.borrow().as_ref().is_some_and(|shown| shown.from != SpaceState::Running);
        let name = if started { names::START_SECONDS } else { names::OPEN_SECONDS };
        let refused = opened.as_ref().err().map(OpenError::code);
        self.handle.live.tried(refused);
        let outcome = refused.unwrap_or("opened");
        let took = clock.elapsed().saturating_sub(begun);
        metrics::histogram!(name, "outcome" => outcome).record(took.as_secs_f64());
        opened
    }

    async fn open_channel(
        &self,
        want: Want,
        progress: &watch::Sender<Option<Progress>>,
    ) -> Result<Channel, OpenError> {
        let visitor = self.visitor(Action::Open).await?;
        let agent = want.agent && self.agent_allowed(&visitor).await;
        let role = role(&want, agent, self.id());
        let (channel, ride) = self.channel(&visitor, role, &want, agent, progress).await?;
        let start = ChannelStart {
            stream: ride.thing().stream,
            kind: want.purpose.kind(),
            detail: want.purpose.detail(),
            pty: want.pty.is_some(),
        };
        let (inner, live) = (&self.handle.inner, &self.handle.live);
        Ok(Channel::on_link(channel, ride, live, start, (&inner.journal, &inner.clock)).await)
    }

    /// Opens a stream of its own for SSH end to end. The channel carries raw bytes; it starts nothing.
    ///
    /// # Errors
    /// Why it could not be opened; or the session's end, if that comes first.
    pub async fn open_jump(&self) -> Result<Channel, OpenError> {
        let opened = self.unless_ended(self.open_raw()).await;
        self.handle.live.tried(opened.as_ref().err().map(OpenError::code));
        opened
    }

    async fn open_raw(&self) -> Result<Channel, OpenError> {
        let (inner, live) = (&self.handle.inner, &self.handle.live);
        let visitor = self.visitor(Action::Jump).await?;
        let (reach, space) = (inner.reach.clone(), self.space().clone());
        // A task of its own: a client that leaves meanwhile must not leave a stream without an end on record.
        let opening = async move { reach.stream(&visitor, &space, None, Starts::Never, &unwatched()).await };
        let opened = inner.tracker.spawn(opening).await;
        let (stream, run) = opened.map_err(|_| OpenError::Draining)??;
        let halves = raw::split(stream.bytes, live.cut.clone(), &inner.tracker);
        let start = ChannelStart { stream: stream.id, kind: ChannelKind::Jump, detail: None, pty: false };
        let channel = Channel::raw(halves, live, start, (&inner.journal, &inner.clock)).await;
        let (reach, live, ended) = (inner.reach.clone(), Arc::clone(live), stream.ended);
        live.jump_begins();
        inner.tracker.spawn(async move {
            let end = tokio::select! { end = ended.clone() => end, () = live.cut.cancelled() => return };
            let was_last = live.jump_ends();
            if end == StreamEnd::Closed {
                // A client that leaves closes the stream through us.
                return;
            }
            // The channel has told its client that it is over. Whoever has other jumps here keeps them, and an SSH
            // server that hangs up, as each does when its client is done, ends nothing else.
            match reach.loss(&live.space, run, ended).await {
                EndReason::SpaceStopped => live.end(EndReason::SpaceStopped),
                lost if was_last && !end.is_hang_up() => live.end(lost),
                _ => {}
            }
        });
        Ok(channel)
    }

    /// Whether the person's agent may be forwarded into the space: what to answer to a client that asks.
    ///
    /// # Errors
    /// Why not.
    pub fn may_forward_agent(&self) -> Result<(), Because> {
        let live = &self.handle.live;
        self.handle.inner.standing.still(live.user, &live.space, Action::ForwardAgent).map(|_| ())
    }

    /// Switches remote access on, which restarts a running space, and reports to `progress`.
    ///
    /// # Errors
    /// Why it could not be done; or the session's end, if that comes first.
    pub async fn switch_on_remote_access(
        &self,
        progress: &watch::Sender<Option<Progress>>,
    ) -> Result<(), OpenError> {
        self.unless_ended(async {
            let inner = &self.handle.inner;
            let visitor = self.visitor(Action::Open).await?;
            inner.reach.allowed(&visitor, self.space(), Action::Change).await?;
            let (session, connection) = (Some(visitor.session), visitor.connection);
            inner.reach.budgets.check(&visitor.user, (session, Some(connection)), self.space()).await?;
            let actor = Actor::person(&visitor.user);
            let change = SpaceChange { remote_access: Some(true), ..SpaceChange::default() };
            inner.starter.change(&actor, self.space(), &change, progress).await?;
            let (catalog, domain) = (inner.catalog.clone(), self.space().domain.clone());
            inner.tracker.spawn(async move { catalog.after_change(&domain).await });
            Ok(())
        })
        .await
    }

    /// Asks the space to listen for `-R`; answers the port.
    ///
    /// # Errors
    /// Why it does not; or the session's end, if that comes first.
    pub async fn remote_forward(&self, address: &str, port: u32) -> Result<u32, OpenError> {
        self.unless_ended(async {
            let visitor = self.visitor(Action::Open).await?;
            let role = Role::Private(self.id());
            let ride = self.ride(&visitor, role, Starts::Never, &unwatched()).await?;
            let clock = &*self.handle.inner.clock;
            let asked = within(clock, CHANNEL_LIMIT, ride.thing().link.tcpip_forward(address, port)).await;
            let bound = asked.unwrap_or(Err(LinkError::Gone))?;
            lock(&self.handle.forwards).push((address.to_owned(), bound, ride));
            Ok(bound)
        })
        .await
    }

    /// Ends a remote forward.
    ///
    /// # Errors
    /// When there is none, or the space does not answer.
    pub async fn cancel_remote_forward(&self, address: &str, port: u32) -> Result<(), OpenError> {
        let found = {
            let mut forwards = lock(&self.handle.forwards);
            let at = forwards.iter().position(|(a, p, _)| a == address && *p == port);
            at.map(|at| forwards.swap_remove(at))
        };
        let Some((_, _, ride)) = found else {
            return Err(OpenError::RefusedBySpace("no such remote forward".to_owned()));
        };
        let clock = &*self.handle.inner.clock;
        let asked = within(clock, CHANNEL_LIMIT, ride.thing().link.cancel_tcpip_forward(address, port)).await;
        asked.unwrap_or(Err(LinkError::Gone)).map_err(OpenError::from)
    }

    /// What the space opens towards the client. May be taken once.
    #[must_use]
    pub fn incoming(&self) -> Option<mpsc::Receiver<Incoming>> {
        self.handle.live.take_incoming()
    }

    /// Words to everybody in the session.
    #[must_use]
    pub fn notices(&self) -> watch::Receiver<Option<Notice>> {
        self.handle.live.notices.subscribe()
    }

    /// What becomes of the space.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<Option<SpaceNews>> {
        self.handle.live.news.subscribe()
    }

    /// What admins write. Only a terminal listens: as many as do are said to have it.
    #[must_use]
    pub fn ear(&self) -> Ear {
        self.handle.live.ear()
    }

    /// Completes when the gateway ends the session: an admin, the policy, a drain, a lost stream, a stopped space.
    pub async fn ended(&self) -> EndReason {
        self.handle.live.ended().await
    }

    /// The client's side is over. The first reason stands; the row is written before this returns.
    pub async fn close(&self, reason: EndReason) {
        lock(&self.handle.forwards).clear();
        self.handle.live.close(reason).await;
    }

    /// Who this is now, if the policy still allows the action. A no ends the session, and is written down.
    async fn visitor(&self, action: Action) -> Result<Visitor, OpenError> {
        let (inner, live) = (&self.handle.inner, &self.handle.live);
        let because = match inner.standing.still(live.user, &live.space, action) {
            Ok((user, _)) => {
                return Ok(Visitor { user, session: live.id, connection: live.connection.id });
            }
            Err(because) => because,
        };
        live.end(EndReason::NoLongerAllowed(because.clone()));
        let audit = inner.audit_lost_right(live, action, &because).await;
        Err(OpenError::Denied { because, audit })
    }

    /// An agent that may not come in is left outside, as `AllowAgentForwarding no` does; the channel opens.
    async fn agent_allowed(&self, visitor: &Visitor) -> bool {
        self.handle.inner.reach.allowed(visitor, self.space(), Action::ForwardAgent).await.is_ok()
    }

    async fn ride(
        &self,
        visitor: &Visitor,
        role: Role,
        starts: Starts,
        progress: &watch::Sender<Option<Progress>>,
    ) -> Result<LinkRide, OpenError> {
        let (inner, live) = (&self.handle.inner, &self.handle.live);
        let wanted = Wanted { visitor, space: &live.space, role, starts, until: &live.cut };
        let ride = inner.links.ride(&wanted, progress).await?;
        if matches!(role, Role::Private(_)) {
            incoming::serve(inner, live, &ride);
        }
        Ok(ride)
    }

    /// A channel in the space, ready for bytes. A link that turns out to be gone is replaced once.
    async fn channel(
        &self,
        visitor: &Visitor,
        role: Role,
        want: &Want,
        agent: bool,
        progress: &watch::Sender<Option<Progress>>,
    ) -> Result<(SpaceChannel, LinkRide), OpenError> {
        let mut replaced = false;
        loop {
            let ride = self.ride(visitor, role, want.purpose.starts(want.pty.is_some()), progress).await?;
            let work = set_up(&ride, want, agent);
            let done = within(&*self.handle.inner.clock, CHANNEL_LIMIT, work).await;
            match done {
                Some(Ok(channel)) => return Ok((channel, ride)),
                Some(Err(LinkError::Gone)) if !replaced => replaced = true,
                Some(Err(error)) => return Err(error.into()),
                None => return Err(OpenError::SpaceSsh(format!("no answer in {CHANNEL_LIMIT:?}"))),
            }
            info!(session.id = %self.id(), "the link was gone; a new one is opened");
        }
    }

    async fn unless_ended<T>(
        &self,
        work: impl Future<Output = Result<T, OpenError>>,
    ) -> Result<T, OpenError> {
        tokio::select! {
            biased;
            reason = self.ended() => Err(OpenError::Ended(reason)),
            done = work => done,
        }
    }
}

/// Which link serves a channel.
const fn role(want: &Want, agent: bool, session: SessionId) -> Role {
    match want.purpose {
        Purpose::Forward { .. } => Role::Bulk,
        _ if agent => Role::Private(session),
        Purpose::Shell => Role::Interactive,
        Purpose::Exec(_) | Purpose::Subsystem(_) if want.pty.is_some() => Role::Interactive,
        Purpose::Exec(_) | Purpose::Subsystem(_) => Role::Bulk,
    }
}

/// Opens and prepares a channel, in the order that OpenSSH's client uses.
async fn set_up(ride: &LinkRide, want: &Want, agent: bool) -> Result<SpaceChannel, LinkError> {
    let link = &ride.thing().link;
    if let Purpose::Forward { host, port, originator } = &want.purpose {
        return link.open_tcp(host, *port, (&originator.0, originator.1)).await;
    }
    let channel = link.open_session().await?;
    if agent && let Err(error) = channel.agent().await {
        info!(space.name = %ride.thing().space.name(), %error, "the space takes no agent");
    }
    if let Some(pty) = &want.pty {
        channel.pty(pty).await?;
    }
    channel.env(HOME.0, HOME.1).await?;
    channel.env(USER.0, USER.1).await?;
    for (name, value) in want.env.iter().take(VARIABLES) {
        channel.env(name, value).await?;
    }
    match &want.purpose {
        Purpose::Shell => channel.shell().await?,
        Purpose::Exec(command) => channel.exec(command).await?,
        Purpose::Subsystem(name) => channel.subsystem(name).await?,
        Purpose::Forward { .. } => {}
    }
    Ok(channel)
}
