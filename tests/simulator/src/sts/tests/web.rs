//! AssumeRoleWithWebIdentity, with a provider of the test's own that signs what it is told to.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::Json;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::fixture::{ACCOUNT, USER_ROLE};
use crate::oidc::name_of;
use crate::percent;
use crate::roles::role_arn;
use crate::testing::{Lab, TestResult, credentials, element};

const CLIENT: &str = "spaceport";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An identity provider with one key, `one`.
struct Issuer {
    url: String,
    key: EcdsaKeyPair,
}

impl Issuer {
    async fn start() -> anyhow::Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (_, point) = key.public_key().as_ref().split_at(1);
        let (x, y) = point.split_at(32);
        let jwk = json!({ "kid": "one", "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) });
        let (keys, discovery) =
            (json!({ "keys": [jwk] }), json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }));
        let router = axum::Router::new()
            .route("/keys", get(move || async { Json(keys) }))
            .route("/.well-known/openid-configuration", get(move || async { Json(discovery) }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, key })
    }

    /// The claims of a good token; changes go over them, a null takes one away.
    fn claims(&self, lab: &Lab, changes: Value) -> Value {
        let now = lab.simulator.cloud.clock.now().unix_timestamp();
        let mut claims = json!({
            "iss": self.url, "aud": CLIENT, "sub": "00u1", "iat": now, "exp": now + 600,
            "https://aws.amazon.com/tags": { "principal_tags": { "gw-owner": ["alice"] } },
            "https://aws.amazon.com/source_identity": "alice",
        });
        for (name, value) in changes.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().into_iter().for_each(|all| all.retain(|_, value| !value.is_null()));
        claims
    }

    fn sign(&self, header: Value, claims: &Value) -> anyhow::Result<String> {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes())?;
        Ok(format!("{signed}.{}", encode(signature)))
    }

    fn token(&self, lab: &Lab, changes: Value) -> anyhow::Result<String> {
        self.sign(json!({ "alg": "ES256", "kid": "one" }), &self.claims(lab, changes))
    }
}

/// A registered provider whose tokens the user role trusts.
async fn scene() -> anyhow::Result<(Lab, Issuer)> {
    let (lab, issuer) = (Lab::new().await?, Issuer::start().await?);
    let arn = lab.simulator.register_oidc_provider(ACCOUNT, &issuer.url, &[CLIENT])?;
    trust(
        &lab,
        &issuer,
        &arn,
        &["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"],
    )?;
    Ok((lab, issuer))
}

fn trust(lab: &Lab, issuer: &Issuer, arn: &str, actions: &[&str]) -> anyhow::Result<()> {
    let name = name_of(&issuer.url);
    let equals = json!({ (format!("{name}:aud")): CLIENT, (format!("{name}:sub")): "00u1" });
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Federated": arn },
            "Action": actions,
            "Condition": { "StringEquals": equals, "Null": { "aws:RequestTag/gw-owner": "false" } },
        }],
    });
    lab.simulator.set_role_trust(ACCOUNT, USER_ROLE, &document)
}

async fn ask(lab: &Lab, token: &str, more: &[(&str, &str)]) -> anyhow::Result<(u16, String)> {
    let role = role_arn(ACCOUNT, USER_ROLE);
    let mut pairs = vec![
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role.as_str()),
        ("RoleSessionName", "alice"),
        ("WebIdentityToken", token),
    ];
    pairs.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    pairs.extend(more);
    let pairs: Vec<String> =
        pairs.iter().map(|(n, v)| format!("{}={}", percent::encode(n), percent::encode(v))).collect();
    let content = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
    lab.send("POST", &[content], pairs.join("&")).await
}

/// The code of a refusal; empty if it was none.
async fn refusal(lab: &Lab, token: &str, more: &[(&str, &str)]) -> anyhow::Result<String> {
    Ok(element(&ask(lab, token, more).await?.1, "Code"))
}

#[tokio::test]
async fn a_token_makes_a_session_with_its_tags_and_source_identity() -> TestResult {
    let (lab, issuer) = scene().await?;
    let (status, xml) = ask(&lab, &issuer.token(&lab, json!({}))?, &[]).await?;
    assert_eq!(status, 200, "{xml}");
    for (name, value) in [
        ("SubjectFromWebIdentityToken", "00u1"),
        ("Provider", issuer.url.as_str()),
        ("Audience", CLIENT),
        ("SourceIdentity", "alice"),
        ("PackedPolicySize", "2"),
    ] {
        assert_eq!(element(&xml, name), value, "{name}");
    }
    let alice = credentials(&xml);
    assert_eq!(lab.open(&alice, "demo").await?.status, 200, "her own space, by the tag");
    assert_eq!(lab.open(&alice, "bo-private").await?.code(), "AccessDeniedException");
    let trail = lab.simulator.cloudtrail();
    let event = trail.iter().find(|event| event.event_name == "AssumeRoleWithWebIdentity");
    let event = event.ok_or_else(|| anyhow::anyhow!("no event"))?;
    assert_eq!(event.request_parameters["principalTags"], json!({ "gw-owner": "alice" }));
    assert!(
        !serde_json::to_string(event)?.contains(&xml[..40])
            && event.request_parameters["webIdentityToken"].is_null()
    );
    let opened = trail.iter().find(|event| event.event_name == "StartSession");
    assert_eq!(opened.and_then(|event| event.source_identity()), Some("alice"));
    Ok(())
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_told_apart() -> TestResult {
    let (lab, issuer) = scene().await?;
    let now = lab.simulator.cloud.clock.now().unix_timestamp();
    for (changes, code) in [
        (json!({ "exp": now - 1 }), "ExpiredTokenException"),
        (json!({ "exp": null }), "InvalidIdentityToken"),
        (json!({ "exp": (now + 600) as f64 + 0.5 }), "InvalidIdentityToken"),
        (json!({ "nbf": now + 3600 }), "InvalidIdentityToken"),
        (json!({ "iat": now + 3600 }), "InvalidIdentityToken"),
        (json!({ "aud": "another" }), "InvalidIdentityToken"),
        (json!({ "aud": [CLIENT, "another"] }), "InvalidIdentityToken"),
        (json!({ "aud": [CLIENT, "another"], "azp": CLIENT }), ""),
        (json!({ "azp": "another" }), "InvalidIdentityToken"),
        (json!({ "iss": "https://elsewhere.example.com" }), "InvalidIdentityToken"),
        (json!({ "sub": null }), "InvalidIdentityToken"),
        (
            json!({ "https://aws.amazon.com/tags": { "principal_tags": { "a": "b" } } }),
            "InvalidIdentityToken",
        ),
        (json!({ "https://aws.amazon.com/source_identity": "a b" }), "ValidationError"),
        (json!({ "sub": "00u2" }), "AccessDenied"),
        (json!({ "https://aws.amazon.com/tags": null }), "AccessDenied"),
    ] {
        let token = issuer.token(&lab, changes.clone())?;
        assert_eq!(refusal(&lab, &token, &[]).await?, code, "{changes}");
    }
    Ok(())
}

#[tokio::test]
async fn only_the_providers_own_signature_counts() -> TestResult {
    let (lab, issuer) = scene().await?;
    let claims = issuer.claims(&lab, json!({}));
    let forger = Issuer::start().await?;
    let good = json!({ "alg": "ES256", "kid": "one" });
    for token in [
        forger.sign(good.clone(), &claims)?,
        issuer.sign(json!({ "alg": "ES256", "kid": "two" }), &claims)?,
        issuer.sign(json!({ "alg": "ES256" }), &claims)?,
        issuer.sign(json!({ "alg": "HS256", "kid": "one" }), &claims)?,
        issuer.sign(json!({ "alg": "RS256", "kid": "one" }), &claims)?,
        format!("{}.{}.", encode(r#"{"alg":"none","kid":"one"}"#), encode(claims.to_string())),
        "an-access-token".to_owned(),
    ] {
        assert_eq!(refusal(&lab, &token, &[]).await?, "InvalidIdentityToken", "{token}");
    }
    assert_eq!(refusal(&lab, &issuer.sign(good, &claims)?, &[]).await?, "");
    Ok(())
}

#[tokio::test]
async fn trust_duration_and_packed_size_bound_it() -> TestResult {
    let (lab, issuer) = scene().await?;
    let token = issuer.token(&lab, json!({}))?;
    for (name, value, code) in [
        ("DurationSeconds", "899", "ValidationError"),
        ("DurationSeconds", "3601", "ValidationError"),
        ("DurationSeconds", "3600", ""),
        ("RoleArn", &role_arn(ACCOUNT, "gw-nobody"), "AccessDenied"),
        ("RoleArn", &role_arn("999999999999", USER_ROLE), "InvalidIdentityToken"),
        ("RoleArn", "gw-user", "ValidationError"),
        ("Policy", "{", "MalformedPolicyDocument"),
        ("SourceIdentity", "alice", "ValidationError"),
        ("WebIdentityToken", "", "ValidationError"),
    ] {
        assert_eq!(refusal(&lab, &token, &[(name, value)]).await?, code, "{name}={value}");
    }
    let tags: serde_json::Map<String, Value> =
        (0..40).map(|n| (format!("tag-{n}"), json!(["x".repeat(60)]))).collect();
    let mut tags = json!({ "principal_tags": tags });
    tags["principal_tags"]["gw-owner"] = json!(["alice"]);
    let large = issuer.token(&lab, json!({ "https://aws.amazon.com/tags": tags }))?;
    assert_eq!(refusal(&lab, &large, &[]).await?, "PackedPolicyTooLarge");
    let arn = crate::oidc::provider_arn(ACCOUNT, &issuer.url);
    for missing in ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"] {
        let all = ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"];
        let left: Vec<&str> = all.into_iter().filter(|action| *action != missing).collect();
        trust(&lab, &issuer, &arn, &left)?;
        assert_eq!(refusal(&lab, &token, &[]).await?, "AccessDenied", "without {missing}");
    }
    Ok(())
}

#[tokio::test]
async fn a_provider_that_is_away_or_another_one_is_no_proof() -> TestResult {
    let (lab, issuer) = scene().await?;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", gone.local_addr()?);
    drop(gone);
    lab.simulator.register_oidc_provider(ACCOUNT, &url, &[CLIENT])?;
    let token = issuer.token(&lab, json!({ "iss": url }))?;
    assert_eq!(refusal(&lab, &token, &[]).await?, "IDPCommunicationError");
    assert!(lab.simulator.register_oidc_provider(ACCOUNT, "http://idp.example.com", &[CLIENT]).is_err());
    assert!(lab.simulator.register_oidc_provider(ACCOUNT, &issuer.url, &[]).is_err());
    Ok(())
}
