//! The socket's own rules.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::ceilings::{id, receive};
use crate::gateway::flow::{FlowLimits, ProcessBudget, Windows};

fn windows() -> Windows {
    Windows::new(FlowLimits::default(), ProcessBudget::new(64 * 1024 * 1024))
}

#[tokio::test(start_paused = true)]
async fn short_reads_are_spaced_while_a_sender_is_stalled() {
    let windows = windows();
    let (mut client, ours) = tokio::io::duplex(1024 * 1024);
    let mut socket = windows.socket(ours);
    let mut read = async |len: usize| {
        let began = Instant::now();
        client.write_all(&vec![1; len]).await.unwrap();
        socket.read_exact(&mut vec![0; len]).await.unwrap();
        began.elapsed()
    };
    for _ in 0..3 {
        assert_eq!(read(40).await, Duration::ZERO, "nobody is stalled");
    }
    let inbound = windows.open(id(1));
    receive(&windows, 1, 20);
    read(40).await;
    assert_eq!(read(40).await, Duration::from_millis(2));
    read(100_000).await;
    assert_eq!(read(100_000).await, Duration::ZERO, "what is no tick is not slowed");
    tokio::time::advance(Duration::from_secs(6)).await;
    read(40).await;
    read(40).await;
    assert_eq!(read(40).await, Duration::from_millis(10), "a long stall ticks slowly");
    drop(inbound);
    assert_eq!(read(40).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up() {
    let (mut client, ours) = tokio::io::duplex(1000);
    let mut socket = windows().socket(ours);
    let began = Instant::now();
    socket.write_all(&[0; 1000]).await.unwrap();
    let write = tokio::spawn(async move { socket.write_all(&[0; 2000]).await });
    tokio::time::sleep(Duration::from_secs(170)).await;
    // One byte is progress enough.
    client.read_exact(&mut [0]).await.unwrap();
    let failed = write.await.unwrap().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::TimedOut);
    assert_eq!(began.elapsed().as_secs(), 350);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_hang_up_is_not_waited_for() {
    let (_client, ours) = tokio::io::duplex(1000);
    let mut socket = windows().socket(ours);
    let began = Instant::now();
    socket.shutdown().await.unwrap();
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(began.elapsed().as_secs(), 10);
}
