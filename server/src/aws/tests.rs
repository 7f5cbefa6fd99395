//! What goes over the wire, against a scripted server: what we send, and how we read what comes.

mod listing;
mod roles;
mod stub;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use reqwest::Url;
use secrecy::SecretString;
use serde_json::json;
use ssm_datachannel::{Resume, ResumeError};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio_util::task::TaskTracker;

use self::roles::Logins;
use self::stub::{Call, Stub};
use super::Aws;
use super::listing::arn_of;
use super::resume::ActorResumes;
use crate::config::domains::{CallRate, Domain, Endpoints, RoleCredentials, StreamSigning, Upload};
use crate::domain::actor::Actor;
use crate::domain::ports::{AwsError, Clock, Dial, DialError, SessionGrant, SpaceControl, UserCredentials};
use crate::domain::role::{PersonRoles, RoleArn};
use crate::domain::space::{AppStatus, AppType, Sharing, Space, SpaceStatus};
use crate::domain::start::StartSettings;
use crate::domain::testing::{space, user};

/// A clock that the test moves.
#[derive(Default)]
pub(super) struct HandClock(Mutex<Duration>);

impl HandClock {
    pub(super) fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> OffsetDateTime {
        datetime!(2026-11-25 09:00 UTC) + self.elapsed()
    }
    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    async fn sleep(&self, _duration: Duration) {}
}

fn role(name: &str) -> RoleArn {
    format!("arn:aws:iam::123456789012:role/{name}").parse().unwrap()
}

fn domain(stub: &Stub) -> Domain {
    let endpoint = Some(stub.url.clone());
    Domain {
        alias: "main".parse().unwrap(),
        id: "d-main".parse().unwrap(),
        account: "123456789012".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        partition: "aws".to_owned(),
        roles: PersonRoles { rules: Vec::new(), otherwise: Some(role("spaceport-user")) },
        credentials: RoleCredentials::Own,
        service_role: None,
        probe_role: None,
        endpoints: Endpoints {
            sagemaker: endpoint.clone(),
            sts: endpoint.clone(),
            ssm: endpoint.clone(),
            pricing: endpoint,
        },
        stream_hosts: Vec::new(),
        stream_signing: StreamSigning::Auto,
        upload: Upload { max_payload_bytes: 16_384, messages_per_s: Some(850) },
        ownership: None,
        calls: CallRate { per_s: 4, burst: 8 },
        read_tags: false,
        cost: Default::default(),
    }
}

fn aws_with(domain: Domain, clock: Arc<HandClock>) -> Aws {
    let own = SharedCredentialsProvider::new(Credentials::new("OWNKEY", "s", None, None, "test"));
    let people: Arc<dyn UserCredentials> = Arc::new(Logins::default());
    Aws::new(&[domain], &own, &people, clock, TaskTracker::new()).unwrap()
}

fn aws(stub: &Stub) -> Aws {
    aws_with(domain(stub), Arc::default())
}

fn anna() -> Actor {
    Actor::person(&user("anna", &[]))
}

fn graphs() -> Space {
    space("graphs", "anna", Sharing::Private)
}

/// Answers each operation with a body; role sessions are granted.
fn answers(bodies: &'static [(&'static str, &'static str)]) -> impl Fn(&Call) -> (u16, String) {
    move |call| {
        let body = bodies.iter().find(|(operation, _)| *operation == call.operation);
        (200, body.map(|(_, body)| (*body).to_owned()).unwrap_or_default())
    }
}

/// A field of a form, decoded.
fn field(call: &Call, name: &str) -> Option<String> {
    let url = Url::parse(&format!("http://x/?{}", call.body)).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[tokio::test]
async fn a_session_is_started_as_the_person_with_a_policy_for_the_one_space() {
    let stub = Stub::serve(answers(&[(
        "StartSession",
        r#"{"SessionId":"s-1","StreamUrl":"wss://x/s-1?a=b+c","TokenValue":"secret-token"}"#,
    )]))
    .await;
    let grant = aws(&stub).start_session(&anna(), &graphs()).await.unwrap();

    assert_eq!(grant.stream_url, "wss://x/s-1?a=b+c");
    assert_eq!(grant.role_session, "arn:aws:sts::111111111111:assumed-role/spaceport-user/anna");
    assert_eq!(grant.request_id.as_deref(), Some("request-1"));
    assert!(!format!("{grant:?}").contains("secret-token"));

    let calls = stub.calls();
    let (role, start) = (&calls[0], &calls[1]);
    assert_eq!((calls.len(), role.key.as_str(), start.key.as_str()), (2, "OWNKEY", "ROLEKEY"));
    for (name, value) in [
        ("RoleArn", "arn:aws:iam::123456789012:role/spaceport-user"),
        ("RoleSessionName", "anna"),
        ("SourceIdentity", "anna"),
        ("DurationSeconds", "900"),
        ("Tags.member.1.Key", "gw-owner"),
        ("Tags.member.1.Value", "anna"),
        ("Tags.member.2.Key", "gw-sub"),
        ("Tags.member.2.Value", "anna"),
    ] {
        assert_eq!(field(role, name).as_deref(), Some(value), "{name}");
    }
    let policy = field(role, "Policy").unwrap();
    assert!(
        policy.contains(r#""Resource":["arn:aws:sagemaker:us-east-1:123456789012:space/d-main/graphs"]"#)
    );
    assert_eq!(start.json(), json!({"ResourceIdentifier": graphs().arn.to_string()}));
}

#[tokio::test]
async fn starting_a_session_is_asked_once_even_if_aws_fails() {
    let stub = Stub::serve(|call| match call.operation.as_str() {
        "StartSession" => (500, r#"{"__type":"InternalFailure","Message":"not registered"}"#.to_owned()),
        _ => (200, String::new()),
    })
    .await;
    let error = aws(&stub).start_session(&anna(), &graphs()).await.unwrap_err();
    let operation = "sagemaker:StartSession";
    assert_eq!(error, AwsError::Internal { operation, message: "not registered".to_owned() });
    assert_eq!(stub.calls_of("StartSession").len(), 1);
}

#[tokio::test]
async fn an_answer_without_a_token_is_no_grant() {
    let stub = Stub::serve(answers(&[(
        "StartSession",
        r#"{"SessionId":"s-1","StreamUrl":"wss://x","TokenValue":""}"#,
    )]))
    .await;
    let error = aws(&stub).start_session(&anna(), &graphs()).await.unwrap_err();
    assert!(matches!(error, AwsError::Internal { .. }), "{error}");
}

#[tokio::test]
async fn a_space_of_another_account_than_its_domains_is_not_touched() {
    let stub = Stub::serve(answers(&[])).await;
    let mut other = graphs();
    other.arn.account = "999999999999".parse().unwrap();
    assert!(matches!(aws(&stub).start_session(&anna(), &other).await, Err(AwsError::NotFound(_))));
    assert!(stub.calls().is_empty());
}

const DESCRIBED: &str = r#"{"DomainId":"d-main","SpaceName":"graphs","Status":"InService","SpaceSettings":{
    "AppType":"JupyterLab","RemoteAccess":"DISABLED",
    "SpaceStorageSettings":{"EbsStorageSettings":{"EbsVolumeSizeInGb":50}},
    "JupyterLabAppSettings":{
        "CodeRepositories":[{"RepositoryUrl":"https://git.example.com/x"}],
        "DefaultResourceSpec":{
            "InstanceType":"ml.t3.medium","SageMakerImageArn":"arn:image","SageMakerImageVersionAlias":"3.2.0",
            "LifecycleConfigArn":"arn:lcc"}}}}"#;

#[tokio::test]
async fn a_change_sends_only_what_changes_and_never_the_app_type() {
    let stub = Stub::serve(answers(&[("DescribeSpace", DESCRIBED), ("UpdateSpace", "{}")])).await;
    let aws = aws(&stub);
    aws.update_space(&anna(), &graphs(), Some(true), None).await.unwrap();
    let instance_type = "ml.t3.large".parse().unwrap();
    aws.update_space(&anna(), &graphs(), None, Some(&instance_type)).await.unwrap();

    let updates = stub.calls_of("UpdateSpace");
    assert_eq!(updates[0].json()["SpaceSettings"], json!({"RemoteAccess": "ENABLED"}));
    assert_eq!(
        updates[1].json()["SpaceSettings"],
        json!({"JupyterLabAppSettings": {
            "CodeRepositories": [{"RepositoryUrl": "https://git.example.com/x"}],
            "DefaultResourceSpec": {"InstanceType": "ml.t3.large", "SageMakerImageArn": "arn:image",
                "SageMakerImageVersionAlias": "3.2.0", "LifecycleConfigArn": "arn:lcc"}}})
    );
    assert_eq!(stub.calls_of("DescribeSpace").len(), 1);
}

#[tokio::test]
async fn an_app_gets_the_spaces_own_choice() {
    let stub =
        Stub::serve(answers(&[("DescribeSpace", DESCRIBED), ("CreateApp", "{}"), ("DeleteApp", "{}")])).await;
    let aws = aws(&stub);
    let settings = aws.start_settings(&anna(), &graphs()).await.unwrap();
    assert_eq!(
        settings,
        StartSettings {
            instance_type: Some("ml.t3.medium".parse().unwrap()),
            image_version: Some("3.2.0".to_owned()),
            image: Some("arn:image".to_owned()),
            image_version_arn: None,
            lifecycle_config: Some("arn:lcc".to_owned()),
            remote_access: false,
            status: SpaceStatus::InService,
        }
    );
    aws.create_app(&anna(), &graphs(), &settings).await.unwrap();
    aws.delete_app(&anna(), &graphs()).await.unwrap();

    let app =
        json!({"DomainId": "d-main", "SpaceName": "graphs", "AppType": "JupyterLab", "AppName": "default"});
    let mut created = stub.calls_of("CreateApp")[0].json();
    let spec = created.as_object_mut().unwrap().remove("ResourceSpec").unwrap();
    assert_eq!(created, app);
    assert_eq!(spec["SageMakerImageVersionAlias"], "3.2.0");
    assert_eq!(stub.calls_of("DeleteApp")[0].json(), app);
    let policies: Vec<_> =
        stub.calls_of("AssumeRole").iter().map(|call| field(call, "Policy").unwrap()).collect();
    assert!(
        policies
            .iter()
            .all(|policy| policy.contains("sagemaker:CreateApp") && !policy.contains("StartSession"))
    );
}

#[tokio::test]
async fn an_apps_report_has_its_failure() {
    let stub = Stub::serve(answers(&[(
        "DescribeApp",
        r#"{"Status":"Failed","FailureReason":"no capacity","CreationTime":1700000000,"ResourceSpec":{}}"#,
    )]))
    .await;
    let (aws, space) = (aws(&stub), graphs());
    let report = aws.describe_app(&space.arn, &space.domain, AppType::JupyterLab).await.unwrap();
    assert_eq!((report.status, report.failure.as_deref()), (AppStatus::Failed, Some("no capacity")));
    assert_eq!(report.created_at.unwrap().unix_timestamp(), 1_700_000_000);
}

#[tokio::test]
async fn a_denied_resume_is_believed_for_a_day() {
    let stub = Stub::serve(|call| match call.operation.as_str() {
        "ResumeSession" => (400, r#"{"__type":"AccessDeniedException","Message":"no"}"#.to_owned()),
        _ => (200, String::new()),
    })
    .await;
    let clock = Arc::new(HandClock::default());
    let aws = aws_with(domain(&stub), Arc::clone(&clock));
    let clients = Arc::clone(aws.domain(&"main".parse().unwrap()).unwrap());
    let arn = arn_of(&clients.config, "graphs".parse().unwrap());
    let resumes = ActorResumes { domain: clients, actor: anna(), arn };

    assert_eq!(resumes.resume("s-1").await.unwrap_err(), ResumeError::Denied);
    assert_eq!(resumes.resume("s-2").await.unwrap_err(), ResumeError::Denied);
    let asked = stub.calls_of("ResumeSession");
    assert_eq!((asked.len(), asked[0].key.as_str()), (1, "ROLEKEY"));
    assert_eq!(asked[0].json(), json!({"SessionId": "s-1"}));

    clock.pass(Duration::from_secs(25 * 60 * 60));
    assert_eq!(resumes.resume("s-3").await.unwrap_err(), ResumeError::Denied);
    assert_eq!(stub.calls_of("ResumeSession").len(), 2);
}

fn grant(stream_url: String) -> SessionGrant {
    SessionGrant {
        session_id: "s-1".to_owned(),
        stream_url,
        token: SecretString::from("t"),
        role_session: String::new(),
        request_id: None,
    }
}

#[tokio::test]
async fn a_stream_to_a_foreign_host_is_not_dialled() {
    let stub = Stub::serve(answers(&[])).await;
    let opened = aws(&stub).dial(&anna(), &graphs(), grant(stub.url.replace("http", "ws"))).await;
    assert!(matches!(opened.err(), Some(DialError::ForeignHost(_))));
    assert!(stub.calls_of("Dial").is_empty());
}

#[tokio::test]
async fn a_dial_is_signed_by_who_started_the_session_then_tried_without() {
    let stub = Stub::serve(|call| match call.operation.as_str() {
        "Dial" => (403, String::new()),
        "StartSession" => (200, r#"{"SessionId":"s-1","StreamUrl":"wss://x","TokenValue":"t"}"#.to_owned()),
        _ => (200, String::new()),
    })
    .await;
    let mut domain = domain(&stub);
    domain.stream_hosts = vec![stub.url.replace("http://", "")];
    let aws = aws_with(domain, Arc::default());
    aws.start_session(&anna(), &graphs()).await.unwrap();
    let opened = aws.dial(&anna(), &graphs(), grant(stub.url.replace("http", "ws"))).await;

    assert_eq!(opened.err(), Some(DialError::Refused(403)));
    let keys: Vec<String> = stub.calls_of("Dial").into_iter().map(|call| call.key).collect();
    assert_eq!(keys, ["ROLEKEY", ""]);
    assert_eq!(stub.calls_of("AssumeRole").len(), 1, "the dial needs no role session of its own");

    // Nothing is kept for a second dial, which mints its own.
    let _ = aws.dial(&anna(), &graphs(), grant(stub.url.replace("http", "ws"))).await;
    assert_eq!(stub.calls_of("AssumeRole").len(), 2);
}
