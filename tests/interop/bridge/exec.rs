//! The simulator judged by a stranger: `aws-ssm-bridge`, a client of the same protocol that others wrote and run against
//! AWS. What holds between those two holds for neither of them because of us.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_ssm_bridge::{EndpointPolicy, Session, SessionConfig};
use futures_util::StreamExt as _;
use studio_simulator::sessions::{Claimed, Machine, Sessions, Spaces as _};
use studio_simulator::space::GoSpaces;
use studio_simulator::stream::{CloseHow, Direction, Fault, Options, Streams, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;

const SPACE: &str = "arn:aws:sagemaker:eu-west-1:111122223333:space/d-abc/work";
/// What the bridge was seen to send against AWS, and more than AWS's own client does.
const CHUNK: usize = 16 * 1024;

/// An account that knows tokens and nothing else; each is good once.
#[derive(Default)]
struct Tokens(Mutex<HashMap<String, SocketAddr>>);

impl Sessions for Tokens {
    fn authorize_open(&self, _: &str, _: &str, _: &str, _: &[(String, String)]) -> Result<(), u16> {
        Ok(())
    }

    fn claim(&self, _: &str, token: &str) -> Result<Claimed, String> {
        let mut tokens = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let ssh = tokens.remove(token).ok_or("the token is not valid")?;
        Ok(Claimed { space_arn: SPACE.to_owned(), ssh })
    }

    fn released(&self, _: &str) {}
}

/// A space behind a gateway, and a TCP port that leads to it through the bridge.
struct Rig {
    streams: Streams,
    _spaces: GoSpaces,
    _tasks: JoinSet<()>,
    bridged: SocketAddr,
    folder: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let spaces = GoSpaces::new(&folder.path().join("cache"), &folder.path().join("homes")).await?;
        let ssh = spaces.start(SPACE, "run", &Machine::default()).await?;
        let tokens = Arc::new(Tokens::default());
        // The bridge names itself by the session's id, and judges lengths that others saw to be garbage.
        let options = Options { any_client_id: true, plain_publications: true, ..Options::default() };
        let streams = Streams::new(Arc::clone(&tokens) as Arc<dyn Sessions>, options);
        let gateway = TcpListener::bind("127.0.0.1:0").await?;
        let at = gateway.local_addr()?;
        let entrance = TcpListener::bind("127.0.0.1:0").await?;
        let bridged = entrance.local_addr()?;
        let mut tasks = JoinSet::new();
        let router = streams.router();
        tasks.spawn(async move {
            let _ = axum::serve(gateway, router).await;
        });
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = entrance.accept().await {
                let id = format!("bridge-{}", connections.len());
                tokens.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(id.clone(), ssh);
                connections.spawn(async move {
                    if let Err(error) = bridge(tcp, at, &id).await {
                        eprintln!("{id}: {error:#}");
                    }
                });
            }
        });
        Ok(Self { streams, _spaces: spaces, _tasks: tasks, bridged, folder })
    }

    async fn ssh(&self, command: &str, stdin: &[u8]) -> Result<Output> {
        let known = format!("UserKnownHostsFile={}", self.folder.path().join("known_hosts").display());
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-F",
            "/dev/null",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "BatchMode=yes",
        ]);
        ssh.args(["-o", &known, "-p", &self.bridged.port().to_string(), "sagemaker-user@127.0.0.1", command]);
        let mut child = ssh
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut pipe = child.stdin.take().context("no stdin")?;
        let feed = async {
            // If ssh ends early, what it said matters, not that the rest could not be written.
            let _ = pipe.write_all(stdin).await;
            drop(pipe);
        };
        let ((), output) = tokio::time::timeout(Duration::from_secs(60), async {
            tokio::join!(feed, child.wait_with_output())
        })
        .await
        .context("ssh does not end")?;
        Ok(output?)
    }

    fn violations(&self) -> Vec<String> {
        let all = self.streams.live(None).into_iter().chain(self.streams.past());
        all.flat_map(|stream| stream.violations).collect()
    }
}

/// Carries one TCP connection through a session of the bridge. No call to AWS is made: URL and token are given.
async fn bridge(mut tcp: TcpStream, gateway: SocketAddr, id: &str) -> Result<()> {
    let config = SessionConfig {
        endpoint_policy: EndpointPolicy::AllowAny,
        payload_chunk_size: CHUNK,
        ..SessionConfig::new("space")
    };
    let url = format!("ws://{gateway}/v1/data-channel/{id}?role=publish_subscribe");
    let session = Session::attach(id, url, id, config).await?;
    // Subscribed before the handshake can be over: the server speaks first.
    let mut output = session.output();
    let (mut reader, mut writer) = tcp.split();
    // The bridge takes a start message for readiness, and what it sends before the handshake is over is lost. So nothing
    // is sent until the server has spoken.
    let banner = output.next().await.with_context(|| format!("ended early: {:?}", session.close_reason()))?;
    writer.write_all(&banner).await?;
    let mut buffer = vec![0; CHUNK];
    loop {
        tokio::select! {
            chunk = output.next() => match chunk {
                Some(chunk) => writer.write_all(&chunk).await?,
                None => break,
            },
            read = reader.read(&mut buffer) => match read? {
                0 => break,
                read => session.send(buffer[..read].to_vec()).await?,
            },
        }
    }
    session.terminate().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_others_wrote_reaches_a_space() -> Result<()> {
    let rig = Rig::start().await?;
    let output = rig.ssh("echo hi; exit 3", b"").await?;
    ensure!((output.status.code(), output.stdout.as_slice()) == (Some(3), b"hi\n"), "{output:?}");
    let sent = vec![b'z'; 300_000];
    let output = rig.ssh("cat", &sent).await?;
    ensure!(
        output.stdout == sent,
        "{} of {} bytes came back: {:?}",
        output.stdout.len(),
        sent.len(),
        output.stderr
    );
    ensure!(rig.violations().is_empty(), "{:?}", rig.violations());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gets_through_delay_loss_and_reordering() -> Result<()> {
    let rig = Rig::start().await?;
    for direction in [Direction::Up, Direction::Down] {
        rig.streams.fault(Target::All, Fault::Delay { direction, ms: 10, jitter_ms: 5 });
        rig.streams.fault(Target::All, Fault::Drop { direction, nth: 6, count: 1 });
        rig.streams.fault(Target::All, Fault::Duplicate { direction, nth: 8, count: 1 });
        rig.streams.fault(Target::All, Fault::Reorder { direction, nth: 10, count: 1 });
    }
    // Downwards the bridge ends the session over a wrong digest, where AWS's client waits for the repeat.
    rig.streams.fault(Target::All, Fault::Corrupt { direction: Direction::Up, nth: 12, count: 1 });
    let sent = vec![b'z'; 200_000];
    let output = rig.ssh("cat", &sent).await?;
    ensure!(
        output.stdout == sent,
        "{} of {} bytes came back: {:?}",
        output.stdout.len(),
        sent.len(),
        output.stderr
    );
    // It says so of messages that came out of order; AWS's own client never does.
    let unknown = rig.violations().into_iter().filter(|what| !what.contains("IsSequentialMessage"));
    ensure!(unknown.count() == 0, "{:?}", rig.violations());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_notices_a_closed_websocket() -> Result<()> {
    let rig = Rig::start().await?;
    let cut = async {
        while rig.streams.live(None).iter().all(|stream| stream.counters.down_bytes < 1000) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rig.streams.fault(Target::All, Fault::CloseClients { how: CloseHow::Bye });
        std::future::pending::<()>().await;
    };
    let output = tokio::select! {
        output = rig.ssh("echo up; sleep 60", b"") => output?,
        () = cut => unreachable!("cutting never ends"),
    };
    ensure!(output.status.code() == Some(255), "the connection is lost: {output:?}");
    let closed = rig.streams.live(None).iter().all(|stream| !stream.client_connected);
    ensure!(closed, "the bridge does not come back by itself");
    Ok(())
}
