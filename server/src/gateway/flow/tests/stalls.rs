//! Nobody freezes anybody: the four situations that tell.

use super::client::{Master, fill, noise, plink, talk};
use super::server::Gate;
use crate::gateway::flow::{FlowLimits, ProcessBudget};
use crate::gateway::link::tests::sshd::Sshd;

const MIB: usize = 1024 * 1024;

async fn gate(keys: &Sshd) -> Gate {
    Gate::start(keys, FlowLimits::default(), ProcessBudget::new(256 * MIB)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_target_stalls_only_its_own_channel() {
    let keys = Sshd::new();
    let theirs = Master::to_openssh(&keys).await;
    let mut deaf = theirs.command("sleep 60");
    fill(&mut deaf).await;
    let (exec, (p50, p99)) = (theirs.exec("true").await, theirs.echoes("cat").await);
    println!("OpenSSH beside a deaf target: exec {exec:?}, echo p50 {p50:.1} ms, p99 {p99:.1} ms");

    let gate = gate(&keys).await;
    let master = Master::to(&keys, gate.address, &[]).await;
    let mut deaf = master.command("deaf");
    let sent = fill(&mut deaf).await;
    let held = gate.budget.used();
    println!("{sent} bytes were sent, {held} are held");
    assert!((256 * 1024..4 * MIB).contains(&held), "the first window, one more and no further: {held}");
    println!("exec beside a deaf target: {:?}", master.exec("hello").await);
    master.assert_responsive("a deaf target", 20.0, 100.0).await;
    // Another upload crawls until the stall ends, and is whole then.
    let (bytes, sum) = noise(MIB);
    let upload = tokio::spawn(talk_owned(master.command("sum"), bytes));
    drop(deaf);
    assert_eq!(String::from_utf8(upload.await.unwrap()).unwrap(), sum);
}

async fn talk_owned(child: tokio::process::Child, bytes: Vec<u8>) -> Vec<u8> {
    talk(child, &bytes).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_may_write_before_they_read() {
    let keys = Sshd::new();
    let gate = gate(&keys).await;
    let master = Master::to(&keys, gate.address, &[]).await;
    let (bytes, sum) = noise(64 * MIB);
    for (name, child) in
        [("ssh", master.command("talker 64")), ("plink", plink(&keys, gate.address, "talker 64"))]
    {
        let began = std::time::Instant::now();
        let got = talk(child, &bytes).await;
        println!("64 MiB each way through {name}: {:?}", began.elapsed());
        assert_eq!(got.len(), 64 * MIB + 64);
        assert_eq!(got[64 * MIB..], *sum.as_bytes(), "through {name}");
    }
    assert_eq!(gate.budget.used(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_download_delays_no_keystroke() {
    let keys = Sshd::new();
    let theirs = Master::to_openssh(&keys).await;
    let paused = theirs.command("head -c 100000000 /dev/zero");
    let (p50, p99) = theirs.echoes("cat").await;
    println!("OpenSSH beside a paused download: echo p50 {p50:.1} ms, p99 {p99:.1} ms");
    drop(paused);

    let gate = gate(&keys).await;
    let master = Master::to(&keys, gate.address, &[]).await;
    let paused = master.command("source 100");
    master.assert_responsive("a paused download", 20.0, 100.0).await;
    let got = talk(paused, b"").await;
    assert_eq!(got.len(), 100 * MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_target_is_fed_at_its_rate_and_delays_no_keystroke() {
    let keys = Sshd::new();
    let gate = gate(&keys).await;
    let master = Master::to(&keys, gate.address, &[]).await;
    let (bytes, sum) = noise(64 * MIB);
    let began = std::time::Instant::now();
    let upload = async {
        let got = talk(master.command("slow-sum"), &bytes).await;
        let rate = bytes.len() as f64 / 1e6 / began.elapsed().as_secs_f64();
        println!("64 MiB into a target of 14 MB/s: {rate:.1} MB/s");
        assert_eq!(String::from_utf8(got).unwrap(), sum, "what was slowed down is whole");
        assert!(rate > 7.0, "{rate}");
    };
    let echo = master.assert_responsive("a slow target", 25.0, 100.0);
    tokio::join!(upload, echo);
}
