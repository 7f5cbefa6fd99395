//! Telling people who look at no terminal: webhooks and e-mail.
//!
//! Each delivery is a task of its own, so that a slow or broken receiver holds nobody else. What waits is in memory:
//! it is lost if the process dies. The database is the record.

mod email;
mod signed;
mod slack;
#[cfg(test)]
mod tests;
mod webhook;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use uuid::Uuid;

use self::email::Mailer;
use self::webhook::Hook;
use crate::config;
use crate::domain::email::EmailAddress;
use crate::domain::notice::{Audience, Notice};
use crate::domain::ports::{Clock, Notify};
use crate::telemetry::metrics::NOTICES;

/// Deliveries that may wait at once: a few kilobytes each, and more than a whole company's spaces give in ten minutes.
const WAITING: usize = 1_024;
/// Attempts that one channel makes at once: what a mail server takes from one client.
const AT_ONCE: usize = 4;

/// How long a delivery is tried.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The pause after the first attempt; each next one is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// Since when a delivery is given up.
    pub give_up: Duration,
    /// What one attempt may take.
    pub attempt: Duration,
    /// What attempts under way may take at the end of the process.
    pub ending: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(2),
            longest: Duration::from_secs(120),
            // Later a warning is about something that has happened.
            give_up: Duration::from_secs(600),
            attempt: Duration::from_secs(10),
            ending: Duration::from_secs(5),
        }
    }
}

/// Why a delivery did not arrive. `Display` has no secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// Why.
    pub why: String,
    /// Whether another attempt may help, and after which time at the earliest.
    again: Option<Duration>,
}

impl NotTaken {
    fn again(why: impl Into<String>) -> Self {
        Self { why: why.into(), again: Some(Duration::ZERO) }
    }
    fn for_good(why: impl Into<String>) -> Self {
        Self { why: why.into(), again: None }
    }
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Why there are no channels. `Display` is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The client for webhooks could not be made.
    #[error("the client for webhooks cannot be made")]
    Http(#[source] reqwest::Error),
    /// The client for mail could not be made.
    #[error("the client for mail cannot be made")]
    Smtp(#[source] lettre::transport::smtp::Error),
}

/// What is told, once for all channels.
struct Told {
    /// The same for every attempt, so that receivers can tell a second one.
    id: Uuid,
    at: OffsetDateTime,
    notice: Notice,
}

/// One way to reach people.
struct Channel {
    /// `webhook 1 (hooks.slack.com)`.
    name: String,
    /// The metric's label.
    label: &'static str,
    to: Receiver,
    turns: Semaphore,
}

enum Receiver {
    Hook(Hook),
    Mail(Mailer),
}

/// A notice on one channel; by mail, to one person.
struct Delivery {
    channel: Arc<Channel>,
    told: Arc<Told>,
    person: Option<EmailAddress>,
}

impl Delivery {
    async fn attempt(&self, now: OffsetDateTime, limit: Duration) -> Result<(), NotTaken> {
        let work = async {
            match (&self.channel.to, &self.person) {
                (Receiver::Hook(hook), _) => hook.send(&self.told, now).await,
                (Receiver::Mail(mailer), Some(person)) => mailer.send(&self.told, person).await,
                (Receiver::Mail(_), None) => Err(NotTaken::for_good("nobody to send mail to")),
            }
        };
        let late = || NotTaken::again(format!("no answer within {} s", limit.as_secs_f32()));
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
    }
}

/// What became of a delivery of [`Notifier::test`].
#[derive(Debug)]
pub struct Tried {
    /// The channel, and the person if it is mail.
    pub channel: String,
    /// Whether it was taken.
    pub taken: Result<(), NotTaken>,
}

/// The channels that are configured. Cheap to clone.
#[derive(Clone)]
pub struct Notifier {
    inner: Arc<Inner>,
}

struct Inner {
    channels: Vec<Arc<Channel>>,
    admins: Vec<EmailAddress>,
    clock: Arc<dyn Clock>,
    pace: Pace,
    waiting: Arc<Semaphore>,
    tasks: TaskTracker,
    ending: CancellationToken,
}

impl Notifier {
    /// The channels of a configuration. Connects to nothing.
    ///
    /// # Errors
    /// When a client cannot be made, for example since the machine has no root certificates.
    pub fn new(settings: &config::Notify, clock: Arc<dyn Clock>, pace: Pace) -> Result<Self, NotifyError> {
        let mut channels = Vec::new();
        if !settings.webhooks.is_empty() {
            let http = webhook::client(pace.attempt).map_err(NotifyError::Http)?;
            for (index, hook) in settings.webhooks.iter().enumerate() {
                channels.push(Channel {
                    name: format!("webhook {} ({})", index + 1, hook.url),
                    label: Hook::label(&hook.form),
                    to: Receiver::Hook(Hook::new(http.clone(), hook.clone())),
                    turns: Semaphore::new(AT_ONCE),
                });
            }
        }
        if let Some(email) = &settings.email {
            channels.push(Channel {
                name: format!("e-mail ({})", email.host),
                label: "email",
                to: Receiver::Mail(Mailer::new(email, pace.attempt).map_err(NotifyError::Smtp)?),
                turns: Semaphore::new(AT_ONCE),
            });
        }
        let inner = Inner {
            channels: channels.into_iter().map(Arc::new).collect(),
            admins: settings.email.as_ref().map(|email| email.admins.clone()).unwrap_or_default(),
            clock,
            pace,
            waiting: Arc::new(Semaphore::new(WAITING)),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sends a test through every channel, once, whatever events it wants; mail goes to the admins.
    pub async fn test(&self) -> Vec<Tried> {
        let told = self.inner.told(Notice::Test);
        let mut tried = Vec::new();
        for channel in &self.inner.channels {
            let people: Vec<Option<EmailAddress>> = match &channel.to {
                Receiver::Mail(_) if !self.inner.admins.is_empty() => {
                    self.inner.admins.iter().cloned().map(Some).collect()
                }
                _ => vec![None],
            };
            for person in people {
                let to = person.as_ref().map(|person| format!(" to {person}")).unwrap_or_default();
                let delivery = Delivery { channel: Arc::clone(channel), told: Arc::clone(&told), person };
                let taken = delivery.attempt(self.inner.clock.now(), self.inner.pace.attempt).await;
                tried.push(Tried { channel: format!("{}{to}", channel.name), taken });
            }
        }
        tried
    }

    /// Lets attempts under way end for a few seconds; what waits for another attempt is lost, and logged.
    pub async fn stop(&self) {
        self.inner.ending.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(self.inner.pace.ending, self.inner.tasks.wait()).await.is_err() {
            warn!(notices = self.inner.tasks.len(), "notices were not delivered before the end");
        }
    }
}

impl Notify for Notifier {
    fn tell(&self, notice: &Notice, to: &[EmailAddress]) {
        let told = self.inner.told(notice.clone());
        for channel in &self.inner.channels {
            let people = match &channel.to {
                Receiver::Hook(hook) if hook.wants(notice.event()) => vec![None],
                Receiver::Hook(_) => Vec::new(),
                Receiver::Mail(_) => {
                    self.inner.recipients(notice.audience(), to).into_iter().map(Some).collect()
                }
            };
            for person in people {
                let delivery = Delivery { channel: Arc::clone(channel), told: Arc::clone(&told), person };
                deliver(&self.inner, delivery);
            }
        }
    }
}

impl Inner {
    fn told(&self, notice: Notice) -> Arc<Told> {
        Arc::new(Told { id: Uuid::now_v7(), at: self.clock.now(), notice })
    }

    /// Each once, whoever is named twice.
    fn recipients(&self, audience: Audience, to: &[EmailAddress]) -> BTreeSet<EmailAddress> {
        let people = if audience == Audience::Admins { &[] } else { to };
        let admins = if audience == Audience::People { &[] } else { self.admins.as_slice() };
        people.iter().chain(admins).cloned().collect()
    }
}

fn deliver(inner: &Arc<Inner>, delivery: Delivery) {
    let Ok(permit) = Arc::clone(&inner.waiting).try_acquire_owned() else {
        return finished(&delivery, "dropped", Some("too many notices wait"));
    };
    let inner = Arc::clone(inner);
    inner.tasks.clone().spawn(async move {
        keep_trying(&inner, &delivery).await;
        drop(permit);
    });
}

async fn keep_trying(inner: &Inner, delivery: &Delivery) {
    let Pace { first, longest, give_up, attempt, .. } = inner.pace;
    let (began, mut pause) = (inner.clock.elapsed(), first);
    loop {
        let tried = {
            // Nobody closes it.
            let _turn = delivery.channel.turns.acquire().await;
            delivery.attempt(inner.clock.now(), attempt).await
        };
        let Err(NotTaken { why, again }) = tried else { return finished(delivery, "delivered", None) };
        let Some(wished) = again else { return finished(delivery, "refused", Some(&why)) };
        let wait = pause.max(wished).min(longest);
        if inner.clock.elapsed() + wait > began + give_up {
            return finished(delivery, "given_up", Some(&why));
        }
        tokio::select! {
            biased;
            () = inner.ending.cancelled() => return finished(delivery, "lost", Some(&why)),
            () = inner.clock.sleep(wait) => {}
        }
        pause = (pause * 2).min(longest);
    }
}

/// Logs and counts the end of a delivery.
fn finished(delivery: &Delivery, outcome: &'static str, why: Option<&str>) {
    let Delivery { channel, told, .. } = delivery;
    metrics::counter!(NOTICES, "channel" => channel.label, "outcome" => outcome).increment(1);
    let event = told.notice.event().as_str();
    match why {
        None => info!(notice.id = %told.id, notice.event = event, channel = channel.name, "told"),
        Some(why) => {
            warn!(notice.id = %told.id, notice.event = event, channel = channel.name, outcome, why, "not told");
        }
    }
}
