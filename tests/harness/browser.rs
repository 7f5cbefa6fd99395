//! A real browser: headless Chromium, driven step by step (`tests/identity/browse.mjs`).

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// How long the browser may take to start, or a step may take: longer than the script's own limit.
const LIMIT: Duration = Duration::from_secs(60);

/// The colours that a page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// A browser with one page and no cookies; it ends when this is dropped.
pub struct Browser {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Browser {
    /// Starts one.
    ///
    /// # Errors
    /// When Chromium does not start.
    pub async fn start() -> Result<Self> {
        Self::start_in("UTC").await
    }

    /// Starts one whose person's clocks are those of a zone.
    ///
    /// # Errors
    /// When Chromium does not start.
    pub async fn start_in(zone: &str) -> Result<Self> {
        Self::start_as(&[zone]).await
    }

    /// Starts one that runs no scripts of pages.
    ///
    /// # Errors
    /// When Chromium does not start.
    pub async fn without_scripts() -> Result<Self> {
        Self::start_as(&["UTC", "no-scripts"]).await
    }

    async fn start_as(arguments: &[&str]) -> Result<Self> {
        let mut child = crate::provider::script("browse.mjs", arguments)?;
        let stdin = child.stdin.take().context("the browser's stdin")?;
        let stdout = child.stdout.take().context("the browser's stdout")?;
        let mut browser = Self { _child: child, stdin, lines: BufReader::new(stdout).lines() };
        browser.answer("start").await?;
        Ok(browser)
    }

    /// Has a script run before those of every page from now on.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn before(&mut self, script: &str) -> Result<()> {
        self.step(json!({ "step": "before", "script": script })).await.map(drop)
    }

    /// Opens an address and gives the status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn goto(&mut self, url: &str) -> Result<u64> {
        let answer = self.step(json!({ "step": "goto", "url": url })).await?;
        answer["status"].as_u64().context("a status")
    }

    /// Fills in a field that a CSS selector finds.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn fill(&mut self, selector: &str, value: &str) -> Result<()> {
        self.step(json!({ "step": "fill", "selector": selector, "value": value })).await.map(drop)
    }

    /// Presses a key in an element, as `Enter` or `Tab`.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn press(&mut self, selector: &str, key: &str) -> Result<()> {
        self.step(json!({ "step": "press", "selector": selector, "key": key })).await.map(drop)
    }

    /// Clicks on an element.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn click(&mut self, selector: &str) -> Result<()> {
        self.step(json!({ "step": "click", "selector": selector })).await.map(drop)
    }

    /// Clicks on an element and waits until the page's address contains a text.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn click_to(&mut self, selector: &str, wait: &str) -> Result<()> {
        self.step(json!({ "step": "click", "selector": selector, "wait": wait })).await.map(drop)
    }

    /// Waits until an element is visible.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn wait(&mut self, selector: &str) -> Result<()> {
        self.step(json!({ "step": "wait", "selector": selector })).await.map(drop)
    }

    /// The text of an element as a person sees it.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn text(&mut self, selector: &str) -> Result<String> {
        let answer = self.step(json!({ "step": "text", "selector": selector })).await?;
        Ok(answer["text"].as_str().context("a text")?.to_owned())
    }

    /// How many elements a selector finds.
    ///
    /// # Errors
    /// When the selector is none.
    pub async fn count(&mut self, selector: &str) -> Result<u64> {
        let answer = self.step(json!({ "step": "count", "selector": selector })).await?;
        answer["count"].as_u64().context("a count")
    }

    /// The page's address.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn url(&mut self) -> Result<String> {
        let answer = self.step(json!({ "step": "url" })).await?;
        Ok(answer["url"].as_str().context("an address")?.to_owned())
    }

    /// What the browser complained of so far: script errors and what the page's policy blocked.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn complaints(&mut self) -> Result<Vec<String>> {
        let answer = self.step(json!({ "step": "complaints" })).await?;
        Ok(serde_json::from_value(answer["complaints"].clone())?)
    }

    /// Whether something sticks out sideways in a window of this size.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn overflows(&mut self, width: u32, height: u32) -> Result<bool> {
        let answer = self.step(json!({ "step": "overflow", "width": width, "height": height })).await?;
        answer["overflow"].as_bool().context("whether it does")
    }

    /// What keeps people out of the page as it stands there, by axe-core and the rules of WCAG 2.2 AA.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub async fn violations(&mut self) -> Result<Vec<String>> {
        let answer = self.step(json!({ "step": "axe" })).await?;
        let found = answer["violations"].as_array().context("violations")?;
        Ok(found.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect())
    }

    /// The same with what is closed at first, menus and what unfolds: what is wrong with it, that it sticks out sideways
    /// included. With a path, pictures are written: `PATH-0.png` and so on.
    ///
    /// # Errors
    /// When it cannot be looked at, or nothing was opened where something can be.
    pub async fn violations_inside(&mut self, path: Option<&Path>) -> Result<Vec<String>> {
        let answer = self.step(json!({ "step": "inside", "path": path })).await?;
        ensure!((answer["opened"] == 0) == (answer["folds"] == 0), "something was looked into: {answer}");
        Ok(serde_json::from_value(answer["wrong"].clone())?)
    }

    /// The value of an expression of JavaScript in the page.
    ///
    /// # Errors
    /// When it throws.
    pub async fn value(&mut self, expression: &str) -> Result<Value> {
        let mut answer = self.step(json!({ "step": "value", "expression": expression })).await?;
        Ok(answer["value"].take())
    }

    /// The origins of everything that was asked for so far, by whatever page.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn origins(&mut self) -> Result<Vec<String>> {
        let answer = self.step(json!({ "step": "origins" })).await?;
        Ok(serde_json::from_value(answer["origins"].clone())?)
    }

    /// What was loaded for the page that is shown, each address with the bytes that it took.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn traffic(&mut self) -> Result<Vec<(String, u64)>> {
        let answer = self.step(json!({ "step": "traffic" })).await?;
        let loaded = answer["traffic"].as_array().context("traffic")?;
        loaded
            .iter()
            .map(|one| Some((one["url"].as_str()?.to_owned(), one["bytes"].as_u64()?)))
            .collect::<Option<_>>()
            .context("addresses and bytes")
    }

    /// Writes a picture of the page (PNG) in a window of this size.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn screenshot(&mut self, path: &Path, size: (u32, u32), theme: Theme) -> Result<()> {
        let theme = match theme {
            Theme::Light => "light",
            Theme::Dark => "dark",
        };
        let (width, height) = size;
        let step =
            json!({ "step": "screenshot", "path": path, "width": width, "height": height, "theme": theme });
        self.step(step).await.map(drop)
    }

    async fn step(&mut self, step: Value) -> Result<Value> {
        self.stdin.write_all(format!("{step}\n").as_bytes()).await?;
        self.answer(&step.to_string()).await
    }

    async fn answer(&mut self, step: &str) -> Result<Value> {
        let line =
            tokio::time::timeout(LIMIT, self.lines.next_line()).await.with_context(|| step.to_owned())??;
        let line = line.with_context(|| format!("the browser ended; its messages are above: {step}"))?;
        let answer: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(answer["ok"] == true, "{step}: {answer}");
        Ok(answer)
    }
}
