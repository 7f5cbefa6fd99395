//! russh's callbacks. None of them waits for a reader.

use std::sync::Arc;

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelId, ChannelOpenFailure, Error, Sig};

use super::channel::SpaceChannel;
use super::queue::{OutputQueue, Push};
use super::signals;
use super::{LinkIncoming, Output, Parts};

/// Owned by russh's task; dropped with it, however that ends.
pub(super) struct LinkHandler {
    pub(super) parts: Parts,
}

impl Drop for LinkHandler {
    fn drop(&mut self) {
        self.parts.registry.end();
    }
}

impl LinkHandler {
    /// Keeps output. Waits for the disk, if at all, and never for a reader.
    async fn keep(&self, id: ChannelId, session: &mut Session, put: impl FnOnce(&OutputQueue) -> Push) {
        let Some(entry) = self.parts.registry.get(id) else { return };
        match put(&entry.queue) {
            Push::Kept | Push::Ignored => (),
            Push::Overflows => {
                let moved = Arc::clone(&entry);
                self.parts.tracker.spawn(async move { moved.queue.move_to_and_fro().await });
            }
            Push::Full => entry.queue.room().await,
            Push::Cut => {
                entry.close();
                // An error means that the channel is closed already.
                let _ = session.close(id);
            }
        }
        self.parts.registry.weigh();
    }

    /// Hands a channel of the space's to whoever takes them.
    async fn hand_out(
        &self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        kind: impl FnOnce(SpaceChannel) -> LinkIncoming,
    ) {
        let Some(room) = self.parts.registry.room_for_incoming() else {
            return reply.reject(ChannelOpenFailure::ResourceShortage).await;
        };
        let channel = SpaceChannel::incoming(channel, &self.parts);
        reply.accept().await;
        room.send(kind(channel));
    }
}

impl Handler for LinkHandler {
    type Error = Error;

    /// Any key will do: a space makes a new one each run, so there is none to compare with, and who answers is known
    /// from elsewhere: the stream was opened for this very space by a signed call and runs over TLS to AWS.
    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Error> {
        Ok(true)
    }

    async fn channel_open_confirmation(
        &mut self,
        id: ChannelId,
        _max_packet: u32,
        _window: u32,
        _session: &mut Session,
    ) -> Result<(), Error> {
        self.parts.registry.add(id);
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Error> {
        self.keep(id, session, |queue| queue.push(None, data)).await;
        Ok(())
    }

    async fn extended_data(
        &mut self,
        id: ChannelId,
        code: u32,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        self.keep(id, session, |queue| queue.push(Some(code), data)).await;
        Ok(())
    }

    async fn exit_status(&mut self, id: ChannelId, status: u32, session: &mut Session) -> Result<(), Error> {
        self.keep(id, session, |queue| queue.push_event(Output::ExitStatus(status))).await;
        Ok(())
    }

    async fn exit_signal(
        &mut self,
        id: ChannelId,
        signal: Sig,
        core_dumped: bool,
        message: &str,
        _language: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        // A made-up name with control characters in it is nobody's to pass on.
        let name = signals::name(&signal).unwrap_or_default().to_owned();
        let message = message.to_owned();
        let event = Output::ExitSignal { name, core_dumped, message };
        self.keep(id, session, |queue| queue.push_event(event)).await;
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        self.keep(id, session, |queue| queue.push_event(Output::Eof)).await;
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Error> {
        if let Some(entry) = self.parts.registry.get(id) {
            entry.close();
        }
        Ok(())
    }

    async fn channel_success(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Error> {
        if let Some(entry) = self.parts.registry.get(id) {
            entry.answer(true);
        }
        Ok(())
    }

    async fn channel_failure(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Error> {
        if let Some(entry) = self.parts.registry.get(id) {
            entry.answer(false);
        }
        Ok(())
    }

    async fn window_adjusted(
        &mut self,
        id: ChannelId,
        _window: u32,
        _session: &mut Session,
    ) -> Result<(), Error> {
        if let Some(entry) = self.parts.registry.get(id) {
            entry.window.notify_one();
        }
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        self.hand_out(channel, reply, LinkIncoming::Agent).await;
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        address: &str,
        port: u32,
        originator: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        let (address, originator) = (address.to_owned(), (originator.to_owned(), originator_port));
        let kind = |channel| LinkIncoming::RemoteForward { address, port, originator, channel };
        self.hand_out(channel, reply, kind).await;
        Ok(())
    }

    // russh accepts what follows unless told otherwise; a space has no business opening any of it.

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Error>) -> Result<(), Error> {
        tracing::debug!(?reason, "the SSH connection to the space is over");
        Ok(())
    }
}
