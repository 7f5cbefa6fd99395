//! A gateway on loopback, an account that hands out tokens, and something to reach behind the agent.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::sessions::{Claimed, Sessions};
use crate::stream::{Fault, Options, StreamInfo, Streams, Target};

/// What the echo server says first.
pub(super) const BANNER: &[u8] = b"SSH-2.0-echo\r\n";
pub(super) const SPACE: &str = "arn:aws:sagemaker:eu-west-1:111122223333:space/d-abc/work";

/// Waits until something holds, and fails the test after ten seconds.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), waiting).await.is_ok(), "never: {what}");
}

#[derive(Default)]
pub(super) struct Account {
    tokens: Mutex<HashMap<String, (String, SocketAddr)>>,
    issued: Mutex<u32>,
    released: Mutex<Vec<String>>,
}

impl Account {
    /// Issues a single-use token.
    fn issue(&self, session_id: &str, ssh: SocketAddr) -> String {
        let mut issued = self.issued.lock().unwrap();
        *issued += 1;
        let token = format!("token-{issued}");
        self.tokens.lock().unwrap().insert(token.clone(), (session_id.to_owned(), ssh));
        token
    }

    pub(super) fn released(&self) -> Vec<String> {
        self.released.lock().unwrap().clone()
    }
}

impl Sessions for Account {
    fn authorize_open(&self, id: &str, method: &str, path: &str, _: &[(String, String)]) -> Result<(), u16> {
        assert_eq!(method, "GET");
        assert!(path.starts_with("/v1/data-channel/"), "{path}");
        if id == "forbidden" { Err(403) } else { Ok(()) }
    }

    fn claim(&self, session_id: &str, token: &str) -> Result<Claimed, String> {
        match self.tokens.lock().unwrap().remove(token) {
            Some((id, ssh)) if id == session_id => Ok(Claimed { space_arn: SPACE.to_owned(), ssh }),
            _ => Err("the token is not valid".to_owned()),
        }
    }

    fn released(&self, session_id: &str) {
        self.released.lock().unwrap().push(session_id.to_owned());
    }
}

pub(super) struct Rig {
    pub(super) streams: Streams,
    pub(super) account: Arc<Account>,
    pub(super) at: SocketAddr,
    pub(super) ssh: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Rig {
    /// A gateway in front of a server that says a banner and echoes.
    pub(super) async fn echo(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ssh = listener.local_addr().unwrap();
        let echo = spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                spawn(echo(tcp));
            }
        });
        let mut rig = Self::reaching(ssh, options).await;
        rig.tasks.push(echo);
        rig
    }

    /// A gateway in front of whatever listens there.
    pub(super) async fn reaching(ssh: SocketAddr, options: Options) -> Self {
        let account = Arc::new(Account::default());
        let streams = Streams::new(Arc::clone(&account) as Arc<dyn Sessions>, options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let router = streams.router();
        let serving = spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { streams, account, at, ssh, tasks: vec![serving] }
    }

    pub(super) fn url(&self, session_id: &str) -> String {
        format!("ws://{}/v1/data-channel/{session_id}?role=publish_subscribe&cell-number=AAEAAf+/==", self.at)
    }

    pub(super) fn token(&self, session_id: &str) -> String {
        self.account.issue(session_id, self.ssh)
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.streams.fault(Target::All, fault);
    }

    pub(super) fn info(&self, session_id: &str) -> StreamInfo {
        self.streams.stream(session_id).unwrap()
    }

    /// Fails the test if a client was seen to break the protocol.
    pub(super) fn no_violations(&self) {
        let all = self.streams.live(None).into_iter().chain(self.streams.past());
        let found = all.flat_map(|info| info.violations).collect::<Vec<_>>();
        assert!(found.is_empty(), "{found:?}");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn echo(mut tcp: TcpStream) {
    if tcp.write_all(BANNER).await.is_err() {
        return;
    }
    let (mut reader, mut writer) = tcp.split();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = reader.read(&mut buffer).await {
        // A line with only "bye" ends it, as a server that closes first.
        if buffer[..read] == *b"bye\n" || writer.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Tasks of a test end with its runtime.
#[expect(clippy::disallowed_methods, reason = "a test's tasks end with the test")]
pub(super) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}
