//! Signature Version 4 of the upgrade request.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

/// The service's name in the signature.
const SERVICE: &str = "ssmmessages";

/// The headers that sign a bare GET of this URL: date, session token, authorization. The WebSocket's own
/// headers are not covered, as in AWS's client.
pub(crate) fn headers(
    url: &str,
    host: &str,
    region: &str,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let request = SignableRequest::new("GET", url, std::iter::once(("host", host)), SignableBody::Bytes(&[]))
        .map_err(|error| error.to_string())?;
    let (instructions, _signature) = sign(request, &params).map_err(|error| error.to_string())?.into_parts();
    instructions
        .headers()
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let mut value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            Ok((name, value))
        })
        .collect()
}
