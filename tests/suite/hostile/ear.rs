//! An SSH client that sends what it is told to, as OpenSSH would not, and hears everything that a server says.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use russh::client::{
    self, AuthResult, Config, DisconnectReason, Handle, KeyboardInteractiveAuthResponse as Dialogue, Msg,
    Session,
};
use russh::keys::{Certificate, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, SshId};

use super::is_plain;

/// How long a server may take with an answer.
const LIMIT: Duration = Duration::from_secs(90);

/// Everything that was heard, by what it was.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<Piece>>>);

/// Something that was heard, and in answer to what.
struct Piece {
    what: String,
    said: Vec<u8>,
}

impl Heard {
    fn note(&self, what: &str, said: impl AsRef<[u8]>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Piece { what: what.to_owned(), said: said.as_ref().to_vec() });
    }

    /// Fails if anything of it is obeyed by terminals. Answers how many pieces were heard.
    pub(super) fn are_plain(&self) -> Result<usize> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for Piece { what, said } in all.iter() {
            is_plain(what, said)?;
        }
        Ok(all.len())
    }
}

/// A connection's callbacks.
struct Ear(Heard);

impl client::Handler for Ear {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }

    async fn auth_banner(&mut self, banner: &str, _session: &mut Session) -> Result<(), russh::Error> {
        self.0.note("a banner", banner);
        Ok(())
    }

    async fn channel_open_failure(
        &mut self,
        _channel: ChannelId,
        _reason: ChannelOpenFailure,
        description: &str,
        _language: &str,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.0.note("a channel's refusal", description);
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        if let DisconnectReason::ReceivedDisconnect(told) = reason {
            self.0.note("the farewell", told.message);
        }
        Ok(())
    }
}

/// What the gateway writes when it rings for words of its own.
const RINGS: &[u8] = b"\x07\r\nspaceport: ";

/// Without the bells that are meant: one before each of the gateway's own messages.
fn without_bells(mut out: Vec<u8>) -> Vec<u8> {
    while let Some(at) = out.windows(RINGS.len()).position(|piece| piece == RINGS) {
        out.remove(at);
    }
    out
}

/// A client that is connected.
pub(super) struct Caller {
    handle: Handle<Ear>,
    pub(super) heard: Heard,
}

/// What a command came to.
pub(super) struct Answer {
    pub(super) out: String,
    pub(super) status: Option<u32>,
}

impl Caller {
    /// Connects under a name that the client gives itself.
    pub(super) async fn connect(to: SocketAddr, name: &str, heard: &Heard) -> Result<Self> {
        let client_id = SshId::Raw(Cow::Owned(format!("SSH-2.0-{name}\r\n")));
        let config = Arc::new(Config { client_id, ..Config::default() });
        let connecting = client::connect(config, to, Ear(heard.clone()));
        let handle = tokio::time::timeout(LIMIT, connecting).await.context("a connection")??;
        Ok(Self { handle, heard: heard.clone() })
    }

    /// Logs in with a key; whether that was enough.
    pub(super) async fn log_in(&mut self, login: &str, key: &Arc<PrivateKey>) -> Result<bool> {
        let key = PrivateKeyWithHashAlg::new(key.clone(), None);
        let answer = tokio::time::timeout(LIMIT, self.handle.authenticate_publickey(login, key)).await??;
        Ok(matches!(answer, AuthResult::Success))
    }

    /// Logs in with a certificate; whether that was enough.
    pub(super) async fn certify(&mut self, login: &str, key: &Arc<PrivateKey>, line: &str) -> Result<bool> {
        let certificate = Certificate::from_openssh(line)?;
        let asked = self.handle.authenticate_openssh_cert(login, key.clone(), certificate);
        Ok(matches!(tokio::time::timeout(LIMIT, asked).await??, AuthResult::Success))
    }

    /// The dialogue for somebody whose key is unknown, as far as its first question. Whether one was asked.
    pub(super) async fn ask_in(&mut self, login: &str) -> Result<bool> {
        let asked = self.handle.authenticate_keyboard_interactive_start(login, None);
        match tokio::time::timeout(LIMIT, asked).await?? {
            Dialogue::InfoRequest { name, instructions, prompts } => {
                self.heard.note("a dialogue's name", name);
                self.heard.note("a dialogue's words", instructions);
                for prompt in &prompts {
                    self.heard.note("a question", &prompt.prompt);
                }
                Ok(!prompts.is_empty())
            }
            Dialogue::Success | Dialogue::Failure { .. } => Ok(false),
        }
    }

    /// A channel for commands.
    pub(super) async fn channel(&self) -> Result<Channel<Msg>> {
        Ok(tokio::time::timeout(LIMIT, self.handle.channel_open_session()).await??)
    }

    /// Runs a command, on a terminal or without one, and hears it out.
    pub(super) async fn run(&self, command: &[u8], pty: bool) -> Result<Answer> {
        let channel = self.channel().await?;
        if pty {
            channel.request_pty(false, "xterm", 80, 24, 0, 0, &[]).await?;
        }
        channel.exec(true, command).await?;
        let what = String::from_utf8_lossy(command).into_owned();
        tokio::time::timeout(LIMIT, self.hear_out(&what, channel))
            .await
            .with_context(|| format!("{what:?}"))?
    }

    /// Hears a channel to its end.
    pub(super) async fn hear_out(&self, what: &str, mut channel: Channel<Msg>) -> Result<Answer> {
        let (mut out, mut err, mut status) = (Vec::new(), Vec::new(), None);
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => out.extend_from_slice(&data),
                ChannelMsg::ExtendedData { data, .. } => err.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                ChannelMsg::ExitSignal { error_message, .. } => self.heard.note("a signal", error_message),
                _ => {}
            }
        }
        ensure!(!out.is_empty() || !err.is_empty() || status.is_some(), "{what:?} got no answer");
        let out = without_bells(out);
        self.heard.note(&format!("the answer to {what:?}"), &out);
        self.heard.note(&format!("the warnings of {what:?}"), &err);
        let out = String::from_utf8_lossy(&out).into_owned() + &String::from_utf8_lossy(&err);
        Ok(Answer { out, status })
    }

    /// Asks for a forward to a host. Whether it was opened.
    pub(super) async fn forward(&self, host: &str) -> Result<bool> {
        let asked = self.handle.channel_open_direct_tcpip(host, 22, host, 1);
        Ok(tokio::time::timeout(LIMIT, asked).await.context("a forward")?.is_ok())
    }

    /// Asks for a listener on an address. Whether there is one.
    pub(super) async fn listen(&self, address: &str) -> Result<bool> {
        let asked = self.handle.tcpip_forward(address, 0);
        Ok(tokio::time::timeout(LIMIT, asked).await.context("a listener")?.is_ok())
    }
}
