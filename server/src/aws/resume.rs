//! Letting a stream go on after AWS closed its connection: one signed call to Systems Manager, as the person.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use metrics::counter;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use ssm_datachannel::{Resume, ResumeError, Resumed};
use tracing::{info, warn};

use super::clients::DomainClients;
use super::errors::chain;
use super::roles::Purpose;
use crate::config::Domain;
use crate::domain::actor::Actor;
use crate::domain::ports::AwsError;
use crate::domain::space::SpaceArn;
use crate::telemetry::metrics::RESUMES;

const OPERATION: &str = "ssm:ResumeSession";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TARGET: &str = "AmazonSSM.ResumeSession";
const CONNECT: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(10);
/// An answer is a token, an address and an id: under 3 KiB.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The client for signed calls that no SDK of ours makes.
pub(super) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    if CryptoProvider::get_default().is_none() {
        // Losing a race means that there is one now.
        let _ = aws_lc_rs::default_provider().install_default();
    }
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        // A signature holds for one host: whoever redirects is not AWS.
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// Resumes the streams of a person, or of the looks inside, to one space.
pub(super) struct ActorResumes {
    pub(super) domain: Arc<DomainClients>,
    pub(super) actor: Actor,
    pub(super) arn: SpaceArn,
}

#[async_trait]
impl Resume for ActorResumes {
    async fn resume(&self, session_id: &str) -> Result<Resumed, ResumeError> {
        let alias = &self.domain.config.alias;
        if self.domain.memory.resume_is_denied() {
            count("denied");
            return Err(ResumeError::Denied);
        }
        let role = match self.domain.become_actor(&self.actor, &self.arn, Purpose::Open).await {
            Ok(role) => role,
            // The role, not the resume: a matter of this person, which is not remembered for the domain.
            Err(AwsError::Role(error)) if !error.is_passing() => {
                warn!(domain = %alias, "no resume without a role session: {error}");
                count("role_denied");
                return Err(ResumeError::Denied);
            }
            Err(error) => {
                count("unavailable");
                return Err(ResumeError::Unavailable(error.to_string()));
            }
        };
        match self.ask(session_id, role.credentials).await {
            Ok(resumed) => {
                count("resumed");
                Ok(resumed)
            }
            Err(Refusal::Denied(words)) => {
                info!(domain = %alias, "{OPERATION} is denied and not tried again for a day: {words}");
                self.domain.memory.resume_was_denied();
                count("denied");
                Err(ResumeError::Denied)
            }
            Err(Refusal::Gone) => {
                count("gone");
                Err(ResumeError::Gone)
            }
            Err(Refusal::Unavailable(words)) => {
                count("unavailable");
                Err(ResumeError::Unavailable(words))
            }
        }
    }
}

fn count(outcome: &'static str) {
    counter!(RESUMES, "outcome" => outcome).increment(1);
}

/// Why Systems Manager does not let a session go on.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Denied(String),
    Gone,
    Unavailable(String),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    session_id: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    stream_url: Option<String>,
    token_value: Option<SecretString>,
}

/// An error of the protocol AWS JSON 1.1.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    #[serde(rename = "__type")]
    code: String,
    #[serde(alias = "Message")]
    message: String,
}

impl ActorResumes {
    async fn ask(&self, session_id: &str, credentials: Credentials) -> Result<Resumed, Refusal> {
        let unavailable = |words: String| Refusal::Unavailable(words);
        let url = endpoint(&self.domain.config);
        let body =
            serde_json::to_vec(&Request { session_id }).map_err(|error| unavailable(error.to_string()))?;
        let now = SystemTime::from(self.domain.clock.now());
        let region = self.domain.config.region.as_str();
        let headers = signature(&url, &body, region, &credentials, now).map_err(unavailable)?;
        let mut request = self.domain.ssm.post(&url).body(body);
        for (name, value) in plain_headers().into_iter().chain(headers) {
            request = request.header(name, value);
        }
        let sent = request.send().await.map_err(|error| unavailable(chain(&error)))?;
        let status = sent.status().as_u16();
        let body = limited(sent).await.map_err(unavailable)?;
        read(status, &body, credentials)
    }
}

fn endpoint(domain: &Domain) -> String {
    let suffix = if domain.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    domain
        .endpoints
        .ssm
        .as_ref()
        .map_or_else(|| format!("https://ssm.{}.{suffix}/", domain.region), |endpoint| format!("{endpoint}/"))
}

fn plain_headers() -> [(String, String); 2] {
    [("content-type".to_owned(), CONTENT_TYPE.to_owned()), ("x-amz-target".to_owned(), TARGET.to_owned())]
}

/// The headers that sign the call (Signature Version 4).
fn signature(
    url: &str,
    body: &[u8],
    region: &str,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Vec<(String, String)>, String> {
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("ssm")
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let plain = plain_headers();
    let headers = plain.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body))
        .map_err(|error| error.to_string())?;
    let (instructions, _) = sign(request, &params).map_err(|error| error.to_string())?.into_parts();
    Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

async fn limited(mut sent: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = sent.chunk().await.map_err(|error| chain(&error))? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err("the answer is too long".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn read(status: u16, body: &[u8], credentials: Credentials) -> Result<Resumed, Refusal> {
    if status == 200 {
        let answer: Answer =
            serde_json::from_slice(body).map_err(|error| Refusal::Unavailable(error.to_string()))?;
        // A session that timed out is answered without a token.
        let token = answer.token_value.ok_or(Refusal::Gone)?;
        let stream_url = answer.stream_url.filter(|url| !url.is_empty());
        return Ok(Resumed { stream_url, token, credentials: Some(credentials) });
    }
    let Problem { code, message } = serde_json::from_slice(body).unwrap_or_default();
    match code.rsplit('#').next().unwrap_or_default() {
        "AccessDeniedException" | "AccessDenied" => Err(Refusal::Denied(message)),
        "DoesNotExistException" => Err(Refusal::Gone),
        code => Err(Refusal::Unavailable(format!("HTTP {status} {code}: {message}"))),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn keys() -> Credentials {
        Credentials::new("AKID", "secret", Some("token".to_owned()), None, "test")
    }

    fn answer(status: u16, body: &str) -> Result<Resumed, Refusal> {
        read(status, body.as_bytes(), keys())
    }

    #[test]
    fn a_token_resumes_and_its_absence_ends() {
        let resumed = answer(200, r#"{"SessionId":"s","StreamUrl":"wss://x/y","TokenValue":"t"}"#).unwrap();
        assert_eq!(resumed.token.expose_secret(), "t");
        assert_eq!(resumed.stream_url.as_deref(), Some("wss://x/y"));
        assert_eq!(answer(200, r#"{"SessionId":"s","TokenValue":null}"#).unwrap_err(), Refusal::Gone);
    }

    #[test]
    fn refusals_are_told_apart() {
        let denied = answer(400, r#"{"__type":"AccessDeniedException","Message":"no"}"#);
        assert_eq!(denied.unwrap_err(), Refusal::Denied("no".to_owned()));
        let gone = answer(400, r#"{"__type":"com.amazonaws.ssm#DoesNotExistException","message":"x"}"#);
        assert_eq!(gone.unwrap_err(), Refusal::Gone);
        assert!(matches!(answer(500, "<html>").unwrap_err(), Refusal::Unavailable(_)));
    }

    #[test]
    fn the_call_is_signed_for_ssm_with_its_target() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let headers =
            signature("https://ssm.us-east-1.amazonaws.com/", b"{}", "us-east-1", &keys(), now).unwrap();
        let value = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        assert_eq!(value("x-amz-date"), Some("20231114T221320Z"));
        assert_eq!(value("x-amz-security-token"), Some("token"));
        let authorization = value("authorization").unwrap();
        assert!(authorization.contains("AKID/20231114/us-east-1/ssm/aws4_request"), "{authorization}");
        assert!(
            authorization
                .contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target"),
            "{authorization}"
        );
    }
}
