//! A whole channel under a script of anything: messages right and wrong, time, cuts, a user that writes and
//! reads. It never panics, never spins, and never holds more than its limits say.
#![no_main]

use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ssm_datachannel::Moment;
use ssm_datachannel::channel::Channel;
use ssm_datachannel::frame::{Frame, MessageType, encode, parse};
use ssm_datachannel::limits::Limits;
use uuid::Uuid;

const REQUEST: &[u8] =
    br#"{"RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port"}}]}"#;

struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte().unwrap_or(0)) << 8 | usize::from(self.byte().unwrap_or(0))
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

fn message(message_type: MessageType, sequence: i64, payload_type: u32, payload: Bytes) -> Bytes {
    encode(&Frame { message_type, created_ms: 1, sequence, flags: 0, id: Uuid::nil(), payload_type, payload })
}

fn small() -> Limits {
    Limits {
        window_bytes: 8 * 1024,
        window_messages: 16,
        upload_buffer: 4 * 1024,
        receive_buffer: 4 * 1024,
        reorder_buffer: 8 * 1024,
        ..Limits::default()
    }
}

struct World<'a> {
    script: Script<'a>,
    channel: Channel,
    limits: Limits,
    now: Moment,
    connected: bool,
    sequence: i64,
}

impl World<'_> {
    fn play(&mut self) {
        while let Some(act) = self.script.byte() {
            self.act(act);
            self.settle();
        }
        self.channel.finish(self.now);
        for _ in 0..100_000 {
            self.settle();
            let Some(deadline) = self.channel.deadline(self.now) else { break };
            self.now = deadline;
        }
        // Whatever happened, closing is bounded.
        assert!(self.channel.end().is_some());
    }

    fn act(&mut self, act: u8) {
        let now = self.now;
        match act % 16 {
            0 => {
                let length = self.script.number();
                let raw = self.script.bytes(length);
                self.channel.receive(now, Bytes::copy_from_slice(raw));
            }
            1..=3 => {
                let skew = i64::from(self.script.byte().unwrap_or(0) as i8) / 16;
                let length = self.script.number() % 4096;
                self.agent(skew, 1, Bytes::from(vec![7; length]));
            }
            4 => {
                let payload_type = u32::from(self.script.byte().unwrap_or(0));
                let length = usize::from(self.script.byte().unwrap_or(0));
                let payload = Bytes::copy_from_slice(self.script.bytes(length));
                self.agent(0, payload_type, payload);
            }
            5 => self.agent(0, 5, Bytes::from_static(REQUEST)),
            6 => self.agent(0, 7, Bytes::from_static(b"{}")),
            7 | 8 => {
                let sequence = self.script.byte().unwrap_or(0);
                let json = format!("{{\"AcknowledgedMessageSequenceNumber\":{sequence}}}");
                self.channel.receive(now, message(MessageType::Acknowledge, 0, 0, json.into()));
            }
            9 => self.now = now + Duration::from_millis(self.script.number() as u64),
            10 => {
                let length = self.script.number();
                self.channel.write(&vec![9; length]);
            }
            11 => {
                let count = self.script.number();
                self.channel.consume(now, count);
            }
            12 if self.connected => {
                self.connected = false;
                self.channel.lost(now);
            }
            12 => {
                self.connected = true;
                self.channel.opened(now);
            }
            13 => self.channel.receive(now, message(MessageType::PausePublication, 0, 0, Bytes::new())),
            14 => self.channel.receive(now, message(MessageType::StartPublication, 0, 0, Bytes::new())),
            _ => match self.script.byte().unwrap_or(0) % 8 {
                0 => self.channel.finish(now),
                1 => self.channel.discard(now),
                2 => self
                    .channel
                    .receive(now, message(MessageType::ChannelClosed, 0, 261, Bytes::from_static(b"{}"))),
                _ => {}
            },
        }
    }

    fn agent(&mut self, skew: i64, payload_type: u32, payload: Bytes) {
        let sequence = self.sequence + skew;
        self.sequence += i64::from(skew == 0);
        self.channel
            .receive(self.now, message(MessageType::OutputStreamData, sequence, payload_type, payload));
    }

    fn settle(&mut self) {
        self.channel.timer(self.now);
        while let Some(message) = self.channel.transmit(self.now) {
            assert!(self.connected);
            assert!(parse(message).is_ok());
        }
        self.channel.timer(self.now);
        while self.channel.event().is_some() {}
        assert!(self.channel.held() <= self.limits.most_held());
        let deadline = self.channel.deadline(self.now);
        let waits = self.channel.transmit(self.now).is_none();
        assert!(
            !waits || deadline.is_none_or(|at| at > self.now),
            "a deadline in the past would spin the driver"
        );
    }
}

fuzz_target!(|data: &[u8]| {
    let limits = small();
    let mut channel = Channel::new(limits.clone(), 1, 1_700_000_000_000);
    channel.opened(Moment::START);
    let script = Script(data);
    World { script, channel, limits, now: Moment::START, connected: true, sequence: 0 }.play();
});
