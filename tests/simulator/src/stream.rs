//! The stream side of the simulator: the message gateway with its data channels, and the agents in the spaces.
//! What a session is, who may open it and which space it reaches is the account's business ([`crate::sessions`]).

mod agent;
mod behaviour;
mod client;
mod clock;
mod fault;
mod frame;
mod options;
mod passage;
mod room;
mod rto;
mod tally;
#[cfg(test)]
mod tests;
mod upgrade;
mod wire;
mod words;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::behaviour::Order;
use self::passage::Mischief;
use self::room::{Ending, Inbound, Out, Room};
use crate::sessions::{Claimed, Sessions, StreamFaults};

pub use self::fault::{CloseHow, Direction, Fault, Oddity, Target};
pub use self::options::{Options, Pacing};
pub use self::tally::Counters;

/// The message gateway and all its live streams. Clones share them.
#[derive(Clone)]
pub struct Streams {
    inner: Arc<Inner>,
}

struct Inner {
    sessions: Arc<dyn Sessions>,
    options: Arc<Options>,
    state: Mutex<State>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    live: HashMap<String, Live>,
    /// Sessions that are over: nobody enters them again, whatever token they bring.
    over: HashSet<String>,
    standing: Vec<(Target, Fault)>,
    /// Counters of streams that are over.
    past: Vec<StreamInfo>,
}

struct Live {
    room: Arc<Room>,
    /// What the agent starts with; taken when it starts.
    start: Option<(mpsc::Receiver<Inbound>, SocketAddr)>,
}

/// A stream as it is now, or as it ended.
#[derive(Clone, Debug, Serialize)]
pub struct StreamInfo {
    /// The session.
    pub session_id: String,
    /// ARN of the space it reaches.
    pub space_arn: String,
    /// Whether a client's WebSocket is attached.
    pub client_connected: bool,
    /// Whether the agent's is.
    pub agent_connected: bool,
    /// What was counted.
    pub counters: Counters,
    /// What the client did that a right client does not do.
    pub violations: Vec<String>,
}

impl Streams {
    /// A gateway without streams.
    #[must_use]
    pub fn new(sessions: Arc<dyn Sessions>, options: Options) -> Self {
        Self {
            inner: Arc::new(Inner {
                sessions,
                options: Arc::new(options),
                state: Mutex::default(),
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
            }),
        }
    }

    /// The routes of the gateway.
    pub fn router(&self) -> Router {
        Router::new().route("/v1/data-channel/{id}", get(upgrade::open)).with_state(self.clone())
    }

    /// The live streams, of one space or of all.
    #[must_use]
    pub fn live(&self, space_arn: Option<&str>) -> Vec<StreamInfo> {
        let state = self.state();
        let rooms = state.live.values().map(|live| &live.room);
        rooms
            .filter(|room| space_arn.is_none_or(|arn| arn == room.space_arn))
            .map(|room| info(room))
            .collect()
    }

    /// A stream, live or over.
    #[must_use]
    pub fn stream(&self, session_id: &str) -> Option<StreamInfo> {
        let state = self.state();
        let live = state.live.get(session_id).map(|live| info(&live.room));
        live.or_else(|| state.past.iter().find(|past| past.session_id == session_id).cloned())
    }

    /// The streams that are over, oldest first.
    #[must_use]
    pub fn past(&self) -> Vec<StreamInfo> {
        self.state().past.clone()
    }

    /// Ends every stream, as if the service went away, and waits for all tasks.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Ends the streams of a space with words, as when its app is deleted.
    pub fn end_space(&self, space_arn: &str, words: &str) {
        let fault = Fault::ChannelClosed { output: words.to_owned(), overtake: false };
        self.fault(Target::Space(space_arn.to_owned()), fault);
    }

    /// Strikes streams with a fault.
    pub fn fault(&self, target: Target, fault: Fault) {
        let mut state = self.state();
        for live in state.live.values() {
            if target.hits(&live.room.session_id, &live.room.space_arn) {
                self.strike(&live.room, &fault);
            }
        }
        if fault == Fault::Clear {
            state.standing.retain(|(standing, _)| target != Target::All && *standing != target);
        } else if fault.stands() {
            state.standing.push((target, fault));
        }
    }

    fn strike(&self, room: &Arc<Room>, fault: &Fault) {
        let ms = Duration::from_millis;
        let pick = |direction, nth, count, what| {
            room.with_passage(direction, |passage| passage.pick(nth, count, what));
        };
        match fault.clone() {
            Fault::RefuseUpgrade { .. } => {}
            Fault::AttachLate { ms: late } => room.behaviour.change(|habits| habits.attach_late = ms(late)),
            Fault::Drop { direction, nth, count } => pick(direction, nth, count, Mischief::Drop),
            Fault::Duplicate { direction, nth, count } => pick(direction, nth, count, Mischief::Duplicate),
            Fault::Reorder { direction, nth, count } => pick(direction, nth, count, Mischief::Reorder),
            Fault::Corrupt { direction, nth, count } => pick(direction, nth, count, Mischief::Corrupt),
            Fault::LoseAcks { direction, count } => {
                room.with_passage(direction, |passage| passage.lose_acks(count.unwrap_or(u64::MAX)));
            }
            Fault::Delay { direction, ms: delay, jitter_ms } => {
                room.with_passage(direction, |passage| passage.delay(ms(delay), ms(jitter_ms)));
            }
            Fault::NeverHandshake => room.behaviour.change(|habits| habits.never_handshake = true),
            Fault::NoHandshake => room.behaviour.change(|habits| habits.no_handshake = true),
            Fault::HandshakeTwice => room.behaviour.change(|habits| habits.handshake_twice = true),
            Fault::DialDelay { ms: delay } => room.behaviour.change(|habits| habits.dial_delay = ms(delay)),
            Fault::RefuseDial => room.behaviour.change(|habits| habits.refuse_dial = true),
            Fault::SmallPayloads { bytes, count } => {
                room.behaviour.change(|habits| habits.small = (count > 0).then_some((bytes, count)));
            }
            Fault::StallAgent => room.behaviour.stall(true),
            Fault::ResumeAgent => room.behaviour.stall(false),
            Fault::KillAgent { ms: time } => self.kill_agent(room, time.map(ms)),
            Fault::SkipSequence { by } => room.behaviour.order(Order::SkipSequence(by)),
            Fault::AgentPayload { payload_type, payload } => {
                room.behaviour.order(Order::Send(payload_type, payload.into()));
            }
            Fault::CloseClients { how } => room.urgent(match how {
                CloseHow::Bye => Out::Close(1000, "Bye"),
                CloseHow::Drop => Out::Cut { reset: false, mid_frame: false },
                CloseHow::Reset => Out::Cut { reset: true, mid_frame: false },
                CloseHow::MidFrame => Out::Cut { reset: false, mid_frame: true },
            }),
            Fault::ChannelClosed { output, overtake } => room.finish(Ending { output, overtake }),
            Fault::Send { what } => room.urgent(client::oddity(what)),
            Fault::HalfOpen => room.freeze(),
            Fault::Clear => {
                room.behaviour.change(|habits| *habits = behaviour::Habits::default());
                room.behaviour.stall(false);
                for direction in [Direction::Up, Direction::Down] {
                    room.with_passage(direction, passage::Passage::clear);
                }
            }
        }
    }

    fn kill_agent(&self, room: &Arc<Room>, time: Option<Duration>) {
        room.agent_gone();
        let Some(time) = time else { return };
        let room = Arc::clone(room);
        self.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(time) => room.agent_connected(),
                () = room.end.cancelled() => {}
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Runs a task that ends with the gateway.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.inner.stop.clone();
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Returns when the gateway shuts down.
    pub(crate) async fn stopping(&self) {
        self.inner.stop.cancelled().await;
    }

    /// Judges an upgrade request.
    pub(crate) fn may_open(
        &self,
        session_id: &str,
        method: &str,
        path: &str,
        headers: &[(String, String)],
    ) -> Result<(), u16> {
        for (target, fault) in &mut self.state().standing {
            let Fault::RefuseUpgrade { status, times } = fault else { continue };
            if !target.hits(session_id, "") || *times == Some(0) {
                continue;
            }
            *times = times.map(|left| left - 1);
            return Err(*status);
        }
        self.inner.sessions.authorize_open(session_id, method, path, headers)
    }

    /// Lets a client into its session by its token; a new session gets an agent with [`Self::run`].
    pub(crate) fn enter(&self, session_id: &str, token: &str) -> Result<Arc<Room>, String> {
        let Claimed { space_arn, ssh } = self.inner.sessions.claim(session_id, token)?;
        let mut state = self.state();
        if state.over.contains(session_id) {
            return Err("the session is over".to_owned());
        }
        if let Some(live) = state.live.get(session_id) {
            return Ok(Arc::clone(&live.room));
        }
        let (room, inbox) = Room::new(session_id, &space_arn, Arc::clone(&self.inner.options));
        let standing = state.standing.iter().filter(|(target, _)| target.hits(session_id, &space_arn));
        for (_, fault) in standing {
            self.strike(&room, fault);
        }
        let live = Live { room: Arc::clone(&room), start: Some((inbox, ssh)) };
        state.live.insert(session_id.to_owned(), live);
        Ok(room)
    }

    /// Starts the agent of a session, the first time that its client is there.
    pub(crate) fn run(&self, room: &Arc<Room>) {
        let start = self.state().live.get_mut(&room.session_id).and_then(|live| live.start.take());
        let Some((inbox, ssh)) = start else { return };
        let (streams, room) = (self.clone(), Arc::clone(room));
        self.spawn(async move {
            let ending = tokio::select! {
                ending = agent::run(Arc::clone(&room), inbox, ssh) => ending,
                ending = room.overstayed() => ending,
                ending = room.finished() => ending,
            };
            room.end.cancel();
            tracing::debug!(session.id = %room.session_id, output = %ending.output, "stream over");
            room.say_closed(&ending).await;
            {
                let mut state = streams.state();
                state.live.remove(&room.session_id);
                state.over.insert(room.session_id.clone());
                state.past.push(info(&room));
            }
            streams.inner.sessions.released(&room.session_id);
        });
    }
}

impl StreamFaults for Streams {
    fn apply(&self, fault: serde_json::Value) -> Result<(), String> {
        let (target, fault) = fault::parse(fault)?;
        self.fault(target, fault);
        Ok(())
    }
}

fn info(room: &Room) -> StreamInfo {
    StreamInfo {
        session_id: room.session_id.clone(),
        space_arn: room.space_arn.clone(),
        client_connected: room.client_connected(),
        agent_connected: room.gate.borrow().up,
        counters: room.tally.counters(),
        violations: room.tally.violations(),
    }
}
