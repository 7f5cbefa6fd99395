//! Getting a session's token anew, after the service closed the WebSocket. It does so about hourly.

use async_trait::async_trait;
use aws_credential_types::Credentials;
use secrecy::SecretString;

/// Asks the service to let a session go on: `ssm:ResumeSession`, or whatever stands for it.
#[async_trait]
pub trait Resume: Send + Sync + 'static {
    /// A new token for the session.
    async fn resume(&self, session_id: &str) -> Result<Resumed, ResumeError>;
}

/// What is needed to dial again.
#[derive(Debug)]
pub struct Resumed {
    /// The new address; the old one's cell may be gone. Without one the old address is dialled.
    pub stream_url: Option<String>,
    /// The new token.
    pub token: SecretString,
    /// Fresh credentials to sign the dial with. Without them the last ones are used.
    pub credentials: Option<Credentials>,
}

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// Policy forbids it. Not tried again.
    #[error("a resume is not allowed")]
    Denied,
    /// It did not work this time.
    #[error("a resume failed: {0}")]
    Unavailable(String),
    /// The session is over. Not tried again.
    #[error("the session is over")]
    Gone,
}

/// For sessions that cannot be resumed: a lost connection ends them.
#[derive(Debug, Clone, Copy, Default)]
pub struct NeverResume;

#[async_trait]
impl Resume for NeverResume {
    async fn resume(&self, _session_id: &str) -> Result<Resumed, ResumeError> {
        Err(ResumeError::Denied)
    }
}
