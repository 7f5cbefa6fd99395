//! A path that delays, loses, repeats and reorders, in both directions.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;

/// How bad a path is. A real one is a TCP connection and does none of it but delay; what the protocol
/// promises to survive is more.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    pub(crate) delay_us: u64,
    pub(crate) jitter_us: u64,
    pub(crate) loss: f64,
    pub(crate) repeat: f64,
    /// Whether messages may overtake each other.
    pub(crate) reorder: bool,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Link<T> {
    pub(crate) weather: Weather,
    on_the_way: BTreeMap<(u64, u64), T>,
    last_us: u64,
    count: u64,
}

impl<T: Clone> Link<T> {
    pub(crate) fn new(weather: Weather) -> Self {
        Self { weather, on_the_way: BTreeMap::new(), last_us: 0, count: 0 }
    }

    pub(crate) fn send(&mut self, now_us: u64, message: T, rng: &mut SmallRng) {
        if rng.random_bool(self.weather.loss) {
            return;
        }
        let copies = 1 + u8::from(rng.random_bool(self.weather.repeat));
        for _ in 0..copies {
            let jitter =
                if self.weather.jitter_us == 0 { 0 } else { rng.random_range(0..self.weather.jitter_us) };
            let mut at = now_us + self.weather.delay_us + jitter;
            if !self.weather.reorder {
                at = at.max(self.last_us);
            }
            self.last_us = at;
            self.count += 1;
            self.on_the_way.insert((at, self.count), message.clone());
        }
    }

    pub(crate) fn next_us(&self) -> Option<u64> {
        self.on_the_way.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn arrived(&mut self, now_us: u64) -> Option<T> {
        let first = self.on_the_way.first_entry()?;
        (first.key().0 <= now_us).then(|| first.remove())
    }

    /// The connection is cut: what was on its way is gone.
    pub(crate) fn cut(&mut self) {
        self.on_the_way.clear();
        self.last_us = 0;
    }
}
