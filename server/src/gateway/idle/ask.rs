//! What people ask of idleness: why a space is up or stopped, to keep it up, to stop it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use time::OffsetDateTime;

use super::Idle;
use super::carry::State;
use crate::domain::actor::Actor;
use crate::domain::idle::{Ground, Hold, Input, Known, Phase, Rule, Trigger, Verdict, grounds};
use crate::domain::ids::{InstanceType, SpaceId};
use crate::domain::run::OpenRun;
use crate::domain::space::Space;
use crate::domain::user::User;
use crate::store::StoreError;
use crate::store::idle::{Judgement, PastStop};
use crate::store::people::Change;

/// What is known of a space: the same for terminal, page and API.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Its run, if it is up.
    pub up: Option<Up>,
    /// How its last run ended, if it is not.
    pub ended: Option<Ended>,
}

/// A run that lasts.
#[derive(Debug, Clone)]
pub struct Up {
    /// The run and its space.
    pub run: OpenRun,
    /// The policy that counts.
    pub rule: Rule,
    /// What it is doing; nothing if nobody has looked yet.
    pub verdict: Option<Verdict>,
    /// When somebody looked last.
    pub looked_at: Option<OffsetDateTime>,
    /// What the verdict rests on.
    pub grounds: Vec<Ground>,
    /// The hold that runs longest.
    pub hold: Option<Hold>,
    /// When it stops, if people have been warned; nobody is of a dry run.
    pub stops_at: Option<OffsetDateTime>,
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Ended {
    /// When a listing first showed it gone.
    pub at: OffsetDateTime,
    /// What it ran on.
    pub instance_type: Option<InstanceType>,
    /// How the gateway stopped it; nothing if it ended otherwise.
    pub stop: Option<PastStop>,
    /// What that rested on.
    pub grounds: Vec<Ground>,
}

/// How often a run is read anew for a person who stops it: others who write judgements do so once a look.
const READINGS: u32 = 5;

/// What became of a wish to stop a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopping {
    /// AWS has taken it on.
    Stopping,
    /// There is nothing to stop.
    NotRunning,
    /// Something else is being done to the space just now.
    Busy,
    /// AWS refused, in its words.
    Refused,
}

impl Idle {
    /// What is known of each of these spaces.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn statuses(&self, spaces: &[SpaceId]) -> Result<HashMap<SpaceId, Status>, StoreError> {
        let (store, now) = (&self.parts().store, self.parts().clock.now());
        let runs = store.open_runs_in(spaces).await?;
        let mut judgements = store.judgements(&runs.iter().map(|run| run.run).collect::<Vec<_>>()).await?;
        let mut holds = store.holds(spaces, now).await?;
        let mut statuses = HashMap::new();
        for run in runs {
            let (space, judgement) = (run.space.id, judgements.remove(&run.run));
            let up = self.up(run, judgement.as_ref(), holds.remove(&space), now);
            statuses.insert(space, Status { up: Some(up), ended: None });
        }
        let down: Vec<SpaceId> =
            spaces.iter().filter(|space| !statuses.contains_key(space)).copied().collect();
        for (space, end) in store.last_ends(&down).await? {
            let mut resting = Vec::new();
            if let Some(look) = end.stop.as_ref().and_then(|stop| stop.evidence.clone())
                && let Some(run) = store.run(end.run).await?
            {
                let (at, policy, mut known) = (look.at, self.rule(&run).policy, Known::default());
                known.take(look, &policy);
                resting = grounds(at, &policy, &known);
            }
            let ended =
                Ended { at: end.at, stop: end.stop, instance_type: end.instance_type, grounds: resting };
            statuses.insert(space, Status { up: None, ended: Some(ended) });
        }
        Ok(statuses)
    }

    fn up(&self, run: OpenRun, judgement: Option<&Judgement>, hold: Option<Hold>, now: OffsetDateTime) -> Up {
        let rule = self.rule(&run);
        Up {
            verdict: judgement.map(|judgement| judgement.verdict.clone()),
            looked_at: judgement.map(|judgement| judgement.judged_at),
            grounds: judgement.map_or_else(Vec::new, |j| grounds(now, &rule.policy, &j.known)),
            stops_at: judgement.and_then(|judgement| match judgement.stopper.phase() {
                Phase::Warned { stop_at, .. } => Some(*stop_at),
                _ => None,
            }),
            hold,
            run,
            rule,
        }
    }

    /// Holds a space for a person; without a time, lets go of it. Whether the person may is the caller's to ask. The
    /// space is looked at anew, so that a warning is taken back at once.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn hold(
        &self,
        user: &User,
        space: &Space,
        (length, reason): (Option<Duration>, &str),
        address: IpAddr,
    ) -> Result<Option<OffsetDateTime>, StoreError> {
        let now = self.parts().clock.now();
        let until = length.map(|length| now + length);
        let change = Change {
            replica: self.parts().replica,
            actor: Some(user.id),
            called: user.name.to_string(),
            address,
            at: now,
        };
        self.parts().store.hold_space(space.id, user.id, until, reason, &change).await?;
        self.look_at(space).await?;
        Ok(until)
    }

    /// Stops a space as a person who may. Returns once AWS has taken it on, or has not.
    ///
    /// # Errors
    /// When Postgres is away: without the lock that starts also take nothing is stopped.
    pub async fn stop(&self, user: &User, space: &Space) -> Result<Stopping, StoreError> {
        let Some(run) = self.parts().store.open_run(space.id).await? else { return Ok(Stopping::NotRunning) };
        let (actor, asked) = (Actor::person(user), Input::Asked { by: user.name.to_string() });
        // A judgement that is written between reading and writing makes what was read old: it is read again.
        for _ in 0..READINGS {
            let Some(mut state) = self.states(vec![run.clone()]).await?.pop() else { break };
            if self.take(&mut state, asked.clone(), Some(&actor)).await {
                return Ok(stopping(&state));
            }
        }
        Ok(Stopping::Busy)
    }
}

/// What has become of a person's wish, by where its run is.
fn stopping(state: &State) -> Stopping {
    let mine = |trigger: &Trigger| matches!(trigger, Trigger::Person { .. });
    match state.judgement.stopper.phase() {
        Phase::Deleting { .. } => Stopping::Stopping,
        Phase::Over => Stopping::NotRunning,
        Phase::Pausing { trigger, tries, .. } if mine(trigger) && *tries > 0 => Stopping::Refused,
        _ => Stopping::Busy,
    }
}
