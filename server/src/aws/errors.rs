//! What AWS's answers mean. SageMaker models few of its errors, so they are told apart by their code.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sagemaker::config::http::HttpResponse;
use aws_sdk_sagemaker::error::{ProvideErrorMetadata, SdkError};

use crate::domain::ports::AwsError;

/// What SageMaker's answer to a call means.
pub(super) fn from_sagemaker<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> AwsError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(error) = from_transport(operation, error) {
        return error;
    }
    let (code, message) = words(error);
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    match code.as_str() {
        // SageMaker answers an unknown role session the same way as one that may not.
        "AccessDeniedException"
        | "AccessDenied"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "OptInRequired" => AwsError::AccessDenied { operation, message },
        code if is_throttle(code) => AwsError::Throttled(operation),
        "ResourceLimitExceeded" | "LimitExceededException" => AwsError::LimitExceeded(message),
        "ResourceNotFound" | "ResourceNotFoundException" => AwsError::NotFound(message),
        "ResourceInUse" | "ResourceInUseException" | "ConflictException" => AwsError::InUse(message),
        "InternalFailure"
        | "InternalError"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => AwsError::Internal { operation, message },
        _ if status >= 500 => AwsError::Internal { operation, message },
        "ValidationException" | "ValidationError" => AwsError::Invalid(message),
        "" => AwsError::Internal { operation, message },
        code => AwsError::Invalid(format!("{code}: {message}")),
    }
}

/// What STS's answer to `AssumeRole` means. Apart from SageMaker's, since its remedy is another one: the trust policy
/// of the role, or the process's own credentials.
pub(super) fn from_sts<E>(error: &SdkError<E, HttpResponse>) -> AwsError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(error) = from_transport("sts:AssumeRole", error) {
        return match error {
            AwsError::RoleDenied(_) | AwsError::RoleUnavailable(_) => error,
            other => AwsError::RoleUnavailable(other.to_string()),
        };
    }
    let (code, message) = words(error);
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    if is_throttle(&code) || status >= 500 || code.is_empty() {
        return AwsError::RoleUnavailable(format!("{code}: {message}"));
    }
    AwsError::RoleDenied(match code.as_str() {
        "AccessDenied" | "AccessDeniedException" => message,
        code => format!("{code}: {message}"),
    })
}

/// The word for metrics.
pub(super) const fn outcome(error: &AwsError) -> &'static str {
    match error {
        AwsError::RoleDenied(_) => "role_denied",
        AwsError::RoleUnavailable(_) => "role_unavailable",
        AwsError::AccessDenied { .. } => "access_denied",
        AwsError::Throttled(_) => "throttled",
        AwsError::LimitExceeded(_) => "limit_exceeded",
        AwsError::NotFound(_) => "not_found",
        AwsError::InUse(_) => "in_use",
        AwsError::Invalid(_) => "invalid",
        AwsError::Internal { .. } => "internal",
        AwsError::Unreachable(_) => "unreachable",
    }
}

fn is_throttle(code: &str) -> bool {
    matches!(
        code,
        "ThrottlingException"
            | "Throttling"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "SlowDown"
    )
}

/// Calls that brought no answer: no credentials, no connection, no time.
fn from_transport<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Option<AwsError>
where
    E: Error + 'static,
{
    match error {
        SdkError::ServiceError(_) => None,
        SdkError::TimeoutError(_) => Some(AwsError::Unreachable("no answer in time".to_owned())),
        SdkError::ResponseError(_) => Some(AwsError::Internal { operation, message: chain(error) }),
        // Role sessions for the service's own calls are minted inside the SDK, as credentials.
        other => Some(credentials_error(other).unwrap_or_else(|| AwsError::Unreachable(chain(other)))),
    }
}

fn credentials_error(error: &(dyn Error + 'static)) -> Option<AwsError> {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    let mut own = None;
    let inner = causes.find_map(|cause| {
        own = own.take().or_else(|| cause.downcast_ref::<CredentialsError>().map(|_| ()));
        cause.downcast_ref::<AwsError>().cloned()
    });
    inner.or_else(|| own.map(|()| AwsError::RoleUnavailable(format!("no credentials: {}", chain(error)))))
}

/// Code and message of an answer. Without a message the code stands for it.
fn words<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> (String, String) {
    let code = error.code().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default().to_owned();
    let message = error.message().filter(|message| !message.is_empty()).unwrap_or(&code).to_owned();
    (code, message)
}

/// An error with its causes, on one line. The SDK's own `Display` keeps the causes back.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use aws_sdk_sagemaker::error::ErrorMetadata;
    use aws_sdk_sagemaker::operation::start_session::StartSessionError;

    use super::*;

    type Answer = SdkError<StartSessionError, HttpResponse>;

    fn answer(status: u16, code: &str, message: &str) -> Answer {
        let metadata = ErrorMetadata::builder().code(code).message(message).build();
        let response = HttpResponse::new(status.try_into().unwrap(), "".into());
        SdkError::service_error(StartSessionError::generic(metadata), response)
    }

    fn sagemaker(status: u16, code: &str) -> AwsError {
        from_sagemaker("sagemaker:StartSession", &answer(status, code, "words"))
    }

    #[test]
    fn sagemakers_codes_are_told_apart() {
        let (operation, words) = ("sagemaker:StartSession", || "words".to_owned());
        let denied = AwsError::AccessDenied { operation, message: words() };
        let internal = AwsError::Internal { operation, message: words() };
        for (status, code, meaning) in [
            (400, "AccessDeniedException", denied.clone()),
            (403, "ExpiredTokenException", denied),
            (400, "ThrottlingException", AwsError::Throttled(operation)),
            (400, "ResourceLimitExceeded", AwsError::LimitExceeded(words())),
            (400, "ResourceNotFound", AwsError::NotFound(words())),
            (400, "com.amazonaws.sagemaker#ResourceInUse", AwsError::InUse(words())),
            (400, "ValidationException", AwsError::Invalid(words())),
            (500, "InternalFailure", internal.clone()),
            (400, "InternalFailure", internal.clone()),
            (503, "Strange", internal),
            (400, "Strange", AwsError::Invalid("Strange: words".to_owned())),
        ] {
            assert_eq!(sagemaker(status, code), meaning, "{status} {code}");
        }
    }

    #[test]
    fn a_missing_message_is_replaced_by_the_code() {
        let error = from_sagemaker("sagemaker:StartSession", &answer(400, "ResourceNotFound", ""));
        assert_eq!(error, AwsError::NotFound("ResourceNotFound".to_owned()));
    }

    #[test]
    fn a_role_that_is_refused_differs_from_one_that_is_late() {
        let sts = |status, code| from_sts(&answer(status, code, "words"));
        assert_eq!(sts(403, "AccessDenied"), AwsError::RoleDenied("words".to_owned()));
        assert_eq!(
            sts(400, "PackedPolicyTooLarge"),
            AwsError::RoleDenied("PackedPolicyTooLarge: words".to_owned())
        );
        assert!(matches!(sts(400, "Throttling"), AwsError::RoleUnavailable(_)));
        assert!(matches!(sts(500, "Strange"), AwsError::RoleUnavailable(_)));
    }

    #[test]
    fn no_answer_is_unreachable_and_no_credentials_say_so() {
        let late: Answer = SdkError::timeout_error("slow");
        assert!(matches!(from_sagemaker("x", &late), AwsError::Unreachable(_)));
        assert!(matches!(from_sts(&late), AwsError::RoleUnavailable(_)));
        let none: Answer = SdkError::construction_failure(CredentialsError::not_loaded("nothing found"));
        assert!(
            matches!(from_sagemaker("x", &none), AwsError::RoleUnavailable(text) if text.contains("nothing found"))
        );
        let role = AwsError::RoleDenied("trust".to_owned());
        let refused: Answer = SdkError::construction_failure(CredentialsError::provider_error(role.clone()));
        assert_eq!(from_sagemaker("x", &refused), role);
    }
}
