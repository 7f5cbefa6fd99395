//! Commands about one space: `status`, `hold`, `stop`, `start`.

use std::time::Duration;

use tokio::sync::watch;

use super::{Answer, Asked};
use crate::domain::grant::{Reason, Term};
use crate::domain::ids::InstanceType;
use crate::domain::plain;
use crate::domain::space::Space;
use crate::gateway::idle::Stopping;
use crate::gateway::{AskError, Asker, SpaceStatus, StartWish, Started};
use crate::ssh::client::Nowhere;
use crate::ssh::messages;
use crate::ssh::progress::View;
use crate::ssh::target;
use crate::ssh::terminal::Gone;

/// How often a rewritten progress line is written again.
const TICK: Duration = Duration::from_secs(1);
/// What a shell reports of a command that Ctrl-C ended.
const INTERRUPTED: u32 = 130;

impl Asked<'_> {
    /// The space that a name means; or the answer that says why there is none.
    async fn space(&self, name: &str) -> Result<Space, Answer> {
        let client = self.client;
        let nowhere = match target::read(name) {
            Err(error) => Nowhere::Malformed(error),
            Ok(target) => match client.shared.gateway.find(&client.user, &client.connection, &target).await {
                Ok(space) => return Ok(space),
                Err(error) => Nowhere::Find(error),
            },
        };
        Err(Answer::Refused(client.nowhere(&nowhere, name)))
    }

    /// Why a wish was not fulfilled, and with which command it would be.
    fn failed(&self, error: &AskError, space: &Space, again: &str) -> Answer {
        let shared = &self.client.shared;
        let (name, now) = (space.name().as_str(), shared.clock.now());
        Answer::Refused(messages::ask_failed(error, name, again, now, &shared.address))
    }

    pub(super) async fn status(&self, name: &str, json: bool) -> Result<Answer, Answer> {
        let (client, space) = (self.client, self.space(name).await?);
        let report = client
            .shared
            .gateway
            .status(&Asker::over(&client.connection, &super::person(client)), &space)
            .await;
        let report = report.map_err(|error| self.failed(&error, &space, ""))?;
        let text = match json {
            true => format!("{}\n", plain::json(&SpaceStatus::from(&report).to_string())),
            false => messages::status(&report),
        };
        Ok(Answer::Status(text, messages::code_of(&report)))
    }

    pub(super) async fn hold(&self, name: &str, time: &str, reason: &str) -> Result<Answer, Answer> {
        let (client, shared) = (self.client, &self.client.shared);
        let length = match time {
            "off" => None,
            time => match time.parse::<Term>().ok().and_then(|term| term.within(Duration::MAX).ok()) {
                Some(length) => Some(length),
                None => return Err(Answer::Misused(messages::hold_how_long(&shared.address))),
            },
        };
        let reason = match reason.parse::<Reason>() {
            Ok(reason) => reason.as_str().to_owned(),
            Err(_) if reason.trim().is_empty() => String::new(),
            Err(why) => return Err(Answer::Misused(messages::bad_reason(why))),
        };
        let space = self.space(name).await?;
        let wish = (length, reason.as_str());
        let held =
            shared.gateway.hold(&Asker::over(&client.connection, &super::person(client)), &space, wish).await;
        let held = held.map_err(|error| self.failed(&error, &space, ""))?;
        Ok(Answer::Text(messages::held(&held, space.name().as_str(), &reason, shared.clock.now())))
    }

    pub(super) async fn stop(&self, name: &str, force: bool) -> Result<Answer, Answer> {
        let (client, space) = (self.client, self.space(name).await?);
        let gateway = &client.shared.gateway;
        let stopped =
            gateway.stop(&Asker::over(&client.connection, &super::person(client)), &space, force).await;
        let stopped = stopped.map_err(|error| self.failed(&error, &space, &format!("stop {name}")))?;
        let shown = space.name().as_str();
        Ok(match stopped.outcome {
            Stopping::Stopping => Answer::Text(messages::stopping(&stopped, shown)),
            other => Answer::Refused(messages::not_stopped(&other, shown, space.state())),
        })
    }

    /// Starts a space and waits for it; whoever waits sees how it gets on.
    pub(super) async fn start(
        &mut self,
        name: &str,
        instance_type: Option<&str>,
        force: bool,
    ) -> Result<Result<Answer, Answer>, Gone> {
        let instance_type = match instance_type.map(str::parse::<InstanceType>) {
            None => None,
            Some(Ok(instance_type)) => Some(instance_type),
            Some(Err(_)) => {
                return Ok(Err(Answer::Misused(messages::bad_type(instance_type.unwrap_or_default()))));
            }
        };
        let again = match &instance_type {
            Some(instance_type) => format!("start {name} {instance_type}"),
            None => format!("start {name}"),
        };
        let space = match self.space(name).await {
            Ok(space) => space,
            Err(answer) => return Ok(Err(answer)),
        };
        let wish = StartWish { instance_type, force };
        self.started(&space, &wish, &again).await
    }

    async fn started(
        &mut self,
        space: &Space,
        wish: &StartWish,
        again: &str,
    ) -> Result<Result<Answer, Answer>, Gone> {
        let (client, terminal) = (self.client, self.terminal);
        let (clock, shown) = (&client.shared.clock, space.name().as_str());
        let begun = clock.elapsed();
        let (sender, mut progress) = watch::channel(None);
        let mut view = View::new(shown, terminal.pty, terminal.dumb);
        let person = super::person(client);
        let gateway = client.shared.gateway.clone();
        let work = async move {
            let asker = Asker::over(&client.connection, &person);
            gateway.start(&asker, space, wish, &sender).await
        };
        tokio::pin!(work);
        let mut reporting = true;
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break Some(outcome),
                changed = progress.changed(), if reporting => {
                    reporting = changed.is_ok();
                    let latest = progress.borrow_and_update().clone();
                    let text = latest.map(|latest| view.update(&latest, clock.elapsed()));
                    terminal.notice(text.unwrap_or_default()).await?;
                }
                () = clock.sleep(TICK), if view.is_shown() => {
                    let text = view.tick(clock.elapsed());
                    terminal.notice(text).await?;
                }
                () = self.input.interrupted(), if terminal.pty => break None,
            }
        };
        // The answer says that it is up: the view only makes room for it.
        let text = view.finish(false, clock.elapsed());
        terminal.notice(text).await?;
        let seconds = clock.elapsed().saturating_sub(begun).as_secs();
        Ok(match outcome {
            Some(Ok(Started::Now)) => Ok(Answer::Text(messages::started(shown, Some(seconds)))),
            Some(Ok(Started::Already)) => Ok(Answer::Text(messages::started(shown, None))),
            Some(Err(error)) => Err(self.failed(&error, space, again)),
            None => {
                terminal.say(&messages::wait_ended(shown, &client.shared.address)).await?;
                Err(Answer::Status(String::new(), INTERRUPTED))
            }
        })
    }
}
