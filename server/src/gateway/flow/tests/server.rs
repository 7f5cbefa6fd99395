//! A small SSH server that uses the windows as the product does. What a channel's far end does is named by the
//! command: it stands for a space that is slow, deaf or talkative.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::keys::{PrivateKey, load_secret_key};
use russh::server::{self, Auth, ChannelOpenHandle, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelWriteHalf, Error};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};

use crate::gateway::flow::{FlowLimits, Inbound, ProcessBudget, Received, Windows, server_config};
use crate::gateway::link::tests::sshd::Sshd;

const MIB: usize = 1024 * 1024;
/// What a slow space takes, as Session Manager does.
const SLOW: f64 = 14e6;

/// A running server.
pub(super) struct Gate {
    pub(super) address: SocketAddr,
    pub(super) budget: ProcessBudget,
}

impl Gate {
    /// Listens, and takes the keys of `sshd` for its own.
    pub(super) async fn start(keys: &Sshd, limits: FlowLimits, budget: ProcessBudget) -> Self {
        Self::configured(keys, limits, budget, |config| config).await
    }

    pub(super) async fn configured(
        keys: &Sshd,
        limits: FlowLimits,
        budget: ProcessBudget,
        adjust: impl FnOnce(server::Config) -> server::Config,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let host = load_secret_key(keys.path("host"), None).unwrap();
        let base = server::Config {
            keys: vec![host],
            auth_rejection_time_initial: Some(Duration::ZERO),
            ..server::Config::default()
        };
        let config = Arc::new(adjust(server_config(base)));
        let user = Arc::new(load_secret_key(keys.path("user"), None).unwrap());
        let process = budget.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                let windows = Windows::new(limits.clone(), process.clone());
                let socket = windows.socket(socket);
                let client = Client { windows, user: Arc::clone(&user), channels: HashMap::new() };
                let config = Arc::clone(&config);
                tokio::spawn(async move { server::run_stream(config, socket, client).await?.await });
            }
        });
        Self { address, budget }
    }
}

struct Client {
    windows: Windows,
    user: Arc<PrivateKey>,
    channels: HashMap<ChannelId, (Inbound, ChannelWriteHalf<Msg>)>,
}

impl Handler for Client {
    type Error = Error;

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        let known = key.public_key.key_data() == self.user.public_key().key_data();
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        if !self.windows.accepts_channels() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let id = channel.id();
        let (_, write) = channel.split();
        self.channels.insert(id, (self.windows.open(id), write));
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        let Some((inbound, write)) = self.channels.remove(&id) else { return Ok(()) };
        session.channel_success(id)?;
        let command = String::from_utf8(command.to_vec()).unwrap();
        tokio::spawn(pump(inbound, write, command));
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Error> {
        let window = session.sender_window_size(id) as u32;
        // Over its cap, the channel is closed by its pump, after the reason.
        let _: Received = self.windows.received(id, data, window);
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Error> {
        self.windows.eof(id);
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Error> {
        self.windows.closed(id);
        Ok(())
    }

    fn adjust_window(&mut self, id: ChannelId, current: u32) -> u32 {
        self.windows.granted(id, current)
    }
}

async fn pump(mut inbound: Inbound, write: ChannelWriteHalf<Msg>, command: String) {
    let gone = inbound.gone();
    tokio::select! {
        result = far_end(&mut inbound, &write, &command) => {
            if result.is_ok() {
                let _ = write.exit_status(0).await;
            }
        }
        () = gone => {
            if let Some(cut) = inbound.cut() {
                let _ = write.extended_data_bytes(1, format!("{cut}\n").into_bytes()).await;
                let _ = write.exit_status(1).await;
            }
        }
    }
    let _ = write.close().await;
}

async fn far_end(inbound: &mut Inbound, write: &ChannelWriteHalf<Msg>, command: &str) -> Result<(), Error> {
    let mut words = command.split(' ');
    let word = words.next().unwrap_or_default();
    let mib: usize = words.next().and_then(|n| n.parse().ok()).unwrap_or_default();
    match word {
        "deaf" => std::future::pending().await,
        "echo" => {
            while let Some(data) = inbound.pop().await {
                write.data_bytes(data).await?;
            }
        }
        "source" => source(write, mib).await?,
        // Writes all of its own before it reads the first byte.
        "talker" => {
            source(write, mib).await?;
            sum(inbound, write, f64::INFINITY).await?;
        }
        "sum" => sum(inbound, write, f64::INFINITY).await?,
        "slow-sum" => sum(inbound, write, SLOW).await?,
        _ => write.data_bytes(command.as_bytes().to_vec()).await?,
    }
    Ok(())
}

async fn source(write: &ChannelWriteHalf<Msg>, mib: usize) -> Result<(), Error> {
    let zeros = Bytes::from(vec![0; 32 * 1024]);
    for _ in 0..mib * MIB / zeros.len() {
        write.data_bytes(zeros.clone()).await?;
    }
    Ok(())
}

/// Takes all at some rate and answers with the digest.
async fn sum(inbound: &mut Inbound, write: &ChannelWriteHalf<Msg>, rate: f64) -> Result<(), Error> {
    let (mut digest, mut due) = (Sha256::new(), Instant::now());
    while let Some(data) = inbound.pop().await {
        due += Duration::from_secs_f64(data.len() as f64 / rate);
        digest.update(&data);
        sleep_until(due).await;
    }
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    write.data_bytes(hex.into_bytes()).await
}
