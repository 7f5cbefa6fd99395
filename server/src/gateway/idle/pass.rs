//! One pass: every run is looked at and judged.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use time::OffsetDateTime;
use tracing::warn;

use super::Idle;
use super::carry::State;
use crate::domain::cost::SpellKind;
use crate::domain::idle::{
    Command, Doubt, Evidence, Input, Inside, Known, NoLook, Run, Stopper, Verdict, judge,
};
use crate::domain::ids::{RunId, SpaceId};
use crate::domain::run::OpenRun;
use crate::domain::space::Space;
use crate::gateway::clock::within;
use crate::store::StoreError;
use crate::store::idle::Judgement;

/// Spaces that are looked into at the same time.
const LOOKS: usize = 32;
/// Runs whose stop is carried on at the same time: each may wait for AWS.
pub(super) const STOPS: usize = 8;
/// The longest that one look inside may take.
const LOOK_LIMIT: Duration = Duration::from_secs(12);

impl Idle {
    /// Looks at every run and judges it; carries out what follows.
    ///
    /// # Errors
    /// When Postgres is away: then nothing was judged, and the time until the next pass may become a gap.
    pub async fn pass(&self) -> Result<(), StoreError> {
        self.end_those_gone().await?;
        let runs = self.parts().store.open_runs().await?;
        let judged = self.judged(runs).await?;
        self.follow(judged).await
    }

    /// Looks at one space now, beside the passes: something about it has just changed.
    pub(super) async fn look_at(&self, space: &Space) -> Result<(), StoreError> {
        let Some(run) = self.parts().store.open_run(space.id).await? else { return Ok(()) };
        let judged = self.judged(vec![run]).await?;
        self.follow(judged).await
    }

    /// Carries out what follows from judgements, and then counts their time as what it was: a warning that is written
    /// down must be given, whatever becomes of the count.
    async fn follow(&self, judged: Vec<(State, Vec<Command>)>) -> Result<(), StoreError> {
        let spells: Vec<Spell> = judged.iter().map(|(state, _)| Spell::of(state)).collect();
        stream::iter(judged)
            .for_each_concurrent(STOPS, |(mut state, commands)| async move {
                self.carry_out(&mut state, commands, None).await;
            })
            .await;
        for Spell { run, since, until, kind } in spells {
            self.parts().store.judged(run, since, until, kind).await?;
        }
        Ok(())
    }

    /// Carries on with the stops whose time has come.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn wake(&self) -> Result<(), StoreError> {
        let waking = self.parts().store.waking_runs(self.parts().clock.now()).await?;
        if waking.is_empty() {
            return Ok(());
        }
        let runs = self.parts().store.open_runs().await?;
        let runs: Vec<OpenRun> = runs.into_iter().filter(|run| waking.contains(&run.run)).collect();
        let states = self.states(runs).await?;
        stream::iter(states)
            .for_each_concurrent(STOPS, |mut state| async move {
                self.take(&mut state, Input::Time, None).await;
            })
            .await;
        Ok(())
    }

    /// Looks at runs, judges them, and writes that down. Answers what is to be done now, for those whose row nobody
    /// else has written meanwhile.
    async fn judged(&self, runs: Vec<OpenRun>) -> Result<Vec<(State, Vec<Command>)>, StoreError> {
        let looked: HashMap<RunId, Result<Inside, NoLook>> = stream::iter(runs.clone())
            .map(|run| async move { (run.run, self.look_inside(&run).await) })
            .buffer_unordered(LOOKS)
            .collect()
            .await;
        let mut states = self.states(runs).await?;
        let looks = self.evidence(&states, looked).await?;
        let mut due = Vec::new();
        for (state, look) in states.iter_mut().zip(&looks) {
            let commands = state.judge(look.clone());
            due.push(commands);
        }
        let judgements: Vec<Judgement> = states.iter().map(|state| state.judgement.clone()).collect();
        let looks: Vec<(RunId, Evidence)> = states.iter().map(|state| state.run.run).zip(looks).collect();
        let written = self.parts().store.write_judgements(&judgements, &looks).await?;
        let mut kept = Vec::new();
        for (mut state, commands) in states.into_iter().zip(due) {
            if written.contains(&state.run.run) {
                state.judgement.version += 1;
                kept.push((state, commands));
            }
        }
        Ok(kept)
    }

    pub(super) async fn look_inside(&self, run: &OpenRun) -> Result<Inside, NoLook> {
        let looked = within(&*self.parts().clock, LOOK_LIMIT, self.parts().eyes.look_inside(run)).await;
        looked.unwrap_or_else(|| {
            Err(NoLook { why: "the look inside took too long".to_owned(), not_set_up: false })
        })
    }

    /// The judgements of runs as they stand, or the beginning of one.
    pub(super) async fn states(&self, runs: Vec<OpenRun>) -> Result<Vec<State>, StoreError> {
        let ids: Vec<RunId> = runs.iter().map(|run| run.run).collect();
        let mut known = self.parts().store.judgements(&ids).await?;
        let now = self.parts().clock.now();
        let state = |run: OpenRun| {
            let rule = self.rule(&run);
            let judgement = known.remove(&run.run).unwrap_or_else(|| Judgement {
                run: run.run,
                version: 0,
                judged_at: now,
                policy: rule.scope.to_string(),
                verdict: Verdict::Unknown { because: Doubt::NotWatched { since: None } },
                known: Known::of_run(run.began_at),
                stopper: Stopper::default(),
            });
            State { run, rule, judgement, look: None }
        };
        Ok(runs.into_iter().map(state).collect())
    }

    /// What is to be added to what is known of each run.
    pub(super) async fn evidence(
        &self,
        states: &[State],
        mut looked: HashMap<RunId, Result<Inside, NoLook>>,
    ) -> Result<Vec<Evidence>, StoreError> {
        let spaces: Vec<SpaceId> = states.iter().map(|state| state.run.space.id).collect();
        let store = &self.parts().store;
        // After the looks, so that nothing that passed meanwhile is missed.
        let mut outside = store.outside_of(&spaces).await?;
        let (now, steady) = self.now();
        let mut holds = store.holds(&spaces, now).await?;
        let need_tags = self.parts().policies.borrow().need_tags();
        let mut outside = |run: &OpenRun| {
            let mut seen = outside.remove(&run.space.id).unwrap_or_default();
            if need_tags && run.tags.is_none() {
                seen.unsure = Some("its tags, which its policy depends on, are not read yet".to_owned());
            }
            seen
        };
        let evidence = states.iter().map(|state| Evidence {
            at: now,
            steady,
            outside: outside(&state.run),
            inside: looked
                .remove(&state.run.run)
                .unwrap_or_else(|| Err(NoLook { why: "nobody looked inside".to_owned(), not_set_up: false })),
            hold: holds.remove(&state.run.space.id),
        });
        Ok(evidence.collect())
    }

    /// Ends the stops of runs that listings have shown gone.
    async fn end_those_gone(&self) -> Result<(), StoreError> {
        for run in self.parts().store.ended_runs_under_way().await? {
            let Some(run) = self.parts().store.run(run).await? else { continue };
            for mut state in self.states(vec![run]).await? {
                self.take(&mut state, Input::Ended, None).await;
            }
        }
        Ok(())
    }
}

/// What the time up to a judgement was.
struct Spell {
    run: RunId,
    since: OffsetDateTime,
    until: OffsetDateTime,
    kind: SpellKind,
}

impl Spell {
    fn of(state: &State) -> Self {
        let Judgement { run, judged_at, known, verdict, .. } = &state.judgement;
        let kind = match verdict {
            Verdict::Active { .. } => SpellKind::Active,
            Verdict::Idle { .. } => SpellKind::Idle,
            Verdict::Unknown { .. } => SpellKind::Unknown,
        };
        Self { run: *run, since: known.watched_since().unwrap_or(*judged_at), until: *judged_at, kind }
    }
}

impl State {
    /// Adds a look, judges, and takes the step that follows.
    pub(super) fn judge(&mut self, look: Evidence) -> Vec<Command> {
        let at = look.at;
        let verdict = self.verdict_with(look);
        self.judgement.stopper.step(at, &self.rule.policy, Input::Verdict(verdict))
    }

    /// Adds a look and judges.
    pub(super) fn verdict_with(&mut self, look: Evidence) -> Verdict {
        let (at, policy) = (look.at, &self.rule.policy);
        self.judgement.known.take(look, policy);
        let verdict = judge(at, policy, &self.judgement.known, Run { began_at: self.run.began_at });
        self.judgement.verdict = verdict.clone();
        self.judgement.judged_at = at;
        self.judgement.policy = self.rule.scope.to_string();
        verdict
    }
}

/// Logs what went wrong with a run: the next pass tries again.
pub(super) fn trouble(run: RunId, error: &StoreError) {
    warn!(run.id = %run, error = error as &dyn std::error::Error, "a judgement could not be carried on");
}
