//! Two identity providers at once: each vouches for its own people, and for nobody else's.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use spaceport_tests::browser::Browser;
use spaceport_tests::provider::{CLIENT, Provider, SECRET, account};
use spaceport_tests::until::until;
use spaceport_tests::visitor::Visitor;
use studio_simulator::fixture::{DOMAIN, Fixture, SpaceSpec};
use studio_simulator::simulator::Config as Account;

use crate::approval::{is_in, waiting};
use crate::scene::{Scene, Setting};

/// A gateway that also takes the word of a partner's provider, for people of whatever group. An Anna and a Paul are
/// known there; this Anna has the address and the groups of the other one, and the partner calls her an admin.
struct Partnership {
    scene: Scene,
    partner: Provider,
}

impl Partnership {
    async fn new() -> Result<Self> {
        let people = [account("anna", &["ml", "platform"]), account("paul", &["guests"])];
        let partner = Provider::start(&people, &[]).await?;
        let gateway = format!(
            "[[providers]]\nalias = \"partner\"\nname = \"Partner\"\nissuer = \"{}\"\n\
             client_id = \"{CLIENT}\"\nclient_secret = \"{SECRET}\"\n\
             scopes = [\"email\", \"profile\", \"groups\", \"offline_access\"]\n\n\
             [[access.members]]\ndomain = \"main\"\ngroup = \"partner/guests\"\n",
            partner.issuer
        );
        let domain = "ownership = { provider = \"idp\", profile = \"{email_local}\" }\n".to_owned();
        let scene = Scene::with(Setting { gateway, domain, ..Setting::default() }).await?;
        let callback = scene.page("/signin/partner/callback");
        partner.register(CLIENT, SECRET, &[&callback], &[&scene.page("/signin")]).await?;
        Ok(Self { scene, partner })
    }

    /// Somebody's browser, signed in with the partner's provider.
    async fn guest(&self, login: &str) -> Result<Visitor> {
        let visitor = Visitor::new()?;
        let form = visitor.get(&self.scene.page("/signin/partner?return=/keys")).await?;
        form.form("signin")?.set("login", login).submit().await?.is(200)?.shows("Keys")?;
        Ok(visitor)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_provider_signs_in_its_own_people() -> Result<()> {
    let both = Partnership::new().await?;
    let scene = &both.scene;
    let (ours, theirs) = tokio::join!(scene.sign_in("anna"), both.guest("paul"));
    ours?.1.is(200)?.shows("anna@example.com")?;
    theirs?;
    let mut browser = Browser::start().await?;
    browser.goto(&scene.page("/keys")).await?;
    ensure!(browser.count("a[href^='/signin/idp?']").await? == 1, "one way in");
    browser.click("a[href^='/signin/partner?']").await?;
    browser.wait("input[name=login]").await?;
    ensure!(browser.url().await?.starts_with(&both.partner.issuer), "the partner asks");
    browser.fill("input[name=login]", "paul").await?;
    browser.click("button").await?;
    browser.wait("textarea[name=key]").await?;
    ensure!(browser.text("details.who summary").await?.contains("paul@example.com"), "it is Paul");
    let people = "SELECT string_agg(provider || ' ' || subject, ', ' ORDER BY provider)
                  FROM users WHERE provider <> 'local'";
    scene.world.expect(people, "idp sub-anna, partner sub-paul").await?;
    // A code of the one is none of the other's.
    let callback = scene.page("/signin/partner/callback");
    let held = Visitor::new()?.stopping_at(&callback);
    let form = held.get(&scene.page("/signin/partner")).await?;
    let back = form.form("signin")?.set("login", "paul").submit().await?.next.context("the way back")?;
    let elsewhere = back.as_str().replace("/partner/", "/idp/");
    held.get(&elsewhere).await?.is(400)?.shows("another provider")?;
    let refused = "SELECT detail->>'because' FROM audit WHERE kind = 'login.refused'";
    scene.world.expect(refused, "the answer names another provider").await?;
    let logged = scene.world.gateway.log()?;
    ensure!(logged.iter().any(|line| line["message"] == "not signed in"), "and the log has it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_approved_is_that_of_the_approvers_own_provider() -> Result<()> {
    let both = Partnership::new().await?;
    let scene = &both.scene;
    let (hers, _) = scene.laptop("anna").await?;
    let (_laptop, screen, request) = waiting(scene, "laptop-of-paul", "").await?;
    let mut browser = Browser::start().await?;
    browser.goto(&request.url).await?;
    browser.click("a[href^='/signin/partner?']").await?;
    browser.wait("input[name=login]").await?;
    browser.fill("input[name=login]", "paul").await?;
    browser.click("button").await?;
    browser.wait("input[name=code]").await?;
    browser.fill("input[name=code]", &request.code).await?;
    browser.click("button[value=approve]").await?;
    browser.wait("p[role=status]").await?;
    screen.line("").await?;
    screen.shows("approved by paul@example.com until").await?;
    is_in(&screen).await?;
    hers.ssh(["team", "true"]).await?.well()?;
    let owners = "SELECT string_agg(u.provider || ' ' || u.subject, ', ' ORDER BY u.provider)
                  FROM keys k JOIN users u ON u.id = k.user_id";
    scene.world.expect(owners, "idp sub-anna, partner sub-paul").await?;
    let bound = "SELECT actor_name FROM audit WHERE kind = 'key.bound'";
    scene.world.expect(bound, "paul@example.com").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_address_and_groups_from_another_provider_are_nobodys_right() -> Result<()> {
    let both = Partnership::new().await?;
    let scene = &both.scene;
    let simulator = &scene.world.account.simulator;
    simulator.create_profile(DOMAIN, "anna")?;
    let tags = BTreeMap::from([("gw-owner".to_owned(), "anna@example.com".to_owned())]);
    simulator
        .create_space(SpaceSpec { tags, untagged: true, ..SpaceSpec::private("annas", "anna").running() })
        .await?;
    // Hers by her own provider's word.
    let (laptop, anna) = scene.laptop("anna").await?;
    laptop.configure(scene.world.gateway.ssh, &["team", "annas"])?;
    until("her new space to be listed", Duration::from_secs(20), async || {
        laptop.ssh(["annas", "true"]).await?.well().map(|_| Some(()))
    })
    .await?;
    laptop.ssh(["team", "true"]).await?.well()?;
    anna.get(&scene.page("/sessions")).await?.is(404)?;
    // The partner's Anna: the same name, address and groups, and "platform", which makes admins of the others.
    let guest = both.guest("anna").await?;
    let name = "SELECT string_agg(DISTINCT email, ' ') FROM users WHERE subject = 'sub-anna'";
    scene.world.expect(name, "anna@example.com").await?;
    guest.get(&scene.page("/sessions")).await?.is(404).context("no admin")?;
    let page = guest.get(&scene.page("/keys")).await?;
    let theirs = page.form("/keys")?.set("key", &laptop.public_key()?).submit().await?;
    theirs.is(422)?.shows("belongs to somebody else")?;
    let other = scene.new_laptop("other").await?;
    other.configure(scene.world.gateway.ssh, &["team", "annas"])?;
    page.form("/keys")?.set("key", &other.public_key()?).submit().await?.is(200)?.shows("SHA256:")?;
    for (space, why) in [("annas", "it is private to anna"), ("team", "you are in none of its groups")] {
        let done = other.ssh([space, "true"]).await?;
        ensure!(done.code == 1 && done.stderr.contains(why), "{space}: {}", done.stderr);
    }
    let denied = "SELECT count(*) FROM audit a JOIN users u ON u.id = a.actor_id
                  WHERE a.kind = 'access.denied' AND u.provider = 'partner'";
    scene.world.expect(denied, "2").await?;
    scene.world.expect("SELECT count(*) FROM audit WHERE kind = 'key.refused'", "1").await?;
    // Nor does an address count that the provider has not verified.
    scene.provider.change("sub-oskar", json!({ "groups": ["ml"], "email_verified": false })).await?;
    scene.sign_in("oskar").await?.1.is(200)?;
    scene.world.expect("SELECT email IS NULL FROM users WHERE subject = 'sub-oskar'", "true").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_identity_center_made_is_found_by_its_user() -> Result<()> {
    let account =
        Account { fixtures: vec![Fixture { sso: true, ..Fixture::default() }], ..Account::default() };
    let domain = "ownership = { provider = \"idp\", sso_user = \"{email}\" }\n".to_owned();
    let scene = Scene::with(Setting { account, domain, ..Setting::default() }).await?;
    // SageMaker calls its user anna@example.org.
    scene.provider.change("sub-anna", json!({ "email": "Anna@Example.org" })).await?;
    let (laptop, _) = scene.laptop("anna").await?;
    let name = "SELECT name FROM users WHERE subject = 'sub-anna'";
    let name = scene.world.value(name).await?.context("her row")?;
    let simulator = &scene.world.account.simulator;
    simulator.create_profile(DOMAIN, "anna")?;
    let tags = BTreeMap::from([("gw-owner".to_owned(), name)]);
    let space = SpaceSpec { tags, untagged: true, ..SpaceSpec::private("annas", "anna").running() };
    simulator.create_space(space).await?;
    laptop.configure(scene.world.gateway.ssh, &["annas", "demo"])?;
    until("her profile to be read", Duration::from_secs(30), async || {
        laptop.ssh(["annas", "true"]).await?.well().map(|_| Some(()))
    })
    .await?;
    let row =
        "SELECT detail->>'sso_user' FROM audit WHERE kind = 'profile.read' AND detail->>'profile' = 'anna'";
    scene.world.expect(row, "anna@example.org").await?;
    // Whom SageMaker calls otherwise is somebody else, and a profile that was read is not read again and again.
    let (other, _) = scene.laptop("ada").await?;
    other.configure(scene.world.gateway.ssh, &["annas"])?;
    let done = other.ssh(["annas", "true"]).await?;
    ensure!(done.stderr.contains("you may not open annas"), "{}", done.stderr);
    let trail = scene.world.account.simulator.cloudtrail();
    let reads = trail.iter().filter(|event| event.event_name == "DescribeUserProfile").count();
    let owners = scene.world.value("SELECT count(*) FROM user_profiles").await?.context("a count")?;
    ensure!(owners == reads.to_string(), "{reads} calls for {owners} profiles");
    Ok(())
}
