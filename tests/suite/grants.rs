//! Grants that admins make: they open one space to one person, run out, are ended, and are explained.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use spaceport_tests::account::user_policy;
use spaceport_tests::client::{Client, Done};
use spaceport_tests::until::until;
use spaceport_tests::world::{SPACES, World};
use studio_simulator::fixture::{ACCOUNT, USER_ROLE};

use crate::terminal::Screen;

/// What a live session may take to end once its right has: the policy is asked again every half minute.
const A_MINUTE: Duration = Duration::from_secs(60);

/// Runs `spaceport` beside the gateway.
pub(crate) async fn operator(world: &World, arguments: &[&str]) -> Result<Done> {
    let config = world.config().display().to_string();
    world.operator(&[arguments, &["--config", &config]].concat()).await
}

/// A world whose people's role is the one that is shipped: it bounds them to the domain, and the gateway to one space.
/// The fixture's own looks at tags of the spaces, which know no grants.
pub(crate) fn allow_grants(world: &World) -> Result<()> {
    world.account.simulator.set_role_policy(ACCOUNT, USER_ROLE, &user_policy()?)
}

async fn start() -> Result<World> {
    let world = World::start().await?;
    allow_grants(&world)?;
    Ok(world)
}

async fn grant(world: &World, user: &str, space: &str, lasts: &str) -> Result<Done> {
    let what = ["grant", "add", "--user", user, "--space", space, "--for", lasts];
    operator(world, &[&what[..], &["--reason", "covers for alice", "--by", "chen"]].concat()).await
}

/// The id of the only grant that runs, as the list has it.
async fn running(world: &World) -> Result<String> {
    let list = world.spaceport(&["grant", "list", "--json"]).await?.well()?.text();
    let grant: serde_json::Value = serde_json::from_str(list.trim())?;
    Ok(grant["id"].as_str().context("an id")?.to_owned())
}

/// Waits until a laptop gets into a space, or is refused.
pub(crate) async fn gets_in(laptop: &Client, space: &str, wanted: bool) -> Result<Done> {
    let what = format!("a login that works: {wanted}");
    until(&what, Duration::from_secs(20), async || {
        let done = laptop.ssh(["-o", "LogLevel=INFO", space, "true"]).await?;
        Ok(((done.code == 0) == wanted).then_some(done))
    })
    .await
}

/// A shell in a space, and proof that it works.
pub(crate) async fn shell_of(world: &World, laptop: &Client, space: &str) -> Result<Screen> {
    let config = laptop.config().display().to_string();
    let line = format!("ssh -F {config} -o LogLevel=INFO {space}; echo ended $?; sleep 60");
    let screen = Screen::open(world, &line).await?;
    screen.line("echo ready $((40+2))").await?;
    screen.shows("ready 42").await?;
    Ok(screen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_expires_mid_shell_ends_the_shell() -> Result<()> {
    let world = start().await?;
    let bo = world.bo().await?;
    ensure!(bo.ssh(["demo", "true"]).await?.stderr.contains("it is private to alice"), "not his at first");
    grant(&world, "bo", "demo", "20s").await?.well()?;
    gets_in(&bo, "demo", true).await?;
    let screen = shell_of(&world, &bo, "demo").await?;
    screen
        .shows_within("spaceport: your access to demo ended at", Duration::from_secs(20) + A_MINUTE)
        .await?;
    screen.shows("your grant ended at").await?;
    screen.shows("ended 255").await?;
    let refused = gets_in(&bo, "demo", false).await?;
    ensure!(refused.stderr.contains("you may not open demo"), "{}", refused.stderr);
    ensure!(refused.stderr.contains("your grant ended at"), "{}", refused.stderr);
    let code = "SELECT end_code FROM sessions WHERE end_code <> 'client_left'";
    world.expect(code, "no_longer_allowed").await?;
    world.expect("SELECT count(*) FROM links WHERE ended_at IS NULL", "0").await?;
    assert_eq!(world.spaceport(&["grant", "list"]).await?.well()?.text(), "no grant runs\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_ended_ends_the_shell_on_another_replica() -> Result<()> {
    let world = start().await?;
    let second = world.second_gateway("second").await?;
    let bo = world.bo().await?;
    bo.configure(second.ssh, SPACES)?;
    grant(&world, "bo", "DEMO.main", "3h").await?.well()?;
    gets_in(&bo, "demo", true).await?;
    let screen = shell_of(&world, &bo, "demo").await?;
    let id = running(&world).await?;
    let short = &id[id.len() - 6..];
    let ended = world.spaceport(&["grant", "end", short, "--by", "dana"]).await?.well()?;
    ensure!(ended.text().contains("is over"), "{}", ended.text());
    screen.shows("spaceport: your access to demo ended at").await?;
    screen.shows("your grant ended at").await?;
    screen.shows("ended 255").await?;
    world.expect("SELECT count(*) FROM links WHERE ended_at IS NULL", "0").await?;
    gets_in(&bo, "demo", false).await?;
    let twice = world.spaceport(&["grant", "end", &id]).await?;
    ensure!(twice.code == 1 && twice.stderr.contains("no grant that runs has the id"), "{twice:?}");
    for (kind, by) in [("grant.added", "chen"), ("grant.ended", "dana")] {
        let row = format!("SELECT actor_name FROM audit WHERE kind = '{kind}' AND detail->>'space' = 'demo'");
        world.expect(&row, by).await?;
    }
    second.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_bounded_and_says_whom_and_what_it_does_not_know() -> Result<()> {
    let world = start().await?;
    // Somebody of a provider's is called bo as well.
    sqlx::query(
        "INSERT INTO users (id, provider, subject, name, standing_until, created_at)
         VALUES (gen_random_uuid(), 'okta', 'another', 'bo', now() + interval '1 day', now())",
    )
    .execute(&world.database)
    .await?;
    for (user, space, lasts, says) in [
        ("bo", "demo", "1h", "is the name of several people: write local/bo or okta/bo"),
        ("zoe", "demo", "1h", "nobody is called \"zoe\""),
        ("local/bo", "demoo", "1h", "there is no space \"demoo\"; near: demo"),
        ("local/bo", "demo.west", "1h", "there is no space \"demo.west\""),
        ("local/bo", "demo", "soon", "write how long it runs, such as 90m, 12h or 3d"),
        ("local/bo", "demo", "8d", "8d is too long: a grant runs for at most 7d"),
    ] {
        let refused = grant(&world, user, space, lasts).await?;
        ensure!(refused.code == 1 && refused.stderr.contains(says), "{user} {space} {lasts}: {refused:?}");
    }
    let blank = ["grant", "add", "--user", "local/bo", "--space", "demo", "--for", "1h", "--reason", " "];
    let blank = operator(&world, &blank).await?;
    ensure!(blank.code == 1 && blank.stderr.contains("write a reason"), "{blank:?}");
    world.expect("SELECT count(*) FROM grants", "0").await?;
    world.expect("SELECT count(*) FROM audit WHERE kind = 'grant.refused' AND NOT allowed", "1").await?;
    // The namesake's grant opens nothing to the bo of the file.
    grant(&world, "okta/bo", "demo", "7d").await?.well()?;
    let bo = world.bo().await?;
    let denied = bo.ssh(["demo", "true"]).await?;
    ensure!(denied.stderr.contains("it is private to alice"), "{}", denied.stderr);
    grant(&world, "local/bo", "demo", "1h").await?.well()?;
    gets_in(&bo, "demo", true).await?;
    Ok(())
}

/// `spaceport explain`, and its exit status.
async fn explain(world: &World, question: [&str; 3], code: i32, says: &[&str]) -> Result<()> {
    let done = operator(world, &[&["explain"], &question[..]].concat()).await?;
    let text = format!("{}{}", done.text(), done.stderr);
    ensure!(done.code == code, "{question:?}: {text}");
    for part in says {
        ensure!(text.contains(part), "{question:?}: {part:?} in\n{text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_gives_the_gateways_own_answer_and_the_rule_behind_it() -> Result<()> {
    let world = start().await?;
    let bo = world.bo().await?;
    let own = [
        "local/alice may open demo.main",
        "Told: it is yours.",
        "Rule: the person's user profile main/alice",
    ];
    explain(&world, ["alice", "demo", "open"], 0, &own).await?;
    let none = ["local/bo may not open demo.main", "it is private to alice", "Rule: none"];
    explain(&world, ["bo", "demo.main", "open"], 1, &none).await?;
    ensure!(
        gets_in(&bo, "demo", false).await?.stderr.contains("it is private to alice"),
        "so says the gateway"
    );
    let member = ["it is shared and you are in local/ml", "access.members[0] of the configuration file"];
    explain(&world, ["alice", "team", "start"], 0, &member).await?;
    explain(&world, ["alice", "team", "forward-agent"], 1, &["access.agent_into_shared"]).await?;
    explain(&world, ["alice", "nowhere", "open"], 2, &["there is no space \"nowhere\""]).await?;
    explain(&world, ["zoe", "demo", "open"], 2, &["nobody is called \"zoe\""]).await?;

    grant(&world, "bo", "demo", "1h").await?.well()?;
    let rule = format!("Rule: grant {} of the database", running(&world).await?);
    explain(&world, ["bo", "demo", "open"], 0, &[&rule, "\"covers for alice\""]).await?;
    gets_in(&bo, "demo", true).await?;
    world
        .reconfigure(|text| {
            format!(
                "{text}\n[[access.denials]]\nuser = \"bo\"\nspace = \"demo\"\nreason = \"conflict of interest\"\n"
            )
        })
        .await?;
    let denied =
        ["an admin denied it: \"conflict of interest\"", "access.denials[0] of the configuration file"];
    explain(&world, ["bo", "demo", "open"], 1, &denied).await?;
    ensure!(
        gets_in(&bo, "demo", false).await?.stderr.contains("conflict of interest"),
        "deny wins over a grant"
    );

    operator(&world, &["user", "suspend", "alice", "--reason", "laptop lost", "--by", "chen"])
        .await?
        .well()?;
    let suspended = ["an admin suspended your access", "suspended by chen at", "\"laptop lost\""];
    explain(&world, ["alice", "demo", "jump"], 1, &suspended).await?;
    ensure!(
        gets_in(&world.client, "demo", false).await?.stderr.contains("an admin suspended"),
        "as the gateway"
    );
    Ok(())
}
