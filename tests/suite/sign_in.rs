//! People sign in with a certified OpenID provider, add a key, connect, and lose all of it when the provider says so.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Url;
use serde_json::json;
use spaceport_tests::browser::Browser;
use spaceport_tests::client::Client;
use spaceport_tests::provider::{Outage, Tampering};
use spaceport_tests::visitor::{Page, Visitor};

use crate::scene::{Pictures, Scene, Setting};
use crate::terminal::Screen;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_adds_a_key_and_connects_as_themselves() -> Result<()> {
    let scene = Scene::new().await?;
    let visitor = Visitor::new()?;
    let door = visitor.get(&scene.page("/keys")).await?.is(200)?;
    let door = door.shows("Continue with Example login")?.shows("/signin/idp?return=")?;
    ensure!(door.url.path() == "/signin", "{door:?}");
    let (laptop, _) = scene.laptop("anna").await?;
    let done = laptop.ssh(["team", "echo hi"]).await?.well()?;
    assert_eq!(done.text(), "hi\n");
    let denied = laptop.ssh(["demo", "true"]).await?;
    ensure!(denied.code != 0 && denied.stderr.contains("you may not open demo"), "{}", denied.stderr);
    for (kind, count) in [("login.began", "1"), ("key.added", "1")] {
        let rows =
            format!("SELECT count(*) FROM audit WHERE kind = '{kind}' AND actor_name = 'anna@example.com'");
        scene.world.expect(&rows, count).await?;
    }
    let trail = scene.world.account.simulator.cloudtrail();
    let started = trail.iter().find(|event| event.event_name == "StartSession").context("a StartSession")?;
    assert_eq!(started.source_identity(), Some("anna@example.com"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaver_is_out_within_a_minute_and_reads_why() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, visitor) = scene.laptop("anna").await?;
    let screen = scene.shell(&laptop).await?;
    ensure!(scene.provider.revoke("sub-anna").await? > 0, "she had a refresh token");
    screen.shows("spaceport: your access to team ended").await?;
    screen.shows("your identity provider no longer renews").await?;
    screen.shows("ended 255").await?;
    scene.world.expect("SELECT end_code FROM sessions", "no_longer_allowed").await?;
    let again = laptop.ssh(["-o", "LogLevel=INFO", "team", "true"]).await?;
    ensure!(again.code == 255 && again.stderr.contains("your login has lapsed"), "{}", again.stderr);
    let kinds = "SELECT count(*) FROM audit WHERE kind = 'standing.ended' AND detail->>'why' = 'refused'";
    scene.world.expect(kinds, "1").await?;
    let page = visitor.get(&scene.page("/keys")).await?;
    ensure!(page.url.path() == "/signin", "the web login ended as well: {page:?}");
    scene.sign_in("anna").await?.1.is(200)?.shows("SHA256:")?;
    laptop.ssh(["team", "true"]).await?.well().context("signing in again restores the key")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_required_group_is_out_and_an_outage_ends_nobody() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, _) = scene.laptop("anna").await?;
    let screen = scene.shell(&laptop).await?;
    let asked = async || {
        let asked = scene.provider.requests().await?;
        let renewals = asked.iter().filter(|one| one.grant_type.as_deref() == Some("refresh_token"));
        anyhow::Ok(renewals.filter(|one| one.status == Some(200)).count())
    };
    scene.provider.outage(Outage::Unavailable).await?;
    let warned = async || {
        let log = scene.world.gateway.log()?;
        let words = "a login could not be renewed; its age decides";
        Ok((log.iter().filter(|line| line["message"] == words).count() > 1).then_some(()))
    };
    spaceport_tests::until::until("two renewals in vain", Duration::from_secs(30), warned).await?;
    screen.line("echo still $((40+3))").await?;
    screen.shows("still 43").await?;
    scene.provider.outage(Outage::Up).await?;
    let before = asked().await?;
    let renewed = async || Ok((asked().await? > before).then_some(()));
    spaceport_tests::until::until("a renewal", Duration::from_secs(30), renewed).await?;
    screen.line("echo on $((40+4))").await?;
    screen.shows("on 44").await?;
    scene.provider.groups("sub-anna", &["hr"]).await?;
    screen.shows("you are no longer in a group").await?;
    screen.shows("ended 255").await?;
    let why = "SELECT detail->>'why' FROM audit WHERE kind = 'standing.ended'";
    scene.world.expect(why, "left_group").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_hold_signs_nobody_in() -> Result<()> {
    let scene = Scene::new().await?;
    for how in Tampering::TOKENS.into_iter().chain([Tampering::DiscoveryIssuer]) {
        // Of a subject only userinfo could tell that it is another's; a token with groups is enough to us.
        if matches!(how, Tampering::Subject | Tampering::DiscoveryIssuer) {
            continue;
        }
        let before = scene.refusals().await?;
        scene.provider.tamper(Some(how)).await?;
        let (visitor, page) = scene.sign_in("anna").await?;
        page.is(403).context(format!("{how:?}"))?.shows("You are not signed in")?;
        ensure!(visitor.get(&scene.page("/keys")).await?.url.path() == "/signin", "{how:?}: no login");
        ensure!(scene.refusals().await? == before + 1, "{how:?} is in the audit");
    }
    scene.provider.tamper(None).await?;
    scene.world.expect("SELECT count(*) FROM logins", "0").await?;
    scene.sign_in("anna").await?.1.is(200)?;
    scene.provider.rotate_keys().await?;
    scene.sign_in("ada").await?.1.is(200).context("new keys are looked up")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_may_come_from_userinfo_but_must_be_about_the_same_person() -> Result<()> {
    let scene =
        Scene::with(Setting { provider: json!({ "groups_in": ["userinfo"] }), ..Setting::default() }).await?;
    scene.sign_in("anna").await?.1.is(200)?;
    scene.provider.tamper(Some(Tampering::UserinfoSubject)).await?;
    scene.sign_in("anna").await?.1.is(403)?.shows("does not hold")?;
    scene.provider.tamper(None).await?;
    scene.provider.change("sub-anna", json!({ "groups": null })).await?;
    scene.sign_in("anna").await?.1.is(403)?;
    scene.sign_in("oskar").await?.1.is(403)?.shows("none of the groups")?;
    Ok(())
}

/// The code in a way back.
fn code(back: &Url) -> Result<String> {
    let code = back.query_pairs().find(|(name, _)| name == "code").map(|(_, value)| value.into_owned());
    code.with_context(|| back.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_good_once_and_only_with_pkce() -> Result<()> {
    let scene = Scene::new().await?;
    let free = Visitor::new()?.stopping_at("http://nowhere.invalid");
    let held = free.stopping_at(&scene.page("/signin/idp/callback"));
    let form = held.get(&scene.page("/signin/idp")).await?;
    let first = form.form("signin")?.set("login", "anna").submit().await?.next.context("the way back")?;
    free.get(first.as_str()).await?.is(200)?;
    // The used code, in a sign-in that was not used.
    let fresh = held.get(&scene.page("/signin/idp")).await?.next.context("the next way back")?;
    let replayed = fresh.as_str().replace(&code(&fresh)?, &code(&first)?);
    free.get(&replayed).await?.is(403)?.shows("You are not signed in")?;
    ensure!(scene.refusals().await? == 1, "it is in the audit");
    // A code that was asked for without PKCE, as somebody does who wants to use another's code.
    let away = free.stopping_at(&scene.provider.issuer).get(&scene.page("/signin/idp")).await?;
    let mut bare = away.next.context("on the way")?;
    let kept: Vec<(String, String)> =
        bare.query_pairs().into_owned().filter(|(name, _)| !name.starts_with("code_challenge")).collect();
    bare.query_pairs_mut().clear().extend_pairs(kept);
    let stripped = held.get(bare.as_str()).await?.next.context("the way back without PKCE")?;
    free.get(stripped.as_str()).await?.is(403)?.shows("You are not signed in")?;
    ensure!(scene.refusals().await? == 2, "it is in the audit");
    // And one by a provider that does not insist on it.
    scene.provider.pkce("unchecked").await?;
    let away = free.stopping_at(&scene.provider.issuer).get(&scene.page("/signin/idp")).await?;
    let asked = away.query("code_challenge_method");
    ensure!(asked.as_deref() == Some("S256"), "it is always asked for: {asked:?}");
    scene.world.expect("SELECT count(*) FROM logins", "1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_is_good_once_for_its_own_browser_state_and_provider() -> Result<()> {
    let scene = Scene::new().await?;
    let callback = scene.page("/signin/idp/callback");
    let held = Visitor::new()?.stopping_at(&callback);
    let back = async || -> Result<String> {
        let page = held.get(&scene.page("/signin/idp")).await?;
        // The provider remembers the first sign-in and asks no more.
        let page = if page.next.is_some() {
            page
        } else {
            page.form("signin")?.set("login", "anna").submit().await?
        };
        Ok(page.next.context("the way back")?.to_string())
    };
    // Each from an address of its own: those of one address are counted and written down together.
    let places = std::cell::Cell::new(0);
    let refused = async |visitor: &Visitor, url: &str| -> Result<()> {
        places.set(places.get() + 1);
        let visitor = visitor.at(std::net::Ipv4Addr::new(127, 0, 8, places.get()))?;
        let before = scene.refusals().await?;
        let page = visitor.get(url).await?;
        ensure!((400..404).contains(&page.status.as_u16()), "{page:?}");
        ensure!(scene.refusals().await? == before + 1, "it is in the audit: {page:?}");
        Ok(())
    };
    // The browser follows everything but the way back itself.
    let free = held.stopping_at("http://nowhere.invalid");
    refused(&Visitor::new()?, &back().await?).await.context("another browser")?;
    refused(&free, &back().await?.replace("state=", "state=x")).await.context("another state")?;
    refused(&free, &format!("{}&iss=https://evil.example", back().await?.replace("&iss=", "&was=")))
        .await
        .context("another issuer")?;
    refused(&free, &format!("{callback}?error=access_denied&state=x")).await.context("no code")?;
    let good = back().await?;
    free.get(&good).await?.is(200)?.shows("Keys")?;
    refused(&free, &good).await.context("a second time")?;
    scene.world.expect("SELECT count(*) FROM logins", "1").await?;
    for elsewhere in ["https://evil.example/", "//evil.example/", "/\\evil.example"] {
        let visitor = Visitor::new()?;
        let start = Url::parse_with_params(&scene.page("/signin/idp"), [("return", elsewhere)])?;
        places.set(places.get() + 1);
        let visitor = visitor.at(std::net::Ipv4Addr::new(127, 0, 8, places.get()))?;
        let before = scene.refusals().await?;
        let page = visitor.get(start.as_str()).await?.form("signin")?.set("login", "anna").submit().await?;
        ensure!(scene.refusals().await? == before + 1, "{elsewhere} is in the audit");
        ensure!(page.is(200)?.url.as_str().starts_with(&scene.site), "{elsewhere}");
    }
    let nobody = Visitor::new()?;
    nobody.get(&scene.page("/signin/nobody")).await?.is(404)?;
    nobody.keep(&scene.site, "spaceport", "made-up")?;
    let nobody = nobody.at(std::net::Ipv4Addr::new(127, 0, 9, 1))?;
    ensure!(nobody.get(&scene.page("/keys")).await?.url.path() == "/signin", "a made-up cookie");
    let forger = nobody.at(std::net::Ipv4Addr::new(127, 0, 9, 2))?;
    forger.post(Some("https://evil.example"), &scene.page("/keys"), &[]).await?.is(403)?;
    for (address, why) in
        [("127.0.9.1", "the cookie is that of no live login"), ("127.0.9.2", "another site's page sent it")]
    {
        let row = format!("SELECT detail->>'because' FROM audit WHERE detail->>'address' = '{address}'");
        scene.world.expect(&row, why).await?;
    }
    let log = scene.world.gateway.log()?;
    ensure!(log.iter().filter(|line| line["message"] == "a request was refused").count() >= 8, "in the log");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_ends_a_session_on_the_page_and_others_find_no_such_page() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, anna) = scene.laptop("anna").await?;
    let screen = scene.shell(&laptop).await?;
    anna.get(&scene.page("/sessions")).await?.is(404)?;
    let (ada, _) = scene.sign_in("ada").await?;
    let page = ada.get(&scene.page("/sessions")).await?.is(200)?;
    let page = page.shows("anna@example.com")?.shows("1 person in 1 space right now.")?;
    let session = scene.world.value("SELECT id FROM sessions").await?.context("a session")?;
    let end = format!("/sessions/{session}/end");
    let fields = [("reason".to_owned(), "mine".to_owned())];
    anna.post(Some(&scene.site), &scene.page(&end), &fields).await?.is(404)?;
    ada.post(Some("https://evil.example"), &scene.page(&end), &fields).await?.is(403)?;
    ada.post(None, &scene.page(&end), &fields).await?.is(403)?;
    scene.world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "1").await?;
    let page = page.form(&end)?.set("reason", "old key, sign in again").submit().await?;
    page.is(200)?.shows("is ending")?;
    screen.shows("spaceport: ada@example.com ended this session").await?;
    screen.shows("\"old key, sign in again\"").await?;
    screen.shows("ended 255").await?;
    scene.world.expect("SELECT end_code FROM sessions", "ended_by_admin").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_checked_named_removed_and_nobody_elses() -> Result<()> {
    let gateway = "[ssh.approval]\nenabled = false\n".to_owned();
    let scene = Scene::with(Setting { gateway, ..Setting::default() }).await?;
    let (laptop, anna) = scene.laptop("anna").await?;
    let keys = scene.page("/keys");
    let add = async |visitor: &Visitor, key: &str| -> Result<Page> {
        visitor.get(&keys).await?.form("/keys")?.set("key", key).set("name", "<b>desk</b>").submit().await
    };
    add(&anna, "nonsense").await?.is(422)?.shows("That is not a public key")?;
    let private = std::fs::read_to_string(laptop.key())?;
    let page = add(&anna, &private).await?.is(422)?.shows("That is a private key")?;
    ensure!(!page.body.contains("BEGIN OPENSSH"), "it is not sent back");
    add(&anna, &laptop.public_key()?).await?.is(422)?.shows("You have that key already")?;
    let (ada, _) = scene.sign_in("ada").await?;
    add(&ada, &laptop.public_key()?).await?.is(422)?.shows("belongs to somebody else")?;
    add(&ada, &scene.world.client.public_key()?).await?.is(422)?.shows("belongs to somebody else")?;
    let desk = Client::new(&scene.world.folder().join("desk")).await?;
    let page = add(&anna, &desk.public_key()?).await?.is(200)?;
    ensure!(
        page.body.contains("&#60;b&#62;desk") && !page.body.contains("<b>desk"),
        "names are escaped: {page:?}"
    );
    let id = scene.world.value("SELECT id FROM keys ORDER BY added_at LIMIT 1").await?.context("a key")?;
    let remove = format!("/keys/{id}/remove");
    ada.post(Some(&scene.site), &scene.page(&remove), &[]).await?.is(404)?;
    laptop.ssh(["team", "true"]).await?.well()?;
    page.form(&remove)?.submit().await?.is(200)?;
    let refused = laptop.ssh(["-o", "LogLevel=INFO", "team", "true"]).await?;
    ensure!(refused.code == 255, "{}", refused.stderr);
    ensure!(refused.stderr.contains(&format!("add it at {}/keys", scene.site)), "{}", refused.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_login_here_and_at_the_provider() -> Result<()> {
    let scene = Scene::new().await?;
    let (anna, page) = scene.sign_in("anna").await?;
    let cookie = anna.cookie(&scene.site, "spaceport")?.context("a cookie")?;
    let out = page.form("/signout")?.submit().await?.is(200)?;
    ensure!(out.url.as_str().starts_with(&scene.provider.issuer), "the provider asks: {out:?}");
    let copied = Visitor::new()?;
    copied.keep(&scene.site, "spaceport", &cookie)?;
    ensure!(copied.get(&scene.page("/keys")).await?.url.path() == "/signin", "the cookie is worth nothing");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_the_headers_that_browsers_enforce() -> Result<()> {
    let scene = Scene::new().await?;
    let page = Visitor::new()?.get(&scene.page("/signin")).await?.is(200)?;
    let policy = page.header("content-security-policy");
    ensure!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    ensure!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("referrer-policy", "same-origin"),
    ] {
        assert_eq!(page.header(name), value);
    }
    let (_, page) = scene.sign_in("anna").await?;
    let login = page.set_cookies().into_iter().find(|cookie| cookie.starts_with("spaceport="));
    let login = login.context("the login's cookie")?;
    ensure!(login.contains("HttpOnly") && login.contains("SameSite=Lax"), "its flags");
    Ok(())
}

/// Chromium walks from the door to a key and out again; with `SPACEPORT_SCREENSHOTS` its pictures are kept there.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_browser_signs_in_adds_a_key_and_signs_out() -> Result<()> {
    let scene = Scene::new().await?;
    let laptop = Client::new(&scene.world.folder().join("laptop-of-ada")).await?;
    laptop.configure(scene.world.gateway.ssh, &["team"])?;
    let mut pictures = Pictures::of(&scene)?;
    let mut browser = Browser::start().await?;
    browser.goto(&scene.page("/keys")).await?;
    pictures.take(&mut browser, "signin").await?;
    browser.click("a.btn").await?;
    browser.wait("input[name=login]").await?;
    browser.fill("input[name=login]", "ada").await?;
    browser.click("button").await?;
    browser.wait("textarea[name=key]").await?;
    pictures.take(&mut browser, "keys-none").await?;
    browser.fill("textarea[name=key]", &laptop.public_key()?).await?;
    browser.click("form[action='/keys'] button").await?;
    browser.wait("table").await?;
    pictures.take(&mut browser, "keys").await?;
    let _shell = {
        let config = laptop.config().display().to_string();
        let screen = Screen::open(&scene.world, &format!("ssh -F {config} team; sleep 60")).await?;
        screen.line("echo ready $((40+2))").await?;
        screen.shows("ready 42").await?;
        screen
    };
    browser.goto(&scene.page("/sessions")).await?;
    pictures.take(&mut browser, "sessions").await?;
    browser.goto(&scene.page("/nothing")).await?;
    pictures.take(&mut browser, "error").await?;
    browser.goto(&scene.page("/keys")).await?;
    browser.click("details.who summary").await?;
    browser.click("form[action='/signout'] button").await?;
    browser.wait("form").await?;
    ensure!(browser.url().await?.starts_with(&scene.provider.issuer), "the provider signs her out as well");
    let complaints = browser.complaints().await?;
    // Not found: the page that is none, and icons of the provider's pages. Nothing was against the content policy.
    ensure!(complaints.iter().all(|complaint| complaint.contains("404")), "{complaints:?}");
    assert_eq!(pictures.taken(), 20, "every page was looked at");
    Ok(())
}
