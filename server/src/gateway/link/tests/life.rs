//! How links begin and end, and what the space opens on them.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::requests::run;
use super::sshd::Sshd;
use crate::gateway::link::{Link, LinkError, LinkIncoming, LinkOptions, Output};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn nothing_is_said_before_the_greeting() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (mut late, _running) = sshd.serve();
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let options = sshd.options();
    let connecting = tokio::spawn(async move { Link::connect(Box::new(ours), options, &tracker).await });
    theirs.write_all(b"a line before\r\nSSH").await.unwrap();
    let mut early = [0];
    let silence = timeout(Duration::from_millis(100), theirs.read(&mut early)).await;
    assert!(silence.is_err(), "it spoke first");
    let mut greeting = [0; 3];
    late.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"SSH");
    tokio::spawn(async move { tokio::io::copy_bidirectional(&mut theirs, &mut late).await });
    let link = connecting.await.unwrap().unwrap();
    assert_eq!(run(&link, "echo hello").await.data, b"hello\n");
    link.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_space_is_given_up() {
    let tracker = TaskTracker::new();
    let (ours, theirs) = tokio::io::duplex(1024);
    let silent = Link::connect(Box::new(ours), LinkOptions::default(), &tracker).await;
    assert_eq!(silent.err(), Some(LinkError::NoBanner(30)));
    drop(theirs);
    let (ours, mut theirs) = tokio::io::duplex(1024);
    theirs.write_all(b"SSH-2.0-Go\r\n").await.unwrap();
    let stuck = Link::connect(Box::new(ours), LinkOptions::default(), &tracker).await;
    assert!(matches!(stuck.err(), Some(LinkError::Ssh(_))));
    tracker.close();
    tracker.wait().await;
    let mut rest = Vec::new();
    theirs.read_to_end(&mut rest).await.unwrap();
    assert!(rest.starts_with(b"SSH-2.0-Spaceport\r\n"), "the stream was dropped");
    let (ours, theirs) = tokio::io::duplex(1024);
    drop(theirs);
    let ended = Link::connect(Box::new(ours), LinkOptions::default(), &tracker).await;
    assert!(matches!(ended.err(), Some(LinkError::Ssh(_))));
}

#[tokio::test]
async fn when_the_stream_ends_everything_on_it_does() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (link, running) = sshd.link(&tracker, |s| s).await;
    let channel = link.open_session().await.unwrap();
    channel.exec(b"cat").await.unwrap();
    let (input, mut output) = channel.split();
    drop(running);
    timeout(PATIENCE, link.closed()).await.expect("the end is noticed");
    assert_eq!(timeout(PATIENCE, output.next()).await.expect("the channel ends"), None);
    assert_eq!(input.data(Bytes::from_static(b"x")).await, Err(LinkError::Gone));
    assert_eq!(link.open_session().await.err(), Some(LinkError::Gone));
    timeout(PATIENCE, link.close()).await.expect("closing is no trouble");
    tracker.close();
    timeout(PATIENCE, tracker.wait()).await.expect("no task is left");
}

#[tokio::test]
async fn a_writer_that_waits_for_the_space_notices_the_close() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (link, _running) = sshd.link(&tracker, |s| s).await;
    let channel = link.open_session().await.unwrap();
    channel.exec(b"read line; exit 5").await.unwrap();
    let (input, mut output) = channel.split();
    // More than the space's window: nobody reads it.
    let write = async { input.data(Bytes::from(vec![b'x'; 8_000_000])).await };
    let close = async {
        input.data(Bytes::from_static(b"\n")).await.unwrap();
        let mut status = None;
        while let Some(next) = output.next().await {
            if let Output::ExitStatus(code) = next {
                status = Some(code);
            }
        }
        status
    };
    let both = async { tokio::join!(close, write) };
    let (status, written) = timeout(PATIENCE, both).await.expect("nobody hangs");
    assert_eq!((status, written), (Some(5), Err(LinkError::Gone)));
    link.close().await;
}

#[tokio::test]
async fn a_remotely_forwarded_port_brings_channels() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (link, _running) = sshd.link(&tracker, |s| s).await;
    let port = link.tcpip_forward("127.0.0.1", 0).await.unwrap();
    let connect = || TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap()));
    let mut unwanted = connect().await.unwrap();
    assert_eq!(unwanted.read(&mut [0]).await.unwrap(), 0, "refused while nobody takes them");
    let mut incoming = link.incoming().expect("they can be taken once");
    assert!(link.incoming().is_none());
    let mut client = connect().await.unwrap();
    let Some(LinkIncoming::RemoteForward { port: to, channel, .. }) = incoming.recv().await else { panic!() };
    assert_eq!(to, port);
    let (input, mut output) = channel.split();
    client.write_all(b"ping").await.unwrap();
    assert_eq!(output.next().await, Some(Output::Data(Bytes::from_static(b"ping"))));
    input.data(Bytes::from_static(b"pong")).await.unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"pong");
    drop((input, output));
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "dropping closes");
    link.cancel_tcpip_forward("127.0.0.1", port).await.unwrap();
    let again = link.cancel_tcpip_forward("127.0.0.1", port).await;
    assert_eq!(again, Err(LinkError::Refused("cancel-tcpip-forward")));
    link.close().await;
}

#[tokio::test]
async fn the_space_can_reach_the_agent() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (link, _running) = sshd.link(&tracker, |s| s).await;
    let mut incoming = link.incoming().unwrap();
    let channel = link.open_session().await.unwrap();
    channel.agent().await.unwrap();
    channel.exec(b"ssh-add -l").await.unwrap();
    let (_input, _output) = channel.split();
    let Some(LinkIncoming::Agent(agent)) = timeout(PATIENCE, incoming.recv()).await.unwrap() else {
        panic!()
    };
    let (_to_space, mut from_space) = agent.split();
    // A request for identities: its length, and 11.
    let mut request = Vec::new();
    while request.len() < 5 {
        let Some(Output::Data(bytes)) = from_space.next().await else { panic!("{request:?}") };
        request.extend_from_slice(&bytes);
    }
    assert_eq!(request, [0, 0, 0, 1, 11]);
    link.close().await;
}

#[tokio::test]
async fn an_opener_that_gives_up_leaves_no_channel_behind() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (link, _running) = sshd.link(&tracker, |s| s).await;
    for _ in 0..20 {
        let _ = timeout(Duration::ZERO, link.open_session()).await;
    }
    drop(link.open_session().await.unwrap());
    link.close().await;
    tracker.close();
    timeout(PATIENCE, tracker.wait()).await.expect("no task is left");
    assert_eq!(link.channels(), 0);
}
