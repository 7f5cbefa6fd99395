//! The gateway's own command line: what `ssh spaceport@gateway COMMAND` answers.

mod space;

use std::sync::Arc;

use tracing::debug;

use super::client::{Client, Credential};
use super::input::Input;
use super::messages::{self, Message, ProvenBy};
use super::target;
use super::terminal::{Gone, Terminal};
use super::words::words;
use crate::domain::names::shortest;
use crate::domain::user::User;
use crate::gateway::Purpose;
use crate::identity::MyKeys;

/// The exit status of a command that does not exist or was given nonsense, as shells have it.
const USAGE: u32 = 2;

/// The exit status of a command that was understood and not done.
const REFUSED: u32 = 1;

/// What a command came to.
enum Answer {
    Text(String),
    /// With an exit status of its own.
    Status(String, u32),
    /// A change that everybody takes in once the answer is out: it may be the end of this very connection.
    Changed(String),
    /// Nonsense.
    Misused(Message),
    /// Not done.
    Refused(Message),
}

/// One command, and where it is answered.
struct Asked<'a> {
    client: &'a Client,
    terminal: &'a Terminal,
    input: &'a mut Input,
}

/// Answers one command, or the wish for a shell, which gets the help.
pub(super) async fn run(
    client: &Client,
    terminal: &Terminal,
    input: &mut Input,
    purpose: &Purpose,
) -> Result<(), Gone> {
    let answer = match purpose {
        Purpose::Exec(command) => {
            Asked { client, terminal, input }.answer(&String::from_utf8_lossy(command)).await?
        }
        Purpose::Shell => Answer::Text(messages::help(&client.shared.address)),
        Purpose::Subsystem(_) | Purpose::Forward { .. } => {
            Answer::Misused(messages::no_shell(&client.shared.address))
        }
    };
    let status = match &answer {
        Answer::Text(text) | Answer::Changed(text) => {
            terminal.answer(text).await?;
            0
        }
        Answer::Status(text, status) => {
            terminal.answer(text).await?;
            *status
        }
        Answer::Misused(message) => {
            terminal.say(message).await?;
            USAGE
        }
        Answer::Refused(message) => {
            terminal.say(message).await?;
            REFUSED
        }
    };
    let finished = terminal.finish(status).await;
    if matches!(answer, Answer::Changed(_))
        && let Err(error) = client.shared.identity.take_in().await
    {
        debug!(%error, "a change is taken in a second later");
    }
    finished
}

impl Asked<'_> {
    async fn answer(&mut self, command: &str) -> Result<Answer, Gone> {
        let words = words(command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer = match words.as_slice() {
            ["status", space] => self.status(space, false).await,
            ["status", "--json", space] | ["status", space, "--json"] => self.status(space, true).await,
            ["hold", space, time, reason @ ..] => self.hold(space, time, &reason.join(" ")).await,
            ["stop", space] => self.stop(space, false).await,
            ["stop", "--force", space] | ["stop", space, "--force"] => self.stop(space, true).await,
            ["start", space] => self.start(space, None, false).await?,
            ["start", space, "--force"] => self.start(space, None, true).await?,
            ["start", space, on] => self.start(space, Some(on), false).await?,
            ["start", space, on, "--force"] => self.start(space, Some(on), true).await?,
            words => Ok(answer(self.client, words, command).await),
        };
        Ok(answer.unwrap_or_else(|refused| refused))
    }
}

async fn answer(client: &Client, words: &[&str], command: &str) -> Answer {
    let address = &client.shared.address;
    match words {
        [] | ["help" | "--help" | "-h"] => Answer::Text(messages::help(address)),
        ["whoami"] => Answer::Text(whoami(client).await),
        ["spaces"] => Answer::Text(messages::spaces(&client.spaces())),
        ["config"] => all_config(client),
        ["config", "--jump"] => {
            Answer::Text(messages::jump_block(&client.shared.settings.jump_suffix, address))
        }
        ["config", names @ ..] => config(client, names),
        ["keys"] => keys(client).await,
        ["keys", "remove", which @ ..] if !which.is_empty() => remove_key(client, &which.join(" ")).await,
        ["logout"] => log_out(client).await,
        _ => Answer::Misused(messages::no_such_command(command, address)),
    }
}

/// The person as known now.
fn person(client: &Client) -> Arc<User> {
    client.shared.identity.user(client.user.id).unwrap_or_else(|| client.user.clone())
}

async fn whoami(client: &Client) -> String {
    let (user, identity) = (person(client), &client.shared.identity);
    let fingerprint = &client.connection.key_fingerprint;
    let proof = match &client.credential {
        Credential::Certificate => ProvenBy::Certificate,
        Credential::Approval => ProvenBy::Approval,
        Credential::Key(key) => match identity.key_until(key) {
            Some(until) => ProvenBy::KeyUntil(until),
            None => ProvenBy::Key,
        },
    };
    let month = client.shared.gateway.month_of_user(&user).await;
    messages::whoami(&user, fingerprint, proof, month.as_ref())
}

async fn keys(client: &Client) -> Answer {
    match client.shared.identity.all_keys_of(&client.user).await {
        Ok(keys) => Answer::Text(messages::keys(&keys, &client.shared.address)),
        Err(_) => Answer::Refused(messages::database_away()),
    }
}

/// Removes the key of this fingerprint or name.
async fn remove_key(client: &Client, which: &str) -> Answer {
    let (identity, address) = (&client.shared.identity, &client.shared.address);
    let Ok(MyKeys { added, listed }) = identity.all_keys_of(&client.user).await else {
        return Answer::Refused(messages::database_away());
    };
    let meant: Vec<_> = added.iter().filter(|key| key.fingerprint == which || key.name == which).collect();
    let key = match meant.as_slice() {
        [key] => key,
        [] if listed.iter().any(|key| key.fingerprint == which || key.key.comment().to_string() == which) => {
            return Answer::Refused(messages::key_is_listed(which));
        }
        [] => return Answer::Refused(messages::no_such_key(which, address)),
        several => {
            let several: Vec<&str> = several.iter().map(|key| key.fingerprint.as_str()).collect();
            return Answer::Refused(messages::several_keys(which, &several));
        }
    };
    match identity.remove_own_key(&client.user, key.id, client.connection.address).await {
        Ok(true) => Answer::Changed(messages::key_removed(&key.name)),
        Ok(false) => Answer::Refused(messages::no_such_key(which, address)),
        Err(_) => Answer::Refused(messages::database_away()),
    }
}

/// Ends the person's web logins.
async fn log_out(client: &Client) -> Answer {
    match client.shared.identity.log_out(&client.user, client.connection.address).await {
        Ok(ended) => {
            Answer::Text(messages::logged_out(ended, person(client).standing, &client.shared.address))
        }
        Err(_) => Answer::Refused(messages::database_away()),
    }
}

/// A block for each of the person's spaces.
fn all_config(client: &Client) -> Answer {
    let (address, spaces) = (&client.shared.address, client.spaces());
    Answer::Text(spaces.iter().map(|space| address.config_block(&shortest(space, &spaces))).collect())
}

/// A block for each name. Names are checked for form only: a space may be created later.
fn config(client: &Client, names: &[&str]) -> Answer {
    let address = &client.shared.address;
    let mut text = String::new();
    for name in names {
        if let Err(error) = target::read(name) {
            return Answer::Misused(messages::malformed(&error, address));
        }
        text.push_str(&address.config_block(name));
    }
    Answer::Text(text)
}
