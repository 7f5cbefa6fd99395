//! What truly happens in a schedule, and what must never follow from it.

use std::time::Duration;

use time::OffsetDateTime;

use crate::domain::idle::*;

pub(crate) const POLL: i64 = 60;
/// The world moves in steps of so many seconds.
pub(crate) const TICK: i64 = 20;
pub(crate) const HORIZON: i64 = 45 * POLL;
const EPOCH: i64 = 1_764_000_000;

/// Random numbers that a seed repeats (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, end: i64) -> i64 {
        i64::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
    pub(crate) fn percent(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }
    /// Up to so many stretches of the horizon.
    fn stretches(&mut self, most: i64, longest: i64) -> Vec<(i64, i64)> {
        (0..self.below(most + 1))
            .map(|_| {
                let from = self.below(HORIZON / TICK) * TICK;
                (from, from + 2 * POLL + self.below(longest / TICK) * TICK)
            })
            .collect()
    }
}

pub(crate) fn within(stretches: &[(i64, i64)], at: i64) -> bool {
    stretches.iter().any(|(from, to)| (*from..*to).contains(&at))
}

/// The end of the last part of a stretch before a time.
fn last_of(stretches: &[(i64, i64)], at: i64) -> Option<i64> {
    stretches.iter().filter(|(from, _)| *from < at).map(|(_, to)| *to.min(&at)).max()
}

/// The app at AWS.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum App {
    Up,
    Going { until: i64 },
    None,
}

/// What will happen.
pub(crate) struct Plan {
    pub(crate) policy: Policy,
    pub(crate) keys: Vec<i64>,
    pub(crate) kernels: Vec<(i64, i64)>,
    pub(crate) jobs: Vec<(i64, i64)>,
    pub(crate) gpus: Vec<(i64, i64)>,
    pub(crate) forged: bool,
    pub(crate) blind: Vec<(i64, i64)>,
    pub(crate) down: Vec<(i64, i64)>,
    pub(crate) holds: Vec<(i64, i64)>,
    pub(crate) jumps: Vec<(i64, i64)>,
    /// When somebody else deletes the app, and starts another after two minutes.
    pub(crate) elsewhere: Option<i64>,
    /// Nothing fails: then idle spaces must go in time.
    pub(crate) calm: bool,
}

impl Plan {
    pub(crate) fn of(dice: &mut Dice) -> Self {
        let calm = dice.percent(30);
        let seconds = |count: i64| Duration::from_secs(u64::try_from(count).unwrap());
        let policy = Policy {
            mode: Mode::Stop,
            idle: seconds((3 + dice.below(8)) * POLL),
            grace: seconds(dice.below(10) * TICK),
            longest_run: dice.percent(40).then(|| seconds((8 + dice.below(20)) * POLL)),
            ..Policy::default()
        };
        let trouble = |dice: &mut Dice, most: i64, longest: i64| {
            if calm { Vec::new() } else { dice.stretches(most, longest) }
        };
        let down = trouble(dice, 2, 6 * POLL);
        let mut jumps = Vec::new();
        for (at, _) in trouble(dice, 2, POLL) {
            // A jump that nobody was there to see cannot be known of.
            if !down.iter().any(|(from, to)| (from - 6 * POLL..=*to).contains(&at)) {
                jumps.push((at, (dice.below(240) - 120) * 60));
            }
        }
        Self {
            keys: (0..dice.below(5)).map(|_| dice.below(HORIZON)).collect(),
            kernels: dice.stretches(2, 15 * POLL),
            jobs: dice.stretches(2, 15 * POLL),
            gpus: if dice.percent(30) { dice.stretches(1, 15 * POLL) } else { Vec::new() },
            forged: dice.percent(15),
            blind: trouble(dice, 4, 8 * POLL),
            holds: trouble(dice, 1, 15 * POLL),
            elsewhere: (!calm && dice.percent(20)).then(|| dice.below(HORIZON / TICK) * TICK),
            jumps,
            down,
            policy,
            calm,
        }
    }
}

/// A `DeleteApp` on its way, and what it rests on. Whatever is found later cannot call it back.
#[derive(Clone, Copy)]
struct Delete {
    /// When the app that it is for was created.
    created: i64,
    checked: i64,
    told: Option<i64>,
}

/// The space as it truly is, and AWS.
pub(crate) struct Truth {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    pub(crate) now: i64,
    wall_ahead: i64,
    /// When the clock was set last.
    jumped: Option<i64>,
    pub(crate) app: App,
    /// When the app was created.
    pub(crate) created: i64,
    /// A `DeleteApp` that AWS will carry out later.
    late_delete: Option<(i64, Delete)>,
    /// When the last check before a stop was made.
    checked: i64,
    /// When people were told last that the space stops.
    told: Option<i64>,
    last_gpu: Option<i64>,
    pub(crate) stops: u32,
    pub(crate) first_delete: Option<i64>,
}

impl Truth {
    pub(crate) fn new(plan: Plan, seed: u64) -> Self {
        Self {
            plan,
            dice: Dice(seed ^ 0xA5A5),
            now: 0,
            wall_ahead: 0,
            jumped: None,
            app: App::Up,
            created: 0,
            late_delete: None,
            checked: 0,
            told: None,
            last_gpu: None,
            stops: 0,
            first_delete: None,
        }
    }

    pub(crate) fn wall(&self) -> OffsetDateTime {
        self.wall_of(self.now)
    }

    /// What the gateway's clock, as it is set now, says of a time.
    pub(crate) fn wall_of(&self, at: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(EPOCH + at + self.wall_ahead).unwrap()
    }

    /// AWS's clock, which nobody sets.
    pub(crate) fn created_at(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(EPOCH + self.created).unwrap()
    }

    pub(crate) fn gateway_is_down(&self) -> bool {
        within(&self.plan.down, self.now)
    }

    /// Something goes wrong that does so in so many of a hundred cases, unless nothing is to fail.
    pub(crate) fn trouble(&mut self, percent: i64) -> bool {
        !self.plan.calm && self.dice.percent(percent)
    }

    /// What happens by itself.
    pub(crate) fn happen(&mut self) {
        for (_, by) in self.plan.jumps.iter().filter(|(at, _)| *at == self.now) {
            self.wall_ahead += by;
            self.jumped = Some(self.now);
        }
        if let Some((at, delete)) = self.late_delete
            && at <= self.now
        {
            self.late_delete = None;
            self.execute(delete);
        }
        if self.plan.elsewhere == Some(self.now) && self.app == App::Up {
            self.app = App::Going { until: self.now + POLL };
        }
        match self.app {
            App::Going { until } if until <= self.now => self.app = App::None,
            // Whoever stopped it elsewhere starts it again.
            App::None
                if self.plan.elsewhere.is_some_and(|at| at + 3 * POLL <= self.now)
                    && self.late_delete.is_none() =>
            {
                self.app = App::Up;
                self.created = self.now;
            }
            _ => {}
        }
    }

    /// The newest key in this run.
    pub(crate) fn last_key(&self) -> Option<i64> {
        self.plan.keys.iter().copied().filter(|at| (self.created..=self.now).contains(at)).max()
    }

    /// Until when the space is held now.
    pub(crate) fn held_until(&self) -> Option<i64> {
        self.plan.holds.iter().find(|(from, to)| (*from..*to).contains(&self.now)).map(|(_, to)| *to)
    }

    /// Whether the clock has not been set for so long that no look remembers it.
    pub(crate) fn steady(&self) -> bool {
        let gap = i64::try_from(self.plan.policy.longest_gap().as_secs()).unwrap();
        self.jumped.is_none_or(|at| self.now - at > gap)
    }

    /// What a look inside shows.
    pub(crate) fn inside(&mut self) -> Result<Inside, NoLook> {
        let plan = &self.plan;
        if within(&plan.blind, self.now) {
            return Err(NoLook { why: "no answer".to_owned(), not_set_up: false });
        }
        let seen = |sign, at| Seen { sign, at: self.wall_of(at), by: None };
        let busy = u32::from(within(&plan.kernels, self.now));
        let kernel = last_of(&plan.kernels, self.now + 1).map(|at| seen(Sign::Kernel, at));
        let forged = plan.forged.then(|| seen(Sign::Pty, self.now));
        let used: i64 = plan.jobs.iter().map(|(from, to)| (self.now.min(*to) - from).max(0)).sum();
        let gpu = within(&plan.gpus, self.now);
        let inside = Inside {
            kernels: Some((1, busy)),
            signs: kernel.into_iter().chain(forged).collect(),
            cpu: Some(CpuUse { used_s: used as f64, up_s: self.now as f64, source: CpuSource::Cgroup2 }),
            cpu_percent: None,
            gpu_percent: Some(if gpu { 90.0 } else { 0.0 }),
            programs: Vec::new(),
        };
        if gpu {
            self.last_gpu = Some(self.now);
        }
        Ok(inside)
    }

    /// People are told that the space stops.
    pub(crate) fn tell(&mut self) {
        self.told = Some(self.now);
    }

    /// The last check before a stop is made now.
    pub(crate) fn check(&mut self) {
        self.checked = self.now;
    }

    /// `DeleteApp`, of whoever takes the app to be the one that was created then. AWS knows no precondition.
    pub(crate) fn delete(&mut self, created: i64) -> Answer {
        self.first_delete.get_or_insert(self.now);
        let delete = Delete { created, checked: self.checked, told: self.told };
        if self.plan.calm || self.dice.percent(60) {
            self.execute(delete);
            return Answer::Accepted;
        }
        match self.dice.below(3) {
            0 => Answer::Refused("ThrottlingException".to_owned()),
            1 => Answer::Unclear,
            _ => {
                // AWS heard it, and does it after our time-out.
                self.late_delete = Some((self.now + (1 + self.dice.below(2)) * TICK, delete));
                Answer::Unclear
            }
        }
    }

    /// AWS deletes the app that there is, whichever it is. This is where a mistake would cost somebody their work.
    fn execute(&mut self, Delete { created, checked, told }: Delete) {
        if self.app != App::Up {
            return;
        }
        self.app = App::Going { until: self.now + POLL + self.dice.below(6) * TICK };
        self.stops += 1;
        assert_eq!(created, self.created, "a stop of another run");
        let idle = seconds_of(self.plan.policy.idle);
        // After a jump of the clock the age of a run is not what it was; then only people count for sure.
        let inside = !self.over(checked) && self.plan.jumps.is_empty();
        let last = self.last_activity(checked, inside);
        assert!(checked - last >= idle, "active at {last}, checked at {checked}, stopped at {}", self.now);
        assert!(!(inside && within(&self.plan.blind, checked)), "nobody saw at {checked} what is inside");
        assert!(!within(&self.plan.holds, checked), "held at {checked}");
        let grace = seconds_of(self.plan.policy.grace);
        let in_time = told.is_some_and(|told| (self.created..=checked - grace).contains(&told));
        assert!(in_time, "nobody had {grace} s to object: told at {told:?}");
    }

    fn over(&self, at: i64) -> bool {
        self.plan.policy.longest_run.is_some_and(|longest| at - self.created >= seconds_of(longest))
    }

    /// The last true activity up to a time, with or without what is inside.
    fn last_activity(&self, at: i64, inside: bool) -> i64 {
        let keys = self.plan.keys.iter().copied().filter(|key| *key <= at).max();
        let seen = [&self.plan.kernels, &self.plan.jobs].map(|list| last_of(list, at).filter(|_| inside));
        let gpu = self.last_gpu.filter(|gpu| inside && *gpu <= at);
        [keys, seen[0], seen[1], gpu, Some(self.created)].into_iter().flatten().max().unwrap()
    }

    /// Where nothing fails, an idle space goes in time.
    pub(crate) fn assert_gone_in_time(&self) {
        if !self.plan.calm || self.app != App::Up || self.plan.policy.mode != Mode::Stop {
            return;
        }
        let (idle, grace) = (seconds_of(self.plan.policy.idle), seconds_of(self.plan.policy.grace));
        let longest = self.plan.policy.longest_run.map(seconds_of);
        let keys = self.plan.keys.iter().copied().filter(|key| *key <= self.now).max().unwrap_or(0);
        // What only looks show counts until the look after it.
        let honest = self.last_activity(self.now, true).max(self.last_gpu.map_or(0, |gpu| gpu + POLL));
        let latest = if self.plan.forged { i64::MAX / 2 } else { honest + idle };
        let latest = longest.map_or(latest, |longest| latest.min((self.created + longest).max(keys + idle)));
        assert!(
            self.now <= latest + grace + 2 * POLL + TICK,
            "still up at {}, was due at {latest}",
            self.now
        );
    }
}

fn seconds_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap()
}
