//! An ID token: what it must be before anybody becomes a role with it.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::OidcProvider;
use crate::account::Object;
use crate::error::ApiError;

/// How far a provider's clock may be ahead.
const SKEW_S: i64 = 300;

/// A key as a provider publishes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Jwk {
    kid: Option<String>,
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

/// A token that nobody has checked yet.
pub(crate) struct Token {
    header: Header,
    claims: Object,
    signed: String,
    signature: Vec<u8>,
}

/// What a token that holds says.
#[derive(Debug)]
pub(crate) struct Claims {
    /// Who issued it.
    pub(crate) issuer: String,
    /// The person.
    pub(crate) subject: String,
    /// For whom it was issued: `azp` where there is one, as AWS has it.
    pub(crate) audience: String,
    /// Everything else.
    pub(crate) all: Object,
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidIdentityToken", message)
}

pub(super) fn no_key() -> ApiError {
    invalid(
        "Couldn't retrieve verification key from your identity provider, please reference \
         AssumeRoleWithWebIdentity documentation for requirements",
    )
}

impl Token {
    /// Takes a compact JWS apart.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        Self::take_apart(text).ok_or_else(|| {
            invalid(
                "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
            )
        })
    }

    fn take_apart(text: &str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self {
            header: serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?,
            claims: serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?,
            signed: signed.to_owned(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Who claims to have issued it.
    pub(crate) fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// What it says, if its provider signed it, for one of these audiences, and it holds now.
    pub(crate) fn prove(
        self,
        provider: &OidcProvider,
        keys: &[Jwk],
        now: OffsetDateTime,
    ) -> Result<Claims, ApiError> {
        self.check_signature(keys)?;
        self.check_times(now.unix_timestamp())?;
        let audience = self.audience()?;
        if !provider.client_ids.contains(&audience) {
            return Err(invalid("Incorrect token audience"));
        }
        let subject = self.claims.get("sub").and_then(Value::as_str).filter(|sub| !sub.is_empty());
        let subject = subject.ok_or_else(|| missing("sub"))?.to_owned();
        Ok(Claims { issuer: self.issuer().to_owned(), subject, audience, all: self.claims })
    }

    fn check_signature(&self, keys: &[Jwk]) -> Result<(), ApiError> {
        // AWS finds keys by their name only.
        let kid = self.header.kid.as_ref().ok_or_else(no_key)?;
        let usable = |key: &&Jwk| key.usage.as_deref().is_none_or(|usage| usage == "sig");
        let key = keys.iter().filter(usable).find(|key| key.kid.as_ref() == Some(kid)).ok_or_else(no_key)?;
        let bytes = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_deref()?).ok();
        let holds = match (self.header.alg.as_str(), key.kty.as_str()) {
            ("RS256", "RSA") => bytes(&key.n).zip(bytes(&key.e)).is_some_and(|(n, e)| {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, self.signed.as_bytes(), &self.signature).is_ok()
            }),
            ("ES256", "EC") if key.crv.as_deref() == Some("P-256") => {
                bytes(&key.x).zip(bytes(&key.y)).is_some_and(|(x, y)| {
                    let point = [vec![4], x, y].concat();
                    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                    key.verify(self.signed.as_bytes(), &self.signature).is_ok()
                })
            }
            _ => false,
        };
        if holds { Ok(()) } else { Err(invalid("The token's signature does not hold")) }
    }

    fn check_times(&self, now: i64) -> Result<(), ApiError> {
        let time = |claim: &'static str| match self.claims.get(claim) {
            None => Ok(None),
            Some(value) => value
                .as_i64()
                .map(Some)
                .ok_or_else(|| invalid(format!("The claim {claim} must be an integer"))),
        };
        let end = time("exp")?.ok_or_else(|| missing("exp"))?;
        if end <= now {
            let message = format!(
                "Token expired: current date/time {now} must be before the expiration date/time {end}"
            );
            return Err(ApiError::new("ExpiredTokenException", message));
        }
        let issued = time("iat")?.ok_or_else(|| missing("iat"))?;
        if issued.max(time("nbf")?.unwrap_or(issued)) > now + SKEW_S {
            return Err(invalid("The token is not valid yet"));
        }
        Ok(())
    }

    fn audience(&self) -> Result<String, ApiError> {
        if let Some(party) = self.claims.get("azp") {
            return party.as_str().map(str::to_owned).ok_or_else(|| missing("azp"));
        }
        match self.claims.get("aud") {
            Some(Value::String(one)) => Ok(one.clone()),
            Some(Value::Array(list)) => match list.as_slice() {
                [Value::String(one)] => Ok(one.clone()),
                _ => Err(invalid("A token with several audiences needs the claim azp")),
            },
            _ => Err(missing("aud")),
        }
    }
}

fn missing(claim: &str) -> ApiError {
    invalid(format!("Missing a required claim: {claim}"))
}
