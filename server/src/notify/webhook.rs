//! Webhooks: one POST, without redirects.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use time::OffsetDateTime;

use super::{NotTaken, Told, signed, slack};
use crate::config::notify::{Form, Webhook};
use crate::domain::notice::Event;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest word that an answer may have to be repeated: Slack's are like `channel_is_archived`.
const LONGEST_WORD: usize = 40;

/// The client that all webhooks share.
pub(super) fn client(attempt: Duration) -> reqwest::Result<Client> {
    // A redirect would lead the secret, or us, somewhere that nobody configured.
    let client = Client::builder().redirect(Policy::none()).connect_timeout(CONNECT).timeout(attempt);
    client.user_agent(concat!("spaceport/", env!("CARGO_PKG_VERSION"))).build()
}

/// A webhook.
pub(super) struct Hook {
    http: Client,
    settings: Webhook,
}

impl Hook {
    pub(super) const fn new(http: Client, settings: Webhook) -> Self {
        Self { http, settings }
    }

    /// What the metric calls it.
    pub(super) const fn label(form: &Form) -> &'static str {
        match form {
            Form::Slack => "slack",
            Form::Signed(_) => "signed",
        }
    }

    pub(super) fn wants(&self, event: Event) -> bool {
        self.settings.events.contains(&event)
    }

    pub(super) async fn send(&self, told: &Told, now: OffsetDateTime) -> Result<(), NotTaken> {
        let request =
            self.http.post(self.settings.url.expose().clone()).header(CONTENT_TYPE, "application/json");
        let request = match &self.settings.form {
            Form::Slack => request.body(slack::message(&told.notice).to_string()),
            Form::Signed(secret) => {
                let body = signed::body(told);
                request
                    .header(signed::SIGNATURE, signed::signature(secret, now, &body))
                    .header(signed::IDEMPOTENCY_KEY, told.id.to_string())
                    .body(body)
            }
        };
        // The error's own text has the address, which is a secret.
        match request.send().await {
            Ok(answer) => taken(answer).await,
            Err(error) => Err(NotTaken::again(causes(&error.without_url()))),
        }
    }
}

async fn taken(mut answer: Response) -> Result<(), NotTaken> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut why = format!("it answered {}", status.as_u16());
    // The first piece holds a word; whatever else an answer says may repeat our address.
    if let Ok(Some(piece)) = answer.chunk().await
        && let Some(word) = word(&piece)
    {
        why = format!("{why}, {word}");
    }
    let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
    let again = (busy || status.is_server_error()).then(|| Duration::from_secs(seconds.unwrap_or(0)));
    Err(NotTaken { why, again })
}

/// An answer that is one word of an API, and so no part of an address.
fn word(answer: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(answer).ok()?.trim();
    let ok =
        (1..=LONGEST_WORD).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    ok.then_some(text)
}

/// An error with what is behind it, on one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}
