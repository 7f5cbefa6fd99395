//! Dialling, signing and resuming over real sockets.

mod dial;
mod resume;

use std::sync::Arc;

use secrecy::SecretString;
use ssm_datachannel::{ConnectError, Credentials, DataChannel, Grant, NeverResume, Options, Resume, connect};
use tokio_util::task::TaskTracker;

use crate::support::gateway::{Gateway, Leg};

/// How a test opens a channel.
struct Open {
    grant: Grant,
    options: Options,
    credentials: Option<Credentials>,
    resume: Arc<dyn Resume>,
    tracker: TaskTracker,
}

impl Open {
    fn on(gateway: &Gateway) -> Self {
        let token = SecretString::from("t0ken");
        Self {
            grant: Grant { session_id: "s-1".into(), stream_url: gateway.url(), token },
            options: Options {
                extra_hosts: vec![gateway.address.to_string()],
                ..Options::new("eu-central-1")
            },
            credentials: None,
            resume: Arc::new(NeverResume),
            tracker: TaskTracker::new(),
        }
    }

    async fn connect(self) -> Result<DataChannel, ConnectError> {
        connect(self.grant, self.options, self.credentials, self.resume, &self.tracker).await
    }

    /// Connects to a gateway that takes it.
    async fn pair(self, gateway: &Gateway) -> (DataChannel, Leg) {
        let (channel, leg) = tokio::join!(self.connect(), gateway.accept_and_shake_hands());
        (channel.unwrap(), leg)
    }
}

fn credentials() -> Credentials {
    Credentials::new("AKIDEXAMPLE", "secret+key", Some("session/token==".into()), None, "test")
}
