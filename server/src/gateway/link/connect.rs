//! From a stream to a signed-in link, and the two pumps beneath it.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, AuthResult, Handle};
use russh::{Preferred, SshId, cipher, compression};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::budget::{CHUNK, UploadBudget};
use super::handler::LinkHandler;
use super::registry::Registry;
use super::{Inner, Link, LinkError, LinkOptions, Parts};
use crate::domain::ports::ByteStream;
use crate::gateway::flow::rekeys_left_to_the_peer;

/// Between russh and the stream. So large that russh's flush never waits for the stream: while it waits, russh reads
/// nothing. The upload budget keeps it nearly empty.
pub(super) const PIPE: usize = 1024 * 1024;
/// What may be under way to us per channel, in line before everybody's echo: 40 ms at 0.8 MB/s, and at that rate
/// enough for 40 ms of distance.
const WINDOW: u32 = 32 * 1024;
/// After this much silence we ask whether the space is still there. Each question also tells AWS that the stream is
/// in use; for how long an unused link is kept up is for its owner to say.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// A stream that brings nothing for this long, three questions unanswered, is dead. (russh could count them, but it
/// would also count while the stream is held.)
const SILENCE: Duration = Duration::from_secs(100);
/// What may come before the greeting.
const PREAMBLE: usize = 16 * 1024;
/// How long the stream may take for the last bytes and its own ending, once russh is through.
const LAST_WORDS: Duration = Duration::from_secs(10);

pub(super) async fn connect(
    stream: Box<dyn ByteStream>,
    options: LinkOptions,
    tracker: &TaskTracker,
) -> Result<Link, LinkError> {
    let limit = options.timeout;
    let mut greeted = false;
    match timeout(limit, establish(stream, options, tracker, &mut greeted)).await {
        Ok(result) => result,
        Err(_) if greeted => Err(LinkError::Ssh(format!("no sign-in within {} s", limit.as_secs()))),
        Err(_) => Err(LinkError::NoBanner(limit.as_secs())),
    }
}

async fn establish(
    mut stream: Box<dyn ByteStream>,
    options: LinkOptions,
    tracker: &TaskTracker,
    greeted: &mut bool,
) -> Result<Link, LinkError> {
    // russh speaks first, but bytes that reach a space before its server is up break the handshake.
    let greeting = greeting(&mut stream).await?;
    *greeted = true;
    let parts = Parts {
        registry: Arc::new(Registry::new(options.spool.clone())),
        budget: Arc::new(UploadBudget::new()),
        tracker: tracker.clone(),
        runtime: tokio::runtime::Handle::current(),
    };
    let (ours, russhs) = tokio::io::duplex(PIPE);
    let pumps = Pumps {
        stream,
        pipe: ours,
        budget: Arc::clone(&parts.budget),
        held: parts.registry.held(),
        russh_over: parts.registry.over().clone(),
        abandon: CancellationToken::new(),
        stream_over: CancellationToken::new(),
    };
    let (abandon, stream_over) = (pumps.abandon.clone(), pumps.stream_over.clone());
    // Should the sign-in fail or be given up, the stream goes with it.
    let given_up = abandon.clone().drop_guard();
    tracker.spawn(pumps.run(greeting));
    let handler = LinkHandler { parts: parts.clone() };
    let mut handle = client::connect_stream(Arc::new(config()), russhs, handler)
        .await
        .map_err(|error| LinkError::Ssh(error.to_string()))?;
    sign_in(&mut handle, &options).await?;
    given_up.disarm();
    Ok(Link(Arc::new(Inner { handle, parts, stream_over, abandon })))
}

async fn sign_in(handle: &mut Handle<LinkHandler>, options: &LinkOptions) -> Result<(), LinkError> {
    let answer = handle.authenticate_none(&options.user).await?;
    if answer.success() {
        return Ok(());
    }
    #[cfg(test)]
    if let Some(key) = &options.key {
        let key = russh::keys::PrivateKeyWithHashAlg::new(Arc::clone(key), None);
        if handle.authenticate_publickey(&options.user, key).await?.success() {
            return Ok(());
        }
    }
    match answer {
        AuthResult::Success => Ok(()),
        AuthResult::Failure { .. } => Err(LinkError::AuthRefused),
    }
}

fn config() -> client::Config {
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Spaceport")),
        limits: rekeys_left_to_the_peer(),
        window_size: WINDOW,
        channel_buffer_size: 4,
        preferred: Preferred {
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::AES_128_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
            ]),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 0,
        ..client::Config::default()
    }
}

/// Reads until a line begins with `SSH-`; gives all that was read.
async fn greeting(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, LinkError> {
    let mut read = Vec::new();
    loop {
        let n = stream.read_buf(&mut read).await.map_err(|error| LinkError::Ssh(error.to_string()))?;
        if read.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"SSH-")) {
            return Ok(read);
        }
        if n == 0 {
            return Err(LinkError::Ssh("the stream ended before the greeting".to_owned()));
        }
        if read.len() > PREAMBLE {
            return Err(LinkError::Ssh("what came is no SSH greeting".to_owned()));
        }
    }
}

/// Moves bytes between the stream and russh's end of the pipe.
struct Pumps {
    stream: Box<dyn ByteStream>,
    pipe: DuplexStream,
    budget: Arc<UploadBudget>,
    held: watch::Receiver<bool>,
    russh_over: CancellationToken,
    abandon: CancellationToken,
    stream_over: CancellationToken,
}

impl Pumps {
    async fn run(self, greeting: Vec<u8>) {
        let _over = self.stream_over.drop_guard();
        let (from_space, to_space) = tokio::io::split(self.stream);
        let (from_russh, to_russh) = tokio::io::split(self.pipe);
        let ending = async {
            self.russh_over.cancelled().await;
            sleep(LAST_WORDS).await;
        };
        let up = up(from_russh, to_space, &self.budget);
        let down = async {
            let result = down(greeting, from_space, to_russh, self.held).await;
            tracing::debug!(?result, "a link's stream brings no more");
            // russh now ends too, and with it the way up.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = up => tracing::debug!(?result, "a link's stream is over"),
            () = down => (),
            () = self.abandon.cancelled() => (),
            () = ending => tracing::debug!("a link's stream did not end in time"),
        }
    }
}

/// From russh to the space, then the stream's own ending.
async fn up(
    mut pipe: ReadHalf<DuplexStream>,
    mut stream: WriteHalf<Box<dyn ByteStream>>,
    budget: &UploadBudget,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = tokio::select! {
            biased;
            n = pipe.read(&mut buffer) => n?,
            () = std::future::ready(()) => {
                stream.flush().await?;
                budget.all_taken();
                pipe.read(&mut buffer).await?
            }
        };
        if n == 0 {
            break;
        }
        stream.write_all(buffer.get(..n).unwrap_or_default()).await?;
        budget.taken(n);
    }
    stream.shutdown().await
}

/// From the space to russh.
async fn down(
    greeting: Vec<u8>,
    mut stream: ReadHalf<Box<dyn ByteStream>>,
    mut pipe: WriteHalf<DuplexStream>,
    mut held: watch::Receiver<bool>,
) -> io::Result<()> {
    pipe.write_all(&greeting).await?;
    let mut buffer = vec![0; CHUNK];
    let result = loop {
        // An error means that russh has ended, and then nothing is held.
        let _ = held.wait_for(|held| !held).await;
        match timeout(SILENCE, stream.read(&mut buffer)).await {
            Ok(Ok(0)) => break Ok(()),
            Ok(Ok(n)) => pipe.write_all(buffer.get(..n).unwrap_or_default()).await?,
            Ok(Err(error)) => break Err(error),
            Err(_) => break Err(io::ErrorKind::TimedOut.into()),
        }
    };
    pipe.shutdown().await?;
    result
}
