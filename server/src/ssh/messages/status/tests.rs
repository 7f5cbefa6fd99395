//! What a status looks like, word for word.

use time::macros::datetime;
use uuid::{Uuid, uuid};

use super::*;
use crate::domain::cost::Cost;
use crate::domain::idle::{Ground, Policy, Rule, Scope, Seen, Sign};
use crate::domain::ids::{ReplicaId, RunId, SpaceId};
use crate::domain::money::Money;
use crate::domain::run::OpenRun;
use crate::domain::space::Sharing;
use crate::domain::testing::{space, user};
use crate::gateway::LiveSession;
use crate::gateway::idle::Status;
use crate::ssh::messages::refused::tests::address;

const NOW: OffsetDateTime = datetime!(2026-11-26 14:32 UTC);

fn idle(mode: Mode) -> Report {
    let space = space("churn-eda", "alice", Sharing::Private);
    let since = datetime!(2026-11-26 14:09 UTC);
    let stop_at = Some(datetime!(2026-11-26 14:44 UTC));
    let run = OpenRun {
        run: RunId::from(Uuid::new_v4()),
        app_created_at: datetime!(2026-11-26 10:10 UTC),
        space: space.clone(),
        began_at: datetime!(2026-11-26 10:12 UTC),
        last_seen_up_at: NOW,
        instance_type: None,
        storage_gib: None,
        tags: None,
    };
    let up = Up {
        run,
        rule: Rule {
            scope: Scope::Domain("research".parse().unwrap()),
            policy: Policy { mode, ..Policy::default() },
        },
        verdict: Some(Verdict::Idle { since, due_at: stop_at, stop_at, over_longest_run: false }),
        looked_at: Some(NOW),
        grounds: vec![
            Ground {
                at: datetime!(2026-11-26 14:31:30 UTC),
                word: "idle",
                what: "CPU 1 %, GPU 0 %".to_owned(),
            },
            Ground { at: datetime!(2026-11-26 14:09:12 UTC), word: "none", what: "long words ".repeat(9) },
        ],
        hold: None,
        stops_at: None,
    };
    Report {
        space,
        now: NOW,
        instance_type: Some("ml.m5.2xlarge".parse().unwrap()),
        price: Some(Money::from_nano_usd(461_000_000)),
        status: Status { up: Some(up), ended: None },
        month: Cost::default(),
        sessions: vec![LiveSession {
            id: uuid!("01938e2a-0000-7000-8000-000000007f1c").into(),
            user_id: user("alice", &[]).id,
            user: "alice".to_owned(),
            space_id: SpaceId::generate(),
            space: "churn-eda".to_owned(),
            domain: "main".to_owned(),
            mode: "session".to_owned(),
            client_address: "203.0.113.24".to_owned(),
            client_version: "SSH-2.0-OpenSSH_9.6 \u{1b}[2J".to_owned(),
            started_at: datetime!(2026-11-25 10:12 UTC),
            last_seen_at: Some(datetime!(2026-11-26 14:09:12 UTC)),
            bytes_in: 0,
            bytes_out: 0,
            replica: ReplicaId::generate(),
            doubtful: false,
        }],
    }
}

#[test]
fn an_idle_space_says_since_when_and_what_that_rests_on() {
    let report = idle(Mode::Stop);
    assert_eq!(
        status(&report),
        "churn-eda   alice, JupyterLab, ml.m5.2xlarge, $0.46 an hour\n\
         state       running since 10:12 UTC, 4 h 20 min\n\
         verdict     idle since 14:09 UTC\n\
         stops       14:44 UTC, unless someone uses it\n\
         month       $0.00, of it idle $0.00\n\
         policy      domain research\n\
         \n\
         evidence    14:31:30 UTC  idle    CPU 1 %, GPU 0 %\n\
         \x20           14:09:12 UTC  none    long words long words long words long words\n\
         \x20                                 long words long words long words long words\n\
         \x20                                 long words\n\
         \n\
         sessions    7f1c  alice  OpenSSH_9.6  203.0.113.24  1 d 4 h 20 min, idle 22 min\n"
    );
    assert_eq!(code_of(&report), 3);
}

#[test]
fn a_dry_run_is_said_and_stops_nothing() {
    let text = status(&idle(Mode::DryRun));
    assert!(text.contains("stops       not: its policy is a dry run. It would at 14:44 UTC\n"), "{text}");
    assert!(text.contains("policy      domain research, dry run\n"), "{text}");
    assert!(status(&idle(Mode::Never)).contains("stops       never: its policy stops nothing\n"));
}

#[test]
fn what_is_not_known_is_unknown_and_not_idle() {
    let mut report = idle(Mode::Stop);
    report.status.up.as_mut().unwrap().verdict = None;
    report.price = None;
    let text = status(&report);
    assert!(text.contains("verdict     unknown: nobody has looked yet\n"), "{text}");
    assert!(text.contains("stops       not while that is unknown\n"), "{text}");
    assert!(text.contains("price unknown"), "{text}");
    assert_eq!(code_of(&report), 4);
}

#[test]
fn a_reason_in_use_names_who_and_when() {
    let mut report = idle(Mode::Stop);
    let at = datetime!(2026-11-25 23:59 UTC);
    let seen = Seen { sign: Sign::Keys, at, by: Some("bo".to_owned()) };
    let verdict = Verdict::Active { because: Because::Seen(seen) };
    report.status.up.as_mut().unwrap().verdict = Some(verdict);
    let text = status(&report);
    assert!(
        text.contains("verdict     active: last key in any terminal, bo, 2026-11-25 23:59 UTC\n"),
        "{text}"
    );
    assert_eq!(code_of(&report), 0);
}

#[test]
fn whoever_is_in_the_way_is_named_with_what_to_do() {
    let others = AskError::Others(vec!["bo".to_owned(), "dana".to_owned()]);
    assert_eq!(
        ask_failed(&others, "team", "stop team", NOW, &address()).render("\n"),
        "spaceport: team is in use by bo, dana.\n\
         \x20 Why:  it would end what they do there.\n\
         \x20 Next: ask them, or do it all the same:\n\
         \x20       ssh spaceport@gateway.example.com stop team --force\n"
    );
}
