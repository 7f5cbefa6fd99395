//! The tests' own provider, visitor and browser: sign-in by hand, before the gateway comes into it.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use spaceport_tests::browser::{Browser, Theme};
use spaceport_tests::provider::{CLIENT, Outage, Provider, SECRET, Tampering, account};
use spaceport_tests::visitor::{Visitor, forms};

const CALLBACK: &str = "http://127.0.0.1:9/callback";
const VERIFIER: &str = "a-verifier-of-forty-three-letters-or-some-more-0";

/// A client of the provider, by hand.
struct Login {
    provider: Provider,
    visitor: Visitor,
    discovery: Value,
}

impl Login {
    async fn new(settings: Value) -> Result<Self> {
        let accounts = [account("alice", &["dev", "ml"]), account("bob", &[])];
        let provider = Provider::with(&accounts, &[CALLBACK], settings).await?;
        let visitor = Visitor::new()?.stopping_at(CALLBACK);
        let document = visitor.get(&format!("{}/.well-known/openid-configuration", provider.issuer)).await?;
        let discovery = serde_json::from_str(&document.is(200)?.body)?;
        Ok(Self { provider, visitor, discovery })
    }

    fn endpoint(&self, name: &str) -> Result<&str> {
        self.discovery[name].as_str().with_context(|| name.to_owned())
    }

    fn authorize(&self) -> Result<String> {
        self.authorize_to(CALLBACK)
    }

    fn authorize_to(&self, callback: &str) -> Result<String> {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let fields = [
            ("client_id", CLIENT),
            ("response_type", "code"),
            ("redirect_uri", callback),
            ("scope", "openid email profile groups offline_access"),
            ("state", "state-1"),
            ("nonce", "nonce-1"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        Ok(Url::parse_with_params(self.endpoint("authorization_endpoint")?, fields)?.into())
    }

    async fn code(&self, login: &str) -> Result<String> {
        let form = self.visitor.get(&self.authorize()?).await?.is(200)?;
        let back = form.form("signin")?.set("login", login).submit().await?;
        ensure!(back.query("state").as_deref() == Some("state-1"), "{back:?}");
        back.query("code").with_context(|| format!("{back:?}"))
    }

    /// Another code, from the session that the provider knows already.
    async fn code_again(&self) -> Result<String> {
        let back = self.visitor.get(&self.authorize()?).await?;
        back.query("code").with_context(|| format!("{back:?}"))
    }

    async fn token(&self, fields: &[(&str, &str)]) -> Result<(StatusCode, Value)> {
        let url = self.endpoint("token_endpoint")?;
        let asked = reqwest::Client::new().post(url).basic_auth(CLIENT, Some(SECRET)).form(fields);
        let answer = asked.send().await?;
        Ok((answer.status(), serde_json::from_str(&answer.text().await?)?))
    }

    async fn exchange(&self, code: &str, verifier: &str) -> Result<(StatusCode, Value)> {
        let grant = ("grant_type", "authorization_code");
        self.token(&[grant, ("code", code), ("redirect_uri", CALLBACK), ("code_verifier", verifier)]).await
    }

    async fn signed_in(&self) -> Result<Value> {
        let (status, answer) = self.exchange(&self.code("alice").await?, VERIFIER).await?;
        ensure!(status == 200, "{answer}");
        Ok(answer)
    }

    async fn renew(&self, refresh: &str) -> Result<(StatusCode, Value)> {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await
    }

    async fn keys(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.visitor.get(self.endpoint("jwks_uri")?).await?.body)?)
    }
}

/// A part of a token: 0 is the header, 1 the claims.
fn part(token: &Value, at: usize) -> Result<Value> {
    let part = token.as_str().and_then(|token| token.split('.').nth(at)).context("no token")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_signs_in_with_pkce_and_a_revoked_refresh_token_is_an_invalid_grant() -> Result<()> {
    let login = Login::new(json!({})).await?;
    let answer = login.signed_in().await?;
    let claims = part(&answer["id_token"], 1)?;
    let wanted = [
        ("iss", json!(login.provider.issuer)),
        ("aud", json!(CLIENT)),
        ("sub", json!("sub-alice")),
        ("nonce", json!("nonce-1")),
        ("email", json!("alice@example.com")),
        ("email_verified", json!(true)),
        ("groups", json!(["dev", "ml"])),
    ];
    for (name, value) in wanted {
        ensure!(claims[name] == value, "{name} is {value} in {claims}");
    }
    let first = answer["refresh_token"].as_str().context("a refresh token")?;
    login.provider.groups("sub-alice", &["dev"]).await?;
    let (status, renewed) = login.renew(first).await?;
    ensure!(status == 200 && part(&renewed["id_token"], 1)?["groups"] == json!(["dev"]), "{renewed}");
    let second = renewed["refresh_token"].as_str().context("another refresh token")?;
    ensure!(second != first, "refresh tokens rotate");
    ensure!(login.provider.revoke("sub-alice").await? > 0, "there was one to revoke");
    let (status, refused) = login.renew(second).await?;
    ensure!(status == 400 && refused["error"] == "invalid_grant", "{status} {refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_verifier_is_refused_unless_pkce_is_not_checked() -> Result<()> {
    let login = Login::new(json!({})).await?;
    let (status, refused) = login.exchange(&login.code("alice").await?, &VERIFIER.replace('a', "b")).await?;
    ensure!(status == 400 && refused["error"] == "invalid_grant", "{status} {refused}");
    login.visitor.forget();
    login.provider.pkce("unchecked").await?;
    let (status, answer) = login.exchange(&login.code("alice").await?, &VERIFIER.replace('a', "b")).await?;
    ensure!(status == 200, "{status} {answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tampering_shows_in_the_id_token_and_ends() -> Result<()> {
    let login = Login::new(json!({})).await?;
    let good = login.signed_in().await?;
    let (header, claims) = (part(&good["id_token"], 0)?, part(&good["id_token"], 1)?);
    let now = claims["iat"].as_i64().context("iat")?;
    for how in Tampering::TOKENS {
        login.provider.tamper(Some(how)).await?;
        let answer = login.exchange(&login.code_again().await?, VERIFIER).await?.1;
        let token = &answer["id_token"];
        let (head, body) = (part(token, 0)?, part(token, 1)?);
        let shown = match how {
            Tampering::Nonce => body["nonce"] != claims["nonce"] && !body["nonce"].is_null(),
            Tampering::NoNonce => body["nonce"].is_null(),
            Tampering::Issuer => body["iss"] != claims["iss"],
            Tampering::Audience => body["aud"] != claims["aud"],
            Tampering::Audiences => body["azp"] != claims["aud"] && body["aud"][0] == claims["aud"],
            Tampering::Expired => body["exp"].as_i64().is_some_and(|end| end < now),
            Tampering::NotYetValid => body["nbf"].as_i64().is_some_and(|begin| begin > now + 3600),
            Tampering::Subject => body["sub"] != claims["sub"],
            Tampering::AlgNone => head["alg"] == "none",
            Tampering::Hs256 => head["alg"] == "HS256",
            Tampering::UnknownKid => head["kid"] != header["kid"],
            // The signature's own check is the gateway's; here it is enough that the rest is as it was.
            _ => head == header && body["nonce"] == claims["nonce"],
        };
        ensure!(shown, "{how:?}: {head} {body}");
    }
    login.provider.tamper(None).await?;
    let answer = login.exchange(&login.code_again().await?, VERIFIER).await?.1;
    ensure!(part(&answer["id_token"], 1)?["nonce"] == "nonce-1", "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_can_be_told_by_userinfo_only_and_old_keys_are_withdrawn() -> Result<()> {
    let login = Login::new(json!({ "groups_in": ["userinfo"] })).await?;
    let answer = login.signed_in().await?;
    ensure!(part(&answer["id_token"], 1)?["groups"].is_null(), "no groups in the token");
    let access = answer["access_token"].as_str().context("an access token")?;
    let asked = reqwest::Client::new().get(login.endpoint("userinfo_endpoint")?).bearer_auth(access);
    let told: Value = serde_json::from_str(&asked.send().await?.text().await?)?;
    ensure!(told["groups"] == json!(["dev", "ml"]), "{told}");
    let old = login.keys().await?;
    login.provider.rotate_keys().await?;
    let new = login.keys().await?;
    ensure!(new["keys"].as_array().is_some_and(|keys| keys.len() == 1), "{new}");
    ensure!(new["keys"][0]["kid"] != old["keys"][0]["kid"], "{new}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_begins_and_ends_and_a_disabled_account_gets_no_token() -> Result<()> {
    let login = Login::new(json!({})).await?;
    let answer = login.signed_in().await?;
    let refresh = answer["refresh_token"].as_str().context("a refresh token")?;
    login.provider.outage(Outage::Refuse).await?;
    ensure!(login.keys().await.is_err(), "nobody listens");
    login.provider.outage(Outage::Unavailable).await?;
    let page = login.visitor.get(login.endpoint("jwks_uri")?).await?;
    ensure!(page.status == 503, "{page:?}");
    login.provider.outage(Outage::Up).await?;
    login.keys().await?;
    login.provider.disable("sub-alice").await?;
    let (status, refused) = login.renew(refresh).await?;
    ensure!(status == 400 && refused["error"] == "invalid_grant", "{status} {refused}");
    let asked = login.provider.requests().await?;
    ensure!(asked.iter().any(|one| one.grant_type.as_deref() == Some("refresh_token")), "{asked:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_and_its_picture_is_not_empty() -> Result<()> {
    let login = Login::new(json!({})).await?;
    let folder = tempfile::tempdir()?;
    let mut browser = Browser::start().await?;
    // A page that is there to come back to.
    let back = format!("{}/.well-known/openid-configuration", login.provider.issuer);
    login.provider.register(CLIENT, SECRET, &[&back], &[]).await?;
    ensure!(browser.goto(&login.authorize_to(&back)?).await? == 200, "the form is there");
    ensure!(browser.text("h1").await? == "Sign in", "its heading is");
    let picture = folder.path().join("form.png");
    browser.screenshot(&picture, (390, 844), Theme::Dark).await?;
    let png = std::fs::read(&picture)?;
    ensure!(png.starts_with(b"\x89PNG") && png.len() > 1000, "{} bytes", png.len());
    ensure!(!browser.overflows(390, 844).await?, "nothing sticks out");
    browser.fill("input[name=login]", "nobody").await?;
    browser.click("button").await?;
    browser.wait("[role=alert]").await?;
    ensure!(browser.text("[role=alert]").await? == "Nobody has this login.", "and it says why");
    browser.fill("input[name=login]", "alice").await?;
    browser.click_to("button", "code=").await?;
    ensure!(browser.url().await?.starts_with(&back), "and sends the browser back with a code");
    Ok(())
}

#[test]
fn a_form_is_read_as_a_browser_would_send_it() {
    let html = r#"<!-- <form name="no"> --><script>"<form>"</script>
        <form name=signin METHOD='post' action="/in?a=1&amp;b=2"><input type=hidden name=csrf value="a&quot;&#98;">
        <input name="login" disabled><input name="mail"/><input type="checkbox" name="stay"><button name="go" value="1">
        <select name="to"><option value="1">one<option selected>two</select><textarea name="why">x &lt; y</textarea></form>
        <form id="other"><input name="q" value="z"></form>"#;
    let all = forms(html);
    assert_eq!(all.len(), 2, "{all:?}");
    let form = &all[0];
    assert!(form.is("signin") && form.post && form.action == "/in?a=1&b=2", "{form:?}");
    let pairs: Vec<(&str, &str)> = form.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(pairs, [("csrf", "a\"b"), ("mail", ""), ("to", "two"), ("why", "x < y")]);
    assert!(form.clone().put("stay", "on").is_ok() && form.clone().put("go", "1").is_ok());
    assert!(form.clone().put("login", "x").is_err() && form.clone().put("none", "x").is_err());
    assert!(all[1].is("other") && !all[1].post && all[1].value("q") == Some("z"));
}
