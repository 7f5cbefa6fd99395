//! A small model of AWS's agent in a Port session: in order, one acknowledgement per message, head-of-line
//! resends, deaf before its TCP connection is up, silent while paused.

use std::collections::{BTreeMap, VecDeque};

use super::wire::{self, Msg};

const RESEND_US: u64 = 200_000;
const TICK_US: u64 = 100_000;

#[derive(Debug)]
pub(crate) struct Agent {
    /// What the SSH server will send, in messages of at most 1 KiB.
    to_send: VecDeque<Vec<u8>>,
    next_send_us: u64,
    pace_us: u64,
    next_seq: i64,
    unacked: BTreeMap<i64, (Msg, u64)>,
    out: VecDeque<Msg>,
    expected: i64,
    parked: BTreeMap<i64, Msg>,
    complete: bool,
    /// From here on the TCP connection to the SSH server is up.
    ready_us: u64,
    ready_after_us: u64,
    paused: bool,
    next_tick_us: u64,
    /// What the SSH server got.
    pub(crate) received: Vec<u8>,
    /// Bytes that were acknowledged and thrown away, since they came too early.
    pub(crate) thrown_away: usize,
    pub(crate) terminated: bool,
    pub(crate) max_ahead: i64,
}

impl Agent {
    pub(crate) fn new(to_send: &[u8], chunk: usize, pace_us: u64, ready_after_us: u64) -> Self {
        let mut agent = Self {
            to_send: to_send.chunks(chunk).map(<[u8]>::to_vec).collect(),
            next_send_us: 0,
            pace_us,
            next_seq: 0,
            unacked: BTreeMap::new(),
            out: VecDeque::new(),
            expected: 0,
            parked: BTreeMap::new(),
            complete: false,
            ready_us: u64::MAX,
            ready_after_us,
            paused: false,
            next_tick_us: 0,
            received: Vec::new(),
            thrown_away: 0,
            terminated: false,
            max_ahead: 0,
        };
        let request = Msg::handshake_request(0, wire::PORT);
        agent.send_sequenced(0, request);
        agent
    }

    fn send_sequenced(&mut self, now_us: u64, msg: Msg) {
        assert_eq!(msg.seq, self.next_seq);
        self.next_seq += 1;
        self.unacked.insert(msg.seq, (msg.clone(), now_us));
        if !self.paused {
            self.out.push_back(msg);
        }
    }

    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    pub(crate) fn unpause(&mut self) {
        self.paused = false;
    }

    pub(crate) fn receive(&mut self, now_us: u64, msg: &Msg) {
        match msg.kind.as_str() {
            "acknowledge" => {
                self.paused = false;
                self.unacked.remove(&msg.acks().unwrap());
            }
            "input_stream_data" => {
                self.paused = false;
                self.on_input(now_us, msg);
            }
            other => panic!("a client sends no {other}"),
        }
    }

    fn on_input(&mut self, now_us: u64, msg: &Msg) {
        self.max_ahead = self.max_ahead.max(msg.seq - self.expected);
        if msg.seq > self.expected {
            self.parked.entry(msg.seq).or_insert_with(|| msg.clone());
        } else if msg.seq == self.expected {
            if !self.process(now_us, msg) {
                return;
            }
            while let Some(next) = self.parked.get(&self.expected).cloned() {
                if !self.process(now_us, &next) {
                    break;
                }
                self.parked.remove(&next.seq);
            }
        }
        self.out.push_back(Msg::ack(&msg.kind, &msg.id, msg.seq));
    }

    fn process(&mut self, now_us: u64, msg: &Msg) -> bool {
        if !self.complete {
            if msg.ptype == wire::HANDSHAKE_RESPONSE {
                let complete = Msg::handshake_complete(self.next_seq);
                self.send_sequenced(now_us, complete);
                self.complete = true;
                self.ready_us = now_us + self.ready_after_us;
                self.next_send_us = self.ready_us;
            } else {
                self.thrown_away += msg.payload.len().max(1);
            }
        } else if now_us < self.ready_us {
            return false;
        } else if msg.ptype == wire::OUTPUT {
            self.received.extend(&msg.payload);
        } else if msg.ptype == wire::FLAG {
            assert_eq!(msg.payload, [0, 0, 0, 2], "only TerminateSession is expected");
            self.terminated = true;
        }
        self.expected += 1;
        true
    }

    /// The next message to write.
    pub(crate) fn transmit(&mut self, now_us: u64) -> Option<Msg> {
        self.advance(now_us);
        self.out.pop_front()
    }

    fn advance(&mut self, now_us: u64) {
        while !self.paused && now_us >= self.next_send_us && self.complete && now_us >= self.ready_us {
            let Some(bytes) = self.to_send.pop_front() else { break };
            let msg = Msg::output(self.next_seq, wire::OUTPUT, bytes);
            self.send_sequenced(now_us, msg);
            self.next_send_us = now_us + self.pace_us.max(1);
        }
        if now_us >= self.next_tick_us {
            self.next_tick_us = now_us + TICK_US;
            if !self.paused
                && let Some((_, (msg, sent_us))) = self.unacked.iter_mut().next()
                && now_us - *sent_us >= RESEND_US
            {
                *sent_us = now_us;
                self.out.push_back(msg.clone());
            }
        }
    }

    /// When it does something by itself.
    pub(crate) fn deadline_us(&self) -> Option<u64> {
        let data = (!self.paused && self.complete && !self.to_send.is_empty())
            .then(|| self.next_send_us.max(self.ready_us));
        let tick = (!self.unacked.is_empty()).then_some(self.next_tick_us);
        data.into_iter().chain(tick).min()
    }
}
