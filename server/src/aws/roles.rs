//! Role sessions: an actor's 15 minutes for one thing on one space, and the service's own for listing.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_sts::operation::assume_role::builders::AssumeRoleFluentBuilder;
use aws_sdk_sts::types::{self as sdk, Tag};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::debug;

use super::clients::DomainClients;
use super::errors::{ASSUME, WEB_IDENTITY, from_sts};
use super::policy::session_policy;
use crate::config::domains::RoleCredentials;
use crate::domain::actor::{Actor, PROBE, Person};
use crate::domain::ids::GroupName;
use crate::domain::ports::AwsError;
use crate::domain::role::{RoleArn, RoleError};
use crate::domain::space::SpaceArn;

/// The least that STS gives. A stream outlives the credentials that opened it.
const SHORTEST_SECONDS: i32 = 900;
/// The service's own session: renewed before it lapses, and within role chaining's limit.
const SERVICE_SECONDS: i32 = 3_600;
/// The name of the service's own session in CloudTrail.
const SERVICE_NAME: &str = "spaceport";
/// How long a tag's value may be (STS API, `Tag`).
const LONGEST_TAG: usize = 256;

/// What a role session is for: decides its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Open, sign and resume a stream.
    Open,
    /// Look at, change, start and stop the space.
    Start,
}

/// A role session of an actor. Lives in memory only, and no longer than what it was minted for.
pub(super) struct RoleSession {
    /// Its credentials.
    pub(super) credentials: Credentials,
    /// Its ARN, which CloudTrail shows.
    pub(super) arn: String,
}

impl DomainClients {
    /// Mints a role session for an actor, for one purpose on one space.
    pub(super) async fn become_actor(
        &self,
        actor: &Actor,
        arn: &SpaceArn,
        purpose: Purpose,
    ) -> Result<RoleSession, AwsError> {
        let policy = session_policy(purpose, arn);
        let Some(person) = actor.as_person() else {
            return self.become_probe(policy).await;
        };
        let groups = self.people.groups(person.user());
        let chosen = self.config.roles.choose(&groups);
        let chosen = chosen.ok_or_else(|| RoleError::NoneFor(self.config.alias.clone()))?;
        debug!(user.name = %actor, role = %chosen.role, rule = chosen.by.map(GroupName::as_str), "role chosen");
        match self.config.credentials {
            RoleCredentials::Own => self.become_in_name(person, chosen.role, policy).await,
            RoleCredentials::WebIdentity => self.become_with_token(person, chosen.role, policy).await,
        }
    }

    /// The probe's own role: with the process's own credentials, since nobody is there to have a token.
    async fn become_probe(&self, policy: String) -> Result<RoleSession, AwsError> {
        let role = self.config.probe_role.as_ref();
        let role = role.ok_or_else(|| RoleError::NoneFor(self.config.alias.clone()))?;
        self.observed(ASSUME, assume(role, self.named(role, PROBE, policy))).await
    }

    /// With the process's own credentials: it says who the person is.
    async fn become_in_name(
        &self,
        person: &Person,
        role: &RoleArn,
        policy: String,
    ) -> Result<RoleSession, AwsError> {
        let request = self
            .named(role, &person.source_identity(), policy)
            .tags(tag("gw-owner", &tag_value(person.name().as_str(), person))?)
            .tags(tag("gw-sub", &tag_value(person.subject(), person))?);
        self.observed(ASSUME, assume(role, request)).await
    }

    /// A request for a session that CloudTrail shows under a name.
    fn named(&self, role: &RoleArn, name: &str, policy: String) -> AssumeRoleFluentBuilder {
        self.sts
            .assume_role()
            .role_arn(role.as_str())
            .role_session_name(name)
            .source_identity(name)
            .policy(policy)
            .duration_seconds(SHORTEST_SECONDS)
    }

    /// With the person's ID token: their provider says who they are, tags and source identity included. A token that
    /// STS calls expired, by its own clock, is renewed once.
    async fn become_with_token(
        &self,
        person: &Person,
        role: &RoleArn,
        policy: String,
    ) -> Result<RoleSession, AwsError> {
        let token = self.people.id_token(person.user(), None).await.map_err(RoleError::NoToken)?;
        let first = self.present(person, role, &policy, &token).await;
        if !matches!(first, Err(AwsError::Role(RoleError::TokenExpired(_)))) {
            return first;
        }
        let token = self.people.id_token(person.user(), Some(&token)).await.map_err(RoleError::NoToken)?;
        self.present(person, role, &policy, &token).await
    }

    async fn present(
        &self,
        person: &Person,
        role: &RoleArn,
        policy: &str,
        token: &SecretString,
    ) -> Result<RoleSession, AwsError> {
        let request = self
            .sts
            .assume_role_with_web_identity()
            .role_arn(role.as_str())
            .role_session_name(person.source_identity())
            .web_identity_token(token.expose_secret())
            .policy(policy)
            .duration_seconds(SHORTEST_SECONDS);
        let call = async {
            let output = request.send().await.map_err(|error| from_sts(WEB_IDENTITY, role, &error))?;
            session_of(output.credentials, output.assumed_role_user).ok_or_else(incomplete)
        };
        self.observed(WEB_IDENTITY, call).await
    }
}

async fn assume(role: &RoleArn, request: AssumeRoleFluentBuilder) -> Result<RoleSession, AwsError> {
    let output = request.send().await.map_err(|error| from_sts(ASSUME, role, &error))?;
    session_of(output.credentials, output.assumed_role_user).ok_or_else(incomplete)
}

fn incomplete() -> AwsError {
    RoleError::Unavailable("the answer holds no credentials".to_owned()).into()
}

fn session_of(keys: Option<sdk::Credentials>, user: Option<sdk::AssumedRoleUser>) -> Option<RoleSession> {
    let keys = keys?;
    let expires = keys.expiration.try_into().ok();
    let credentials = Credentials::new(
        keys.access_key_id,
        keys.secret_access_key,
        Some(keys.session_token),
        expires,
        "STS",
    );
    Some(RoleSession { credentials, arn: user?.arn })
}

fn tag(key: &str, value: &str) -> Result<Tag, AwsError> {
    Tag::builder().key(key).value(value).build().map_err(|error| AwsError::Invalid(error.to_string()))
}

/// A text as the value of a session tag: letters, digits, spaces and `_.:/=+-@`, at most 256 (STS API, `Tag`), and
/// never the same for two people.
fn tag_value(text: &str, person: &Person) -> String {
    person.told_apart(text, |c| c.is_alphanumeric() || " _.:/=+-@".contains(c), 1..=LONGEST_TAG)
}

/// The service's own role in an account, for a client's credentials. The SDK keeps them until they lapse.
#[derive(Debug)]
pub(super) struct ServiceRole {
    pub(super) sts: aws_sdk_sts::Client,
    pub(super) role: RoleArn,
}

impl ServiceRole {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let request = self
            .sts
            .assume_role()
            .role_arn(self.role.as_str())
            .role_session_name(SERVICE_NAME)
            .duration_seconds(SERVICE_SECONDS);
        assume(&self.role, request)
            .await
            .map(|session| session.credentials)
            .map_err(CredentialsError::provider_error)
    }
}

impl ProvideCredentials for ServiceRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::user;

    #[test]
    fn tags_hold_what_sts_takes_and_stay_apart() {
        let mut person = user("anna", &[]);
        let tag_of = |text: &str, person: &crate::domain::user::User| {
            tag_value(text, Actor::person(person).as_person().unwrap())
        };
        assert_eq!(tag_of("anna@example.com", &person), "anna@example.com");
        let changed = tag_of("auth0|5f7c8ec7", &person);
        assert!(changed.starts_with("auth0_5f7c8ec7-"), "{changed}");
        person.id = crate::domain::ids::UserId::generate();
        assert_ne!(tag_of("auth0|5f7c8ec7", &person), changed);
        let long = tag_of(&"é".repeat(300), &person);
        assert_eq!(long.chars().count(), LONGEST_TAG);
    }
}
