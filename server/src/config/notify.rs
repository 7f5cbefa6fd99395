//! Webhooks and e-mail: how people are told who look at no terminal.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::reader::Section;
use super::web::secure;
use crate::domain::email::EmailAddress;
use crate::domain::notice::Event;

/// What a webhook's secret needs at least, in bytes: as many as SHA-256 has (RFC 2104, 3).
const SHORTEST_SECRET: usize = 32;
/// What a fault asks for.
const SECRET: &str = "32 random characters or more";

/// Where notices go.
#[derive(Debug, Clone, Default)]
pub struct Notify {
    /// Webhooks.
    pub webhooks: Vec<Webhook>,
    /// E-mail, if there is any.
    pub email: Option<Email>,
}

/// A webhook.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where it is. Whoever knows the address can write there.
    pub url: WebhookUrl,
    /// What it is sent.
    pub form: Form,
    /// What it wants to hear.
    pub events: BTreeSet<Event>,
}

/// What a webhook is sent.
#[derive(Debug, Clone)]
pub enum Form {
    /// A message for Slack's incoming webhooks.
    Slack,
    /// Fields as JSON, signed with this secret.
    Signed(SecretString),
}

/// The address of a webhook, shown as its host only.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// All of it.
    #[must_use]
    pub const fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.host_str().unwrap_or_default())
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How mail is sent.
#[derive(Debug, Clone)]
pub struct Email {
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether mail travels by TLS.
    pub tls: MailTls,
    /// Who the mail is from.
    pub from: EmailAddress,
    /// As whom we send, with the password.
    pub login: Option<(String, SecretString)>,
    /// Who gets what is for admins.
    pub admins: Vec<EmailAddress>,
}

/// Whether mail travels by TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// After STARTTLS (RFC 3207), and never without.
    StartTls,
    /// From the first byte (RFC 8314).
    Tls,
    /// Never; only on loopback.
    None,
}

impl Notify {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let webhooks = section.sections("webhooks").into_iter().filter_map(Webhook::read).collect();
        let email = if section.has("email") { Email::read(section.section("email")) } else { None };
        section.finish();
        Self { webhooks, email }
    }
}

impl Webhook {
    fn read(mut section: Section<'_>) -> Option<Self> {
        if !section.has("url") && !section.has("url_file") {
            section.fault("url", None, "it is missing", "write the webhook's address, or url_file");
        }
        let text = section.secret("url", "url_file", "the webhook's address");
        let allow_http = section.flag("allow_http", false);
        let url = text.and_then(|text| address(&section, text.expose_secret(), allow_http));
        let signed = section.word("form", &[("slack", false), ("signed", true)], false);
        let given = section.has("secret") || section.has("secret_file");
        let secret = section.secret("secret", "secret_file", SECRET);
        let form = form(&section, signed, given, secret);
        let events: Vec<Event> = section.list("events", "write an event such as \"space.stopped\"");
        section.finish();
        let events = if events.is_empty() { Event::ALL.into() } else { events.into_iter().collect() };
        Some(Self { url: url?, form: form?, events })
    }
}

fn address(section: &Section<'_>, text: &str, allow_http: bool) -> Option<WebhookUrl> {
    let url = match text.parse::<Url>() {
        Ok(url) if allow_http && url.scheme() == "http" => Ok(url),
        _ => secure(text),
    };
    let instead = "write an address with https://, or add allow_http = true";
    url.map(WebhookUrl).map_err(|error| section.fault("url", None, error, instead)).ok()
}

fn form(section: &Section<'_>, signed: bool, given: bool, secret: Option<SecretString>) -> Option<Form> {
    match (signed, secret) {
        (false, _) if given => {
            section.fault(
                "secret",
                None,
                "Slack's form is not signed",
                "leave it out, or write form = \"signed\"",
            );
            None
        }
        (false, _) => Some(Form::Slack),
        (true, Some(secret)) if secret.expose_secret().len() >= SHORTEST_SECRET => Some(Form::Signed(secret)),
        (true, Some(_)) => {
            section.fault("secret", None, "it is too short", format!("write {SECRET}"));
            None
        }
        (true, None) => {
            if !given {
                section.fault("secret", None, "it is missing", format!("write {SECRET}, or secret_file"));
            }
            None
        }
    }
}

impl Email {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let host: Option<String> = section.required("host", "write the name of the mail server");
        let port = section.port("port");
        let words = [("starttls", MailTls::StartTls), ("tls", MailTls::Tls), ("none", MailTls::None)];
        let tls = section.word("tls", &words, MailTls::StartTls);
        let loopback =
            |host: &String| host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if tls == MailTls::None && !host.as_ref().is_some_and(loopback) {
            let reason = "mail without TLS is sent on loopback only";
            section.fault("tls", Some("none"), reason, "write \"starttls\" or \"tls\"");
        }
        let from = section.required("from", "write an address such as \"spaceport@example.com\"");
        let user = section.text("user", "write as whom to log in");
        let password = section.secret("password", "password_file", "the password");
        let login = match (user, password) {
            (Some(user), Some(password)) => Some((user, password)),
            (Some(user), None) => {
                let instead = "write password or password_file, or leave both out";
                section.fault("user", Some(&user), "it has no password", instead);
                None
            }
            (None, Some(_)) => {
                section.fault("user", None, "it is missing beside the password", "write as whom to log in");
                None
            }
            (None, None) => None,
        };
        let admins = section.list("admins", "write an address such as \"ops@example.com\"");
        section.finish();
        // The ports of RFC 6409, RFC 8314 and RFC 5321.
        let usual = match tls {
            MailTls::StartTls => 587,
            MailTls::Tls => 465,
            MailTls::None => 25,
        };
        Some(Self { host: host?, port: port.unwrap_or(usual), tls, from: from?, login, admins })
    }
}
