//! New keys in the middle of uploads.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::client::{Master, noise, talk};
use super::server::Gate;
use crate::gateway::flow::{FlowLimits, ProcessBudget, rekeys_left_to_the_peer};
use crate::gateway::link::tests::sshd::Sshd;

const MIB: usize = 1024 * 1024;
const UPLOADS: usize = 4;

/// Four uploads at once, each checked.
async fn uploads(master: &Master, mib: usize) {
    let (bytes, sum) = noise(mib * MIB);
    let upload = |_| async { String::from_utf8(talk(master.command("sum"), &bytes).await).unwrap() };
    let sums = futures_util::future::join_all((0..UPLOADS).map(upload)).await;
    assert_eq!(sums, vec![sum; UPLOADS]);
    assert!(master.is_up().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_ask_for_new_keys_under_uploads() {
    let keys = Sshd::new();
    let gate = Gate::start(&keys, FlowLimits::default(), ProcessBudget::new(256 * MIB)).await;
    let master = Master::to(&keys, gate.address, &["-o", "RekeyLimit=16M"]).await;
    uploads(&master, 24).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_so_it_may_from_far_away() {
    let keys = Sshd::new();
    let gate = Gate::start(&keys, FlowLimits::default(), ProcessBudget::new(256 * MIB)).await;
    let far = far_away(gate.address, Duration::from_millis(10)).await;
    let master = Master::to(&keys, far, &["-o", "RekeyLimit=16M"]).await;
    uploads(&master, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_a_year_is_no_limit() {
    let limits = rekeys_left_to_the_peer();
    assert!(limits.rekey_time_limit > Duration::from_secs(300 * 24 * 3600));
    let keys = Sshd::new();
    let forever = |config| russh::server::Config {
        limits: russh::Limits { rekey_time_limit: Duration::MAX, ..rekeys_left_to_the_peer() },
        ..config
    };
    let budget = ProcessBudget::new(256 * MIB);
    let gate = Gate::configured(&keys, FlowLimits::default(), budget, forever).await;
    let master = Master::to(&keys, gate.address, &[]).await;
    uploads(&master, 1).await;
}

/// A path with a delay each way and no loss.
async fn far_away(to: SocketAddr, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(to).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let ((cr, cw), (sr, sw)) = (client.into_split(), server.into_split());
            delayed(cr, sw, delay);
            delayed(sr, cw, delay);
        }
    });
    address
}

fn delayed(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    delay: Duration,
) {
    // 64 MiB may be under way, more than any window here.
    let (travel, mut arrive) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    tokio::spawn(async move {
        loop {
            let mut buffer = Vec::with_capacity(64 * 1024);
            match from.read_buf(&mut buffer).await {
                Ok(1..) if travel.send((Instant::now() + delay, buffer)).await.is_ok() => (),
                _ => return,
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, bytes)) = arrive.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
}
