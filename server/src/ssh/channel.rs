//! The task of one session channel: a shell, a command or a subsystem.

use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, Home, Live};
use super::command;
use super::messages::{self, Message};
use super::opening::{NotOpened, Opening};
use super::relay::{self, Over};
use super::request::{Requests, Start};
use super::terminal::{Gone, Terminal};
use crate::gateway::Want;

/// What we exit with where the way to the space was lost or taken away, as `ssh` itself would.
const LOST: u32 = 255;
/// How long a person may take to read the last words: a client that does not take them must not hold the end up.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long after a silent close the reason for it may come.
const REASON: Duration = Duration::from_secs(2);

/// Runs a channel to its end. Ends early once the client closes it.
pub(super) async fn run(client: Arc<Client>, start: Start) {
    let Start { terminal, input, want, requests, closed, slot } = start;
    let over = closed.clone().drop_guard();
    tokio::select! {
        () = closed.cancelled() => {}
        _ = serve(&client, &terminal, input, want, requests) => {}
    }
    drop((over, slot));
}

async fn serve(
    client: &Arc<Client>,
    terminal: &Terminal,
    mut input: super::input::Input,
    want: Want,
    requests: Requests,
) -> Result<(), Gone> {
    let live = match client.home().await {
        Home::CommandLine => return command::run(client, terminal, &mut input, &want.purpose).await,
        Home::Nowhere(nowhere) => {
            terminal.say(&client.nowhere(nowhere, &client.login)).await?;
            return terminal.finish(nowhere.status()).await;
        }
        Home::Space(live) => live,
    };
    let _counted = live.channels.token();
    let opening = Opening { client, live, terminal, input: &mut input };
    let channel = match opening.open(want).await {
        Ok(channel) => channel,
        Err(NotOpened::Status(status)) => return terminal.finish(status).await,
        Err(NotOpened::Gone) => return Err(Gone),
    };
    // Whoever waits for the space to be up need not wait any longer; only the first tells.
    let _ = client.reached.set(());
    match relay::relay(channel, terminal, &mut input, Some(requests), client, live).await {
        Over::Gone => match input.cut() {
            Some(cut) => last_words(client, terminal, &messages::cut_off(cut)).await,
            None => Err(Gone),
        },
        Over::Closed { status: true } => terminal.close().await,
        Over::Closed { status: false } => closed_silently(client, terminal, live).await,
        Over::Ended(reason) => say_farewell(client, terminal, live, &reason).await,
    }
}

/// The space closed the channel without a status: mostly since the way to it broke, which the session says soon.
/// Otherwise what came may be cut short; without a status some clients would report success.
async fn closed_silently(client: &Client, terminal: &Terminal, live: &Live) -> Result<(), Gone> {
    tokio::select! {
        reason = live.ended() => say_farewell(client, terminal, live, &reason).await,
        () = client.shared.clock.sleep(REASON) => terminal.finish(LOST).await,
    }
}

/// Tells a person why the session is over, and closes.
async fn say_farewell(
    client: &Client,
    terminal: &Terminal,
    live: &Live,
    reason: &crate::domain::ending::EndReason,
) -> Result<(), Gone> {
    last_words(client, terminal, &client.farewell(reason, live).await).await
}

/// Says something and closes, whether or not the client takes it.
async fn last_words(client: &Client, terminal: &Terminal, words: &Message) -> Result<(), Gone> {
    let goodbye = async {
        if terminal.pty {
            // Whatever ran may have left the cursor inside a line.
            terminal.notice("\r\n".to_owned()).await?;
        }
        terminal.say(words).await?;
        terminal.finish(LOST).await
    };
    tokio::select! {
        outcome = goodbye => outcome,
        () = client.shared.clock.sleep(FAREWELL) => terminal.close().await,
    }
}
