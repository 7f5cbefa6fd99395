//! What the unit tests share: a simulator without streams, called as a client would, on a clock that tests move.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::Request;
use serde_json::{Value, json};

use crate::fixture::{ACCOUNT, LOOK_ROLE, REGION, USER_ROLE};
use crate::keys::Credentials;
use crate::percent;
use crate::roles::role_arn;
use crate::sigv4::sign::Signer;
use crate::{Config, Fixture, NoServers, Simulator, http};

/// Where test builds keep the space program.
pub(crate) fn build_cache() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| std::env::temp_dir().into()))
        .join("space-program")
}

pub(crate) type TestResult = anyhow::Result<()>;

/// An answer of the JSON protocols.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The error's code, without its name space; empty if it is no error.
    pub(crate) fn code(&self) -> &str {
        let kind = self.body["__type"].as_str().unwrap_or_default();
        kind.rsplit('#').next().unwrap_or_default()
    }

    /// Text members of a list's entries.
    pub(crate) fn column(&self, list: &str, member: &str) -> Vec<String> {
        let entries = self.body[list].as_array().into_iter().flatten();
        entries.filter_map(|entry| entry[member].as_str()).map(str::to_owned).collect()
    }
}

/// A simulator and its callers.
pub(crate) struct Lab {
    pub(crate) simulator: Simulator,
}

impl Lab {
    /// The default fixture at AWS's own pace; the test's clock is paused and moves by itself.
    pub(crate) async fn new() -> anyhow::Result<Self> {
        Self::with(vec![Fixture::default()]).await
    }

    pub(crate) async fn with(fixtures: Vec<Fixture>) -> anyhow::Result<Self> {
        let config = Config { scale: 1.0, fixtures, ..Config::default() };
        Ok(Self { simulator: Simulator::start(config, Arc::new(NoServers)).await? })
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        self.simulator.cloud.clock.pass(Duration::from_secs(seconds)).await;
    }

    pub(crate) fn service(&self) -> Credentials {
        self.simulator.credentials().clone()
    }

    /// Calls SageMaker.
    pub(crate) async fn sagemaker(
        &self,
        who: &Credentials,
        operation: &str,
        input: Value,
    ) -> anyhow::Result<Answer> {
        self.json(who, "sagemaker", &format!("SageMaker.{operation}"), input).await
    }

    /// Calls a service of the JSON protocol.
    pub(crate) async fn json(
        &self,
        who: &Credentials,
        service: &str,
        target: &str,
        input: Value,
    ) -> anyhow::Result<Answer> {
        self.json_in(REGION, who, service, target, input).await
    }

    /// The same, in a region.
    pub(crate) async fn json_in(
        &self,
        region: &str,
        who: &Credentials,
        service: &str,
        target: &str,
        input: Value,
    ) -> anyhow::Result<Answer> {
        let body = input.to_string();
        let given =
            [("content-type", "application/x-amz-json-1.1"), ("host", "simulator"), ("x-amz-target", target)];
        let signer = Signer { region, ..self.signer(who, service) };
        let headers = signer.headers("POST", "/", "", &given, body.as_bytes());
        let (status, text) = self.send("POST", &headers, body).await?;
        Ok(Answer { status, body: serde_json::from_str(&text)? })
    }

    fn sign(
        &self,
        who: &Credentials,
        service: &str,
        given: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<(String, String)> {
        self.signer(who, service).headers("POST", "/", "", given, body)
    }

    pub(crate) fn signer<'a>(&self, who: &'a Credentials, service: &'a str) -> Signer<'a> {
        Signer {
            access_key: &who.access_key_id,
            secret: &who.secret_access_key,
            token: who.session_token.as_deref(),
            region: REGION,
            service,
            at: self.simulator.cloud.clock.now(),
        }
    }

    /// Sends a request as it stands.
    pub(crate) async fn send(
        &self,
        method: &str,
        headers: &[(String, String)],
        body: String,
    ) -> anyhow::Result<(u16, String)> {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response =
            http::serve(State(Arc::clone(&self.simulator.cloud)), request.body(Body::from(body))?).await;
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await?;
        Ok((status, String::from_utf8(bytes.to_vec())?))
    }

    /// Calls STS.
    pub(crate) async fn sts(
        &self,
        who: &Credentials,
        pairs: &[(&str, &str)],
    ) -> anyhow::Result<(u16, String)> {
        let mut body = "Version=2011-06-15".to_owned();
        for (name, value) in pairs {
            body.push_str(&format!("&{}={}", percent::encode(name), percent::encode(value)));
        }
        let given = [("content-type", "application/x-www-form-urlencoded"), ("host", "simulator")];
        let headers = self.sign(who, "sts", &given, body.as_bytes());
        self.send("POST", &headers, body).await
    }

    /// Becomes a person, with a session policy if given.
    pub(crate) async fn person(&self, owner: &str, policy: Option<Value>) -> anyhow::Result<Credentials> {
        let role = role_arn(ACCOUNT, USER_ROLE);
        let policy = policy.map(|policy| policy.to_string());
        let mut ask = vec![
            ("Action", "AssumeRole"),
            ("RoleArn", role.as_str()),
            ("RoleSessionName", owner),
            ("SourceIdentity", owner),
            ("DurationSeconds", "900"),
            ("Tags.member.1.Key", "gw-owner"),
            ("Tags.member.1.Value", owner),
        ];
        ask.extend(policy.as_deref().map(|policy| ("Policy", policy)));
        let (status, xml) = self.sts(&self.service(), &ask).await?;
        anyhow::ensure!(status == 200, "{xml}");
        Ok(credentials(&xml))
    }

    /// Becomes who looks into spaces, under a name, for one space of the default domain.
    pub(crate) async fn probe(&self, name: &str, space: &str) -> anyhow::Result<Credentials> {
        self.probe_of(name, &self.simulator.space_arn(space)).await
    }

    /// The same, for any space.
    pub(crate) async fn probe_of(&self, name: &str, space_arn: &str) -> anyhow::Result<Credentials> {
        let role = role_arn(ACCOUNT, LOOK_ROLE);
        let allow = |actions: &[&str], resource: &str| json!({ "Effect": "Allow", "Action": actions, "Resource": resource });
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [
                allow(&["sagemaker:StartSession"], space_arn),
                allow(
                    &["ssmmessages:OpenDataChannel", "ssm:ResumeSession"],
                    &format!("arn:aws:ssm:{REGION}:{ACCOUNT}:session/*"),
                ),
            ],
        })
        .to_string();
        let mut ask = vec![
            ("Action", "AssumeRole"),
            ("RoleArn", role.as_str()),
            ("RoleSessionName", LOOK_ROLE),
            ("DurationSeconds", "900"),
            ("Policy", policy.as_str()),
        ];
        if !name.is_empty() {
            ask.push(("SourceIdentity", name));
        }
        let (status, xml) = self.sts(&self.service(), &ask).await?;
        anyhow::ensure!(status == 200, "{xml}");
        Ok(credentials(&xml))
    }

    /// Starts a session to a space of the default domain.
    pub(crate) async fn open(&self, who: &Credentials, space: &str) -> anyhow::Result<Answer> {
        let arn = self.simulator.space_arn(space);
        self.sagemaker(who, "StartSession", json!({ "ResourceIdentifier": arn })).await
    }
}

/// The credentials in an answer of STS.
pub(crate) fn credentials(xml: &str) -> Credentials {
    Credentials {
        access_key_id: element(xml, "AccessKeyId"),
        secret_access_key: element(xml, "SecretAccessKey"),
        session_token: Some(element(xml, "SessionToken")),
        expires: None,
    }
}

/// The text of the first element of this name; empty if there is none.
pub(crate) fn element(xml: &str, name: &str) -> String {
    let after = xml.split_once(&format!("<{name}>")).map_or("", |(_, after)| after);
    after.split_once("</").map_or("", |(text, _)| text).to_owned()
}
