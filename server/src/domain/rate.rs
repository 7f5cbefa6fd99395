//! How much one place or person gets in a time of what costs the server more than the client: key exchanges, sign-ins,
//! requests. And how much we ask of others in a time. Pure; times are `Clock::elapsed`.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Places, or people, that are told apart at once.
const KNOWN: usize = 4_096;

/// Gives each place, or person, their turns.
#[derive(Debug)]
pub struct Turns<K> {
    /// The time between two turns.
    interval: Duration,
    /// Turns that a place may take at once after a pause.
    burst: u32,
    /// When the last turn that was given to each is paid for.
    paid: HashMap<K, Duration>,
}

impl<K: Eq + Hash + Copy> Turns<K> {
    /// So many in a period, and as many at once after a pause of that length.
    #[must_use]
    pub fn new(count: u32, period: Duration) -> Self {
        let burst = count.max(1);
        Self { interval: period / burst, burst, paid: HashMap::new() }
    }

    /// How long this one waits for their turn, which they take with this call. Nobody is turned away.
    pub fn wait(&mut self, of: K, now: Duration) -> Duration {
        let Some(paid) = self.paid(of, now) else { return Duration::ZERO };
        let turn = paid + self.interval;
        self.paid.insert(of, turn);
        turn.saturating_sub(now + self.interval * self.burst)
    }

    /// Takes a turn if there is one.
    ///
    /// # Errors
    /// How long it is until the next.
    pub fn take(&mut self, of: K, now: Duration) -> Result<(), Duration> {
        let Some(paid) = self.paid(of, now) else { return Ok(()) };
        let turn = paid + self.interval;
        match turn.saturating_sub(now + self.interval * self.burst) {
            Duration::ZERO => {
                self.paid.insert(of, turn);
                Ok(())
            }
            early => Err(early),
        }
    }

    /// Until when this one has had its turns; nothing if there are so many at once that it is a flood, which
    /// other limits must meet.
    fn paid(&mut self, of: K, now: Duration) -> Option<Duration> {
        if self.paid.len() >= KNOWN && !self.paid.contains_key(&of) {
            self.paid.retain(|_, paid| *paid > now);
            if self.paid.len() >= KNOWN {
                return None;
            }
        }
        Some(self.paid.get(&of).copied().unwrap_or(now).max(now))
    }
}

/// Turns of our own, at somebody else's: so many a second, and some at once after a pause.
#[derive(Debug)]
pub struct Allowance {
    interval: Duration,
    burst: u32,
    /// When the last turn that was given is paid for.
    paid: Duration,
}

impl Allowance {
    /// So many a second, and so many at once.
    #[must_use]
    pub fn new(per_s: u32, burst: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_s.max(1), burst: burst.max(1), paid: Duration::ZERO }
    }

    /// How long to wait for the turn that is taken with this call. Who cannot wait takes theirs at once all the same:
    /// those who come later wait the longer.
    pub fn wait(&mut self, now: Duration) -> Duration {
        self.paid = self.paid.max(now) + self.interval;
        self.paid.saturating_sub(now + self.interval * self.burst)
    }

    /// Gives up what may be taken at once: it was too much.
    pub fn empty(&mut self, now: Duration) {
        self.paid = self.paid.max(now + self.interval * self.burst);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::domain::network::place;

    #[test]
    fn our_own_turns_come_in_a_burst_and_then_at_their_rate() {
        let mut turns = Allowance::new(4, 2);
        let mut wait = |ms| turns.wait(Duration::from_millis(ms)).as_millis();
        assert_eq!([wait(0), wait(0), wait(0), wait(0)], [0, 0, 250, 500]);
        assert_eq!([wait(10_000), wait(10_000), wait(10_000)], [0, 0, 250]);
        turns.empty(Duration::from_secs(60));
        assert_eq!(turns.wait(Duration::from_secs(60)).as_millis(), 250);
    }

    const SECOND: Duration = Duration::from_secs(1);
    const OFFICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn ms(turns: &mut Turns<IpAddr>, address: IpAddr, now: u64) -> u128 {
        turns.wait(place(address), Duration::from_millis(now)).as_millis()
    }

    #[test]
    fn a_burst_goes_through_and_then_each_waits_for_its_turn() {
        let mut turns = Turns::new(10, SECOND);
        assert!((0..10).all(|_| ms(&mut turns, OFFICE, 0) == 0));
        assert_eq!((0..3).map(|_| ms(&mut turns, OFFICE, 0)).collect::<Vec<_>>(), [100, 200, 300]);
        let elsewhere = "198.51.100.1".parse().unwrap();
        assert_eq!(ms(&mut turns, elsewhere, 0), 0, "others do not wait");
    }

    #[test]
    fn a_pause_gives_the_burst_back_and_no_more() {
        let mut turns = Turns::new(10, SECOND);
        assert!((0..10).all(|_| ms(&mut turns, OFFICE, 0) == 0));
        assert_eq!(ms(&mut turns, OFFICE, 100), 0);
        assert_eq!(ms(&mut turns, OFFICE, 100), 100);
        assert!((0..10).all(|_| ms(&mut turns, OFFICE, 60_000) == 0));
        assert_eq!(ms(&mut turns, OFFICE, 60_000), 100);
    }

    #[test]
    fn no_second_sees_more_than_twice_the_rate() {
        let mut turns = Turns::new(10, SECOND);
        let mut turns: Vec<u128> =
            (0..100).map(|n| u128::from(n * 20_u64) + ms(&mut turns, OFFICE, n * 20)).collect();
        turns.sort_unstable();
        for from in &turns {
            assert!(turns.iter().filter(|at| (*from..from + 1_000).contains(at)).count() <= 20);
        }
    }

    #[test]
    fn who_is_turned_away_has_taken_no_turn() {
        let mut turns = Turns::new(2, SECOND);
        let mut take = |ms| turns.take(OFFICE, Duration::from_millis(ms));
        assert_eq!((take(0), take(0)), (Ok(()), Ok(())));
        assert!((0..50).all(|_| take(0) == Err(Duration::from_millis(500))));
        assert_eq!((take(500), take(500)), (Ok(()), Err(Duration::from_millis(500))));
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let mut turns = Turns::new(1, SECOND);
        assert_eq!(ms(&mut turns, "2001:db8:0:1::1".parse().unwrap(), 0), 0);
        assert_eq!(ms(&mut turns, "2001:db8:0:1:ffff::2".parse().unwrap(), 0), 1_000);
    }

    #[test]
    fn a_scan_from_many_addresses_stays_bounded() {
        let mut turns = Turns::new(10, SECOND);
        (0..10_000_u32).for_each(|n| {
            turns.wait(IpAddr::V4(n.into()), Duration::ZERO);
        });
        assert!(turns.paid.len() <= KNOWN);
        assert_eq!(ms(&mut turns, OFFICE, 3_600_000), 0);
        assert!(turns.paid.len() < 3, "what is over was forgotten");
    }
}
