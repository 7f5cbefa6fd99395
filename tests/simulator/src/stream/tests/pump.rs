//! A TCP port that leads through a stream, so that OpenSSH can be pointed at it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as Frame;

use super::client::Client;
use super::rig::{Rig, spawn};
use crate::stream::clock::now_ms;
use crate::stream::frame::{Message, kind, payload};
use crate::stream::words::acknowledge;

const CHUNK: usize = 8 * 1024;
const WINDOW: usize = 64;

/// Listens; each connection becomes a session of its own.
pub(super) async fn listen(rig: Arc<Rig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    spawn(async move {
        let mut number = 0;
        while let Ok((tcp, _)) = listener.accept().await {
            number += 1;
            let client = Client::ready(&rig, &format!("ssh-{number}")).await;
            spawn(pump(client, tcp));
        }
    });
    at
}

async fn pump(mut client: Client, mut tcp: TcpStream) {
    let (mut reader, mut writer) = tcp.split();
    let mut expected = 2;
    let mut parked = BTreeMap::new();
    let mut unacked: VecDeque<Message> = VecDeque::new();
    let mut resend = tokio::time::interval(Duration::from_millis(50));
    let mut buffer = vec![0; CHUNK];
    loop {
        tokio::select! {
            read = reader.read(&mut buffer), if unacked.len() < WINDOW => match read {
                Ok(read @ 1..) => {
                    let body = Bytes::copy_from_slice(&buffer[..read]);
                    unacked.push_back(client.send(payload::OUTPUT, body).await);
                }
                _ => {
                    client.send(payload::FLAG, &[0, 0, 0, 2][..]).await;
                    return;
                }
            },
            _ = resend.tick() => if let Some(head) = unacked.front() {
                client.socket.send(Frame::Binary(head.encode())).await.unwrap();
            },
            frame = client.socket.next() => {
                let Some(Ok(Frame::Binary(frame))) = frame else { return };
                let message = Message::decode(&frame).unwrap();
                match message.kind.as_str() {
                    kind::ACKNOWLEDGE => {
                        let sequence = super::client::acked(&message);
                        unacked.retain(|sent| sent.sequence != sequence);
                    }
                    kind::OUTPUT => {
                        client.put(&acknowledge(&message, now_ms())).await;
                        if message.sequence >= expected {
                            parked.insert(message.sequence, message.payload);
                        }
                        while let Some(body) = parked.remove(&expected) {
                            expected += 1;
                            if writer.write_all(&body).await.is_err() {
                                return;
                            }
                        }
                    }
                    kind::CHANNEL_CLOSED => return,
                    _ => {}
                }
            }
        }
    }
}
