//! What can be asked of a channel.

use std::sync::Arc;

use bytes::Bytes;
use russh::server::{Auth, ChannelOpenHandle, Msg, Session};
use russh::{Channel, ChannelId};
use tokio_util::task::TaskTracker;

use super::sshd::Sshd;
use crate::gateway::link::{Link, LinkError, LinkOptions, Output, Pty, SpaceOutput};

/// All that a channel gave until it closed. (sshd may report a status before the last bytes, so their order is not
/// looked at here.)
#[derive(Default, Debug)]
pub(super) struct Collected {
    pub(super) data: Vec<u8>,
    pub(super) errors: Vec<u8>,
    pub(super) events: Vec<Output>,
}

pub(super) async fn all(mut output: SpaceOutput) -> Collected {
    let mut got = Collected::default();
    while let Some(next) = output.next().await {
        match next {
            Output::Data(data) => got.data.extend_from_slice(&data),
            Output::Extended(_, data) => got.errors.extend_from_slice(&data),
            event => got.events.push(event),
        }
    }
    got
}

pub(super) async fn run(link: &Link, command: &str) -> Collected {
    let channel = link.open_session().await.unwrap();
    channel.exec(command.as_bytes()).await.unwrap();
    let (_input, output) = channel.split();
    all(output).await
}

#[tokio::test]
async fn a_command_gives_its_output_then_its_status() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (link, _running) = sshd.link(&tracker, |s| s).await;
    let got = run(&link, "echo out; exec 1>&-; echo err >&2; exit 7").await;
    assert_eq!((&got.data[..], &got.errors[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert!(got.events.contains(&Output::ExitStatus(7)) && got.events.contains(&Output::Eof), "{got:?}");
    let big = run(&link, "head -c 3000000 /dev/zero; exit 3").await;
    assert_eq!(big.data.len(), 3_000_000);
    assert!(big.events.contains(&Output::ExitStatus(3)));
    let signalled = run(&link, "kill -TERM $$").await.events;
    assert!(signalled.iter().any(|o| matches!(o, Output::ExitSignal { name, .. } if name == "TERM")));
    link.close().await;
    tracker.close();
    tracker.wait().await;
    link.closed().await;
    assert_eq!(link.open_session().await.err(), Some(LinkError::Gone));
}

#[tokio::test]
async fn input_reaches_a_command_and_comes_back() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (link, _running) = sshd.link(&tracker, |s| s).await;
    let channel = link.open_session().await.unwrap();
    channel.env("GREETING", "hello").await.unwrap();
    channel.exec(b"echo $GREETING; cat").await.unwrap();
    assert_eq!(link.channels(), 1);
    let (input, output) = channel.split();
    let sent: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
    let data = Bytes::from(sent.clone());
    let send = async {
        input.data(data).await.unwrap();
        input.eof().await.unwrap();
    };
    let ((), got) = tokio::join!(send, all(output));
    assert_eq!(&got.data[..6], b"hello\n");
    assert!(got.data[6..] == sent[..]);
    assert_eq!(input.data(Bytes::from_static(b"x")).await, Err(LinkError::Gone));
    drop(input);
    assert_eq!(link.channels(), 0);
    link.close().await;
}

#[tokio::test]
async fn a_terminal_can_be_had_resized_and_signalled() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (link, _running) = sshd.link(&tracker, |s| s).await;
    let channel = link.open_session().await.unwrap();
    let mut pty = Pty {
        term: "xterm".to_owned(),
        columns: 81,
        rows: 25,
        pixel_width: 0,
        pixel_height: 0,
        modes: vec![(russh::Pty::ECHO, 0)],
    };
    channel.pty(&pty).await.unwrap();
    channel.exec(b"trap 'stty size; exit 4' WINCH; stty size; while :; do sleep 0.01; done").await.unwrap();
    let (input, mut output) = channel.split();
    assert_eq!(output.next().await, Some(Output::Data(Bytes::from_static(b"25 81\r\n"))));
    pty.columns = 100;
    input.window_change(&pty).await.unwrap();
    let got = all(output).await;
    assert_eq!(&got.data[..], b"25 100\r\n");
    assert!(got.events.contains(&Output::ExitStatus(4)));
    link.close().await;
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let (link, _running) = sshd.link(&tracker, |s| s).await;
    let channel = link.open_session().await.unwrap();
    assert_eq!(channel.subsystem("no-such").await, Err(LinkError::Refused("the subsystem")));
    let refused = link.open_tcp("127.0.0.1", 1, ("127.0.0.1", 2)).await.err();
    assert!(matches!(refused, Some(LinkError::OpenRefused(_))), "{refused:?}");
    let (stream, _other) = sshd.serve();
    let keyless = LinkOptions { user: "root".to_owned(), ..LinkOptions::default() };
    let refused = Link::connect(Box::new(stream), keyless, &tracker).await.err();
    assert_eq!(refused, Some(LinkError::AuthRefused));
}

/// Answers a command and has it end in the same breath, as a space does with `true`.
struct Hasty;

impl russh::server::Handler for Hasty {
    type Error = russh::Error;

    async fn auth_none(&mut self, _user: &str) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(id)?;
        session.exit_status_request(id, 0)?;
        session.eof(id)?;
        session.close(id)
    }
}

#[tokio::test]
async fn a_command_that_is_over_at_once_was_answered() {
    let (sshd, tracker) = (Sshd::new(), TaskTracker::new());
    let key = russh::keys::load_secret_key(sshd.path("host"), None).unwrap();
    let config = Arc::new(russh::server::Config { keys: vec![key], ..Default::default() });
    let (ours, theirs) = tokio::io::duplex(1024 * 1024);
    tokio::spawn(async move { russh::server::run_stream(config, theirs, Hasty).await.unwrap().await });
    let link = Link::connect(Box::new(ours), LinkOptions::default(), &tracker).await.unwrap();
    for _ in 0..100 {
        assert_eq!(run(&link, "true").await.events, [Output::ExitStatus(0), Output::Eof]);
    }
}
