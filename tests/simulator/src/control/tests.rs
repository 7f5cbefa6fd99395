use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::fixture::{ACCOUNT, DOMAIN, USER_ROLE};
use crate::space::GoSpaces;
use crate::testing::{Lab, TestResult, build_cache};
use crate::{Config, Fixture, NoServers, StreamSide};

/// Sends a request over TCP, as any client would, and gives status and body.
async fn send(lab: &Lab, method: &str, path: &str, body: Value) -> anyhow::Result<(u16, Value)> {
    let token = lab.simulator.control_token().to_owned();
    send_with(lab, &token, method, path, body).await
}

async fn send_with(
    lab: &Lab,
    token: &str,
    method: &str,
    path: &str,
    body: Value,
) -> anyhow::Result<(u16, Value)> {
    let address = lab.simulator.control_endpoint().replace("http://", "");
    let mut stream = tokio::net::TcpStream::connect(&address).await?;
    let body = body.to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).unwrap_or_default().parse()?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

#[tokio::test]
async fn the_token_is_asked_for() -> TestResult {
    let lab = Lab::new().await?;
    assert_eq!(send(&lab, "GET", "/spaces", json!({})).await?.0, 200);
    assert_eq!(send_with(&lab, "guess", "GET", "/spaces", json!({})).await?.0, 401);
    assert_eq!(send_with(&lab, "", "GET", "/cloudtrail", json!({})).await?.0, 401);
    assert_eq!(send_with(&lab, "", "GET", "/health", json!({})).await?.0, 200);
    lab.simulator.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn spaces_are_made_changed_started_stopped_and_removed() -> TestResult {
    let lab = Lab::new().await?;
    let new = json!({ "name": "mine", "owner": "carol", "running": true });
    let (status, made) = send(&lab, "POST", "/spaces", new.clone()).await?;
    assert_eq!((status, &made["app_status"]), (200, &json!("InService")));
    assert_eq!(send(&lab, "POST", "/spaces", new).await?.0, 400);
    assert_eq!(send(&lab, "POST", "/spaces", json!({ "name": "x", "colour": "red" })).await?.0, 422);
    let path = format!("/spaces/{DOMAIN}/mine");
    let change = json!({ "instance_type": "ml.g5.xlarge", "remote_access": false, "tags": { "a": "b", "gw-owner": null } });
    assert_eq!(send(&lab, "PATCH", &path, change).await?.0, 200);
    {
        let world = lab.simulator.cloud.world();
        let space = world.spaces.get(&(DOMAIN.to_owned(), "mine".to_owned()));
        let space = space.ok_or_else(|| anyhow::anyhow!("no space"))?;
        assert!(!space.remote_access());
        assert_eq!(space.default_resources("JupyterLab")["InstanceType"], "ml.g5.xlarge");
        assert_eq!(space.tags.keys().collect::<Vec<_>>(), ["a"]);
    }
    let (_, stopping) = send(&lab, "POST", &format!("{path}/stop"), json!({})).await?;
    assert_eq!(stopping["app_status"], "Deleting");
    assert_eq!(send(&lab, "POST", &format!("{path}/start"), json!({})).await?.0, 400);
    assert_eq!(send(&lab, "DELETE", &path, json!({})).await?.0, 200);
    assert_eq!(send(&lab, "GET", &path, json!({})).await?.0, 404);
    let (_, started) = send(&lab, "POST", &format!("/spaces/{DOMAIN}/stopped/start"), json!({})).await?;
    assert_eq!(started["app_status"], "Pending");
    Ok(())
}

#[tokio::test]
async fn people_quotas_faults_and_switches_are_set() -> TestResult {
    let lab = Lab::new().await?;
    for (method, path, body) in [
        ("POST", "/profiles", json!({ "name": "dave" })),
        ("PUT", "/quotas/ml.p4d.24xlarge", json!({ "limit": 3 })),
        (
            "POST",
            "/faults/fail",
            json!({ "operation": "ListSpaces", "error": "ThrottlingException", "times": 2 }),
        ),
        ("POST", "/faults/delay", json!({ "operation": "ListApps", "seconds": 0.5 })),
        ("POST", "/faults/capacity", json!({ "what": "demo", "reason": "none left" })),
        ("PATCH", "/switches", json!({ "resume": false, "unsigned_open": true })),
        ("PATCH", "/delays", json!({ "registration_lag": 2.5 })),
        ("PUT", "/clock", json!({ "offset_seconds": 600 })),
    ] {
        assert_eq!(send(&lab, method, path, body).await?.0, 200, "{path}");
    }
    {
        let cloud = &lab.simulator.cloud;
        assert!(cloud.world().profiles.contains_key(&(DOMAIN.to_owned(), "dave".to_owned())));
        assert_eq!(cloud.world().quota("ml.p4d.24xlarge"), 3);
        let mut faults = cloud.faults();
        assert_eq!(
            faults.failure_of("ListSpaces").map(|e| e.code.into_owned()).as_deref(),
            Some("ThrottlingException")
        );
        assert_eq!(faults.delay_of("ListApps"), std::time::Duration::from_millis(500));
        assert_eq!(faults.capacity.get("demo").map(String::as_str), Some("none left"));
        assert!(
            !faults.switches.resume && faults.switches.unsigned_open && faults.switches.single_use_tokens
        );
        assert_eq!(cloud.delays().registration_lag, std::time::Duration::from_millis(2500));
    }
    assert_eq!(lab.sagemaker(&lab.service(), "ListSpaces", json!({})).await?.code(), "ThrottlingException");
    assert_eq!(send(&lab, "DELETE", "/faults", json!({})).await?.0, 200);
    assert_eq!(lab.sagemaker(&lab.service(), "ListSpaces", json!({})).await?.code(), "");
    assert_eq!(send(&lab, "PATCH", "/delays", json!({ "app_start": -1.0 })).await?.0, 400);
    assert_eq!(send(&lab, "DELETE", &format!("/profiles/{DOMAIN}/dave"), json!({})).await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn roles_lose_actions_and_credentials_end() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    let role = format!("/roles/{ACCOUNT}/{USER_ROLE}");
    let action = json!({ "action": "sagemaker:StartSession" });
    assert_eq!(send(&lab, "POST", &format!("{role}/deny"), action.clone()).await?.0, 200);
    assert_eq!(lab.open(&alice, "demo").await?.code(), "AccessDeniedException");
    assert_eq!(send(&lab, "POST", &format!("{role}/allow"), action).await?.0, 200);
    assert_eq!(lab.open(&alice, "demo").await?.status, 200);
    assert_eq!(send(&lab, "PUT", &format!("{role}/policy"), json!({ "Statement": 1 })).await?.0, 400);
    let none = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Deny", "Action": "*", "Resource": "*" }],
    });
    assert_eq!(send(&lab, "PUT", &format!("{role}/policy"), none).await?.0, 200);
    assert_eq!(lab.open(&alice, "demo").await?.code(), "AccessDeniedException");
    let expire = json!({ "access_key_id": alice.access_key_id });
    assert_eq!(send(&lab, "POST", "/credentials/expire", expire).await?.0, 200);
    assert_eq!(lab.open(&alice, "demo").await?.code(), "ExpiredTokenException");

    let (_, trail) = send(&lab, "GET", "/cloudtrail?name=StartSession", json!({})).await?;
    assert_eq!(trail["events"].as_array().map(Vec::len), Some(4));
    assert_eq!(trail["events"][0]["userIdentity"]["sessionContext"]["sourceIdentity"], "alice");
    assert_eq!(send(&lab, "DELETE", "/cloudtrail", json!({})).await?.0, 200);
    assert!(lab.simulator.cloudtrail().is_empty());
    Ok(())
}

#[tokio::test]
async fn the_inside_of_a_space_is_scripted_and_read() -> TestResult {
    let folder = tempfile::tempdir()?;
    let spaces = GoSpaces::new(&build_cache(), folder.path()).await?;
    let fixtures =
        vec![Fixture::bare().with(SpaceSpec::private("gpu", "alice").on("ml.g5.12xlarge").running())];
    let config = Config { fixtures, ..Config::default() };
    let lab = Lab { simulator: Simulator::start(config, Arc::new(spaces)).await? };
    lab.simulator.require_isolation()?;
    let path = format!("/spaces/{DOMAIN}/gpu");
    assert_eq!(send(&lab, "PUT", &format!("{path}/gpus"), json!({ "load": [1, 2, 3, 4] })).await?.0, 200);
    let (status, refused) =
        send(&lab, "PUT", &format!("{path}/gpus"), json!({ "load": [1, 2, 3, 4, 5] })).await?;
    assert_eq!(status, 400);
    assert!(refused["error"].to_string().contains("a load for 5 GPUs, and the space has 4"), "{refused}");
    assert_eq!(send(&lab, "PUT", &format!("{path}/gpus"), json!({ "fault": "sulks" })).await?.0, 422);
    let kernel = json!({ "id": "a", "state": "busy", "connections": 1, "quiet_s": 90 });
    let jupyter = json!({ "kernels": [kernel], "terminals": [{ "name": "1" }] });
    assert_eq!(send(&lab, "PUT", &format!("{path}/jupyter"), jupyter).await?.0, 200);
    let file = format!("{path}/tmp/.sagemaker-last-active-timestamp");
    assert_eq!(send(&lab, "GET", &file, json!({})).await?, (200, json!({ "text": null })));
    let arn = lab.simulator.space_arn("gpu");
    let tmp = lab.simulator.cloud.spaces.tmp(&arn).ok_or_else(|| anyhow::anyhow!("no /tmp"))?;
    std::fs::write(tmp.join(".sagemaker-last-active-timestamp"), "2026-01-01T00:00:00.000Z")?;
    let text = json!({ "text": "2026-01-01T00:00:00.000Z" });
    assert_eq!(send(&lab, "GET", &file, json!({})).await?, (200, text));
    lab.simulator.shutdown().await;

    let without = Lab::new().await?;
    let refused = send(&without, "PUT", &format!("/spaces/{DOMAIN}/demo/jupyter"), json!({})).await?;
    assert_eq!(refused.0, 400);
    Ok(())
}

/// Keeps what it is told.
#[derive(Default)]
struct Heard(Mutex<Vec<Value>>);

impl StreamFaults for Heard {
    fn apply(&self, fault: Value) -> Result<(), String> {
        if fault["kind"] == "nonsense" {
            return Err("not understood".to_owned());
        }
        self.0.lock().map_err(|e| e.to_string())?.push(fault);
        Ok(())
    }
}

#[tokio::test]
async fn stream_faults_go_to_the_stream_side() -> TestResult {
    let heard = Arc::new(Heard::default());
    let faults: Arc<dyn StreamFaults> = heard.clone();
    let route = Router::new().route("/v1/data-channel/{id}", get(|| async { "a stream" }));
    let simulator = Simulator::start_with(Config::default(), Arc::new(NoServers), |_| {
        Some(StreamSide { router: route, faults })
    })
    .await?;
    let lab = Lab { simulator };
    assert_eq!(send(&lab, "POST", "/faults/stream", json!({ "kind": "cut" })).await?.0, 200);
    assert_eq!(send(&lab, "POST", "/faults/stream", json!({ "kind": "nonsense" })).await?.0, 400);
    assert_eq!(heard.0.lock().map(|heard| heard.len()).ok(), Some(1));

    let lone = Lab::new().await?;
    assert_eq!(send(&lone, "POST", "/faults/stream", json!({})).await?.0, 404);
    Ok(())
}
