//! `direct-tcpip` channels: jumps to a space, and forwards inside one. The gateway itself dials no host.

use std::sync::Arc;

use russh::server::ChannelOpenHandle;
use tokio::sync::watch;

use super::client::{Client, Home, Live, Nowhere};
use super::input::Input;
use super::messages::{self, Message};
use super::relay;
use super::slots::{Ends, prohibited};
use super::target::{self, Host, Named, Route};
use super::terminal::Terminal;
use crate::gateway::{Channel, FindError, OpenError, Purpose, Want};

/// Where a client wants a connection to.
pub(super) struct Wish {
    pub(super) host: String,
    pub(super) port: u32,
    pub(super) originator: (String, u32),
}

/// Opens what the client asked for and relays it to its end.
pub(super) async fn run(client: Arc<Client>, wish: Wish, ends: Ends, reply: ChannelOpenHandle) {
    let Ends { write, inbound, slot, closed } = ends;
    let over = closed.clone().drop_guard();
    let terminal = Terminal::new(write, client.handle.clone(), None);
    let mut input = Input::new(inbound);
    let served = async {
        match open(&client, &wish).await {
            Err(why) => reply.reject(prohibited(&why)).await,
            Ok((live, channel)) => {
                let _counted = live.channels.token();
                reply.accept().await;
                relay::relay(channel, &terminal, &mut input, None, &client, &live).await;
                // The client is gone anyway where this fails.
                let _ = terminal.close().await;
            }
        }
    };
    tokio::select! {
        () = closed.cancelled() => {}
        () = served => {}
    }
    drop((over, slot));
}

/// Finds out which way it goes, and opens it.
async fn open(client: &Arc<Client>, wish: &Wish) -> Result<(Arc<Live>, Channel), Message> {
    let suffix = &client.shared.settings.jump_suffix;
    let host = Host::read(&wish.host, Some(suffix));
    let home = match host {
        // What is marked is a jump, wherever the login name leads.
        Host::Marked(_) => None,
        Host::Plain(name) => home_space(client, name).await?,
    };
    match host.route(home.is_some()).map_err(Nowhere::Malformed) {
        Ok(Route::Forward) => match home {
            Some(live) => forward(client, live, wish).await,
            None => Err(messages::not_forwarded("Your login name leads to no space.")),
        },
        Ok(Route::Jump(target)) => {
            let (Host::Marked(name) | Host::Plain(name)) = host;
            let live = client.jump(&target).await.map_err(|nowhere| client.nowhere(&nowhere, name))?;
            let channel = live.session.open_jump().await.map_err(|error| failed(client, &live, &error))?;
            Ok((live, channel))
        }
        Err(nowhere) => Err(client.nowhere(&nowhere, &wish.host)),
    }
}

/// The space of the login name, or none if it is none of the person's; an answer that could be either is an error.
async fn home_space(client: &Arc<Client>, host: &str) -> Result<Option<Arc<Live>>, Message> {
    // A jump host's login name is nobody's space. Where the host itself is one, there is nothing to look up, and no
    // refusal to write down for a name that was never asked for.
    let is_space = |name: &str| !matches!(target::named(name, &client.spaces()), Named::Nothing);
    if client.home_so_far().await.is_none() && !is_space(&client.login) && is_space(host) {
        return Ok(None);
    }
    match client.home().await {
        Home::Space(live) => Ok(Some(live.clone())),
        Home::CommandLine | Home::Nowhere(Nowhere::Malformed(_)) => Ok(None),
        Home::Nowhere(Nowhere::Find(FindError::Unknown { .. } | FindError::Denied { .. })) => Ok(None),
        Home::Nowhere(nowhere) => Err(client.nowhere(nowhere, &client.login)),
    }
}

async fn forward(client: &Client, live: Arc<Live>, wish: &Wish) -> Result<(Arc<Live>, Channel), Message> {
    let port = |port: u32| u16::try_from(port).ok();
    let (Some(to), Some(from)) = (port(wish.port), port(wish.originator.1)) else {
        return Err(messages::not_forwarded("That is not a port."));
    };
    let originator = (wish.originator.0.clone(), from);
    let purpose = Purpose::Forward { host: wish.host.clone(), port: to, originator };
    let want = Want { purpose, pty: None, env: Vec::new(), agent: false };
    let (progress, _) = watch::channel(None);
    let channel = live.session.open(want, &progress).await.map_err(|error| failed(client, &live, &error))?;
    Ok((live, channel))
}

fn failed(client: &Client, live: &Live, error: &OpenError) -> Message {
    tracing::info!(
        connection.id = %client.connection.id,
        session.id = %live.session.id(),
        reason = error.code(),
        error = ?error,
        "a forward was not opened"
    );
    let shared = &client.shared;
    messages::open_failed(error, live.space_name(), shared.clock.now(), &shared.address)
}
