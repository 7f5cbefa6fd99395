//! Answers of the gateway's own command line: bare, on stdout.

use super::{Address, Message};
use crate::domain::names::{COMMAND_LINE, shortest};
use crate::domain::space::Space;

/// What there is to type.
pub(in crate::ssh) fn help(address: &Address) -> String {
    let command = |words: &str| address.command(words);
    format!(
        "{}\n\
         \x20 to a shell in a space, or any command, scp, sftp, rsync, an editor\n\
         {}\n\
         \x20 your spaces and what they are doing\n\
         {}\n\
         \x20 what a space is doing and why, what it costs, who is in it\n\
         {}\n\
         \x20 keeps a space up; write off instead of a time to let go\n\
         {}\n\
         \x20 stops a space; --force while others are in it\n\
         {}\n\
         \x20 starts a space; on another instance type it is restarted\n\
         {}\n\
         \x20 who you are here, and until when\n\
         {}\n\
         \x20 your SSH keys\n\
         {}\n\
         \x20 no more ssh with that key\n\
         {}\n\
         \x20 signs you out of every browser; ssh goes on until your login lapses\n\
         {}\n\
         \x20 lines for ~/.ssh/config\n\
         {}\n\
         \x20 the same for ssh that is encrypted up to the space\n",
        address.ssh("SPACE"),
        command("spaces"),
        command("status SPACE [--json]"),
        command("hold SPACE TIME \"REASON\""),
        command("stop SPACE [--force]"),
        command("start SPACE [TYPE]"),
        command("whoami"),
        command("keys"),
        command("keys remove FINGERPRINT|NAME"),
        command("logout"),
        command("config [SPACE...]"),
        command("config --jump"),
    )
}

/// Somebody's spaces as a table.
pub(in crate::ssh) fn spaces(spaces: &[Space]) -> String {
    if spaces.is_empty() {
        return "There is no space that you may open.\n".to_owned();
    }
    let names: Vec<String> = spaces.iter().map(|space| shortest(space, spaces)).collect();
    let width = names.iter().map(String::len).max().unwrap_or_default().max("SPACE".len());
    let mut out = format!("{:<width$}  {:<8}  INSTANCE\n", "SPACE", "STATE");
    for (name, space) in names.iter().zip(spaces) {
        let instance = space.app.as_ref().and_then(|app| app.instance_type.as_ref());
        let instance = instance.map_or("", |instance| instance.as_str());
        let line = format!("{name:<width$}  {:<8}  {instance}", space.state());
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A block of `ssh_config` for one space.
pub(in crate::ssh) fn config_block(name: &str, address: &Address) -> String {
    let port = if address.port == 22 { String::new() } else { format!("  Port {}\n", address.port) };
    format!(
        "Host {name}\n  HostName {}\n{port}  User {name}\n  ServerAliveInterval 30\n  ConnectTimeout 300\n",
        address.host
    )
}

/// A block of `ssh_config` for all spaces in jump mode. A space has another host key each time it starts, so none is kept;
/// the way to it is sure because the gateway's own key is checked as always.
pub(in crate::ssh) fn jump_block(suffix: &str, address: &Address) -> String {
    let port = if address.port == 22 { String::new() } else { format!(":{}", address.port) };
    let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
    format!(
        "Host *.{suffix}\n  User sagemaker-user\n  ProxyJump {COMMAND_LINE}@{host}{port}\n  \
         UserKnownHostsFile /dev/null\n  StrictHostKeyChecking no\n  LogLevel ERROR\n  \
         ServerAliveInterval 30\n  ConnectTimeout 300\n"
    )
}

/// A command that there is not.
pub(in crate::ssh) fn no_such_command(command: &str, address: &Address) -> Message {
    let first = command.split_ascii_whitespace().next().unwrap_or_default();
    Message::new(format!("there is no command \"{first}\" like that.")).next(format!(
        "{} -- it knows help, spaces, status, hold, stop, start, whoami, keys, logout, config.",
        address.ssh(COMMAND_LINE)
    ))
}
