//! The pages' own doors: TLS, forwarding headers, how much strangers may ask for, and what a person ends or takes there.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Client as Http;
use reqwest::header::{HeaderMap, HeaderValue};
use spaceport_tests::browser::Browser;
use spaceport_tests::until::until;
use spaceport_tests::visitor::Visitor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::scene::{Pictures, Scene, Setting, Tls};

const LIMIT: Duration = Duration::from_secs(20);

/// Signs somebody in with a browser of the test's making.
async fn sign_in(scene: &Scene, visitor: &Visitor, login: &str) -> Result<()> {
    let form = visitor.get(&scene.page("/signin/idp?return=/keys")).await?;
    form.form("signin")?.set("login", login).submit().await?.is(200)?.shows("Keys")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_served_by_tls_from_files() -> Result<()> {
    let tls = Tls::new().await?;
    let scene = Scene::with(Setting { web: tls.web.clone(), scheme: "https", ..Setting::default() }).await?;
    // Somebody who never shakes hands keeps nobody waiting.
    let mut silent = TcpStream::connect(scene.pages()?).await?;
    let visitor = Visitor::with(Http::builder().add_root_certificate(tls.trusted()?))?;
    sign_in(&scene, &visitor, "anna").await?;
    let page = visitor.get(&scene.page("/keys")).await?.is(200)?;
    ensure!(page.header("strict-transport-security").starts_with("max-age="), "{page:?}");
    let again = visitor.get(&scene.page("/signin/idp?return=/keys")).await?.is(200)?;
    let cookies = again.set_cookies();
    let login = cookies.iter().find(|line| line.starts_with("__Host-spaceport=")).context("the login's")?;
    for part in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"] {
        ensure!(login.contains(part), "{login}");
    }
    ensure!(!login.contains("Domain"), "{login}");
    ensure!(Visitor::new()?.get(&scene.page("/keys")).await.is_err(), "an unknown authority is not trusted");
    let plain = scene.page("/keys").replacen("https", "http", 1);
    ensure!(Visitor::new()?.get(&plain).await.is_err(), "nothing is served in the clear");
    let mut rest = [0; 1];
    let closed = tokio::time::timeout(LIMIT, silent.read(&mut rest)).await;
    ensure!(matches!(closed, Ok(Ok(0) | Err(_))), "who never shakes hands is closed: {closed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_come_to_nothing_keep_nobody_out() -> Result<()> {
    let tls = Tls::new().await?;
    let scene = Scene::with(Setting { web: tls.web.clone(), scheme: "https", ..Setting::default() }).await?;
    let visitor = Visitor::with(Http::builder().add_root_certificate(tls.trusted()?))?;
    // A browser is connected, another client's handshake fails, and only then the browser shakes hands.
    let cable = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut connected = TcpStream::connect(scene.pages()?).await?;
    let mut failing = TcpStream::connect(scene.pages()?).await?;
    failing.write_all(b"this is no handshake\r\n").await?;
    let closed = tokio::time::timeout(LIMIT, failing.read_to_end(&mut Vec::new())).await;
    ensure!(closed.is_ok(), "who speaks no TLS is closed");
    let url = format!("https://localhost:{}/signin", cable.local_addr()?.port());
    let plugged_in = async {
        let (mut browser, _) = cable.accept().await?;
        tokio::io::copy_bidirectional(&mut browser, &mut connected).await
    };
    tokio::select! {
        page = tokio::time::timeout(LIMIT, visitor.get(&url)) => drop(page.context("no page came")??.is(200)?),
        over = plugged_in => anyhow::bail!("the browser was closed: {over:?}"),
    }
    // More that say nothing than may shake hands at a time: when theirs is up, others have their turn.
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(scene.pages()?).await?);
    }
    let page = tokio::time::timeout(3 * LIMIT, visitor.get(&scene.page("/signin"))).await;
    page.context("no page came")??.is(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_headers_count_from_listed_proxies_only() -> Result<()> {
    let web = "trusted_proxies = [\"127.0.0.9\"]\n".to_owned();
    let scene = Scene::with(Setting { web, ..Setting::default() }).await?;
    let through = |proxy: [u8; 4]| -> Result<Visitor> {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-forwarded-for", "192.0.2.66, 203.0.113.5"),
            ("x-real-ip", "192.0.2.67"),
            ("forwarded", "for=192.0.2.68;host=evil.example;proto=https"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let network =
            Http::builder().local_address(Some(Ipv4Addr::from(proxy).into())).default_headers(headers);
        Visitor::with(network)
    };
    let (spoofer, proxied) = (through([127, 0, 0, 1])?, through([127, 0, 0, 9])?);
    let callback = scene.page("/signin/idp/callback");
    for (visitor, login) in [(&spoofer, "anna"), (&proxied, "ada")] {
        // The headers are for the gateway: the provider would believe them.
        let plain = visitor.at(Ipv4Addr::LOCALHOST)?.stopping_at(&callback);
        let away = visitor.stopping_at(&scene.provider.issuer).get(&scene.page("/signin/idp")).await?;
        ensure!(away.query("redirect_uri").as_deref() == Some(&callback), "{away:?}");
        let form = plain.get(away.next.context("on the way")?.as_str()).await?;
        let back = form.form("signin")?.set("login", login).submit().await?;
        visitor.get(back.next.context("the way back")?.as_str()).await?.is(200)?.shows("Keys")?;
    }
    let addresses = "SELECT string_agg(host(address), ' ' ORDER BY began_at) FROM logins";
    scene.world.expect(addresses, "127.0.0.1 203.0.113.5").await?;
    let page = spoofer.get(&scene.page("/logins")).await?.is(200)?.shows("127.0.0.1")?;
    ensure!(!page.body.contains("evil.example") && !page.body.contains("192.0.2."), "{page:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_counted_and_slowed_down_and_others_are_not() -> Result<()> {
    let web = "sign_ins_per_min_per_source = 5\n".to_owned();
    let scene = Scene::with(Setting { web, ..Setting::default() }).await?;
    let from = |last: u8| {
        let address = Ipv4Addr::new(127, 0, 7, last);
        Visitor::with(Http::builder().local_address(Some(address.into())))
    };
    // Ways back from nowhere: one row at once, and one for all the others when their minute is over or the gateway ends.
    let stranger = from(1)?;
    for _ in 0..40 {
        stranger.get(&scene.page("/signin/idp/callback?code=x&state=y")).await?.is(400)?;
    }
    stranger.get(&scene.page("/signin/nobody/callback?code=x&state=y")).await?.is(404)?;
    scene.world.expect("SELECT count(*) FROM audit WHERE kind = 'web.refused'", "1").await?;
    // Beginnings: as many as a minute has.
    let pushy = from(2)?.stopping_at(&scene.provider.issuer);
    for _ in 0..5 {
        ensure!(pushy.get(&scene.page("/signin/idp")).await?.next.is_some(), "on the way");
    }
    let page = pushy.get(&scene.page("/signin/idp")).await?.is(429)?.shows("Too many sign-ins at once")?;
    ensure!(page.header("retry-after").parse::<u64>().is_ok_and(|wait| (1..=13).contains(&wait)), "{page:?}");
    sign_in(&scene, &from(3)?, "anna").await.context("others are let in")?;
    let Scene { world, .. } = scene;
    let counted = "SELECT sum((detail->>'count')::int)::text || ' ' || (max((detail->>'count')::int))::text
                   FROM audit WHERE kind = 'web.refused'";
    world.gateway.signal("TERM").await?;
    until("the rest to be written", LIMIT, async || {
        Ok((world.value(counted).await?.as_deref() == Some("41 40")).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_very_many_pages_waits_and_others_do_not() -> Result<()> {
    let web = "page_requests_per_min = 10\n".to_owned();
    let scene = Scene::with(Setting { web, ..Setting::default() }).await?;
    let (anna, _) = scene.sign_in("anna").await?;
    let keys = scene.page("/keys");
    // Signing in has led to one page.
    for _ in 1..10 {
        anna.get(&keys).await?.is(200)?;
    }
    let page = anna.get(&keys).await?.is(429)?.shows("Too many pages at once")?;
    ensure!(page.header("retry-after").parse::<u64>().is_ok_and(|wait| (1..=7).contains(&wait)), "{page:?}");
    let (ada, _) = scene.sign_in("ada").await?;
    ada.get(&keys).await?.is(200).context("others do not wait")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_their_logins_and_ends_one_from_another_browser() -> Result<()> {
    let scene = Scene::new().await?;
    let (here, _) = scene.sign_in("anna").await?;
    let (there, _) = scene.sign_in("anna").await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let newest = "SELECT l.id FROM logins l JOIN users u ON u.id = l.user_id
                  WHERE u.subject = 'sub-anna' AND ended_at IS NULL ORDER BY began_at DESC LIMIT 1";
    let id = scene.world.value(newest).await?.context("a login")?;
    let end = format!("/logins/{id}/end");
    let page = here.get(&scene.page("/logins")).await?.is(200)?.shows("in 2 browsers")?.shows("this one")?;
    ada.post(Some(&scene.site), &scene.page(&end), &[]).await?.is(404).context("not hers")?;
    here.post(Some("https://evil.example"), &scene.page(&end), &[]).await?.is(403)?;
    there.get(&scene.page("/keys")).await?.is(200)?;
    page.form(&end)?.submit().await?.is(200)?.shows("in this browser only")?;
    let gone = there.get(&scene.page("/keys")).await?;
    ensure!(gone.url.path() == "/signin", "{gone:?}");
    here.post(Some(&scene.site), &scene.page(&end), &[]).await?.is(404).context("it is over")?;
    let reason = "SELECT end_reason || ' ' || (refresh_token IS NULL) FROM logins WHERE ended_at IS NOT NULL";
    scene.world.expect(reason, "ended by the person true").await?;
    scene.world.expect("SELECT count(*) FROM audit WHERE kind = 'login.ended'", "1").await?;
    // Her own last one: the browser forgets it as well.
    let page = here.get(&scene.page("/logins")).await?;
    let own = scene.world.value(newest).await?.context("the other login")?;
    let page = page.form(&format!("/logins/{own}/end"))?.submit().await?;
    ensure!(page.url.path() == "/signin", "{page:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_from_the_page_lets_a_key_in_and_nothing_else_is_certified() -> Result<()> {
    let scene = Scene::without_approvals().await?;
    let (anna, page) = scene.sign_in("anna").await?;
    let laptop = scene.new_laptop("fresh").await?;
    let refused = laptop.ssh(["-o", "BatchMode=yes", "team", "true"]).await?;
    ensure!(refused.code == 255, "{refused:?}");
    let form = || page.form("/keys/certificate");
    let private = std::fs::read_to_string(laptop.key())?;
    let answer = form()?.set("key", &private).submit().await?.is(422)?.shows("That is a private key")?;
    ensure!(!answer.body.contains("BEGIN OPENSSH"), "it is not sent back");
    form()?.set("key", "nonsense").submit().await?.is(422)?.shows("not a public key")?;
    scene.world.expect("SELECT count(*) FROM audit WHERE kind = 'certificate.issued'", "0").await?;
    let certificate = form()?.set("key", &laptop.public_key()?).submit().await?.is(200)?;
    let name = "attachment; filename=\"id_ed25519-cert.pub\"";
    ensure!(certificate.header("content-disposition") == name, "{certificate:?}");
    let file = laptop.key().with_file_name(format!(
        "{}-cert.pub",
        laptop.key().file_name().context("a file")?.to_string_lossy()
    ));
    std::fs::write(&file, &certificate.body)?;
    laptop.ssh(["team", "true"]).await?.well()?;
    let row = "SELECT actor_name FROM audit WHERE kind = 'certificate.issued'";
    scene.world.expect(row, "anna@example.com").await?;
    let somebody = Visitor::new()?;
    let asked = [("key".to_owned(), laptop.public_key()?)];
    let asked = somebody.post(Some(&scene.site), &scene.page("/keys/certificate"), &asked).await?;
    ensure!(asked.url.path() == "/signin", "{asked:?}");
    // It is worth no more than her standing.
    ensure!(scene.provider.revoke("sub-anna").await? > 0, "she had a refresh token");
    let shell = laptop.ssh(["team", "sleep 60"]).await?;
    ensure!(shell.code != 0 && shell.stderr.contains("no longer renews"), "{}", shell.stderr);
    ensure!(laptop.ssh(["team", "true"]).await?.code == 255, "nor does it let in again");
    ensure!(anna.get(&scene.page("/keys")).await?.url.path() == "/signin", "she is signed out");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_and_certificates_look_right_on_a_phone_and_by_night() -> Result<()> {
    let scene = Scene::new().await?;
    let mut browser = Browser::start().await?;
    browser.goto(&scene.page("/logins")).await?;
    browser.click("a[href^='/signin/idp?']").await?;
    browser.wait("input[name=login]").await?;
    browser.fill("input[name=login]", "anna").await?;
    browser.click("button").await?;
    browser.wait("table").await?;
    scene.sign_in("anna").await?;
    let mut pictures = Pictures::of(&scene)?;
    browser.goto(&scene.page("/logins")).await?;
    ensure!(browser.count("tbody tr").await? == 2, "both browsers are listed");
    pictures.take(&mut browser, "logins").await?;
    browser.goto(&scene.page("/keys")).await?;
    pictures.take(&mut browser, "keys-certificate").await?;
    let complaints = browser.complaints().await?;
    // Icons of the provider's pages. Nothing was against the content policy.
    ensure!(complaints.iter().all(|complaint| complaint.contains("404")), "{complaints:?}");
    assert_eq!(pictures.taken(), 8, "every page was looked at");
    Ok(())
}
