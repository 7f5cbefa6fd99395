mod web;

use serde_json::json;

use crate::fixture::{ACCOUNT, USER_ROLE};
use crate::keys::Credentials;
use crate::roles::role_arn;
use crate::testing::{Lab, TestResult, credentials, element};

/// The parameters that the role wants, each replaceable; an empty value leaves the parameter out.
fn ask(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut ask = vec![
        ("Action".to_owned(), "AssumeRole".to_owned()),
        ("RoleArn".to_owned(), role_arn(ACCOUNT, USER_ROLE)),
        ("RoleSessionName".to_owned(), "alice".to_owned()),
        ("SourceIdentity".to_owned(), "alice".to_owned()),
        ("DurationSeconds".to_owned(), "900".to_owned()),
        ("Tags.member.1.Key".to_owned(), "gw-owner".to_owned()),
        ("Tags.member.1.Value".to_owned(), "alice".to_owned()),
    ];
    for (name, value) in changes {
        ask.retain(|(present, _)| present != name);
        if !value.is_empty() {
            ask.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    ask
}

async fn call(lab: &Lab, who: &Credentials, ask: &[(String, String)]) -> anyhow::Result<(u16, String)> {
    let pairs: Vec<(&str, &str)> = ask.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    lab.sts(who, &pairs).await
}

/// The code of the refusal; empty if it was none.
async fn refusal(lab: &Lab, changes: &[(&str, &str)]) -> anyhow::Result<String> {
    let (_, xml) = call(lab, &lab.service(), &ask(changes)).await?;
    Ok(element(&xml, "Code"))
}

#[tokio::test(start_paused = true)]
async fn a_role_session_is_who_it_says() -> TestResult {
    let lab = Lab::new().await?;
    let (status, xml) = call(&lab, &lab.service(), &ask(&[])).await?;
    assert_eq!(status, 200, "{xml}");
    assert_eq!(element(&xml, "SourceIdentity"), "alice");
    assert!(element(&xml, "AssumedRoleId").ends_with(":alice"));
    let alice = credentials(&xml);
    assert!(alice.access_key_id.starts_with("ASIA"));
    let (_, xml) = lab.sts(&alice, &[("Action", "GetCallerIdentity")]).await?;
    assert_eq!(element(&xml, "Arn"), format!("arn:aws:sts::{ACCOUNT}:assumed-role/gw-user/alice"));
    assert_eq!(element(&xml, "Account"), ACCOUNT);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_trust_policy_wants_identity_owner_and_known_tags() -> TestResult {
    let lab = Lab::new().await?;
    assert_eq!(refusal(&lab, &[("SourceIdentity", "")]).await?, "AccessDenied");
    let untagged = [("Tags.member.1.Key", ""), ("Tags.member.1.Value", "")];
    assert_eq!(refusal(&lab, &untagged).await?, "AccessDenied");
    assert_eq!(refusal(&lab, &[("Tags.member.1.Key", "owner")]).await?, "AccessDenied");
    let more = [("Tags.member.2.Key", "department"), ("Tags.member.2.Value", "x")];
    assert_eq!(refusal(&lab, &more).await?, "AccessDenied");
    let fine = [("Tags.member.2.Key", "gw-sub"), ("Tags.member.2.Value", "x")];
    assert_eq!(refusal(&lab, &fine).await?, "");
    assert_eq!(refusal(&lab, &[("RoleArn", &role_arn(ACCOUNT, "gw-nobody"))]).await?, "AccessDenied");
    // Who is not the service role is not trusted, whatever it sends.
    let alice = lab.person("alice", None).await?;
    let (status, xml) = call(&lab, &alice, &ask(&[])).await?;
    assert_eq!((status, element(&xml, "Code").as_str()), (403, "AccessDenied"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn each_action_of_assuming_is_needed() -> TestResult {
    let lab = Lab::new().await?;
    for action in ["sts:TagSession", "sts:SetSourceIdentity", "sts:AssumeRole"] {
        lab.simulator.deny_action(ACCOUNT, "gateway-service", action)?;
        assert_eq!(refusal(&lab, &[]).await?, "AccessDenied", "{action}");
        lab.simulator.allow_action(ACCOUNT, "gateway-service", action)?;
    }
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": role_arn(ACCOUNT, "gateway-service") },
            "Action": "sts:AssumeRole",
        }],
    });
    lab.simulator.set_role_trust(ACCOUNT, USER_ROLE, &trust)?;
    assert_eq!(refusal(&lab, &[]).await?, "AccessDenied");
    let plain = [("Tags.member.1.Key", ""), ("Tags.member.1.Value", ""), ("SourceIdentity", "")];
    assert_eq!(refusal(&lab, &plain).await?, "");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn names_durations_tags_and_policies_have_rules() -> TestResult {
    let lab = Lab::new().await?;
    for (name, value, code) in [
        ("RoleSessionName", "a", "ValidationError"),
        ("RoleSessionName", "alice bo", "ValidationError"),
        ("RoleSessionName", "alice@example.org", ""),
        ("RoleSessionName", "", "ValidationError"),
        ("SourceIdentity", "aws:alice", "ValidationError"),
        ("SourceIdentity", "AWS-alice", ""),
        ("DurationSeconds", "899", "ValidationError"),
        ("DurationSeconds", "3601", "ValidationError"),
        ("DurationSeconds", "soon", "MalformedInput"),
        ("Tags.member.1.Value", "a#b", "ValidationError"),
        ("Tags.member.1.Key", "aws:owner", "ValidationError"),
        ("Policy", "{", "MalformedPolicyDocument"),
        ("Policy", r#"{"Version":"2012-10-17","Statement":[]}"#, "MalformedPolicyDocument"),
        ("Color", "red", "ValidationError"),
    ] {
        assert_eq!(refusal(&lab, &[(name, value)]).await?, code, "{name}={value}");
    }
    let twice = [("Tags.member.2.Key", "GW-Owner"), ("Tags.member.2.Value", "bo")];
    assert_eq!(refusal(&lab, &twice).await?, "InvalidParameterValue");
    let stray = [("TransitiveTagKeys.member.1", "gw-sub")];
    assert_eq!(refusal(&lab, &stray).await?, "InvalidParameterValue");
    assert_eq!(refusal(&lab, &[("TransitiveTagKeys.member.1", "GW-owner")]).await?, "");
    let long = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "a:b", "Resource": format!("arn:aws:s3:::{}", "x".repeat(2048)) }],
    });
    assert_eq!(refusal(&lab, &[("Policy", &long.to_string())]).await?, "ValidationError");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_session_policy_narrows_to_one_space() -> TestResult {
    let lab = Lab::new().await?;
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": "sagemaker:StartSession",
            "Resource": lab.simulator.space_arn("demo"),
        }],
    });
    let alice = lab.person("alice", Some(policy)).await?;
    assert_eq!(lab.open(&alice, "demo").await?.status, 200);
    let denied = lab.open(&alice, "gpu").await?;
    assert_eq!(denied.code(), "AccessDeniedException");
    assert!(denied.body["message"].as_str().is_some_and(|words| words.contains("no session policy allows")));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn credentials_end_and_forgeries_are_told_apart() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    assert_eq!(lab.open(&alice, "demo").await?.status, 200);
    lab.pass(900).await;
    assert_eq!(lab.open(&alice, "demo").await?.code(), "ExpiredTokenException");
    let (status, xml) = lab.sts(&alice, &[("Action", "GetCallerIdentity")]).await?;
    assert_eq!((status, element(&xml, "Code").as_str()), (403, "ExpiredToken"));

    let wrong = Credentials { secret_access_key: "guess".to_owned(), ..lab.service() };
    assert_eq!(lab.open(&wrong, "demo").await?.code(), "InvalidSignatureException");
    let (_, xml) = lab.sts(&wrong, &[("Action", "GetCallerIdentity")]).await?;
    assert_eq!(element(&xml, "Code"), "SignatureDoesNotMatch");
    let unknown = Credentials { access_key_id: "AKIANOBODY".to_owned(), ..lab.service() };
    assert_eq!(lab.open(&unknown, "demo").await?.code(), "UnrecognizedClientException");
    let (_, xml) = lab.sts(&unknown, &[("Action", "GetCallerIdentity")]).await?;
    assert_eq!(element(&xml, "Code"), "InvalidClientTokenId");
    lab.simulator.set_clock_offset(time::Duration::minutes(10));
    let headers = [("x-amz-target".to_owned(), "SageMaker.ListSpaces".to_owned())];
    let content = ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned());
    let (_, body) = lab.send("POST", &[headers.to_vec(), vec![content]].concat(), "{}".to_owned()).await?;
    assert!(body.contains("MissingAuthenticationTokenException"), "{body}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_trail_says_who_became_whom() -> TestResult {
    let lab = Lab::new().await?;
    call(&lab, &lab.service(), &ask(&[])).await?;
    let events = lab.simulator.cloudtrail();
    let event =
        events.iter().find(|e| e.event_name == "AssumeRole").ok_or_else(|| anyhow::anyhow!("no event"))?;
    assert!(event.caller_arn().is_some_and(|arn| arn.contains("gateway-service")));
    assert_eq!(event.request_parameters["principalTags"], json!({ "gw-owner": "alice" }));
    assert_eq!(event.request_parameters["sourceIdentity"], "alice");
    assert_eq!(event.resource, Some(role_arn(ACCOUNT, USER_ROLE)));
    Ok(())
}
