//! Refusals of strangers, gathered by address and minute, so that strangers cannot fill the audit log.
//!
//! The first of an address is reported at once; those that follow within the minute become one row at its end.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

/// How long refusals of one address are gathered.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are told apart at once; the rest is gathered as one.
const ADDRESSES: usize = 1_024;
/// Keys and names that one row lists.
const LISTED: usize = 5;

/// Somebody who was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// What they tried: a login name, a provider.
    pub tried: String,
    /// Fingerprints of the keys that were offered.
    pub keys: Vec<String>,
    /// Why, in words for the audit row.
    pub why: &'static str,
}

/// What one audit row reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Where they came from; nothing for addresses beyond those that are told apart.
    pub address: Option<IpAddr>,
    /// How many.
    pub count: u64,
    /// The first few things that were tried.
    pub tried: BTreeSet<String>,
    /// The first few fingerprints.
    pub keys: BTreeSet<String>,
    /// Why: the first refusal's words.
    pub why: &'static str,
}

#[derive(Debug)]
struct Window {
    opened: Duration,
    later: Option<Report>,
}

/// Gathers refusals. Times are `Clock::elapsed`.
#[derive(Debug, Default)]
pub struct Refusals {
    windows: HashMap<Option<IpAddr>, Window>,
}

impl Refusals {
    /// Notes a refusal; answers what is to be reported at once.
    pub fn note(&mut self, address: IpAddr, refusal: Refusal, now: Duration) -> Option<Report> {
        let known = self.windows.contains_key(&Some(address));
        let address = (known || self.windows.len() < ADDRESSES).then_some(address);
        let report = Report::of(address, refusal);
        match self.windows.get_mut(&address) {
            None => {
                self.windows.insert(address, Window { opened: now, later: None });
                Some(report)
            }
            Some(window) => {
                match &mut window.later {
                    Some(later) => later.add(report),
                    none => *none = Some(report),
                }
                None
            }
        }
    }

    /// What has been gathered in windows that are over by now, or in all.
    pub fn due(&mut self, now: Duration, all: bool) -> Vec<Report> {
        let mut due = Vec::new();
        self.windows.retain(|_, window| {
            let over = all || now.saturating_sub(window.opened) >= WINDOW;
            let Some(report) = window.later.take_if(|_| over) else { return !over };
            due.push(report);
            window.opened = now;
            !all
        });
        due
    }
}

impl Report {
    fn of(address: Option<IpAddr>, refusal: Refusal) -> Self {
        let keys = refusal.keys.into_iter().take(LISTED).collect();
        Self { address, count: 1, tried: BTreeSet::from([refusal.tried]), keys, why: refusal.why }
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        merge(&mut self.tried, other.tried);
        merge(&mut self.keys, other.keys);
    }
}

fn merge(into: &mut BTreeSet<String>, from: BTreeSet<String>) {
    for text in from {
        if into.len() < LISTED {
            into.insert(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn refusal(login: &str) -> Refusal {
        Refusal { tried: login.to_owned(), keys: vec![format!("SHA256:{login}")], why: "unknown key" }
    }

    #[test]
    fn the_first_is_reported_at_once_and_the_rest_as_one() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.note(HERE, refusal("root"), Duration::ZERO).unwrap().count, 1);
        for second in 1..30 {
            assert_eq!(refusals.note(HERE, refusal("admin"), Duration::from_secs(second)), None);
        }
        assert_eq!(refusals.due(Duration::from_secs(59), false), []);
        let due = refusals.due(Duration::from_secs(60), false);
        assert_eq!(due.len(), 1);
        assert_eq!(due.first().unwrap().count, 29);
        assert_eq!(due.first().unwrap().tried, BTreeSet::from(["admin".to_owned()]));
    }

    #[test]
    fn a_quiet_minute_closes_the_window() {
        let mut refusals = Refusals::default();
        refusals.note(HERE, refusal("root"), Duration::ZERO);
        assert_eq!(refusals.due(Duration::from_secs(61), false), []);
        assert!(refusals.note(HERE, refusal("root"), Duration::from_secs(62)).is_some());
    }

    #[test]
    fn a_scan_from_many_addresses_stays_bounded() {
        let mut refusals = Refusals::default();
        let reported = (0..10_000u32)
            .filter_map(|n| refusals.note(IpAddr::V4(n.into()), refusal("root"), Duration::ZERO))
            .count();
        assert_eq!(reported, ADDRESSES + 1);
        let due = refusals.due(Duration::from_secs(60), false);
        assert_eq!(due.len(), 1);
        assert_eq!(due.first().unwrap().address, None);
        assert_eq!(due.first().unwrap().count, 10_000 - 1_024 - 1);
    }

    #[test]
    fn one_row_lists_only_a_few_names() {
        let mut refusals = Refusals::default();
        for n in 0..100 {
            refusals.note(HERE, refusal(&n.to_string()), Duration::ZERO);
        }
        let due = refusals.due(Duration::ZERO, true);
        assert_eq!(due.first().unwrap().tried.len(), LISTED);
        assert_eq!(due.first().unwrap().keys.len(), LISTED);
    }
}
