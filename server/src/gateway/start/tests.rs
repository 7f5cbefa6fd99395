//! Starts against an app that lives by a paused clock.

use std::sync::Arc;

use super::*;
use crate::domain::start::StartProblem;
use crate::gateway::fakes::{PausedClock, Studio, StudioApp, UP_AFTER, space, user};
use crate::gateway::links::unwatched;

struct Scene {
    studio: Arc<Studio>,
    starter: Starter,
    space: Space,
    alice: Actor,
    bo: Actor,
    clock: PausedClock,
}

fn scene() -> Scene {
    let clock = PausedClock::start();
    let studio = Studio::new(&clock);
    let starter = Starter {
        control: studio.clone(),
        clock: Arc::new(clock),
        tracker: TaskTracker::new(),
        limits: Arc::new(Limits::default()),
        under_way: Arc::new(Flights::new()),
        locks: None,
    };
    let (alice, bo) = (Actor::person(&user("alice", "alice")), Actor::person(&user("bo", "bo")));
    Scene { studio, starter, space: space("lab", "fraud-gnn", "alice"), alice, bo, clock }
}

fn in_use() -> AwsError {
    AwsError::InUse("being changed".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_stopped_space_is_started_and_every_step_is_shown() {
    let Scene { starter, space, alice, .. } = scene();
    let report = unwatched();
    let mut shown = report.subscribe();
    let steps = TaskTracker::new().spawn(async move {
        let mut steps = Vec::new();
        while shown.changed().await.is_ok() {
            let progress = shown.borrow_and_update().clone().unwrap();
            steps.push((progress.step, progress.instance_type));
        }
        steps
    });
    let up = starter.up(&alice, &space, &report).await.unwrap();
    drop(report);
    assert_eq!(up.in_service.unwrap(), UP_AFTER);
    let mut steps = steps.await.unwrap();
    steps.retain(|(_, instance)| instance.is_some());
    let ml = |step| (step, Some("ml.m5.xlarge".to_owned()));
    assert_eq!(steps, [ml(StartStep::Requested), ml(StartStep::Pending), ml(StartStep::InService)]);
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_a_space_share_one_start() {
    let Scene { studio, starter, space, alice, bo, .. } = scene();
    let (one, two) = (unwatched(), unwatched());
    let (first, second) = tokio::join!(starter.up(&alice, &space, &one), starter.up(&bo, &space, &two));
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(studio.count("create"), 1);
    assert_eq!(studio.count("create alice"), 1);
    assert_eq!(*one.borrow(), *two.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_first_person_is_not_the_answer_to_the_second() {
    let Scene { studio, starter, space, alice, bo, .. } = scene();
    studio.with(|state| state.refuses = Some("alice".to_owned()));
    let (one, two) = (unwatched(), unwatched());
    let (first, second) = tokio::join!(starter.up(&alice, &space, &one), starter.up(&bo, &space, &two));
    assert!(matches!(first, Err(OpenError::Aws(AwsError::AccessDenied { .. }))));
    assert!(second.is_ok());
    assert_eq!(studio.count("create bo"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_aws_would_refuse_late_is_refused_before_an_app_is_asked_for() {
    let Scene { studio, starter, space, alice, .. } = scene();
    studio.with(|state| state.settings.remote_access = false);
    let answer = starter.up(&alice, &space, &unwatched()).await;
    assert!(matches!(answer, Err(OpenError::Start(StartProblem::RemoteAccessOff))));
    assert_eq!(studio.count("create"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_app_is_told_in_the_words_of_aws_and_an_old_failure_is_not_taken_for_a_new_one() {
    let Scene { studio, starter, space, alice, clock, .. } = scene();
    studio.with(|state| state.next_fails = Some("no capacity".to_owned()));
    let answer = starter.up(&alice, &space, &unwatched()).await;
    assert!(matches!(answer, Err(OpenError::AppFailed { reason }) if reason == "no capacity"));
    clock.sleep(Duration::from_secs(10)).await;
    assert!(starter.up(&alice, &space, &unwatched()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_app_that_never_comes_up_is_given_up_in_time() {
    let Scene { studio, mut starter, space, alice, clock, .. } = scene();
    starter.limits = Arc::new(Limits { start_timeout: Duration::from_secs(60), ..Limits::default() });
    let answer = starter.up(&alice, &space, &unwatched()).await;
    assert!(matches!(answer, Err(OpenError::StartTimedOut { waited_s: 60 })));
    assert_eq!(studio.count("create"), 1);
    assert_eq!(clock.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_quota_keeps_the_words_of_aws() {
    let Scene { studio, starter, space, alice, .. } = scene();
    let quota = AwsError::LimitExceeded("0 ml.g5.xlarge allowed".to_owned());
    studio.with(|state| state.failures.push_back(("create", quota.clone())));
    let answer = starter.up(&alice, &space, &unwatched()).await;
    assert!(matches!(answer, Err(OpenError::Aws(error)) if error == quota));
}

#[tokio::test(start_paused = true)]
async fn a_stopping_space_is_started_once_it_has_stopped() {
    let Scene { studio, starter, space, alice, .. } = scene();
    let stopping = StudioApp { created: Duration::ZERO, deleted: Some(Duration::ZERO), fails: None };
    studio.with(|state| state.app = Some(stopping));
    let up = starter.up(&alice, &space, &unwatched()).await.unwrap();
    assert_eq!(studio.count("create"), 1);
    assert!(up.in_service.unwrap() >= UP_AFTER + Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_space_that_is_being_changed_is_waited_for() {
    let Scene { studio, starter, space, alice, .. } = scene();
    studio.with(|state| state.failures.extend([("create", in_use()), ("create", in_use())]));
    assert!(starter.up(&alice, &space, &unwatched()).await.is_ok());
    assert_eq!(studio.count("create"), 3);
    let stuck = std::iter::repeat_n(("create", in_use()), 100);
    studio.with(|state| (state.app, state.failures) = (None, stuck.collect()));
    let answer = starter.up(&alice, &space, &unwatched()).await;
    assert!(matches!(answer, Err(OpenError::Aws(AwsError::InUse(_)))));
}

#[tokio::test(start_paused = true)]
async fn polls_may_fail_a_few_times() {
    let Scene { studio, starter, space, alice, clock, .. } = scene();
    let report = unwatched();
    let begin = starter.up(&alice, &space, &report);
    let disturb = async {
        clock.sleep(Duration::from_secs(7)).await;
        let throttled = ("describe", AwsError::Throttled("sagemaker:DescribeApp"));
        studio.with(|state| state.failures.extend([throttled.clone(), throttled]));
    };
    assert!(tokio::join!(begin, disturb).0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn switching_on_remote_access_deletes_changes_and_starts_in_this_order() {
    let Scene { studio, starter, space, alice, .. } = scene();
    studio.with(|state| {
        state.settings.remote_access = false;
        state.app = Some(StudioApp { created: Duration::ZERO, deleted: None, fails: None });
    });
    starter.clock.sleep(UP_AFTER).await;
    let change = SpaceChange { remote_access: Some(true), ..SpaceChange::default() };
    assert!(starter.change(&alice, &space, &change, &unwatched()).await.is_ok());
    let changes: Vec<String> = studio.with(|state| {
        let changing = |call: &&String| !call.starts_with("describe") && !call.starts_with("settings");
        state.calls.iter().filter(changing).cloned().collect()
    });
    assert_eq!(changes, ["delete alice", "update alice", "create alice"]);
}

#[tokio::test(start_paused = true)]
async fn an_app_that_somebody_else_started_is_only_waited_for() {
    let Scene { studio, starter, space, alice, .. } = scene();
    studio.with(|state| {
        state.app = Some(StudioApp { created: Duration::ZERO, deleted: None, fails: None });
    });
    assert!(starter.up(&alice, &space, &unwatched()).await.is_ok());
    assert_eq!(studio.count("create") + studio.count("settings"), 0);
}
