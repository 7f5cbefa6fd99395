//! A new WebSocket for a session whose old one died.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};

use crate::address::Address;
use crate::dial::{Dialler, Socket};
use crate::ended::Ended;
use crate::resume::{Resume, ResumeError};

/// The first wait after a failure; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest single wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// All attempts together. SSH clients give up on a silent server after about this long.
const BUDGET: Duration = Duration::from_secs(30);

/// Why a socket is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It was closed, or broke.
    Dropped(String),
    /// Nothing was heard on it.
    Silent,
}

/// Makes new sockets. The driver's tests have their own.
pub(crate) trait Reconnect: Sized + Send + 'static {
    /// A WebSocket.
    type Socket;
    /// Tries until it has one or the channel must end. Comes back with the result, for the next time.
    fn reconnect(self, loss: Loss) -> BoxFuture<'static, (Self, Result<Self::Socket, Ended>)>;
}

/// The real thing: resume, dial, say hello.
pub(crate) struct Redial {
    pub(crate) dialler: Dialler,
    pub(crate) address: Address,
    pub(crate) session_id: String,
    pub(crate) resume: Arc<dyn Resume>,
}

impl Reconnect for Redial {
    type Socket = Socket;

    fn reconnect(mut self, loss: Loss) -> BoxFuture<'static, (Self, Result<Socket, Ended>)> {
        async move {
            let mut last = match &loss {
                Loss::Dropped(why) => why.clone(),
                Loss::Silent => String::from("nothing was heard"),
            };
            let result = match timeout(BUDGET, self.attempts(&mut last)).await {
                Ok(Ok(socket)) => Ok(socket),
                // What is to be told is the silence, not that there was no way out of it.
                _ if loss == Loss::Silent => Err(Ended::Silent),
                Ok(Err(ended)) => Err(ended),
                Err(_elapsed) => Err(Ended::ResumeFailed(last)),
            };
            (self, result)
        }
        .boxed()
    }
}

impl Redial {
    async fn attempts(&mut self, last: &mut String) -> Result<Socket, Ended> {
        let mut wait = FIRST_WAIT;
        loop {
            match self.attempt().await {
                Ok(socket) => return Ok(socket),
                Err(Attempt::Final(ended)) => return Err(ended),
                Err(Attempt::Again(why)) => *last = why,
            }
            // The service closes many streams at once; spread out what follows.
            sleep(wait.mul_f64(rand::random_range(0.75..1.25))).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn attempt(&mut self) -> Result<Socket, Attempt> {
        let resumed = self.resume.resume(&self.session_id).await.map_err(|error| match error {
            ResumeError::Denied => Attempt::Final(Ended::ResumeDenied),
            ResumeError::Gone => Attempt::Final(Ended::ResumeFailed(error.to_string())),
            ResumeError::Unavailable(why) => Attempt::Again(why),
        })?;
        if let Some(url) = resumed.stream_url {
            let options = &self.dialler.options;
            self.address = Address::check(&url, &options.region, &options.extra_hosts)
                .map_err(|error| Attempt::Final(Ended::ResumeFailed(error.to_string())))?;
        } else if self.address.is_presigned() {
            let why = "a signed address cannot be used twice, and no new one was given".to_owned();
            return Err(Attempt::Final(Ended::ResumeFailed(why)));
        }
        if resumed.credentials.is_some() {
            self.dialler.credentials = resumed.credentials;
        }
        let dialled = self.dialler.dial(&self.address, &resumed.token).await;
        dialled.map_err(|error| Attempt::Again(error.to_string()))
    }
}

enum Attempt {
    Again(String),
    Final(Ended),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;
    use crate::dial::Options;
    use crate::resume::NeverResume;

    async fn end_of(loss: Loss) -> Ended {
        let url = "wss://ssmmessages.eu-central-1.amazonaws.com/v1/data-channel/s";
        let options = Options::new("eu-central-1");
        let redial = Redial {
            address: Address::check(url, "eu-central-1", &[]).unwrap(),
            dialler: Dialler::new(options, None),
            session_id: "s".into(),
            resume: Arc::new(NeverResume),
        };
        redial.reconnect(loss).await.1.err().unwrap()
    }

    #[tokio::test]
    async fn without_a_way_to_resume_a_silence_is_told_as_a_silence() {
        assert_eq!(end_of(Loss::Silent).await, Ended::Silent);
        assert_eq!(end_of(Loss::Dropped("Bye".into())).await, Ended::ResumeDenied);
    }
}
