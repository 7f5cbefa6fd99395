//! Output that its reader leaves waiting.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::gateway::link::Output;
use crate::gateway::link::queue::{OutputQueue, Push};
use crate::gateway::link::spool::{Spool, SpoolLimits};

const MIB: usize = 1024 * 1024;

fn limits() -> SpoolLimits {
    SpoolLimits { memory: 256 * 1024, channel: 64 * MIB as u64, ..SpoolLimits::default() }
}

struct Fed {
    queue: Arc<OutputQueue>,
    spool: Spool,
    gone: CancellationToken,
    mover: Option<tokio::task::JoinHandle<()>>,
}

impl Fed {
    fn new(limits: SpoolLimits) -> Self {
        let (spool, gone) = (Spool::new(limits), CancellationToken::new());
        let queue = Arc::new(OutputQueue::new(&spool, gone.clone()));
        Self { queue, spool, gone, mover: None }
    }

    /// As russh's callbacks do.
    async fn put(&mut self, push: Push) -> Push {
        match push {
            Push::Overflows => {
                let queue = Arc::clone(&self.queue);
                self.mover = Some(tokio::spawn(async move { queue.move_to_and_fro().await }));
            }
            Push::Full => self.queue.room().await,
            _ => (),
        }
        push
    }

    async fn on_disk(&self) {
        while self.spool.used() == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// The numbers 0.. in eight bytes each, part of which goes to stderr.
async fn feed(fed: &mut Fed, numbers: std::ops::Range<u64>) {
    let numbers: Vec<u64> = numbers.collect();
    for (i, chunk) in numbers.chunks(2000).enumerate() {
        let bytes: Vec<u8> = chunk.iter().flat_map(|n| n.to_be_bytes()).collect();
        let stream = (i % 5 == 4).then_some(1);
        let pushed = fed.queue.push(stream, &bytes);
        assert!(!matches!(fed.put(pushed).await, Push::Cut | Push::Ignored));
    }
}

fn numbers(bytes: &mut Vec<u8>) -> Vec<u64> {
    let whole = bytes.len() / 8 * 8;
    bytes
        .drain(..whole)
        .collect::<Vec<_>>()
        .chunks(8)
        .map(|c| u64::from_be_bytes(c.try_into().unwrap()))
        .collect()
}

#[tokio::test]
async fn what_waits_on_disk_comes_back_in_order() {
    let mut fed = Fed::new(limits());
    feed(&mut fed, 0..2_500_000).await;
    let pushed = fed.queue.push_event(Output::ExitStatus(7));
    fed.put(pushed).await;
    fed.on_disk().await;
    let mut next = 0;
    let (mut bytes, mut more) = (Vec::new(), true);
    loop {
        match fed.queue.pop().await.unwrap() {
            Output::Data(data) | Output::Extended(1, data) => bytes.extend_from_slice(&data),
            Output::ExitStatus(7) if more => {
                // The reader catches up, falls behind again, and the rest ends while it does.
                more = false;
                feed(&mut fed, 2_500_000..3_000_000).await;
                fed.queue.end();
            }
            other => panic!("{other:?}"),
        }
        for number in numbers(&mut bytes) {
            assert_eq!(number, next);
            next += 1;
        }
        if next == 3_000_000 {
            break;
        }
    }
    assert_eq!(fed.queue.pop().await, None);
    fed.mover.unwrap().await.unwrap();
    assert_eq!(fed.spool.used(), 0, "the disk is free again");
}

#[tokio::test]
async fn memory_stays_small_while_the_reader_sleeps() {
    let mut fed = Fed::new(limits());
    feed(&mut fed, 0..5_000_000).await;
    assert!(fed.queue.in_memory() < 3 * MIB, "{} bytes", fed.queue.in_memory());
    assert!(fed.spool.used() > 30 * MIB as u64);
    fed.queue.discard();
    fed.mover.unwrap().await.unwrap();
    assert_eq!(fed.spool.used(), 0);
    assert_eq!(fed.queue.push(None, b"late"), Push::Ignored);
}

async fn last_word(mut fed: Fed) -> (usize, String) {
    let chunk = [7; 30_000];
    loop {
        let pushed = fed.queue.push(None, &chunk);
        if fed.put(pushed).await == Push::Cut {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(fed.gone.is_cancelled());
    let mut bytes = 0;
    let word = loop {
        match fed.queue.pop().await.unwrap() {
            Output::Data(data) => bytes += data.len(),
            Output::Extended(1, word) => break String::from_utf8(word.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fed.queue.pop().await, None);
    fed.mover.unwrap().await.unwrap();
    assert_eq!(fed.spool.used(), 0);
    (bytes, word)
}

#[tokio::test]
async fn over_its_quota_a_channel_ends_with_the_reason_behind_all_that_was_kept() {
    let quota = SpoolLimits { channel: 8 * MIB as u64, ..limits() };
    let (bytes, word) = last_word(Fed::new(quota)).await;
    assert!(bytes > 6 * MIB && bytes < 9 * MIB, "{bytes}");
    assert!(word.contains("more than 8 MiB are waiting"), "{word}");
    let host = SpoolLimits { process: 4 * MIB as u64, ..limits() };
    let (bytes, word) = last_word(Fed::new(host)).await;
    assert!(bytes > 2 * MIB && bytes < 5 * MIB, "{bytes}");
    assert!(word.contains("no room left"), "{word}");
}

#[tokio::test]
async fn a_broken_disk_ends_the_channel_with_its_reason() {
    let nowhere = SpoolLimits { directory: PathBuf::from("/does/not/exist"), ..limits() };
    let (bytes, word) = last_word(Fed::new(nowhere)).await;
    assert!(bytes >= 250_000, "what was in memory is still given: {bytes}");
    assert!(word.contains("cannot keep output"), "{word}");
}

#[tokio::test]
async fn endless_switching_between_streams_is_bounded_too() {
    let mut fed = Fed::new(limits());
    let cut = async {
        for i in 0_u32.. {
            let pushed = fed.queue.push((i % 2 == 0).then_some(1), b"x");
            if fed.put(pushed).await == Push::Cut {
                break;
            }
            if i % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    timeout(Duration::from_secs(20), cut).await.expect("it is cut");
    assert!(fed.queue.in_memory() < 4 * MIB);
}

#[tokio::test]
async fn taking_can_be_given_up_at_any_time() {
    let fed = Fed::new(limits());
    for i in 0..100_u8 {
        let nothing = timeout(Duration::ZERO, fed.queue.pop()).await;
        assert!(nothing.is_err());
        fed.queue.push(None, &[i]);
        assert_eq!(fed.queue.pop().await, Some(Output::Data(Bytes::copy_from_slice(&[i]))));
    }
}
