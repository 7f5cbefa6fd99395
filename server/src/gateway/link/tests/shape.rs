//! A stream as slow as Session Manager's.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep_until};

/// Bytes per second towards the space…
pub(crate) const UP: f64 = 14e6;
/// …and from it.
pub(crate) const DOWN: f64 = 0.8e6;

/// Puts a stream behind one that takes no more than one message ahead of its rate.
pub(crate) fn shaped(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let (from_space, to_space) = tokio::io::split(stream);
    let (from_us, to_us) = tokio::io::split(theirs);
    tokio::spawn(at_rate(from_us, to_space, UP));
    tokio::spawn(at_rate(from_space, to_us, DOWN));
    ours
}

async fn at_rate(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, rate: f64) {
    let mut buffer = vec![0; 16 * 1024];
    let mut due = Instant::now();
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let now = Instant::now();
        due = due.max(now) + Duration::from_secs_f64(n as f64 / rate);
        if to.write_all(&buffer[..n]).await.is_err() {
            break;
        }
        if due > now + Duration::from_millis(2) {
            sleep_until(due).await;
        }
    }
    let _ = to.shutdown().await;
}
