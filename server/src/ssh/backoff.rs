//! How long a refusal is held back after many others. Pure; times are `Clock::elapsed`.
//!
//! Failed logins count by the place they came from and by the name they tried. Only refusals wait: a key that proves
//! itself is answered at once, whoever else failed from the same address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use crate::domain::network::place;

/// What the first refusal waits beyond those that are free; each further one doubles it.
const FIRST: Duration = Duration::from_millis(250);
/// A place or a name loses half of its failures in this time.
const HALF_LIFE: Duration = Duration::from_secs(60);
/// Places, and names, that are told apart at once.
const KNOWN: usize = 4_096;

/// How refusals slow down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Failed logins that cost nothing.
    pub(super) free: u32,
    /// The longest that a refusal waits.
    pub(super) longest: Duration,
}

/// Failed logins of late.
pub(super) struct Backoff {
    pace: Pace,
    places: Counts<IpAddr>,
    names: Counts<String>,
}

impl Backoff {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, places: Counts::default(), names: Counts::default() }
    }

    /// How long the next refusal of a login from there, as this name, is to wait.
    pub(super) fn wait(&self, address: IpAddr, name: &str, now: Duration) -> Duration {
        let failures = self.places.failures(&place(address), now).max(self.names.failures(name, now));
        let Some(beyond) = failures.checked_sub(self.pace.free).filter(|beyond| *beyond > 0) else {
            return Duration::ZERO;
        };
        let doubled = 2_u32.saturating_pow(beyond - 1);
        FIRST.saturating_mul(doubled).min(self.pace.longest)
    }

    /// A connection ended that had tried and was not let in.
    pub(super) fn failed(&mut self, address: IpAddr, name: &str, now: Duration) {
        self.places.add(place(address), now);
        self.names.add(name.to_owned(), now);
    }
}

/// Failures that fade.
struct Counts<K>(HashMap<K, Count>);

#[derive(Clone, Copy)]
struct Count {
    failures: u32,
    since: Duration,
}

impl Count {
    /// What is left of it by now.
    fn faded(self, now: Duration) -> Self {
        let halves = now.saturating_sub(self.since).as_secs() / HALF_LIFE.as_secs();
        let failures = u32::try_from(halves).ok().and_then(|halves| self.failures.checked_shr(halves));
        let passed = HALF_LIFE.saturating_mul(u32::try_from(halves).unwrap_or(u32::MAX));
        Self { failures: failures.unwrap_or_default(), since: self.since.saturating_add(passed) }
    }
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Counts<K> {
    fn failures<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Duration) -> u32
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.get(key).map_or(0, |count| count.faded(now).failures)
    }

    fn add(&mut self, key: K, now: Duration) {
        if self.0.len() >= KNOWN && !self.0.contains_key(&key) {
            self.0.retain(|_, count| count.faded(now).failures > 0);
        }
        // While a scan fills the table with thousands, one more that is not told apart makes no difference.
        if self.0.len() < KNOWN || self.0.contains_key(&key) {
            let count = self.0.entry(key).or_insert(Count { failures: 0, since: now });
            *count = count.faded(now);
            count.failures = count.failures.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
    const ZERO: Duration = Duration::ZERO;

    fn backoff() -> Backoff {
        Backoff::new(Pace { free: 3, longest: Duration::from_secs(5) })
    }

    fn ms(backoff: &Backoff, address: IpAddr, name: &str, now: Duration) -> u128 {
        backoff.wait(address, name, now).as_millis()
    }

    #[test]
    fn refusals_wait_longer_and_longer_up_to_the_longest() {
        let mut backoff = backoff();
        let waits: Vec<u128> = (0..10)
            .map(|_| {
                backoff.failed(OFFICE, "demo", ZERO);
                ms(&backoff, OFFICE, "demo", ZERO)
            })
            .collect();
        assert_eq!(waits, [0, 0, 0, 250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        (0..100).for_each(|_| backoff.failed(OFFICE, "demo", ZERO));
        assert_eq!(ms(&backoff, OFFICE, "demo", ZERO), 5_000);
    }

    #[test]
    fn places_and_names_count_apart() {
        let mut backoff = backoff();
        (0..5).for_each(|_| backoff.failed(OFFICE, "demo", ZERO));
        assert_eq!(ms(&backoff, OFFICE, "other", ZERO), 500, "the same place");
        assert_eq!(ms(&backoff, HOME, "demo", ZERO), 500, "the same name");
        assert_eq!(ms(&backoff, HOME, "other", ZERO), 0);
    }

    #[test]
    fn a_name_that_is_tried_from_everywhere_slows_down() {
        let mut backoff = backoff();
        (0..9_u32).for_each(|n| backoff.failed(IpAddr::V4(n.into()), "root", ZERO));
        assert_eq!(ms(&backoff, HOME, "root", ZERO), 5_000);
    }

    #[test]
    fn failures_fade_by_half_each_minute() {
        let mut backoff = backoff();
        (0..8).for_each(|_| backoff.failed(OFFICE, "demo", ZERO));
        let wait = |backoff: &Backoff, seconds| ms(backoff, OFFICE, "x", Duration::from_secs(seconds));
        assert_eq!(wait(&backoff, 59), 4_000);
        assert_eq!(wait(&backoff, 60), 250);
        assert_eq!(wait(&backoff, 120), 0);
        // A failure now and then keeps what faded faded.
        backoff.failed(OFFICE, "demo", Duration::from_secs(119));
        assert_eq!(wait(&backoff, 119), 500);
        assert_eq!(wait(&backoff, 120), 0);
    }

    #[test]
    fn a_scan_from_many_addresses_stays_bounded() {
        let mut backoff = backoff();
        (0..10_000_u32).for_each(|n| backoff.failed(IpAddr::V4(n.into()), &n.to_string(), ZERO));
        assert!(backoff.places.0.len() <= KNOWN && backoff.names.0.len() <= KNOWN);
        // Once it is over, others are told apart again.
        let later = Duration::from_secs(3_600);
        (0..5).for_each(|_| backoff.failed(OFFICE, "demo", later));
        assert_eq!(ms(&backoff, OFFICE, "demo", later), 500);
    }
}
