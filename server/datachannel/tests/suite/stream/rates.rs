//! How fast it is on this machine. Run with `--ignored --nocapture`; the numbers are for people.

use std::time::Duration;

use ssm_datachannel::DataChannel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::Open;
use crate::support::gateway::{Gateway, Leg};

const TOTAL: usize = 64 * 1024 * 1024;

async fn unpaced() -> (DataChannel, Leg) {
    let gateway = Gateway::new().await;
    let mut open = Open::on(&gateway);
    open.options.limits.messages_per_second = None;
    open.pair(&gateway).await
}

fn report(what: &str, time: Duration) {
    eprintln!("{what}: {:.0} MB/s", TOTAL as f64 / 1e6 / time.as_secs_f64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn upload() {
    let (mut channel, mut leg) = unpaced().await;
    leg.output(b"SSH-2.0-Go\r\n").await;
    channel.read_exact(&mut [0; 12]).await.unwrap();
    let start = Instant::now();
    let receive = async {
        let mut got = 0;
        while got < TOTAL {
            got += leg.receive_data().await.payload.len();
        }
    };
    let chunk = vec![7; 32 * 1024];
    let send = async {
        for _ in 0..TOTAL / chunk.len() {
            channel.write_all(&chunk).await.unwrap();
        }
    };
    tokio::join!(receive, send);
    report("upload in payloads of 16 KiB", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn download() {
    let (mut channel, leg) = unpaced().await;
    let start = Instant::now();
    let serve = leg.pour(TOTAL, 1024);
    let read = async {
        let mut buffer = vec![0; 32 * 1024];
        let mut got = 0;
        while got < TOTAL {
            got += channel.read(&mut buffer).await.unwrap();
        }
        report("download in payloads of 1 KiB", start.elapsed());
    };
    tokio::join!(serve, read);
}
