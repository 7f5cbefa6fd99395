//! How many strangers may wait at the door: in all, and from one place.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::network;

/// Who has not proved anything for so long gives way to a newcomer from the same place, so that idle connections
/// behind an office's one address cannot keep the office out.
const GIVES_WAY: Duration = Duration::from_secs(10);

/// Counts connections that have not authenticated yet. Times are `Clock::elapsed`.
pub(super) struct Admission {
    in_all: usize,
    per_source: usize,
    gives_way: Duration,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    in_all: usize,
    last: u64,
    /// The longest waiting first.
    per_source: HashMap<IpAddr, VecDeque<Stranger>>,
}

struct Stranger {
    number: u64,
    since: Duration,
    gives_way: CancellationToken,
}

/// One place at the door; given back when dropped.
pub(super) struct Place {
    source: IpAddr,
    number: u64,
    /// Cancelled when it is to give way.
    pub(super) gives_way: CancellationToken,
    waiting: Arc<Mutex<Waiting>>,
}

impl Admission {
    pub(super) fn new(in_all: usize, per_source: usize) -> Self {
        Self { in_all, per_source, gives_way: GIVES_WAY, waiting: Arc::default() }
    }

    /// The same where nobody gives way: who waits for a person must be let wait.
    pub(super) fn patient(in_all: usize, per_source: usize) -> Self {
        Self { gives_way: Duration::MAX, ..Self::new(in_all, per_source) }
    }

    /// A place for a connection from there, if there is one.
    pub(super) fn admit(&self, address: IpAddr, now: Duration) -> Option<Place> {
        let source = network::place(address);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.in_all >= self.in_all {
            return None;
        }
        if let Some(strangers) = waiting.per_source.get_mut(&source)
            && strangers.len() >= self.per_source
        {
            let oldest =
                strangers.pop_front_if(|oldest| now.saturating_sub(oldest.since) >= self.gives_way)?;
            oldest.gives_way.cancel();
        }
        waiting.in_all += 1;
        waiting.last += 1;
        let (number, gives_way) = (waiting.last, CancellationToken::new());
        let stranger = Stranger { number, since: now, gives_way: gives_way.clone() };
        waiting.per_source.entry(source).or_default().push_back(stranger);
        Some(Place { source, number, gives_way, waiting: self.waiting.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.in_all = waiting.in_all.saturating_sub(1);
        if let Some(strangers) = waiting.per_source.get_mut(&self.source) {
            strangers.retain(|stranger| stranger.number != self.number);
            if strangers.is_empty() {
                waiting.per_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Duration = Duration::ZERO;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_place_cannot_crowd_out_the_others() {
        let door = Admission::new(10, 2);
        let held = [door.admit(address("192.0.2.1"), ZERO), door.admit(address("192.0.2.1"), ZERO)];
        assert!(held.iter().all(Option::is_some));
        assert!(door.admit(address("192.0.2.1"), ZERO).is_none());
        assert!(door.admit(address("::ffff:192.0.2.1"), ZERO).is_none(), "the same address, written as IPv6");
        assert!(door.admit(address("192.0.2.2"), ZERO).is_some());
    }

    #[test]
    fn all_places_together_are_bounded() {
        let door = Admission::new(2, 2);
        let first = door.admit(address("192.0.2.1"), ZERO);
        let _second = door.admit(address("192.0.2.2"), ZERO);
        assert!(door.admit(address("192.0.2.3"), ZERO).is_none());
        drop(first);
        assert!(door.admit(address("192.0.2.3"), ZERO).is_some());
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let door = Admission::new(10, 1);
        let _held = door.admit(address("2001:db8:0:1::1"), ZERO);
        assert!(door.admit(address("2001:db8:0:1:ffff::2"), ZERO).is_none());
        assert!(door.admit(address("2001:db8:0:2::1"), ZERO).is_some());
    }

    #[test]
    fn who_waits_long_gives_way_to_newcomers_from_the_same_place() {
        let door = Admission::new(10, 2);
        let at = |seconds| Duration::from_secs(seconds);
        let idle = door.admit(address("192.0.2.1"), at(0)).unwrap();
        let second = door.admit(address("192.0.2.1"), at(5)).unwrap();
        assert!(door.admit(address("192.0.2.1"), at(9)).is_none());
        let newcomer = door.admit(address("192.0.2.1"), at(10)).unwrap();
        assert!(idle.gives_way.is_cancelled() && !second.gives_way.is_cancelled());
        assert!(door.admit(address("192.0.2.1"), at(11)).is_none(), "its place was given once");
        drop(idle);
        assert!(door.admit(address("192.0.2.1"), at(11)).is_none(), "and its end frees no other");
        drop((second, newcomer));
        assert!(door.admit(address("192.0.2.1"), at(11)).is_some());
    }

    #[test]
    fn who_waits_for_a_person_gives_way_to_nobody() {
        let door = Admission::patient(10, 1);
        let first = door.admit(address("192.0.2.1"), ZERO).unwrap();
        assert!(door.admit(address("192.0.2.1"), Duration::from_secs(200)).is_none());
        assert!(!first.gives_way.is_cancelled());
    }
}
