//! Systems Manager, as far as sessions need it: ResumeSession; ending a session is the service's own business.

use serde_json::{Value, json};

use crate::cloud::Call;
use crate::error::ApiError;
use crate::live::session_arn;
use crate::sagemaker::schema::{self, Field, Shape, required};

static ONE_SESSION: &[Field] = &[required("SessionId", &Shape::Text { min: 1, max: 96, pattern: None })];

/// Runs one operation.
pub(crate) fn run(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let action = match call.operation {
        "ResumeSession" => "ssm:ResumeSession",
        "TerminateSession" => "ssm:TerminateSession",
        _ => return Err(ApiError::unknown_operation()),
    };
    schema::check(ONE_SESSION, &mut call.input)?;
    let id = call.required("SessionId");
    let arn = format!("arn:aws:ssm:{}:{}:session/{id}", call.region(), call.account());
    let switched_off = !call.cloud.faults().switches.resume;
    if switched_off || action == "ssm:TerminateSession" {
        // The session belongs to the service, so that no policy of the account reaches it.
        call.resource = Some(arn.clone());
        return Err(ApiError::access_denied(format!(
            "User: {} is not authorized to perform: {action} on resource: {arn}",
            call.caller.principal.arn()
        )));
    }
    call.authorize(action, &arn, |_| {})?;
    let renewed = {
        let mut live = call.cloud.live();
        let here = live.get(&id).is_some_and(|session| session_arn(session) == arn);
        here.then(|| live.renew(&id, call.now)).flatten()
    };
    match renewed {
        Some(issued) => Ok(call.cloud.way_in(&issued, call.region())),
        // A session that is over has nothing to resume; plugins read the absent token as "timed out".
        None if call.cloud.live().get(&id).is_some() => Ok(json!({ "SessionId": id })),
        None => Err(ApiError::new("DoesNotExistException", format!("Session {id} does not exist."))),
    }
}
