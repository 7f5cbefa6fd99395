//! Whether a browser may approve an SSH key, for how long, and from where.

use std::time::Duration;

use super::reader::Section;
use crate::domain::approval::Elsewhere;

/// The shortest time that the page offers.
const SHORTEST: Duration = Duration::from_secs(8 * 60 * 60);

/// `[ssh.approval]`.
#[derive(Debug, Clone)]
pub struct Approval {
    /// Whether unknown keys can be approved; without pages or providers they cannot.
    pub enabled: bool,
    /// The longest that a key may be trusted for.
    pub longest: Duration,
    /// What the page proposes.
    pub usual: Duration,
    /// Whether somebody may approve from another address than the SSH client's.
    pub elsewhere: Elsewhere,
    /// Whether a client without any key is let in, for one connection, by approval alone.
    pub without_key: bool,
    /// Approvals that one replica waits for, from all addresses.
    pub max_pending: u32,
    /// Approvals that one replica waits for, from one address.
    pub max_pending_per_source: u32,
}

impl Approval {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let longest = section.seconds("longest_s", 60..=31_536_000, 1_209_600);
        let usual = section.seconds("usual_s", 60..=31_536_000, 604_800);
        let settings = Self {
            enabled: section.flag("enabled", true),
            longest,
            usual: usual.min(longest),
            elsewhere: section.word(
                "elsewhere",
                &[("confirm", Elsewhere::Confirm), ("refuse", Elsewhere::Refuse)],
                Elsewhere::Confirm,
            ),
            without_key: section.flag("without_key", false),
            max_pending: section.count("max_pending", 1..=10_000, 200),
            max_pending_per_source: section.count("max_pending_per_source", 1..=10_000, 10),
        };
        section.finish();
        settings
    }

    /// The times that the page offers, the shortest first.
    #[must_use]
    pub fn choices(&self) -> Vec<Duration> {
        let mut choices = vec![SHORTEST.min(self.longest), self.usual, self.longest];
        choices.sort();
        choices.dedup();
        choices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_longer_than_the_longest_is_offered() {
        let hours = |longest, usual| {
            let hour = |hours: u64| Duration::from_secs(hours * 3600);
            let approval = Approval {
                enabled: true,
                longest: hour(longest),
                usual: hour(usual),
                elsewhere: Elsewhere::Confirm,
                without_key: false,
                max_pending: 1,
                max_pending_per_source: 1,
            };
            approval.choices().iter().map(|choice| choice.as_secs() / 3600).collect::<Vec<_>>()
        };
        assert_eq!(hours(336, 168), [8, 168, 336]);
        assert_eq!(hours(12, 12), [8, 12]);
        assert_eq!(hours(1, 1), [1]);
        assert_eq!(hours(336, 2), [2, 8, 336]);
    }
}
