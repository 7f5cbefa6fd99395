//! Lists in pages, files, and what programs read when something is wrong.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Program, document, program};
use crate::scene::{Scene, Setting};

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_that_miss_nothing() -> Result<()> {
    let scene = Scene::new().await?;
    scene.sign_in("anna").await?;
    let (ada, visitor) = program(&scene, "ada").await?;
    let (laptop, _) = scene.laptop("anna").await?;
    laptop.ssh(["team", "true"]).await?.well()?;
    laptop.ssh(["team", "true"]).await?.well()?;
    scene.world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL", "2").await?;
    for (path, least) in
        [("/audit?", 6), ("/spaces?of=everybody&", 4), ("/users?", 3), ("/sessions/history?", 2)]
    {
        let whole = ada.all(path, 200).await?;
        ensure!(whole.len() >= least, "{path}: {whole:?}");
        // What a space costs grows while one looks.
        let named = |items: Vec<Value>| -> Vec<Value> {
            let names = ["id", "space"];
            items.iter().flat_map(|item| names.map(|name| item[name].clone())).collect()
        };
        assert_eq!(named(ada.all(path, 1).await?), named(whole), "{path}");
    }
    // Files are the same as on the pages, byte for byte.
    for path in ["/sessions/history.csv", "/sessions/history.jsonl"] {
        let file = ada.get(path).await?.is(200)?;
        assert_eq!(file.body, visitor.get(&scene.page(path)).await?.is(200)?.body, "{path}");
    }
    let lines = ada.get("/audit.jsonl?kind=token.").await?.is(200)?;
    ensure!(lines.body.lines().count() == 1 && lines.body.contains("token.made"), "{}", lines.body);
    let table = ada.get("/audit.csv?kind=token.").await?.is(200)?;
    ensure!(table.body.lines().count() == 2, "{}", table.body);
    let taken = "SELECT count(*) FROM audit WHERE kind IN ('audit.exported', 'sessions.exported') \
                 AND detail ? 'token'";
    scene.world.expect(taken, "4").await?;
    let cost = ada.get("/cost?by=space").await?.is(200)?.json()?;
    assert_eq!((cost["by"].as_str(), cost["total"]["label"].as_str()), (Some("space"), Some("total")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_says_what_is_wrong_and_what_to_do() -> Result<()> {
    let scene = Scene::new().await?;
    let (ada, _) = program(&scene, "ada").await?;
    for (path, says) in [
        ("/audit?form=2026-11-01", "There is no parameter \"form\" here. There are: who, space"),
        ("/audit?from=yesterday", "from is a day such as 2026-11-27"),
        ("/audit?answer=maybe", "allowed"),
        ("/audit?limit=0", "limit is 1 to 200, and not 0"),
        ("/audit?limit=many", "limit"),
        ("/audit?cursor=%00", "cursor is what the page before gave"),
        ("/cost?month=2026-13", "month is a month such as 2026-11"),
        ("/spaces/main/team/days?days=0", "days is 1 to 31"),
        ("/me?x=1", "There are: none"),
    ] {
        let detail = ada.get(path).await?.problem(400, "malformed").context(path)?;
        ensure!(detail.contains(says), "{path}: {detail}");
    }
    ada.get("/nothing").await?.problem(404, "not-found")?;
    ada.get("/spaces/main/never").await?.problem(404, "not-found")?;
    ada.get("/sessions/not-an-id").await?.problem(404, "not-found")?;
    let put = ada.ask(Method::PUT, "/spaces", None, &[]).await?;
    put.problem(405, "method")?;
    ensure!(put.header("allow").is_some_and(|allow| allow.contains("GET")), "{put:?}");
    let hold = "/spaces/main/team/hold";
    let json = [("content-type", "application/json")];
    let text = ada.ask(Method::POST, "/grants", Some("{}".to_owned()), &[]).await?;
    text.problem(415, "media-type")?;
    ada.ask(Method::POST, "/grants", Some("{".to_owned()), &json).await?.problem(400, "malformed")?;
    let missing = ada.post("/grants", &json!({ "user": "anna" })).await?.problem(422, "invalid")?;
    ensure!(missing.contains("space"), "{missing}");
    let odd = ada.post(hold, &json!({ "for": "1h", "becuase": "x" })).await?.problem(422, "invalid")?;
    ensure!(odd.contains("becuase"), "{odd}");
    let large = json!({ "for": "1h", "because": "x".repeat(70_000) });
    ada.post(hold, &large).await?.problem(413, "too-large")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_s_tokens_share_their_turns_and_cookies_are_none() -> Result<()> {
    let web = "api_requests_per_min = 4\n".to_owned();
    let scene = Scene::with(Setting { web, ..Setting::default() }).await?;
    let (anna, visitor) = program(&scene, "anna").await?;
    for _ in 0..4 {
        anna.get("/me").await?.is(200)?;
    }
    let many = anna.get("/me").await?;
    many.problem(429, "too-many")?;
    ensure!(many.header("retry-after").and_then(|wait| wait.parse::<u32>().ok()).is_some(), "{many:?}");
    let (ada, _) = program(&scene, "ada").await?;
    ada.get("/me").await?.is(200).context("others do not wait")?;
    // A browser that is signed in is nobody here, so another site's page cannot use it.
    visitor.get(&scene.page("/api/v1/me")).await?.is(401)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_the_api_and_needs_no_token() -> Result<()> {
    let scene = Scene::new().await?;
    let document = document(&scene).await?;
    ensure!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{document}");
    assert_eq!(document["servers"][0]["url"], "/api/v1");
    let mut names = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().context("paths")? {
        for (method, operation) in item.as_object().context("operations")? {
            let name = operation["operationId"].as_str().context("a name")?;
            ensure!(names.insert(name.to_owned()), "{name} twice");
            ensure!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{method} {path}");
            ensure!(operation["responses"]["401"].is_object(), "{method} {path}");
        }
    }
    let (text, mut rest) = (document.to_string(), 0);
    while let Some(at) = text[rest..].find("\"$ref\":\"#") {
        let reference = text[rest + at + 9..].split('"').next().context("a reference")?;
        ensure!(document.pointer(reference).is_some(), "{reference} leads nowhere");
        rest += at + 9;
    }
    ensure!(rest > 0, "there are references");
    let answer = Program::new(&scene, None)?.get("/openapi.json").await?.is(200)?;
    ensure!(answer.header("x-content-type-options") == Some("nosniff"), "{answer:?}");
    Ok(())
}
