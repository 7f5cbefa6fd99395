//! Which role a person gets, with which proof, and what is made of what STS answers.

use std::collections::BTreeSet;
use std::sync::Mutex;

use secrecy::{ExposeSecret as _, SecretString};

use super::*;
use crate::domain::ids::{GroupName, UserId};
use crate::domain::role::{NoToken, RoleError, RoleRule};

/// People as tests have them: all in the same groups, with these ID tokens, one after the other.
#[derive(Default)]
pub(super) struct Logins {
    groups: BTreeSet<GroupName>,
    tokens: Mutex<Vec<&'static str>>,
    refused: Mutex<Vec<String>>,
}

#[async_trait]
impl UserCredentials for Logins {
    fn groups(&self, _user: UserId) -> BTreeSet<GroupName> {
        self.groups.clone()
    }

    async fn id_token(&self, _user: UserId, refused: Option<&SecretString>) -> Result<SecretString, NoToken> {
        let refused = refused.map(|token| token.expose_secret().to_owned());
        self.refused.lock().unwrap().extend(refused);
        let mut tokens = self.tokens.lock().unwrap();
        if tokens.is_empty() { Err(NoToken::Lapsed) } else { Ok(SecretString::from(tokens.remove(0))) }
    }
}

fn aws_of(domain: Domain, people: &Arc<Logins>) -> Aws {
    let own = SharedCredentialsProvider::new(Credentials::new("OWNKEY", "s", None, None, "test"));
    let people: Arc<dyn UserCredentials> = Arc::clone(people) as _;
    Aws::new(&[domain], &own, &people, Arc::<HandClock>::default(), TaskTracker::new()).unwrap()
}

fn session(call: &Call) -> (u16, String) {
    let started = r#"{"SessionId":"s-1","StreamUrl":"wss://x","TokenValue":"t"}"#;
    (200, if call.operation == "StartSession" { started.to_owned() } else { String::new() })
}

fn problem(code: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>words</Message></Error></ErrorResponse>"
    )
}

async fn refusal(aws: &Aws) -> AwsError {
    aws.start_session(&anna(), &graphs()).await.unwrap_err()
}

#[tokio::test]
async fn the_role_is_the_one_of_the_first_rule_that_matches_the_persons_groups() {
    let stub = Stub::serve(session).await;
    let rule = |group: &str, name: &str| RoleRule { group: group.parse().unwrap(), role: role(name) };
    let rules = vec![rule("okta/leads", "leads"), rule("okta/ml", "ml")];
    for (groups, expected) in [
        (vec!["okta/ml", "okta/leads"], Some("leads")),
        (vec!["okta/ml"], Some("ml")),
        (vec!["local/ml"], None),
    ] {
        let groups = groups.iter().map(|group| group.parse().unwrap()).collect();
        let people = Arc::new(Logins { groups, ..Logins::default() });
        let mut domain = domain(&stub);
        domain.roles = PersonRoles { rules: rules.clone(), otherwise: None };
        let started = aws_of(domain, &people).start_session(&anna(), &graphs()).await;
        match expected {
            Some(name) => {
                started.unwrap();
                let asked = stub.calls_of("AssumeRole").pop().unwrap();
                assert_eq!(field(&asked, "RoleArn").as_deref(), Some(role(name).as_str()));
            }
            None => {
                let none = RoleError::NoneFor("main".parse().unwrap());
                assert_eq!(started.unwrap_err(), AwsError::Role(none));
                assert_eq!(stub.calls_of("AssumeRole").len(), 2, "nobody is asked");
            }
        }
    }
}

#[tokio::test]
async fn a_persons_own_token_proves_who_they_are_and_no_key_of_ours_signs() {
    let stub = Stub::serve(session).await;
    let people = Arc::new(Logins { tokens: vec!["a.b.c"].into(), ..Logins::default() });
    let domain = Domain { credentials: RoleCredentials::WebIdentity, ..domain(&stub) };
    let aws = aws_of(domain, &people);
    aws.start_session(&anna(), &graphs()).await.unwrap();
    let asked = stub.calls_of("AssumeRoleWithWebIdentity");
    assert_eq!((asked.len(), asked[0].key.as_str(), stub.calls_of("AssumeRole").len()), (1, "", 0));
    for (name, value) in
        [("WebIdentityToken", "a.b.c"), ("RoleSessionName", "anna"), ("DurationSeconds", "900")]
    {
        assert_eq!(field(&asked[0], name).as_deref(), Some(value), "{name}");
    }
    assert!(field(&asked[0], "Policy").unwrap().contains("space/d-main/graphs"));
    assert_eq!(stub.calls_of("StartSession")[0].key, "ROLEKEY");
    assert_eq!(refusal(&aws).await, AwsError::Role(RoleError::NoToken(NoToken::Lapsed)));
}

#[tokio::test]
async fn a_token_that_sts_calls_expired_is_renewed_once() {
    let stub = Stub::serve(|call| match call.operation.as_str() {
        "AssumeRoleWithWebIdentity" if !call.body.contains("=third") => {
            (400, problem("ExpiredTokenException"))
        }
        _ => session(call),
    })
    .await;
    let people =
        Arc::new(Logins { tokens: vec!["first", "second", "second", "third"].into(), ..Logins::default() });
    let domain = Domain { credentials: RoleCredentials::WebIdentity, ..domain(&stub) };
    let aws = aws_of(domain, &people);
    assert_eq!(refusal(&aws).await, AwsError::Role(RoleError::TokenExpired("words".to_owned())));
    assert_eq!(stub.calls_of("AssumeRoleWithWebIdentity").len(), 2, "not a third time");
    aws.start_session(&anna(), &graphs()).await.unwrap();
    assert_eq!(*people.refused.lock().unwrap(), ["first", "second"]);
}

#[tokio::test]
async fn sts_is_asked_again_when_it_throttles_and_given_up_after_four_tries() {
    let stub = Stub::serve(|call| match call.operation.as_str() {
        "AssumeRole" => (400, problem("Throttling")),
        _ => session(call),
    })
    .await;
    assert_eq!(refusal(&aws(&stub)).await, AwsError::Role(RoleError::Throttled));
    assert_eq!(stub.calls_of("AssumeRole").len(), 4);
    assert!(stub.calls_of("StartSession").is_empty());
}

#[tokio::test]
async fn a_denial_of_sts_is_final() {
    for (code, meaning) in [
        ("PackedPolicyTooLarge", RoleError::TooLarge("words".to_owned())),
        ("RegionDisabledException", RoleError::RegionDisabled("words".to_owned())),
    ] {
        let stub = Stub::serve(move |call| match call.operation.as_str() {
            "AssumeRole" => (400, problem(code)),
            _ => session(call),
        })
        .await;
        assert_eq!(refusal(&aws(&stub)).await, AwsError::Role(meaning));
        assert_eq!(stub.calls_of("AssumeRole").len(), 1, "{code}");
    }
}

fn denied_by_sts(call: &Call) -> (u16, String) {
    let problem = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
         <Message>not authorized to perform sts:AssumeRole</Message></Error></ErrorResponse>";
    match call.operation.as_str() {
        "AssumeRole" => (403, problem.to_owned()),
        _ => (200, "{}".to_owned()),
    }
}

#[tokio::test]
async fn a_refused_role_is_told_apart_from_a_refused_call() {
    let stub = Stub::serve(denied_by_sts).await;
    let denied = |role: &str| {
        let message = "not authorized to perform sts:AssumeRole".to_owned();
        AwsError::Role(RoleError::Denied { role: role.to_owned(), message })
    };
    let error = aws(&stub).start_session(&anna(), &graphs()).await.unwrap_err();
    assert_eq!(error, denied("spaceport-user"));

    // The role that lists is taken on inside the SDK; its refusal must not look like a lost connection.
    let mut domain = domain(&stub);
    domain.service_role = Some("arn:aws:iam::123456789012:role/spaceport-service".parse().unwrap());
    let error = aws_with(domain, Arc::default()).list_spaces(&"main".parse().unwrap()).await.unwrap_err();
    assert_eq!(error, denied("spaceport-service"));
}
