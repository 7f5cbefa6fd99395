//! What programs do: to spaces, sessions, keys, people. Each happens once, however often it is asked for.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use spaceport_tests::until::until;

use super::{Answer, Program, make_token, program};
use crate::scene::{Scene, Setting};

/// How long a space may take to be listed, started or stopped.
const PATIENCE: Duration = Duration::from_secs(90);
/// Everything is looked at each second or two, and nothing is stopped while a test lasts.
const QUICK: &str = "[start]\npoll_s = 1\n\n[watch]\nevery_s = 1\n\n[idle]\nmode = \"stop\"\ninside = \"where-set-up\"\nlook_every_s = 2\nidle_s = 600\ngrace_s = 3600\n\n";

pub(super) async fn scene() -> Result<Scene> {
    Scene::with(Setting { gateway: QUICK.to_owned(), ..Setting::default() }).await
}

/// A space, once it is like this.
pub(super) async fn space(program: &Program, path: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    let last = std::cell::RefCell::new(Value::Null);
    let waited = until(path, PATIENCE, async || {
        let space = program.get(path).await?.is(200)?.json()?;
        last.replace(space.clone());
        Ok(is(&space).then_some(space))
    });
    waited.await.with_context(|| last.borrow().to_string())
}

/// A POST with an idempotency key.
async fn keyed(program: &Program, path: &str, key: &str, body: &Value) -> Result<Answer> {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    program.ask(Method::POST, path, Some(body.to_string()), &headers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_is_held_stopped_and_started_and_each_once() -> Result<()> {
    let scene = scene().await?;
    let (anna, _) = program(&scene, "anna").await?;
    let team = "/spaces/main/team";
    let up = space(&anna, team, |space| space["state"] == "running" && space["verdict"].is_string()).await?;
    assert_eq!((up["space"].as_str(), up["domain"].as_str()), (Some("team"), Some("main")));
    let hold = format!("{team}/hold");
    let held = anna.post(&hold, &json!({ "for": "3h", "because": "evaluation" })).await?.is(200)?.json()?;
    assert_eq!(held["until"], held["longest_until"]);
    let told = anna.get(team).await?.is(200)?.json()?;
    assert_eq!(
        (told["hold"]["by"].as_str(), &told["hold"]["until"]),
        (Some("anna@example.com"), &held["until"])
    );
    let long = anna.post(&hold, &json!({ "for": "90d" })).await?.problem(422, "invalid")?;
    ensure!(long.contains("at most"), "{long}");
    anna.delete(&hold).await?.is(200)?;
    ensure!(anna.get(team).await?.is(200)?.json()?["hold"].is_null(), "it is let go");
    // The same request twice: the second hears what the first did.
    let stop = format!("{team}/stop");
    let first = keyed(&anna, &stop, "night 1", &json!({})).await?.is(202)?;
    ensure!(first.header("idempotency-replayed").is_none(), "{first:?}");
    let second = keyed(&anna, &stop, "night 1", &json!({})).await?.is(202)?;
    assert_eq!((second.header("idempotency-replayed"), &second.body), (Some("true"), &first.body));
    keyed(&anna, &stop, "night 1", &json!({ "force": true })).await?.problem(422, "key-reused")?;
    let stopped = space(&anna, team, |space| space["stopped"]["person"].is_string()).await?;
    assert_eq!(stopped["stopped"]["person"], "anna@example.com");
    anna.post(&stop, &json!({})).await?.problem(409, "conflict")?;
    let start = format!("{team}/start");
    let begun = keyed(&anna, &start, "morning", &json!({})).await?.is(202)?.json()?;
    assert_eq!(begun["state"], "starting");
    space(&anna, team, |space| space["state"] == "running").await?;
    keyed(&anna, &start, "morning", &json!({})).await?.is(202)?;
    assert_eq!(anna.post(&start, &json!({})).await?.is(200)?.json()?["state"], "running");
    let starts = "SELECT count(*) FROM audit WHERE kind = 'access.allowed' AND detail->>'action' = 'start'";
    scene.world.expect(starts, "2").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_in_use_is_busy_and_one_that_was_refused_is_free() -> Result<()> {
    let scene = scene().await?;
    let (anna, visitor) = program(&scene, "anna").await?;
    let me = anna.get("/me").await?.is(200)?.json()?;
    let busy = "INSERT INTO api_answers (user_id, key, request, began_at, attempt)
                SELECT $1::text::uuid, 'k', sha256(E'POST\\n/spaces/main/team/hold\\n{\"for\":\"1h\"}'::bytea),
                       now() - make_interval(secs => $2), gen_random_uuid()";
    let id = me["id"].as_str().context("an id")?;
    let database = &scene.world.database;
    let wish = json!({ "for": "1h" });
    let hold = "/spaces/main/team/hold";
    space(&anna, "/spaces/main/team", |space| space["state"] == "running").await?;
    sqlx::query(busy).bind(id).bind(1.0).execute(database).await?;
    let waits = keyed(&anna, hold, "k", &wish).await?;
    waits.problem(409, "key-busy")?;
    ensure!(waits.header("retry-after").is_some(), "{waits:?}");
    // The replica that had it has been dead for a while.
    sqlx::query("UPDATE api_answers SET began_at = now() - interval '3 min'").execute(database).await?;
    keyed(&anna, hold, "k", &wish).await?.is(200)?;
    // What was refused can be asked again, as it may be allowed then.
    let long = json!({ "for": "90d" });
    keyed(&anna, hold, "l", &long).await?.problem(422, "invalid")?;
    keyed(&anna, hold, "l", &wish).await?.is(200)?;
    // Keys are each person's own, whatever token they come with.
    let other = Program::new(&scene, Some(&make_token(&scene, &visitor, &["spaces:write"]).await?))?;
    ensure!(
        keyed(&other, hold, "l", &wish).await?.is(200)?.header("idempotency-replayed").is_some(),
        "one person"
    );
    for bad in ["", "ü", &"x".repeat(201)] {
        keyed(&anna, hold, bad, &wish).await?.problem(400, "malformed")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_session_is_found_and_ended_with_a_reason() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, visitor) = scene.laptop("anna").await?;
    let screen = scene.shell(&laptop).await?;
    let (ada, _) = program(&scene, "ada").await?;
    let live = ada.get("/sessions?q=anna&sort=idle").await?.is(200)?.json()?;
    let session = &live["items"][0];
    assert_eq!((session["space"].as_str(), session["mode"].as_str()), (Some("team"), Some("session")));
    assert_eq!(session["channels"][0], json!({ "kind": "shell", "open": 1 }));
    let id = session["id"].as_str().context("an id")?;
    let (path, end) = (format!("/sessions/{id}"), format!("/sessions/{id}/end"));
    // Her own she may see; others' she finds not, and ends none.
    let hers = make_token(&scene, &visitor, &["sessions:read"]).await?;
    let anna = Program::new(&scene, Some(&hers))?;
    assert_eq!(anna.get(&path).await?.is(200)?.json()?["user"], "anna@example.com");
    anna.get("/sessions").await?.problem(404, "not-found")?;
    anna.post(&end, &json!({})).await?.problem(404, "not-found")?;
    ada.post(&end, &json!({ "reason": " " })).await?.problem(422, "invalid")?;
    let why = json!({ "reason": "the machine is needed" });
    let first = keyed(&ada, &end, "e1", &why).await?.is(202)?;
    assert_eq!(first.json()?["state"], "ending");
    screen.shows("the machine is needed").await?;
    screen.shows("ada@example.com").await?;
    keyed(&ada, &end, "e1", &why).await?.is(202)?;
    let ended = until("its end", PATIENCE, async || {
        let session = ada.get(&path).await?.is(200)?.json()?;
        Ok((!session["end"].is_null()).then_some(session))
    });
    let ended = ended.await?;
    assert_eq!(ended["end"]["code"], "ended_by_admin");
    ensure!(
        ended["channels"][0]["kind"] == "shell" && !ended["streams"][0]["aws_session_id"].is_null(),
        "{ended}"
    );
    ada.post(&end, &why).await?.problem(404, "not-found")?;
    let past = ada.get("/sessions/history?person=").await?;
    past.problem(400, "malformed")?;
    let past = ada.get("/sessions/history?q=anna").await?.is(200)?.json()?;
    assert_eq!(past["items"][0]["id"], id);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_grants_and_certificates_are_made_and_taken_back() -> Result<()> {
    let scene = Scene::new().await?;
    let (anna, _) = program(&scene, "anna").await?;
    let (ada, _) = program(&scene, "ada").await?;
    let laptop = scene.new_laptop("by-program").await?;
    let key = json!({ "key": laptop.public_key()?, "name": "ci" });
    let made = anna.post("/keys", &key).await?.is(201)?.json()?;
    laptop.ssh(["team", "true"]).await?.well()?;
    anna.post("/keys", &key).await?.problem(409, "conflict")?;
    let says = anna.post("/keys", &json!({ "key": "ssh-ed25519 AAAA" })).await?.problem(422, "invalid")?;
    ensure!(says.contains("not a public key"), "{says}");
    let id = made["id"].as_str().context("an id")?;
    assert_eq!(anna.get("/keys").await?.is(200)?.json()?["items"][0]["id"], id);
    ada.delete(&format!("/keys/{id}")).await?.problem(404, "not-found")?;
    anna.delete(&format!("/keys/{id}")).await?.is(204)?;
    ensure!(laptop.ssh(["-o", "BatchMode=yes", "team", "true"]).await?.well().is_err(), "the key is gone");
    let grant =
        json!({ "user": "anna@example.com", "space": "demo", "for": "2h", "reason": "covers for alice" });
    let granted = ada.post("/grants", &grant).await?.is(201)?.json()?;
    let names = async || -> Result<Vec<String>> {
        let spaces = anna.all("/spaces?", 1).await?;
        Ok(spaces.iter().filter_map(|space| space["space"].as_str()).map(str::to_owned).collect())
    };
    ensure!(names().await?.contains(&"demo".to_owned()), "{:?}", names().await?);
    let grants = ada.get("/grants").await?.is(200)?.json()?;
    assert_eq!(
        (&grants["items"][0]["id"], grants["items"].as_array().map(Vec::len)),
        (&granted["id"], Some(1))
    );
    let id = granted["id"].as_str().context("an id")?;
    ada.delete(&format!("/grants/{id}")).await?.is(204)?;
    ada.delete(&format!("/grants/{id}")).await?.problem(404, "not-found")?;
    ensure!(!names().await?.contains(&"demo".to_owned()), "the grant is over");
    let nobody = json!({ "user": "nobody", "space": "demo", "for": "2h", "reason": "x" });
    let says = ada.post("/grants", &nobody).await?.problem(422, "invalid")?;
    ensure!(says.contains("nobody"), "{says}");
    Ok(())
}
