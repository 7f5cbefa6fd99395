//! One dial.

use std::time::Duration;

use ssm_datachannel::{ConnectError, Ended, Signing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Open, credentials};
use crate::support::gateway::{Gateway, Leg};
use crate::support::sigv4::signature_is_right;
use crate::support::wire;

/// Answers an upgrade request with a status, and gives back the request.
async fn refuse(mut tcp: TcpStream, status: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(tcp.read_u8().await.unwrap());
    }
    tcp.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
    String::from_utf8(request).unwrap()
}

fn is_signed(leg: &Leg) -> bool {
    leg.headers.contains_key("authorization")
}

#[tokio::test]
async fn bytes_flow_both_ways_and_closing_terminates_the_session() {
    let gateway = Gateway::new().await;
    let open = Open::on(&gateway);
    let tracker = open.tracker.clone();
    let (mut channel, mut leg) = open.pair(&gateway).await;
    assert_eq!(channel.agent_version(), "3.3.1.0");
    assert_eq!(channel.customer_message(), "be nice");

    leg.output(b"SSH-2.0-Go\r\n").await;
    let mut banner = [0; 12];
    channel.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"SSH-2.0-Go\r\n");

    channel.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    let data = leg.receive_data().await;
    assert_eq!(
        (data.seq, data.ptype, data.payload.as_slice()),
        (1, wire::OUTPUT, b"SSH-2.0-x\r\n".as_slice())
    );

    channel.shutdown().await.unwrap();
    let flag = leg.receive_data().await;
    assert_eq!((flag.ptype, flag.payload.as_slice()), (wire::FLAG, [0, 0, 0, 2].as_slice()));
    assert_eq!(leg.expect_close().await, Some(1000));
    drop(leg);
    assert_eq!(channel.ended().await, Ended::Closed);
    assert_eq!(channel.read(&mut banner).await.unwrap(), 0);

    tracker.close();
    tracker.wait().await;
}

#[tokio::test]
async fn the_first_frame_opens_the_channel_with_exactly_these_words() {
    let gateway = Gateway::new().await;
    let (_channel, leg) = Open::on(&gateway).pair(&gateway).await;
    let hello = leg.hello.as_object().unwrap();
    let keys: Vec<&str> = hello.keys().map(String::as_str).collect();
    assert_eq!(keys, ["ClientId", "ClientVersion", "MessageSchemaVersion", "RequestId", "TokenValue"]);
    assert_eq!(hello["MessageSchemaVersion"], "1.0");
    assert_eq!(hello["ClientVersion"], "1.2.764.0");
    assert_eq!(hello["TokenValue"], "t0ken");
    for id in ["ClientId", "RequestId"] {
        let id = hello[id].as_str().unwrap();
        assert_eq!(
            id,
            uuid::Uuid::parse_str(id).unwrap().hyphenated().to_string(),
            "lower case with hyphens"
        );
    }
}

#[tokio::test]
async fn the_address_is_dialled_byte_for_byte_with_no_headers_of_our_own() {
    let gateway = Gateway::new().await;
    let (_channel, leg) = Open::on(&gateway).pair(&gateway).await;
    assert_eq!(leg.uri.to_string(), "/v1/data-channel/s-1?role=publish_subscribe&cell-number=AA+b/c==");
    let mut names: Vec<&str> = leg.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["connection", "host", "sec-websocket-key", "sec-websocket-version", "upgrade"]);
}

#[tokio::test]
async fn with_credentials_the_upgrade_is_signed_for_host_date_and_token_only() {
    let gateway = Gateway::new().await;
    let open = Open { credentials: Some(credentials()), ..Open::on(&gateway) };
    let (channel, leg) = open.pair(&gateway).await;
    let authorization = leg.headers["authorization"].to_str().unwrap();
    assert!(authorization.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"), "{authorization}");
    assert!(authorization.contains("/eu-central-1/ssmmessages/aws4_request,"), "{authorization}");
    // As in AWS's own client, a plus in the query is signed as the space that it would decode to.
    let query = "cell-number=AA%20b%2Fc%3D%3D&role=publish_subscribe";
    assert!(signature_is_right(&leg.headers, "/v1/data-channel/s-1", query, "secret+key"));
    assert!(!channel.dialled_unsigned());
}

#[tokio::test]
async fn a_presigned_address_is_not_signed_again() {
    let gateway = Gateway::new().await;
    let mut open = Open { credentials: Some(credentials()), ..Open::on(&gateway) };
    open.grant.stream_url.push_str("&X-Amz-Signature=abc");
    let (_channel, leg) = open.pair(&gateway).await;
    assert!(!is_signed(&leg));
}

#[tokio::test]
async fn signing_can_be_switched_off() {
    let gateway = Gateway::new().await;
    let mut open = Open { credentials: Some(credentials()), ..Open::on(&gateway) };
    open.options.signing = Signing::Unsigned;
    let (_channel, leg) = open.pair(&gateway).await;
    assert!(!is_signed(&leg));
}

#[tokio::test]
async fn a_403_for_a_signature_is_answered_by_one_try_without_and_told() {
    let gateway = Gateway::new().await;
    let open = Open { credentials: Some(credentials()), ..Open::on(&gateway) };
    let serve = async {
        let request = refuse(gateway.tcp().await, "403 Forbidden").await;
        assert!(request.to_lowercase().contains("\r\nauthorization: aws4-hmac-sha256 "));
        gateway.accept_and_shake_hands().await
    };
    let (channel, leg) = tokio::join!(open.connect(), serve);
    assert!(!is_signed(&leg));
    assert!(channel.unwrap().dialled_unsigned());
}

#[tokio::test]
async fn a_second_403_is_the_answer() {
    let gateway = Gateway::new().await;
    let open = Open { credentials: Some(credentials()), ..Open::on(&gateway) };
    let serve = async {
        refuse(gateway.tcp().await, "403 Forbidden").await;
        refuse(gateway.tcp().await, "403 Forbidden").await;
    };
    let (channel, ()) = tokio::join!(open.connect(), serve);
    assert_eq!(channel.unwrap_err(), ConnectError::Refused(403));
}

#[tokio::test]
async fn other_refusals_are_told_with_their_status_and_not_tried_again() {
    for (status, code) in [("401 Unauthorized", 401), ("404 Not Found", 404), ("503 Busy", 503)] {
        let gateway = Gateway::new().await;
        let open = Open { credentials: Some(credentials()), ..Open::on(&gateway) };
        let serve = async { refuse(gateway.tcp().await, status).await };
        let (channel, _) = tokio::join!(open.connect(), serve);
        assert_eq!(channel.unwrap_err(), ConnectError::Refused(code));
    }
}

#[tokio::test]
async fn a_403_without_a_signature_is_not_tried_again() {
    let gateway = Gateway::new().await;
    let serve = async { refuse(gateway.tcp().await, "403 Forbidden").await };
    let (channel, _) = tokio::join!(Open::on(&gateway).connect(), serve);
    assert_eq!(channel.unwrap_err(), ConnectError::Refused(403));
}

#[tokio::test]
async fn a_foreign_host_is_not_dialled() {
    let gateway = Gateway::new().await;
    let mut open = Open::on(&gateway);
    open.options.extra_hosts.clear();
    let error = open.connect().await.unwrap_err();
    assert_eq!(error, ConnectError::ForeignHost(gateway.address.to_string()));
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let gateway = Gateway::new().await;
    let open = Open::on(&gateway);
    drop(gateway);
    assert!(matches!(open.connect().await, Err(ConnectError::Unreachable(_))));
}

#[tokio::test]
async fn a_host_that_does_not_speak_tls_is_unreachable() {
    let gateway = Gateway::new().await;
    let mut open = Open::on(&gateway);
    open.grant.stream_url = open.grant.stream_url.replace("ws://", "wss://");
    let serve = async { refuse_greeting(gateway.tcp().await).await };
    let (channel, ()) = tokio::join!(open.connect(), serve);
    assert!(matches!(channel, Err(ConnectError::Unreachable(_))));
}

/// Answers whatever comes first with something that is no TLS.
async fn refuse_greeting(mut tcp: TcpStream) {
    tcp.read_u8().await.unwrap();
    tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_accepts_and_never_answers_is_given_up_after_10_s() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway { address: listener.local_addr().unwrap(), listener };
    let start = tokio::time::Instant::now();
    let error = Open::on(&gateway).connect().await.unwrap_err();
    assert_eq!(error, ConnectError::Unreachable("no answer in 10 s".into()));
    assert_eq!(start.elapsed().as_secs(), Duration::from_secs(10).as_secs());
}
