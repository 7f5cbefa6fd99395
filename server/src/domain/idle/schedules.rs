//! Random schedules of people, kernels, jobs and failures against the pure rules: is a space ever stopped that should
//! not be, and is one ever left up that should not be?
//!
//! A world of its own keeps the true time and what truly happens. The gateway sees of it what looks show: wall time that
//! may jump, looks that may fail, rows that outlive it. `SPACEPORT_SCHEDULES` sets how many schedules run.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use time::OffsetDateTime;

use super::*;

const POLL: i64 = 60;
/// The world moves in steps of so many seconds.
const TICK: i64 = 20;
const HORIZON: i64 = 45 * POLL;
const EPOCH: i64 = 1_764_000_000;

/// Random numbers that a seed repeats (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, end: i64) -> i64 {
        i64::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
    fn percent(&mut self, percent: i64) -> bool {
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

fn within(stretches: &[(i64, i64)], at: i64) -> bool {
    stretches.iter().any(|(from, to)| (*from..*to).contains(&at))
}

/// The end of the last part of a stretch before a time.
fn last_of(stretches: &[(i64, i64)], at: i64) -> Option<i64> {
    stretches.iter().filter(|(from, _)| *from < at).map(|(_, to)| *to.min(&at)).max()
}

/// The app at AWS.
#[derive(Clone, Copy, PartialEq)]
enum App {
    Up,
    Going { until: i64 },
    None,
}

/// What will happen.
struct Plan {
    policy: Policy,
    keys: Vec<i64>,
    kernels: Vec<(i64, i64)>,
    jobs: Vec<(i64, i64)>,
    gpus: Vec<(i64, i64)>,
    forged: bool,
    blind: Vec<(i64, i64)>,
    down: Vec<(i64, i64)>,
    holds: Vec<(i64, i64)>,
    jumps: Vec<(i64, i64)>,
    /// When somebody else deletes the app, and starts another after two minutes.
    elsewhere: Option<i64>,
    /// Nothing fails: then idle spaces must go in time.
    calm: bool,
}

impl Plan {
    fn of(dice: &mut Dice) -> Self {
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

/// The row of a run.
struct Row {
    created: i64,
    began: OffsetDateTime,
    kept: (Known, Stopper),
}

struct World<'a> {
    plan: &'a Plan,
    dice: Dice,
    now: i64,
    wall_ahead: i64,
    jumped: Option<i64>,
    app: App,
    created: i64,
    row: Option<Row>,
    /// A `DeleteApp` that AWS will carry out later.
    late_delete: Option<i64>,
    checked: Option<(i64, Verdict)>,
    /// When people were told last that the space stops.
    told: Option<i64>,
    /// Every look of each run, by the creation time of its app, and when its stop was decided.
    looks: BTreeMap<i64, (OffsetDateTime, Vec<Evidence>, Option<OffsetDateTime>)>,
    last_gpu: Option<i64>,
    stops: u32,
    would_have: Option<i64>,
    first_delete: Option<i64>,
    alerts: u32,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, seed: u64) -> Self {
        Self {
            plan,
            dice: Dice(seed ^ 0xA5A5),
            now: 0,
            wall_ahead: 0,
            jumped: None,
            app: App::Up,
            created: 0,
            row: None,
            late_delete: None,
            checked: None,
            told: None,
            looks: BTreeMap::new(),
            last_gpu: None,
            stops: 0,
            would_have: None,
            first_delete: None,
            alerts: 0,
        }
    }

    fn wall(&self) -> OffsetDateTime {
        self.wall_of(self.now)
    }

    fn wall_of(&self, at: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(EPOCH + at + self.wall_ahead).unwrap()
    }

    fn run(&mut self) {
        while self.now < HORIZON {
            self.happen();
            if !within(&self.plan.down, self.now) {
                if self.now % POLL == 0 {
                    self.pass();
                }
                self.wake();
            }
            if self.plan.calm {
                self.assert_gone_in_time();
            }
            self.now += TICK;
        }
    }

    /// What happens by itself.
    fn happen(&mut self) {
        for (_, by) in self.plan.jumps.iter().filter(|(at, _)| *at == self.now) {
            self.wall_ahead += by;
            self.jumped = Some(self.now);
        }
        if self.late_delete.is_some_and(|at| at <= self.now) {
            self.late_delete = None;
            self.execute_delete();
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

    fn look(&mut self) -> Evidence {
        let plan = self.plan;
        let seen = |sign, at| Seen { sign, at: self.wall_of(at), by: None };
        let keys = plan.keys.iter().copied().filter(|at| (self.created..=self.now).contains(at)).max();
        let hold = plan.holds.iter().find(|(from, to)| (*from..*to).contains(&self.now));
        let hold =
            hold.map(|(_, to)| Hold { until: self.wall_of(*to), by: String::new(), reason: String::new() });
        let outside =
            Outside { signs: keys.map(|at| seen(Sign::Keys, at)).into_iter().collect(), unsure: None };
        let inside = if within(&plan.blind, self.now) {
            Err(NoLook { why: "no answer".to_owned(), not_set_up: false })
        } else {
            let busy = u32::from(within(&plan.kernels, self.now));
            let kernel = last_of(&plan.kernels, self.now + 1).map(|at| seen(Sign::Kernel, at));
            let forged = plan.forged.then(|| seen(Sign::Pty, self.now));
            let used: i64 = plan.jobs.iter().map(|(from, to)| (self.now.min(*to) - from).max(0)).sum();
            let gpu = within(&plan.gpus, self.now);
            if gpu {
                self.last_gpu = Some(self.now);
            }
            Ok(Inside {
                kernels: Some((1, busy)),
                signs: kernel.into_iter().chain(forged).collect(),
                cpu: Some(CpuUse {
                    source: CpuSource::default(),
                    used_s: used as f64,
                    up_s: self.now as f64,
                }),
                cpu_percent: None,
                gpu_percent: Some(if gpu { 90.0 } else { 0.0 }),
                programs: Vec::new(),
            })
        };
        let gap = i64::try_from(plan.policy.longest_gap().as_secs()).unwrap();
        let steady = self.jumped.is_none_or(|at| self.now - at > gap);
        Evidence { at: self.wall(), steady, outside, inside, hold }
    }

    fn load(&self) -> Option<(Known, Stopper)> {
        let kept = self.row.as_ref().map(|row| &row.kept)?;
        // Now and then as Postgres keeps it: as text.
        let written = (self.now % (9 * POLL) == 0).then(|| serde_json::to_string(kept).unwrap());
        Some(written.map_or_else(|| kept.clone(), |text| serde_json::from_str(&text).unwrap()))
    }

    fn save(&mut self, known: &Known, stopper: &Stopper) {
        if let Some(row) = &mut self.row {
            row.kept = (known.clone(), stopper.clone());
        }
    }

    fn pass(&mut self) {
        let ours = self.row.as_ref().map(|row| row.created);
        if ours.is_some() && (self.app == App::None || ours != Some(self.created)) {
            if let Some((known, mut stopper)) = self.load() {
                let commands = stopper.step(self.wall(), &self.plan.policy, Input::Ended);
                self.save(&known, &stopper);
                self.carry_out(commands);
            }
            self.row = None;
        }
        if self.app != App::Up {
            return;
        }
        if self.row.is_none() {
            let (began, known) = (self.wall(), Known::of_run(self.wall()));
            self.row = Some(Row { created: self.created, began, kept: (known, Stopper::default()) });
        }
        let Some((mut known, mut stopper)) = self.load() else { return };
        let verdict = self.judge(&mut known);
        let commands = stopper.step(self.wall(), &self.plan.policy, Input::Verdict(verdict));
        self.save(&known, &stopper);
        self.carry_out(commands);
    }

    fn judge(&mut self, known: &mut Known) -> Verdict {
        let look = self.look();
        let began_at = self.row.as_ref().map_or_else(|| self.wall(), |row| row.began);
        let kept = self.row.as_ref().map_or(self.created, |row| row.created);
        self.looks.entry(kept).or_insert_with(|| (began_at, Vec::new(), None)).1.push(look.clone());
        known.take(look, &self.plan.policy);
        judge(self.wall(), &self.plan.policy, known, Run { began_at })
    }

    fn wake(&mut self) {
        let Some((known, mut stopper)) = self.load() else { return };
        if stopper.wakes_at().is_some_and(|at| at <= self.wall()) {
            let commands = stopper.step(self.wall(), &self.plan.policy, Input::Time);
            self.save(&known, &stopper);
            self.carry_out(commands);
        }
    }

    fn carry_out(&mut self, commands: Vec<Command>) {
        let mut queue = VecDeque::from(commands);
        while let Some(command) = queue.pop_front() {
            // The process may end between a write and what it says.
            if !self.plan.calm && self.dice.percent(3) {
                return;
            }
            let Some((mut known, mut stopper)) = self.load() else { return };
            let input = match command {
                Command::Check => {
                    let check = self.app();
                    let verdict = self.judge(&mut known);
                    self.checked = Some((self.now, verdict.clone()));
                    Input::Checked(check, verdict)
                }
                Command::Delete => Input::Answered(self.delete()),
                Command::Look => Input::Seen(self.app()),
                Command::Warn { .. } => {
                    self.told = Some(self.now);
                    if self.plan.policy.mode == Mode::DryRun {
                        continue;
                    }
                    // Nor need it live to write down that they were told.
                    if !self.plan.calm && self.dice.percent(3) {
                        return;
                    }
                    Input::Told
                }
                Command::TooLong => {
                    self.alerts += 1;
                    continue;
                }
                Command::Finish(Outcome::WouldHave(_)) => {
                    self.would_have.get_or_insert(self.now);
                    continue;
                }
                Command::Stays { .. } | Command::Stuck { .. } | Command::Finish(_) => continue,
            };
            let more = stopper.step(self.wall(), &self.plan.policy, input);
            self.save(&known, &stopper);
            queue.extend(more);
        }
    }

    fn app(&mut self) -> Check {
        if !self.plan.calm && self.dice.percent(10) {
            return Check::Unclear;
        }
        match self.app {
            App::Up if self.row.as_ref().is_some_and(|row| row.created == self.created) => Check::Same,
            App::Going { .. } if self.row.as_ref().is_some_and(|row| row.created == self.created) => {
                Check::Going
            }
            App::Up | App::Going { .. } | App::None => Check::Gone,
        }
    }

    fn delete(&mut self) -> Answer {
        self.first_delete.get_or_insert(self.now);
        let wall = self.wall();
        if let Some((.., decided)) = self.row.as_ref().and_then(|row| self.looks.get_mut(&row.created)) {
            decided.get_or_insert(wall);
        }
        if self.plan.calm || self.dice.percent(60) {
            self.execute_delete();
            return Answer::Accepted;
        }
        match self.dice.below(3) {
            0 => Answer::Refused("ThrottlingException".to_owned()),
            1 => Answer::Unclear,
            _ => {
                // AWS heard it, and does it after our time-out.
                self.late_delete = Some(self.now + (1 + self.dice.below(2)) * TICK);
                Answer::Unclear
            }
        }
    }

    /// AWS deletes the app that there is, whichever it is. This is where a mistake would cost somebody their work.
    fn execute_delete(&mut self) {
        if self.app != App::Up {
            return;
        }
        self.app = App::Going { until: self.now + POLL + self.dice.below(6) * TICK };
        self.stops += 1;
        let row = self.row.as_ref().unwrap();
        assert_eq!(row.created, self.created, "a stop of another run");
        let (checked, verdict) = self.checked.clone().unwrap();
        assert!(matches!(verdict, Verdict::Idle { .. }), "a stop on {verdict:?}");
        let idle = i64::try_from(self.plan.policy.idle.as_secs()).unwrap();
        // After a jump of the clock the age of a run is not what it was; then only people count for sure.
        let last = self.last_activity(checked, !self.over(checked) && self.plan.jumps.is_empty());
        assert!(checked - last >= idle, "active at {last}, checked at {checked}, stopped at {}", self.now);
        assert!(!within(&self.plan.holds, checked), "held at {checked}");
        let grace = i64::try_from(self.plan.policy.grace.as_secs()).unwrap();
        let told = self.told.filter(|told| (self.created..=checked - grace).contains(told));
        assert!(told.is_some(), "nobody had {grace} s to object: told at {:?}", self.told);
    }

    fn over(&self, at: i64) -> bool {
        self.plan
            .policy
            .longest_run
            .is_some_and(|longest| at - self.created >= i64::try_from(longest.as_secs()).unwrap())
    }

    /// The last true activity up to a time, with or without what is inside.
    fn last_activity(&self, at: i64, inside: bool) -> i64 {
        let keys = self.plan.keys.iter().copied().filter(|key| *key <= at).max();
        let seen = [&self.plan.kernels, &self.plan.jobs].map(|list| last_of(list, at).filter(|_| inside));
        let gpu = self.last_gpu.filter(|gpu| inside && *gpu <= at);
        [keys, seen[0], seen[1], gpu, Some(self.created)].into_iter().flatten().max().unwrap()
    }

    fn assert_gone_in_time(&self) {
        if self.app != App::Up || self.plan.policy.mode != Mode::Stop {
            return;
        }
        let of = |duration: Duration| i64::try_from(duration.as_secs()).unwrap();
        let (idle, grace) = (of(self.plan.policy.idle), of(self.plan.policy.grace));
        let longest = self.plan.policy.longest_run.map(of);
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

fn schedules() -> u64 {
    std::env::var("SPACEPORT_SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000)
}

#[test]
fn no_space_is_stopped_that_should_not_be_and_none_is_left_up() {
    let (mut stops, mut alerts) = (0_u64, 0_u64);
    for seed in 0..schedules() {
        let plan = Plan::of(&mut Dice(seed));
        let mut world = World::new(&plan, seed);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
        assert!(done.is_ok(), "schedule {seed}");
        stops += u64::from(world.stops);
        alerts += u64::from(world.alerts);
    }
    // The schedules do come to where it matters.
    assert!(stops > schedules() / 4, "{stops} stops");
    assert!(alerts > 0, "{alerts} alerts");
}

#[test]
fn a_dry_run_reports_what_a_stop_would_have_done_and_when() {
    for seed in 0..2_000 {
        let mut plan = Plan::of(&mut Dice(seed));
        if !plan.calm {
            continue;
        }
        let mut real = World::new(&plan, seed);
        real.run();
        let stopped = real.first_delete;
        plan.policy.mode = Mode::DryRun;
        let mut dry = World::new(&plan, seed);
        dry.run();
        assert_eq!(dry.would_have, stopped, "schedule {seed}");
        assert_eq!((dry.stops, dry.first_delete), (0, None));
    }
}

/// When the stops of the runs of a schedule are decided in a replay of its looks.
fn replayed(world: &World<'_>) -> Vec<(Option<OffsetDateTime>, Option<OffsetDateTime>)> {
    let of_run = |(began, looks, decided): &(OffsetDateTime, Vec<Evidence>, Option<OffsetDateTime>)| {
        let mut replay = Replay::new(&world.plan.policy, *began);
        // As they come back from where they are kept.
        let text = serde_json::to_string(looks).unwrap();
        serde_json::from_str::<Vec<Evidence>>(&text).unwrap().into_iter().for_each(|look| replay.take(look));
        (*decided, replay.done().stop.map(|stop| stop.at))
    };
    world.looks.values().map(of_run).collect()
}

#[test]
fn a_replay_of_looks_makes_the_stops_that_were_made() {
    let (mut stops, mut none) = (0, 0);
    for seed in 0..schedules().min(20_000) {
        let plan = Plan::of(&mut Dice(seed));
        let mut world = World::new(&plan, seed);
        world.run();
        for (lived, replayed) in replayed(&world) {
            if plan.calm {
                assert_eq!(replayed, lived, "schedule {seed}");
                stops += u64::from(lived.is_some());
                none += u64::from(lived.is_none());
            } else if let (Some(lived), true) = (lived, plan.jumps.is_empty()) {
                // What fails on the way puts a stop off. It never makes one.
                assert!(replayed.is_some_and(|at| at <= lived), "schedule {seed}: {replayed:?}, {lived}");
            }
        }
    }
    assert!(stops > 1_000 && none > 100, "{stops} stops, {none} runs without one");
}
