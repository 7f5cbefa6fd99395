//! What came of a simulation, for people and for machines.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::{PastRun, Sink};
use crate::app::operator;
use crate::domain::cost::{priced, shown};
use crate::domain::idle::{
    Evidence, Looks, Policies, Policy, Replay, Replayed, Subject, Trigger, WouldStop, in_a_line,
};
use crate::domain::ids::{DomainAlias, SpaceName};
use crate::domain::money::Money;
use crate::domain::notice::plain;
use crate::domain::span::rough;

/// Decimals of dollars for machines.
const DECIMALS: u32 = 9;
/// What every number rests on.
const ASSUMED: [&str; 4] = [
    "a space that would have been stopped stays stopped until that run really ended",
    "a stop comes with the first look after its grace, and AWS does as it is asked",
    "dry runs are tried in earnest; groups of owners and tags are those of today",
    "looks are as they were made: what nobody looked at stays unknown",
];

/// Runs of the past under policies.
pub(super) struct Report {
    policies: Policies,
    now: Option<Now>,
    runs: u64,
    spaces: BTreeSet<(DomainAlias, SpaceName)>,
    looks: Looks,
    /// Why nobody could tell, and in how many runs.
    doubts: BTreeMap<String, u64>,
    stops: Vec<Stop>,
}

/// The run at hand.
struct Now {
    run: PastRun,
    policy: String,
    replay: Replay,
}

/// A stop that would have been, and what it would have saved.
struct Stop {
    run: PastRun,
    policy: String,
    would: WouldStop,
    /// How long it really went on.
    went_on: Duration,
    saved: Money,
    unpriced_us: i64,
}

impl Sink for Report {
    fn run(&mut self, run: PastRun) -> Result<()> {
        self.close();
        self.runs += 1;
        self.spaces.insert((run.domain.clone(), run.space.clone()));
        let subject =
            Subject { domain: &run.domain, space: &run.space, groups: &run.groups, tags: &run.tags };
        let rule = self.policies.of(&subject);
        // Whatever the policy says of looks, they were made as they were.
        let policy = Policy { look_every: run.look_every, ..rule.policy.clone() };
        let replay = Replay::new(&policy, run.began_at);
        self.now = Some(Now { policy: rule.scope.to_string(), replay, run });
        Ok(())
    }

    fn look(&mut self, look: Evidence) -> Result<()> {
        if let Some(now) = &mut self.now {
            now.replay.take(look);
        }
        Ok(())
    }
}

impl Report {
    pub(super) fn new(policies: Policies) -> Self {
        Self {
            policies,
            now: None,
            runs: 0,
            spaces: BTreeSet::new(),
            looks: Looks::default(),
            doubts: BTreeMap::new(),
            stops: Vec::new(),
        }
    }

    /// After the last look.
    pub(super) fn finish(mut self) -> Self {
        self.close();
        self.stops.sort_by_key(|stop| stop.would.at);
        self
    }

    fn close(&mut self) {
        let Some(Now { run, policy, replay }) = self.now.take() else { return };
        let Replayed { stop, looks, doubt, last } = replay.done();
        self.looks.active += looks.active;
        self.looks.idle += looks.idle;
        self.looks.unknown += looks.unknown;
        if let Some(doubt) = doubt {
            *self.doubts.entry(plain(&doubt.to_string())).or_default() += 1;
        }
        let Some(would) = stop else { return };
        let ended: OffsetDateTime = run.ended_at.or(last).unwrap_or(would.at).max(would.at);
        let (saved, unpriced_us) = priced(&run.rates, would.at, ended);
        self.stops.push(Stop { policy, went_on: ended - would.at, saved, unpriced_us, would, run });
    }

    fn saved(&self) -> (Money, i64, Duration) {
        let sum = (Money::ZERO, 0, Duration::ZERO);
        self.stops.iter().fold(sum, |(saved, unpriced_us, went_on), stop| {
            (saved + stop.saved, unpriced_us + stop.unpriced_us, went_on + stop.went_on)
        })
    }

    fn wrong(&self) -> usize {
        self.stops.iter().filter(|stop| stop.would.met.is_some()).count()
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out: String = self.stops.iter().map(Stop::text).collect();
        let (saved, unpriced_us, went_on) = self.saved();
        let (stops, runs, spaces) = (self.stops.len(), self.runs, self.spaces.len());
        out += &format!(
            "would have stopped: {stops} of {runs} runs, in {spaces} spaces. They went on for {}: {}\n",
            rough(went_on),
            shown(saved, unpriced_us > 0),
        );
        out += &format!("at the wrong time:  {} of {stops}\n", self.wrong());
        let Looks { active, idle, unknown } = self.looks;
        out += &format!("looks up to then:   {active} active, {idle} idle, {unknown} unknown\n");
        for (doubt, runs) in &self.doubts {
            out += &format!("  unknown in {runs} runs: {doubt}\n");
        }
        out += "assumed:\n";
        for assumed in ASSUMED {
            out += &format!("  {assumed}\n");
        }
        out
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let (saved, unpriced_us, went_on) = self.saved();
        let doubts: Vec<Value> =
            self.doubts.iter().map(|(why, runs)| json!({ "why": why, "runs": runs })).collect();
        json!({
            "stops": self.stops.iter().map(Stop::json).collect::<Vec<_>>(),
            "runs": self.runs,
            "spaces": self.spaces.len(),
            "total": {
                "stops": self.stops.len(),
                "wrong": self.wrong(),
                "went_on_s": went_on.whole_seconds(),
                "saved_usd": usd(saved, unpriced_us),
                "unpriced_s": unpriced_us / 1_000_000,
            },
            "looks": {
                "active": self.looks.active, "idle": self.looks.idle, "unknown": self.looks.unknown,
            },
            "doubts": doubts,
            "assumed": ASSUMED,
        })
    }
}

impl Stop {
    fn since(&self) -> Option<OffsetDateTime> {
        match &self.would.trigger {
            Trigger::Idle { since, .. } => Some(*since),
            Trigger::Person { .. } => None,
        }
    }

    fn over_longest_run(&self) -> bool {
        matches!(self.would.trigger, Trigger::Idle { over_longest_run: true, .. })
    }

    /// What it rests on.
    fn why(&self) -> String {
        let mut why = in_a_line(&self.would.grounds);
        if self.over_longest_run() {
            why = format!("its longest run is over and what is inside no longer counts; {why}");
        }
        if why.is_empty() { "no sign of anybody".to_owned() } else { plain(&why) }
    }

    fn text(&self) -> String {
        let Self { run, would, .. } = self;
        let owner = run.owner.as_ref().map_or_else(|| "no owner".to_owned(), |owner| plain(owner));
        let since = self.since().map(operator::shown).unwrap_or_default();
        let mut out = format!(
            "{}  {}.{} of {owner}, run {}\n  Why:   idle since {since}: {}\n  Rule:  {}\n  After: it went on \
             for {}: {}\n",
            operator::shown(would.at),
            run.space,
            run.domain,
            run.id.short(),
            self.why(),
            plain(&self.policy),
            rough(self.went_on),
            shown(self.saved, self.unpriced_us > 0),
        );
        if let Some(met) = &would.met {
            let after = rough(Duration::try_from(met.after(would)).unwrap_or_default());
            out += &format!("  Wrong: it would have met {}, {after} later\n", plain(&met.words()));
        }
        out
    }

    fn json(&self) -> Value {
        let Self { run, would, .. } = self;
        let met = would.met.as_ref().map(|met| {
            json!({
                "what": met.words(), "at": operator::shown(met.at), "after_s": met.after(would).as_secs(),
            })
        });
        json!({
            "run": run.id.to_string(),
            "space": run.space.as_str(),
            "domain": run.domain.as_str(),
            "owner": run.owner,
            "policy": self.policy,
            "warned_at": operator::shown(would.warned_at),
            "stopped_at": operator::shown(would.at),
            "idle_since": self.since().map(operator::shown),
            "over_longest_run": self.over_longest_run(),
            "why": self.why(),
            "went_on_s": self.went_on.whole_seconds(),
            "saved_usd": usd(self.saved, self.unpriced_us),
            "unpriced_s": self.unpriced_us / 1_000_000,
            "would_have_met": met,
        })
    }
}

/// Dollars, which leave out what has no known price; nothing where that is all of it.
fn usd(saved: Money, unpriced_us: i64) -> Option<String> {
    (unpriced_us == 0 || saved != Money::ZERO).then(|| saved.decimal(DECIMALS))
}
