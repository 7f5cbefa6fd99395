//! From a grant to an open stream.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use futures_util::FutureExt;
use metrics::counter;
use ssm_datachannel::limits::Limits;
use ssm_datachannel::{ConnectError, DataChannel, Ended, Grant, Options, Signing, connect};
use tokio::time::timeout;
use tracing::{debug, info};

use super::Aws;
use super::clients::DomainClients;
use super::resume::ActorResumes;
use super::roles::Purpose;
use crate::config::domains::StreamSigning;
use crate::domain::actor::Actor;
use crate::domain::ending::StreamEnd;
use crate::domain::ports::{AwsError, Dial, DialError, OpenStream, SessionGrant};
use crate::domain::space::Space;
use crate::telemetry::metrics::DIALS;

/// From the grant to the end of the handshake: two dials of 10 s at the worst, and an agent that takes its time.
const OPEN: Duration = Duration::from_secs(35);

#[async_trait]
impl Dial for Aws {
    async fn dial(&self, actor: &Actor, space: &Space, grant: SessionGrant) -> Result<OpenStream, DialError> {
        let opened = timeout(OPEN, self.open(actor, space, grant)).await;
        let opened = opened
            .unwrap_or_else(|_| Err(DialError::Unreachable(format!("not open in {} s", OPEN.as_secs()))));
        counter!(DIALS, "outcome" => opened.as_ref().err().map_or("connected", outcome)).increment(1);
        opened
    }
}

impl Aws {
    async fn open(&self, actor: &Actor, space: &Space, grant: SessionGrant) -> Result<OpenStream, DialError> {
        let domain = self.domain_of(space).map_err(unreachable)?;
        let SessionGrant { session_id, stream_url, token, .. } = grant;
        let options = options(domain);
        let credentials = self.signer(domain, actor, space, &session_id, &options).await?;
        let resume =
            ActorResumes { domain: Arc::clone(domain), actor: actor.clone(), arn: space.arn.clone() };
        let signing = options.signing;
        let grant = Grant { session_id, stream_url, token };
        let tracker = &self.inner.tracker;
        match connect(grant, options, credentials, Arc::new(resume), tracker).await {
            Ok(channel) => {
                learn(domain, signing, &channel);
                Ok(stream_of(channel))
            }
            Err(error) => {
                if matches!(error, ConnectError::Refused(403)) && signing == Signing::Unsigned {
                    // What was learnt may be out of date: the next dial signs again.
                    domain.memory.dial_unsigned(false);
                }
                Err(dial_error(error))
            }
        }
    }

    /// The credentials that started the session, or new ones if the grant is an old one.
    async fn signer(
        &self,
        domain: &DomainClients,
        actor: &Actor,
        space: &Space,
        session_id: &str,
        options: &Options,
    ) -> Result<Option<Credentials>, DialError> {
        let kept = self.inner.grants.take(session_id);
        if kept.is_some() || options.signing == Signing::Unsigned {
            return Ok(kept);
        }
        debug!(session.id = session_id, "the grant's credentials are gone; minting others for the dial");
        let role = domain.become_actor(actor, &space.arn, Purpose::Open).await.map_err(unreachable)?;
        Ok(Some(role.credentials))
    }
}

fn options(domain: &DomainClients) -> Options {
    let config = &domain.config;
    let unsigned = config.stream_signing == StreamSigning::Unsigned || domain.memory.dials_unsigned();
    let limits = Limits {
        max_payload: config.upload.max_payload_bytes,
        messages_per_second: config.upload.messages_per_s,
        ..Limits::default()
    };
    Options {
        extra_hosts: config.stream_hosts.clone(),
        signing: if unsigned { Signing::Unsigned } else { Signing::Auto },
        limits,
        ..Options::new(config.region.as_str())
    }
}

fn learn(domain: &DomainClients, signing: Signing, channel: &DataChannel) {
    if signing == Signing::Auto && channel.dialled_unsigned() {
        info!(domain = %domain.config.alias, "AWS refuses signed streams here and takes unsigned ones");
        domain.memory.dial_unsigned(true);
    }
    let words = channel.customer_message();
    debug!(agent.version = channel.agent_version(), "stream open {words:?}");
}

fn stream_of(channel: DataChannel) -> OpenStream {
    let ended = channel.ended().map(stream_end).boxed().shared();
    OpenStream { bytes: Box::new(channel), ended }
}

fn unreachable(error: AwsError) -> DialError {
    DialError::Unreachable(error.to_string())
}

fn dial_error(error: ConnectError) -> DialError {
    match error {
        ConnectError::ForeignHost(host) => DialError::ForeignHost(host),
        ConnectError::Refused(status) => DialError::Refused(status),
        ConnectError::Unreachable(why) => DialError::Unreachable(why),
        ConnectError::NoHandshake(seconds) => DialError::NoHandshake(seconds),
        ConnectError::Unsupported(what) => DialError::Unsupported(what),
        ConnectError::Ended(ended) => DialError::Ended(stream_end(ended)),
    }
}

fn stream_end(ended: Ended) -> StreamEnd {
    match ended {
        Ended::Closed => StreamEnd::Closed,
        Ended::ClosedByService(words) => StreamEnd::ClosedByService(words),
        Ended::ResumeDenied => StreamEnd::ResumeDenied,
        Ended::ResumeFailed(why) => StreamEnd::ResumeFailed(why),
        Ended::AgentGone => StreamEnd::AgentGone,
        Ended::Silent => StreamEnd::Silent,
        Ended::Unacknowledged => StreamEnd::Unacknowledged,
        Ended::Protocol(what) => StreamEnd::Protocol(what),
    }
}

/// The word for metrics.
const fn outcome(error: &DialError) -> &'static str {
    match error {
        DialError::ForeignHost(_) => "foreign_host",
        DialError::Refused(_) => "refused",
        DialError::Unreachable(_) => "unreachable",
        DialError::NoHandshake(_) => "no_handshake",
        DialError::Unsupported(_) => "unsupported",
        DialError::Ended(_) => "ended",
    }
}
