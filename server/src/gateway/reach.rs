//! From a space in any state to an open stream: start it if that is wanted, dial, and say why when it fails.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::budgets::Budgets;
use super::catalog::SpaceCatalog;
use super::errors::OpenError;
use super::flights::Report;
use super::standing::{Question, Standing};
use super::start::{Starter, Up, limited, state_of};
use super::streams::{ForLink, Stream, Streams};
use super::want::Starts;
use crate::domain::access::Action;
use crate::domain::actor::Actor;
use crate::domain::ids::{ConnectionId, SessionId};
use crate::domain::ports::{AwsError, Clock, DialError, SpaceControl};
use crate::domain::space::{AppStatus, Space, SpaceState};
use crate::domain::start::{StartProblem, StartSettings, problems};
use crate::domain::streams::Seat;
use crate::domain::user::User;

/// An app may take this long to come into service after AWS created it, and is registering for a while after that.
const LONGEST_START: Duration = Duration::from_secs(10 * 60);

/// Who opens, for the policy and for rows.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) user: Arc<User>,
    pub(super) session: SessionId,
    pub(super) connection: ConnectionId,
}

/// Gets streams to spaces. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) control: Arc<dyn SpaceControl>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) catalog: SpaceCatalog,
    pub(super) standing: Standing,
    pub(super) starter: Starter,
    pub(super) streams: Streams,
    pub(super) budgets: Budgets,
}

impl Reach {
    /// Opens a stream, and says which run of the app it leads to.
    ///
    /// The listing may be a minute old: when it says that the space runs, a stream is tried at once, and only a
    /// failure makes us look; when it says that the space does not run, AWS is asked first.
    pub(super) async fn stream(
        &self,
        visitor: &Visitor,
        space: &Space,
        link: Option<ForLink>,
        starts: Starts,
        report: &Report,
    ) -> Result<(Stream, Option<OffsetDateTime>), OpenError> {
        let space = self.catalog.space(&space.domain, space.id).unwrap_or_else(|| space.clone());
        let listed_up = space.state() == SpaceState::Running;
        let up = if listed_up {
            self.check_listed(visitor, &space).await?;
            Up { in_service: None, created_at: space.app.as_ref().map(|app| app.created_at) }
        } else {
            self.bring_up(visitor, &space, starts, report).await?
        };
        let error = match self.open(visitor, &space, link, up, report).await {
            Ok(stream) => return Ok((stream, up.created_at)),
            Err(error) => error,
        };
        if !may_be_down(&error) {
            return Err(error);
        }
        let app = self.starter.app(&space).await.ok().flatten();
        if app.as_ref().is_some_and(|app| app.status == AppStatus::InService) || !listed_up {
            return Err(self.problem(visitor, &space).await.map_or(error, OpenError::Start));
        }
        let up = self.bring_up(visitor, &space, starts, report).await?;
        let stream = self.open(visitor, &space, link, up, report).await?;
        Ok((stream, up.created_at))
    }

    async fn open(
        &self,
        visitor: &Visitor,
        space: &Space,
        link: Option<ForLink>,
        up: Up,
        report: &Report,
    ) -> Result<Stream, OpenError> {
        let register = self.starter.limits.register_timeout;
        let registering_until = registering_until(up, register, self.clock.now(), self.clock.elapsed());
        let (actor, seat) = (Actor::person(&visitor.user), Seat::of(visitor.user.owns(space)));
        self.streams.open((&actor, seat), space, link, registering_until, report).await
    }

    /// A space that is not listed as up: started if the person wants and may, and otherwise looked at.
    async fn bring_up(
        &self,
        visitor: &Visitor,
        space: &Space,
        starts: Starts,
        report: &Report,
    ) -> Result<Up, OpenError> {
        let app = self.starter.app(space).await.map_err(OpenError::Aws)?;
        if let Some(app) = app.as_ref().filter(|app| app.status == AppStatus::InService) {
            return Ok(Up { in_service: None, created_at: app.created_at });
        }
        if starts == Starts::Never {
            return Err(OpenError::NotRunning(state_of(space, app.as_ref())));
        }
        // Somebody's start that is under way costs no less without this person, and is one that a person wants.
        let under_way = app.is_some_and(|app| app.status == AppStatus::Pending);
        if starts == Starts::UnlessIdled && !under_way {
            self.not_idled(space).await?;
        }
        self.allowed(visitor, space, Action::Start).await?;
        if !under_way {
            self.budgets
                .check(&visitor.user, (Some(visitor.session), Some(visitor.connection)), space)
                .await?;
        }
        let up = self.starter.up(&Actor::person(&visitor.user), space, report).await?;
        // The run is on record from now on, and the next to come finds the space listed as up.
        let (catalog, domain) = (self.catalog.clone(), space.domain.clone());
        self.starter.tracker.spawn(async move { catalog.after_change(&domain).await });
        Ok(up)
    }

    /// Refuses a space whose last run was stopped for idleness, or is being stopped now. Where that cannot be read the
    /// space stays down as well.
    async fn not_idled(&self, space: &Space) -> Result<(), OpenError> {
        let stopped = self.budgets.store.idled(space.id).await.map_err(|_| OpenError::RecordAway)?;
        stopped.map_or(Ok(()), |at| Err(OpenError::Idled(at)))
    }

    /// Asks the policy, writes its answer down, and turns a no into the error.
    pub(super) async fn allowed(
        &self,
        visitor: &Visitor,
        space: &Space,
        action: Action,
    ) -> Result<(), OpenError> {
        let question = Question {
            user: &visitor.user,
            space,
            action,
            session: Some(visitor.session),
            connection: Some(visitor.connection),
        };
        match self.standing.decide(question).await {
            Ok(_) => Ok(()),
            Err((because, audit)) => Err(OpenError::Denied { because, audit }),
        }
    }

    /// A space that runs but cannot be reached by what the listing says: AWS would let us try for minutes.
    async fn check_listed(&self, visitor: &Visitor, space: &Space) -> Result<(), OpenError> {
        let listed = StartSettings {
            instance_type: space.app.as_ref().and_then(|app| app.instance_type.clone()),
            image_version: None,
            image: None,
            image_version_arn: None,
            lifecycle_config: None,
            remote_access: space.remote_access,
            status: space.status,
        };
        // A listing need not say the instance type; only the space's own settings then tell that it is too small.
        if listed.instance_type.is_none() && listed.remote_access || problems(&listed).is_empty() {
            return Ok(());
        }
        self.problem(visitor, space).await.map_or(Ok(()), |problem| Err(OpenError::Start(problem)))
    }

    /// What in a space's settings keeps it from being reached.
    async fn problem(&self, visitor: &Visitor, space: &Space) -> Option<StartProblem> {
        let actor = Actor::person(&visitor.user);
        let settings = limited(&*self.clock, self.control.start_settings(&actor, space)).await.ok()?;
        problems(&settings).into_iter().next()
    }
}

/// Up to when AWS's failures are routine, because the agent in the space is being registered.
fn registering_until(up: Up, register: Duration, now: OffsetDateTime, elapsed: Duration) -> Option<Duration> {
    if let Some(in_service) = up.in_service {
        return Some(in_service + register);
    }
    let created = up.created_at?;
    let left = (created + LONGEST_START + register) - now;
    let left = Duration::try_from(left).ok()?;
    Some(elapsed + left.min(register))
}

/// Failures that a space which is not up, or cannot be reached by its settings, may show.
const fn may_be_down(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::Aws(
            AwsError::NotFound(_)
                | AwsError::Invalid(_)
                | AwsError::InUse(_)
                | AwsError::Internal { .. }
                | AwsError::AccessDenied { .. }
        ) | OpenError::Dial(DialError::NoHandshake(_) | DialError::Ended(_))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration as Span;

    #[test]
    fn registration_is_waited_for_only_when_the_app_is_young() {
        let now = OffsetDateTime::UNIX_EPOCH + Span::days(1);
        let elapsed = Duration::from_secs(50);
        let until = |in_service, age: Option<i64>| {
            let created_at = age.map(|minutes| now - Span::minutes(minutes));
            registering_until(Up { in_service, created_at }, Duration::from_secs(180), now, elapsed)
                .map(|until| until.as_secs())
        };
        assert_eq!(until(Some(Duration::from_secs(40)), Some(2)), Some(220));
        assert_eq!(until(None, Some(2)), Some(230));
        assert_eq!(until(None, Some(12)), Some(110));
        assert_eq!(until(None, Some(14)), None);
        assert_eq!(until(None, None), None);
    }
}
