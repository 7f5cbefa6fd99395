//! How many handshakes one place gets in a second: a key exchange costs the server more than the client. Pure; times
//! are `Clock::elapsed`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::domain::network::place;

/// Places that are told apart at once.
const KNOWN: usize = 4_096;

/// Spreads the handshakes of each place over time. Nobody is turned away: who comes too early waits for its turn.
pub(super) struct Handshakes {
    /// The time between two turns.
    interval: Duration,
    /// Turns that a place may take at once after a pause.
    burst: u32,
    /// When the last turn that was given to a place is paid for.
    paid: HashMap<IpAddr, Duration>,
}

impl Handshakes {
    /// So many a second, and as many at once after a second's pause.
    pub(super) fn new(per_second: u32) -> Self {
        let burst = per_second.max(1);
        Self { interval: Duration::from_secs(1) / burst, burst, paid: HashMap::new() }
    }

    /// How long a connection from there waits for its turn, which it takes with this call.
    pub(super) fn wait(&mut self, address: IpAddr, now: Duration) -> Duration {
        let source = place(address);
        if self.paid.len() >= KNOWN && !self.paid.contains_key(&source) {
            self.paid.retain(|_, paid| *paid > now);
            if self.paid.len() >= KNOWN {
                // So many places at once are a flood, which the limit on all places together meets.
                return Duration::ZERO;
            }
        }
        let paid = self.paid.entry(source).or_insert(now);
        *paid = (*paid).max(now) + self.interval;
        paid.saturating_sub(now + self.interval * self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn ms(handshakes: &mut Handshakes, address: IpAddr, now: u64) -> u128 {
        handshakes.wait(address, Duration::from_millis(now)).as_millis()
    }

    #[test]
    fn a_burst_goes_through_and_then_each_waits_for_its_turn() {
        let mut handshakes = Handshakes::new(10);
        assert!((0..10).all(|_| ms(&mut handshakes, OFFICE, 0) == 0));
        assert_eq!((0..3).map(|_| ms(&mut handshakes, OFFICE, 0)).collect::<Vec<_>>(), [100, 200, 300]);
        let elsewhere = "198.51.100.1".parse().unwrap();
        assert_eq!(ms(&mut handshakes, elsewhere, 0), 0, "others do not wait");
    }

    #[test]
    fn a_pause_gives_the_burst_back_and_no_more() {
        let mut handshakes = Handshakes::new(10);
        assert!((0..10).all(|_| ms(&mut handshakes, OFFICE, 0) == 0));
        assert_eq!(ms(&mut handshakes, OFFICE, 100), 0);
        assert_eq!(ms(&mut handshakes, OFFICE, 100), 100);
        assert!((0..10).all(|_| ms(&mut handshakes, OFFICE, 60_000) == 0));
        assert_eq!(ms(&mut handshakes, OFFICE, 60_000), 100);
    }

    #[test]
    fn no_second_sees_more_than_twice_the_rate() {
        let mut handshakes = Handshakes::new(10);
        let mut turns: Vec<u128> =
            (0..100).map(|n| u128::from(n * 20_u64) + ms(&mut handshakes, OFFICE, n * 20)).collect();
        turns.sort_unstable();
        for from in &turns {
            assert!(turns.iter().filter(|at| (*from..from + 1_000).contains(at)).count() <= 20);
        }
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let mut handshakes = Handshakes::new(1);
        assert_eq!(ms(&mut handshakes, "2001:db8:0:1::1".parse().unwrap(), 0), 0);
        assert_eq!(ms(&mut handshakes, "2001:db8:0:1:ffff::2".parse().unwrap(), 0), 1_000);
    }

    #[test]
    fn a_scan_from_many_addresses_stays_bounded() {
        let mut handshakes = Handshakes::new(10);
        (0..10_000_u32).for_each(|n| {
            handshakes.wait(IpAddr::V4(n.into()), Duration::ZERO);
        });
        assert!(handshakes.paid.len() <= KNOWN);
        assert_eq!(ms(&mut handshakes, OFFICE, 3_600_000), 0);
        assert!(handshakes.paid.len() < 3, "what is over was forgotten");
    }
}
