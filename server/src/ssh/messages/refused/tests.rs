//! Each refusal, word for word.

use time::macros::{date, datetime};
use uuid::uuid;

use super::*;
use crate::domain::budget::BudgetOf;
use crate::domain::money::Money;
use crate::domain::streams::{NoFreeStream, Seat, StreamUse};

pub(in crate::ssh) fn address() -> Address {
    Address { host: "gateway.example.com".to_owned(), port: 22, pages: None }
}

fn audit() -> AuditId {
    AuditId::from(uuid!("01938e2a-0000-7000-8000-000000009c3a"))
}

fn opening(error: &OpenError) -> String {
    open_failed(error, "fraud-gnn", datetime!(2026-11-25 14:20 UTC), &address()).render("\n")
}

fn finding(error: &FindError) -> String {
    find_failed(error, "frud-gnn", &address()).render("\n")
}

#[test]
fn a_private_space_names_whom_to_ask() {
    let error = FindError::Denied {
        space: "rank-train".parse().unwrap(),
        because: Because::PrivateTo(Some("bo".to_owned())),
        audit: audit(),
    };
    assert_eq!(
        finding(&error),
        "spaceport: you may not open rank-train.\n\
         \x20 Why:  it is private to bo.\n\
         \x20 Next: ask bo to share it, or an admin for a grant. Quote 9c3a.\n"
    );
}

#[test]
fn an_unknown_name_lists_near_ones() {
    assert_eq!(
        finding(&FindError::Unknown { near: vec!["fraud-gnn".to_owned()] }),
        "spaceport: there is no space frud-gnn.\n\
         \x20 Near: fraud-gnn\n\
         \x20 All:  ssh spaceport@gateway.example.com spaces\n"
    );
    assert_eq!(
        finding(&FindError::Unknown { near: Vec::new() }),
        "spaceport: there is no space frud-gnn.\n\
         \x20 All:  ssh spaceport@gateway.example.com spaces\n"
    );
}

#[test]
fn an_ambiguous_name_lists_what_to_write() {
    let choices = vec!["frud-gnn.ml".to_owned(), "frud-gnn.risk".to_owned()];
    assert_eq!(
        finding(&FindError::Ambiguous { choices }),
        "spaceport: frud-gnn names several spaces.\n\
         \x20 Next: write one of them:\n\
         \x20       ssh frud-gnn.ml@gateway.example.com\n\
         \x20       ssh frud-gnn.risk@gateway.example.com\n"
    );
}

#[test]
fn a_spent_budget_says_who_has_the_streams() {
    let live = vec![("alice".to_owned(), 4), ("bo".to_owned(), 3), ("dana".to_owned(), 2)];
    let used = StreamUse { live, doubtful: 0 };
    assert_eq!(
        opening(&OpenError::NoFreeStream(NoFreeStream { used, by_aws: false, seat: Seat::Person })),
        "spaceport: fraud-gnn has no free stream.\n\
         \x20 Why:  AWS allows 10 to a space. In use by alice 4, bo 3, dana 2. The last is\n\
         \x20       kept for the owner.\n\
         \x20 Next: close a session, or wait.\n"
    );
}

#[test]
fn a_start_that_cannot_work_says_what_to_change() {
    let problem =
        StartProblem::TooLittleMemory { instance_type: "ml.t3.medium".to_owned(), instead: "ml.t3.large" };
    assert_eq!(
        opening(&OpenError::Start(problem)),
        "spaceport: fraud-gnn cannot be reached.\n\
         \x20 Why:  ml.t3.medium has too little memory; remote access needs 8 GiB.\n\
         \x20 Next: ssh spaceport@gateway.example.com start fraud-gnn ml.t3.large\n\
         \x20       This restarts the space. Files stay; memory is lost.\n"
    );
    assert_eq!(
        opening(&OpenError::Start(StartProblem::RemoteAccessOff)),
        "spaceport: fraud-gnn has remote access switched off.\n\
         \x20 Switching it on restarts the space. Files stay; memory is lost.\n\
         \x20 Next: switch it on from a terminal: ssh fraud-gnn@gateway.example.com\n"
    );
}

#[test]
fn words_of_aws_are_quoted_and_harmless() {
    let error = OpenError::AppFailed { reason: "no capacity\u{1b}[31m in us-east-1b".to_owned() };
    assert_eq!(
        opening(&error),
        "spaceport: fraud-gnn did not start.\n\
         \x20 Why:  AWS says \"no capacity [31m in us-east-1b\".\n\
         \x20 Next: try again later, or take another type:\n\
         \x20       ssh spaceport@gateway.example.com start fraud-gnn TYPE\n"
    );
}

#[test]
fn a_malformed_name_shows_the_rule() {
    let error = "no_such".parse::<crate::domain::names::Target>().unwrap_err();
    assert_eq!(
        malformed(&error, &address()).render("\n"),
        "spaceport: that is not the name of a space.\n\
         \x20 Why:  space name \"no_such\" is malformed: letters, digits and inner hyphens, at\n\
         \x20       most 63.\n\
         \x20 Next: ssh SPACE@gateway.example.com, or SPACE.DOMAIN\n"
    );
}

#[test]
fn another_port_is_written_out() {
    let address = Address { port: 2222, ..address() };
    assert_eq!(address.command("spaces"), "ssh -p 2222 spaceport@gateway.example.com spaces");
}

#[test]
fn every_message_fits_the_screen() {
    let aws = [
        AwsError::AccessDenied { operation: "sagemaker:StartSession", message: String::new() },
        AwsError::Throttled("sagemaker:StartSession"),
        AwsError::LimitExceeded("x ".repeat(300)),
        AwsError::NotFound(String::new()),
        AwsError::InUse(String::new()),
        AwsError::Invalid("x ".repeat(300)),
        AwsError::Internal { operation: "sagemaker:StartSession", message: String::new() },
        AwsError::Unreachable(String::new()),
    ];
    let roles = [
        RoleError::NoneFor("research".parse().unwrap()),
        RoleError::NoToken(NoToken::NotSignedIn),
        RoleError::NoToken(NoToken::Lapsed),
        RoleError::NoToken(NoToken::ProviderAway),
        RoleError::NoToken(NoToken::Unreadable),
        RoleError::Denied { role: "r".repeat(64), message: String::new() },
        RoleError::TokenExpired(String::new()),
        RoleError::TokenInvalid(String::new()),
        RoleError::TokenRejected(String::new()),
        RoleError::ProviderAway(String::new()),
        RoleError::TooLarge(String::new()),
        RoleError::MalformedPolicy(String::new()),
        RoleError::RegionDisabled(String::new()),
        RoleError::OwnCredentials(String::new()),
        RoleError::Throttled,
        RoleError::Unavailable(String::new()),
    ];
    let aws = aws.into_iter().chain(roles.map(AwsError::Role));
    let dial = [
        DialError::ForeignHost(String::new()),
        DialError::Refused(403),
        DialError::Unreachable(String::new()),
        DialError::NoHandshake(30),
        DialError::Unsupported("\u{7}KMSEncryption".to_owned()),
    ];
    let errors = aws.map(OpenError::Aws).chain(dial.into_iter().map(OpenError::Dial)).chain([
        OpenError::NotRunning(SpaceState::Stopped),
        OpenError::StartTimedOut { waited_s: 600 },
        OpenError::SpaceSsh("no banner".to_owned()),
        OpenError::RefusedBySpace("no".to_owned()),
        OpenError::RecordAway,
        OpenError::Draining,
    ]);
    for error in errors {
        let text = opening(&error);
        assert!(text.starts_with("spaceport: "), "{text}");
        assert!(
            text.lines().all(|line| line.len() <= 80 && line.chars().all(|c| (' '..='~').contains(&c))),
            "{text}"
        );
    }
}

#[test]
fn a_spent_budget_says_how_much_and_when_it_renews() {
    let over = OverBudget {
        of: BudgetOf::Group("okta/ml".parse().unwrap()),
        spent: Money::from_nano_usd(2_003_500_000_000),
        at_least: true,
        limit: Money::from_nano_usd(2_000_000_000_000),
        renews_on: date!(2026 - 12 - 01),
    };
    let error = OpenError::OverBudget { over: Box::new(over), audit: audit() };
    assert_eq!(
        opening(&error),
        "spaceport: fraud-gnn is not started: the budget of group okta/ml is spent.\n\
         \x20 Why:  at least $2003.50 of $2000.00 a month are spent.\n\
         \x20 Next: wait until it renews on 2026-12-01, or ask an admin to raise it.\n\
         \x20       Quote 9c3a.\n"
    );
    assert_eq!(status_of(&error), 1);
}

#[test]
fn what_was_stopped_for_idleness_says_how_it_is_started() {
    let pages = Some("https://gateway.example.com".to_owned());
    let address = Address { pages, ..address() };
    let error = OpenError::Idled(datetime!(2026-11-25 14:44 UTC));
    let message = open_failed(&error, "churn-eda", datetime!(2026-11-25 15:00 UTC), &address);
    assert_eq!(
        message.render("\n"),
        "spaceport: churn-eda was stopped for idleness at 14:44 UTC and stays stopped.\n\
         \x20 An editor or a script that connects by itself does not start it.\n\
         \x20 Next: run ssh churn-eda@gateway.example.com in a terminal, or\n\
         \x20       ssh spaceport@gateway.example.com start churn-eda\n\
         \x20       or press Start at https://gateway.example.com/spaces/churn-eda\n"
    );
}
