//! What may be held, and what happens over it.

use std::time::Duration;

use russh::ChannelId;
use tokio::time::{advance, timeout};

use super::client::{Master, PATIENCE, fill};
use super::server::Gate;
use crate::gateway::flow::{Cut, FlowLimits, Inbound, ProcessBudget, Received, Windows};
use crate::gateway::link::tests::sshd::Sshd;

const MIB: usize = 1024 * 1024;
static PACKET: [u8; 32 * 1024] = [0; 32 * 1024];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_its_cap_a_channel_is_closed_with_its_reason_and_no_other() {
    let keys = Sshd::new();
    // So low that the client gets there within its window.
    let limits = FlowLimits { channel_bytes: MIB, ..FlowLimits::default() };
    let gate = Gate::start(&keys, limits, ProcessBudget::new(256 * MIB)).await;
    let master = Master::to(&keys, gate.address, &[]).await;
    let mut beside = master.command("deaf");
    let mut greedy = master.command("deaf");
    fill(&mut greedy).await;
    let output = timeout(PATIENCE, greedy.wait_with_output()).await.expect("it is closed").unwrap();
    assert_eq!(output.status.code(), Some(1));
    let reason = String::from_utf8(output.stderr).unwrap();
    assert!(reason.contains("more bytes wait on the channel than it may hold"), "{reason}");
    assert!(beside.try_wait().unwrap().is_none(), "the other channel is still open");
    master.exec("hello").await;
    assert_eq!(gate.budget.used(), 0);
}

pub(super) fn id(number: u32) -> ChannelId {
    use russh::keys::ssh_encoding::Decode;
    ChannelId::decode(&mut &number.to_be_bytes()[..]).unwrap()
}

pub(super) fn receive(windows: &Windows, channel: u32, packets: usize) -> Received {
    (0..packets).fold(Received::Unknown, |_, _| windows.received(id(channel), &PACKET, 0))
}

fn limits() -> FlowLimits {
    FlowLimits { connection_bytes: 4 * MIB, channel_bytes: 64 * MIB, ..FlowLimits::default() }
}

fn is_throttled(windows: &Windows) -> bool {
    match windows.granted(id(1), 2) {
        2 => true,
        wide => {
            assert_eq!(wide, FlowLimits::default().window);
            false
        }
    }
}

async fn drain(inbound: &mut Inbound) -> usize {
    let mut bytes = 0;
    while let Some(data) = inbound.pop().await {
        bytes += data.len();
    }
    bytes
}

#[tokio::test]
async fn senders_are_slowed_between_the_marks_only() {
    let windows = Windows::new(limits(), ProcessBudget::new(64 * MIB));
    let mut inbound = windows.open(id(1));
    assert_eq!(receive(&windows, 1, 16), Received::Kept);
    assert!(!is_throttled(&windows), "at the upper mark");
    receive(&windows, 1, 1);
    assert!(is_throttled(&windows), "over the upper mark");
    for _ in 0..4 {
        inbound.pop().await.unwrap();
    }
    assert!(is_throttled(&windows), "between the marks");
    inbound.pop().await.unwrap();
    assert!(!is_throttled(&windows), "under the lower mark");
    receive(&windows, 1, 20);
    assert!(is_throttled(&windows));
    windows.eof(id(1));
    assert!(!is_throttled(&windows), "what sends no more slows nobody down");
    assert_eq!(receive(&windows, 1, 1), Received::Unknown);
    assert_eq!(drain(&mut inbound).await, (17 - 10 + 20) * PACKET.len());
}

#[tokio::test]
async fn a_consumer_that_leaves_frees_everything() {
    let process = ProcessBudget::new(64 * MIB);
    let windows = Windows::new(limits(), process.clone());
    let inbound = windows.open(id(1));
    receive(&windows, 1, 20);
    assert!(is_throttled(&windows));
    drop(inbound);
    assert!(!is_throttled(&windows));
    assert_eq!(process.used(), 0);
    assert_eq!(receive(&windows, 1, 1), Received::Unknown);
}

#[tokio::test]
async fn after_a_close_what_waits_can_still_be_taken() {
    let windows = Windows::new(limits(), ProcessBudget::new(64 * MIB));
    let mut inbound = windows.open(id(1));
    receive(&windows, 1, 3);
    windows.closed(id(1));
    inbound.gone().await;
    assert!(inbound.is_closed());
    assert_eq!(drain(&mut inbound).await, 3 * PACKET.len());
    assert_eq!(inbound.cut(), None);
}

#[tokio::test]
async fn the_end_of_the_connection_closes_every_channel() {
    let windows = Windows::new(limits(), ProcessBudget::new(64 * MIB));
    let socket = windows.socket(tokio::io::empty());
    let (mut one, two) = (windows.open(id(1)), windows.open(id(2)));
    let gone = two.gone();
    drop(socket);
    gone.await;
    assert_eq!(one.pop().await, None);
}

#[tokio::test(start_paused = true)]
async fn over_a_connections_ceiling_its_longest_idle_queue_goes() {
    let windows = Windows::new(limits(), ProcessBudget::new(64 * MIB));
    let (small, large) = (windows.open(id(1)), windows.open(id(2)));
    let mut busy = windows.open(id(3));
    receive(&windows, 1, 30);
    receive(&windows, 2, 40);
    receive(&windows, 3, 57);
    assert_eq!(receive(&windows, 3, 10), Received::Kept);
    assert_eq!([&small, &large, &busy].map(Inbound::cut), [None; 3], "all may yet make progress");
    advance(Duration::from_secs(6)).await;
    busy.pop().await.unwrap();
    receive(&windows, 3, 1);
    assert_eq!([&small, &large, &busy].map(Inbound::cut), [None, Some(Cut::Connection), None]);
    assert_eq!(receive(&windows, 2, 1), Received::Unknown);
    assert_eq!(receive(&windows, 1, 1), Received::Kept);
}

#[tokio::test(start_paused = true)]
async fn the_process_has_a_ceiling_over_all_connections() {
    let process = ProcessBudget::new(4 * MIB);
    let limits = FlowLimits { connection_bytes: 64 * MIB, ..limits() };
    let first = Windows::new(limits.clone(), process.clone());
    let second = Windows::new(limits, process.clone());
    let (stuck, other) = (first.open(id(1)), second.open(id(1)));
    receive(&first, 1, 97);
    assert!(is_throttled(&second), "three quarters are used: every sender is slowed");
    assert!(!second.accepts_channels());
    advance(Duration::from_secs(6)).await;
    assert_eq!(receive(&second, 1, 32), Received::Kept);
    assert_eq!((stuck.cut(), other.cut()), (Some(Cut::Process), None));
    stuck.gone().await;
    assert!(process.used() <= 32 * PACKET.len());
    assert!(second.accepts_channels());
}
