//! AWS, as the ports want it: spaces and their apps through SageMaker, role sessions through STS, streams dialled.
//!
//! Everything that a person causes is done as that person: a role session of 15 minutes, minted for one thing on one
//! space and dropped with it. Only listing and `DescribeApp` are the service's own.
//!
//! What is *not* here: when to start, retry or wait (`gateway`), and who may (`domain::access`).

mod calls;
mod clients;
mod dial;
mod errors;
mod grants;
mod listing;
mod memory;
mod pace;
mod policy;
mod prices;
mod resume;
mod roles;
mod spaces;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
use tokio_util::task::TaskTracker;

use self::clients::DomainClients;
use self::grants::Grants;
use crate::config::Domain;
use crate::domain::ids::DomainAlias;
use crate::domain::ports::{AwsError, Clock, UserCredentials};
use crate::domain::space::Space;

/// Why AWS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum AwsSetupError {
    /// There is no HTTPS client, mostly for want of trusted certificates on the machine.
    #[error("no HTTPS client for AWS")]
    Https(#[source] reqwest::Error),
}

/// The process's own credentials, from where AWS's tools look for them: environment, profile, container, instance.
/// They are looked for at the first call, and again before they lapse.
pub async fn own_credentials(domains: &[Domain]) -> Option<SharedCredentialsProvider> {
    // Without a region the SDK would ask the instance for one; STS answers in any.
    let region = domains.first().map_or("us-east-1", |domain| domain.region.as_str());
    let region = Region::new(region.to_owned());
    let settings = aws_config::defaults(BehaviorVersion::latest()).region(region).load().await;
    settings.credentials_provider()
}

/// AWS for all configured domains. Cheap to clone.
#[derive(Clone)]
pub struct Aws {
    inner: Arc<Inner>,
}

struct Inner {
    domains: Vec<Arc<DomainClients>>,
    grants: Grants,
    tracker: TaskTracker,
}

impl Aws {
    /// Sets up clients for every domain; calls nobody. Streams live on `tracker`.
    ///
    /// # Errors
    /// When there is no HTTPS client.
    pub fn new(
        domains: &[Domain],
        credentials: &SharedCredentialsProvider,
        people: &Arc<dyn UserCredentials>,
        clock: Arc<dyn Clock>,
        tracker: TaskTracker,
    ) -> Result<Self, AwsSetupError> {
        let http = clients::shared_http_client();
        let ssm = resume::http_client().map_err(AwsSetupError::Https)?;
        let domains = domains
            .iter()
            .map(|domain| {
                let edge = (Arc::clone(people), Arc::clone(&clock));
                Arc::new(DomainClients::new(domain, credentials, &http, ssm.clone(), edge))
            })
            .collect();
        Ok(Self { inner: Arc::new(Inner { domains, grants: Grants::new(clock), tracker }) })
    }

    fn domain(&self, alias: &DomainAlias) -> Result<&Arc<DomainClients>, AwsError> {
        let found = self.inner.domains.iter().find(|domain| domain.config.alias == *alias);
        found.ok_or_else(|| AwsError::NotFound(format!("domain {alias} in the configuration")))
    }

    /// The domain of a space. A row that outlived a change of the configuration may name another account.
    fn domain_of(&self, space: &Space) -> Result<&Arc<DomainClients>, AwsError> {
        let domain = self.domain(&space.domain)?;
        if !domain.config.holds(&space.arn) {
            return Err(AwsError::NotFound(format!("{} in domain {}", space.arn, space.domain)));
        }
        Ok(domain)
    }
}
