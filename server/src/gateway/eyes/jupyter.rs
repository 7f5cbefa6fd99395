//! The Jupyter server of a space, asked over a connection inside it. It trusts whoever is there.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};

use super::Blind;
use crate::domain::probe::{self, Jupyter};
use crate::gateway::link::{Link, Output, SpaceChannel};

/// Where it listens (SageMaker Distribution, start script of JupyterLab). `no_track_activity`: being asked is nothing that
/// the server takes for activity of its own (Jupyter Server, `activity`).
const PORT: u16 = 8888;
const KERNELS: &str = "/jupyterlab/default/api/kernels?no_track_activity=1";
const TERMINALS: &str = "/jupyterlab/default/api/terminals?no_track_activity=1";
/// What waits between the channel and HTTP.
const BUFFER: usize = 16 * 1024;

/// Asks for its kernels and terminals, over one connection.
pub(super) async fn ask(link: &Link) -> Result<Jupyter, Blind> {
    let channel = link.open_tcp("127.0.0.1", PORT, ("127.0.0.1", 0)).await;
    let channel = channel.map_err(|error| Blind::Jupyter(error.to_string()))?;
    let (near, far) = duplex(BUFFER);
    let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await.map_err(broken)?;
    let questions = async {
        let kernels = get(&mut sender, KERNELS).await?;
        let kernels = kernels.ok_or_else(|| Blind::Jupyter(format!("it knows no {KERNELS}")))?;
        // A server may be set up without terminals.
        Ok::<_, Blind>((kernels, get(&mut sender, TERMINALS).await?))
    };
    let (kernels, terminals) = tokio::select! {
        answers = questions => answers?,
        never = async {
            // The end of either ends the question that waits for it.
            let _ = tokio::join!(connection, carry(channel, far));
            std::future::pending().await
        } => never,
    };
    let kernels = probe::kernels(&kernels)?;
    let terminals = terminals.as_deref().map(probe::terminals).transpose()?;
    Ok(Jupyter { kernels, terminals: terminals.unwrap_or_default() })
}

/// What a path answers; nothing if there is no such thing.
async fn get(sender: &mut SendRequest<Empty<Bytes>>, path: &str) -> Result<Option<Bytes>, Blind> {
    let request = Request::get(path).header(HOST, "localhost").header(ACCEPT, "application/json");
    let request = request.body(Empty::new()).map_err(broken)?;
    sender.ready().await.map_err(broken)?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        status => return Err(Blind::Jupyter(format!("it answered {path} with {}", status.as_u16()))),
    }
    let body = Limited::new(answer.into_body(), probe::LONGEST_LIST).collect().await;
    body.map(|body| Some(body.to_bytes())).map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> Blind {
    Blind::Jupyter(error.to_string())
}

/// Carries bytes both ways until one side has no more.
async fn carry(channel: SpaceChannel, far: DuplexStream) {
    let (input, mut output) = channel.split();
    let (mut from_http, mut to_http) = split(far);
    let up = async {
        let mut buffer = BytesMut::with_capacity(BUFFER);
        while matches!(from_http.read_buf(&mut buffer).await, Ok(1..)) {
            if input.data(buffer.split().freeze()).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        while let Some(next) = output.next().await {
            let Output::Data(bytes) = next else { continue };
            if to_http.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = to_http.shutdown().await;
    };
    tokio::join!(up, down);
}
