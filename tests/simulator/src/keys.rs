//! Access keys: whose they are, and whether a signed request proves it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng as _;
use time::{Duration, OffsetDateTime};

use crate::error::AuthError;
use crate::roles::Principal;
use crate::sigv4::{self, Claim, SignedRequest};

/// How far a client's clock may be off.
const SKEW: Duration = Duration::minutes(5);
/// The longest that a presigned URL may hold.
const PRESIGN_MAX_S: i64 = 7 * 24 * 3600;

/// A key and its holder.
#[derive(Debug, Clone)]
struct Key {
    secret: String,
    token: Option<String>,
    expires: Option<OffsetDateTime>,
    principal: Arc<Principal>,
}

/// Credentials as they are handed out.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// `AKIA…` or `ASIA…`.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
    /// When temporary credentials end.
    pub expires: Option<OffsetDateTime>,
}

/// Who made a request, as its signature proves.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Arc<Principal>,
    pub(crate) region: String,
    pub(crate) access_key: String,
}

/// Every key of every account.
#[derive(Debug, Default)]
pub(crate) struct Keys(BTreeMap<String, Key>);

impl Keys {
    /// Makes a key without an end.
    pub(crate) fn add_static(&mut self, access_key: &str, secret: &str, principal: Principal) {
        let key =
            Key { secret: secret.to_owned(), token: None, expires: None, principal: Arc::new(principal) };
        self.0.insert(access_key.to_owned(), key);
    }

    /// Makes temporary credentials, and forgets those that ended long ago.
    pub(crate) fn issue(
        &mut self,
        principal: Principal,
        now: OffsetDateTime,
        expires: OffsetDateTime,
    ) -> Credentials {
        self.0.retain(|_, key| key.expires.is_none_or(|end| end + Duration::hours(1) > now));
        let access_key_id = format!("ASIA{}", random_upper(16));
        let secret = random_base64(30);
        let token = format!("FwoGZXIvYXdzE{}", random_base64(240));
        let key = Key {
            secret: secret.clone(),
            token: Some(token.clone()),
            expires: Some(expires),
            principal: Arc::new(principal),
        };
        self.0.insert(access_key_id.clone(), key);
        Credentials {
            access_key_id,
            secret_access_key: secret,
            session_token: Some(token),
            expires: Some(expires),
        }
    }

    /// Every secret key and session token.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.0.values().flat_map(|key| key.token.clone().into_iter().chain([key.secret.clone()])).collect()
    }

    /// Ends temporary credentials at once. Says whether there were any.
    pub(crate) fn expire(&mut self, access_key: &str, now: OffsetDateTime) -> bool {
        match self.0.get_mut(access_key) {
            Some(key) if key.expires.is_some() => {
                key.expires = Some(now);
                true
            }
            _ => false,
        }
    }

    /// Proves who made a request to a service.
    pub(crate) fn authenticate(
        &self,
        request: &SignedRequest<'_>,
        service: &str,
        now: OffsetDateTime,
    ) -> Result<Caller, AuthError> {
        let claim = sigv4::claim(request)?;
        if claim.service != service {
            return Err(AuthError::OutOfScope(format!(
                "Credential should be scoped to correct service: '{service}'."
            )));
        }
        let key = self.0.get(&claim.access_key).ok_or(AuthError::UnknownKey)?;
        if key.token != claim.token {
            return Err(AuthError::UnknownKey);
        }
        timely(&claim, now)?;
        sigv4::verify(request, &claim, &key.secret)?;
        if key.expires.is_some_and(|end| end <= now) {
            return Err(AuthError::Expired);
        }
        Ok(Caller { principal: key.principal.clone(), region: claim.region, access_key: claim.access_key })
    }
}

fn timely(claim: &Claim, now: OffsetDateTime) -> Result<(), AuthError> {
    let signed = claim.signed_at;
    let ends = match claim.expires_s {
        Some(seconds) if !(1..=PRESIGN_MAX_S).contains(&seconds) => {
            return Err(AuthError::Incomplete(
                "X-Amz-Expires must be less than a week (in seconds)".to_owned(),
            ));
        }
        Some(seconds) => signed + Duration::seconds(seconds),
        None => signed + SKEW,
    };
    if ends < now {
        return Err(AuthError::OutOfScope(format!(
            "Signature expired: {} is now earlier than {}",
            claim.amz_date,
            now - SKEW
        )));
    }
    if signed - SKEW > now {
        return Err(AuthError::OutOfScope(format!(
            "Signature not yet current: {} is still later than {}",
            claim.amz_date,
            now + SKEW
        )));
    }
    Ok(())
}

fn random_upper(len: usize) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut rng = rand::rng();
    (0..len).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

/// Random bytes as base64.
pub(crate) fn random_base64(bytes: usize) -> String {
    let mut raw = vec![0_u8; bytes];
    rand::rng().fill(raw.as_mut_slice());
    STANDARD.encode(raw)
}

/// Random bytes as lower-case hexadecimal of `len` digits.
pub(crate) fn random_hex(len: usize) -> String {
    let mut rng = rand::rng();
    (0..len).map(|_| char::from_digit(rng.random_range(0..16), 16).unwrap_or('0')).collect()
}

#[cfg(test)]
mod tests;
