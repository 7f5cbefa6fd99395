//! Wording for terminals: the only place that has any.
//!
//! What happened, why, what to do, each on its own line; at most 80 columns of plain ASCII. Text that came from
//! elsewhere loses its control characters, so that nobody can paint over somebody's screen.

mod approval;
mod commands;
mod ended;
mod news;
mod person;
mod refused;
mod said;
mod status;
mod text;

use time::{OffsetDateTime, UtcOffset};

use super::Address;
use crate::domain::access::Because;
use crate::domain::start::StartStep;
use crate::gateway::Progress;
use crate::gateway::flow::Cut;

pub(super) use crate::domain::span::shown as duration;
pub(super) use approval::{
    approval_denied, approval_void, approve, approve_question, approved, nobody_approved, not_bound,
    not_yet_approved,
};
pub(super) use commands::{config_block, help, jump_block, no_such_command, spaces};
pub(super) use ended::{ended, notice};
pub(super) use news::{Reader, space_news, stopped};
pub(super) use person::{
    ProvenBy, database_away, key_is_listed, key_removed, keys, logged_out, no_such_key, several_keys, whoami,
};
pub(super) use refused::{
    find_failed, malformed, no_shell, not_forwarded, open_failed, remote_access_off, status_of,
};
pub(super) use said::said;
pub(super) use status::{
    ask_failed, bad_reason, bad_type, code_of, held, hold_how_long, not_stopped, started, status, stopping,
};
pub(super) use text::{Message, clean};

/// What the question about remote access offers.
pub(super) const QUESTION: &str = "  Switch it on and restart? [y/N] ";
/// What makes a terminal ring.
pub(super) const BELL: &str = "\u{7}";
/// What a client reads that came when too many others were waiting.
pub(super) const CROWDED: &str = "spaceport: too many logins are waiting, try again in a moment\r\n";

/// For somebody whose keys are all unknown; shown before the client gives up.
pub(super) fn unknown_key(fingerprint: Option<&str>, address: &Address) -> Message {
    let mut message = Message::new("none of your keys is known here.");
    if let Some(fingerprint) = fingerprint {
        message = message.field("Key:", fingerprint);
    }
    let next = match &address.pages {
        Some(pages) => message.next(format!("add it at {pages}/keys and connect again.")),
        None => message.next("ask an admin to add your public key to your user, then connect again."),
    };
    next.more("If you have a certificate, see whether it has expired.")
}

/// For somebody whom nobody vouches for any more.
pub(super) fn lapsed(address: &Address) -> Message {
    let message = Message::new("your login has lapsed.");
    match &address.pages {
        Some(pages) => message.next(format!("sign in at {pages}/ and connect again.")),
        None => message.next("ask an admin."),
    }
}

/// For somebody whose certificate, or whose way of signing, is not taken.
pub(super) fn not_taken(why: &str, fingerprint: Option<&str>) -> Message {
    let mut message = Message::new("you are not let in.").why(format!("{why}."));
    if let Some(fingerprint) = fingerprint {
        message = message.field("Key:", fingerprint);
    }
    message.next("get a new certificate, or ask an admin to add your key.")
}

/// For somebody whom an admin keeps out.
pub(super) fn suspended() -> Message {
    Message::new("an admin suspended your access.").next("ask an admin.")
}

/// For somebody who is no longer welcome and has no session that would say so.
pub(super) fn not_a_user(because: &Because) -> Message {
    Message::new("this connection ends.").why(format!("{because}."))
}

/// For a connection without a session, when the gateway restarts.
pub(super) fn closed_for_update() -> Message {
    Message::new("closed for an update. Connect again now.")
}

/// For a client that opens more channels than it may.
pub(super) fn too_many_channels(limit: u32) -> Message {
    Message::new(format!("this connection has {limit} channels, the most that it may."))
        .next("open another connection.")
}

/// For a channel on which a client sent more than may wait for a space that reads too slowly.
pub(super) fn cut_off(cut: Cut) -> Message {
    Message::new("this channel is closed. What you sent did not all arrive.").why(format!("{cut}."))
}

/// The first lines of a start.
pub(super) fn starting(space: &str, progress: &Progress) -> Message {
    use crate::domain::space::SpaceState as S;
    let headline = match progress.from {
        S::Stopped => format!("{space} is stopped. Starting it."),
        S::Starting => format!("{space} is starting."),
        S::Stopping => format!("{space} is stopping. It is started again once it has stopped."),
        S::Failed => format!("{space} failed last time. Starting it again."),
        S::Updating => format!("{space} is being changed. It is started once that is done."),
        S::Running => format!("{space} is up. Its agent is not ready yet."),
    };
    let detail = match &progress.instance_type {
        Some(instance) => format!("{instance}, usually 2 min. Ctrl-C ends the wait only."),
        None => "Usually 2 min. Ctrl-C ends the wait only.".to_owned(),
    };
    Message::new(headline).detail(detail)
}

/// One step of a start, as the progress line and the lines without a pty name it.
pub(super) fn step(step: &StartStep) -> String {
    step.to_string()
}

/// After a start that somebody watched.
pub(super) fn is_up(space: &str, seconds: u64) -> Message {
    Message::new(format!("{space} is up after {}.", duration(seconds)))
}

/// After Ctrl-C during a start.
pub(super) fn wait_ended(space: &str, address: &Address) -> Message {
    Message::new(format!("you stopped waiting. {space} goes on starting."))
        .next(format!("{} once it is up.", address.ssh(space)))
}

/// After a no to the question about remote access.
pub(super) fn left_off(space: &str) -> Message {
    Message::new(format!("{space} stays as it is."))
}

/// While remote access is being switched on.
pub(super) fn switching_on(space: &str) -> Message {
    Message::new(format!("switching remote access on for {space}."))
}

/// Where an agent is not forwarded, and the session goes on without it.
pub(super) fn no_agent(why: &str) -> Message {
    Message::new("your agent is not forwarded.").why(format!("{why}."))
}

/// Where a remote forward that was granted in advance did not come about.
pub(super) fn no_remote_forward(address: &str, port: u32, why: &Message) -> Message {
    Message::new(format!("the remote forward of {address}:{port} does not work.")).why(why.headline())
}

/// `14:44 UTC`: a server does not know a terminal's zone, so it names its own.
pub(super) fn clock_time(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    format!("{:02}:{:02} UTC", at.hour(), at.minute())
}
