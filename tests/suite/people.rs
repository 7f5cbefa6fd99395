//! What admins do about people, and what people do about themselves: suspension, keys, logins, on the command lines
//! and on the pages.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use spaceport_tests::browser::Browser;
use spaceport_tests::client::{Client, Done};
use spaceport_tests::world::{SPACES, World};

use crate::api::program;
use crate::grants::{allow_grants, gets_in, operator, shell_of};
use crate::scene::{Pictures, Scene};

/// Everybody, as the operator's list has them.
async fn users(world: &World) -> Result<Vec<Value>> {
    let list = operator(world, &["user", "list", "--json"]).await?.well()?.text();
    list.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_person_is_out_on_every_replica_until_they_are_resumed() -> Result<()> {
    let world = World::start().await?;
    let second = world.second_gateway("second").await?;
    let bo = world.bo().await?;
    bo.configure(second.ssh, SPACES)?;
    let screen = shell_of(&world, &bo, "team").await?;
    let suspend = ["user", "suspend", "bo", "--reason", "laptop lost", "--by", "chen"];
    operator(&world, &suspend).await?.well()?;
    screen.shows("spaceport: your access to team ended at").await?;
    screen.shows("an admin suspended your access.").await?;
    screen.shows("ended 255").await?;
    world.expect("SELECT end_code FROM sessions", "no_longer_allowed").await?;
    let refused = gets_in(&bo, "team", false).await?;
    ensure!(refused.stderr.contains("an admin suspended your access"), "{}", refused.stderr);
    ensure!(!refused.stderr.contains("laptop lost"), "the reason is for admins");
    let twice = operator(&world, &suspend).await?;
    ensure!(twice.code == 1 && twice.stderr.contains("is suspended already"), "{twice:?}");

    // The row stands over the file: neither a restart nor another reading of the file lets him in.
    world.reconfigure(|text| text).await?;
    let listed = users(&world).await?;
    let shown = listed.iter().find(|user| user["name"] == "bo").context("bo")?;
    ensure!(shown["suspension"]["by"] == "chen" && shown["suspension"]["reason"] == "laptop lost", "{shown}");
    ensure!(shown["keys"] == 1 && shown["provider"] == "local", "{shown}");
    gets_in(&bo, "team", false).await?;

    operator(&world, &["user", "resume", "local/bo", "--by", "dana"]).await?.well()?;
    gets_in(&bo, "team", true).await?;
    let again = operator(&world, &["user", "resume", "bo"]).await?;
    ensure!(again.code == 1 && again.stderr.contains("is not suspended"), "{again:?}");
    for (kind, by) in [("user.suspended", "chen"), ("user.resumed", "dana")] {
        let row = format!("SELECT actor_name FROM audit WHERE kind = '{kind}' AND detail->>'name' = 'bo'");
        world.expect(&row, by).await?;
    }
    second.stop().await?;
    Ok(())
}

/// A command of the gateway's own command line.
async fn command(laptop: &Client, words: &str) -> Result<Done> {
    laptop.ssh(["-o", "LogLevel=INFO", "spaceport", words]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_who_they_are_and_their_keys_over_ssh() -> Result<()> {
    let scene = Scene::without_approvals().await?;
    let (laptop, visitor) = scene.laptop("anna").await?;
    let who = command(&laptop, "whoami").await?.well()?.text();
    let mut lines = who.lines();
    assert_eq!(lines.next(), Some("anna@example.com, user, group idp/ml"));
    ensure!(lines.next().is_some_and(|line| line.starts_with("key SHA256:")), "{who}");
    ensure!(lines.next().is_some_and(|line| line.starts_with("signed in until 20")), "{who}");

    let desk = Client::new(&scene.world.folder().join("desk")).await?;
    desk.configure(scene.world.gateway.ssh, &["team", "spaceport"])?;
    let form = visitor.get(&scene.page("/keys")).await?.form("/keys")?;
    form.set("key", &desk.public_key()?).set("name", "my desk").submit().await?.is(200)?;
    let keys = command(&laptop, "keys").await?.well()?.text();
    for part in ["laptop\n  SHA256:", "my desk\n  SHA256:", " from 127.0.0.1\n  counts until you remove it\n"]
    {
        ensure!(keys.contains(part), "{part:?} in\n{keys}");
    }
    let screen = shell_of(&scene.world, &desk, "team").await?;
    let removed = command(&laptop, "keys remove my desk").await?.well()?.text();
    assert_eq!(removed, "\"my desk\" is removed. Connections made with it end now.\n");
    screen.shows("the key that you connected with no longer counts.").await?;
    screen.shows("ended 255").await?;
    gets_in(&desk, "team", false).await?;
    let unknown = command(&laptop, "keys remove my desk").await?;
    ensure!(unknown.code == 1 && unknown.stderr.contains("you have no key \"my desk\""), "{unknown:?}");
    // The key that asks may be the one that goes: the answer comes first.
    let own = command(&laptop, "keys remove laptop").await?.well()?.text();
    ensure!(own.contains("is removed"), "{own}");
    gets_in(&laptop, "team", false).await?;
    scene.world.expect("SELECT count(*) FROM audit WHERE kind = 'key.removed'", "2").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_key_is_shown_and_stays() -> Result<()> {
    let world = World::start().await?;
    world.client.configure(world.gateway.ssh, &["spaceport"])?;
    let keys = command(&world.client, "keys").await?.well()?.text();
    ensure!(
        keys.starts_with("laptop\n  SHA256:") && keys.ends_with("in the gateway's configuration\n"),
        "{keys}"
    );
    let stays = command(&world.client, "keys remove laptop").await?;
    ensure!(stays.code == 1 && stays.stderr.contains("\"laptop\" stays."), "{stays:?}");
    let who = command(&world.client, "whoami").await?.well()?.text();
    ensure!(who.contains("\nlisted in the gateway's configuration\nmonth "), "{who}");
    let out = command(&world.client, "logout").await?.well()?.text();
    assert_eq!(out, "You are signed in nowhere on the web.\n");
    let misused = command(&world.client, "keys add").await?;
    ensure!(misused.code == 2 && misused.stderr.contains("it knows help, spaces"), "{misused:?}");
    let help = command(&world.client, "help").await?.well()?.text();
    for part in ["keys remove FINGERPRINT|NAME", "logout", "whoami"] {
        ensure!(help.contains(part), "{part} in\n{help}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_over_ssh_ends_every_web_login_and_no_session() -> Result<()> {
    let scene = Scene::without_approvals().await?;
    let (laptop, visitor) = scene.laptop("anna").await?;
    let (elsewhere, _) = scene.sign_in("anna").await?;
    let screen = scene.shell(&laptop).await?;
    let out = command(&laptop, "logout").await?.well()?.text();
    ensure!(out.starts_with("2 web logins are ended. ssh goes on until 20"), "{out}");
    ensure!(out.ends_with(&format!("Sign in again at {}/\n", scene.site)), "{out}");
    for browser in [visitor, elsewhere] {
        let page = browser.get(&scene.page("/keys")).await?;
        ensure!(page.url.path() == "/signin", "{page:?}");
    }
    screen.line("echo still $((40+3))").await?;
    screen.shows("still 43").await?;
    laptop.ssh(["team", "true"]).await?.well()?;
    let ended = "SELECT detail->>'logins' FROM audit WHERE kind = 'login.ended'";
    scene.world.expect(ended, "2").await?;
    scene.world.expect("SELECT count(*) FROM logins WHERE refresh_token IS NOT NULL", "0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_an_operator_revokes_ends_its_connections() -> Result<()> {
    let scene = Scene::without_approvals().await?;
    let (laptop, _) = scene.laptop("anna").await?;
    let screen = scene.shell(&laptop).await?;
    let list = scene.world.spaceport(&["key", "list", "--user", "idp/anna@example.com", "--json"]).await?;
    let key: Value = serde_json::from_str(list.well()?.text().trim())?;
    let nobody = scene.world.spaceport(&["key", "list", "--user", "local/anna@example.com"]).await?.well()?;
    ensure!(nobody.text().starts_with("no key was added"), "{}", nobody.text());
    let fingerprint = key["fingerprint"].as_str().context("a fingerprint")?;
    scene.world.spaceport(&["key", "revoke", fingerprint, "--by", "chen"]).await?.well()?;
    screen.shows("the key that you connected with no longer counts.").await?;
    screen.shows("ended 255").await?;
    gets_in(&laptop, "team", false).await?;
    let again = scene.world.spaceport(&["key", "revoke", fingerprint]).await?;
    ensure!(again.code == 1 && again.stderr.contains("nobody has added a key"), "{again:?}");
    let revoked =
        "SELECT actor_name FROM audit WHERE kind = 'key.revoked' AND detail->>'name' = 'anna@example.com'";
    scene.world.expect(revoked, "chen").await
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_suspend_people_on_the_page_and_nobody_else_finds_it() -> Result<()> {
    let scene = Scene::without_approvals().await?;
    let (laptop, anna) = scene.laptop("anna").await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let screen = scene.shell(&laptop).await?;
    let row = |who: &str| format!("SELECT id FROM users WHERE name = '{who}@example.com'");
    let id = scene.world.value(&row("anna")).await?.context("anna's row")?;
    let suspend = format!("/users/{id}/suspend");
    let fields = [("reason".to_owned(), "mine".to_owned())];
    for path in ["/users", "/grants"] {
        anna.get(&scene.page(path)).await?.is(404)?;
    }
    for path in [&suspend, &format!("/users/{id}/resume"), "/grants", &format!("/grants/{id}/end")] {
        anna.post(Some(&scene.site), &scene.page(path), &fields).await?.is(404)?;
        ada.post(Some("https://evil.example"), &scene.page(path), &fields).await?.is(403)?;
    }
    let page = ada.get(&scene.page("/users")).await?.is(200)?;
    let page = page.shows("anna@example.com")?.shows("idp/ml")?.shows("listed in the file")?;
    let form = page.form(&suspend)?;
    form.set("reason", " ").submit().await?.is(422)?.shows("Write a reason")?;
    let page = page.form(&suspend)?.set("reason", "<b>laptop lost</b>").submit().await?.is(200)?;
    page.shows("idp/anna@example.com is suspended")?.shows("&#60;b&#62;laptop lost")?;
    screen.shows("an admin suspended your access.").await?;
    screen.shows("ended 255").await?;
    gets_in(&laptop, "team", false).await?;
    anna.get(&scene.page("/keys")).await?.is(403)?.shows("An admin suspended your access")?;
    let noted =
        |line: &Value| line["why"] == "an admin suspended the person" && line["tried"] == "anna@example.com";
    ensure!(scene.world.gateway.log()?.iter().any(noted), "it is counted among the refusals of the web");
    // Signing in again changes nothing, not even for an admin who is kept out.
    scene.sign_in("anna").await?.1.is(403)?;
    let ada_id = scene.world.value(&row("ada")).await?.context("ada's row")?;
    let own = scene.page(&format!("/users/{ada_id}/suspend"));
    ada.post(Some(&scene.site), &own, &fields).await?.is(422)?.shows("cannot suspend yourself")?;
    operator(&scene.world, &["user", "suspend", "ada@example.com", "--reason", "on leave"]).await?.well()?;
    let resume = format!("/users/{ada_id}/resume");
    spaceport_tests::until::until("her pages to close", std::time::Duration::from_secs(10), async || {
        let page = ada.post(Some(&scene.site), &scene.page(&resume), &[]).await?;
        Ok((page.status == 403).then_some(()))
    })
    .await?;
    scene.world.expect("SELECT count(*) FROM users WHERE suspended_at IS NOT NULL", "2").await?;
    operator(&scene.world, &["user", "resume", "ada@example.com"]).await?.well()?;
    let page = spaceport_tests::until::until("her pages", std::time::Duration::from_secs(10), async || {
        let page = ada.get(&scene.page("/users")).await?;
        Ok((page.status == 200).then_some(page))
    })
    .await?;
    page.form(&format!("/users/{id}/resume"))?.submit().await?.is(200)?.shows("may connect again")?;
    gets_in(&laptop, "team", true).await?;
    scene.world.expect("SELECT count(*) FROM audit WHERE kind = 'user.resumed'", "2").await
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_grant_and_end_on_the_page() -> Result<()> {
    let scene = Scene::without_approvals().await?;
    allow_grants(&scene.world)?;
    let (laptop, _) = scene.laptop("anna").await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let form = async |lasts: &str| {
        let page = ada.get(&scene.page("/grants")).await?.is(200)?;
        let form = page.form("/grants")?.set("user", "idp/anna@example.com").set("space", "demo.main");
        form.set("for", lasts).set("reason", "covers for alice").submit().await
    };
    let long = form("8d").await?.is(422)?.shows("8d is too long: a grant runs for at most 7d.")?;
    assert_eq!(long.form("/grants")?.form().value("space"), Some("demo.main"), "what was typed stays");
    let page = form("2h").await?.is(200)?.shows("counts from now on")?;
    page.shows("idp/anna@example.com")?.shows("ada@example.com")?;
    gets_in(&laptop, "demo", true).await?;
    let approver = "SELECT u.name FROM grants g JOIN users u ON u.id = g.approved_by_id";
    scene.world.expect(approver, "ada@example.com").await?;
    let config = laptop.config().display().to_string();
    let screen = crate::terminal::Screen::open(
        &scene.world,
        &format!("ssh -F {config} demo; echo ended $?; sleep 60"),
    )
    .await?;
    screen.line("echo ready $((40+2))").await?;
    screen.shows("ready 42").await?;
    let id = scene.world.value("SELECT id FROM grants").await?.context("a grant")?;
    let page = ada.get(&scene.page("/grants")).await?.form(&format!("/grants/{id}/end"))?.submit().await?;
    page.is(200)?.shows("is over")?.shows("No grant runs")?;
    screen.shows("your grant ended at").await?;
    let kinds = "SELECT string_agg(kind, ' ' ORDER BY at) FROM audit WHERE kind LIKE 'grant.%'";
    scene.world.expect(kinds, "grant.refused grant.added grant.ended").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_finds_somebody_and_takes_a_key_of_theirs_away() -> Result<()> {
    let scene = Scene::without_approvals().await?;
    let (laptop, anna) = scene.laptop("anna").await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let screen = shell_of(&scene.world, &laptop, "team").await?;
    let annas = "SELECT id FROM users WHERE subject = 'sub-anna'";
    let id = scene.world.value(annas).await?.context("her row")?;
    let found = ada.get(&scene.page("/users?q=ANNA")).await?.is(200)?.shows("anna@example.com")?;
    ensure!(!found.body.contains("local/bo") && found.body.matches("<tr>").count() == 2, "{found:?}");
    ada.get(&scene.page("/users?q=idp/platform")).await?.shows("ada@example.com").context("by a group")?;
    ada.get(&scene.page("/users?q=nobody-such")).await?.is(200)?.shows("Nobody here is like")?;

    let (page, fingerprint) = (scene.page(&format!("/users/{id}")), laptop.fingerprint().await?);
    let seen = ada.get(&page).await?.is(200)?.shows(&fingerprint)?.shows("idp/ml")?;
    let key = scene.world.value("SELECT id FROM keys").await?.context("her key")?;
    let remove = format!("/users/{id}/keys/{key}/remove");
    // What others do not find is not there for them.
    anna.get(&page).await?.is(404)?;
    anna.post(Some(&scene.site), &scene.page(&remove), &[]).await?.is(404)?;
    ada.post(Some("https://evil.example"), &scene.page(&remove), &[]).await?.is(403)?;
    // A key is looked for at its owner only.
    let adas = "SELECT id FROM users WHERE subject = 'sub-ada'";
    let other = scene.world.value(adas).await?.context("the admin's row")?;
    let elsewhere = scene.page(&format!("/users/{other}/keys/{key}/remove"));
    ada.post(Some(&scene.site), &elsewhere, &[]).await?.is(404)?;
    gets_in(&laptop, "team", true).await?;
    let removed = seen.form(&remove)?.submit().await?.is(200)?;
    removed.shows(&format!("The key {fingerprint} is removed."))?.shows("No SSH key lets them in.")?;
    screen.shows("the key that you connected with no longer counts").await?;
    gets_in(&laptop, "team", false).await?;
    ada.post(Some(&scene.site), &scene.page(&remove), &[]).await?.is(404).context("it is gone")?;
    let row = "SELECT actor_name || ' ' || (detail->>'name') FROM audit WHERE kind = 'key.revoked'";
    scene.world.expect(row, "ada@example.com anna@example.com").await?;

    let csv = ada.get(&scene.page("/users.csv?q=idp/")).await?.is(200)?;
    ensure!(csv.header("content-type").starts_with("text/csv"), "{csv:?}");
    assert_eq!(csv.body.lines().count(), 3, "the head and two people: {csv:?}");
    ensure!(csv.body.contains(&format!("{id},anna@example.com,idp,user,idp/ml,signed-in,")), "{csv:?}");
    let lines = ada.get(&scene.page("/users.jsonl")).await?.is(200)?;
    let people: Vec<Value> = lines.body.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(
        people.iter().any(|person| person["profiles"] == serde_json::json!(["main/alice"])),
        "{people:?}"
    );
    anna.get(&scene.page("/users.csv")).await?.is(404)?;
    scene.world.expect("SELECT count(*) FROM audit WHERE kind = 'user.exported'", "2").await?;

    let (program, _) = program(&scene, "ada").await?;
    ensure!(program.get(&format!("/users/{id}")).await?.is(200)?.json()?["name"] == "anna@example.com");
    let add = laptop.public_key()?;
    anna.get(&scene.page("/keys")).await?.form("/keys")?.set("key", &add).submit().await?.is(200)?;
    let keys = program.get(&format!("/users/{id}/keys")).await?.is(200)?.json()?;
    ensure!(keys["items"][0]["fingerprint"] == fingerprint.as_str(), "{keys}");
    let key = keys["items"][0]["id"].as_str().context("an id")?;
    program.delete(&format!("/users/{id}/keys/{key}")).await?.is(204)?;
    program.delete(&format!("/users/{id}/keys/{key}")).await?.problem(404, "not-found")?;
    gets_in(&laptop, "team", false).await.map(drop)
}

/// Chromium looks at the admins' pages; with `SPACEPORT_SCREENSHOTS` its pictures are kept there.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_browser_grants_and_suspends() -> Result<()> {
    let scene = Scene::without_approvals().await?;
    scene.laptop("anna").await?;
    let mut pictures = Pictures::of(&scene)?;
    let mut browser = Browser::start().await?;
    browser.goto(&scene.page("/signin/idp?return=/grants")).await?;
    browser.fill("input[name=login]", "ada").await?;
    browser.click("button").await?;
    browser.wait("input[name=space]").await?;
    pictures.take(&mut browser, "grants-none").await?;
    for (user, space) in [("idp/anna@example.com", "demo.main"), ("local/bo", "mixed-Case.main")] {
        browser.fill("input[name=user]", user).await?;
        browser.fill("input[name=space]", space).await?;
        browser.fill("input[name=for]", "3d").await?;
        browser.fill("input[name=reason]", "covers for alice while she is away").await?;
        browser.click_to("form[action='/grants'] button", "made=").await?;
    }
    pictures.take(&mut browser, "grants").await?;
    assert_eq!(browser.count("tbody tr").await?, 2);
    browser.fill("input[name=user]", "nobody").await?;
    browser.fill("input[name=space]", "demo").await?;
    browser.fill("input[name=for]", "3d").await?;
    browser.fill("input[name=reason]", "none").await?;
    browser.click("form[action='/grants'] button").await?;
    browser.wait(".note.bad").await?;
    pictures.take(&mut browser, "grants-refused").await?;
    browser.click_to("nav a[href='/users']", "/users").await?;
    pictures.take(&mut browser, "users").await?;
    browser.click_to("tbody a:has-text('anna@example.com')", "/users/").await?;
    pictures.take(&mut browser, "user").await?;
    browser.click_to("nav a[href='/users']", "/users").await?;
    browser.click("tbody tr:nth-child(3) details.menu summary").await?;
    pictures.take(&mut browser, "users-suspend").await?;
    browser.fill("tbody tr:nth-child(3) input[name=reason]", "laptop lost on a train").await?;
    browser.click_to("tbody tr:nth-child(3) .menu button", "suspended=").await?;
    pictures.take(&mut browser, "users-suspended").await?;
    let complaints = browser.complaints().await?;
    ensure!(
        complaints.iter().all(|complaint| complaint.contains("404") || complaint.contains("422")),
        "{complaints:?}"
    );
    Ok(())
}
