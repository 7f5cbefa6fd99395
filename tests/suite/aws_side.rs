//! What AWS sees: the person's own role session, for the one space, with just the actions that are needed.

use anyhow::{Context, Result, ensure};
use spaceport_tests::world::{Wish, World};
use studio_simulator::fixture::{ACCOUNT, Fixture, SpaceSpec, USER_ROLE};
use studio_simulator::simulator::Config;
use studio_simulator::stream::{CloseHow, Fault};

use crate::terminal::{Screen, shell};

fn wish() -> Wish {
    Wish { gateway: "[start]\npoll_s = 1\n".to_owned(), ..Wish::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn start_session_is_made_by_the_persons_role_session_for_the_exact_arn() -> Result<()> {
    let world = World::start().await?;
    world.client.ssh(["demo", "true"]).await?.well()?;
    let trail = world.account.simulator.cloudtrail();
    let made: Vec<_> = trail.iter().filter(|e| e.event_name == "StartSession").collect();
    ensure!(!made.is_empty(), "there was a StartSession");
    for event in made {
        let caller = event.caller_arn().context("a caller")?;
        ensure!(caller.contains(&format!("assumed-role/{USER_ROLE}/alice")), "{caller}");
        assert_eq!(event.source_identity(), Some("alice"));
        assert_eq!(event.principal_tag("gw-owner"), Some("alice"));
        assert_eq!(event.resource.as_deref(), Some(world.account.arn("demo").as_str()));
        assert_eq!(event.error_code, None);
    }
    let opened =
        trail.iter().any(|e| e.event_name == "OpenDataChannel" && e.source_identity() == Some("alice"));
    ensure!(opened, "the data channel was opened, signed, by the same person");
    Ok(())
}

/// Takes one action away from the user role and says what an ssh to a space then prints.
async fn without(action: &str, host: &str) -> Result<(i32, String)> {
    let world = World::with(wish()).await?;
    world.account.simulator.deny_action(ACCOUNT, USER_ROLE, action)?;
    let done = world.client.ssh([host, "echo hi"]).await?;
    Ok((done.code, done.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn open_policy_needs_start_session() -> Result<()> {
    let (code, says) = without("sagemaker:StartSession", "demo").await?;
    ensure!(code != 0 && says.contains("StartSession"), "{says}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn open_policy_needs_open_data_channel() -> Result<()> {
    let (code, says) = without("ssmmessages:OpenDataChannel", "demo").await?;
    ensure!(code != 0 && says.contains("403"), "{says}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn start_policy_needs_describe_space() -> Result<()> {
    let (code, says) = without("sagemaker:DescribeSpace", "stopped").await?;
    ensure!(code != 0 && says.contains("DescribeSpace"), "{says}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn start_policy_needs_create_app() -> Result<()> {
    let (code, says) = without("sagemaker:CreateApp", "stopped").await?;
    ensure!(code != 0 && says.contains("CreateApp"), "{says}");
    Ok(())
}

/// Takes one action away from the user role, says yes to switching remote access on, and waits for the action's name.
async fn switching_on_without(action: &str, space: SpaceSpec) -> Result<()> {
    let (host, name) = (space.name.clone(), action.trim_start_matches("sagemaker:"));
    let account = Config { fixtures: vec![Fixture::bare().with(space)], ..Config::default() };
    let world = World::with(Wish { account, ..wish() }).await?;
    world.client.configure(world.gateway.ssh, &[&host])?;
    world.account.simulator.deny_action(ACCOUNT, USER_ROLE, action)?;
    let screen = Screen::open(&world, &shell(&world, &host)).await?;
    screen.shows("Switch it on and restart? [y/N]").await?;
    screen.key("y").await?;
    screen.key("Enter").await?;
    screen.shows(name).await?;
    screen.shows("ended ").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn start_policy_needs_update_space() -> Result<()> {
    let space = SpaceSpec::private("closed", "alice").without_remote_access();
    switching_on_without("sagemaker:UpdateSpace", space).await
}

#[tokio::test(flavor = "multi_thread")]
async fn start_policy_needs_delete_app() -> Result<()> {
    let space = SpaceSpec::private("closed", "alice").without_remote_access().running();
    switching_on_without("sagemaker:DeleteApp", space).await
}

#[tokio::test(flavor = "multi_thread")]
async fn open_policy_needs_resume_session() -> Result<()> {
    let world = World::start().await?;
    let screen = Screen::open(&world, &shell(&world, "demo")).await?;
    screen.line("echo ready $((40+2))").await?;
    screen.shows("ready 42").await?;
    world.account.simulator.deny_action(ACCOUNT, USER_ROLE, "ssm:ResumeSession")?;
    world.account.fault("demo", Fault::CloseClients { how: CloseHow::Bye });
    screen.shows("ended 255").await?;
    let trail = world.account.simulator.cloudtrail();
    let denied = trail.iter().find(|e| e.event_name == "ResumeSession").context("a ResumeSession")?;
    ensure!(denied.error_code.as_deref().is_some_and(|code| code.contains("AccessDenied")), "it was denied");
    assert_eq!(denied.source_identity(), Some("alice"));
    Ok(())
}

/// Saves what the gateway asked of SageMaker, for botocore's models to judge: `tests/interop/run`.
#[tokio::test(flavor = "multi_thread")]
async fn every_request_to_sagemaker_is_saved_for_botocores_models() -> Result<()> {
    let world = World::with(wish()).await?;
    for host in ["demo", "stopped", "small", "over-quota"] {
        world.client.ssh([host, "true"]).await?;
    }
    let events = world.account.simulator.cloudtrail();
    for name in ["ListSpaces", "ListApps", "DescribeSpace", "DescribeApp", "CreateApp", "StartSession"] {
        ensure!(events.iter().any(|event| event.event_name == name), "{name} was called");
    }
    if let Some(path) = std::env::var_os("SPACEPORT_REQUESTS") {
        std::fs::write(path, serde_json::to_vec(&serde_json::json!({ "events": events }))?)?;
    }
    Ok(())
}
