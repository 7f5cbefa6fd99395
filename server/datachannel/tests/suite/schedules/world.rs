//! One schedule: everything in it is decided by its seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ssm_datachannel::channel::{Channel, End};
use ssm_datachannel::limits::Limits;
use ssm_datachannel::{Ended, Moment};

use crate::support::agent::Agent;
use crate::support::link::{Link, Weather};
use crate::support::wire::Msg;

/// An hour of the world's time: what is still going on then hangs.
const END_US: u64 = 3_600_000_000;
/// The most writes and reads of a user that does them in small portions.
const PORTIONS: usize = 100;

/// What happens to the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Our socket dies, and is back later.
    Cut { back_us: u64 },
    /// The agent's socket dies, and is back later; the service tells us with every message of ours.
    Away { back_us: u64 },
    /// The service says pause, and then start, for no reason.
    Flap,
}

pub(super) struct World {
    rng: SmallRng,
    now_us: u64,
    channel: Channel,
    limits: Limits,
    agent: Agent,
    up: Link<Vec<u8>>,
    down: Link<Vec<u8>>,
    /// What the user writes, and how much of it is written.
    upload: Vec<u8>,
    written: usize,
    next_write_us: u64,
    write_most: usize,
    write_pause_us: u64,
    download: Vec<u8>,
    read: usize,
    next_read_us: u64,
    read_most: usize,
    read_pause_us: u64,
    troubles: Vec<(u64, Trouble)>,
    /// Until when we have no socket.
    cut_until_us: Option<u64>,
    away_until_us: Option<u64>,
    finished: bool,
    messages: u64,
}

fn bytes(rng: &mut SmallRng, most: usize) -> Vec<u8> {
    // Small ones are common, large ones occur.
    let most = most >> rng.random_range(0..8);
    let length = rng.random_range(0..=most);
    let mut bytes = vec![0; length];
    rng.fill(bytes.as_mut_slice());
    bytes
}

fn weather(rng: &mut SmallRng) -> Weather {
    let delay_us = [100, 5_000, 40_000, 300_000][rng.random_range(0..4)];
    let bad = rng.random_bool(0.6);
    let some = |rng: &mut SmallRng, most: f64| if bad { rng.random_range(0.0..most) } else { 0.0 };
    Weather {
        delay_us,
        jitter_us: if rng.random() { 0 } else { delay_us },
        loss: some(rng, 0.2),
        repeat: some(rng, 0.2),
        reorder: bad && rng.random(),
    }
}

fn limits(rng: &mut SmallRng) -> Limits {
    let mut limits = Limits::default();
    if rng.random() {
        // Small bounds are met more often.
        limits.window_bytes = rng.random_range(2_000..40_000);
        limits.window_messages = rng.random_range(1..50);
        limits.upload_buffer = rng.random_range(500..20_000);
        limits.receive_buffer = rng.random_range(1_000..20_000);
        limits.reorder_buffer = rng.random_range(0..30_000);
        limits.max_payload = rng.random_range(1..=32_768).max(200);
    }
    if rng.random_bool(0.2) {
        limits.messages_per_second = None;
    }
    limits
}

fn troubles(rng: &mut SmallRng) -> Vec<(u64, Trouble)> {
    let mut troubles: Vec<(u64, Trouble)> = (0..rng.random_range(0..4_u32))
        .map(|_| {
            let at = rng.random_range(0..8_000_000);
            let back_us = at + rng.random_range(1_000..12_000_000);
            let trouble = match rng.random_range(0..3) {
                0 => Trouble::Cut { back_us },
                1 => Trouble::Away { back_us },
                _ => Trouble::Flap,
            };
            (at, trouble)
        })
        .collect();
    troubles.sort_by_key(|(at, _)| *at);
    troubles
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let limits = limits(&mut rng);
        let upload = bytes(&mut rng, 128 * 1024);
        let mut download = b"SSH-2.0-Go\r\n".to_vec();
        if rng.random_bool(0.1) {
            download.clear(); // a server that lets the client speak first
        }
        download.extend(bytes(&mut rng, 64 * 1024));
        let chunk = [1024, 1024, 300, 5_000][rng.random_range(0..4)];
        let ready_us = if rng.random() { 0 } else { rng.random_range(0..2_000_000) };
        let mut channel = Channel::new(limits.clone(), seed, 1_700_000_000_000);
        channel.opened(Moment::START);
        Self {
            now_us: 0,
            channel,
            agent: Agent::new(&download, chunk, 1_000, ready_us),
            up: Link::new(weather(&mut rng)),
            down: Link::new(weather(&mut rng)),
            written: 0,
            next_write_us: 0,
            write_most: (1 << rng.random_range(0..17)).max(upload.len() / PORTIONS),
            write_pause_us: rng.random_range(0..20_000),
            read: 0,
            next_read_us: 0,
            read_most: (1 << rng.random_range(0..17)).max(download.len() / PORTIONS),
            read_pause_us: if rng.random_bool(0.7) { 0 } else { rng.random_range(0..30_000) },
            troubles: troubles(&mut rng),
            cut_until_us: None,
            away_until_us: None,
            finished: false,
            messages: 0,
            upload,
            download,
            limits,
            rng,
        }
    }

    pub(super) fn run(mut self) {
        while self.channel.end().is_none() {
            self.step();
            self.check();
            if self.channel.end().is_some() {
                break;
            }
            let next_us = self.next_us();
            assert!(next_us > self.now_us, "time stands still");
            self.now_us = next_us;
        }
        assert_eq!(self.channel.end(), Some(&End::Ended(Ended::Closed)));
        assert!(self.finished);
        assert!(self.agent.received == self.upload, "the upload arrived changed");
        // On a path that loses messages, the order may need more tries than the time for it allows.
        assert!(self.agent.terminated || self.up.weather.loss > 0.0, "the session was not terminated");
    }

    fn now(&self) -> Moment {
        Moment::after_start(Duration::from_micros(self.now_us))
    }

    /// Everything that happens at this moment.
    fn step(&mut self) {
        self.trouble();
        self.channel.timer(self.now());
        self.user();
        while let Some(message) = self.up.arrived(self.now_us) {
            self.at_gateway(&message);
        }
        if self.away_until_us.is_none() {
            while let Some(msg) = self.agent.transmit(self.now_us) {
                if self.cut_until_us.is_some() {
                    continue;
                }
                self.down.send(self.now_us, msg.encode(), &mut self.rng);
            }
        }
        while self.channel.wants_input() {
            let Some(message) = self.down.arrived(self.now_us) else { break };
            self.channel.receive(self.now(), message.into());
        }
        // What has arrived can make something due.
        self.channel.timer(self.now());
        while let Some(message) = self.channel.transmit(self.now()) {
            assert!(self.cut_until_us.is_none(), "a message without a socket");
            let sequenced = &message[4..9] == b"input";
            self.messages += u64::from(sequenced);
            self.up.send(self.now_us, message.to_vec(), &mut self.rng);
        }
        while self.channel.event().is_some() {}
    }

    /// A message of ours reaches the gateway, and the agent behind it if it is there.
    fn at_gateway(&mut self, message: &[u8]) {
        if self.away_until_us.is_some() {
            let pause = Msg::control("pause_publication", "").encode();
            return self.down.send(self.now_us, pause, &mut self.rng);
        }
        self.agent.receive(self.now_us, &Msg::decode(message));
    }

    fn user(&mut self) {
        if self.now_us >= self.next_write_us && self.written < self.upload.len() {
            let most = self.rng.random_range(1..=self.write_most);
            let end = self.upload.len().min(self.written + most);
            self.written += self.channel.write(&self.upload[self.written..end]);
            self.next_write_us = self.now_us + self.write_pause_us.max(50);
        }
        if self.now_us >= self.next_read_us && !self.channel.readable().is_empty() {
            let most = self.read_most.min(self.channel.readable().len());
            let read = &self.channel.readable()[..most];
            assert!(self.download[self.read..].starts_with(read), "the download arrived changed");
            self.read += most;
            self.channel.consume(self.now(), most);
            self.next_read_us = self.now_us + self.read_pause_us.max(50);
        }
        let done = self.written == self.upload.len() && self.read == self.download.len();
        if done && !self.finished && self.channel.is_open() && self.is_calm() {
            self.finished = true;
            self.channel.finish(self.now());
        }
    }

    /// Closing is bounded in time, so what is closed during trouble may be cut short. That has tests of its
    /// own; here the user closes after it, when everything was delivered.
    fn is_calm(&self) -> bool {
        let calm = self.troubles.is_empty() && self.cut_until_us.is_none() && self.away_until_us.is_none();
        calm && self.agent.received.len() == self.upload.len()
    }

    fn trouble(&mut self) {
        if self.cut_until_us.is_some_and(|until| until <= self.now_us) {
            self.cut_until_us = None;
            self.channel.opened(self.now());
            self.start_publication();
        }
        if self.away_until_us.is_some_and(|until| until <= self.now_us) {
            self.away_until_us = None;
            self.start_publication();
        }
        while let Some((at, trouble)) = self.troubles.first().copied() {
            // Before the handshake there is nothing to resume; connecting fails, and that is that.
            let too_early =
                !self.channel.is_open() || self.cut_until_us.is_some() || self.away_until_us.is_some();
            if at > self.now_us || too_early {
                break;
            }
            self.troubles.remove(0);
            let shift = self.now_us - at;
            match trouble {
                Trouble::Cut { back_us } => {
                    self.cut_until_us = Some(back_us + shift);
                    self.channel.lost(self.now());
                    self.up.cut();
                    self.down.cut();
                    self.agent.pause();
                }
                Trouble::Away { back_us } => {
                    self.away_until_us = Some(back_us + shift);
                    self.down.send(
                        self.now_us,
                        Msg::control("pause_publication", "").encode(),
                        &mut self.rng,
                    );
                }
                Trouble::Flap => {
                    self.down.send(
                        self.now_us,
                        Msg::control("pause_publication", "").encode(),
                        &mut self.rng,
                    );
                    self.start_publication();
                }
            }
        }
    }

    fn start_publication(&mut self) {
        self.agent.unpause();
        self.down.send(self.now_us, Msg::control("start_publication", "").encode(), &mut self.rng);
    }

    fn next_us(&self) -> u64 {
        let now = self.now();
        let deadline = self.channel.deadline(now);
        assert!(
            deadline.is_none_or(|deadline| deadline > now),
            "a deadline in the past would spin the driver"
        );
        // Rounded up, or the channel would be woken too early.
        let channel = deadline.map(|at| at.since_start().as_nanos().div_ceil(1000) as u64);
        let agent = self.agent.deadline_us().filter(|_| self.away_until_us.is_none());
        let down = self.down.next_us().filter(|_| self.channel.wants_input());
        let write =
            (self.written < self.upload.len() && self.channel.room() > 0).then_some(self.next_write_us);
        let read = (!self.channel.readable().is_empty()).then_some(self.next_read_us);
        let trouble_comes =
            self.channel.is_open() && self.cut_until_us.is_none() && self.away_until_us.is_none();
        let troubles = self.troubles.first().map(|(at, _)| *at).filter(|_| trouble_comes);
        let untils = [self.cut_until_us, self.away_until_us];
        [channel, agent, down, self.up.next_us(), write, read, troubles]
            .into_iter()
            .chain(untils)
            .flatten()
            .min()
            .map_or(END_US, |at| at.max(self.now_us + 1))
    }

    fn progress(&self) -> String {
        format!(
            "up {}/{}/{} down {}/{} open {} held {} troubles {:?} cut {:?} away {:?} up {:?} down {:?} limits {:?}",
            self.agent.received.len(),
            self.written,
            self.upload.len(),
            self.read,
            self.download.len(),
            self.channel.is_open(),
            self.channel.held(),
            self.troubles,
            self.cut_until_us,
            self.away_until_us,
            self.up.weather,
            self.down.weather,
            self.limits,
        )
    }

    /// What holds at every moment.
    fn check(&self) {
        assert!(self.now_us < END_US, "it hangs: {}", self.progress());
        assert!(self.channel.held() <= self.limits.most_held(), "{} bytes held", self.channel.held());
        assert_eq!(self.agent.thrown_away, 0, "bytes were sent before the end of the handshake");
        let ahead = self.limits.window_messages as i64;
        assert!(self.agent.max_ahead <= ahead + 1, "{} messages ahead", self.agent.max_ahead);
        if let Some(rate) = self.limits.messages_per_second {
            let most = u64::from(rate) * self.now_us / 1_000_000 + u64::from(self.limits.message_burst) + 10;
            assert!(self.messages <= most, "{} messages after {} µs", self.messages, self.now_us);
        }
    }
}
