//! How many strangers may wait at the door: in all, and from one place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections that have not authenticated yet.
pub(super) struct Admission {
    in_all: usize,
    per_source: usize,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    in_all: usize,
    per_source: HashMap<IpAddr, usize>,
}

/// One place at the door; given back when dropped.
pub(super) struct Place {
    source: IpAddr,
    waiting: Arc<Mutex<Waiting>>,
}

impl Admission {
    pub(super) fn new(in_all: usize, per_source: usize) -> Self {
        Self { in_all, per_source, waiting: Arc::default() }
    }

    /// A place for a connection from there, if there is one.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Place> {
        let source = source(address);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let from_there = waiting.per_source.get(&source).copied().unwrap_or_default();
        if waiting.in_all >= self.in_all || from_there >= self.per_source {
            return None;
        }
        waiting.in_all += 1;
        waiting.per_source.insert(source, from_there + 1);
        Some(Place { source, waiting: self.waiting.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.in_all = waiting.in_all.saturating_sub(1);
        if let Some(count) = waiting.per_source.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                waiting.per_source.remove(&self.source);
            }
        }
    }
}

/// The place that an address counts for: an IPv4 address, or an IPv6 /64, which one subscriber holds as a rule.
pub(super) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_place_cannot_crowd_out_the_others() {
        let door = Admission::new(10, 2);
        let held = [door.admit(address("192.0.2.1")), door.admit(address("192.0.2.1"))];
        assert!(held.iter().all(Option::is_some));
        assert!(door.admit(address("192.0.2.1")).is_none());
        assert!(door.admit(address("::ffff:192.0.2.1")).is_none(), "the same address, written as IPv6");
        assert!(door.admit(address("192.0.2.2")).is_some());
    }

    #[test]
    fn all_places_together_are_bounded() {
        let door = Admission::new(2, 2);
        let first = door.admit(address("192.0.2.1"));
        let _second = door.admit(address("192.0.2.2"));
        assert!(door.admit(address("192.0.2.3")).is_none());
        drop(first);
        assert!(door.admit(address("192.0.2.3")).is_some());
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let door = Admission::new(10, 1);
        let _held = door.admit(address("2001:db8:0:1::1"));
        assert!(door.admit(address("2001:db8:0:1:ffff::2")).is_none());
        assert!(door.admit(address("2001:db8:0:2::1")).is_some());
    }
}
