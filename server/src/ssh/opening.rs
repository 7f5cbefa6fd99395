//! Between a request and a running channel: the wait for a space, with what the person is told and asked meanwhile.

use std::time::Duration;

use tokio::sync::watch;

use super::client::{Client, Live};
use super::input::Input;
use super::messages;
use super::progress::View;
use super::terminal::{Gone, Terminal};
use crate::domain::ending::EndReason;
use crate::domain::start::StartProblem;
use crate::gateway::{Channel, OpenError, Progress, Want};

/// How often a rewritten progress line is written again.
const TICK: Duration = Duration::from_secs(1);
/// What a shell reports of a command that Ctrl-C ended.
const INTERRUPTED: u32 = 130;
/// `ssh`'s own exit status where a connection failed.
const FAILED: u32 = 255;

/// Why there is no channel; the person has been told.
pub(super) enum NotOpened {
    /// With this exit status.
    Status(u32),
    /// The client is gone.
    Gone,
}

impl From<Gone> for NotOpened {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// How one wait ended.
enum Waited<T> {
    Done(T),
    Failed(OpenError),
    Interrupted,
    Ended(EndReason),
}

/// A channel that is being opened.
pub(super) struct Opening<'a> {
    pub(super) client: &'a Client,
    pub(super) live: &'a Live,
    pub(super) terminal: &'a Terminal,
    pub(super) input: &'a mut Input,
}

impl Opening<'_> {
    /// Opens the channel, starting the space if that is what it takes.
    pub(super) async fn open(mut self, want: Want) -> Result<Channel, NotOpened> {
        if want.agent
            && let Err(because) = self.live.session.may_forward_agent()
        {
            // The wish stays: the gateway writes its answer down, and opens the channel without the agent.
            self.terminal.say(&messages::no_agent(&because.to_string())).await?;
        }
        let mut asked = false;
        loop {
            let live = self.live;
            let wanted = want.clone();
            let waited =
                self.wait(|progress| async move { live.session.open(wanted, &progress).await }).await?;
            match waited {
                Waited::Done(channel) => return Ok(channel),
                Waited::Failed(OpenError::Start(StartProblem::RemoteAccessOff))
                    if self.terminal.pty && !asked =>
                {
                    asked = true;
                    self.switch_on().await?;
                }
                other => return Err(self.give_up(other).await?),
            }
        }
    }

    /// Asks whether to switch remote access on, and does so.
    async fn switch_on(&mut self) -> Result<(), NotOpened> {
        let space = self.live.space_name();
        self.terminal.say(&messages::remote_access_off(space)).await?;
        self.terminal.notice(messages::QUESTION.to_owned()).await?;
        if !self.is_yes().await? {
            self.terminal.say(&messages::left_off(space)).await?;
            return Err(NotOpened::Status(1));
        }
        self.terminal.say(&messages::switching_on(space)).await?;
        let live = self.live;
        match self
            .wait(|progress| async move { live.session.switch_on_remote_access(&progress).await })
            .await?
        {
            Waited::Done(()) => Ok(()),
            other => Err(self.give_up(other).await?),
        }
    }

    /// Reads one line from the terminal, which is in raw mode: what is typed is shown by us.
    async fn is_yes(&mut self) -> Result<bool, NotOpened> {
        self.input.forget();
        let mut answer = Vec::new();
        loop {
            let bytes = tokio::select! {
                bytes = self.input.next() => bytes,
                reason = self.live.ended() => return Err(self.ended(&reason).await?),
            };
            let Some(bytes) = bytes else { return Ok(false) };
            for byte in bytes {
                match byte {
                    b'\r' | b'\n' => {
                        self.terminal.notice("\r\n".to_owned()).await?;
                        return Ok(answer.eq_ignore_ascii_case(b"y") || answer.eq_ignore_ascii_case(b"yes"));
                    }
                    // Ctrl-C, Ctrl-D
                    0x03 | 0x04 => {
                        self.terminal.notice("\r\n".to_owned()).await?;
                        return Ok(false);
                    }
                    // Backspace
                    0x08 | 0x7f if answer.pop().is_some() => {
                        self.terminal.notice("\u{8} \u{8}".to_owned()).await?;
                    }
                    b' '..=b'~' if answer.len() < 3 => {
                        answer.push(byte);
                        self.terminal.notice(char::from(byte).to_string()).await?;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Waits for something that takes long, and shows how it gets on.
    async fn wait<T, F, W>(&mut self, begin: W) -> Result<Waited<T>, Gone>
    where
        F: Future<Output = Result<T, OpenError>>,
        W: FnOnce(watch::Sender<Option<Progress>>) -> F,
    {
        let clock = &self.client.shared.clock;
        let (sender, mut progress) = watch::channel(None);
        let mut view = View::new(self.live.space_name(), self.terminal.pty, self.terminal.dumb);
        let work = begin(sender);
        tokio::pin!(work);
        let mut reporting = true;
        let waited = loop {
            tokio::select! {
                outcome = &mut work => break match outcome {
                    Ok(done) => Waited::Done(done),
                    Err(error) => Waited::Failed(error),
                },
                changed = progress.changed(), if reporting => {
                    reporting = changed.is_ok();
                    let latest = progress.borrow_and_update().clone();
                    let text = latest.map(|latest| view.update(&latest, clock.elapsed())).unwrap_or_default();
                    self.terminal.notice(text).await?;
                }
                () = clock.sleep(TICK), if view.is_shown() => {
                    let text = view.tick(clock.elapsed());
                    self.terminal.notice(text).await?;
                }
                // Before anything is shown, Ctrl-C is typed ahead for the shell.
                () = self.input.interrupted(), if self.terminal.pty => {
                    if view.is_shown() {
                        break Waited::Interrupted;
                    }
                }
                reason = self.live.ended() => break Waited::Ended(reason),
            }
        };
        let text = view.finish(matches!(waited, Waited::Done(_)), clock.elapsed());
        self.terminal.notice(text).await?;
        Ok(waited)
    }

    /// Says why there is no channel.
    async fn give_up<T>(&self, waited: Waited<T>) -> Result<NotOpened, Gone> {
        let space = self.live.space_name();
        let address = &self.client.shared.address;
        match waited {
            Waited::Done(_) => Ok(NotOpened::Status(0)),
            Waited::Interrupted => {
                self.terminal.say(&messages::wait_ended(space, address)).await?;
                Ok(NotOpened::Status(INTERRUPTED))
            }
            Waited::Ended(reason) => self.ended(&reason).await,
            Waited::Failed(error) => {
                let now = self.client.shared.clock.now();
                self.terminal.say(&messages::open_failed(&error, space, now, address)).await?;
                tracing::info!(
                    connection.id = %self.client.connection.id,
                    session.id = %self.live.session.id(),
                    reason = error.code(),
                    error = ?error,
                    "a channel was not opened"
                );
                Ok(NotOpened::Status(messages::status_of(&error)))
            }
        }
    }

    async fn ended(&self, reason: &EndReason) -> Result<NotOpened, Gone> {
        self.terminal.say(&self.client.farewell(reason, self.live).await).await?;
        Ok(NotOpened::Status(FAILED))
    }
}
