//! The edge of the process: what the gateway asks of AWS, of streams and of clocks. Postgres is always real.
//!
//! Of tokio only the traits for byte streams are named here.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, Shared};
use secrecy::SecretString;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};

use super::actor::Actor;
use super::email::EmailAddress;
use super::ending::StreamEnd;
use super::idle::{Calm, Ground, Inside, NoLook, Trigger};
use super::ids::{DomainAlias, GroupName, InstanceType, Region, UserId, UserProfileName};
use super::notice::Notice;
use super::price::PriceList;
use super::role::{NoToken, RoleError};
use super::run::{OpenRun, Tags};
use super::space::{AppType, Space, SpaceArn};
use super::start::{AppReport, StartSettings};

/// Wall time for rows and people, monotonic time for waiting.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The time, for rows and messages.
    fn now(&self) -> OffsetDateTime;
    /// Time since some fixed moment, for measuring.
    fn elapsed(&self) -> Duration;
    /// Waits.
    async fn sleep(&self, duration: Duration);
}

/// People outside terminals.
pub trait Notify: Send + Sync + 'static {
    /// Tells them: every webhook that wants the notice and, by mail, whoever of `to` and the admins it is for. Never
    /// waits and never fails: what cannot be delivered is logged and counted.
    fn tell(&self, notice: &Notice, to: &[EmailAddress]);
}

/// What people become AWS roles with, as known now.
#[async_trait]
pub trait UserCredentials: Send + Sync + 'static {
    /// The groups of a person; none of whoever is not known any more.
    fn groups(&self, user: UserId) -> BTreeSet<GroupName>;
    /// The person's ID token, renewed first if it is about to end or is the one that AWS has just refused.
    async fn id_token(&self, user: UserId, refused: Option<&SecretString>) -> Result<SecretString, NoToken>;
}

/// Why AWS did not do what was asked. `Display` is for logs; terminals have their own words for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AwsError {
    /// There is no role session to call with.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// SageMaker refused the call.
    #[error("AWS denied {operation}: {message}")]
    AccessDenied {
        /// `sagemaker:StartSession`.
        operation: &'static str,
        /// AWS's words.
        message: String,
    },
    /// Too many calls, to SageMaker: STS has its own error.
    #[error("AWS throttles {0}")]
    Throttled(&'static str),
    /// A quota or a limit is reached.
    #[error("AWS's limit is reached: {0}")]
    LimitExceeded(String),
    /// The thing does not exist.
    #[error("AWS does not know it: {0}")]
    NotFound(String),
    /// The thing is being changed.
    #[error("AWS has it in use: {0}")]
    InUse(String),
    /// The request was malformed or is not possible.
    #[error("AWS rejected the request: {0}")]
    Invalid(String),
    /// AWS failed; right after a start that is routine.
    #[error("AWS failed at {operation}: {message}")]
    Internal {
        /// `sagemaker:StartSession`.
        operation: &'static str,
        /// AWS's words.
        message: String,
    },
    /// AWS could not be reached, or did not answer in time.
    #[error("AWS could not be reached: {0}")]
    Unreachable(String),
}

/// What `StartSession` hands out: the way to one new stream.
#[derive(Debug)]
pub struct SessionGrant {
    /// Session Manager's id of the session.
    pub session_id: String,
    /// Where to dial, byte for byte.
    pub stream_url: String,
    /// What to say first.
    pub token: SecretString,
    /// The role session's ARN, which CloudTrail shows for `StartSession`.
    pub role_session: String,
    /// The request id of `StartSession`, for CloudTrail.
    pub request_id: Option<String>,
}

/// SageMaker, by what the gateway needs of it.
#[async_trait]
pub trait SpaceControl: Send + Sync + 'static {
    /// The configured domains.
    fn domains(&self) -> Vec<DomainAlias>;
    /// Every space of a domain with its app, as the service role. `Space::id` of the result is fresh: the
    /// catalogue replaces it with the row's.
    async fn list_spaces(&self, domain: &DomainAlias) -> Result<Vec<Space>, AwsError>;
    /// The user of IAM Identity Center for whom a user profile was made (`SingleSignOnUserValue`), as the service role;
    /// nothing for one that was made for nobody, or is gone.
    async fn sso_user(
        &self,
        domain: &DomainAlias,
        profile: &UserProfileName,
    ) -> Result<Option<String>, AwsError>;
    /// Whether the gateway has a role of its own by which to look inside the domain's spaces.
    fn may_probe(&self, domain: &DomainAlias) -> bool;
    /// The AWS tags of a space, as the service role.
    async fn space_tags(&self, space: &Space) -> Result<Tags, AwsError>;
    /// What a start depends on, as the actor.
    async fn start_settings(&self, actor: &Actor, space: &Space) -> Result<StartSettings, AwsError>;
    /// Sets remote access and instance type of a space, as the actor. Only what is given is changed.
    async fn update_space(
        &self,
        actor: &Actor,
        space: &Space,
        remote_access: Option<bool>,
        instance_type: Option<&InstanceType>,
    ) -> Result<(), AwsError>;
    /// Asks for the app, as the actor.
    async fn create_app(
        &self,
        actor: &Actor,
        space: &Space,
        settings: &StartSettings,
    ) -> Result<(), AwsError>;
    /// What the app is doing, as the service role.
    async fn describe_app(
        &self,
        arn: &SpaceArn,
        domain: &DomainAlias,
        app: AppType,
    ) -> Result<AppReport, AwsError>;
    /// Deletes the app, as the actor.
    async fn delete_app(&self, actor: &Actor, space: &Space) -> Result<(), AwsError>;
    /// Deletes the app, as the service role: once, without the SDK's retries, and inside ten seconds. An answer that
    /// did not come in time says nothing.
    async fn stop_app(&self, space: &Space) -> Result<(), AwsError>;
    /// Starts a Session Manager session to the space, as the actor.
    async fn start_session(&self, actor: &Actor, space: &Space) -> Result<SessionGrant, AwsError>;
}

/// AWS's prices.
#[async_trait]
pub trait PriceLists: Send + Sync + 'static {
    /// What the list shows of Studio in a region, as the service role.
    async fn price_list(&self, region: &Region) -> Result<PriceList, AwsError>;
}

/// Looks inside spaces.
#[async_trait]
pub trait Eyes: Send + Sync + 'static {
    /// What is going on inside a run's space now. Takes no longer than ten seconds.
    async fn look_inside(&self, run: &OpenRun) -> Result<Inside, NoLook>;
}

/// What people are told about a run of a space.
#[derive(Debug, Clone, PartialEq)]
pub enum IdleNews {
    /// It stops then.
    StopsSoon {
        /// Why.
        trigger: Trigger,
        /// When.
        stop_at: OffsetDateTime,
        /// What that rests on.
        grounds: Vec<Ground>,
    },
    /// It stays up after all.
    Stays(Calm),
    /// It is being stopped: AWS is asked to.
    Stopping(Trigger),
    /// It was stopped.
    Stopped(Trigger),
    /// It does not stop: for admins.
    Stuck {
        /// How often it has been tried.
        tries: u32,
        /// AWS's words, if it had any.
        said: Option<String>,
    },
    /// It has run for longer than the policy allows, and what is inside kept it up: for admins.
    TooLong,
}

/// Tells people what happens to spaces: those who work there, those who own them, admins.
#[async_trait]
pub trait Tell: Send + Sync + 'static {
    /// Hands the news on. Never waits for a network.
    async fn tell(&self, run: &OpenRun, news: IdleNews);
}

/// Bytes to and from a space.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// An open stream.
pub struct OpenStream {
    /// The bytes. The reader sees the end when the stream ends; `ended` says why.
    pub bytes: Box<dyn ByteStream>,
    /// Why it ended; completes when it has.
    pub ended: Shared<BoxFuture<'static, StreamEnd>>,
}

/// Why a stream could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The stream's address is not a Session Manager host of the domain's region.
    #[error("the stream's host {0:?} is not Session Manager's")]
    ForeignHost(String),
    /// The service refused the WebSocket.
    #[error("the stream was refused: HTTP {0}")]
    Refused(u16),
    /// It could not be reached in time.
    #[error("the stream could not be reached: {0}")]
    Unreachable(String),
    /// The agent in the space never shook hands.
    #[error("the agent in the space did not answer within {0} s")]
    NoHandshake(u64),
    /// The agent asked for something that SSH does not need.
    #[error("the agent in the space asked for {0}")]
    Unsupported(String),
    /// The stream ended before it was open.
    #[error("the stream ended while opening: {0}")]
    Ended(StreamEnd),
}

/// Opens streams.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// From a grant to bytes, signed as the actor. Returns after the handshake, or fails inside 35 seconds.
    async fn dial(&self, actor: &Actor, space: &Space, grant: SessionGrant) -> Result<OpenStream, DialError>;
}
