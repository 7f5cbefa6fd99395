//! What an open editor sends by itself, learnt, so that it is told from a person at work.
//!
//! Editors talk all the time: some hundred bytes a second over a few forwards, for as long as they are open. A person
//! adds to that. Bytes are counted in windows; the quiet ones of the last minutes show what the editor sends alone, and
//! a window with clearly more is busy. One busy window is a hiccup (an update check, a reconnect); two of the last few
//! are somebody.

use std::collections::VecDeque;

/// Windows that are remembered: ten minutes at ten seconds each.
const KEPT: usize = 60;
/// Windows before which nothing has been learnt.
const LEARNT: usize = 6;
/// The last windows of which two must be busy.
const LATELY: usize = 6;
/// No window with less is busy: SSH's own keepalives and window changes.
const FLOOR: u64 = 512;
/// No heartbeat is more than this in a window, so a steady transfer is never taken for one.
const CEILING: u64 = 128 * 1024;

/// What one direction of one person's traffic to one space is like.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {
    /// Bytes of each window, newest last.
    windows: VecDeque<u64>,
    /// Which of the last ones were busy, newest last.
    busy: VecDeque<bool>,
    /// What an editor that stalled has not sent yet: a laptop or a network that hangs lets go of it in a bunch.
    owed: u64,
}

impl Heartbeat {
    /// Takes the bytes of the window that has just ended; tells whether somebody is at work.
    ///
    /// Before anything has been learnt a window is busy at the ceiling only: an editor that connects fetches what it
    /// needs, and does so again whenever a laptop wakes up.
    pub fn window(&mut self, bytes: u64) -> bool {
        let quiet = self.quiet();
        let busy = bytes > threshold(quiet).saturating_add(self.owed);
        let most = quiet.unwrap_or(0).saturating_mul(LATELY as u64);
        self.owed = self.owed.saturating_add(quiet.unwrap_or(0)).saturating_sub(bytes).min(most);
        push(&mut self.windows, bytes, KEPT);
        push(&mut self.busy, busy, LATELY);
        busy && self.busy.iter().filter(|busy| **busy).count() >= 2
    }

    /// What the quiet windows have, a tenth of all being quiet; nothing before that is learnt.
    fn quiet(&self) -> Option<u64> {
        if self.windows.len() < LEARNT {
            return None;
        }
        let mut sorted: Vec<u64> = self.windows.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 10).copied()
    }
}

/// What a window must exceed: half more than the quiet ones have.
fn threshold(quiet: Option<u64>) -> u64 {
    quiet.map_or(CEILING, |quiet| (quiet + quiet / 2).max(FLOOR).saturating_add(FLOOR).min(CEILING))
}

fn push<T>(queue: &mut VecDeque<T>, value: T, kept: usize) {
    if queue.len() == kept {
        queue.pop_front();
    }
    queue.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number of bytes that wavers by a quarter.
    fn about(bytes: u64, turn: u64) -> u64 {
        bytes + bytes * ((turn * 7919) % 5) / 20 - bytes / 10
    }

    fn busy_windows(heartbeat: &mut Heartbeat, bytes: impl Iterator<Item = u64>) -> usize {
        bytes.filter(|bytes| heartbeat.window(*bytes)).count()
    }

    #[test]
    fn an_idle_editor_is_never_somebody() {
        for rate in [0, 200, 2_000, 20_000, 80_000] {
            let mut editor = Heartbeat::default();
            assert_eq!(busy_windows(&mut editor, (0..400).map(|turn| about(rate, turn))), 0, "{rate}");
        }
    }

    #[test]
    fn a_burst_now_and_then_is_nobody_and_work_is_somebody() {
        let mut editor = Heartbeat::default();
        let hiccups = (0..400).map(|turn| if turn % 30 == 7 { 90_000 } else { about(8_000, turn) });
        assert_eq!(busy_windows(&mut editor, hiccups), 0);
        let typing =
            (0..300).map(|turn| if turn % 4 == 3 { about(8_000, turn) } else { about(14_000, turn) });
        assert!(
            busy_windows(&mut editor, typing) > 200,
            "typing for 50 minutes is not taken for a heartbeat"
        );
    }

    #[test]
    fn beats_that_come_in_a_bunch_after_a_stall_are_nobody() {
        let mut editor = Heartbeat::default();
        let calm = (0..60).map(|turn| about(8_000, turn));
        // Three windows of silence, and all of it at once; and again, before the first is forgotten.
        let stalls = [0, 0, 0, 32_000, 8_000, 0, 0, 24_000, 8_000, 0, 16_000, 8_000];
        assert_eq!(busy_windows(&mut editor, calm.chain(stalls)), 0);
        // It owes no more than it has missed, and not for ever.
        let work = [0, 0, 90_000, 90_000].into_iter().chain([0; 40]).chain([60_000, 60_000]);
        assert_eq!(busy_windows(&mut editor, work), 2);
    }

    #[test]
    fn a_steady_transfer_is_somebody_from_its_second_window() {
        let mut copy = Heartbeat::default();
        assert_eq!(busy_windows(&mut copy, (0..300).map(|turn| about(10_000_000, turn))), 299);
    }

    #[test]
    fn keys_through_a_jump_are_seen_beside_keepalives() {
        let mut jump = Heartbeat::default();
        assert_eq!(busy_windows(&mut jump, (0..90).map(|turn| if turn % 3 == 0 { 120 } else { 0 })), 0);
        assert!(busy_windows(&mut jump, (0..6).map(|_| 40 * 44)) >= 4);
    }
}
