//! Words for the end of a session, and before it.

use time::OffsetDateTime;

use super::{Address, Message, clock_time};
use crate::domain::ending::EndReason;
use crate::gateway::Notice;

/// Why a session is over.
pub(in crate::ssh) fn ended(
    reason: &EndReason,
    space: &str,
    at: OffsetDateTime,
    address: &Address,
) -> Message {
    let time = clock_time(at);
    match reason {
        EndReason::EndedByAdmin { by, reason } => {
            let message = Message::new(format!("{by} ended this session at {time}."));
            let message = if reason.is_empty() { message } else { message.detail(format!("\"{reason}\"")) };
            message.detail("The space is still up.")
        }
        EndReason::NoLongerAllowed(because) => {
            Message::new(format!("your access to {space} ended at {time}."))
                .why(format!("{because}."))
                .detail("Unsaved work in the space is untouched.")
        }
        EndReason::Drained => Message::new("closed for an update. The space is up; connect again now."),
        EndReason::StreamLost(end) => Message::new(format!("the way to {space} broke at {time}."))
            .why(format!("{end}."))
            .next(format!("connect again: {}", address.ssh(space))),
        EndReason::SpaceStopped => Message::new(format!("{space} stopped at {time}. Files are kept."))
            .detail(format!("Start again: {}", address.ssh(space))),
        EndReason::ClientLeft | EndReason::GatewayCrashed | EndReason::NotOpened(_) => {
            Message::new(format!("this session ended at {time}."))
                .next(format!("connect again: {}", address.ssh(space)))
        }
    }
}

/// A word ahead of a drain.
pub(in crate::ssh) fn notice(notice: &Notice, space: &str, address: &Address) -> Message {
    match notice {
        Notice::Draining(at) => Message::new(format!(
            "this gateway restarts for an update. Your session ends at {}.",
            clock_time(*at)
        ))
        .detail("The space stays up. Reconnect at any time; you land on another gateway."),
        Notice::LastMinute => Message::new(format!("1 min left. Reconnect: {}", address.ssh(space))),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::access::Because;
    use crate::domain::ending::StreamEnd;

    const AT: OffsetDateTime = datetime!(2026-11-25 13:58 UTC);

    fn words(reason: &EndReason) -> String {
        ended(reason, "fraud-gnn", AT, &super::super::refused::tests::address()).render("\n")
    }

    #[test]
    fn an_admin_is_named_with_their_words() {
        let reason = EndReason::EndedByAdmin {
            by: "chen".parse().unwrap(),
            reason: "old key, sign in\nagain".to_owned(),
        };
        assert_eq!(
            words(&reason),
            "spaceport: chen ended this session at 13:58 UTC.\n\
             \x20 \"old key, sign in again\"\n\
             \x20 The space is still up.\n"
        );
    }

    #[test]
    fn lost_access_says_why() {
        assert_eq!(
            words(&EndReason::NoLongerAllowed(Because::PrivateTo(Some("bo".to_owned())))),
            "spaceport: your access to fraud-gnn ended at 13:58 UTC.\n\
             \x20 Why:  it is private to bo.\n\
             \x20 Unsaved work in the space is untouched.\n"
        );
    }

    #[test]
    fn a_broken_stream_says_how_to_come_back() {
        assert_eq!(
            words(&EndReason::StreamLost(StreamEnd::AgentGone)),
            "spaceport: the way to fraud-gnn broke at 13:58 UTC.\n\
             \x20 Why:  the agent in the space is gone.\n\
             \x20 Next: connect again: ssh fraud-gnn@gateway.example.com\n"
        );
    }

    #[test]
    fn a_stopped_space_says_that_files_are_kept() {
        assert_eq!(
            words(&EndReason::SpaceStopped),
            "spaceport: fraud-gnn stopped at 13:58 UTC. Files are kept.\n\
             \x20 Start again: ssh fraud-gnn@gateway.example.com\n"
        );
    }

    #[test]
    fn a_drain_is_told_ahead_and_at_the_end() {
        let address = super::super::refused::tests::address();
        assert_eq!(
            notice(&Notice::Draining(datetime!(2026-11-25 15:10 UTC)), "fraud-gnn", &address).render("\n"),
            "spaceport: this gateway restarts for an update. Your session ends at 15:10 UTC.\n\
             \x20 The space stays up. Reconnect at any time; you land on another gateway.\n"
        );
        assert_eq!(
            notice(&Notice::LastMinute, "fraud-gnn", &address).render("\n"),
            "spaceport: 1 min left. Reconnect: ssh fraud-gnn@gateway.example.com\n"
        );
        assert_eq!(
            words(&EndReason::Drained),
            "spaceport: closed for an update. The space is up; connect again now.\n"
        );
    }
}
