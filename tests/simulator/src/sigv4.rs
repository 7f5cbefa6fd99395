//! Signature Version 4, from its specification: what a request claims, and the signature that it should carry.
//! Who owns a key, and whether the claim is timely, is decided in `keys`.

use std::collections::BTreeSet;

use aws_lc_rs::{digest, hmac};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

use crate::error::AuthError;
use crate::percent;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const AMZ_DATE: &[FormatItem<'static>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// A request as far as a signature covers it.
pub(crate) struct SignedRequest<'a> {
    /// `GET`, `POST`.
    pub(crate) method: &'a str,
    /// The path as sent.
    pub(crate) path: &'a str,
    /// The query as sent, without `?`.
    pub(crate) query: &'a str,
    /// Headers with lower-case names.
    pub(crate) headers: &'a [(String, String)],
    /// The body.
    pub(crate) body: &'a [u8],
}

impl<'a> SignedRequest<'a> {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn parameter(&self, name: &str) -> Option<String> {
        percent::pairs(self.query).into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }
}

/// What a request says about who signed it.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// The key that signed.
    pub(crate) access_key: String,
    /// Day of the scope, `YYYYMMDD`.
    pub(crate) day: String,
    /// Region of the scope.
    pub(crate) region: String,
    /// Service of the scope.
    pub(crate) service: String,
    /// When it was signed.
    pub(crate) signed_at: OffsetDateTime,
    /// `signed_at` as sent.
    pub(crate) amz_date: String,
    /// The session token that came along.
    pub(crate) token: Option<String>,
    /// How long a presigned URL holds, in seconds.
    pub(crate) expires_s: Option<i64>,
    signed_headers: Vec<String>,
    signature: String,
}

/// Reads the claim of a request, from its header or, if it is presigned, from its query.
pub(crate) fn claim(request: &SignedRequest<'_>) -> Result<Claim, AuthError> {
    if let Some(authorization) = request.header("authorization") {
        return from_header(request, authorization);
    }
    if request.parameter("X-Amz-Signature").is_some() {
        return from_query(request);
    }
    Err(AuthError::Missing)
}

fn from_header(request: &SignedRequest<'_>, authorization: &str) -> Result<Claim, AuthError> {
    let Some(parts) = authorization.strip_prefix(ALGORITHM) else {
        return Err(AuthError::Incomplete("Unsupported AWS 'algorithm' in Authorization header".to_owned()));
    };
    let part = |name: &str| {
        parts
            .split(',')
            .filter_map(|part| part.trim().split_once('='))
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value.to_owned())
            .ok_or_else(|| {
                AuthError::Incomplete(format!("Authorization header requires '{name}' parameter."))
            })
    };
    let (credential, signed, signature) = (part("Credential")?, part("SignedHeaders")?, part("Signature")?);
    let Some(amz_date) = request.header("x-amz-date") else {
        return Err(AuthError::Incomplete(
            "Authorization header requires existence of 'X-Amz-Date'.".to_owned(),
        ));
    };
    let token = request.header("x-amz-security-token").map(str::to_owned);
    let claim = assemble(&credential, &signed, signature, amz_date, token, None)?;
    every_aws_header_is_signed(request, &claim)?;
    Ok(claim)
}

fn from_query(request: &SignedRequest<'_>) -> Result<Claim, AuthError> {
    let part = |name: &str| {
        request.parameter(name).ok_or_else(|| {
            AuthError::Incomplete(format!("AWS query-string parameters must include '{name}'"))
        })
    };
    if part("X-Amz-Algorithm")? != ALGORITHM {
        return Err(AuthError::Incomplete("Unsupported X-Amz-Algorithm".to_owned()));
    }
    let expires = part("X-Amz-Expires")?
        .parse()
        .map_err(|_| AuthError::Incomplete("X-Amz-Expires should be a number".to_owned()))?;
    assemble(
        &part("X-Amz-Credential")?,
        &part("X-Amz-SignedHeaders")?,
        part("X-Amz-Signature")?,
        &part("X-Amz-Date")?,
        request.parameter("X-Amz-Security-Token"),
        Some(expires),
    )
}

fn assemble(
    credential: &str,
    signed_headers: &str,
    signature: String,
    amz_date: &str,
    token: Option<String>,
    expires_s: Option<i64>,
) -> Result<Claim, AuthError> {
    let scope: Vec<&str> = credential.split('/').collect();
    let [access_key, day, region, service, "aws4_request"] = scope[..] else {
        return Err(AuthError::Incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
        )));
    };
    let signed_at = time::PrimitiveDateTime::parse(amz_date, AMZ_DATE)
        .map_err(|_| {
            AuthError::Incomplete(format!("Date must be in ISO-8601 'basic format'. Got '{amz_date}'."))
        })?
        .assume_utc();
    if !amz_date.starts_with(day) {
        return Err(AuthError::OutOfScope(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{day}' != '{amz_date}'."
        )));
    }
    let signed_headers: Vec<String> = signed_headers.split(';').map(str::to_owned).collect();
    if !signed_headers.iter().any(|name| name == "host") {
        return Err(AuthError::OutOfScope(
            "'Host' must be a 'SignedHeader' in the AWS Authorization.".to_owned(),
        ));
    }
    Ok(Claim {
        access_key: access_key.to_owned(),
        day: day.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        signed_at,
        amz_date: amz_date.to_owned(),
        token,
        expires_s,
        signed_headers,
        signature,
    })
}

/// AWS wants `host` and every `x-amz-*` header that is sent under the signature.
fn every_aws_header_is_signed(request: &SignedRequest<'_>, claim: &Claim) -> Result<(), AuthError> {
    let signed: BTreeSet<&str> = claim.signed_headers.iter().map(String::as_str).collect();
    match request
        .headers
        .iter()
        .find(|(name, _)| name.starts_with("x-amz-") && !signed.contains(name.as_str()))
    {
        Some((name, _)) => {
            Err(AuthError::OutOfScope(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")))
        }
        None => Ok(()),
    }
}

/// Whether the request carries the signature that `secret` gives.
pub(crate) fn verify(request: &SignedRequest<'_>, claim: &Claim, secret: &str) -> Result<(), AuthError> {
    let body_hash = sha256_hex(request.body);
    if let Some(declared) = request.header("x-amz-content-sha256")
        && declared != body_hash
    {
        return Err(AuthError::Mismatch);
    }
    let expected = signature(&canonical_request(request, claim, &body_hash), claim, secret);
    let equal =
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_bytes(), claim.signature.as_bytes());
    equal.map_err(|_| AuthError::Mismatch)
}

fn canonical_request(request: &SignedRequest<'_>, claim: &Claim, body_hash: &str) -> String {
    let mut text =
        format!("{}\n{}\n{}\n", request.method, canonical_path(request.path), canonical_query(request.query));
    for name in &claim.signed_headers {
        let values: Vec<String> = request
            .headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        text.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    text.push_str(&format!("\n{}\n{body_hash}", claim.signed_headers.join(";")));
    text
}

/// Every service but S3 has the path as sent encoded once more.
fn canonical_path(path: &str) -> String {
    if path.is_empty() {
        return "/".to_owned();
    }
    path.split('/').map(percent::encode).collect::<Vec<_>>().join("/")
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = percent::pairs(query)
        .into_iter()
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| (percent::encode(&name), percent::encode(&value)))
        .collect();
    pairs.sort();
    pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn signature(canonical_request: &str, claim: &Claim, secret: &str) -> String {
    let scope = format!("{}/{}/{}/aws4_request", claim.day, claim.region, claim.service);
    let to_sign =
        format!("{ALGORITHM}\n{}\n{scope}\n{}", claim.amz_date, sha256_hex(canonical_request.as_bytes()));
    let mut key = hmac_sha256(format!("AWS4{secret}").as_bytes(), claim.day.as_bytes());
    for part in [claim.region.as_str(), claim.service.as_str(), "aws4_request"] {
        key = hmac_sha256(&key, part.as_bytes());
    }
    hex(&hmac_sha256(&key, to_sign.as_bytes()))
}

/// HMAC-SHA256.
pub(crate) fn hmac_sha256(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256_hex(data: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, data).as_ref())
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The account's own side of signing: presigned stream URLs, and requests of the unit tests.
pub(crate) mod sign {
    use super::*;

    /// A key that signs.
    pub(crate) struct Signer<'a> {
        pub(crate) access_key: &'a str,
        pub(crate) secret: &'a str,
        pub(crate) token: Option<&'a str>,
        pub(crate) region: &'a str,
        pub(crate) service: &'a str,
        pub(crate) at: OffsetDateTime,
    }

    impl Signer<'_> {
        fn claim(&self, signed_headers: Vec<String>) -> Claim {
            let amz_date = self.at.format(AMZ_DATE).unwrap_or_default();
            Claim {
                access_key: self.access_key.to_owned(),
                day: amz_date.chars().take(8).collect(),
                region: self.region.to_owned(),
                service: self.service.to_owned(),
                signed_at: self.at,
                amz_date,
                token: self.token.map(str::to_owned),
                expires_s: None,
                signed_headers,
                signature: String::new(),
            }
        }

        /// The query parameters that presign a GET of `path?query` on `host`, to append to the query.
        pub(crate) fn presign(&self, host: &str, path: &str, query: &str, expires_s: u32) -> String {
            let claim = self.claim(vec!["host".to_owned()]);
            let credential = percent::encode(&format!(
                "{}/{}/{}/{}/aws4_request",
                claim.access_key, claim.day, claim.region, claim.service
            ));
            let added = format!(
                "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={credential}&X-Amz-Date={}&X-Amz-Expires={expires_s}&X-Amz-SignedHeaders=host",
                claim.amz_date
            );
            let query = if query.is_empty() { added.clone() } else { format!("{query}&{added}") };
            let headers = [("host".to_owned(), host.to_owned())];
            let request = SignedRequest { method: "GET", path, query: &query, headers: &headers, body: &[] };
            let canonical = canonical_request(&request, &claim, &sha256_hex(&[]));
            format!("{added}&X-Amz-Signature={}", signature(&canonical, &claim, self.secret))
        }

        /// The headers of a signed request: what was given, date, token and authorization.
        #[cfg(test)]
        pub(crate) fn headers(
            &self,
            method: &str,
            path: &str,
            query: &str,
            given: &[(&str, &str)],
            body: &[u8],
        ) -> Vec<(String, String)> {
            let mut headers: Vec<(String, String)> =
                given.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            headers.push(("x-amz-date".to_owned(), self.claim(Vec::new()).amz_date));
            if let Some(token) = self.token {
                headers.push(("x-amz-security-token".to_owned(), token.to_owned()));
            }
            headers.sort();
            let names: Vec<String> = headers.iter().map(|(name, _)| name.clone()).collect();
            let claim = self.claim(names.clone());
            let request = SignedRequest { method, path, query, headers: &headers, body };
            let canonical = canonical_request(&request, &claim, &sha256_hex(body));
            let signature = signature(&canonical, &claim, self.secret);
            let authorization = format!(
                "{ALGORITHM} Credential={}/{}/{}/{}/aws4_request, SignedHeaders={}, Signature={signature}",
                claim.access_key,
                claim.day,
                claim.region,
                claim.service,
                names.join(";")
            );
            headers.push(("authorization".to_owned(), authorization));
            headers
        }
    }
}

#[cfg(test)]
mod tests;
