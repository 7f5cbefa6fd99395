//! A server on loopback that answers calls to AWS from a script and keeps what was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// A call as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// `StartSession`, `AssumeRole`, `Dial`.
    pub(super) operation: String,
    /// The access key that signed it.
    pub(super) key: String,
    /// The body.
    pub(super) body: String,
}

impl Call {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type Script = dyn Fn(&Call) -> (u16, String) + Send + Sync;

#[derive(Clone)]
pub(super) struct Stub {
    pub(super) url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    script: Arc<Script>,
}

impl Stub {
    /// Serves `script` until the test ends; `AssumeRole` is answered with keys unless the script refuses it.
    pub(super) async fn serve(script: impl Fn(&Call) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stub = Self { url, calls: Arc::default(), script: Arc::new(script) };
        let router = Router::new().fallback(answer).with_state(stub.clone());
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        stub
    }

    /// Every call so far.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The calls of one operation.
    pub(super) fn calls_of(&self, operation: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.operation == operation).collect()
    }
}

async fn answer(State(stub): State<Stub>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
    let target = text("x-amz-target").rsplit('.').next().unwrap_or_default();
    // STS has no header of its own; a stream is opened with a GET.
    let operation = match (target, &method) {
        ("", &Method::GET) => "Dial",
        ("", _) if body.contains("Action=AssumeRoleWithWebIdentity") => "AssumeRoleWithWebIdentity",
        ("", _) => "AssumeRole",
        (target, _) => target,
    };
    let key = text("authorization").split("Credential=").nth(1).and_then(|rest| rest.split('/').next());
    let call = Call { operation: operation.to_owned(), key: key.unwrap_or_default().to_owned(), body };
    stub.calls.lock().unwrap().push(call.clone());
    let (status, text) = (stub.script)(&call);
    let text = match call.operation.as_str() {
        operation @ ("AssumeRole" | "AssumeRoleWithWebIdentity") if text.is_empty() => assumed(operation),
        _ => text,
    };
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amzn-requestid", "request-1")];
    (StatusCode::from_u16(status).unwrap(), headers, text).into_response()
}

fn assumed(operation: &str) -> String {
    format!(
        r#"<{operation}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{operation}Result>
    <Credentials><AccessKeyId>ROLEKEY</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
    <SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
    <AssumedRoleUser><AssumedRoleId>AROA:anna</AssumedRoleId>
    <Arn>arn:aws:sts::111111111111:assumed-role/spaceport-user/anna</Arn></AssumedRoleUser>
    </{operation}Result></{operation}Response>"#
    )
}
