//! A channel on a bench: a hand-moved clock, and messages passed by hand.

use std::time::Duration;

use ssm_datachannel::Moment;
use ssm_datachannel::channel::{Channel, End, Event};
use ssm_datachannel::limits::Limits;

use super::wire::{self, Msg};

pub(crate) struct Bench {
    pub(crate) channel: Channel,
    pub(crate) now: Moment,
    next_seq: i64,
}

impl Bench {
    /// The socket is open, nothing was said.
    pub(crate) fn new(limits: Limits) -> Self {
        let mut channel = Channel::new(limits, 7, 1_700_000_000_000);
        channel.opened(Moment::START);
        Self { channel, now: Moment::START, next_seq: 0 }
    }

    /// After the handshake, before the SSH server's banner.
    pub(crate) fn after_handshake(limits: Limits) -> Self {
        let mut bench = Self::new(limits);
        bench.give(&Msg::handshake_request(0, wire::PORT));
        bench.accept_all();
        bench.give(&Msg::handshake_complete(1));
        bench.accept_all();
        bench.next_seq = 2;
        assert!(matches!(bench.channel.event(), Some(Event::HandshakeComplete { .. })));
        bench
    }

    /// After the banner: everything flows.
    pub(crate) fn open(limits: Limits) -> Self {
        let mut bench = Self::after_handshake(limits);
        bench.output(b"SSH-2.0-Go\r\n");
        bench.accept_all();
        assert_eq!(bench.read(), b"SSH-2.0-Go\r\n");
        bench
    }

    pub(crate) fn give(&mut self, msg: &Msg) {
        self.give_raw(&msg.encode());
    }

    pub(crate) fn give_raw(&mut self, message: &[u8]) {
        self.channel.receive(self.now, message.to_vec().into());
    }

    /// The agent's next bytes.
    pub(crate) fn output(&mut self, bytes: &[u8]) -> i64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.give(&Msg::output(seq, wire::OUTPUT, bytes));
        seq
    }

    /// A place in the agent's sequence, for a message that the test makes itself.
    pub(crate) fn take_seq(&mut self) -> i64 {
        self.next_seq += 1;
        self.next_seq - 1
    }

    /// Everything that the channel writes now.
    pub(crate) fn sent(&mut self) -> Vec<Msg> {
        std::iter::from_fn(|| self.channel.transmit(self.now)).map(|message| Msg::decode(&message)).collect()
    }

    /// What of it is of the sequence.
    pub(crate) fn sent_data(&mut self) -> Vec<Msg> {
        self.sent().into_iter().filter(|msg| msg.kind == "input_stream_data").collect()
    }

    /// The acknowledgements among it.
    pub(crate) fn sent_acks(&mut self) -> Vec<i64> {
        self.sent().iter().filter_map(Msg::acks).collect()
    }

    pub(crate) fn ack(&mut self, seq: i64) {
        self.give(&Msg::ack("input_stream_data", &[1; 16], seq));
    }

    /// Acknowledges whatever is written now, and gives it back.
    pub(crate) fn accept_all(&mut self) -> Vec<Msg> {
        let mut all = Vec::new();
        loop {
            let data = self.sent_data();
            if data.is_empty() {
                return all;
            }
            data.iter().for_each(|msg| self.ack(msg.seq));
            all.extend(data);
        }
    }

    /// Moves the clock, stopping at each deadline, and collects what is written when, in milliseconds from
    /// here.
    pub(crate) fn wait(&mut self, wait: Duration) -> Vec<(u64, Msg)> {
        let (start, end) = (self.now, self.now + wait);
        let mut written = Vec::new();
        loop {
            self.channel.timer(self.now);
            let at = u64::try_from(self.now.since(start).as_millis()).unwrap();
            written.extend(self.sent().into_iter().map(|msg| (at, msg)));
            let deadline = self.channel.deadline(self.now).filter(|deadline| *deadline <= end);
            let Some(deadline) = deadline else { break };
            assert!(deadline > self.now, "a deadline in the past would spin the driver");
            self.now = deadline;
        }
        self.now = end;
        written
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) -> Vec<(u64, Msg)> {
        self.wait(Duration::from_millis(ms))
    }

    pub(crate) fn read(&mut self) -> Vec<u8> {
        let bytes = self.channel.readable().to_vec();
        self.channel.consume(self.now, bytes.len());
        bytes
    }

    pub(crate) fn lose_connection(&mut self) {
        self.channel.lost(self.now);
    }

    pub(crate) fn reconnect(&mut self) {
        self.channel.opened(self.now);
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.channel.end().cloned()
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.channel.event()).collect()
    }
}

/// When each of the messages was written.
pub(crate) fn times(written: &[(u64, Msg)]) -> Vec<u64> {
    written.iter().map(|(at, _)| *at).collect()
}
