//! SDK clients: one set for each domain, all over one pool of connections.

use std::future::Future;
use std::sync::{Arc, Mutex};

use aws_config::retry::RetryConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sagemaker::config::{AppName, BehaviorVersion, IdentityCache, Region, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, ConnectorBuilder};

use super::calls::{OPERATION, Repeat, observed, timeouts};
use super::listing::Skipped;
use super::memory::Memory;
use super::prices;
use super::roles::ServiceRole;
use crate::config::Domain;
use crate::domain::ports::{AwsError, Clock, UserCredentials};
use crate::domain::rate::Allowance;

/// The connections of all clients. As the SDK's own, which would make one for each client.
pub(super) fn shared_http_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    })
}

/// Everything that calls AWS for one domain.
pub(super) struct DomainClients {
    /// The domain.
    pub(super) config: Domain,
    /// STS, with the process's own credentials.
    pub(super) sts: aws_sdk_sts::Client,
    /// SageMaker as the service, for what somebody waits for.
    pub(super) service: aws_sdk_sagemaker::Client,
    /// The same for what goes on by itself: each try is paced, so the SDK makes none of its own.
    pub(super) background: aws_sdk_sagemaker::Client,
    /// What the service's calls may take.
    pub(super) allowance: Mutex<Allowance>,
    /// The price list, as the service.
    pub(super) pricing: aws_sdk_pricing::Client,
    /// What has been learnt about the domain.
    pub(super) memory: Memory,
    /// What the last listing skipped.
    pub(super) skipped: Skipped,
    /// For `ssm:ResumeSession`.
    pub(super) ssm: reqwest::Client,
    /// Whose groups and ID tokens decide about roles.
    pub(super) people: Arc<dyn UserCredentials>,
    /// For measuring and signing.
    pub(super) clock: Arc<dyn Clock>,
    /// A client for SageMaker without credentials.
    nobody: aws_sdk_sagemaker::config::Builder,
}

impl DomainClients {
    pub(super) fn new(
        config: &Domain,
        credentials: &SharedCredentialsProvider,
        http: &SharedHttpClient,
        ssm: reqwest::Client,
        (people, clock): (Arc<dyn UserCredentials>, Arc<dyn Clock>),
    ) -> Self {
        let region = Region::new(config.region.to_string());
        let app = AppName::new("spaceport").ok();
        let mut sts = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region.clone())
            .http_client(http.clone())
            .timeout_config(timeouts())
            .retry_config(Repeat::Yes.config())
            .credentials_provider(credentials.clone());
        sts.set_app_name(app.clone());
        sts.set_endpoint_url(config.endpoints.sts.clone());
        let sts = aws_sdk_sts::Client::from_conf(sts.build());

        let mut nobody = aws_sdk_sagemaker::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region)
            .http_client(http.clone())
            .timeout_config(timeouts());
        nobody.set_app_name(app);
        nobody.set_endpoint_url(config.endpoints.sagemaker.clone());

        // Minting the service's own session may have to wait for STS as long as any call.
        let cache = IdentityCache::lazy().load_timeout(OPERATION).build();
        let as_service = match config.service_role.clone() {
            Some(role) => SharedCredentialsProvider::new(ServiceRole { sts: sts.clone(), role }),
            None => credentials.clone(),
        };
        let service = nobody.clone().retry_config(Repeat::Yes.config()).identity_cache(cache.clone());
        let service = service.credentials_provider(as_service.clone()).build();
        let mut pricing = aws_sdk_pricing::Config::builder()
            .http_client(http.clone())
            .identity_cache(cache)
            .credentials_provider(as_service);
        pricing.set_app_name(AppName::new("spaceport").ok());
        let background = service.to_builder().retry_config(Repeat::No.config()).build();
        Self {
            config: config.clone(),
            sts,
            service: aws_sdk_sagemaker::Client::from_conf(service),
            background: aws_sdk_sagemaker::Client::from_conf(background),
            allowance: Mutex::new(Allowance::new(config.calls.per_s, config.calls.burst)),
            pricing: prices::client(config, pricing),
            memory: Memory::new(Arc::clone(&clock)),
            skipped: Skipped::default(),
            ssm,
            people,
            clock,
            nobody,
        }
    }

    /// SageMaker as a role session. Made for each call, which costs microseconds: connections are shared, and nothing
    /// of the credentials stays behind in a cache.
    pub(super) fn sagemaker_as(&self, credentials: Credentials, repeat: Repeat) -> aws_sdk_sagemaker::Client {
        let retries: RetryConfig = repeat.config();
        let settings = self
            .nobody
            .clone()
            .retry_config(retries)
            .identity_cache(IdentityCache::no_cache())
            .credentials_provider(credentials);
        aws_sdk_sagemaker::Client::from_conf(settings.build())
    }

    /// Makes a call and counts it.
    pub(super) async fn observed<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, AwsError>>,
    ) -> Result<T, AwsError> {
        observed(self.clock.as_ref(), operation, call).await
    }
}
