//! The gateway's own command line: what `ssh spaceport@gateway COMMAND` answers.

use super::client::Client;
use super::messages::{self, Message};
use super::target;
use super::terminal::{Gone, Terminal};
use crate::domain::user::Role;
use crate::gateway::Purpose;

/// The exit status of a command that does not exist or was given nonsense, as shells have it.
const USAGE: u32 = 2;

/// What a command came to.
enum Answer {
    Text(String),
    Refused(Message),
}

/// Answers one command, or the wish for a shell, which gets the help.
pub(super) async fn run(client: &Client, terminal: &Terminal, purpose: &Purpose) -> Result<(), Gone> {
    let answer = match purpose {
        Purpose::Exec(command) => answer(client, &String::from_utf8_lossy(command)),
        Purpose::Shell => Answer::Text(messages::help(&client.shared.address)),
        Purpose::Subsystem(_) | Purpose::Forward { .. } => {
            Answer::Refused(messages::no_shell(&client.shared.address))
        }
    };
    match answer {
        Answer::Text(text) => {
            terminal.answer(&text).await?;
            terminal.finish(0).await
        }
        Answer::Refused(message) => {
            terminal.say(&message).await?;
            terminal.finish(USAGE).await
        }
    }
}

fn answer(client: &Client, command: &str) -> Answer {
    let address = &client.shared.address;
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => Answer::Text(messages::help(address)),
        ["whoami"] => Answer::Text(whoami(client)),
        ["spaces"] => Answer::Text(messages::spaces(&client.spaces())),
        ["config", names @ ..] if !names.is_empty() => config(client, names),
        _ => Answer::Refused(messages::no_such_command(command, address)),
    }
}

fn whoami(client: &Client) -> String {
    let role = match client.user.role {
        Role::User => "user",
        Role::Auditor => "auditor",
        Role::Admin => "admin",
    };
    let groups: Vec<&str> = client.user.groups.iter().map(|group| group.as_str()).collect();
    messages::whoami(client.user.name.as_str(), role, &groups, &client.connection.key_fingerprint)
}

/// A block for each name. Names are checked for form only: a space may be created later.
fn config(client: &Client, names: &[&str]) -> Answer {
    let address = &client.shared.address;
    let mut text = String::new();
    for name in names {
        if let Err(error) = target::read(name) {
            return Answer::Refused(messages::malformed(&error, address));
        }
        text.push_str(&messages::config_block(name, address));
    }
    Answer::Text(text)
}
