//! Every bound and every wait of the protocol, with its reason. [`Limits::default`] is what production uses.

use std::time::Duration;

/// What we call ourselves. Agents choose behaviour by it, and 1.2.764.0 is the least that AWS still supports.
pub const CLIENT_VERSION: &str = "1.2.764.0";

/// The largest message that is parsed. Agents send 1 KiB, the known ceiling of the gateway is 128 KiB; twice
/// that leaves room and still bounds what one message can make us hold.
pub const MAX_FRAME: usize = 256 * 1024;

/// What every sender of AWS's own uses, and what we fall back to.
pub const SMALL_PAYLOAD: usize = 1024;

/// Above 32 KiB a WebSocket message outgrows its 16-bit length, and nobody has reported larger ones to work.
pub const MAX_PAYLOAD: usize = 32 * 1024;

/// Payloads are large only while at least this much waits. Below it small ones do as well, and so no SSH
/// handshake depends on whether the gateway takes large ones.
pub const BULK: usize = 4 * 1024;

/// The longest words of the other side that are kept for people.
pub const MAX_WORDS: usize = 4 * 1024;

/// The longest name of the other side that is repeated.
pub const MAX_NAME: usize = 64;

/// How many acknowledgements may wait for the socket before nothing more is read from it. One is owed per
/// message received, so without a bound a peer that sends and never reads would fill our memory.
pub const MAX_WAITING_ACKS: usize = 4096;

/// What a parked or unacknowledged message costs beside its payload: header, map entry, allocation.
pub const MESSAGE_OVERHEAD: usize = 256;

/// How far ahead of the next expected sequence number a message may be to be parked: as far as agents go.
pub const MAX_AHEAD: u64 = 100_000;

/// Handshake answers one session may ask for. An honest agent asks once.
pub const MAX_HANDSHAKES: u32 = 4;

/// Bounds and waits of one channel.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Unacknowledged bytes in flight. 1 MiB fills 14 MB/s at a round trip of 75 ms.
    pub window_bytes: usize,
    /// How far sequence numbers may run ahead of the oldest unacknowledged one. Agents park 100 000; a tenth
    /// of a second at the message rate is 85, so 1024 covers any round trip that SSH is usable on.
    pub window_messages: u64,
    /// Bytes accepted from the user and not yet sent: four large payloads, so that small writes coalesce.
    pub upload_buffer: usize,
    /// In-order bytes that wait for the user. From here on the socket is not read.
    pub receive_buffer: usize,
    /// Bytes parked behind a gap, overhead included. Agents resend one message per round and go on sending at
    /// 0.8 MB/s meanwhile, so a gap of a few dozen messages collects megabytes.
    pub reorder_buffer: usize,
    /// Largest payload of a message to the agent; at most [`MAX_PAYLOAD`].
    pub max_payload: usize,
    /// Messages per second. The gateway throttles at about 1000; `None` switches the bucket off (benchmarks
    /// only).
    pub messages_per_second: Option<u32>,
    /// Messages that may go at once after a rest.
    pub message_burst: u32,
    /// From the open socket to the end of the handshake. Agents give up after 15 s themselves.
    pub handshake: Duration,
    /// How long the user's bytes wait for the SSH server's banner, which proves that the agent's TCP
    /// connection is up.
    pub hold: Duration,
    /// An agent's leg comes back within about 10 s if it comes back at all.
    pub peer_absent: Duration,
    /// How long an absence lasts before an idle channel asks for the agent with an empty message: the service's word
    /// that it is back may be missing.
    pub absence_probe: Duration,
    /// How long the oldest message may be unacknowledged, without progress, before the stream is given up.
    pub unacknowledged: Duration,
    /// How long a gap in what the agent sends may last. Agents resend at least once a second.
    pub gap: Duration,
    /// After `channel_closed`, how long missing messages may still arrive: it is not sequenced and can
    /// overtake them.
    pub closed_grace: Duration,
    /// On close, how long unacknowledged bytes are waited for.
    pub drain: Duration,
    /// On close, how long the answer to `TerminateSession` is waited for.
    pub terminate: Duration,
    /// A socket that dies this soon after the first large payload is taken to have died of it.
    pub large_payload_suspicion: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_bytes: 1024 * 1024,
            window_messages: 1024,
            upload_buffer: 64 * 1024,
            receive_buffer: 1024 * 1024,
            reorder_buffer: 4 * 1024 * 1024,
            max_payload: 16 * 1024,
            messages_per_second: Some(850),
            message_burst: 100,
            handshake: Duration::from_secs(25),
            hold: Duration::from_secs(1),
            peer_absent: Duration::from_secs(75),
            absence_probe: Duration::from_secs(5),
            unacknowledged: Duration::from_secs(90),
            gap: Duration::from_secs(90),
            closed_grace: Duration::from_secs(1),
            drain: Duration::from_secs(5),
            terminate: Duration::from_secs(2),
            large_payload_suspicion: Duration::from_secs(2),
        }
    }
}

impl Limits {
    /// The most that one channel ever holds in buffers, whatever arrives.
    #[must_use]
    pub const fn most_held(&self) -> usize {
        let inbound = self.receive_buffer + MAX_FRAME + self.reorder_buffer;
        let outbound = self.upload_buffer + self.window_bytes + MAX_PAYLOAD + MESSAGE_OVERHEAD;
        let answers = MAX_HANDSHAKES as usize * 8 * 1024;
        inbound + self.reorder_buffer + outbound + answers + MAX_WAITING_ACKS * MESSAGE_OVERHEAD
    }
}
