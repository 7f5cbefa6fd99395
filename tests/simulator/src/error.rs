//! Errors as AWS words them: a code, a message and a status, rendered by the protocol of the service that was called.

use std::borrow::Cow;

/// A refusal of an API call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// What clients match on, without a name space.
    pub(crate) code: Cow<'static, str>,
    /// The words for people.
    pub(crate) message: String,
    /// The HTTP status.
    pub(crate) status: u16,
}

impl ApiError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code), message: message.into(), status: 400 }
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::new("SerializationException", message)
    }

    pub(crate) fn access_denied(message: impl Into<String>) -> Self {
        Self::new("AccessDeniedException", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new("ResourceNotFound", message)
    }

    pub(crate) fn in_use(message: impl Into<String>) -> Self {
        Self::new("ResourceInUse", message)
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new("ResourceLimitExceeded", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self { status: 500, ..Self::new("InternalFailure", message) }
    }

    pub(crate) fn unknown_operation() -> Self {
        Self::new("UnknownOperationException", "The requested operation is not supported.")
    }

    /// The error that a test asked for by its code alone.
    pub(crate) fn injected(code: &str) -> Self {
        let (status, message) = match code {
            "InternalFailure" | "InternalServerError" => (500, "An internal error has occurred."),
            "ServiceUnavailable" | "ServiceUnavailableException" => {
                (503, "The service is temporarily unable to handle the request.")
            }
            "ThrottlingException" | "Throttling" => (400, "Rate exceeded"),
            "ExpiredTokenException" | "ExpiredToken" => {
                (400, "The security token included in the request is expired")
            }
            "ResourceLimitExceeded" => (400, "The account-level service limit has been reached."),
            _ => (400, "The request was refused."),
        };
        Self { code: Cow::Owned(code.to_owned()), message: message.to_owned(), status }
    }

    /// Whether the API's model knows this error of SageMaker; modelled ones spell the member `Message`.
    pub(crate) fn is_modelled(&self) -> bool {
        matches!(&*self.code, "ResourceNotFound" | "ResourceInUse" | "ResourceLimitExceeded")
    }
}

/// Why a request is not from whom it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AuthError {
    /// Nothing in the request claims an identity.
    Missing,
    /// The claim lacks a part or cannot be read.
    Incomplete(String),
    /// No such access key, or a session token that is not its own.
    UnknownKey,
    /// The temporary credentials are over.
    Expired,
    /// The signature is for another time, region or service.
    OutOfScope(String),
    /// The signature is not the one that the secret gives.
    Mismatch,
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. \
     Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";

impl AuthError {
    fn message(&self) -> String {
        match self {
            Self::Missing => "Missing Authentication Token".to_owned(),
            Self::Incomplete(message) | Self::OutOfScope(message) => message.clone(),
            Self::UnknownKey => "The security token included in the request is invalid.".to_owned(),
            Self::Expired => "The security token included in the request is expired".to_owned(),
            Self::Mismatch => MISMATCH.to_owned(),
        }
    }

    /// The words of the JSON protocols.
    pub(crate) fn for_json(&self) -> ApiError {
        let code = match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::UnknownKey => "UnrecognizedClientException",
            Self::Expired => "ExpiredTokenException",
            Self::OutOfScope(_) | Self::Mismatch => "InvalidSignatureException",
        };
        ApiError::new(code, self.message())
    }

    /// The words of the Query protocol, which STS speaks.
    pub(crate) fn for_query(&self) -> ApiError {
        let (code, status) = match self {
            Self::Missing => ("MissingAuthenticationToken", 403),
            Self::Incomplete(_) => ("IncompleteSignature", 400),
            Self::UnknownKey => ("InvalidClientTokenId", 403),
            Self::Expired => ("ExpiredToken", 403),
            Self::OutOfScope(_) | Self::Mismatch => ("SignatureDoesNotMatch", 403),
        };
        ApiError { status, ..ApiError::new(code, self.message()) }
    }
}
