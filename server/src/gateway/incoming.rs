//! What a space opens towards a client, over the session's private link: its agent, and `-R`.

use std::sync::Arc;

use tracing::debug;

use super::Inner;
use super::channel::{Channel, ChannelStart};
use super::link::LinkIncoming;
use super::links::LinkRide;
use super::sessions::Live;
use super::want::{Incoming, IncomingKind, printable};
use crate::domain::record::ChannelKind;

/// Hands on what the space opens on this link, from its first use until it or the session ends.
pub(super) fn serve(inner: &Arc<Inner>, live: &Arc<Live>, ride: &LinkRide) {
    let open = Arc::clone(ride.thing());
    let Some(mut opened) = open.link.incoming() else { return };
    let (inner, live) = (Arc::clone(inner), Arc::clone(live));
    let tracker = inner.tracker.clone();
    tracker.spawn(async move {
        let hand_on = async {
            while let Some(channel) = opened.recv().await {
                let Some(ride) = inner.links.board_again(&open) else {
                    debug!(session.id = %live.id, "a channel from the space found no room");
                    continue;
                };
                // Nobody takes them any more: the rest is refused by dropping it.
                if live.incoming.send(recorded(&inner, &live, channel, ride).await).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! { () = live.cut.cancelled() => {}, () = hand_on => {} }
    });
}

async fn recorded(inner: &Inner, live: &Arc<Live>, opened: LinkIncoming, ride: LinkRide) -> Incoming {
    let stream = ride.thing().stream;
    let (kind, row, detail, channel) = match opened {
        LinkIncoming::Agent(channel) => (IncomingKind::Agent, ChannelKind::Agent, None, channel),
        LinkIncoming::RemoteForward { address, port, originator, channel } => {
            let detail = printable(&format!("{address}:{port}"));
            let kind = IncomingKind::RemoteForward { address, port, originator };
            (kind, ChannelKind::RemoteForward, Some(detail), channel)
        }
    };
    let start = ChannelStart { stream, kind: row, detail, pty: false };
    let channel = Channel::on_link(channel, ride, live, start, (&inner.journal, &inner.clock)).await;
    Incoming { kind, channel }
}
