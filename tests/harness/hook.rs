//! A receiver of webhooks on loopback that answers as it is told and keeps what it got.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Answers with this status, these headers and this text.
    Status(u16, &'static str, &'static str),
    /// Never answers.
    Silence,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// `POST /path HTTP/1.1`.
    pub line: String,
    /// By name in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: String,
}

/// A running receiver. Dropping it ends it.
pub struct HookSink {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    accepting: JoinHandle<()>,
}

impl HookSink {
    /// Answers the first requests like this, and later ones like the last of these.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(answers: Vec<Answer>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (kept, answers) = (Arc::clone(&requests), Arc::new(Mutex::new(VecDeque::from(answers))));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, Arc::clone(&kept), Arc::clone(&answers)));
            }
        });
        Ok(Self { address, requests, accepting })
    }

    /// An address of it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it got so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for HookSink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    client: TcpStream,
    kept: Arc<Mutex<Vec<Request>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
) -> Result<()> {
    let mut client = BufReader::new(client);
    let request = read(&mut client).await?;
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    let answer = {
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        let last = answers.len() <= 1;
        if last { answers.front().cloned() } else { answers.pop_front() }
    };
    match answer.context("it was told how to answer")? {
        Answer::Status(status, headers, text) => {
            let length = text.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
            );
            client.write_all(format!("{head}{text}").as_bytes()).await?;
            client.shutdown().await?;
        }
        // Until the client goes away.
        Answer::Silence => drop(client.read_to_end(&mut Vec::new()).await),
    }
    Ok(())
}

async fn read(client: &mut BufReader<TcpStream>) -> Result<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await?;
        ensure!(line.ends_with("\r\n"), "a line of the head ends with CRLF");
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let mut lines = lines.into_iter();
    let line = lines.next().context("a request has a first line")?;
    let header =
        |line: String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: HashMap<_, _> = lines.filter_map(header).collect();
    let length: usize = headers.get("content-length").context("content-length")?.parse()?;
    let mut body = vec![0; length];
    client.read_exact(&mut body).await?;
    Ok(Request { line, headers, body: String::from_utf8(body)? })
}
