//! The driver over sockets in memory, so that the clock can be paused: waits of minutes take no time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail by panicking, and its tasks end with it"
)]

mod bench;
#[allow(dead_code, reason = "shared with the test suite, which uses more of it")]
#[path = "../../tests/suite/support/wire.rs"]
mod wire;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::ended::{ConnectError, Ended};
use crate::limits::{Limits, MAX_FRAME};
use crate::reconnect::Loss;
use bench::{Plan, Server, connect, open, open_with};
use wire::{FLAG, HANDSHAKE_RESPONSE, Msg, OUTPUT};

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_pinged_every_15_s_and_lives() {
    let (channel, mut server, _) = open(Plan::Deny).await;
    let start = Instant::now();
    for nth in 1..=40 {
        server.expect_ping().await;
        assert_eq!(start.elapsed().as_secs(), 15 * nth);
    }
    assert!(timeout(Duration::ZERO, channel.ended()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_noticed_within_a_minute() {
    let (channel, _server, losses) = open(Plan::Deny).await;
    let start = Instant::now();
    channel.ended().await;
    assert!(start.elapsed() <= Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(losses.lock().unwrap()[..], [Loss::Silent]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_slows_the_agent_and_is_no_silence() {
    let limits = Limits { receive_buffer: 64 * 1024, ..Limits::default() };
    let (mut channel, server, losses) = open_with(Plan::Deny, limits).await;
    let total = 2_000_usize;
    let (mut sink, mut source) = server.split();
    let send = async {
        for seq in 0..total {
            sink.send(&Msg::output(seq as i64 + 2, OUTPUT, vec![seq as u8; 1024])).await;
        }
    };
    let (mut pings, mut acks) = (0, 0);
    let answer = async {
        // Pings come while nothing is read from the socket, since they are written.
        while pings < 20 {
            match source.message().await {
                Message::Ping(_) => pings += 1,
                _ => acks += 1,
            }
        }
        assert!(acks < 500, "{acks} messages were taken although nobody reads");
        while acks < total {
            acks += usize::from(matches!(source.message().await, Message::Binary(_)));
        }
    };
    let read = async {
        tokio::time::sleep(Duration::from_secs(301)).await;
        let mut all = vec![0; total * 1024];
        channel.read_exact(&mut all).await.unwrap();
        all
    };
    let ((), (), all) = tokio::join!(send, answer, read);
    assert!(all.chunks(1024).enumerate().all(|(seq, chunk)| chunk.iter().all(|byte| *byte == seq as u8)));
    assert_eq!(losses.lock().unwrap()[..], []);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_acknowledges_nothing_slows_the_writer() {
    let limits = Limits { window_bytes: 64 * 1024, ..Limits::default() };
    let (mut channel, mut server, _) = open_with(Plan::Deny, limits).await;
    server.output(2, b"SSH-2.0-Go\r\n").await;
    let write = async {
        let mut written = 0;
        while let Ok(write) = timeout(Duration::from_secs(5), channel.write_all(&[7; 1024])).await {
            write.unwrap();
            written += 1024;
        }
        written
    };
    let written = tokio::select! {
        written = write => written,
        () = server.swallow() => panic!("the socket ended"),
    };
    assert!((128 * 1024..320 * 1024).contains(&written), "{written}");
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_share_writes_to_the_socket() {
    let (mut channel, mut server, _) = open(Plan::Deny).await;
    let before = server.writes_of_client();
    for seq in 0..300 {
        server.feed(&Msg::output(seq + 2, OUTPUT, [7; 100])).await;
    }
    server.flush().await;
    let mut all = vec![0; 300 * 100];
    channel.read_exact(&mut all).await.unwrap();
    server.expect_ack(301).await;
    let writes = server.writes_of_client() - before;
    assert!(writes <= 30, "{writes} writes for 300 acknowledgements");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_replaced_and_no_byte_is_missing() {
    let (plan, mut second) = Plan::one();
    let (mut channel, mut server, losses) = open(plan).await;
    server.output(2, b"SSH-2.0-Go\r\n").await;
    let mut banner = [0; 12];
    channel.read_exact(&mut banner).await.unwrap();
    channel.write_all(b"lost on the way").await.unwrap();
    let lost = server.receive_unanswered().await;
    server.close(1000, "Bye").await;

    let again = second.receive_unanswered().await;
    assert_eq!(again, lost);
    second.send(&Msg::ack("input_stream_data", &lost.id, lost.seq)).await;
    second.output(2, b"SSH-2.0-Go\r\n").await; // repeated, since its acknowledgement may be lost
    second.output(3, b"more").await;
    let mut more = [0; 4];
    channel.read_exact(&mut more).await.unwrap();
    assert_eq!(&more, b"more");
    channel.write_all(b"next").await.unwrap();
    assert_eq!(second.receive_data().await.seq, lost.seq + 1);
    assert!(matches!(&losses.lock().unwrap()[..], [Loss::Dropped(words)] if words.contains("Bye")));
}

#[tokio::test(start_paused = true)]
async fn what_is_written_while_there_is_no_connection_arrives_on_the_next() {
    let (plan, mut second) = Plan::one_after(Duration::from_secs(20));
    let (mut channel, mut server, _) = open(plan).await;
    server.output(2, b"SSH-2.0-Go\r\n").await;
    server.expect_ack(2).await;
    drop(server);
    channel.write_all(b"typed in the dark").await.unwrap();
    assert_eq!(second.receive_data().await.payload, b"typed in the dark");
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_is_denied_ends_the_stream_at_once() {
    let (mut channel, server, _) = open(Plan::Deny).await;
    let start = Instant::now();
    server.close(1000, "Bye").await;
    assert_eq!(channel.ended().await, Ended::ResumeDenied);
    assert_eq!(channel.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(channel.write_all(b"x").await.is_err());
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_control_frame_that_is_too_long_costs_the_connection_and_nothing_else() {
    let (plan, mut second) = Plan::one();
    let (mut channel, server, losses) = open(plan).await;
    let mut ping = vec![0x89, 126, 0, 126];
    ping.extend([0; 126]);
    server.write_raw(&ping).await;
    second.output(2, b"still here").await;
    let mut bytes = [0; 10];
    channel.read_exact(&mut bytes).await.unwrap();
    assert_eq!(losses.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_long_ends_the_stream_in_words() {
    let (channel, mut server, _) = open(Plan::Deny).await;
    server.send_message(Message::Binary(vec![7; MAX_FRAME + 1].into())).await;
    assert!(matches!(channel.ended().await, Ended::Protocol(_)));
}

#[tokio::test(start_paused = true)]
async fn messages_in_text_frames_are_messages() {
    let (channel, mut server, _) = open(Plan::Deny).await;
    // A binary header seldom is text; this one of a close is.
    let mut message = Msg::closed("done").encode();
    message[..4].fill(0);
    message[40..120].fill(0);
    let text = String::from_utf8(message).unwrap();
    server.send_message(Message::text(text)).await;
    assert_eq!(channel.ended().await, Ended::ClosedByService("done".into()));
}

#[tokio::test(start_paused = true)]
async fn the_last_bytes_are_read_before_the_end_of_the_stream() {
    let (mut channel, mut server, _) = open(Plan::Deny).await;
    let tail = vec![9; 300 * 1024];
    for (nth, chunk) in tail.chunks(1024).enumerate() {
        server.output(nth as i64 + 2, chunk).await;
    }
    server.send(&Msg::closed("done")).await;
    let start = Instant::now();
    assert_eq!(channel.ended().await, Ended::ClosedByService("done".into()));
    assert!(
        start.elapsed() <= Duration::from_secs(2),
        "a reader that waits for the end first must not wait for ever"
    );
    let mut all = Vec::new();
    channel.read_to_end(&mut all).await.unwrap();
    assert!(all == tail);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_channel_delivers_terminates_and_closes() {
    let (mut channel, mut server, _) = open(Plan::Deny).await;
    let ended = channel.ended();
    server.output(2, b"SSH-2.0-Go\r\n").await;
    channel.write_all(b"last words").await.unwrap();
    drop(channel);
    assert_eq!(server.receive_data().await.payload, b"last words");
    server.output(3, &[7; 1024]).await; // nobody reads it, and nobody minds
    let flag = server.receive_data().await;
    assert_eq!((flag.ptype, flag.payload.as_slice()), (FLAG, [0, 0, 0, 2].as_slice()));
    assert_eq!(server.expect_close().await, Some(1000));
    assert_eq!(ended.await, Ended::Closed);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_channel_ends_its_task_even_if_nobody_answers() {
    let (channel, _server, _) = open(Plan::Deny).await;
    let ended = channel.ended();
    let start = Instant::now();
    drop(channel);
    assert_eq!(ended.await, Ended::Closed);
    assert!(start.elapsed() <= Duration::from_secs(8), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_still_reads_until_the_end() {
    let (mut channel, mut server, _) = open(Plan::Deny).await;
    server.output(2, b"SSH-2.0-Go\r\n").await;
    channel.shutdown().await.unwrap();
    server.output(3, b"bye").await;
    assert_eq!(server.receive_data().await.ptype, FLAG);
    let mut all = Vec::new();
    channel.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"SSH-2.0-Go\r\nbye");
    assert_eq!(channel.ended().await, Ended::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_shakes_hands_fails_the_connect_in_25_s() {
    let (connecting, mut server, _) = connect(Plan::Deny, Limits::default());
    let start = Instant::now();
    let (result, _) = tokio::join!(connecting, server.expect_close());
    assert_eq!(result.unwrap_err(), ConnectError::NoHandshake(25));
    assert_eq!(start.elapsed().as_secs(), 25);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_asks_for_something_else_is_answered_and_then_refused() {
    let (connecting, mut server, _) = connect(Plan::Deny, Limits::default());
    let serve = async {
        let shell = r#"{"ActionType":"SessionType","ActionParameters":{"SessionType":"Standard_Stream"}}"#;
        server.send(&Msg::handshake_request(0, shell)).await;
        let response = server.receive_data().await;
        assert_eq!(response.ptype, HANDSHAKE_RESPONSE);
        assert_eq!(server.expect_close().await, Some(1000));
    };
    let (result, ()) = tokio::join!(connecting, serve);
    assert_eq!(
        result.unwrap_err(),
        ConnectError::Unsupported("a session of type \"Standard_Stream\"".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_closed_before_the_handshake_fails_the_connect_with_its_words() {
    let (connecting, server, losses) = connect(Plan::Deny, Limits::default());
    let (result, ()) = tokio::join!(connecting, server.close(1008, "bad token"));
    let Err(ConnectError::Ended(Ended::ClosedByService(words))) = result else { panic!("{result:?}") };
    assert!(words.contains("bad token"), "{words}");
    assert_eq!(losses.lock().unwrap()[..], [], "there is nothing to resume yet");
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_breaks_before_the_handshake_fails_the_connect() {
    let (connecting, server, losses) = connect(Plan::Deny, Limits::default());
    drop(server);
    assert!(matches!(connecting.await, Err(ConnectError::Unreachable(_))));
    assert_eq!(losses.lock().unwrap()[..], []);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_is_given_up_closes_the_socket() {
    let (connecting, mut server, _) = connect(Plan::Deny, Limits::default());
    drop(connecting);
    assert_eq!(server.expect_close().await, Some(1000));
}

#[tokio::test(start_paused = true)]
async fn a_pause_without_end_is_told_as_the_agents_absence() {
    let (channel, server, _) = open(Plan::Deny).await;
    let (mut sink, mut source) = server.split();
    sink.send(&Msg::control("pause_publication", "")).await;
    // The socket is closed together with the channel: either may be seen first.
    let (ended, ()) = tokio::join!(channel.ended(), source.swallow());
    assert_eq!(ended, Ended::AgentGone);
}

/// Everything at once, many times: the pipe, the socket and the timers wake the task whenever they should.
#[tokio::test(start_paused = true)]
async fn a_megabyte_each_way_through_small_pipes() {
    let (channel, server, _) = open(Plan::Deny).await;
    let (mut reader, mut writer) = tokio::io::split(channel);
    let sent: Vec<u8> = (0..1024 * 1024_u32).map(|n| (n / 3 % 251) as u8).collect();
    let echoed = tokio::spawn(Server::echo(server, sent.len()));
    let write = async {
        for chunk in sent.chunks(777) {
            writer.write_all(chunk).await.unwrap();
        }
    };
    let read = async {
        let mut all = vec![0; sent.len()];
        reader.read_exact(&mut all).await.unwrap();
        all
    };
    let ((), all) = tokio::join!(write, read);
    assert!(all == sent);
    echoed.await.unwrap();
}
