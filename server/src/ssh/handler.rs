//! russh's callbacks. Each answers at once: whatever takes time goes to a task, since one slow callback would stop
//! every channel of the connection. Only refusals of a login and its dialogue may wait: before it there is no channel.

use std::sync::Arc;

use russh::keys::Certificate;
use russh::server::{
    Auth, ChannelOpenHandle, Handler as Callbacks, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, Pty as Mode, Sig};
use tokio::sync::oneshot;

use super::auth::Login;
use super::client::Client;
use super::forward::{self, Wish};
use super::request::Asking;
use super::slots::{Ends, Slots, known, prohibited};
use super::{channel, messages, remote};
use crate::gateway::Purpose;
use crate::gateway::flow::{Received, Windows};
use crate::gateway::link::Pty;
use crate::gateway::link::signals;
use crate::identity::certificates::Permits;

/// Why a forward is refused to the holder of a certificate without `permit-port-forwarding`.
const NOT_CERTIFIED: &str = "Your certificate does not permit it.";

/// One connection's handler.
pub(super) struct Handler {
    login: Login,
    windows: Windows,
    welcome: Option<oneshot::Sender<Arc<Client>>>,
    client: Option<Arc<Client>>,
    slots: Slots,
}

impl Handler {
    /// A handler for a connection that has proved nothing yet; `welcome` is told once it has.
    pub(super) fn new(login: Login, windows: Windows, welcome: oneshot::Sender<Arc<Client>>) -> Self {
        Self { login, windows, welcome: Some(welcome), client: None, slots: Slots::default() }
    }

    fn take_on(&mut self, channel: Channel<Msg>) -> Result<(Arc<Client>, Ends), russh::ChannelOpenFailure> {
        let client = known(self.client.as_ref())?;
        let ends = self.slots.take_on(&client, &self.windows, channel)?;
        Ok((client, ends))
    }

    /// What the client's certificate, if it came with one, lets it ask for.
    fn permits(&self) -> Permits {
        self.client.as_ref().map_or(Permits::ALL, |client| client.permits)
    }

    /// The client said what a channel is to run: a task takes over.
    fn start(&mut self, id: ChannelId, purpose: Purpose, session: &mut Session) -> Result<(), russh::Error> {
        let started = self.slots.start(id, purpose, session.handle());
        let (Some(start), Some(client)) = (started, &self.client) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        client.tasks.spawn(channel::run(client.clone(), start));
        Ok(())
    }
}

impl Drop for Handler {
    /// russh drops its handler when the connection is over. Mostly the client has been told by then; one that was
    /// cut off in the moment of its login has not.
    fn drop(&mut self) {
        if let Some(client) = &self.client {
            client.gone.cancel();
        }
    }
}

impl Callbacks for Handler {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        let answer = self.login.offered(user, offer.public_key, offer.algorithm);
        Ok(self.login.paced(user, answer).await)
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let answer = self.login.signed(user, key.public_key, key.algorithm);
        Ok(self.login.paced(user, answer).await)
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, russh::Error> {
        let answer = self.login.certified(user, certificate);
        Ok(self.login.paced(user, answer).await)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        // What was typed is no secret, and of no use.
        Ok(self.login.dialogue(user, response.is_some()).await)
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), russh::Error> {
        let client = self.login.client(session.remote_sshid(), session.handle());
        let client = client.ok_or(russh::Error::Inconsistent)?;
        client.arrive();
        self.client = Some(client.clone());
        // Without a receiver the connection is being cut.
        let _ = self.welcome.take().map(|welcome| welcome.send(client));
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        match self.take_on(channel) {
            Ok((_, ends)) => {
                self.slots.asking(ends);
                reply.accept().await;
            }
            Err(why) => reply.reject(why).await,
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host_to_connect: &str,
        port_to_connect: u32,
        originator_address: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.permits().forwarding {
            reply.reject(prohibited(&messages::not_forwarded(NOT_CERTIFIED))).await;
            return Ok(());
        }
        match self.take_on(channel) {
            Ok((client, ends)) => {
                self.slots.connected(ends.write.id(), ends.closed.clone());
                let wish = Wish {
                    host: host_to_connect.to_owned(),
                    port: port_to_connect,
                    originator: (originator_address.to_owned(), originator_port),
                };
                client.tasks.spawn(forward::run(client.clone(), wish, ends, reply));
            }
            Err(why) => reply.reject(why).await,
        }
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.reject(prohibited(&messages::not_forwarded("Unix sockets are not, use TCP."))).await;
        Ok(())
    }

    /// The client took a channel that we opened for the space. Bytes may follow at once.
    async fn channel_open_confirmation(
        &mut self,
        id: ChannelId,
        _max_packet_size: u32,
        _window_size: u32,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if let Some(client) = &self.client {
            let closed = client.gone.child_token();
            self.slots.connected(id, closed.clone());
            client.arrivals.put(id, self.windows.open(id), closed);
        }
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let window = u32::try_from(session.sender_window_size(id)).unwrap_or(u32::MAX);
        match self.windows.received(id, data, window) {
            Received::Kept | Received::Unknown => Ok(()),
            Received::OverCap => {
                tracing::warn!(connection.id = %self.login.id(), "a channel sent far more than its window");
                // What runs tells the client why, and closes.
                if self.slots.running(id).is_some() {
                    return Ok(());
                }
                self.slots.close(id);
                session.close(id)
            }
        }
    }

    fn adjust_window(&mut self, id: ChannelId, current: u32) -> u32 {
        self.windows.granted(id, current)
    }

    async fn channel_eof(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), russh::Error> {
        self.windows.eof(id);
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), russh::Error> {
        self.windows.closed(id);
        self.slots.close(id);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        pixel_width: u32,
        pixel_height: u32,
        modes: &[(Mode, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let pty =
            Pty { term: term.to_owned(), columns, rows, pixel_width, pixel_height, modes: modes.to_vec() };
        let granted = self.permits().pty && self.slots.ask(id, |asking| asking.pty(pty));
        if granted { session.channel_success(id) } else { session.channel_failure(id) }
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let granted = self.slots.ask(id, |asking| asking.env(name, value));
        if granted { session.channel_success(id) } else { session.channel_failure(id) }
    }

    async fn agent_request(&mut self, id: ChannelId, _session: &mut Session) -> Result<bool, russh::Error> {
        Ok(self.permits().agent && self.slots.ask(id, Asking::agent))
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _single_connection: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.start(id, Purpose::Shell, session)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.start(id, Purpose::Exec(command.to_vec()), session)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.start(id, Purpose::Subsystem(name.to_owned()), session)
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        pixel_width: u32,
        pixel_height: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if let Some(running) = self.slots.running(id) {
            running.resize(columns, rows, pixel_width, pixel_height);
        }
        session.channel_success(id)
    }

    async fn signal(
        &mut self,
        id: ChannelId,
        signal: Sig,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if let (Some(running), Some(name)) = (self.slots.running(id), signals::name(&signal)) {
            running.signal(name);
        }
        session.channel_success(id)
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        _session: &mut Session,
    ) -> Result<bool, russh::Error> {
        let Some(client) = self.client.as_ref().filter(|client| client.permits.forwarding) else {
            return Ok(false);
        };
        let granted = remote::forward(client, address, *port).await;
        if let Some(granted) = granted {
            *port = granted;
        }
        Ok(granted.is_some())
    }

    async fn cancel_tcpip_forward(
        &mut self,
        address: &str,
        port: u32,
        _session: &mut Session,
    ) -> Result<bool, russh::Error> {
        let Some(client) = &self.client else { return Ok(false) };
        Ok(remote::cancel(client, address, port))
    }
}
