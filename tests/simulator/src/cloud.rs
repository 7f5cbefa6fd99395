//! The whole simulated cloud: its state, each part behind a short lock of its own, and one API call on it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::account::{Object, World};
use crate::clock::Clock;
use crate::error::ApiError;
use crate::faults::Faults;
use crate::iam::{self, Context, Decision, Question};
use crate::keys::{Caller, Keys, random_hex};
use crate::live::{Live, URL_KEY};
use crate::pricing::Products;
use crate::roles::Principal;
use crate::sessions::Spaces;
use crate::trail::Trail;

/// How long things take on AWS; the clock's scale makes them shorter.
#[derive(Debug, Clone, Copy)]
pub struct Delays {
    /// From `CreateApp` to InService.
    pub app_start: Duration,
    /// From `DeleteApp` to Deleted.
    pub app_stop: Duration,
    /// For a space to be created, updated or deleted.
    pub space_change: Duration,
    /// After InService, how long `StartSession` still answers InternalFailure.
    pub registration_lag: Duration,
    /// How long a deleted app stays listed.
    pub deleted_listed: Duration,
    /// How long the token of a session that was never opened counts.
    pub token_life: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            app_start: Duration::from_secs(100),
            app_stop: Duration::from_secs(40),
            space_change: Duration::from_secs(6),
            registration_lag: Duration::ZERO,
            deleted_listed: Duration::from_secs(24 * 3600),
            token_life: Duration::from_secs(20 * 60),
        }
    }
}

/// The state and the parts it needs. Locks are never held over an await, nor two at once.
pub(crate) struct Cloud {
    pub(crate) clock: Clock,
    pub(crate) spaces: Arc<dyn Spaces>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// Signs page tokens.
    pub(crate) page_secret: String,
    /// Signs stream URLs when they are presigned.
    pub(crate) url_secret: String,
    /// `HOST:PORT` where streams are opened; known once the listener is bound.
    pub(crate) stream_host: OnceLock<String>,
    delays: Mutex<Delays>,
    world: Mutex<World>,
    keys: Mutex<Keys>,
    faults: Mutex<Faults>,
    products: Mutex<Products>,
    trail: Mutex<Trail>,
    live: Mutex<Live>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking test must not turn into a second failure elsewhere.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cloud {
    pub(crate) fn new(clock: Clock, delays: Delays, world: World, spaces: Arc<dyn Spaces>) -> Self {
        let url_secret = random_hex(40);
        let mut keys = Keys::default();
        keys.add_static(URL_KEY, &url_secret, Principal::url_signer());
        Self {
            clock,
            spaces,
            url_secret,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            page_secret: random_hex(32),
            stream_host: OnceLock::new(),
            delays: Mutex::new(delays),
            world: Mutex::new(world),
            keys: Mutex::new(keys),
            faults: Mutex::default(),
            products: Mutex::default(),
            trail: Mutex::default(),
            live: Mutex::default(),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    pub(crate) fn keys(&self) -> MutexGuard<'_, Keys> {
        lock(&self.keys)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(crate) fn products(&self) -> MutexGuard<'_, Products> {
        lock(&self.products)
    }

    pub(crate) fn trail(&self) -> MutexGuard<'_, Trail> {
        lock(&self.trail)
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        lock(&self.live)
    }

    pub(crate) fn delays(&self) -> Delays {
        *lock(&self.delays)
    }

    pub(crate) fn change_delays(&self, change: impl FnOnce(&mut Delays)) {
        change(&mut lock(&self.delays));
    }

    /// What IAM says to a principal's wish.
    pub(crate) fn decide(&self, principal: &Principal, question: &Question<'_>) -> Decision {
        let world = self.world();
        let role = world.roles.get(&principal.role_arn());
        let policies = role.into_iter().flat_map(|role| role.policies.values());
        iam::decide(policies, principal.session_policy.as_ref(), question)
    }

    /// As `decide`, with AWS's words for a denial.
    pub(crate) fn authorize(&self, principal: &Principal, question: &Question<'_>) -> Result<(), ApiError> {
        let decision = self.decide(principal, question);
        if decision == Decision::Allow {
            return Ok(());
        }
        Err(ApiError::access_denied(format!(
            "User: {} is not authorized to perform: {} on resource: {} {}",
            principal.arn(),
            question.action,
            question.resource,
            decision.reason(question.action)
        )))
    }
}

/// One authenticated API call.
pub(crate) struct Call<'a> {
    pub(crate) cloud: &'a Arc<Cloud>,
    pub(crate) caller: &'a Caller,
    pub(crate) operation: &'a str,
    pub(crate) input: Object,
    pub(crate) now: OffsetDateTime,
    /// The resource that was decided on, for CloudTrail.
    pub(crate) resource: Option<String>,
    /// Ids for CloudTrail's `responseElements`.
    pub(crate) issued: Object,
}

impl<'a> Call<'a> {
    pub(crate) fn new(cloud: &'a Arc<Cloud>, caller: &'a Caller, operation: &'a str, input: Object) -> Self {
        let now = cloud.clock.now();
        Self { cloud, caller, operation, input, now, resource: None, issued: Object::new() }
    }

    /// The account of the caller.
    pub(crate) fn account(&self) -> &'a str {
        &self.caller.principal.account
    }

    /// The region that was called.
    pub(crate) fn region(&self) -> &'a str {
        &self.caller.region
    }

    /// A text member of the input, if it is there.
    pub(crate) fn text(&self, member: &str) -> Option<&str> {
        self.input.get(member).and_then(serde_json::Value::as_str)
    }

    /// A text member that the schema requires.
    pub(crate) fn required(&self, member: &str) -> String {
        self.text(member).unwrap_or_default().to_owned()
    }

    /// An ARN of SageMaker in the caller's account and region.
    pub(crate) fn arn(&self, resource: &str) -> String {
        format!("arn:aws:sagemaker:{}:{}:{resource}", self.region(), self.account())
    }

    /// Asks IAM whether the caller may, with the resource's tags and further keys.
    pub(crate) fn authorize(
        &mut self,
        action: &str,
        arn: &str,
        further: impl FnOnce(&mut Context),
    ) -> Result<(), ApiError> {
        let tags = self.cloud.world().tags(arn).cloned().unwrap_or_default();
        self.authorize_new(action, arn, |context| {
            context.set_tags("aws:ResourceTag", &tags);
            context.set_tags("sagemaker:ResourceTag", &tags);
            further(context);
        })
    }

    /// As `authorize`, for a resource that the call is about to make and that has no tags yet.
    pub(crate) fn authorize_new(
        &mut self,
        action: &str,
        arn: &str,
        further: impl FnOnce(&mut Context),
    ) -> Result<(), ApiError> {
        self.resource.get_or_insert_with(|| arn.to_owned());
        let mut context = self.caller.principal.context(self.region());
        further(&mut context);
        self.cloud.authorize(&self.caller.principal, &Question { action, resource: arn, context: &context })
    }
}
