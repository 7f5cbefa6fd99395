//! Tokens: made once, shown once, good for what their scopes say while somebody vouches for the person.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use spaceport_tests::browser::Browser;
use spaceport_tests::until::until;

use super::{Program, document, make_token, offered, program};
use crate::scene::{Pictures, Scene};

/// How long replicas may take to hear of a change.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_kept_as_a_digest_and_ends_when_it_is_revoked() -> Result<()> {
    let scene = Scene::new().await?;
    let (anna, _) = scene.sign_in("anna").await?;
    let token = make_token(&scene, &anna, &["spaces:read", "keys:read"]).await?;
    let program = Program::new(&scene, Some(&token))?;
    let me = program.get("/me").await?.is(200)?.json()?;
    assert_eq!((me["name"].as_str(), me["role"].as_str()), (Some("anna@example.com"), Some("user")));
    assert_eq!(me["token"]["scopes"], serde_json::json!(["spaces:read", "keys:read"]));
    let page = anna.get(&scene.page("/tokens")).await?.shows("a test")?.shows("from 127.0.0.1")?;
    ensure!(!page.body.contains(&token), "it is shown again");
    let kept = format!(
        "SELECT (SELECT count(*) FROM api_tokens WHERE digest = sha256('{token}'::bytea)) || ' ' || \
         (SELECT count(*) FROM api_tokens t WHERE t::text LIKE '%{token}%') || ' ' || \
         (SELECT count(*) FROM audit a WHERE a::text LIKE '%{token}%')"
    );
    scene.world.expect(&kept, "1 0 0").await?;
    let logged = scene.world.gateway.log()?;
    ensure!(!logged.iter().any(|line| line.to_string().contains(&token)), "it is in the log");
    let made =
        "SELECT detail->>'name' FROM audit WHERE kind = 'token.made' AND actor_name = 'anna@example.com'";
    scene.world.expect(made, "a test").await?;
    let id = me["token"]["id"].as_str().context("an id")?;
    page.form(&format!("/tokens/{id}/revoke"))?.submit().await?.is(200)?;
    program.get("/me").await?.problem(401, "bad-token")?;
    scene.world.expect("SELECT count(*) FROM audit WHERE kind = 'token.revoked'", "1").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_a_name_a_scope_and_an_end_and_no_more_than_its_person() -> Result<()> {
    let scene = Scene::new().await?;
    let (anna, _) = scene.sign_in("anna").await?;
    let tokens = scene.page("/tokens");
    let tries = [
        ([("name", ""), ("for", "1d"), ("scope", "spaces:read")], "Write a name"),
        ([("name", "x"), ("for", "1d"), ("none", "")], "Choose what the token may do"),
        ([("name", "x"), ("for", "soon"), ("scope", "spaces:read")], "Write how long"),
        ([("name", "x"), ("for", "91d"), ("scope", "spaces:read")], "at most 90d"),
        ([("name", "x"), ("for", "1d"), ("scope", "audit:read")], "your role does not have it"),
    ];
    for (fields, says) in tries {
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        anna.post(Some(&scene.site), &tokens, &fields).await?.is(422)?.shows(says)?;
    }
    let nonsense = [("name", "x"), ("for", "1d"), ("scope", "everything")];
    let nonsense = nonsense.map(|(name, value)| (name.to_owned(), value.to_owned()));
    anna.post(Some(&scene.site), &tokens, &nonsense).await?.is(400)?;
    scene.world.expect("SELECT count(*) FROM api_tokens", "0").await?;
    Ok(())
}

/// Every operation of the document: its method, its path with something in place of parameters, and its scope.
fn operations(document: &Value) -> Result<Vec<(Method, String, Option<String>)>> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().context("paths")? {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "none" } else { part });
        let filled = parts.collect::<Vec<_>>().join("/");
        for (method, operation) in item.as_object().context("operations")? {
            let scopes = operation["security"][0]["token"].as_array().context("each says its scope")?;
            ensure!(scopes.len() <= 1, "{path}: {scopes:?}");
            let scope = scopes.first().and_then(Value::as_str).map(str::to_owned);
            operations.push((method.to_uppercase().parse()?, filled.clone(), scope));
        }
    }
    Ok(operations)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_asks_for_a_token_its_scope_and_its_role() -> Result<()> {
    let scene = Scene::new().await?;
    let operations = operations(&document(&scene).await?)?;
    ensure!(operations.len() > 30, "{}", operations.len());
    let (anna, _) = scene.sign_in("anna").await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let hers = offered(&scene, &anna).await?;
    let every = offered(&scene, &ada).await?;
    ensure!(every.len() == 11 && hers.len() == 5, "{every:?} {hers:?}");
    let nobody = Program::new(&scene, None)?;
    for (method, path, scope) in operations {
        let what = format!("{method} {path}");
        let asked = nobody.ask(method.clone(), &path, None, &[]).await?;
        asked.problem(401, "no-token").context(what.clone())?;
        ensure!(asked.header("www-authenticate").is_some_and(|how| how.starts_with("Bearer")), "{asked:?}");
        let Some(scope) = scope else { continue };
        ensure!(every.contains(&scope), "{what} needs {scope}, which nobody can have");
        let others: Vec<&str> = every.iter().map(String::as_str).filter(|other| *other != scope).collect();
        let ada = Program::new(&scene, Some(&make_token(&scene, &ada, &others[..1]).await?))?;
        let refused = ada.ask(method.clone(), &path, None, &[]).await?;
        refused.problem(403, "scope").context(what.clone())?;
        let how = refused.header("www-authenticate").context("how")?.to_owned();
        ensure!(how.contains("insufficient_scope") && how.contains(&scope), "{how}");
        if !hers.contains(&scope) {
            let anna = Program::new(&scene, Some(&make_token(&scene, &anna, &["spaces:read"]).await?))?;
            anna.ask(method, &path, None, &[]).await?.problem(404, "not-found").context(what)?;
            revoke_all(&scene).await?;
        }
        revoke_all(&scene).await?;
    }
    Ok(())
}

/// So that nobody has too many.
async fn revoke_all(scene: &Scene) -> Result<()> {
    sqlx::query("UPDATE api_tokens SET revoked_at = now()").execute(&scene.world.database).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_works_on_after_a_sign_in_while_the_provider_vouches_and_no_longer() -> Result<()> {
    let scene = Scene::new().await?;
    let (anna, _) = program(&scene, "anna").await?;
    anna.get("/me").await?.is(200)?;
    lapse(&scene, "anna@example.com").await?;
    let again = "SELECT standing_until > now() FROM users WHERE name = 'anna@example.com'";
    let renewed = until("the provider to be asked again", PATIENCE, async || {
        anna.get("/me").await?.is(200)?;
        Ok(scene.world.value(again).await?.filter(|stands| stands == "true"))
    });
    renewed.await?;
    // Somebody who has left is in no group any more.
    scene.provider.groups("sub-anna", &["hr"]).await?;
    lapse(&scene, "anna@example.com").await?;
    let refused = until("the token to let nobody in", PATIENCE, async || {
        let answer = anna.get("/me").await?;
        Ok((answer.status != 200).then_some(answer))
    });
    let why = refused.await?.problem(401, "bad-token")?;
    ensure!(why.contains("no longer vouches"), "{why}");
    Ok(())
}

/// The sign-in of a person is over, as it is after its time.
async fn lapse(scene: &Scene, name: &str) -> Result<()> {
    let mut tx = scene.world.database.begin().await?;
    sqlx::query("UPDATE users SET standing_until = now() - interval '1 min' WHERE name = $1")
        .bind(name)
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE people_version SET version = version + 1").execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_person_s_token_lets_nobody_in_at_once() -> Result<()> {
    let scene = Scene::new().await?;
    let (anna, _) = program(&scene, "anna").await?;
    let (ada, _) = program(&scene, "ada").await?;
    anna.get("/spaces").await?.is(200)?;
    let people = ada.get("/users?q=anna").await?.is(200)?.json()?;
    let id = people["items"][0]["id"].as_str().context("an id")?.to_owned();
    let why = serde_json::json!({ "reason": "left the team" });
    let done = ada.post(&format!("/users/{id}/suspend"), &why).await?.is(200)?.json()?;
    assert_eq!(done["changed"], true);
    let says = anna.get("/spaces").await?.problem(401, "bad-token")?;
    ensure!(says.contains("suspended"), "{says}");
    ada.post(&format!("/users/{id}/resume"), &serde_json::json!({})).await?.is(200)?;
    anna.get("/spaces").await?.is(200)?;
    let asked = "SELECT count(*) FROM audit WHERE kind = 'api.asked' AND actor_name = 'ada@example.com' \
                 AND detail->>'token_name' = 'a test'";
    scene.world.expect(asked, "2").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_browser_makes_a_token() -> Result<()> {
    let scene = Scene::new().await?;
    let mut browser = Browser::start().await?;
    let mut pictures = Pictures::of(&scene)?;
    browser.goto(&scene.page("/signin/idp?return=/tokens")).await?;
    browser.fill("input[name=login]", "ada").await?;
    browser.press("input[name=login]", "Enter").await?;
    browser.wait("input[name=name]").await?;
    pictures.take(&mut browser, "tokens-none").await?;
    browser.fill("input[name=name]", "nightly cost report").await?;
    for scope in ["cost:read", "spaces:read"] {
        browser.press(&format!("input[value='{scope}']"), "Space").await?;
    }
    browser.press("input[name=name]", "Enter").await?;
    browser.wait("div[role=status] code").await?;
    let token = browser.text("div[role=status] code").await?;
    let me = Program::new(&scene, Some(&token))?.get("/me").await?.is(200)?.json()?;
    assert_eq!(me["token"]["name"], "nightly cost report");
    assert_eq!(me["token"]["scopes"], serde_json::json!(["spaces:read", "cost:read"]));
    // What is in the picture is a token that counts for this scene only.
    pictures.take(&mut browser, "tokens-made").await?;
    browser.goto(&scene.page("/tokens")).await?;
    pictures.take(&mut browser, "tokens").await?;
    assert_eq!(pictures.taken(), 12);
    let complaints = browser.complaints().await?;
    // Icons of the provider's pages. Nothing was against the content policy.
    ensure!(complaints.iter().all(|complaint| complaint.contains("404")), "{complaints:?}");
    Ok(())
}
