//! Identity providers that an account has registered, as IAM's OpenID Connect providers are: which there are, and the
//! keys that they publish. What a token must be is in `token`; who may become a role with one is in `sts`.

mod token;

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::bail;
use serde::Deserialize;

pub(crate) use self::token::{Claims, Jwk, Token};
use crate::error::ApiError;
use crate::simulator::Simulator;

/// A provider that takes longer does not communicate.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A registered provider.
#[derive(Debug, Clone)]
pub(crate) struct OidcProvider {
    /// Its issuer identifier.
    pub(crate) url: String,
    /// The audiences whose tokens count.
    pub(crate) client_ids: Vec<String>,
}

/// What an issuer is called in ARNs and condition keys: its address without the scheme.
pub(crate) fn name_of(issuer: &str) -> &str {
    issuer.split_once("://").map_or(issuer, |(_, rest)| rest).trim_end_matches('/')
}

/// `arn:aws:iam::A:oidc-provider/HOST`.
pub(crate) fn provider_arn(account: &str, issuer: &str) -> String {
    format!("arn:aws:iam::{account}:oidc-provider/{}", name_of(issuer))
}

impl Simulator {
    /// Registers an identity provider in an account, with the audiences whose tokens count. Gives its ARN.
    ///
    /// AWS takes `https` only; here `http` is taken on loopback as well.
    pub fn register_oidc_provider(
        &self,
        account: &str,
        issuer: &str,
        client_ids: &[&str],
    ) -> anyhow::Result<String> {
        if !issuer.starts_with("https://") && !issuer.starts_with("http://127.0.0.1") {
            bail!("the address of a provider begins with https://");
        }
        if client_ids.is_empty() {
            bail!("a provider needs a client id");
        }
        let arn = provider_arn(account, issuer);
        let client_ids = client_ids.iter().map(|id| (*id).to_owned()).collect();
        let provider = OidcProvider { url: issuer.to_owned(), client_ids };
        self.cloud.world().oidc_providers.insert(arn.clone(), provider);
        Ok(arn)
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

/// The keys that a provider publishes now. Nothing is kept: withdrawn keys are gone at once.
pub(crate) async fn published_keys(provider: &OidcProvider) -> Result<Vec<Jwk>, ApiError> {
    let place = format!("{}/.well-known/openid-configuration", provider.url.trim_end_matches('/'));
    let discovery: Discovery = get(&place).await?;
    if discovery.issuer != provider.url {
        return Err(token::no_key());
    }
    Ok(get::<KeySet>(&discovery.jwks_uri).await?.keys)
}

async fn get<T: serde::de::DeserializeOwned>(url: &str) -> Result<T, ApiError> {
    static CLIENT: OnceLock<Option<reqwest::Client>> = OnceLock::new();
    let client = CLIENT.get_or_init(|| {
        // Another provider of cryptography may be there already, and then is the one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        client.timeout(TIMEOUT).build().ok()
    });
    let client = client.as_ref().ok_or_else(|| ApiError::internal("no HTTP client"))?;
    let asked = async { client.get(url).send().await?.error_for_status()?.bytes().await };
    let body = asked.await.map_err(|error: reqwest::Error| {
        tracing::debug!(%error, "an identity provider does not answer");
        ApiError::new(
            "IDPCommunicationError",
            "An error occurred when communicating with the identity provider",
        )
    })?;
    serde_json::from_slice(&body).map_err(|_| token::no_key())
}
