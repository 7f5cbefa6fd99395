//! The channels of one connection, as its handler knows them.

use std::collections::HashMap;
use std::sync::Arc;

use russh::server::{Handle, Msg};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelWriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::messages::{self, Message};
use super::request::{Asking, Running, Start};
use crate::gateway::Purpose;
use crate::gateway::flow::{Inbound, Windows};

/// The reason code of a refused channel whose text is ours (RFC 4254 section 5.1: administratively prohibited).
const PROHIBITED: u32 = 1;

/// The parts of a channel that a task works with.
pub(super) struct Ends {
    pub(super) write: ChannelWriteHalf<Msg>,
    pub(super) inbound: Inbound,
    pub(super) slot: OwnedSemaphorePermit,
    /// Cancelled when the channel or its connection is over.
    pub(super) closed: CancellationToken,
}

/// A channel before and after the client said what it is for.
enum Slot {
    Asking(Asking),
    Running(Running),
}

/// The channels of a connection.
#[derive(Default)]
pub(super) struct Slots(HashMap<ChannelId, Slot>);

impl Slots {
    /// Takes a new channel on, or says why not. Its queue is registered before the client may send.
    pub(super) fn take_on(
        &mut self,
        client: &Client,
        windows: &Windows,
        channel: Channel<Msg>,
    ) -> Result<Ends, ChannelOpenFailure> {
        // russh does not report the close of a channel that we closed first.
        self.0.retain(|_, slot| !matches!(slot, Slot::Running(running) if running.is_over()));
        let Some(slot) = client.slot() else {
            let limit = client.shared.settings.max_channels_per_connection;
            return Err(prohibited(&messages::too_many_channels(limit)));
        };
        let id = channel.id();
        let (read, write) = channel.split();
        // With its own queue closed, russh never waits for this channel.
        drop(read);
        Ok(Ends { write, inbound: windows.open(id), slot, closed: client.gone.child_token() })
    }

    /// A session channel, which is told later what to run.
    pub(super) fn asking(&mut self, ends: Ends) {
        self.0.insert(ends.write.id(), Slot::Asking(Asking::new(ends)));
    }

    /// A channel that runs at once and takes no requests.
    pub(super) fn connected(&mut self, id: ChannelId, closed: CancellationToken) {
        self.0.insert(id, Slot::Running(Running::without_requests(closed)));
    }

    /// What a channel that runs nothing yet makes of a request; `false` for any other.
    pub(super) fn ask(&mut self, id: ChannelId, heard: impl FnOnce(&mut Asking) -> bool) -> bool {
        match self.0.get_mut(&id) {
            Some(Slot::Asking(asking)) => heard(asking),
            Some(Slot::Running(_)) | None => false,
        }
    }

    /// The client said what a channel is to run; nothing if it had said so before.
    pub(super) fn start(&mut self, id: ChannelId, purpose: Purpose, handle: Handle) -> Option<Start> {
        match self.0.remove(&id)? {
            Slot::Asking(asking) => {
                let (start, running) = asking.start(purpose, handle);
                self.0.insert(id, Slot::Running(running));
                Some(start)
            }
            running @ Slot::Running(_) => {
                self.0.insert(id, running);
                None
            }
        }
    }

    /// A running channel.
    pub(super) fn running(&self, id: ChannelId) -> Option<&Running> {
        match self.0.get(&id) {
            Some(Slot::Running(running)) => Some(running),
            Some(Slot::Asking(_)) | None => None,
        }
    }

    /// The channel is closed: its task ends.
    pub(super) fn close(&mut self, id: ChannelId) {
        match self.0.remove(&id) {
            Some(Slot::Asking(asking)) => asking.close(),
            Some(Slot::Running(running)) => running.close(),
            None => {}
        }
    }
}

/// A refused channel, in our words.
pub(super) fn prohibited(message: &Message) -> ChannelOpenFailure {
    ChannelOpenFailure::Other { code: PROHIBITED, reason: message.one_line() }
}

/// The client of a handler whose connection is authenticated, which it is before any channel can be asked for.
pub(super) fn known(client: Option<&Arc<Client>>) -> Result<Arc<Client>, ChannelOpenFailure> {
    client.cloned().ok_or(ChannelOpenFailure::AdministrativelyProhibited)
}
