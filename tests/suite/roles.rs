//! Role sessions: which role a person gets, with which proof, and what they read when AWS gives none.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use spaceport_tests::provider::CLIENT;
use spaceport_tests::until::until;
use spaceport_tests::world::{Wish, World};
use studio_simulator::Event;
use studio_simulator::fixture::{ACCOUNT, Fixture, PROBE_ROLE, REGION, SERVICE_ROLE, SpaceSpec, USER_ROLE};
use studio_simulator::simulator::Config;

use crate::scene::{Scene, Setting};

/// What is asked of STS for a person, by either way.
const BECOME: [&str; 3] = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"];
const BECOME_WITH_TOKEN: [&str; 3] =
    ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"];

fn arn(role: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{role}")
}

fn policy(statement: Value) -> Value {
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

/// The service role may do these things to become a role.
fn trusts_the_gateway(actions: &[&str]) -> Value {
    policy(json!({ "Effect": "Allow", "Principal": { "AWS": arn(SERVICE_ROLE) }, "Action": actions }))
}

fn events(world: &World, name: &str) -> Vec<Event> {
    let all = world.account.simulator.cloudtrail();
    all.into_iter().filter(|event| event.event_name == name).collect()
}

/// What an ssh to a space prints on its standard error, which must be a refusal, on one line.
async fn refused(world: &World, host: &str) -> Result<String> {
    let done = world.client.ssh([host, "true"]).await?;
    ensure!(done.code != 0 && done.stdout.is_empty(), "{host} is refused: {}", done.stderr);
    Ok(done.stderr.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[tokio::test(flavor = "multi_thread")]
async fn sts_that_throttles_is_waited_for_and_one_that_goes_on_is_named() -> Result<()> {
    let world = World::start().await?;
    world.account.simulator.fail_next("AssumeRole", "Throttling", 2);
    assert_eq!(world.client.ssh(["demo", "echo hi"]).await?.well()?.text(), "hi\n");
    let asked = events(&world, "AssumeRole");
    let failed = asked.iter().filter(|event| event.error_code.as_deref() == Some("Throttling")).count();
    ensure!(failed == 2 && asked.len() > 2, "{asked:?}");
    world.account.simulator.fail_next("AssumeRole", "Throttling", 50);
    let says = refused(&world, "gpu").await?;
    ensure!(says.contains("gpu could not be opened. Why: AWS STS throttles"), "{says}");
    world.account.simulator.clear_faults();
    assert_eq!(world.client.ssh(["gpu", "echo hi"]).await?.well()?.text(), "hi\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sts_denies_differs_from_what_sagemaker_denies_and_each_says_what_to_do() -> Result<()> {
    let world = World::start().await?;
    let simulator = &world.account.simulator;
    simulator.set_role_trust(ACCOUNT, USER_ROLE, &trusts_the_gateway(&["sts:AssumeRole"]))?;
    let says = refused(&world, "demo").await?;
    ensure!(says.contains(&format!("AWS STS refused the role {USER_ROLE}.")), "{says}");
    ensure!(says.contains("trust policy must allow sts:TagSession and sts:SetSourceIdentity"), "{says}");
    ensure!(events(&world, "StartSession").is_empty(), "SageMaker was not asked");

    simulator.set_role_trust(ACCOUNT, USER_ROLE, &trusts_the_gateway(&BECOME))?;
    simulator.deny_action(ACCOUNT, USER_ROLE, "sagemaker:StartSession")?;
    let says = refused(&world, "demo").await?;
    ensure!(says.contains("SageMaker denied StartSession to your AWS role."), "{says}");
    ensure!(says.contains("the role's policy must allow it"), "{says}");

    simulator.allow_action(ACCOUNT, USER_ROLE, "sagemaker:StartSession")?;
    simulator.fail_next("AssumeRole", "PackedPolicyTooLarge", 1);
    let says = refused(&world, "demo").await?;
    ensure!(says.contains("policy and tags are too large for AWS STS"), "{says}");
    simulator.fail_next("AssumeRole", "RegionDisabledException", 1);
    let says = refused(&world, "demo").await?;
    ensure!(says.contains("AWS STS is switched off in this region"), "{says}");
    assert_eq!(world.client.ssh(["demo", "echo hi"]).await?.well()?.text(), "hi\n");
    world.expect("SELECT count(*) >= 4 FROM audit WHERE kind = 'session.ended'", "true").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_own_role_is_chained_within_an_hour_and_renewed_before_it_ends() -> Result<()> {
    let domain = format!("service_role = \"{}\"", arn(PROBE_ROLE));
    let world = World::with(Wish { domain, ..Wish::default() }).await?;
    let simulator = &world.account.simulator;
    simulator.shorten_role_sessions(Duration::from_secs(15));
    let list = ["sagemaker:ListSpaces", "sagemaker:ListApps", "sagemaker:DescribeApp"];
    simulator.set_role_policy(
        ACCOUNT,
        PROBE_ROLE,
        &policy(json!({ "Effect": "Allow", "Action": list, "Resource": "*" })),
    )?;
    simulator.set_role_trust(ACCOUNT, PROBE_ROLE, &trusts_the_gateway(&["sts:AssumeRole"]))?;
    // A name that nobody knows makes the gateway list again, at most every five seconds.
    let chained = async || {
        world.client.ssh(["mixed-case", "true"]).await?;
        world.client.ssh(["nowhere", "true"]).await?;
        let asked = events(&world, "AssumeRole").into_iter();
        let mut own = asked.filter(|event| event.request_parameters["roleSessionName"] == "spaceport");
        let good: Vec<Event> = own.by_ref().filter(|event| event.error_code.is_none()).collect();
        Ok((good.len() >= 3).then_some(good))
    };
    world.client.configure(world.gateway.ssh, &["mixed-case", "nowhere"])?;
    let good = until("three sessions, one after the other", Duration::from_secs(90), chained).await?;
    ensure!(good.iter().all(|event| event.request_parameters["durationSeconds"] == 3600), "{good:?}");
    let listed = events(&world, "ListSpaces");
    ensure!(listed.iter().all(|event| event.error_code.is_none()), "none was over: {listed:?}");
    ensure!(
        listed.iter().all(|event| event.caller_arn().is_some_and(|arn| arn.ends_with("/spaceport"))),
        "as itself"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_is_chosen_by_the_first_rule_for_a_persons_groups() -> Result<()> {
    let rules = format!(
        "[[domains.roles]]\ngroup = \"idp/platform\"\nrole = \"{}\"\n\
         [[domains.roles]]\ngroup = \"idp/ml\"\nrole = \"{}\"\n",
        arn(PROBE_ROLE),
        arn(USER_ROLE),
    );
    let scene = Scene::with(Setting { domain: rules, ..Setting::default() }).await?;
    let simulator = &scene.world.account.simulator;
    simulator.set_role_trust(ACCOUNT, PROBE_ROLE, &trusts_the_gateway(&BECOME))?;
    for (login, role) in [("ada", PROBE_ROLE), ("anna", USER_ROLE)] {
        let (laptop, _) = scene.laptop(login).await?;
        laptop.ssh(["team", "true"]).await?.well()?;
        let started = events(&scene.world, "StartSession").pop().context("a StartSession")?;
        let caller = started.caller_arn().context("a caller")?.to_owned();
        ensure!(caller.ends_with(&format!("assumed-role/{role}/{login}@example.com")), "{caller}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_no_rule_matches_reads_that_there_is_no_role() -> Result<()> {
    let second =
        Fixture::domain("d-second0example", "second").with(SpaceSpec::private("lab", "alice").running());
    let account = Config { fixtures: vec![Fixture::default(), second], ..Config::default() };
    let gateway = format!(
        "[[domains]]\nalias = \"second\"\nid = \"d-second0example\"\naccount = \"{ACCOUNT}\"\nregion = \"{REGION}\"\n\
         [[domains.roles]]\ngroup = \"local/leads\"\nrole = \"{}\"\n",
        arn(USER_ROLE),
    );
    let world = World::with(Wish { account, gateway, ..Wish::default() }).await?;
    world.reconfigure(|text| text.replace("\"main/alice\"", "\"main/alice\", \"second/alice\"")).await?;
    world.client.configure(world.gateway.ssh, &["lab"])?;
    let says = refused(&world, "lab").await?;
    let words = "no AWS role for you in second: none of its roles is for one of your groups.";
    ensure!(says.contains(words) && says.contains("ask an admin"), "{says}");
    ensure!(events(&world, "AssumeRole").is_empty(), "nobody was asked");
    world.reconfigure(|text| text.replace("[\"local/ml\"]", "[\"local/ml\", \"local/leads\"]")).await?;
    assert_eq!(world.client.ssh(["lab", "echo hi"]).await?.well()?.text(), "hi\n");
    Ok(())
}

/// A scene whose domain takes people's own ID tokens, and an account that knows their provider.
pub(crate) async fn with_tokens(setting: Setting) -> Result<Scene> {
    let domain = "credentials = \"web-identity\"\n".to_owned();
    let scene = Scene::with(Setting { domain, ..setting }).await?;
    let (simulator, issuer) = (&scene.world.account.simulator, &scene.provider.issuer);
    let provider = simulator.register_oidc_provider(ACCOUNT, issuer, &[CLIENT])?;
    let name = issuer.trim_start_matches("http://");
    let trust = policy(json!({
        "Effect": "Allow",
        "Principal": { "Federated": provider },
        "Action": BECOME_WITH_TOKEN,
        "Condition": { "StringEquals": { (format!("{name}:aud")): CLIENT }, "Null": { "sts:SourceIdentity": "false" } },
    }));
    simulator.set_role_trust(ACCOUNT, USER_ROLE, &trust)?;
    let claims = json!({
        "https://aws.amazon.com/tags": { "principal_tags": { "gw-owner": ["anna@example.com"] } },
        "https://aws.amazon.com/source_identity": "anna@example.com",
    });
    scene.provider.change("sub-anna", claims).await?;
    Ok(scene)
}

/// How often the provider renewed a login well.
async fn renewals(scene: &Scene) -> Result<usize> {
    let asked = scene.provider.requests().await?.into_iter();
    let renewed = asked.filter(|one| one.grant_type.as_deref() == Some("refresh_token"));
    Ok(renewed.filter(|one| one.status == Some(200)).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_opens_a_space_with_their_own_id_token_and_people_of_the_file_cannot() -> Result<()> {
    let scene = with_tokens(Setting::default()).await?;
    let (laptop, _) = scene.laptop("anna").await?;
    assert_eq!(laptop.ssh(["team", "echo hi"]).await?.well()?.text(), "hi\n");
    let became = events(&scene.world, "AssumeRoleWithWebIdentity");
    let became = became.first().context("an AssumeRoleWithWebIdentity")?;
    let who = became.user_identity.as_ref().context("somebody")?;
    ensure!(who["type"] == "WebIdentityUser" && who["userName"] == "sub-anna", "{who}");
    ensure!(events(&scene.world, "AssumeRole").is_empty(), "the gateway's own word was not needed");
    let started = events(&scene.world, "StartSession").pop().context("a StartSession")?;
    assert_eq!(started.source_identity(), Some("anna@example.com"));
    assert_eq!(started.principal_tag("gw-owner"), Some("anna@example.com"));

    let says = refused(&scene.world, "demo").await?;
    ensure!(says.contains("this domain needs your own sign-in"), "{says}");
    ensure!(says.contains("for people who sign in on the gateway's page"), "{says}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_about_to_end_is_renewed_first_and_one_that_cannot_be_asks_to_sign_in() -> Result<()> {
    let scene = with_tokens(Setting::default()).await?;
    // The provider's tokens last for an hour, and this one was given one hour ago.
    scene.provider.clock(-3590).await?;
    let (laptop, _) = scene.laptop("anna").await?;
    scene.provider.clock(0).await?;
    ensure!(renewals(&scene).await? == 0, "nobody was connected");
    laptop.ssh(["team", "true"]).await?.well()?;
    ensure!(renewals(&scene).await? > 0, "the login was renewed");
    ensure!(
        events(&scene.world, "AssumeRoleWithWebIdentity").iter().all(|e| e.error_code.is_none()),
        "at first try"
    );

    // Without a refresh token there is only what the sign-in brought.
    let never = Setting { provider: json!({ "refresh": "never" }), ..Setting::default() };
    let scene = with_tokens(never).await?;
    scene.provider.clock(-3590).await?;
    let (laptop, _) = scene.laptop("anna").await?;
    let done = laptop.ssh(["team", "true"]).await?;
    ensure!(done.code != 0 && done.stderr.contains("your sign-in is over"), "{}", done.stderr);
    ensure!(done.stderr.contains("sign in again"), "{}", done.stderr);
    scene.provider.clock(0).await?;
    scene.sign_in("anna").await?.1.is(200)?;
    laptop.ssh(["team", "true"]).await?.well().context("after another sign-in")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_a_token_that_are_too_large_and_a_provider_unknown_to_aws_are_told() -> Result<()> {
    let scene = with_tokens(Setting::default()).await?;
    let tags: serde_json::Map<String, Value> =
        (0..40).map(|n| (format!("tag-{n}"), json!(["x".repeat(60)]))).collect();
    let large = json!({ "https://aws.amazon.com/tags": { "principal_tags": tags } });
    scene.provider.change("sub-anna", large).await?;
    let (laptop, _) = scene.laptop("anna").await?;
    let says = async || -> Result<String> {
        let done = laptop.ssh(["team", "true"]).await?;
        ensure!(done.code != 0, "it is refused");
        Ok(done.stderr.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let words = says().await?;
    ensure!(words.contains("too large for AWS STS") && words.contains("fewer or shorter"), "{words}");
    let small = json!({ "https://aws.amazon.com/tags": null });
    scene.provider.change("sub-anna", small).await?;
    scene.world.account.simulator.register_oidc_provider(
        ACCOUNT,
        &scene.provider.issuer,
        &["another-client"],
    )?;
    scene.sign_in("anna").await?.1.is(200)?;
    let words = says().await?;
    ensure!(words.contains("AWS STS does not take your sign-in"), "{words}");
    ensure!(words.contains("is the identity provider in IAM the one"), "{words}");
    Ok(())
}
