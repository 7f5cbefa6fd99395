//! Words for what was not opened, one message for each reason, and its exit status.

use time::OffsetDateTime;

use super::status::when;
use super::{Address, Message, duration, ended};
use crate::domain::access::{Action, Because};
use crate::domain::budget::OverBudget;
use crate::domain::cost::shown;
use crate::domain::ids::{AuditId, MalformedName};
use crate::domain::ports::{AwsError, DialError};
use crate::domain::role::{NoToken, RoleError};
use crate::domain::space::SpaceState;
use crate::domain::start::StartProblem;
use crate::gateway::{FindError, OpenError};

/// A refusal: asking again changes nothing.
const REFUSED: u32 = 1;
/// The way failed: what `ssh` itself exits with then.
const FAILED: u32 = 255;

/// A name that can be no space's.
pub(in crate::ssh) fn malformed(error: &MalformedName, address: &Address) -> Message {
    Message::new("that is not the name of a space.")
        .why(format!("{error}."))
        .next(format!("{}, or SPACE.DOMAIN", address.ssh("SPACE")))
}

/// A name that leads nowhere.
pub(in crate::ssh) fn find_failed(error: &FindError, name: &str, address: &Address) -> Message {
    match error {
        FindError::Unknown { near } => {
            let message = Message::new(format!("there is no space {name}."));
            let message = if near.is_empty() { message } else { message.field("Near:", near.join(", ")) };
            message.field("All:", address.command("spaces"))
        }
        FindError::Ambiguous { choices } => {
            let message = Message::new(format!("{name} names several spaces.")).next("write one of them:");
            choices.iter().fold(message, |message, choice| message.more(address.ssh(choice)))
        }
        FindError::Denied { space, because, audit } => denied(space.as_str(), because, *audit),
        FindError::CatalogueAway(error) => {
            let (why, next) = aws(error);
            Message::new("the list of spaces is not there yet.").why(why).next(next)
        }
        FindError::RecordAway => record_away(),
    }
}

/// A space, or a channel to it, that was not opened.
pub(in crate::ssh) fn open_failed(
    error: &OpenError,
    space: &str,
    now: OffsetDateTime,
    address: &Address,
) -> Message {
    match error {
        OpenError::Denied { because, audit } => denied(space, because, *audit),
        OpenError::NotRunning(state) => not_running(*state, space, address),
        OpenError::Idled(at) => idled(*at, space, now, address),
        OpenError::OverBudget { over, audit } => over_budget(over, space, *audit),
        OpenError::Start(problem) => cannot_start(problem, space, address),
        OpenError::AppFailed { reason } => Message::new(format!("{space} did not start."))
            .why(format!("AWS says \"{reason}\"."))
            .next("try again later, or take another type:")
            .more(address.command(&format!("start {space} TYPE"))),
        OpenError::StartTimedOut { waited_s } => {
            Message::new(format!("{space} is not up after {}.", duration(*waited_s)))
                .why("AWS is still at it.")
                .next(format!("in a few minutes, {}", address.ssh(space)))
        }
        OpenError::NoFreeStream(used) => Message::new(format!("{space} has no free stream."))
            .why(used.to_string())
            .next("close a session, or wait."),
        OpenError::Aws(error) => {
            let (why, next) = aws(error);
            // A limit on streams has its own error: this one is on apps.
            let what = if matches!(error, AwsError::LimitExceeded(_)) {
                "did not start"
            } else {
                "could not be opened"
            };
            Message::new(format!("{space} {what}.")).why(why).next(next)
        }
        OpenError::Dial(error) => Message::new(format!("{space} could not be reached."))
            .why(dial(error))
            .next("try again in a minute."),
        OpenError::SpaceSsh(words) => Message::new(format!("{space} could not be reached."))
            .why(format!("its SSH server did not let the gateway in: {words}."))
            .next("try again in a minute. If it stays so, restart the space."),
        OpenError::RefusedBySpace(words) => {
            Message::new(format!("{space} refused that.")).why(format!("its SSH server says: {words}."))
        }
        OpenError::RecordAway => record_away(),
        OpenError::Draining => Message::new("this gateway restarts for an update.")
            .next(format!("connect again, you land on another: {}", address.ssh(space))),
        OpenError::Ended(reason) => ended(reason, space, now, address),
    }
}

/// The exit status that goes with [`open_failed`].
pub(in crate::ssh) const fn status_of(error: &OpenError) -> u32 {
    match error {
        OpenError::Denied { .. }
        | OpenError::NotRunning(_)
        | OpenError::Idled(_)
        | OpenError::OverBudget { .. }
        | OpenError::Start(_)
        | OpenError::AppFailed { .. }
        | OpenError::NoFreeStream(_)
        | OpenError::RefusedBySpace(_) => REFUSED,
        OpenError::StartTimedOut { .. }
        | OpenError::Aws(_)
        | OpenError::Dial(_)
        | OpenError::SpaceSsh(_)
        | OpenError::RecordAway
        | OpenError::Draining
        | OpenError::Ended(_) => FAILED,
    }
}

/// A forward or another channel that makes no sense for the login name.
pub(in crate::ssh) fn not_forwarded(why: &str) -> Message {
    Message::new("that is not forwarded.").why(why)
}

/// The command line has no shell.
pub(in crate::ssh) fn no_shell(address: &Address) -> Message {
    Message::new("this name takes commands only.").next(address.command("help"))
}

fn denied(space: &str, because: &Because, audit: AuditId) -> Message {
    let headline = match because {
        Because::JumpSwitchedOff(_) => format!("you may not {} {space}.", Action::Jump),
        _ => format!("you may not open {space}."),
    };
    let quote = audit.short();
    let next = match because {
        Because::PrivateTo(Some(owner)) => {
            format!("ask {owner} to share it, or an admin for a grant. Quote {quote}.")
        }
        Because::PrivateTo(None) | Because::NotAMember(_) | Because::GrantEnded(_) => {
            format!("ask an admin for a grant. Quote {quote}.")
        }
        Because::JumpSwitchedOff(_) => format!("connect without -J. Quote {quote} if you need it."),
        _ => format!("ask an admin. Quote {quote}."),
    };
    Message::new(headline).why(format!("{because}.")).next(next)
}

/// A start on a budget that is spent.
fn over_budget(over: &OverBudget, space: &str, audit: AuditId) -> Message {
    let spent = shown(over.spent, over.at_least);
    Message::new(format!("{space} is not started: the budget of {} is spent.", over.of))
        .why(format!("{spent} of {} a month are spent.", over.limit))
        .next(format!("wait until it renews on {}, or ask an admin to raise it.", over.renews_on))
        .more(format!("Quote {}.", audit.short()))
}

fn not_running(state: SpaceState, space: &str, address: &Address) -> Message {
    let message = Message::new(format!("{space} is {state}."));
    match state {
        SpaceState::Starting | SpaceState::Updating | SpaceState::Stopping => {
            message.next(format!("wait for it: {}", address.ssh(space)))
        }
        SpaceState::Stopped | SpaceState::Failed | SpaceState::Running => {
            message.next(format!("start it: {}", address.ssh(space)))
        }
    }
}

/// A space that was stopped for idleness, for a client that nobody sits at.
fn idled(at: OffsetDateTime, space: &str, now: OffsetDateTime, address: &Address) -> Message {
    let message =
        Message::new(format!("{space} was stopped for idleness at {} and stays stopped.", when(at, now)))
            .detail("An editor or a script that connects by itself does not start it.")
            .next(format!("run {} in a terminal, or", address.ssh(space)))
            .more(address.command(&format!("start {space}")));
    match &address.pages {
        Some(pages) => message.more(format!("or press Start at {pages}/spaces/{space}")),
        None => message,
    }
}

fn cannot_start(problem: &StartProblem, space: &str, address: &Address) -> Message {
    let unreachable = || Message::new(format!("{space} cannot be reached."));
    match problem {
        StartProblem::RemoteAccessOff => Message::new(format!("{space} has remote access switched off."))
            .detail("Switching it on restarts the space. Files stay; memory is lost.")
            .next(format!("switch it on from a terminal: {}", address.ssh(space))),
        StartProblem::TooLittleMemory { instance_type, instead } => unreachable()
            .why(format!("{instance_type} has too little memory; remote access needs 8 GiB."))
            .next(address.command(&format!("start {space} {instead}")))
            .more("This restarts the space. Files stay; memory is lost."),
        StartProblem::ImageTooOld { version } => unreachable()
            .why(format!("its image is SageMaker Distribution {version}; remote access needs 2.7 or newer."))
            .next("choose a newer image in SageMaker Studio and connect again."),
    }
}

/// The question that a terminal is asked where remote access is off; the answer is read behind it.
pub(in crate::ssh) fn remote_access_off(space: &str) -> Message {
    Message::new(format!("{space} has remote access switched off."))
        .detail("Switching it on restarts the space. Files stay; memory is lost.")
}

fn record_away() -> Message {
    Message::new("no new sessions right now.")
        .why("the gateway cannot reach its database.")
        .next("try again in a minute. Open sessions go on.")
}

const SOON: &str = "try again in a minute.";
const ADMIN: &str = "ask an admin to look at the gateway's log.";

/// Why, and what to do. Each names the service that refused.
fn aws(error: &AwsError) -> (String, &'static str) {
    match error {
        AwsError::Role(error) => role(error),
        AwsError::AccessDenied { operation, .. } => (
            format!("SageMaker denied {} to your AWS role.", bare(operation)),
            "ask an admin: the role's policy must allow it.",
        ),
        AwsError::Throttled(operation) => {
            (format!("SageMaker throttles {} right now.", bare(operation)), SOON)
        }
        AwsError::LimitExceeded(words) => (
            format!("a limit of AWS is reached: \"{words}\"."),
            "try again later, or ask an admin to raise it.",
        ),
        AwsError::NotFound(_) => {
            ("AWS does not know it any more.".to_owned(), "look at the list of your spaces.")
        }
        AwsError::InUse(_) => ("AWS is changing it right now.".to_owned(), SOON),
        AwsError::Invalid(words) => (format!("AWS rejected it: \"{words}\"."), ADMIN),
        AwsError::Internal { operation, .. } => (format!("AWS failed at {operation}."), SOON),
        AwsError::Unreachable(_) => ("AWS could not be reached.".to_owned(), SOON),
    }
}

/// An operation without its service.
fn bare(operation: &str) -> &str {
    operation.split_once(':').map_or(operation, |(_, name)| name)
}

/// Why there is no AWS role to act in, and what to do.
fn role(error: &RoleError) -> (String, &'static str) {
    const AGAIN: &str = "sign in again on the gateway's page, then connect again.";
    let (why, next) = match error {
        RoleError::NoneFor(domain) => {
            let why = "none of its roles is for one of your groups";
            return (format!("no AWS role for you in {domain}: {why}."), "ask an admin.");
        }
        RoleError::Denied { role, .. } => {
            let next =
                "ask an admin: its trust policy must allow sts:TagSession and sts:SetSourceIdentity too.";
            return (format!("AWS STS refused the role {role}."), next);
        }
        RoleError::NoToken(NoToken::NotSignedIn) => (
            "this domain needs your own sign-in, and the gateway's file vouches for you.",
            "ask an admin: this domain is for people who sign in on the gateway's page.",
        ),
        RoleError::NoToken(NoToken::Lapsed) => ("your sign-in is over, and AWS STS needs it.", AGAIN),
        RoleError::NoToken(NoToken::ProviderAway) => {
            ("your sign-in is over, and your identity provider cannot be reached to renew it.", SOON)
        }
        RoleError::NoToken(NoToken::Unreadable) => ("the gateway cannot reach its database.", SOON),
        RoleError::TokenExpired(_) => ("AWS STS says that your sign-in is over.", AGAIN),
        RoleError::TokenInvalid(_) => (
            "AWS STS does not take your sign-in.",
            "ask an admin: is the identity provider in IAM the one that you sign in with?",
        ),
        RoleError::TokenRejected(_) => ("your identity provider told AWS STS no.", AGAIN),
        RoleError::ProviderAway(_) => ("AWS STS could not reach your identity provider.", SOON),
        RoleError::TooLarge(_) => (
            "your session's policy and tags are too large for AWS STS.",
            "ask an admin: the tags that your sign-in carries must be fewer or shorter.",
        ),
        RoleError::MalformedPolicy(_) => ("AWS STS could not read the session's policy.", ADMIN),
        RoleError::RegionDisabled(_) => {
            ("AWS STS is switched off in this region.", "ask an admin to switch it on in IAM.")
        }
        RoleError::OwnCredentials(_) => ("AWS STS does not take the gateway's own credentials.", ADMIN),
        RoleError::Throttled => ("AWS STS throttles the gateway right now.", SOON),
        RoleError::Unavailable(_) => ("AWS STS hands out no credentials right now.", SOON),
    };
    (why.to_owned(), next)
}

fn dial(error: &DialError) -> String {
    match error {
        DialError::ForeignHost(_) => "AWS named a host that is not Session Manager's.".to_owned(),
        DialError::Refused(status) => format!("Session Manager refused the stream with HTTP {status}."),
        DialError::Unreachable(_) => "Session Manager could not be reached.".to_owned(),
        DialError::NoHandshake(seconds) => format!("its agent did not answer within {seconds} s."),
        DialError::Unsupported(what) => format!("its agent asked for something unknown: {what}."),
        DialError::Ended(end) => format!("{end}."),
    }
}

#[cfg(test)]
pub(super) mod tests;
