//! Random schedules of people, kernels, jobs and failures against the pure rules: is a space ever stopped that should
//! not be, and is one ever left up that should not be?
//!
//! A world of its own keeps the true time and what truly happens ([`truth`]). The gateway sees of it what looks show:
//! wall time that may jump, looks that may fail, rows that outlive it. `SPACEPORT_SCHEDULES` sets how many schedules run.

pub(crate) mod truth;

use std::collections::{BTreeMap, VecDeque};

use time::OffsetDateTime;

use self::truth::{App, Dice, HORIZON, POLL, Plan, TICK, Truth};
use super::*;

/// The row of a run.
struct Row {
    created: i64,
    began: OffsetDateTime,
    kept: (Known, Stopper),
}

struct World {
    truth: Truth,
    row: Option<Row>,
    /// Every look of each run, by the creation time of its app, and when its stop was decided.
    looks: BTreeMap<i64, (OffsetDateTime, Vec<Evidence>, Option<OffsetDateTime>)>,
    would_have: Option<i64>,
    alerts: u32,
}

impl World {
    fn new(plan: Plan, seed: u64) -> Self {
        Self { truth: Truth::new(plan, seed), row: None, looks: BTreeMap::new(), would_have: None, alerts: 0 }
    }

    fn run(&mut self) {
        while self.truth.now < HORIZON {
            self.truth.happen();
            if !self.truth.gateway_is_down() {
                if self.truth.now % POLL == 0 {
                    self.pass();
                }
                self.wake();
            }
            self.truth.assert_gone_in_time();
            self.truth.now += TICK;
        }
    }

    fn look(&mut self) -> Evidence {
        let truth = &mut self.truth;
        let inside = truth.inside();
        let keys = truth.last_key().map(|at| Seen { sign: Sign::Keys, at: truth.wall_of(at), by: None });
        let hold = truth.held_until().map(|until| Hold {
            until: truth.wall_of(until),
            by: String::new(),
            reason: String::new(),
        });
        let outside = Outside { signs: keys.into_iter().collect(), unsure: None };
        Evidence { at: truth.wall(), steady: truth.steady(), outside, inside, hold }
    }

    fn load(&self) -> Option<(Known, Stopper)> {
        let kept = self.row.as_ref().map(|row| &row.kept)?;
        // Now and then as Postgres keeps it: as text.
        let written = (self.truth.now % (9 * POLL) == 0).then(|| serde_json::to_string(kept).unwrap());
        Some(written.map_or_else(|| kept.clone(), |text| serde_json::from_str(&text).unwrap()))
    }

    fn save(&mut self, known: &Known, stopper: &Stopper) {
        if let Some(row) = &mut self.row {
            row.kept = (known.clone(), stopper.clone());
        }
    }

    fn pass(&mut self) {
        let ours = self.row.as_ref().map(|row| row.created);
        if ours.is_some() && (self.truth.app == App::None || ours != Some(self.truth.created)) {
            if let Some((known, mut stopper)) = self.load() {
                let commands = stopper.step(self.truth.wall(), &self.truth.plan.policy, Input::Ended);
                self.save(&known, &stopper);
                self.carry_out(commands);
            }
            self.row = None;
        }
        if self.truth.app != App::Up {
            return;
        }
        if self.row.is_none() {
            let (began, known) = (self.truth.wall(), Known::of_run(self.truth.wall()));
            self.row = Some(Row { created: self.truth.created, began, kept: (known, Stopper::default()) });
        }
        let Some((mut known, mut stopper)) = self.load() else { return };
        let verdict = self.judge(&mut known);
        let commands = stopper.step(self.truth.wall(), &self.truth.plan.policy, Input::Verdict(verdict));
        self.save(&known, &stopper);
        self.carry_out(commands);
    }

    fn judge(&mut self, known: &mut Known) -> Verdict {
        let look = self.look();
        let began_at = self.row.as_ref().map_or_else(|| self.truth.wall(), |row| row.began);
        let kept = self.row.as_ref().map_or(self.truth.created, |row| row.created);
        self.looks.entry(kept).or_insert_with(|| (began_at, Vec::new(), None)).1.push(look.clone());
        known.take(look, &self.truth.plan.policy);
        judge(self.truth.wall(), &self.truth.plan.policy, known, Run { began_at })
    }

    fn wake(&mut self) {
        let Some((known, mut stopper)) = self.load() else { return };
        if stopper.wakes_at().is_some_and(|at| at <= self.truth.wall()) {
            let commands = stopper.step(self.truth.wall(), &self.truth.plan.policy, Input::Time);
            self.save(&known, &stopper);
            self.carry_out(commands);
        }
    }

    fn carry_out(&mut self, commands: Vec<Command>) {
        let mut queue = VecDeque::from(commands);
        while let Some(command) = queue.pop_front() {
            // The process may end between a write and what it says.
            if self.truth.trouble(3) {
                return;
            }
            let Some((mut known, mut stopper)) = self.load() else { return };
            let input = match command {
                Command::Check => {
                    let check = self.app();
                    let verdict = self.judge(&mut known);
                    self.truth.check();
                    Input::Checked(check, verdict)
                }
                Command::Delete => Input::Answered(self.delete()),
                Command::Look => Input::Seen(self.app()),
                Command::TooLong => {
                    self.alerts += 1;
                    continue;
                }
                Command::Finish(Outcome::WouldHave(_)) => {
                    self.would_have.get_or_insert(self.truth.now);
                    continue;
                }
                Command::Warn { .. } => {
                    self.truth.tell();
                    // Nobody is told of a dry run; nor need the process live to write down that they were told.
                    if self.truth.plan.policy.mode == Mode::DryRun || self.truth.trouble(3) {
                        continue;
                    }
                    Input::Told
                }
                Command::Stays { .. } | Command::Stuck { .. } | Command::Finish(_) => continue,
            };
            let more = stopper.step(self.truth.wall(), &self.truth.plan.policy, input);
            self.save(&known, &stopper);
            queue.extend(more);
        }
    }

    fn delete(&mut self) -> Answer {
        let (wall, created) = (self.truth.wall(), self.row.as_ref().unwrap().created);
        if let Some((.., decided)) = self.looks.get_mut(&created) {
            decided.get_or_insert(wall);
        }
        self.truth.delete(created)
    }

    fn app(&mut self) -> Check {
        if self.truth.trouble(10) {
            return Check::Unclear;
        }
        let ours = self.row.as_ref().is_some_and(|row| row.created == self.truth.created);
        match self.truth.app {
            App::Up if ours => Check::Same,
            App::Going { .. } if ours => Check::Going,
            App::Up | App::Going { .. } | App::None => Check::Gone,
        }
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
        let mut world = World::new(plan, seed);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
        assert!(done.is_ok(), "schedule {seed}");
        stops += u64::from(world.truth.stops);
        alerts += u64::from(world.alerts);
    }
    // The schedules do come to where it matters.
    assert!(stops > schedules() / 4, "{stops} stops");
    assert!(alerts > 0, "{alerts} alerts");
}

#[test]
fn a_dry_run_reports_what_a_stop_would_have_done_and_when() {
    for seed in 0..2_000 {
        let plan = || Plan::of(&mut Dice(seed));
        if !plan().calm {
            continue;
        }
        let mut real = World::new(plan(), seed);
        real.run();
        let mut dry = World::new(plan(), seed);
        dry.truth.plan.policy.mode = Mode::DryRun;
        dry.run();
        assert_eq!(dry.would_have, real.truth.first_delete, "schedule {seed}");
        assert_eq!((dry.truth.stops, dry.truth.first_delete), (0, None));
    }
}

/// When the stops of the runs of a schedule are decided in a replay of its looks.
fn replayed(world: &World) -> Vec<(Option<OffsetDateTime>, Option<OffsetDateTime>)> {
    let of_run = |(began, looks, decided): &(OffsetDateTime, Vec<Evidence>, Option<OffsetDateTime>)| {
        let mut replay = Replay::new(&world.truth.plan.policy, *began);
        looks.iter().cloned().for_each(|look| replay.take(look));
        (*decided, replay.done().stop.map(|stop| stop.at))
    };
    world.looks.values().map(of_run).collect()
}

#[test]
fn a_replay_of_looks_makes_the_stops_that_were_made() {
    let (mut stops, mut none) = (0, 0);
    for seed in 0..schedules().min(5_000) {
        let mut world = World::new(Plan::of(&mut Dice(seed)), seed);
        world.run();
        for (lived, replayed) in replayed(&world) {
            if world.truth.plan.calm {
                assert_eq!(replayed, lived, "schedule {seed}");
                stops += u64::from(lived.is_some());
                none += u64::from(lived.is_none());
            } else if let (Some(lived), true) = (lived, world.truth.plan.jumps.is_empty()) {
                // What fails on the way puts a stop off. It never makes one.
                assert!(replayed.is_some_and(|at| at <= lived), "schedule {seed}: {replayed:?}, {lived}");
            }
        }
    }
    assert!(stops > 1_000 && none > 100, "{stops} stops, {none} runs without one");
}
