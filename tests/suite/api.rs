//! The API for programs: tokens, scopes and roles, lists in pages, acts that happen once, problems in words.

mod acts;
mod conformance;
mod problems;
mod setup;
mod tokens;

use anyhow::{Context, Result, ensure};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use spaceport_tests::visitor::Visitor;

use crate::scene::Scene;

/// A program with a token, or without.
#[derive(Clone)]
pub(crate) struct Program {
    http: reqwest::Client,
    root: String,
    token: Option<String>,
}

/// What it was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Program {
    pub(crate) fn new(scene: &Scene, token: Option<&str>) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { http, root: scene.page("/api/v1"), token: token.map(str::to_owned) })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        self.ask(Method::GET, path, None, &[]).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.ask(Method::POST, path, Some(body.to_string()), &[("content-type", "application/json")]).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Answer> {
        self.ask(Method::DELETE, path, None, &[]).await
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.root));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok(Answer { status, headers, body: answer.text().await? })
    }

    /// All items of a list, page after page of so many.
    pub(crate) async fn all(&self, path: &str, limit: u32) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}limit={limit}{cursor}")).await?.is(200)?.json()?;
            let found = page["items"].as_array().context("items")?;
            ensure!(found.len() <= limit as usize, "{page}");
            items.extend(found.iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
            ensure!(items.len() < 10_000, "pages without an end");
        }
    }
}

impl Answer {
    pub(crate) fn is(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "{} and not {status}: {}", self.status, self.body);
        Ok(self)
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| self.body.clone())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A problem of this type; gives what it says.
    pub(crate) fn problem(&self, status: u16, kind: &str) -> Result<String> {
        ensure!(self.status == status, "{} and not {status}: {}", self.status, self.body);
        let said = self.json()?;
        ensure!(self.header("content-type") == Some("application/problem+json"), "{self:?}");
        ensure!(said["type"] == format!("urn:spaceport:problem:{kind}"), "{said}");
        ensure!(said["status"] == status && said["title"].is_string(), "{said}");
        Ok(said["detail"].as_str().context("a detail")?.to_owned())
    }
}

/// Makes a token on the page, as somebody does in a browser; gives its text.
pub(crate) async fn make_token(scene: &Scene, visitor: &Visitor, scopes: &[&str]) -> Result<String> {
    let mut fields = vec![("name".to_owned(), "a test".to_owned()), ("for".to_owned(), "1d".to_owned())];
    fields.extend(scopes.iter().map(|scope| ("scope".to_owned(), (*scope).to_owned())));
    let page = visitor.post(Some(&scene.site), &scene.page("/tokens"), &fields).await?.is(200)?;
    let token = page.body.split("<code>").find(|part| part.starts_with("spaceport_")).context("a token")?;
    Ok(token.split('<').next().unwrap_or_default().to_owned())
}

/// Every scope that the page offers to somebody.
pub(crate) async fn offered(scene: &Scene, visitor: &Visitor) -> Result<Vec<String>> {
    let page = visitor.get(&scene.page("/tokens")).await?.is(200)?;
    let values = page.body.split("name=\"scope\" value=\"").skip(1);
    Ok(values.filter_map(|part| part.split('"').next()).map(str::to_owned).collect())
}

/// A program with every scope that somebody can give it.
pub(crate) async fn program(scene: &Scene, login: &str) -> Result<(Program, Visitor)> {
    let (visitor, _) = scene.sign_in(login).await?;
    let scopes = offered(scene, &visitor).await?;
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let token = make_token(scene, &visitor, &scopes).await?;
    Ok((Program::new(scene, Some(&token))?, visitor))
}

/// The API's description of itself.
pub(crate) async fn document(scene: &Scene) -> Result<Value> {
    Program::new(scene, None)?.get("/openapi.json").await?.is(200)?.json()
}
