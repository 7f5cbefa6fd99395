//! A whole run, and then a search for every secret of it in all that the gateway says and keeps.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use spaceport::config::ConfigSource;
use spaceport::store::Store;
use spaceport::store::secrets::SealingKey;
use spaceport_tests::client::{Client, run};
use spaceport_tests::provider::{SECRET, Tampering};
use spaceport_tests::visitor::{Page, Visitor};
use spaceport_tests::world::World;
use studio_simulator::fixture::{Fixture, SpaceSpec};
use studio_simulator::simulator::Config;
use tokio::process::Command;

use crate::roles::with_tokens;
use crate::scene::{Scene, Setting};

/// Something that nobody may see, and what a failure calls it.
struct Hidden {
    name: String,
    secret: Vec<u8>,
}

/// Something that was said or kept.
struct Shown {
    name: &'static str,
    text: String,
}

/// The ways in which careless code would write a secret down.
fn forms(secret: &[u8]) -> Vec<String> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let bytes = format!("{secret:?}");
    let mut forms = vec![hex.to_uppercase(), hex, bytes.trim_matches(['[', ']']).to_owned()];
    if let Ok(text) = std::str::from_utf8(secret) {
        forms.push(text.to_owned());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let mut escaped = String::new();
        for c in text.chars() {
            if plain(c) {
                escaped.push(c);
            } else {
                c.to_string().bytes().for_each(|byte| escaped.push_str(&format!("%{byte:02X}")));
            }
        }
        forms.push(escaped);
    }
    // Inside of something longer, base64 depends on where the secret begins; the characters at both ends are shared.
    for before in 0..3 {
        let padded = [vec![0; before], secret.to_vec()].concat();
        let whole = padded.len() / 3 * 4;
        let from = [0, 2, 3][before];
        for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            forms.extend(encoded.get(from..whole).map(str::to_owned));
        }
    }
    // What is shorter would be found by accident.
    forms.retain(|form| form.len() >= 12);
    forms.sort();
    forms.dedup();
    forms
}

/// Where a secret is to be seen, whatever its form.
fn seen(hidden: &Hidden, all: &[Shown]) -> Vec<String> {
    let forms = forms(&hidden.secret);
    let shows = |shown: &&Shown| forms.iter().any(|form| shown.text.contains(form));
    all.iter().filter(shows).map(|shown| format!("{} in {}", hidden.name, shown.name)).collect()
}

#[test]
fn the_search_finds_a_secret_in_every_form() {
    let secret = b"s3cret/with+signs=and~more";
    let hidden = Hidden { name: "it".to_owned(), secret: secret.to_vec() };
    let inside = format!("{{\"a\":\"{}\"}}", String::from_utf8_lossy(secret));
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    for text in [
        inside.clone(),
        format!("{secret:?}"),
        format!("\\x00{hex}ff"),
        STANDARD.encode(secret),
        STANDARD.encode(&inside),
        URL_SAFE_NO_PAD.encode(format!("x{inside}")),
        STANDARD.encode(format!("xy{inside}")),
        "a=s3cret%2Fwith%2Bsigns%3Dand~more&b=1".to_owned(),
    ] {
        assert_eq!(seen(&hidden, &[Shown { name: "text", text: text.clone() }]).len(), 1, "{text}");
    }
    let other = Shown { name: "text", text: inside.replace("s3cret", "secret") };
    assert!(seen(&hidden, &[other]).is_empty());
}

fn hidden(name: impl Into<String>, secret: impl Into<Vec<u8>>) -> Hidden {
    Hidden { name: name.into(), secret: secret.into() }
}

/// What a browser got on its way: codes, states, cookies.
fn of_the_browser(scene: &Scene, visitor: &Visitor, page: &Page) -> Result<Vec<Hidden>> {
    let mut found = Vec::new();
    for (url, _, _) in &page.hops {
        for (name, value) in url.query_pairs().filter(|(name, _)| *name == "code" || *name == "state") {
            found.push(hidden(format!("the {name} of a sign-in"), value.into_owned()));
        }
    }
    ensure!(found.len() >= 2, "a code and a state were on the way: {page:?}");
    let cookie = visitor.cookie(&scene.site, "spaceport")?.context("the login's cookie")?;
    found.push(hidden("the login's cookie", cookie));
    for line in page.set_cookies().iter().filter(|line| line.starts_with("spaceport-signin=")) {
        let value = line.split([';', '=']).nth(1).unwrap_or_default();
        found.extend((!value.is_empty()).then(|| hidden("the sign-in's cookie", value)));
    }
    Ok(found)
}

/// The seed of an Ed25519 key in OpenSSH's format: it stands before the last copy of the public key.
fn seed(pem: &str) -> Result<Vec<u8>> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let bytes = STANDARD.decode(body)?;
    let kind = b"ssh-ed25519";
    let at = bytes.windows(kind.len()).position(|part| part == kind).context("an Ed25519 key")?;
    let public = bytes.get(at + kind.len() + 4..at + kind.len() + 36).context("its public half")?;
    let last = bytes.windows(32).rposition(|part| part == public).context("its private half")?;
    Ok(bytes.get(last - 32..last).context("the seed")?.to_vec())
}

/// What is sealed in the database, and the key that seals it.
async fn of_the_database(world: &World) -> Result<Vec<Hidden>> {
    let environment: HashMap<String, String> = world.auditors_environment().into_iter().collect();
    let (key, url) = (&environment["SPACEPORT_SECRET_KEY"], &environment["DATABASE_URL"]);
    let bytes = STANDARD.decode(key)?;
    let sealing = SealingKey::new(&bytes.as_slice().try_into()?)?;
    let store = Store::open(&SecretString::from(url.clone())).await?;
    let mut found = vec![hidden("the sealing key", bytes)];
    for name in ["ssh_host_ed25519_key", "ssh-user-ca"] {
        let pem = store.sealed_if_made(name, &sealing).await?.with_context(|| name.to_owned())?;
        let pem = String::from_utf8(pem.expose_secret().clone())?;
        found.push(hidden(format!("the seed of {name}"), seed(&pem)?));
        let lines = pem.lines().filter(|line| !line.starts_with('-')).skip(1);
        found.extend(lines.map(|line| hidden(format!("a line of {name}"), line)));
    }
    let chain = store.sealed_if_made("audit_chain_key", &sealing).await?.context("the audit log's key")?;
    found.push(hidden("the audit log's key", chain.expose_secret().clone()));
    store.close().await;
    let password = reqwest::Url::parse(url).ok().and_then(|url| url.password().map(str::to_owned));
    found.extend(password.map(|password| hidden("the database's password", password)));
    Ok(found)
}

/// The database as text, by the `pg_dump` that belongs to the server.
async fn dump(world: &World) -> Result<Shown> {
    let mut beside: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin/pg_dump")).collect())
        .unwrap_or_default();
    beside.retain(|path| path.exists());
    beside.sort();
    let mut command = Command::new(beside.pop().unwrap_or_else(|| "pg_dump".into()));
    let environment: HashMap<String, String> = world.auditors_environment().into_iter().collect();
    command.arg("--dbname").arg(&environment["DATABASE_URL"]);
    Ok(Shown { name: "the database's dump", text: run(command, &[]).await?.well()?.text() })
}

/// Everything that the gateway and its commands say.
async fn said(scene: &Scene, laptop: &Client) -> Result<Vec<Shown>> {
    let world = &scene.world;
    let (key, config) = (format!("{}.pub", laptop.key().display()), world.config().display().to_string());
    let issue = ["certificate", "issue", "--user", "anna@example.com", "--key", &key, "--config", &config];
    let mut all = Vec::new();
    for (name, arguments) in [
        ("a certificate", &issue[..]),
        ("the audit export", &["audit", "export", "--config", &config]),
        ("the list of sessions", &["session", "list", "--json", "--config", &config]),
        ("the check of the configuration", &["check", "--config", &config]),
    ] {
        let done = world.operator(arguments).await?.well().context(name)?;
        all.push(Shown { name, text: format!("{}\n{}", done.text(), done.stderr) });
    }
    let environment = HashMap::from([("SPACEPORT_LOG_LEVEL".to_owned(), "info".to_owned())]);
    let loaded = ConfigSource::new(world.config(), environment).load()?;
    all.push(Shown { name: "the configuration's Debug", text: format!("{loaded:?} {loaded:#?}") });
    let metrics = reqwest::get(format!("http://{}/metrics", world.gateway.ops)).await?.text().await?;
    all.push(Shown { name: "the metrics", text: metrics });
    all.push(dump(world).await?);
    let log = std::fs::read_to_string(world.folder().join("gateway.log"))?;
    ensure!(log.contains("TRACE") || log.contains("DEBUG"), "it says all that it can");
    all.push(Shown { name: "the gateway's log", text: log });
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_whole_run_is_in_logs_database_or_debug_output() -> Result<()> {
    let fixture = Fixture::default().with(SpaceSpec::shared("later", "bo"));
    let setting = Setting {
        account: Config { fixtures: vec![fixture], ..Config::default() },
        gateway: "[start]\npoll_s = 1\n".to_owned(),
        environment: vec![("SPACEPORT_LOG_LEVEL".to_owned(), "trace".to_owned())],
        ..Setting::default()
    };
    let scene = with_tokens(setting).await?;
    let simulator = &scene.world.account.simulator;
    let (visitor, page) = scene.sign_in("anna").await?;
    let mut hiddens = of_the_browser(&scene, &visitor, &page)?;
    let laptop = Client::new(&scene.world.folder().join("annas")).await?;
    laptop.configure(scene.world.gateway.ssh, &["team", "later", "demo"])?;
    let public = laptop.public_key()?;
    page.form("/keys")?.set("key", &public).submit().await?.is(200)?;

    // Good and bad: a refused token, a stream that opens, one that does not, a space that starts.
    simulator.fail_next("AssumeRoleWithWebIdentity", "InvalidIdentityToken", 1);
    ensure!(laptop.ssh(["team", "true"]).await?.code != 0, "STS refused the token");
    laptop.ssh(["team", "true"]).await?.well()?;
    simulator.fail_next("StartSession", "AccessDeniedException", 1);
    laptop.ssh(["later", "true"]).await?;
    laptop.ssh(["-t", "-t", "later", "true"]).await?.well().context("a start")?;
    scene.provider.tamper(Some(Tampering::Signature)).await?;
    scene.sign_in("ada").await?.1.is(403)?;
    scene.provider.tamper(None).await?;

    let all = said(&scene, &laptop).await?;
    hiddens.extend(of_the_database(&scene.world).await?);
    hiddens.push(hidden("the client's secret", SECRET));
    let tokens = scene.provider.tokens().await?;
    ensure!(tokens.len() >= 6, "two sign-ins brought three tokens each");
    for token in tokens {
        // Parts of a token are as secret as the whole: what is behind the last dot makes it count.
        let signature = token.rsplit_once('.').map(|(_, signature)| signature.to_owned());
        hiddens.extend(signature.map(|signature| hidden("an ID token's signature", signature)));
        hiddens.push(hidden("a token of the provider", token));
    }
    let issued = simulator.secrets();
    ensure!(issued.len() >= 5, "keys, session tokens and tokens of streams were issued");
    hiddens.extend(issued.into_iter().map(|secret| hidden("a secret of AWS", secret)));
    let found: Vec<String> = hiddens.iter().flat_map(|one| seen(one, &all)).collect();
    ensure!(found.is_empty(), "{} of {}: {found:#?}", found.len(), hiddens.len());

    // The search itself works on these very texts: what is public is found in them.
    let fingerprint = scene.world.value("SELECT fingerprint FROM keys").await?.context("a key")?;
    let person = seen(&hidden("anna", "anna@example.com"), &all);
    for place in ["the gateway's log", "the database's dump", "the audit export"] {
        ensure!(person.iter().any(|seen| seen.ends_with(place)), "she is named in {place}: {person:?}");
    }
    let key = seen(&hidden("her key", fingerprint), &all);
    ensure!(key.iter().any(|seen| seen.ends_with("the database's dump")), "{key:?}");
    let client = seen(&hidden("the client", &b"http://127.0.0.1"[..]), &all);
    ensure!(client.iter().any(|seen| seen.ends_with("the configuration's Debug")), "{client:?}");
    Ok(())
}
