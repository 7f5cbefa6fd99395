//! Opening streams: a place in the budget, StartSession with its retries, the dial, and the rows of all that.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared};
use tracing::{info, warn};

use super::budget::{Budget, Place};
use super::clock::within;
use super::errors::OpenError;
use super::flights::Report;
use super::journal::Journal;
use super::retry::Tries;
use super::want::Progress;
use crate::domain::actor::Actor;
use crate::domain::ending::StreamEnd;
use crate::domain::ids::{LinkId, SpaceId, StreamId};
use crate::domain::ports::{AwsError, ByteStream, Clock, Dial, DialError, SessionGrant, SpaceControl};
use crate::domain::record::Change;
use crate::domain::space::{Space, SpaceState};
use crate::domain::start::StartStep;
use crate::domain::streams::{NoFreeStream, STREAMS_PER_SPACE, Seat, StreamUse};
use crate::store::Store;
use crate::telemetry::metrics as names;
use tokio_util::task::TaskTracker;

/// The longest that one StartSession may take, its AssumeRole included.
const START_SESSION_LIMIT: Duration = Duration::from_secs(30);
/// The longest that a dial may take: the port promises 35 s, this is for a broken promise.
const DIAL_LIMIT: Duration = Duration::from_secs(45);
/// The longest that Postgres may take to count; without its answer, our own streams are counted.
const COUNT_LIMIT: Duration = Duration::from_secs(5);

/// Why a stream ended, once it has.
pub(super) type Ended = Shared<BoxFuture<'static, StreamEnd>>;

/// Opens streams to spaces. Cheap to clone.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) control: Arc<dyn SpaceControl>,
    pub(super) dial: Arc<dyn Dial>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Store,
    pub(super) journal: Journal,
    pub(super) tracker: TaskTracker,
    pub(super) budget: Budget,
    /// For how long the streams of a dead replica may still count at AWS.
    pub(super) doubtful_s: u32,
}

/// An open stream.
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) bytes: Box<dyn ByteStream>,
    pub(super) ended: Ended,
}

/// The link that a stream is for, for the rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct ForLink {
    pub(super) id: LinkId,
    pub(super) purpose: &'static str,
}

impl Streams {
    /// Opens a stream as the actor. `registering_until`: see [`Tries::new`].
    pub(super) async fn open(
        &self,
        (actor, seat): (&Actor, Seat),
        space: &Space,
        link: Option<ForLink>,
        registering_until: Option<Duration>,
        report: &Report,
    ) -> Result<Stream, OpenError> {
        let begun = self.clock.elapsed();
        let id = StreamId::generate();
        let recorded = self.recorded(space.id).await;
        let (place, used) = (self.budget.take(space.id, id, (actor.name(), seat), recorded))
            .map_err(OpenError::NoFreeStream)?;
        let grant = self.start_session(actor, space, registering_until, report).await;
        let grant = grant.map_err(|error| match error {
            AwsError::LimitExceeded(_) => {
                OpenError::NoFreeStream(NoFreeStream { used: used.clone(), by_aws: true, seat })
            }
            error => OpenError::Aws(error),
        })?;
        self.forget_doubtful(space.id, &used).await;
        let mut rows = self.opened(id, actor, space, link, &grant);
        let dialled = within(&*self.clock, DIAL_LIMIT, self.dial.dial(actor, space, grant)).await;
        let open = match dialled.unwrap_or_else(|| Err(DialError::Unreachable("no answer".to_owned()))) {
            Ok(open) => open,
            Err(error) => {
                rows.extend(self.closed(id, link, &error.to_string()));
                self.journal.record(rows).await;
                return Err(OpenError::Dial(error));
            }
        };
        self.journal.record(rows).await;
        place.on_record();
        let waited = self.clock.elapsed().saturating_sub(begun);
        info!(stream.id = %id, space.name = %space.name(), waited_ms = waited.as_millis(), "stream open");
        self.keep_its_row(id, open.ended.clone(), place);
        Ok(Stream { id, bytes: open.bytes, ended: open.ended })
    }

    /// Writes the end of a stream when it comes, whoever holds its bytes.
    fn keep_its_row(&self, id: StreamId, ended: Ended, place: Place) {
        let streams = self.clone();
        metrics::gauge!(names::STREAMS).increment(1);
        self.tracker.spawn(async move {
            let end = ended.await;
            metrics::gauge!(names::STREAMS).decrement(1);
            metrics::counter!(names::STREAMS_ENDED, "reason" => end.code()).increment(1);
            info!(stream.id = %id, reason = %end, "stream ended");
            streams.journal.record(streams.closed(id, None, &end.to_string())).await;
            drop(place);
        });
    }

    async fn recorded(&self, space: SpaceId) -> Option<StreamUse> {
        match within(&*self.clock, COUNT_LIMIT, self.store.stream_use(space, self.doubtful_s)).await {
            Some(Ok(used)) => Some(used),
            Some(Err(error)) => {
                warn!(space.id = %space, %error, "streams not counted; ours alone count");
                None
            }
            None => None,
        }
    }

    /// AWS gave a stream although the doubtful ones would have made it the eleventh: so they are gone.
    async fn forget_doubtful(&self, space: SpaceId, used: &StreamUse) {
        if used.doubtful == 0 || used.ours() < STREAMS_PER_SPACE {
            return;
        }
        if let Some(Err(error)) = within(&*self.clock, COUNT_LIMIT, self.store.forget_doubtful(space)).await {
            warn!(space.id = %space, %error, "doubtful streams not forgotten");
        }
    }

    /// StartSession, again and again while that is worth it.
    async fn start_session(
        &self,
        actor: &Actor,
        space: &Space,
        registering_until: Option<Duration>,
        report: &Report,
    ) -> Result<SessionGrant, AwsError> {
        start_session(&*self.control, &*self.clock, actor, space, registering_until, report).await
    }

    fn opened(
        &self,
        stream: StreamId,
        actor: &Actor,
        space: &Space,
        link: Option<ForLink>,
        grant: &SessionGrant,
    ) -> Vec<Change> {
        let (at, replica) = (self.journal.now(), self.journal.replica().uuid());
        let (user, space) = (actor.as_person().map(|person| person.user().uuid()), space.id.uuid());
        let link_row = link.map(|ForLink { id, purpose }| Change::LinkOpened {
            link: id.uuid(),
            replica,
            user,
            space,
            purpose: purpose.to_owned(),
            at,
        });
        let stream_row = Change::StreamOpened {
            stream: stream.uuid(),
            replica,
            user,
            space,
            link: link.map(|link| link.id.uuid()),
            aws_session_id: grant.session_id.clone(),
            role_session: grant.role_session.clone(),
            request_id: grant.request_id.clone(),
            at,
        };
        link_row.into_iter().chain([stream_row]).collect()
    }

    fn closed(&self, stream: StreamId, link: Option<ForLink>, reason: &str) -> Vec<Change> {
        let at = self.journal.now();
        let stream = Change::StreamClosed { stream: stream.uuid(), at, reason: reason.to_owned() };
        let link =
            link.map(|link| Change::LinkClosed { link: link.id.uuid(), at, reason: reason.to_owned() });
        [stream].into_iter().chain(link).collect()
    }
}

async fn start_session(
    control: &dyn SpaceControl,
    clock: &dyn Clock,
    actor: &Actor,
    space: &Space,
    registering_until: Option<Duration>,
    report: &Report,
) -> Result<SessionGrant, AwsError> {
    let mut tries = Tries::new(registering_until);
    loop {
        let answer = within(clock, START_SESSION_LIMIT, control.start_session(actor, space))
            .await
            .unwrap_or_else(|| Err(AwsError::Unreachable("StartSession did not answer".to_owned())));
        let error = match answer {
            Ok(grant) => return Ok(grant),
            Err(error) => error,
        };
        let Some(wait) = tries.next(&error, clock.elapsed(), rand::random()) else {
            warn!(space.name = %space.name(), actor = %actor, %error, "no session");
            return Err(error);
        };
        report.send_modify(|progress| registering(progress, clock));
        info!(space.name = %space.name(), %error, wait_ms = wait.as_millis(), "StartSession is tried again");
        clock.sleep(wait).await;
    }
}

/// Shows whoever waits that the agent in the space is what is waited for.
fn registering(progress: &mut Option<Progress>, clock: &dyn Clock) {
    match progress {
        Some(progress) => progress.step = StartStep::Registering,
        None => {
            *progress = Some(Progress {
                from: SpaceState::Running,
                instance_type: None,
                step: StartStep::Registering,
                since: clock.elapsed(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::fakes::{self, PausedClock, Studio};
    use crate::gateway::links::unwatched;

    fn internal() -> AwsError {
        AwsError::Internal { operation: "sagemaker:StartSession", message: String::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_registering_agent_is_waited_for_and_shown() {
        let clock = PausedClock::start();
        let studio = Studio::new(&clock);
        studio.with(|state| state.failures.extend(std::iter::repeat_n(("session", internal()), 4)));
        let actor = Actor::person(&fakes::user("alice", "alice"));
        let space = fakes::space("lab", "own", "alice");
        let report = unwatched();
        let until = Some(clock.elapsed() + Duration::from_secs(180));
        let grant = start_session(&*studio, &clock, &actor, &space, until, &report).await;
        assert!(grant.is_ok());
        assert_eq!(clock.elapsed().as_millis(), 1_500 + 2_300 + 3_400 + 5_000);
        assert!(report.borrow().as_ref().is_some_and(|progress| progress.step == StartStep::Registering));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_at_once_and_nothing_is_shown() {
        let clock = PausedClock::start();
        let studio = Studio::new(&clock);
        studio.with(|state| state.refuses = Some("alice".to_owned()));
        let actor = Actor::person(&fakes::user("alice", "alice"));
        let space = fakes::space("lab", "own", "alice");
        let report = unwatched();
        let grant = start_session(&*studio, &clock, &actor, &space, None, &report).await;
        assert!(matches!(grant, Err(AwsError::AccessDenied { .. })));
        assert_eq!((studio.count("session"), clock.elapsed()), (1, Duration::ZERO));
        assert!(report.borrow().is_none());
    }
}
