//! What is refused, and that it is told, logged and audited.

use anyhow::{Result, ensure};
use spaceport_tests::client::{Agent, Client};
use spaceport_tests::until::until;
use spaceport_tests::visitor::Visitor;

use super::{
    LIMIT, Request, asks, audited, complete, connecting, is_in, no_certificates, nothing_bound, waiting,
};
use crate::scene::{Scene, Setting};

/// Whether the log has a warning that says this.
fn is_logged(scene: &Scene, words: &str) -> Result<()> {
    let log = scene.world.gateway.log()?;
    let found = log.iter().any(|line| line["level"] == "WARN" && line.to_string().contains(words));
    ensure!(found, "{words:?} is not in the log");
    Ok(())
}

/// Changes a row behind the gateway's back.
async fn change(scene: &Scene, statement: &'static str) -> Result<()> {
    sqlx::query(statement).execute(&scene.world.database).await?;
    Ok(())
}

/// Waits until the gateway has read that a person's standing is gone.
async fn no_longer_counts(scene: &Scene, request: &Request, person: &Visitor) -> Result<()> {
    let refused = async || {
        let page = request.post(person, Some(&scene.site), &complete("AAAA-AAAA")).await?;
        Ok((page.status == 422 && page.body.contains("Your login no longer counts")).then_some(()))
    };
    until("standing to be gone", LIMIT, refused).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_can_be_guessed_at_five_times() -> Result<()> {
    let scene = Scene::new().await?;
    let (_, screen, request) = waiting(&scene, "laptop-of-anna", "").await?;
    let (anna, _) = scene.sign_in("anna").await?;
    for (wrong, says) in [
        ("AAAA-AAAA", "4 more tries"),
        ("", "3 more tries"),
        ("QMXP4RTDQMXP", "2 more tries"),
        ("AAAA-AAAB", "One more try"),
        ("AAAA-AAAC", "Connect again for a new code"),
    ] {
        let page = request.approve_with(&anna, wrong).await?.is(422)?;
        ensure!(page.body.contains(says) || page.body.contains("no longer counts"), "{wrong}: {page:?}");
    }
    audited(&scene, "approval.wrong_code", 5).await?;
    is_logged(&scene, "That is not the code in your terminal")?;
    request
        .post(&anna, Some(&scene.site), &complete(&request.code))
        .await?
        .is(422)?
        .shows("no longer counts")?;
    audited(&scene, "approval.refused", 1).await?;
    screen.line("").await?;
    screen.shows("too many wrong codes were typed").await?;
    screen.shows("ended 255").await?;
    nothing_bound(&scene).await?;
    drop(screen);
    // Whoever guesses at many approvals is stopped as well.
    for name in ["second", "third"] {
        let (_, _screen, request) = waiting(&scene, name, "").await?;
        for _ in 0..5 {
            request.approve_with(&anna, "AAAA-AAAA").await?.is(422)?;
        }
    }
    let (_, _screen, request) = waiting(&scene, "fourth", "").await?;
    request.approve(&anna).await?.is(422)?.shows("You typed too many wrong codes")?;
    let (ada, _) = scene.sign_in("ada").await?;
    request.approve(&ada).await?.is(200)?.shows("Press Enter")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_needs_a_tick_or_is_refused() -> Result<()> {
    for refuse in [false, true] {
        let setting = Setting {
            gateway: format!(
                "[ssh.approval]\nelsewhere = \"{}\"\n",
                if refuse { "refuse" } else { "confirm" }
            ),
            ..Setting::default()
        };
        let scene = Scene::with(setting).await?;
        let (_, screen, request) = waiting(&scene, "laptop-of-anna", "").await?;
        let (anna, _) = scene.sign_in("anna").await?;
        let away = anna.at(std::net::Ipv4Addr::new(127, 0, 0, 9))?;
        let page = request.page(&away).await?.is(200)?.shows("This does not look like you")?;
        let page = page.shows("127.0.0.9")?;
        let at = |text: &str| page.body.find(text).unwrap_or(usize::MAX);
        ensure!(at("value=\"deny\"") < at("<input"), "Deny comes first");
        if refuse {
            page.clone().shows("It cannot be approved from here")?;
            let sent = request.post(&away, Some(&scene.site), &complete(&request.code)).await?;
            sent.is(422)?.shows("an admin has forbidden such approvals")?;
            audited(&scene, "approval.refused", 1).await?;
            is_logged(&scene, "an admin has forbidden such approvals")?;
            screen.line("").await?;
            screen.shows("not approved yet").await?;
            nothing_bound(&scene).await?;
            continue;
        }
        let form = page.form("answer")?;
        assert_eq!(form.form().value("for"), Some("28800"), "the shortest time is proposed");
        let unticked = form.set("code", &request.code).set("answer", "approve").submit().await?;
        unticked.is(422)?.shows("Tick the box only if you know why")?;
        is_logged(&scene, "Tick the box only if you know why")?;
        audited(&scene, "approval.refused", 1).await?;
        let form = request.page(&away).await?.form("answer")?.set("code", &request.code);
        form.set("sure", "yes").set("answer", "approve").submit().await?.is(200)?.shows("Press Enter")?;
        screen.line("").await?;
        is_in(&screen).await?;
        let granted = "SELECT detail->>'elsewhere' || ' ' || (detail->>'answered_from')
                       FROM audit WHERE kind = 'approval.granted'";
        scene.world.expect(granted, "true 127.0.0.9").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_used_once_and_not_after_its_time() -> Result<()> {
    let scene = Scene::new().await?;
    let laptop = scene.new_laptop("laptop-of-anna").await?;
    let (anna, _) = scene.sign_in("anna").await?;
    let screen = connecting(&scene, &laptop, "").await?;
    let late = asks(&screen).await?;
    change(&scene, "UPDATE approvals SET expires_at = now()").await?;
    let sent = late.post(&anna, Some(&scene.site), &complete(&late.code)).await?;
    sent.is(422)?.shows("Nobody approved it within five minutes")?;
    audited(&scene, "approval.refused", 1).await?;
    is_logged(&scene, "This request is over")?;
    screen.line("").await?;
    screen.shows("nobody approved within 5 min").await?;
    screen.shows("ended 255").await?;
    audited(&scene, "approval.expired", 1).await?;
    nothing_bound(&scene).await?;
    drop(screen);
    let screen = connecting(&scene, &laptop, "").await?;
    let request = asks(&screen).await?;
    request.approve(&anna).await?.is(200)?;
    let twice = request.post(&anna, Some(&scene.site), &complete(&request.code)).await?;
    twice.is(422)?;
    screen.line("").await?;
    is_in(&screen).await?;
    let again = request.post(&anna, Some(&scene.site), &complete(&request.code)).await?;
    again.is(422)?.shows("The key is yours")?;
    audited(&scene, "approval.refused", 3).await?;
    audited(&scene, "approval.granted", 1).await?;
    // Another person learns nothing and changes nothing.
    let (ada, _) = scene.sign_in("ada").await?;
    request
        .post(&ada, Some(&scene.site), &complete(&request.code))
        .await?
        .is(422)?
        .shows("Somebody else approved")?;
    scene.world.expect("SELECT count(*) FROM keys", "1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_key_that_was_shown_is_bound_and_on_its_connection_only() -> Result<()> {
    for setting in [Setting::default(), no_certificates()] {
        let scene = Scene::with(setting).await?;
        let (laptop, other) = (scene.new_laptop("first").await?, scene.new_laptop("other").await?);
        let agent = Agent::start(scene.world.folder()).await?;
        agent.add(&laptop.key()).await?;
        agent.add(&other.key()).await?;
        let config =
            std::fs::read_to_string(laptop.config())?.replace("IdentitiesOnly yes", "IdentitiesOnly no");
        std::fs::write(laptop.config(), config.replace("IdentityFile", "#"))?;
        let options = format!("-o IdentityFile=none -o IdentityAgent={}", agent.socket.display());
        let (anna, _) = scene.sign_in("anna").await?;
        let screen = connecting(&scene, &laptop, &options).await?;
        let request = asks(&screen).await?;
        request.approve(&anna).await?.is(200)?;
        // Its client goes, and another key comes: the approval is no good to it.
        screen.key("C-c").await?;
        audited(&scene, "approval.unused", 1).await?;
        request.page(&anna).await?.is(200)?.shows("The terminal has gone")?;
        drop(screen);
        let screen = connecting(&scene, &other, "").await?;
        ensure!(asks(&screen).await?.url != request.url, "another key is asked about anew");
        nothing_bound(&scene).await?;
        drop(screen);
        let screen = connecting(&scene, &laptop, &options).await?;
        let request = asks(&screen).await?;
        let shown = laptop.fingerprint().await?;
        request.page(&anna).await?.shows(&shown)?;
        request.approve(&anna).await?.is(200)?;
        screen.line("").await?;
        is_in(&screen).await?;
        scene.world.expect("SELECT string_agg(fingerprint, ' ') FROM keys", &shown).await?;
        let refused = other.ssh(["-o", "BatchMode=yes", "team", "true"]).await?;
        ensure!(refused.code == 255, "{}", refused.stderr);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_somebody_else_is_not_bound() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, screen, request) = waiting(&scene, "first", "").await?;
    let (anna, _) = scene.sign_in("anna").await?;
    let (_, keys) = scene.sign_in("ada").await?;
    keys.form("/keys")?.set("key", &laptop.public_key()?).submit().await?.is(200)?;
    request.approve(&anna).await?.is(422)?.shows("That key belongs to somebody else")?;
    audited(&scene, "approval.refused", 1).await?;
    is_logged(&scene, "That key belongs to somebody else")?;
    drop(screen);
    // And if it becomes somebody else's after the approval.
    let (laptop, screen, request) = waiting(&scene, "second", "").await?;
    request.approve(&anna).await?.is(200)?;
    keys.form("/keys")?.set("key", &laptop.public_key()?).submit().await?.is(200)?;
    screen.line("").await?;
    screen.shows("the key is somebody else's").await?;
    screen.shows("ended 255").await?;
    is_logged(&scene, "an approval was not used")?;
    audited(&scene, "approval.unused", 1).await?;
    audited(&scene, "key.bound", 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_standing_approves_nothing() -> Result<()> {
    let scene = Scene::new().await?;
    let withdraw = async || {
        let gone =
            "UPDATE users SET standing_ended_at = now(), standing_end = 'refused' WHERE name LIKE 'anna%'";
        change(&scene, gone).await?;
        change(&scene, "UPDATE people_version SET version = version + 1").await
    };
    let (anna, _) = scene.sign_in("anna").await?;
    let (laptop, screen, request) = waiting(&scene, "first", "").await?;
    withdraw().await?;
    no_longer_counts(&scene, &request, &anna).await?;
    is_logged(&scene, "Your login no longer counts")?;
    audited(&scene, "approval.granted", 0).await?;
    drop(screen);
    // And if it goes between the approval and the signature.
    let (anna, _) = scene.sign_in("anna").await?;
    let screen = connecting(&scene, &laptop, "").await?;
    let request = asks(&screen).await?;
    request.approve(&anna).await?.is(200)?;
    withdraw().await?;
    no_longer_counts(&scene, &request, &anna).await?;
    screen.line("").await?;
    screen.shows("the approver's login no longer counts").await?;
    screen.shows("ended 255").await?;
    audited(&scene, "approval.unused", 1).await?;
    nothing_bound(&scene).await
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_and_strangers_answer_nothing() -> Result<()> {
    let scene = Scene::new().await?;
    let (_, screen, request) = waiting(&scene, "first", "").await?;
    let (anna, _) = scene.sign_in("anna").await?;
    for from in [Some("https://evil.example"), None] {
        for fields in [&complete(&request.code)[..], &[("answer", "deny")]] {
            request.post(&anna, from, fields).await?.is(403)?.shows("did not come from this site")?;
        }
    }
    is_logged(&scene, "another site's page sent it")?;
    let nobody = request.post(&Visitor::new()?, Some(&scene.site), &complete(&request.code)).await?;
    ensure!(nobody.url.path() == "/signin", "{nobody:?}");
    scene.world.expect("SELECT state FROM approvals", "pending").await?;
    for nowhere in ["/k/AAAAAA", "/k/H7RD", "/k/%2e%2e%2fkeys"] {
        anna.get(&scene.page(nowhere)).await?.is(404)?;
    }
    let page = request.page(&anna).await?;
    ensure!(!page.body.contains(&request.code), "the page never has the code");
    let kept = "SELECT encode(code, 'escape') FROM approvals";
    let kept = scene.world.value(kept).await?.unwrap_or_default();
    ensure!(!kept.contains(&request.code.replace('-', "")), "nor has the database");
    // It is one person's to deny, and the terminal says so.
    page.form("answer")?.set("answer", "deny").submit().await?.is(200)?.shows("Denied")?;
    screen.line("").await?;
    screen.shows("denied in the browser").await?;
    screen.shows("ended 255").await?;
    audited(&scene, "approval.denied", 1).await?;
    is_logged(&scene, "an approval was denied")?;
    nothing_bound(&scene).await?;
    ensure!(request.id().len() == 6, "{}", request.url);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_only_so_many_approvals_waiting() -> Result<()> {
    let gateway = "[ssh.approval]\nmax_pending_per_source = 1\n".to_owned();
    let scene = Scene::with(Setting { gateway, ..Setting::default() }).await?;
    let laptop = scene.new_laptop("first").await?;
    let screen = connecting(&scene, &laptop, "").await?;
    asks(&screen).await?;
    let second = Client::new(&scene.world.folder().join("second")).await?;
    second.configure(scene.world.gateway.ssh, &["team"])?;
    let refused = second.ssh(["-o", "LogLevel=INFO", "team", "true"]).await?;
    ensure!(
        refused.code == 255 && refused.stderr.contains("none of your keys is known"),
        "{}",
        refused.stderr
    );
    scene.world.expect("SELECT count(*) FROM approvals", "1").await?;
    screen.key("C-c").await?;
    scene.world.expect("SELECT state FROM approvals", "left").await
}
