use serde_json::json;

use super::*;
use crate::fixture::{ACCOUNT, DOMAIN, LOOK_ROLE};
use crate::keys::Credentials;
use crate::testing::{Answer, Lab, TestResult};
use crate::{Fixture, SpaceSpec};

fn text(answer: &Answer, member: &str) -> String {
    answer.body[member].as_str().unwrap_or_default().to_owned()
}

/// Asks to open a stream URL with these headers.
fn open(lab: &Lab, url: &str, headers: &[(String, String)]) -> Result<(), u16> {
    let (session, path) = parts(url);
    lab.simulator.sessions().authorize_open(&session, "GET", &path, headers)
}

/// The session's id and path with query of a stream URL.
fn parts(url: &str) -> (String, String) {
    let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
    let id = path.split(['/', '?']).nth(3).unwrap_or_default().to_owned();
    (id, path)
}

fn signed(lab: &Lab, who: &Credentials, url: &str) -> Vec<(String, String)> {
    let (_, path) = parts(url);
    let (path, query) = path.split_once('?').unwrap_or_default();
    lab.signer(who, "ssmmessages").headers("GET", path, query, &[("host", "simulator")], b"")
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_opened_by_whom_the_policies_let() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    let url = text(&lab.open(&alice, "demo").await?, "StreamUrl");
    assert!(url.contains("role=publish_subscribe&cell-number=") && url.contains('+') && url.ends_with("=="));
    assert_eq!(open(&lab, &url, &signed(&lab, &alice, &url)), Ok(()));
    assert_eq!(open(&lab, &url, &[]), Err(403));
    // The service role starts no session, and so opens none either.
    assert_eq!(open(&lab, &url, &signed(&lab, &lab.service(), &url)), Err(403));
    let narrow = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "sagemaker:StartSession", "Resource": "*" }],
    });
    let narrowed = lab.person("alice", Some(narrow)).await?;
    assert_eq!(open(&lab, &url, &signed(&lab, &narrowed, &url)), Err(403));
    lab.simulator.switch(|switches| switches.unsigned_open = true);
    assert_eq!(open(&lab, &url, &[]), Ok(()));
    lab.simulator.fail_next("OpenDataChannel", "ServiceUnavailable", 1);
    assert_eq!(open(&lab, &url, &[]), Err(503));
    assert_eq!(open(&lab, &url.replace("alice-", "bob-"), &[]), Err(404));

    let opens: Vec<_> =
        lab.simulator.cloudtrail().into_iter().filter(|e| e.event_name == "OpenDataChannel").collect();
    let first = opens.first().ok_or_else(|| anyhow::anyhow!("no event"))?;
    assert_eq!(first.source_identity(), Some("alice"));
    assert_eq!(first.principal_tag("gw-owner"), Some("alice"));
    assert_eq!(first.error_code, None);
    assert_eq!(opens.iter().filter(|e| e.error_code.is_some()).count(), 4);
    lab.simulator.shutdown().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_presigned_url_opens_without_credentials() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    lab.simulator.switch(|switches| switches.presigned_urls = true);
    let url = text(&lab.open(&alice, "demo").await?, "StreamUrl");
    let host = url.split('/').nth(2).unwrap_or_default().to_owned();
    let headers = [("Host".to_owned(), host)];
    assert_eq!(open(&lab, &url, &headers), Ok(()));
    assert_eq!(open(&lab, &url.replace("cell-number=", "cell-number=x"), &headers), Err(403));
    lab.pass(301).await;
    assert_eq!(open(&lab, &url, &headers), Err(403));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_once_and_only_for_its_session() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    let (one, two) = (lab.open(&alice, "demo").await?, lab.open(&alice, "demo").await?);
    let sessions = lab.simulator.sessions();
    let (id, token) = (text(&one, "SessionId"), text(&one, "TokenValue"));
    assert!(sessions.claim(&id, &text(&two, "TokenValue")).is_err());
    assert_eq!(sessions.claim(&id, &token).map(|c| c.space_arn), Ok(lab.simulator.space_arn("demo")));
    assert!(sessions.claim(&id, &token).is_err());
    lab.simulator.switch(|switches| switches.single_use_tokens = false);
    assert!(sessions.claim(&id, &token).is_ok());
    sessions.released(&id);
    assert!(sessions.claim(&id, &token).is_err());
    // The other token was never used, and is too old at last.
    lab.pass(20 * 60).await;
    assert!(sessions.claim(&text(&two, "SessionId"), &text(&two, "TokenValue")).is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_resumed_session_gets_a_new_token_if_the_account_allows() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    let started = lab.open(&alice, "demo").await?;
    let (id, sessions) = (text(&started, "SessionId"), lab.simulator.sessions());
    assert!(sessions.claim(&id, &text(&started, "TokenValue")).is_ok());
    let resume = |id: String| lab.json(&alice, "ssm", "AmazonSSM.ResumeSession", json!({ "SessionId": id }));
    let resumed = resume(id.clone()).await?;
    assert_eq!(resumed.status, 200, "{resumed:?}");
    assert_eq!(text(&resumed, "SessionId"), id);
    assert!(text(&resumed, "TokenValue").len() <= 300);
    assert!(sessions.claim(&id, &text(&started, "TokenValue")).is_err());
    assert!(sessions.claim(&id, &text(&resumed, "TokenValue")).is_ok());

    assert_eq!(resume("nobody-0".to_owned()).await?.code(), "DoesNotExistException");
    lab.simulator.switch(|switches| switches.resume = false);
    assert_eq!(resume(id.clone()).await?.code(), "AccessDeniedException");
    lab.simulator.switch(|switches| switches.resume = true);
    sessions.released(&id);
    assert!(resume(id.clone()).await?.body.get("TokenValue").is_none());
    let terminated =
        lab.json(&alice, "ssm", "AmazonSSM.TerminateSession", json!({ "SessionId": id })).await?;
    assert_eq!(terminated.code(), "AccessDeniedException");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_space_has_ten_streams() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    let sessions = lab.simulator.sessions();
    let mut ids = Vec::new();
    for _ in 0..STREAMS_PER_SPACE {
        let started = lab.open(&alice, "demo").await?;
        assert_eq!(started.status, 200, "{started:?}");
        let id = text(&started, "SessionId");
        assert!(sessions.claim(&id, &text(&started, "TokenValue")).is_ok());
        ids.push(id);
    }
    assert_eq!(lab.open(&alice, "demo").await?.code(), "ResourceLimitExceeded");
    assert_eq!(lab.open(&alice, "gpu").await?.status, 200);
    ids.iter().take(1).for_each(|id| sessions.released(id));
    assert_eq!(lab.open(&alice, "demo").await?.status, 200);
    assert_eq!(lab.open(&alice, "demo").await?.code(), "ResourceLimitExceeded");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stopped_app_ends_its_sessions() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    let started = lab.open(&alice, "demo").await?;
    assert!(lab.simulator.stop_app(&lab.simulator.space_arn("demo"))?);
    let sessions = lab.simulator.sessions();
    assert!(sessions.claim(&text(&started, "SessionId"), &text(&started, "TokenValue")).is_err());
    assert_eq!(lab.open(&alice, "demo").await?.code(), "ValidationException");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_looks_into_a_space_opens_that_one_alone_under_a_name_of_its_own() -> TestResult {
    let lab = Lab::new().await?;
    let probe = lab.probe(LOOK_ROLE, "demo").await?;
    let url = text(&lab.open(&probe, "demo").await?, "StreamUrl");
    assert_eq!(open(&lab, &url, &signed(&lab, &probe, &url)), Ok(()));
    let session = json!({ "SessionId": parts(&url).0 });
    let resumed = lab.json(&probe, "ssm", "AmazonSSM.ResumeSession", session).await?;
    assert_eq!(resumed.status, 200, "{resumed:?}");
    assert_eq!(lab.open(&probe, "team").await?.code(), "AccessDeniedException", "not of its session");
    let app = json!({
        "DomainId": DOMAIN, "SpaceName": "demo", "AppType": "JupyterLab", "AppName": "default",
    });
    for operation in ["DeleteApp", "DescribeApp"] {
        let refused = lab.sagemaker(&probe, operation, app.clone()).await?;
        assert_eq!(refused.code(), "AccessDeniedException", "{operation}");
    }
    assert!(lab.probe("somebody", "demo").await.is_err(), "the role has one name");
    assert!(lab.probe("", "demo").await.is_err());

    let trail = lab.simulator.cloudtrail();
    for name in ["StartSession", "OpenDataChannel", "ResumeSession"] {
        let event = trail.iter().find(|event| event.event_name == name);
        let event = event.ok_or_else(|| anyhow::anyhow!("no {name}"))?;
        assert_eq!(event.source_identity(), Some("spaceport-probe"), "{name}");
        let caller = format!("arn:aws:sts::{ACCOUNT}:assumed-role/spaceport-probe/spaceport-probe");
        assert_eq!(event.caller_arn(), Some(caller.as_str()), "{name}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_looks_into_spaces_reaches_the_domains_of_the_account_and_no_other() -> TestResult {
    let second = Fixture::domain("d-second", "second").with(SpaceSpec::private("b", "bo").running());
    let lab = Lab::with(vec![Fixture::default(), second]).await?;
    let own = lab.simulator.space_arn_in("d-second", "b").ok_or_else(|| anyhow::anyhow!("no space"))?;
    let probe = lab.probe_of(LOOK_ROLE, &own).await?;
    let answer = lab.sagemaker(&probe, "StartSession", json!({ "ResourceIdentifier": own })).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let elsewhere = own.replace("d-second", "d-third");
    let probe = lab.probe_of(LOOK_ROLE, &elsewhere).await?;
    let answer = lab.sagemaker(&probe, "StartSession", json!({ "ResourceIdentifier": elsewhere })).await?;
    assert_eq!(answer.code(), "AccessDeniedException");
    Ok(())
}
