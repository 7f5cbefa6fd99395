//! The listener of the AWS APIs: which service and operation a request is for, who made it, and the answer's form.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::routing::any;
use serde_json::{Value, json};

use crate::account::Object;
use crate::cloud::{Call, Cloud};
use crate::error::ApiError;
use crate::keys::Caller;
use crate::percent;
use crate::sigv4::SignedRequest;
use crate::sts::{self, Form};
use crate::trail::{self, Event};
use crate::xml::Element;
use crate::{pricing, sagemaker, ssm};

/// The largest request; AWS's own limit for SageMaker.
const BODY_BYTES: usize = 1 << 20;
/// The one operation that nobody signs.
const WEB_IDENTITY: &str = "AssumeRoleWithWebIdentity";
const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// A service of the simulated cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    SageMaker,
    Pricing,
    Ssm,
    Sts,
}

impl Service {
    fn signing_name(self) -> &'static str {
        match self {
            Self::SageMaker => "sagemaker",
            Self::Pricing => "pricing",
            Self::Ssm => "ssm",
            Self::Sts => "sts",
        }
    }
}

/// A request as it was received.
struct Received {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What a request asks, before anyone looked who asks.
struct Wish {
    service: Service,
    operation: String,
    form: Option<Form>,
    json: Value,
}

/// The router of the AWS APIs.
pub(crate) fn router(cloud: Arc<Cloud>) -> Router {
    Router::new().route("/", any(serve)).with_state(cloud)
}

pub(crate) async fn serve(State(cloud): State<Arc<Cloud>>, request: Request) -> Response<Body> {
    let id = uuid::Uuid::new_v4().to_string();
    let received = match receive(request).await {
        Ok(received) => received,
        Err(error) => return json_error(&error, &id),
    };
    match wish(&received) {
        Ok(wish) if wish.operation == WEB_IDENTITY && wish.service == Service::Sts => {
            answer_web(&cloud, wish, &id).await
        }
        Ok(wish) => answer(&cloud, &received, wish, &id).await,
        Err(error) => json_error(&error, &id),
    }
}

async fn receive(request: Request) -> Result<Received, ApiError> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES).await;
    let body =
        body.map_err(|_| ApiError { status: 413, ..ApiError::new("RequestEntityTooLargeException", "") })?;
    let headers = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    Ok(Received {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: body.to_vec(),
    })
}

impl Received {
    fn signed(&self) -> SignedRequest<'_> {
        SignedRequest {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: &self.body,
        }
    }
}

fn wish(received: &Received) -> Result<Wish, ApiError> {
    let unknown = || ApiError::unknown_operation();
    if received.method != "POST" {
        return Err(unknown());
    }
    let signed = received.signed();
    let content_type = signed.header("content-type").unwrap_or_default();
    if let Some(target) = signed.header("x-amz-target") {
        if content_type != "application/x-amz-json-1.1" {
            return Err(ApiError::serialization("Content-Type must be application/x-amz-json-1.1"));
        }
        let (prefix, operation) = target.split_once('.').ok_or_else(unknown)?;
        let service = match prefix {
            "SageMaker" => Service::SageMaker,
            "AmazonSSM" => Service::Ssm,
            "AWSPriceListService" => Service::Pricing,
            _ => return Err(unknown()),
        };
        let json = serde_json::from_slice(&received.body).unwrap_or(Value::Null);
        return Ok(Wish { service, operation: operation.to_owned(), form: None, json });
    }
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return Err(unknown());
    }
    let body = String::from_utf8_lossy(&received.body);
    let mut form = Form::new(percent::pairs(&body));
    let operation = form.take("Action").unwrap_or_default();
    let version = form.take("Version");
    let form = (version.as_deref() == Some("2011-06-15")).then_some(form);
    Ok(Wish { service: Service::Sts, operation, form, json: Value::Null })
}

/// Who calls, what comes of it, and the record of both.
async fn answer(cloud: &Arc<Cloud>, received: &Received, wish: Wish, id: &str) -> Response<Body> {
    let (service, operation, sent) = (wish.service, wish.operation.clone(), wish.json.clone());
    let proof = cloud.keys().authenticate(&received.signed(), service.signing_name(), cloud.clock.now());
    let caller =
        proof.map_err(|error| if service == Service::Sts { error.for_query() } else { error.for_json() });
    wait(cloud, &operation).await;
    let mut event = new_event(cloud, service, &operation, sent, id);
    let outcome = match &caller {
        Ok(caller) => {
            event.aws_region.clone_from(&caller.region);
            event.user_identity = Some(trail::identity(&caller.principal, &caller.access_key));
            run(cloud, caller, wish, &mut event)
        }
        Err(error) => Err(error.clone()),
    };
    record(cloud, event, outcome.as_ref().err());
    match outcome {
        Ok(Answer::Json(value)) => respond(200, "application/x-amz-json-1.1", value.to_string(), id),
        Ok(Answer::Xml(result)) => respond(200, "text/xml", query_answer(&operation, &result, id), id),
        Err(error) if service == Service::Sts => query_error(&error, id),
        Err(error) => json_error(&error, id),
    }
}

/// As `answer`, for a call that a token proves.
async fn answer_web(cloud: &Arc<Cloud>, wish: Wish, id: &str) -> Response<Body> {
    let operation = wish.operation;
    wait(cloud, &operation).await;
    let mut event = new_event(cloud, Service::Sts, &operation, Value::Null, id);
    let outcome = match wish.form {
        Some(form) => sts::run_web(cloud, form, &mut event).await,
        None => Err(ApiError::new("InvalidAction", format!("Could not find operation {operation}"))),
    };
    record(cloud, event, outcome.as_ref().err());
    match outcome {
        Ok(result) => respond(200, "text/xml", query_answer(&operation, &result, id), id),
        Err(error) => query_error(&error, id),
    }
}

async fn wait(cloud: &Cloud, operation: &str) {
    let delay = cloud.faults().delay_of(operation);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

fn record(cloud: &Cloud, mut event: Event, error: Option<&ApiError>) {
    if let Some(error) = error {
        event.error_code = Some(error.code.to_string());
        event.error_message = Some(error.message.clone());
        tracing::debug!(operation = event.event_name, code = %error.code, message = %error.message, "refused");
    }
    cloud.trail().record(event);
}

enum Answer {
    Json(Value),
    Xml(Element),
}

fn run(cloud: &Arc<Cloud>, caller: &Caller, wish: Wish, event: &mut Event) -> Result<Answer, ApiError> {
    let throttled = match wish.service {
        Service::SageMaker => {
            cloud.faults().throttle(&caller.principal.account, tokio::time::Instant::now()).err()
        }
        Service::Pricing | Service::Ssm | Service::Sts => None,
    };
    let injected = throttled.or_else(|| cloud.faults().failure_of(&wish.operation));
    let mut call = Call::new(cloud, caller, &wish.operation, Object::new());
    let outcome = match (injected, wish.form) {
        (Some(error), _) => Err(error),
        (None, Some(form)) => sts::run(&mut call, form).map(Answer::Xml),
        (None, None) if wish.service == Service::Sts => {
            Err(ApiError::new("InvalidAction", format!("Could not find operation {}", wish.operation)))
        }
        (None, None) => match wish.json {
            Value::Object(input) => {
                call.input = input;
                let run = match wish.service {
                    Service::Ssm => ssm::run,
                    Service::Pricing => pricing::run,
                    Service::SageMaker | Service::Sts => sagemaker::run,
                };
                run(&mut call).map(Answer::Json)
            }
            _ => Err(ApiError::serialization("The request is no JSON object")),
        },
    };
    event.resource.clone_from(&call.resource);
    event.response_elements = sts::issued(&call);
    if wish.service == Service::Sts {
        event.request_parameters = Value::Object(call.input);
    }
    outcome
}

fn new_event(cloud: &Cloud, service: Service, operation: &str, sent: Value, id: &str) -> Event {
    Event {
        event_time: trail::event_time(cloud.clock.now()),
        event_name: operation.to_owned(),
        event_source: format!("{}.amazonaws.com", service.signing_name()),
        aws_region: String::new(),
        user_identity: None,
        resource: None,
        error_code: None,
        error_message: None,
        request_parameters: sent,
        response_elements: Value::Null,
        request_id: id.to_owned(),
    }
}

fn query_answer(operation: &str, result: &Element, id: &str) -> String {
    let meta = Element::new("ResponseMetadata").text("RequestId", id);
    format!("<{operation}Response xmlns=\"{STS_NAMESPACE}\">{result}{meta}</{operation}Response>")
}

fn query_error(error: &ApiError, id: &str) -> Response<Body> {
    let kind = if error.status >= 500 { "Receiver" } else { "Sender" };
    let inner =
        Element::new("Error").text("Type", kind).text("Code", &error.code).text("Message", &error.message);
    let body = format!(
        "<ErrorResponse xmlns=\"{STS_NAMESPACE}\">{inner}<RequestId>{id}</RequestId></ErrorResponse>"
    );
    respond(error.status, "text/xml", body, id)
}

fn json_error(error: &ApiError, id: &str) -> Response<Body> {
    // The service's own errors come bare, those of the framework in front of it with its name space.
    let kind = match &*error.code {
        "UnknownOperationException" | "SerializationException" | "InvalidSignatureException" => {
            format!("com.amazon.coral.service#{}", error.code)
        }
        code => code.to_owned(),
    };
    let body = if error.is_modelled() {
        json!({ "__type": kind, "Message": error.message })
    } else {
        json!({ "__type": kind, "message": error.message })
    };
    respond(error.status, "application/x-amz-json-1.1", body.to_string(), id)
}

fn respond(status: u16, content_type: &'static str, body: String, id: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
