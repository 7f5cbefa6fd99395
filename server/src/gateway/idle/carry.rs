//! Carrying out what the stopper asks for.

use std::collections::{HashMap, VecDeque};
use std::error::Error;

use futures_util::future::OptionFuture;
use serde_json::json;
use time::OffsetDateTime;
use tracing::{info, warn};

use super::Idle;
use super::pass::trouble;
use crate::domain::actor::Actor;
use crate::domain::audit::AuditEvent;
use crate::domain::idle::{
    Answer, Calm, Check, Command, Doubt, Evidence, Input, Mode, Outcome, Phase, Rule, Trigger, Verdict,
    grounds,
};
use crate::domain::ids::{AuditId, RunId};
use crate::domain::ports::{AwsError, IdleNews};
use crate::domain::run::OpenRun;
use crate::domain::space::AppStatus;
use crate::domain::space_news::{SpaceNews, SpaceNotice};
use crate::gateway::space_lock::SpaceLock;
use crate::store::StoreError;
use crate::store::audit::audit_change;
use crate::store::idle::{Judgement, StopStart};

/// A run, the policy that counts, and where it is.
pub(super) struct State {
    pub(super) run: OpenRun,
    pub(super) rule: Rule,
    pub(super) judgement: Judgement,
    /// A look that is to be kept with the next writing.
    pub(super) look: Option<Evidence>,
}

impl Idle {
    /// Takes a step and what follows from it. Answers whether it was taken: not if somebody has written where the run is
    /// since it was read.
    pub(super) async fn take(&self, state: &mut State, input: Input, by: Option<&Actor>) -> bool {
        let now = self.parts().clock.now();
        let before = state.judgement.stopper.clone();
        let commands = state.judgement.stopper.step(now, &state.rule.policy, input);
        if before == state.judgement.stopper && commands.is_empty() {
            return true;
        }
        let saved = self.save(state).await;
        if saved {
            self.carry_out(state, commands, by).await;
        }
        saved
    }

    /// Writes where a run is. Nothing is done that is not written first: whoever wrote it does it, nobody else.
    async fn save(&self, state: &mut State) -> bool {
        let looks: Vec<(RunId, Evidence)> =
            state.look.iter().map(|look| (state.run.run, look.clone())).collect();
        match self.parts().store.write_judgements(std::slice::from_ref(&state.judgement), &looks).await {
            Ok(written) => {
                state.judgement.version += 1;
                state.look = None;
                !written.is_empty()
            }
            Err(error) => {
                trouble(state.run.run, &error);
                false
            }
        }
    }

    /// Does what a step asked for, and what follows from that.
    pub(super) async fn carry_out(&self, state: &mut State, commands: Vec<Command>, by: Option<&Actor>) {
        let mut queue = VecDeque::from(commands);
        let mut lock = None;
        while let Some(command) = queue.pop_front() {
            let input = match self.carry(state, command, by, &mut lock).await {
                Ok(input) => input,
                Err(error) => {
                    trouble(state.run.run, &error);
                    break;
                }
            };
            let Some(input) = input else { continue };
            let now = self.parts().clock.now();
            let more = state.judgement.stopper.step(now, &state.rule.policy, input);
            if !self.save(state).await {
                break;
            }
            queue.extend(more);
        }
        if let Some(Err(error)) = OptionFuture::from(lock.as_ref().map(SpaceLock::release)).await {
            warn!(run.id = %state.run.run, error = &error as &dyn Error, "a lock lapses by itself");
        }
    }

    async fn carry(
        &self,
        state: &mut State,
        command: Command,
        by: Option<&Actor>,
        lock: &mut Option<SpaceLock>,
    ) -> Result<Option<Input>, StoreError> {
        match command {
            Command::Warn { trigger, stop_at } => {
                self.warn(state, trigger, stop_at).await?;
                // Nobody was told of a dry run.
                return Ok((!dry(state)).then_some(Input::Told));
            }
            Command::Stays { calm, told } => {
                let now = self.parts().clock.now();
                self.parts().store.end_stop(state.run.run, None, json!(calm), now).await?;
                // Of a stop by hand only terminals know.
                if told || calm == Calm::NotDone {
                    self.tell(state, IdleNews::Stays(calm)).await;
                }
            }
            Command::Check => return self.last_check(state, lock).await,
            Command::Delete => {
                // Before, since the space takes its terminals along; once, however often it has to be tried.
                if let Phase::Deleting { trigger, tries: 1, .. } = state.judgement.stopper.phase() {
                    self.tell(state, IdleNews::Stopping(trigger.clone())).await;
                }
                return Ok(Some(Input::Answered(self.delete(state, by).await)));
            }
            Command::Look => return Ok(Some(Input::Seen(self.app(&state.run).await))),
            Command::Stuck { tries, said } => self.tell(state, IdleNews::Stuck { tries, said }).await,
            Command::TooLong => self.tell(state, IdleNews::TooLong).await,
            Command::Finish(outcome) => self.finish(state, outcome).await?,
        }
        Ok(None)
    }

    async fn warn(&self, state: &State, trigger: Trigger, stop_at: OffsetDateTime) -> Result<(), StoreError> {
        self.begin_stop(state, &trigger, stop_at).await?;
        let now = self.parts().clock.now();
        let grounds = grounds(now, &state.rule.policy, &state.judgement.known);
        info!(space.name = %state.run.space.name(), policy = %state.rule.scope, dry_run = dry(state), "idle: stops unless somebody uses it");
        // Nobody of a dry run.
        if !dry(state) {
            self.tell(state, IdleNews::StopsSoon { trigger, stop_at, grounds }).await;
        }
        Ok(())
    }

    async fn begin_stop(
        &self,
        state: &State,
        trigger: &Trigger,
        stop_at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let policy = state.rule.scope.to_string();
        let stop = StopStart {
            run: state.run.run,
            trigger,
            policy: &policy,
            dry_run: dry(state) && matches!(trigger, Trigger::Idle { .. }),
            begun_at: self.parts().clock.now(),
            stop_at,
            evidence: state.judgement.known.last(),
        };
        self.parts().store.begin_stop(&stop).await
    }

    /// The last check, under the lock: what the app is, and a verdict on a look made just now.
    async fn last_check(
        &self,
        state: &mut State,
        lock: &mut Option<SpaceLock>,
    ) -> Result<Option<Input>, StoreError> {
        let unclear =
            || Verdict::Unknown { because: Doubt::Unsure("the last check could not be made".to_owned()) };
        // A stop by hand begins here, and so does one whose warning was lost with the process that was to give it.
        if let Phase::Checking { trigger, .. } = state.judgement.stopper.phase() {
            self.begin_stop(state, trigger, self.parts().clock.now()).await?;
        }
        if lock.is_none() {
            let mine = SpaceLock::of(&self.parts().store, state.run.space.id);
            *lock = mine.take().await?.then_some(mine);
        }
        if lock.is_none() {
            // Somebody starts it, or another replica stops it.
            return Ok(Some(Input::Checked(Check::Unclear, unclear())));
        }
        let check = self.app(&state.run).await;
        let looked = HashMap::from([(state.run.run, self.look_inside(&state.run).await)]);
        let evidence = self.evidence(std::slice::from_ref(state), looked).await?;
        let Some(look) = evidence.into_iter().next() else {
            return Ok(Some(Input::Checked(Check::Unclear, unclear())));
        };
        state.look = Some(look.clone());
        let verdict = state.verdict_with(look);
        Ok(Some(Input::Checked(check, verdict)))
    }

    /// What the app of a run is now.
    async fn app(&self, run: &OpenRun) -> Check {
        let Some(app_type) = run.space.app.as_ref().map(|app| app.app_type).or(run.space.app_type) else {
            return Check::Unclear;
        };
        match self.parts().control.describe_app(&run.space.arn, &run.space.domain, app_type).await {
            Err(AwsError::NotFound(_)) => Check::Gone,
            Err(_) => Check::Unclear,
            Ok(report) => match (report.created_at, report.status) {
                (None, _) => Check::Unclear,
                (Some(created), _) if created != run.app_created_at => Check::Gone,
                (_, AppStatus::Deleted | AppStatus::Failed) => Check::Gone,
                (_, AppStatus::Deleting) => Check::Going,
                (_, AppStatus::InService) => Check::Same,
                (_, AppStatus::Pending) => Check::Unclear,
            },
        }
    }

    async fn delete(&self, state: &State, by: Option<&Actor>) -> Answer {
        let space = &state.run.space;
        let answer = match by {
            Some(actor) => self.parts().control.delete_app(actor, space).await,
            None => self.parts().control.stop_app(space).await,
        };
        info!(space.name = %space.name(), policy = %state.rule.scope, answer = ?answer, "app deleted");
        match answer {
            Ok(()) => Answer::Accepted,
            // It is gone or going: the next look says so.
            Err(AwsError::NotFound(_) | AwsError::InUse(_)) => Answer::Unclear,
            Err(AwsError::Unreachable(_) | AwsError::Internal { .. }) => Answer::Unclear,
            Err(error) => Answer::Refused(error.to_string()),
        }
    }

    async fn finish(&self, state: &State, outcome: Outcome) -> Result<(), StoreError> {
        let now = self.parts().clock.now();
        let store = &self.parts().store;
        let detail = json!({ "verdict": state.judgement.verdict });
        store.end_stop(state.run.run, Some(&outcome), detail, now).await?;
        let (kind, trigger) = match outcome {
            Outcome::EndedElsewhere => return Ok(()),
            Outcome::Stopped(trigger) => ("space.stopped", trigger),
            Outcome::WouldHave(trigger) => ("space.would_have_stopped", trigger),
        };
        let event = AuditEvent {
            actor: None,
            actor_name: match &trigger {
                Trigger::Idle { .. } => "spaceport".to_owned(),
                Trigger::Person { by } => by.clone(),
            },
            space: Some(state.run.space.id),
            session: None,
            connection: None,
            kind,
            allowed: None,
            detail: json!({
                "run": state.run.run.to_string(), "trigger": trigger, "policy": state.rule.scope.to_string(),
                "verdict": state.judgement.verdict,
            }),
        };
        store.write_audit(&audit_change(AuditId::generate(), now, self.parts().replica, event)).await?;
        if kind == "space.stopped" {
            self.tell(state, IdleNews::Stopped(trigger)).await;
        }
        Ok(())
    }

    /// Tells people: those with a terminal in the space, on whichever replica, and by the other ways there are.
    async fn tell(&self, state: &State, news: IdleNews) {
        if let Some(news) = SpaceNews::of(&news) {
            let notice = SpaceNotice::new(state.run.space.id, news);
            if let Err(error) = self.parts().store.tell_of_space(notice).await {
                warn!(run.id = %state.run.run, error = &error as &dyn Error, "terminals are not told");
            }
        }
        self.parts().tell.tell(&state.run, news).await;
    }
}

fn dry(state: &State) -> bool {
    state.rule.policy.mode == Mode::DryRun
}
