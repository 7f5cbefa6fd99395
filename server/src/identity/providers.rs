//! OpenID Connect providers as we talk to them: discovery, the code flow with PKCE, userinfo, renewal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreErrorResponseType, CoreIdToken, CoreIdTokenVerifier,
    CoreJwsSigningAlgorithm, CoreTokenResponse,
};
use openidconnect::{
    AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, DiscoveryError,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpClientError, IssuerUrl, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, ProviderMetadataWithLogout, RedirectUrl,
    RefreshToken, RequestTokenError, Scope, SignatureVerificationError, TokenResponse as _,
};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::claims::{self, ClaimsError, SKEW_S};
use crate::config::{Provider, PublicUrl};
use crate::domain::ids::ProviderAlias;
use crate::domain::ports::Clock;
use crate::domain::vouched::Vouched;
use crate::store::logins::Tokens;

/// A provider that does not answer within this is away.
const TIMEOUT: Duration = Duration::from_secs(8);
/// For how long what a provider publishes about itself is taken as it was.
const METADATA_AGE: Duration = Duration::from_secs(3600);

/// Algorithms that only the provider can sign with. A token "signed" with our own secret, or not at all, is nobody's.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Why a provider did not vouch for somebody. `Display` is for logs.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It could not be asked.
    #[error("{0} cannot be asked: {1}")]
    Away(ProviderAlias, String),
    /// It refused: the code or the refresh token is not good any more.
    #[error("{0} refused: {1}")]
    Refused(ProviderAlias, String),
    /// Its ID token does not hold.
    #[error("the ID token of {0} does not hold: {1}")]
    Token(ProviderAlias, String),
    /// Its claims make no person.
    #[error("the claims of {0} do not do: {1}")]
    Claims(ProviderAlias, #[source] ClaimsError),
}

/// A sign-in to send a browser on.
pub(super) struct Departure {
    pub(super) url: Url,
    pub(super) state: SecretString,
    pub(super) nonce: SecretString,
    pub(super) verifier: SecretString,
}

/// All configured providers.
pub(super) struct Providers {
    by_alias: BTreeMap<ProviderAlias, Known>,
    http: reqwest::Client,
    public_url: PublicUrl,
    clock: Arc<dyn Clock>,
}

struct Known {
    settings: Provider,
    metadata: Mutex<Option<(Duration, ProviderMetadataWithLogout)>>,
}

impl Providers {
    pub(super) fn new(
        providers: &[Provider],
        public_url: PublicUrl,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        // A provider that sends us elsewhere is not followed: that would reach into our own network.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        let by_alias = providers.iter().map(|settings| {
            (settings.alias.clone(), Known { settings: settings.clone(), metadata: Mutex::default() })
        });
        Ok(Self { by_alias: by_alias.collect(), http, public_url, clock })
    }

    /// The settings of a provider, by its alias.
    pub(super) fn settings(&self, alias: &str) -> Option<&Provider> {
        self.by_alias.values().map(|known| &known.settings).find(|settings| settings.alias.as_str() == alias)
    }

    /// The settings of all.
    pub(super) fn all(&self) -> impl Iterator<Item = &Provider> {
        self.by_alias.values().map(|known| &known.settings)
    }

    /// Where providers send browsers back to: a path of its own for each, so that none answers for another.
    pub(super) fn callback(&self, alias: &ProviderAlias) -> String {
        self.public_url.page(&format!("/signin/{alias}/callback"))
    }

    /// Begins a sign-in.
    pub(super) async fn depart(&self, provider: &Provider) -> Result<Departure, ProviderError> {
        let client = self.client(provider, false).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state, nonce) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                CsrfToken::new_random,
                Nonce::new_random,
            )
            .add_scopes(provider.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(challenge)
            .url();
        Ok(Departure {
            url,
            state: SecretString::from(state.into_secret()),
            nonce: SecretString::from(nonce.secret().clone()),
            verifier: SecretString::from(verifier.into_secret()),
        })
    }

    /// Redeems a code.
    pub(super) async fn arrive(
        &self,
        provider: &Provider,
        code: String,
        verifier: &SecretString,
        nonce: &SecretString,
    ) -> Result<(Vouched, Tokens), ProviderError> {
        let client = self.client(provider, false).await?;
        let response = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| away(provider, &error))?
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()))
            .request_async(&self.http)
            .await
            .map_err(|error| token_error(provider, error))?;
        let id_token = response.id_token().ok_or_else(|| token(provider, "there is none"))?;
        let nonce = Nonce::new(nonce.expose_secret().to_owned());
        self.verify(provider, id_token, Some(&nonce)).await?;
        let vouched = self.person(provider, &response, Some(id_token)).await?;
        let refresh_token = response.refresh_token().map(|token| SecretString::from(token.secret().clone()));
        Ok((vouched, Tokens { id_token: SecretString::from(id_token.to_string()), refresh_token }))
    }

    /// Asks a provider whether it still vouches for a person.
    pub(super) async fn renew(
        &self,
        provider: &Provider,
        subject: &str,
        refresh_token: &SecretString,
    ) -> Result<(Vouched, Tokens), ProviderError> {
        let client = self.client(provider, false).await?;
        let refresh = RefreshToken::new(refresh_token.expose_secret().to_owned());
        let response = client
            .exchange_refresh_token(&refresh)
            .map_err(|error| away(provider, &error))?
            .request_async(&self.http)
            .await
            .map_err(|error| token_error(provider, error))?;
        if let Some(id_token) = response.id_token() {
            self.verify(provider, id_token, None).await?;
        }
        let vouched = self.person(provider, &response, response.id_token()).await?;
        if vouched.subject != subject {
            return Err(token(provider, "it is about somebody else"));
        }
        let id_token = response.id_token().map(ToString::to_string).unwrap_or_default();
        let refresh_token = response.refresh_token().map(|token| SecretString::from(token.secret().clone()));
        Ok((vouched, Tokens { id_token: SecretString::from(id_token), refresh_token }))
    }

    /// Where a browser is sent to sign out at the provider as well, if the provider has such a place.
    pub(super) async fn farewell(&self, provider: &Provider, id_token: &SecretString) -> Option<Url> {
        let metadata = self.metadata(provider, false).await.ok()?;
        let mut url = metadata.additional_metadata().end_session_endpoint.as_ref()?.url().clone();
        url.query_pairs_mut()
            .append_pair("id_token_hint", id_token.expose_secret())
            .append_pair("client_id", &provider.client_id)
            .append_pair("post_logout_redirect_uri", &self.public_url.page("/signin"));
        Some(url)
    }

    /// Checks signature, issuer, audience, nonce and times. An unknown key makes us look once whether keys have changed;
    /// the token comes from the provider itself, so nobody else can make us ask.
    async fn verify(
        &self,
        provider: &Provider,
        id_token: &CoreIdToken,
        nonce: Option<&Nonce>,
    ) -> Result<(), ProviderError> {
        let now = self.clock.now();
        let checked = |client: &Client| -> Result<(), ClaimsVerificationError> {
            let verifier: CoreIdTokenVerifier<'_> = client
                .id_token_verifier()
                .set_allowed_algs(ALGORITHMS)
                .set_time_fn(move || chrono_time(now, -SKEW_S));
            match nonce {
                Some(nonce) => id_token.claims(&verifier, nonce).map(drop),
                // A renewed token need not repeat the nonce (OpenID Connect Core 12.2).
                None => id_token.claims(&verifier, |_: Option<&Nonce>| Ok(())).map(drop),
            }
        };
        let unknown_key =
            ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey);
        match checked(&self.client(provider, false).await?) {
            Err(error) if error == unknown_key => checked(&self.client(provider, true).await?)
                .map_err(|error| token(provider, &error.to_string())),
            answer => answer.map_err(|error| token(provider, &error.to_string())),
        }?;
        let claims = payload(&id_token.to_string()).ok_or_else(|| token(provider, "it cannot be read"))?;
        claims::check_not_before(&claims, now)
            .map_err(|error| ProviderError::Claims(provider.alias.clone(), error))
    }

    /// The person, from a verified ID token and, where groups are missing, from userinfo.
    async fn person(
        &self,
        provider: &Provider,
        response: &CoreTokenResponse,
        id_token: Option<&CoreIdToken>,
    ) -> Result<Vouched, ProviderError> {
        let mut claims = match id_token {
            Some(token) => payload(&token.to_string()).unwrap_or_default(),
            None => Map::new(),
        };
        if claims.is_empty() || claims::lacks_groups(provider, &claims) {
            let more = self.userinfo(provider, response.access_token().secret()).await?;
            if claims.get("sub").is_some_and(|sub| more.get("sub") != Some(sub)) {
                return Err(token(provider, "userinfo is about somebody else"));
            }
            // What the token says stands.
            for (claim, value) in more {
                claims.entry(claim).or_insert(value);
            }
        }
        claims::vouched(provider, &claims)
            .map_err(|error| ProviderError::Claims(provider.alias.clone(), error))
    }

    async fn userinfo(&self, provider: &Provider, access: &str) -> Result<Map<String, Value>, ProviderError> {
        let metadata = self.metadata(provider, false).await?;
        let Some(place) = metadata.userinfo_endpoint() else { return Ok(Map::new()) };
        let asked = async {
            self.http
                .get(place.url().clone())
                .bearer_auth(access)
                .send()
                .await?
                .error_for_status()?
                .bytes()
                .await
        };
        let body = asked.await.map_err(|error: reqwest::Error| away(provider, &error.without_url()))?;
        // A signed answer is none that was asked for.
        serde_json::from_slice(&body).map_err(|_| token(provider, "userinfo is no JSON object"))
    }

    async fn client(&self, provider: &Provider, anew: bool) -> Result<Client, ProviderError> {
        let metadata = self.metadata(provider, anew).await?;
        let secret = provider.client_secret.as_ref().map(|s| ClientSecret::new(s.expose_secret().to_owned()));
        let callback =
            RedirectUrl::new(self.callback(&provider.alias)).map_err(|error| away(provider, &error))?;
        let id = ClientId::new(provider.client_id.clone());
        Ok(CoreClient::from_provider_metadata(metadata, id, secret).set_redirect_uri(callback))
    }

    /// What the provider publishes about itself, keys included.
    async fn metadata(
        &self,
        provider: &Provider,
        anew: bool,
    ) -> Result<ProviderMetadataWithLogout, ProviderError> {
        let known = self.by_alias.get(&provider.alias);
        let now = self.clock.elapsed();
        let cached = known.filter(|_| !anew).and_then(|known| {
            let metadata = known.metadata.lock().unwrap_or_else(PoisonError::into_inner);
            metadata
                .as_ref()
                .filter(|(at, _)| now.saturating_sub(*at) < METADATA_AGE)
                .map(|(_, metadata)| metadata.clone())
        });
        if let Some(metadata) = cached {
            return Ok(metadata);
        }
        let issuer =
            IssuerUrl::new(provider.issuer.as_str().to_owned()).map_err(|error| away(provider, &error))?;
        let found = ProviderMetadataWithLogout::discover_async(issuer, &self.http).await;
        let found =
            found.map_err(|error: DiscoveryError<HttpClientError<reqwest::Error>>| away(provider, &error))?;
        if let Some(known) = known {
            *known.metadata.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, found.clone()));
        }
        Ok(found)
    }
}

fn chrono_time(now: OffsetDateTime, shift_s: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(now.unix_timestamp() + shift_s, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The claims of a compact JWS, whose signature somebody else has checked.
pub(super) fn payload(token: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn away(provider: &Provider, error: &dyn std::error::Error) -> ProviderError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    ProviderError::Away(provider.alias.clone(), text)
}

fn token(provider: &Provider, why: &str) -> ProviderError {
    ProviderError::Token(provider.alias.clone(), why.to_owned())
}

/// Only `invalid_grant` says something about the person; every other answer is the provider's trouble or ours.
fn token_error(
    provider: &Provider,
    error: RequestTokenError<
        HttpClientError<reqwest::Error>,
        openidconnect::StandardErrorResponse<CoreErrorResponseType>,
    >,
) -> ProviderError {
    match &error {
        RequestTokenError::ServerResponse(answer)
            if *answer.error() == CoreErrorResponseType::InvalidGrant =>
        {
            ProviderError::Refused(provider.alias.clone(), answer.to_string())
        }
        RequestTokenError::ServerResponse(answer) => {
            ProviderError::Away(provider.alias.clone(), answer.to_string())
        }
        // What it answered may hold tokens: it stays out of the log.
        RequestTokenError::Parse(..) => token(provider, "the answer cannot be read"),
        RequestTokenError::Request(_) | RequestTokenError::Other(_) => away(provider, &error),
    }
}
