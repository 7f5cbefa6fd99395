//! The bytes of a jump: a stream's two directions, with small bounded buffers between.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channel::ChannelGone;
use super::link::Output;
use crate::domain::ports::ByteStream;

/// Chunks between a client and a stream. A chunk is at most an SSH packet of 32 KiB; two keep the stream busy while
/// the next is on its way, and four are still little memory.
const CHUNKS: usize = 4;
/// What is read from a stream at once; an SSH packet towards the client.
const READ: usize = 32 * 1024;
/// How long a stream may take to drain when its channel ends.
const DRAIN: Duration = Duration::from_secs(10);

/// Towards the stream.
pub(super) struct RawInput {
    queue: mpsc::Sender<Chunk>,
}

/// From the stream.
pub(super) struct RawOutput {
    read: ReadHalf<Box<dyn ByteStream>>,
    buffer: BytesMut,
    over: bool,
}

enum Chunk {
    Data(Bytes),
    Eof,
}

/// Takes a stream apart. It is drained and closed when the input goes, or cut when `cut` is cancelled.
pub(super) fn split(
    bytes: Box<dyn ByteStream>,
    cut: CancellationToken,
    tracker: &TaskTracker,
) -> (RawInput, RawOutput) {
    let (read, write) = tokio::io::split(bytes);
    let (queue, chunks) = mpsc::channel(CHUNKS);
    tracker.spawn(write_on(write, chunks, cut));
    (RawInput { queue }, RawOutput { read, buffer: BytesMut::new(), over: false })
}

async fn write_on(
    mut write: WriteHalf<Box<dyn ByteStream>>,
    mut chunks: mpsc::Receiver<Chunk>,
    cut: CancellationToken,
) {
    let writing = async {
        while let Some(Chunk::Data(bytes)) = chunks.recv().await {
            write.write_all(&bytes).await?;
            if chunks.is_empty() {
                write.flush().await?;
            }
        }
        Ok::<(), std::io::Error>(())
    };
    tokio::select! {
        () = cut.cancelled() => {}
        // A broken stream shows in its reading half and in why it ended.
        _ = writing => {}
    }
    let _ = tokio::time::timeout(DRAIN, write.shutdown()).await;
}

impl RawInput {
    pub(super) async fn data(&self, bytes: Bytes) -> Result<(), ChannelGone> {
        self.queue.send(Chunk::Data(bytes)).await.map_err(|_| ChannelGone)
    }

    pub(super) async fn eof(&self) -> Result<(), ChannelGone> {
        self.queue.send(Chunk::Eof).await.map_err(|_| ChannelGone)
    }
}

impl RawOutput {
    /// Cancel-safe: a read that is dropped has read nothing.
    pub(super) async fn next(&mut self) -> Option<Output> {
        if self.over {
            return None;
        }
        self.buffer.reserve(READ);
        match self.read.read_buf(&mut self.buffer).await {
            Ok(0) => {
                self.over = true;
                Some(Output::Eof)
            }
            Ok(_) => Some(Output::Data(self.buffer.split().freeze())),
            Err(_) => {
                self.over = true;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_cross_both_ways_and_the_end_is_passed_on() {
        let (near, mut far) = tokio::io::duplex(64);
        let (input, mut output) = split(Box::new(near), CancellationToken::new(), &TaskTracker::new());
        input.data(Bytes::from_static(b"SSH-2.0-client")).await.unwrap();
        let mut seen = [0; 14];
        far.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"SSH-2.0-client");
        far.write_all(b"SSH-2.0-Go").await.unwrap();
        assert_eq!(output.next().await, Some(Output::Data(Bytes::from_static(b"SSH-2.0-Go"))));
        drop(input);
        let mut rest = Vec::new();
        assert_eq!(far.read_to_end(&mut rest).await.unwrap(), 0);
        drop(far);
        assert_eq!(output.next().await, Some(Output::Eof));
        assert_eq!(output.next().await, None);
    }

    #[tokio::test]
    async fn a_stream_that_takes_nothing_holds_its_writer_back() {
        let (near, _far) = tokio::io::duplex(1);
        let cut = CancellationToken::new();
        let (input, _output) = split(Box::new(near), cut.clone(), &TaskTracker::new());
        let fill = async {
            loop {
                if input.data(Bytes::from_static(&[0; 1024])).await.is_err() {
                    break;
                }
            }
        };
        tokio::pin!(fill);
        for _ in 0..100 {
            tokio::select! { biased; () = &mut fill => unreachable!("it took everything"), () = tokio::task::yield_now() => {} }
        }
        cut.cancel();
        fill.await;
    }
}
