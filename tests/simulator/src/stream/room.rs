//! One session inside the gateway: the client's leg, the agent's leg, and the relay between them.
//! The gateway acknowledges nothing and keeps no sequence; it only passes messages on, or tells one side that the other is away.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::behaviour::Behaviour;
use super::clock::now_ms;
use super::fault::Direction;
use super::frame::{HEADER, kind, peek_kind, peek_sequence};
use super::options::Options;
use super::passage::{Passage, Passed};
use super::tally::{Tally, add};
use super::wire::WireControl;
use super::words;

/// Messages between a leg's socket and the other leg. Enough for a delay of 250 ms at the service's message rate, and few
/// enough that a side which does not read soon stops the other.
pub(crate) const QUEUE: usize = 256;
/// Commands that overtake the queue; a test sends few of them.
const URGENT: usize = 16;
/// How long the end of a session waits for a client that does not read.
const CLOSING: Duration = Duration::from_secs(2);

/// What a client's writer is asked to do.
#[derive(Debug)]
pub(crate) enum Out {
    /// A message, not before its time.
    Message(Instant, Bytes),
    /// A text frame.
    Text(String),
    /// Bytes that are no WebSocket frame of ours.
    Raw(Bytes),
    /// A close frame; nothing follows.
    Close(u16, &'static str),
    /// The end without a close frame: of TCP, by a reset if so asked, in mid-frame if so asked.
    Cut { reset: bool, mid_frame: bool },
}

/// A message on its way to the agent; it is lost if the leg it was meant for is gone.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) due: Instant,
    pub(crate) leg: u64,
    pub(crate) frame: Bytes,
}

/// The agent's leg, as the agent sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    /// Whether the agent's WebSocket is connected.
    pub(crate) up: bool,
    /// Which of its WebSockets that is.
    pub(crate) leg: u64,
    /// Whether the agent was told to pause.
    pub(crate) paused: bool,
}

/// The gateway's side of a client's WebSocket.
struct ClientLeg {
    number: u64,
    queue: mpsc::Sender<Out>,
    urgent: mpsc::Sender<Out>,
    wire: Arc<WireControl>,
}

/// The client task's side of it.
pub(crate) struct Attached {
    pub(crate) number: u64,
    pub(crate) queue: mpsc::Receiver<Out>,
    pub(crate) urgent: mpsc::Receiver<Out>,
}

#[derive(Default)]
struct State {
    client: Option<ClientLeg>,
    client_id: Option<String>,
    legs: u64,
    up: Passage,
    down: Passage,
    closed: bool,
}

/// One session.
pub(crate) struct Room {
    pub(crate) session_id: String,
    pub(crate) space_arn: String,
    pub(crate) options: Arc<Options>,
    pub(crate) tally: Tally,
    pub(crate) behaviour: Behaviour,
    pub(crate) gate: watch::Sender<Gate>,
    /// Cancelled to end the session; the words are in `ending`.
    pub(crate) end: CancellationToken,
    ending: Mutex<Option<Ending>>,
    state: Mutex<State>,
    inbox: mpsc::Sender<Inbound>,
    last_message: Mutex<Instant>,
    client_gone: Mutex<Option<Instant>>,
    touched: Notify,
}

/// How a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// `Output` of the last message to the client.
    pub(crate) output: String,
    /// Whether that message overtakes what waits for the client.
    pub(crate) overtake: bool,
}

impl Ending {
    /// An end with words that waits its turn.
    pub(crate) fn with(output: impl Into<String>) -> Self {
        Self { output: output.into(), overtake: false }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Room {
    /// A session without legs, and where its agent will read.
    pub(crate) fn new(
        session_id: &str,
        space_arn: &str,
        options: Arc<Options>,
    ) -> (Arc<Self>, mpsc::Receiver<Inbound>) {
        let (inbox, inbound) = mpsc::channel(QUEUE);
        let (gate, _) = watch::channel(Gate { up: options.agent_connect.is_zero(), leg: 0, paused: false });
        let room = Self {
            session_id: session_id.to_owned(),
            space_arn: space_arn.to_owned(),
            options,
            tally: Tally::default(),
            behaviour: Behaviour::default(),
            gate,
            end: CancellationToken::new(),
            ending: Mutex::new(None),
            state: Mutex::default(),
            inbox,
            last_message: Mutex::new(Instant::now()),
            client_gone: Mutex::new(Some(Instant::now())),
            touched: Notify::new(),
        };
        (Arc::new(room), inbound)
    }

    /// Makes a WebSocket the client's leg; one that was there before is closed.
    pub(crate) fn attach(&self, client_id: &str, wire: Arc<WireControl>) -> Attached {
        let (queue, queue_out) = mpsc::channel(QUEUE);
        let (urgent, urgent_out) = mpsc::channel(URGENT);
        let mut state = locked(&self.state);
        state.legs += 1;
        let number = state.legs;
        match &state.client_id {
            Some(known) if known != client_id => {
                self.tally.violation("a resumed session came with another ClientId");
            }
            Some(_) => {}
            None => state.client_id = Some(client_id.to_owned()),
        }
        if let Some(old) = state.client.replace(ClientLeg { number, queue, urgent, wire }) {
            let _ = old.urgent.try_send(Out::Close(1000, "Bye"));
        }
        *locked(&self.client_gone) = None;
        add(&self.tally.attaches, 1);
        if state.closed {
            self.close_late(&state);
        }
        let up = self.gate.borrow().up;
        self.tell_client(&state, if up { kind::START } else { kind::PAUSE });
        drop(state);
        if up {
            self.unpause_agent();
        }
        Attached { number, queue: queue_out, urgent: urgent_out }
    }

    /// Closes a WebSocket that was attached while the session ended.
    fn close_late(&self, state: &State) {
        if let Some(leg) = &state.client {
            let _ = leg.urgent.try_send(Out::Close(1000, ""));
        }
    }

    /// The client's WebSocket is gone; the agent is told to pause, and the session waits for a resume.
    pub(crate) fn detach(&self, number: u64) {
        let mut state = locked(&self.state);
        if state.client.as_ref().is_some_and(|leg| leg.number == number) {
            state.client = None;
            *locked(&self.client_gone) = Some(Instant::now());
            drop(state);
            self.pause_agent();
            self.touched.notify_one();
        }
    }

    /// Whether a client's WebSocket is attached.
    pub(crate) fn client_connected(&self) -> bool {
        locked(&self.state).client.is_some()
    }

    /// The agent's WebSocket is there (again): both sides are told to go on.
    pub(crate) fn agent_connected(&self) {
        self.gate.send_modify(|gate| {
            gate.up = true;
            gate.leg += 1;
            gate.paused = false;
        });
        self.tell_client(&locked(&self.state), kind::START);
    }

    /// The agent's WebSocket is gone; what was on its way to it is lost.
    pub(crate) fn agent_gone(&self) {
        self.gate.send_modify(|gate| gate.up = false);
        self.tell_client(&locked(&self.state), kind::PAUSE);
    }

    /// The agent heard from the client or was told to start.
    pub(crate) fn unpause_agent(&self) {
        self.gate.send_if_modified(|gate| std::mem::replace(&mut gate.paused, false));
    }

    /// Tells the client to pause, for being too fast.
    pub(crate) fn pause_client(&self) {
        self.tell_client(&locked(&self.state), kind::PAUSE);
    }

    fn pause_agent(&self) {
        self.gate.send_if_modified(|gate| !std::mem::replace(&mut gate.paused, true));
    }

    /// Sends a start or pause to the client, if it is there and not stuck.
    fn tell_client(&self, state: &State, what: &str) {
        let Some(leg) = &state.client else { return };
        if what == kind::PAUSE {
            add(&self.tally.pauses, 1);
        }
        let message = words::publication(what, self.options.plain_publications);
        let _ = leg.queue.try_send(Out::Message(Instant::now(), message.encode()));
    }

    /// Relays a message of the client to the agent.
    pub(crate) async fn relay_up(&self, frame: Bytes) {
        let message_kind = peek_kind(&frame);
        match message_kind.as_ref() {
            kind::INPUT => {
                self.touch();
                let payload = frame.len().saturating_sub(HEADER);
                self.tally.message_up(peek_sequence(&frame).unwrap_or_default(), payload);
            }
            kind::ACKNOWLEDGE => add(&self.tally.up_acks, 1),
            other => {
                self.tally.violation(format!("the client sent a message of type {other:?}"));
                return;
            }
        }
        let passed = self.pass(Direction::Up, &message_kind, frame.clone());
        for (due, frame) in passed.out {
            let gate = *self.gate.borrow();
            if gate.up {
                // The agent lives as long as the session; without it there is nobody to tell.
                let _ = self.inbox.send(Inbound { due, leg: gate.leg, frame }).await;
            } else {
                self.tell_client(&locked(&self.state), kind::PAUSE);
            }
        }
    }

    /// Relays a message of the agent to the client.
    pub(crate) async fn relay_down(&self, frame: Bytes) {
        if !self.gate.borrow().up {
            return;
        }
        let message_kind = peek_kind(&frame);
        match message_kind.as_ref() {
            kind::OUTPUT => {
                self.touch();
                add(&self.tally.down_messages, 1);
                add(&self.tally.down_bytes, frame.len().saturating_sub(HEADER) as u64);
            }
            kind::ACKNOWLEDGE => add(&self.tally.down_acks, 1),
            // Session states are for the gateway alone.
            _ => return,
        }
        let passed = self.pass(Direction::Down, &message_kind, frame.clone());
        for (due, frame) in passed.out {
            let queue = locked(&self.state).client.as_ref().map(|leg| leg.queue.clone());
            let sent = match queue {
                Some(queue) => queue.send(Out::Message(due, frame)).await.is_ok(),
                None => false,
            };
            if !sent && !self.client_connected() {
                self.pause_agent();
            }
        }
    }

    fn pass(&self, direction: Direction, message_kind: &str, frame: Bytes) -> Passed {
        let mut state = locked(&self.state);
        let passage = match direction {
            Direction::Up => &mut state.up,
            Direction::Down => &mut state.down,
        };
        let passed = passage.pass(message_kind, frame, Instant::now());
        drop(state);
        add(&self.tally.lost_by_fault, passed.lost);
        passed
    }

    /// Changes what happens on the way in one direction.
    pub(crate) fn with_passage(&self, direction: Direction, change: impl FnOnce(&mut Passage)) {
        let mut state = locked(&self.state);
        match direction {
            Direction::Up => change(&mut state.up),
            Direction::Down => change(&mut state.down),
        }
    }

    /// Gives the client's writer a command that overtakes the queue.
    pub(crate) fn urgent(&self, out: Out) {
        if let Some(leg) = &locked(&self.state).client {
            let _ = leg.urgent.try_send(out);
        }
    }

    /// Freezes the client's socket.
    pub(crate) fn freeze(&self) {
        if let Some(leg) = &locked(&self.state).client {
            leg.wire.freeze();
        }
    }

    fn touch(&self) {
        *locked(&self.last_message) = Instant::now();
    }

    /// Returns when nothing was said for the idle time, or the client was away for too long.
    pub(crate) async fn overstayed(&self) -> Ending {
        loop {
            let idle_at = *locked(&self.last_message) + self.options.idle_timeout;
            let gone_at = match (self.options.keep_without_client, *locked(&self.client_gone)) {
                (Some(keep), Some(since)) => since + keep,
                _ => idle_at,
            };
            if Instant::now() >= idle_at.min(gone_at) {
                return Ending::with("Your session timed out due to inactivity and has been terminated.");
            }
            tokio::select! {
                () = tokio::time::sleep_until(idle_at.min(gone_at)) => {}
                () = self.touched.notified() => {}
            }
        }
    }

    /// Asks for the end of the session from outside of it; the first to ask chooses the words.
    pub(crate) fn finish(&self, ending: Ending) {
        locked(&self.ending).get_or_insert(ending);
        self.end.cancel();
    }

    /// Returns when somebody called [`Self::finish`].
    pub(crate) async fn finished(&self) -> Ending {
        self.end.cancelled().await;
        locked(&self.ending).clone().unwrap_or_else(|| Ending::with(""))
    }

    /// Tells the client that the session is over and closes its WebSocket.
    pub(crate) async fn say_closed(&self, ending: &Ending) {
        let leg = {
            let mut state = locked(&self.state);
            state.closed = true;
            state.client.take()
        };
        let Some(leg) = leg else { return };
        let message = words::channel_closed(&self.session_id, &ending.output, now_ms()).encode();
        let path = if ending.overtake { &leg.urgent } else { &leg.queue };
        let told = async {
            let _ = path.send(Out::Message(Instant::now(), message)).await;
            let _ = path.send(Out::Close(1000, "")).await;
        };
        if tokio::time::timeout(CLOSING, told).await.is_err() {
            let _ = leg.urgent.try_send(Out::Cut { reset: false, mid_frame: false });
        }
    }
}
