//! Several channels on one slow link: nobody freezes anybody.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::task::TaskTracker;

use super::requests::{all, run};
use super::shape::shaped;
use super::sshd::Sshd;
use crate::gateway::link::{Link, Output, SpaceInput, SpaceOutput};

/// Long enough for anything that is not stuck.
const PATIENCE: Duration = Duration::from_secs(30);
const ECHOES: usize = 60;
/// Rounds of them.
const ROUNDS: usize = 12;

async fn started(link: &Link, command: &str) -> (SpaceInput, SpaceOutput) {
    let channel = link.open_session().await.unwrap();
    channel.exec(command.as_bytes()).await.unwrap();
    channel.split()
}

/// Milliseconds of ECHOES keystrokes, 50 a second: the median and the second worst.
async fn echoes(link: &Link) -> (f64, f64) {
    let (input, mut output) = started(link, "cat").await;
    let mut every = interval(Duration::from_millis(20));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut took = Vec::new();
    for _ in 0..ECHOES {
        every.tick().await;
        let pressed = Instant::now();
        input.data(Bytes::from_static(b"k")).await.unwrap();
        assert_eq!(output.next().await, Some(Output::Data(Bytes::from_static(b"k"))));
        took.push(pressed.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    (took[ECHOES / 2], took[ECHOES - 2])
}

/// Measures until it is good enough: the machine may be busy with something else for a while, whereas a link on which
/// one channel waits for another is slow in every round.
async fn assert_responsive(link: &Link, beside: &str) {
    for attempt in 1..=ROUNDS {
        let (p50, p99) = timeout(PATIENCE, echoes(link)).await.expect("keystrokes are answered");
        println!("echo beside {beside}: p50 {p50:.1} ms, p99 {p99:.1} ms");
        if p50 < 60.0 && p99 < 100.0 {
            return;
        }
        assert!(attempt < ROUNDS, "echo beside {beside}: p50 {p50:.1} ms, p99 {p99:.1} ms");
    }
}

#[tokio::test]
async fn a_paused_download_delays_no_keystroke() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (link, _running) = sshd.link(&tracker, shaped).await;
    let _paused = started(&link, "cat /dev/zero").await;
    assert_responsive(&link, "a paused download").await;
    link.close().await;
}

#[tokio::test]
async fn an_upload_delays_no_keystroke() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (link, _running) = sshd.link(&tracker, shaped).await;
    let (input, _output) = started(&link, "cat > /dev/null").await;
    let upload = async {
        let chunk = Bytes::from(vec![0; 64 * 1024]);
        let began = Instant::now();
        for sent in 0_usize.. {
            if input.data(chunk.clone()).await.is_err() {
                let mb = (sent * chunk.len()) as f64 / 1e6;
                println!("uploaded at {:.1} MB/s", mb / began.elapsed().as_secs_f64());
                break;
            }
        }
    };
    let echo = async {
        assert_responsive(&link, "an upload").await;
        link.close().await;
    };
    tokio::join!(upload, echo);
}

#[tokio::test]
async fn a_paused_channel_loses_nothing_and_stops_nobody() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (link, _running) = sshd.link(&tracker, |s| s).await;
    // More than memory and both windows hold.
    let (_input, paused) = started(&link, "seq 1 2000000").await;
    let (_input2, beside) = started(&link, "head -c 20000000 /dev/zero").await;
    let beside = timeout(PATIENCE, all(beside)).await.expect("the other channel goes on");
    assert_eq!(beside.data.len(), 20_000_000);
    let got = timeout(PATIENCE, all(paused)).await.expect("the paused one too, once it is read");
    assert!(got.events.contains(&Output::ExitStatus(0)));
    let text = String::from_utf8(got.data).unwrap();
    assert!(text.lines().map(|line| line.parse::<u32>().unwrap()).eq(1..=2_000_000));
    link.close().await;
}

#[tokio::test]
async fn a_lone_paused_channel_holds_the_stream_until_somebody_comes() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let options = sshd.options();
    let spool = options.spool.clone();
    let (stream, _running) = sshd.serve();
    let link = Link::connect(Box::new(stream), options, &tracker).await.unwrap();
    let (_input, mut paused) = started(&link, "head -c 30000000 /dev/zero").await;
    let mut held = link.0.parts.registry.held();
    timeout(PATIENCE, held.wait_for(|held| *held)).await.expect("the stream is held").unwrap();
    assert_eq!(run(&link, "echo hello").await.data, b"hello\n");
    timeout(PATIENCE, held.wait_for(|held| *held)).await.expect("the stream is held again").unwrap();
    let mut bytes = 0;
    while let Some(output) = paused.next().await {
        bytes += if let Output::Data(data) = output { data.len() } else { 0 };
    }
    assert_eq!((bytes, spool.used()), (30_000_000, 0));
    link.close().await;
}
