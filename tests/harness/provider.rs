//! An OpenID provider on loopback: a certified one, with an API to make trouble (`tests/identity`).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// How long the provider may take until it is ready, on a machine with other work.
const READY: Duration = Duration::from_secs(60);

/// The client that is registered from the start.
pub const CLIENT: &str = "spaceport";
/// Its secret.
pub const SECRET: &str = "a-secret-of-the-tests-only-0123456789abcdef";

/// A way in which an ID token or another answer is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// The nonce of another sign-in.
    Nonce,
    /// No nonce.
    NoNonce,
    /// Another issuer.
    Issuer,
    /// For another client.
    Audience,
    /// For this client and another one, which is the authorized party.
    Audiences,
    /// Over since a day.
    Expired,
    /// Issued tomorrow.
    NotYetValid,
    /// Another subject than the access token's.
    Subject,
    /// Not signed: `alg` is `none`.
    AlgNone,
    /// Signed with the client's secret: `alg` is `HS256`.
    Hs256,
    /// Signed with a key that the provider doesn't publish, under a name it doesn't publish.
    UnknownKid,
    /// Signed with a key that the provider doesn't publish, under the name of one that it does.
    ForeignKey,
    /// One character of the signature is another.
    Signature,
    /// The userinfo endpoint speaks of another subject.
    UserinfoSubject,
    /// The discovery document names another issuer.
    DiscoveryIssuer,
}

impl Tampering {
    /// Every way in which the token endpoint's ID token can be wrong.
    pub const TOKENS: [Self; 13] = [
        Self::Nonce,
        Self::NoNonce,
        Self::Issuer,
        Self::Audience,
        Self::Audiences,
        Self::Expired,
        Self::NotYetValid,
        Self::Subject,
        Self::AlgNone,
        Self::Hs256,
        Self::UnknownKid,
        Self::ForeignKey,
        Self::Signature,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Nonce => "nonce",
            Self::NoNonce => "no_nonce",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Audiences => "audiences",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Subject => "subject",
            Self::AlgNone => "alg_none",
            Self::Hs256 => "hs256",
            Self::UnknownKid => "unknown_kid",
            Self::ForeignKey => "foreign_key",
            Self::Signature => "signature",
            Self::UserinfoSubject => "userinfo_subject",
            Self::DiscoveryIssuer => "discovery_issuer",
        }
    }
}

/// How the provider can be out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// It works.
    Up,
    /// Connections are refused.
    Refuse,
    /// Every answer is 503.
    Unavailable,
    /// Requests get no answer until it is up again.
    Hang,
}

/// An account with a verified address whose login is the part before the `@`; change the JSON for others.
#[must_use]
pub fn account(login: &str, groups: &[&str]) -> Value {
    json!({
        "sub": format!("sub-{login}"),
        "login": login,
        "email": format!("{login}@example.com"),
        "email_verified": true,
        "name": login,
        "groups": groups,
    })
}

/// A request that the provider got.
#[derive(Debug, Clone, Deserialize)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The status of the answer, when there was one.
    pub status: Option<u16>,
    /// What was asked for at the token endpoint.
    pub grant_type: Option<String>,
}

#[derive(Deserialize)]
struct Ready {
    issuer: String,
    control: String,
}

/// A running provider; it ends when this is dropped.
pub struct Provider {
    /// The issuer's URL, without a slash at its end.
    pub issuer: String,
    control: String,
    http: reqwest::Client,
    _child: Child,
    // Its end is the sign to stop, also when this process is killed.
    _stdin: ChildStdin,
}

impl Provider {
    /// Starts one with these accounts (see [`account`]) and the client [`CLIENT`], to which it sends people back at
    /// `redirect_uris` only; add more with [`Self::register`].
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(accounts: &[Value], redirect_uris: &[&str]) -> Result<Self> {
        Self::with(accounts, redirect_uris, json!({})).await
    }

    /// Starts one with settings of `tests/identity/idp.mjs`: `claims_in`, `groups_in`, `refresh`, `pkce`, `lifetimes`.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn with(accounts: &[Value], redirect_uris: &[&str], mut settings: Value) -> Result<Self> {
        settings["accounts"] = json!(accounts);
        settings["clients"] = json!([client(CLIENT, SECRET, redirect_uris, &[])]);
        let mut child = script("provider.mjs", &[])?;
        let mut stdin = child.stdin.take().context("the provider's stdin")?;
        let stdout = child.stdout.take().context("the provider's stdout")?;
        stdin.write_all(format!("{settings}\n").as_bytes()).await?;
        let mut lines = BufReader::new(stdout).lines();
        let line =
            tokio::time::timeout(READY, lines.next_line()).await.context("waiting for the provider")??;
        let line = line.context("the provider ended before it was ready; its messages are above")?;
        let Ready { issuer, control } = serde_json::from_str(&line).with_context(|| line.clone())?;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { issuer, control, http, _child: child, _stdin: stdin })
    }

    /// Registers a client, or [`CLIENT`] again with other places to send people back to.
    ///
    /// # Errors
    /// When the provider does not take it.
    pub async fn register(
        &self,
        id: &str,
        secret: &str,
        redirect: &[&str],
        post_logout: &[&str],
    ) -> Result<()> {
        self.control("client", json!({ "client": client(id, secret, redirect, post_logout) })).await?;
        Ok(())
    }

    /// Makes a person's refresh tokens useless: `invalid_grant` from now on. Says how many there were.
    ///
    /// # Errors
    /// When the provider is not there.
    pub async fn revoke(&self, sub: &str) -> Result<u64> {
        let answer = self.control("revoke", json!({ "sub": sub })).await?;
        answer["revoked"].as_u64().context("how many were revoked")
    }

    /// Ends a person's sessions at the provider: it asks for the login again.
    ///
    /// # Errors
    /// When the provider is not there.
    pub async fn sign_out(&self, sub: &str) -> Result<()> {
        self.control("sign_out", json!({ "sub": sub })).await.map(drop)
    }

    /// Changes an account; a key with `null` is taken away.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn change(&self, sub: &str, set: Value) -> Result<()> {
        self.control("account", json!({ "sub": sub, "set": set })).await.map(drop)
    }

    /// Gives a person these groups instead of the old ones.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn groups(&self, sub: &str, groups: &[&str]) -> Result<()> {
        self.change(sub, json!({ "groups": groups })).await
    }

    /// Disables an account: no sign-in, and refresh tokens answer `invalid_grant`.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn disable(&self, sub: &str) -> Result<()> {
        self.change(sub, json!({ "disabled": true })).await
    }

    /// Adds an account.
    ///
    /// # Errors
    /// When the provider is not there.
    pub async fn add(&self, account: Value) -> Result<()> {
        self.control("add_account", json!({ "account": account })).await.map(drop)
    }

    /// Goes down in a way, or up again.
    ///
    /// # Errors
    /// When the provider is not there.
    pub async fn outage(&self, outage: Outage) -> Result<()> {
        let kind = match outage {
            Outage::Up => "up",
            Outage::Refuse => "refuse",
            Outage::Unavailable => "unavailable",
            Outage::Hang => "hang",
        };
        self.control("outage", json!({ "kind": kind })).await.map(drop)
    }

    /// Signs with new keys from now on and withdraws the old ones.
    ///
    /// # Errors
    /// When the provider is not there.
    pub async fn rotate_keys(&self) -> Result<()> {
        self.control("rotate_keys", json!({})).await.map(drop)
    }

    /// Makes every answer wrong in one way from now on; `None` ends that.
    ///
    /// # Errors
    /// When the provider is not there.
    pub async fn tamper(&self, how: Option<Tampering>) -> Result<()> {
        self.control("tamper", json!({ "how": how.map(Tampering::name) })).await.map(drop)
    }

    /// What becomes of PKCE: `required`, `optional` or `unchecked`.
    ///
    /// # Errors
    /// When the mode is another.
    pub async fn pkce(&self, mode: &str) -> Result<()> {
        self.control("pkce", json!({ "mode": mode })).await.map(drop)
    }

    /// When refresh tokens are given: `always`, `offline_access` or `never`.
    ///
    /// # Errors
    /// When the mode is another.
    pub async fn refresh(&self, mode: &str) -> Result<()> {
        self.control("refresh", json!({ "mode": mode })).await.map(drop)
    }

    /// Lets the provider's clock run ahead, or behind with a number below 0.
    ///
    /// # Errors
    /// When the provider is not there.
    pub async fn clock(&self, seconds: i64) -> Result<()> {
        self.control("clock", json!({ "seconds": seconds })).await.map(drop)
    }

    /// The requests that it got so far (the last few hundred).
    ///
    /// # Errors
    /// When the provider is not there.
    pub async fn requests(&self) -> Result<Vec<Asked>> {
        Ok(serde_json::from_value(self.control("requests", json!({})).await?)?)
    }

    /// Every token that it handed out so far (the last few hundred): ID tokens, access tokens, refresh tokens.
    ///
    /// # Errors
    /// When the provider is not there.
    pub async fn tokens(&self) -> Result<Vec<String>> {
        Ok(serde_json::from_value(self.control("tokens", json!({})).await?)?)
    }

    async fn control(&self, action: &str, body: Value) -> Result<Value> {
        let url = format!("{}/{action}", self.control);
        let answer = self.http.post(url).body(body.to_string()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "the provider's control, {action}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

fn client(id: &str, secret: &str, redirect: &[&str], post_logout: &[&str]) -> Value {
    json!({
        "client_id": id,
        "client_secret": secret,
        "redirect_uris": redirect,
        "post_logout_redirect_uris": post_logout,
    })
}

/// Starts a script of `tests/identity`, with pipes for its input and output.
pub(crate) fn script(name: &str, arguments: &[&str]) -> Result<Child> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("identity");
    if !folder.join("node_modules/.installed").exists() {
        bail!("the npm packages are missing: run tests/identity/install");
    }
    let node = folder.join(format!("node_modules/node-linux-{}/bin/node", architecture()));
    let mut command = Command::new(if node.exists() { node } else { "node".into() });
    command.arg("--no-warnings").arg(folder.join(name)).args(arguments).current_dir(&folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().with_context(|| format!("starting node for {name}"))
}

/// The processor's name as npm writes it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}
