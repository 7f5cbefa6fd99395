//! A gateway whose people, spaces, sessions and record are called as badly as each field allows.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use russh::keys::{PrivateKey, load_secret_key};
use serde_json::json;
use spaceport_tests::client::Client;
use spaceport_tests::provider::account;
use spaceport_tests::until::until;
use spaceport_tests::visitor::{Page, Visitor};
use studio_simulator::fixture::{Fixture, SpaceSpec};
use studio_simulator::simulator::Config;
use tempfile::TempDir;

use super::ear::{Caller, Heard};
use super::{HOSTILE, together};
use crate::scene::{Scene, Setting};

pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// Names of spaces and user profiles: `[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}`, so the widest and longest that there are.
pub(super) const LONG: &str = "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW";
/// A space that does not start.
pub(super) const FAILS: &str = "fails";
/// How many of the texts have what a terminal would obey, or what turns text around, beside blanks and line breaks.
const OBEYED: usize = 6;
/// Everything is looked at each second or two, and nothing is stopped.
const QUICK: &str =
    "[start]\npoll_s = 1\n\n[watch]\nevery_s = 1\n\n[idle]\nmode = \"never\"\nlook_every_s = 2\n\n";

pub(super) struct Stage {
    pub(super) scene: Scene,
    /// Of Anna, whose browser says terrible things of itself.
    pub(super) anna: Visitor,
    pub(super) key: Arc<PrivateKey>,
    pub(super) ada: Visitor,
    pub(super) heard: Heard,
    /// Signs certificates that the gateway takes.
    pub(super) authority: Client,
    _folder: TempDir,
}

/// The account. Every text is one that SageMaker's model allows there: names by their pattern, tags of
/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`, a `SpaceDisplayName` of `(?!\s*$).+` and a `FailureReason` of any 1024 characters.
fn fixture() -> Fixture {
    let mut long = SpaceSpec::shared(LONG, LONG).running();
    long.display_name = Some(HOSTILE[0].to_owned());
    for (key, value) in [("team", "=1+1"), ("@SUM", "+1"), ("שלום", "مرحبا"), ("long", LONG)] {
        long.tags.insert(key.to_owned(), value.to_owned());
    }
    let mut fixture = Fixture { domain_name: LONG.to_owned(), ..Fixture::bare() };
    fixture.profiles.push(LONG.to_owned());
    fixture.spaces = vec![SpaceSpec::shared("team", "bo").running(), long, SpaceSpec::shared(FAILS, "bo")];
    fixture.capacity.insert(FAILS.to_owned(), together(0, 1024));
    fixture
}

/// A browser that names itself, and whom it comes from, badly. Headers hold no other controls than a tab.
fn browser() -> Result<Visitor> {
    let mut headers = HeaderMap::new();
    let agent: String = together(0, 600).chars().filter(|c| c.is_ascii() && !c.is_control()).collect();
    headers.insert("user-agent", HeaderValue::from_str(&agent)?);
    for name in
        ["x-forwarded-for", "forwarded", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "referer"]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_bytes(HOSTILE[14].as_bytes())?);
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(HOSTILE[0])?);
    }
    Visitor::with(reqwest::Client::builder().default_headers(headers))
}

/// A key's text in a form, with a comment.
async fn new_key(scene: &Scene, name: &str, comment: &str) -> Result<(Client, String)> {
    let client = Client::new(&scene.world.folder().join(name)).await?;
    let line = client.public_key()?;
    let (key, _) = line.rsplit_once(' ').context("a comment")?;
    Ok((client, format!("{key} {comment}")))
}

impl Stage {
    pub(super) async fn new() -> Result<Self> {
        let account = Config { fixtures: vec![fixture()], ..Config::default() };
        let web = "trusted_proxies = [\"127.0.0.1\"]\n".to_owned();
        let folder = TempDir::with_prefix("spaceport-hostile-")?;
        let authority = Client::new(folder.path()).await?;
        let trusted = authority.public_key()?;
        let gateway = format!(
            "{QUICK}[ssh.certificates]\n[[ssh.certificates.trusted]]\nname = \"corp\"\nkey = \"{trusted}\"\n\
             principals = \"name\"\n"
        );
        let scene = Scene::with(Setting { account, web, gateway, ..Setting::default() }).await?;
        let (ada, _) = scene.sign_in("ada").await?;
        let anna = browser()?;
        // The provider is somebody else's, and meets a browser like others.
        let departing = anna.stopping_at(&scene.provider.issuer).get(&scene.page("/signin/idp")).await?;
        let there = Visitor::new()?.stopping_at(&scene.site);
        let form = there.get(departing.next.context("a way to the provider")?.as_str()).await?;
        let back = form.form("signin")?.set("login", "anna").submit().await?;
        anna.get(back.next.context("a way back")?.as_str()).await?.is(200)?;
        let (client, mine) = new_key(&scene, "mine", "mine").await?;
        let key = Arc::new(load_secret_key(client.key(), None)?);
        let mut keys = vec![(mine, "")];
        for (n, text) in HOSTILE.iter().enumerate() {
            let (_, line) = new_key(&scene, &format!("key-{n}"), text).await?;
            // Once as the comment, once as the name.
            keys.push((line, if n % 2 == 0 { text } else { "" }));
        }
        for (key, name) in keys {
            let fields = [("key".to_owned(), key), ("name".to_owned(), name.to_owned())];
            let added = anna.post(Some(&scene.site), &scene.page("/keys"), &fields).await?;
            // A comment with a line break makes it no key.
            ensure!(matches!(added.status.as_u16(), 200 | 422), "{fields:?}: {added:?}");
        }
        Ok(Self { scene, anna, key, ada, heard: Heard::default(), authority, _folder: folder })
    }

    /// Sends fields as a page of ours would.
    pub(super) async fn post(&self, who: &Visitor, path: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let fields: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let page = who.post(Some(&self.scene.site), &self.scene.page(path), &fields).await?;
        ensure!(page.status.as_u16() < 500, "{path} {fields:?}: {page:?}");
        Ok(page)
    }

    /// Anna's client, which calls itself something.
    pub(super) async fn call(&self, name: &str, login: &str) -> Result<Caller> {
        let mut caller = Caller::connect(self.scene.world.gateway.ssh, name, &self.heard).await?;
        ensure!(caller.log_in(login, &self.key).await?, "{name:?} logs in");
        Ok(caller)
    }

    async fn id(&self, statement: &str) -> Result<String> {
        until(statement, LIMIT, async || self.scene.world.value(statement).await).await
    }

    /// Fills the record through every door: people, logins, sessions, grants, holds, starts, ends and suspensions.
    pub(super) async fn fill(&self) -> Result<()> {
        self.people().await?;
        self.sessions().await?;
        self.strangers().await?;
        let eva = self.id("SELECT name FROM users WHERE subject LIKE '%sub-eva'").await?;
        for (n, space) in ["team", LONG, FAILS].into_iter().enumerate() {
            let (user, space) = (format!("idp/{eva}"), format!("{space}.main"));
            let fields =
                [("user", &*user), ("space", &*space), ("for", "2h"), ("reason", &together(6 * n, 300))];
            self.post(&self.ada, "/grants", &fields).await?.is(200)?;
        }
        for (space, first) in [("team", 0), (LONG, 9)] {
            let path = format!("/spaces/main/{space}/hold");
            let fields = [("for", "3h"), ("because", &*together(first, 300))];
            until("a hold", LIMIT, async || {
                Ok((self.post(&self.anna, &path, &fields).await?.status == 200).then_some(()))
            })
            .await?;
        }
        self.post(&self.anna, &format!("/spaces/main/{FAILS}/start"), &[]).await?.is(200)?;
        self.id("SELECT space_id FROM starts WHERE ended_at IS NOT NULL").await?;
        let eva = self.id("SELECT id FROM users WHERE subject LIKE '%sub-eva'").await?;
        let reason = together(3, 300);
        self.post(&self.ada, &format!("/users/{eva}/suspend"), &[("reason", &reason)]).await?.is(200)?;
        Ok(())
    }

    /// Somebody with the longest name and groups of all kinds, and somebody whom no claim names.
    async fn people(&self) -> Result<()> {
        let scene = &self.scene;
        let groups = [&["ml"][..], &HOSTILE].concat();
        let mut eva = account("eva", &groups);
        eva["email"] = json!(format!("{}@example.com", "W".repeat(116)));
        eva["sub"] = json!("\"><img src=x onerror=globalThis.hostile=4>sub-eva");
        eva["preferred_username"] = json!(HOSTILE[0]);
        eva["name"] = json!(HOSTILE[14]);
        scene.provider.add(eva).await?;
        let (_, page) = scene.sign_in("eva").await?;
        page.is(200)?;
        for (n, text) in HOSTILE.into_iter().enumerate() {
            let mut nameless = account(&format!("mal-{n}"), &["ml"]);
            for claim in ["email", "preferred_username", "name"] {
                nameless[claim] = json!(text);
            }
            nameless["sub"] = json!(format!("{text}/{n}"));
            scene.provider.add(nameless).await?;
            let (_, page) = scene.sign_in(&format!("mal-{n}")).await?;
            ensure!(page.status.as_u16() < 500, "{text:?}: {page:?}");
            let answer = reqwest::Url::parse_with_params(
                &scene.page("/signin/idp/callback"),
                [("error", text), ("error_description", text), ("state", text), ("iss", text)],
            )?;
            let page = Visitor::new()?.get(answer.as_str()).await?;
            ensure!(page.status.as_u16() < 500, "{text:?}: {page:?}");
        }
        Ok(())
    }

    /// Sessions of clients that call themselves and what they run all sorts of things; one was ended by an admin.
    async fn sessions(&self) -> Result<()> {
        for text in HOSTILE {
            // A version line ends at a line break, so that a client cannot send one.
            let name: String = text.replace(['\r', '\n', '\0'], " ");
            let Ok(caller) = self.call(&name, "team").await else {
                // Not every server lets every line pass; then there is no session.
                continue;
            };
            caller.run(format!("true '{text}'").as_bytes(), false).await?;
        }
        let caller = self.call("plain", "team").await?;
        for text in HOSTILE {
            caller.run(format!("true '{text}'").as_bytes(), true).await?;
            caller.forward(text).await?;
        }
        let channel = caller.channel().await?;
        channel.request_pty(false, "xterm", 80, 24, 0, 0, &[]).await?;
        channel.exec(true, "sleep 1000").await?;
        let live = self
            .id("SELECT id FROM sessions WHERE ended_at IS NULL AND client_version LIKE '%plain'")
            .await?;
        self.id("SELECT id FROM channels WHERE pty AND ended_at IS NULL").await?;
        self.messages(&live).await?;
        let path = format!("/sessions/{live}/end");
        self.post(&self.ada, &path, &[("reason", &together(0, 300))]).await?.is(200)?;
        let answer = caller.hear_out("messages and an end by an admin", channel).await?;
        ensure!(answer.out.matches(" writes at ").count() == HOSTILE.len() - OBEYED, "{}", answer.out);
        self.id("SELECT id FROM sessions WHERE end_code = 'ended_by_admin'").await?;
        Ok(())
    }

    /// Everything that an admin may write to a terminal. What it would obey is refused.
    async fn messages(&self, session: &str) -> Result<()> {
        let mut refused = 0;
        for text in HOSTILE {
            let page =
                self.post(&self.ada, &format!("/sessions/{session}/message"), &[("text", text)]).await?;
            if page.status == 422 {
                refused += 1;
            } else {
                page.is(200)?.shows("the message was shown in 1 terminal.")?;
            }
            // A session gets ten a minute.
            let earlier = "UPDATE messages SET sent_at = sent_at - interval '2 minutes'";
            sqlx::query(earlier).execute(&self.scene.world.database).await?;
        }
        ensure!(refused == OBEYED, "{refused} are refused");
        Ok(())
    }

    /// Clients whose key nobody knows, under all names, one of which waits for an approval.
    async fn strangers(&self) -> Result<()> {
        let (client, _) = new_key(&self.scene, "stranger", "x").await?;
        let key = Arc::new(load_secret_key(client.key(), None)?);
        for texts in HOSTILE.chunks(6) {
            let login = texts.concat();
            let mut caller =
                Caller::connect(self.scene.world.gateway.ssh, "<b>OpenSSH_9</b>", &self.heard).await?;
            ensure!(!caller.log_in(&login, &key).await?, "{login:?} is nobody");
            caller.ask_in(&login).await?;
        }
        Ok(())
    }
}
