//! What AWS's answers mean. SageMaker models few of its errors, so they are told apart by their code.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sagemaker::config::http::HttpResponse;
use aws_sdk_sagemaker::error::{ProvideErrorMetadata, SdkError};

use crate::domain::ports::AwsError;
use crate::domain::role::{RoleArn, RoleError};

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

/// Taking on a role with the process's own credentials.
pub(super) const ASSUME: &str = "sts:AssumeRole";
/// Taking on a role with a person's ID token.
pub(super) const WEB_IDENTITY: &str = "sts:AssumeRoleWithWebIdentity";

/// What STS's answer means. Apart from SageMaker's, since its remedy is another one: the trust policy of the role, the
/// person's sign-in, or the process's own credentials.
pub(super) fn from_sts<E>(
    operation: &'static str,
    role: &RoleArn,
    error: &SdkError<E, HttpResponse>,
) -> AwsError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(error) = from_transport(operation, error) {
        return match error {
            AwsError::Role(_) => error,
            other => RoleError::Unavailable(other.to_string()).into(),
        };
    }
    let (code, message) = words(error);
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    AwsError::Role(match code.as_str() {
        "AccessDenied" | "AccessDeniedException" => {
            RoleError::Denied { role: role.name().to_owned(), message }
        }
        "ExpiredTokenException" if operation == WEB_IDENTITY => RoleError::TokenExpired(message),
        "InvalidIdentityToken" => RoleError::TokenInvalid(message),
        "IDPRejectedClaim" => RoleError::TokenRejected(message),
        "IDPCommunicationError" => RoleError::ProviderAway(message),
        "PackedPolicyTooLarge" => RoleError::TooLarge(message),
        "MalformedPolicyDocument" => RoleError::MalformedPolicy(message),
        "RegionDisabledException" => RoleError::RegionDisabled(message),
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "OptInRequired" => RoleError::OwnCredentials(format!("{code}: {message}")),
        code if is_throttle(code) => RoleError::Throttled,
        _ if status >= 500 => RoleError::Unavailable(format!("{code}: {message}")),
        "" => RoleError::Unavailable(message),
        code => RoleError::Denied { role: role.name().to_owned(), message: format!("{code}: {message}") },
    })
}

/// The word for metrics.
pub(super) const fn outcome(error: &AwsError) -> &'static str {
    match error {
        AwsError::Role(error) => role_outcome(error),
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

const fn role_outcome(error: &RoleError) -> &'static str {
    match error {
        RoleError::NoneFor(_) => "role_none",
        RoleError::NoToken(_) => "role_no_token",
        RoleError::Denied { .. } => "role_denied",
        RoleError::TokenExpired(_) | RoleError::TokenInvalid(_) | RoleError::TokenRejected(_) => "role_token",
        RoleError::ProviderAway(_) => "role_provider_away",
        RoleError::TooLarge(_) | RoleError::MalformedPolicy(_) => "role_policy",
        RoleError::RegionDisabled(_) => "role_region",
        RoleError::OwnCredentials(_) => "role_own_credentials",
        RoleError::Throttled => "role_throttled",
        RoleError::Unavailable(_) => "role_unavailable",
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
    inner.or_else(|| own.map(|()| RoleError::Unavailable(format!("no credentials: {}", chain(error))).into()))
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

    fn sts_at(operation: &'static str, status: u16, code: &str) -> RoleError {
        let role = "arn:aws:iam::111111111111:role/teams/user".parse().unwrap();
        match from_sts(operation, &role, &answer(status, code, "words")) {
            AwsError::Role(error) => error,
            other => panic!("not about the role: {other}"),
        }
    }

    #[test]
    fn answers_of_sts_are_told_apart() {
        let words = || "words".to_owned();
        let denied =
            |message: &str| RoleError::Denied { role: "user".to_owned(), message: message.to_owned() };
        for (status, code, meaning) in [
            (403, "AccessDenied", denied("words")),
            (400, "ExpiredTokenException", RoleError::TokenExpired(words())),
            (400, "InvalidIdentityToken", RoleError::TokenInvalid(words())),
            (403, "IDPRejectedClaim", RoleError::TokenRejected(words())),
            (400, "IDPCommunicationError", RoleError::ProviderAway(words())),
            (400, "PackedPolicyTooLarge", RoleError::TooLarge(words())),
            (400, "MalformedPolicyDocument", RoleError::MalformedPolicy(words())),
            (403, "RegionDisabledException", RoleError::RegionDisabled(words())),
            (403, "ExpiredToken", RoleError::OwnCredentials("ExpiredToken: words".to_owned())),
            (
                403,
                "InvalidClientTokenId",
                RoleError::OwnCredentials("InvalidClientTokenId: words".to_owned()),
            ),
            (400, "Throttling", RoleError::Throttled),
            (500, "Strange", RoleError::Unavailable("Strange: words".to_owned())),
            (400, "ValidationError", denied("ValidationError: words")),
        ] {
            assert_eq!(sts_at(WEB_IDENTITY, status, code), meaning, "{status} {code}");
        }
        // Without an ID token, only the process's own credentials can have expired.
        assert!(matches!(sts_at(ASSUME, 400, "ExpiredTokenException"), RoleError::OwnCredentials(_)));
    }

    #[test]
    fn no_answer_is_unreachable_and_no_credentials_say_so() {
        let late: Answer = SdkError::timeout_error("slow");
        assert!(matches!(from_sagemaker("x", &late), AwsError::Unreachable(_)));
        let arn: RoleArn = "arn:aws:iam::111111111111:role/user".parse().unwrap();
        assert!(matches!(from_sts(ASSUME, &arn, &late), AwsError::Role(RoleError::Unavailable(_))));
        let none: Answer = SdkError::construction_failure(CredentialsError::not_loaded("nothing found"));
        assert!(
            matches!(from_sagemaker("x", &none), AwsError::Role(RoleError::Unavailable(text)) if text.contains("nothing found"))
        );
        let role = AwsError::Role(RoleError::TooLarge("trust".to_owned()));
        let refused: Answer = SdkError::construction_failure(CredentialsError::provider_error(role.clone()));
        assert_eq!(from_sagemaker("x", &refused), role);
    }
}
