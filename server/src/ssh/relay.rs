//! Bytes between a client's channel and a space's, until one of them is done.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Live};
use super::input::Input;
use super::messages::{self, Message};
use super::request::Requests;
use super::terminal::{Gone, Terminal};
use crate::domain::ending::EndReason;
use crate::domain::ports::Clock;
use crate::domain::space_news::SpaceNews;
use crate::gateway::link::Output;
use crate::gateway::{Channel, ChannelInput, ChannelOutput, Ear, Notice, Said};

/// How long after a command's output its status may come.
const STATUS: Duration = Duration::from_secs(2);

/// How a relay ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Over {
    /// The space closed its channel; whether it gave an exit status or signal.
    Closed {
        /// It did.
        status: bool,
    },
    /// The gateway ended the session.
    Ended(EndReason),
    /// The client's side is gone, or a ceiling closed it: [`Input::cut`] tells.
    Gone,
}

/// What a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    /// A command, whose exit status may come behind its output.
    Command,
    /// A connection, which is over once both directions are.
    Stream,
}

/// Relays until the space's channel is closed or the session ends. Whoever calls races this with the client's close.
pub(super) async fn relay(
    channel: Channel,
    terminal: &Terminal,
    input: &mut Input,
    requests: Option<Requests>,
    client: &Client,
    live: &Live,
) -> Over {
    let carries = if requests.is_some() { Carries::Command } else { Carries::Stream };
    let (to_space, mut from_space) = channel.split();
    let gone = input.gone();
    let sent_all = CancellationToken::new();
    let up = async {
        pump_up(input, &to_space).await;
        sent_all.cancel();
    };
    let asked = async {
        if let Some(requests) = requests {
            pass_on(requests, &to_space).await;
        }
    };
    let words = Words::of(client, live, (carries, terminal.has_reader()));
    let down = pump_down(&mut from_space, terminal, words, carries, &sent_all);
    let upward = async { tokio::join!(up, asked) };
    tokio::pin!(gone, down, upward);
    let mut sending = true;
    loop {
        tokio::select! {
            over = &mut down => return over.unwrap_or(Over::Gone),
            reason = live.ended() => return Over::Ended(reason),
            () = &mut gone => return Over::Gone,
            _ = &mut upward, if sending => sending = false,
        }
    }
}

/// From the client to the space, then the end of it.
async fn pump_up(input: &mut Input, to_space: &ChannelInput) {
    while let Some(bytes) = input.next().await {
        if to_space.data(bytes).await.is_err() {
            return;
        }
    }
    // Where a ceiling took bytes away, an end would make what came look whole.
    if input.cut().is_none() {
        let _ = to_space.eof().await;
    }
}

/// Sizes and signals, beside the bytes: Ctrl-C on a flooded channel must not wait behind the flood.
async fn pass_on(mut requests: Requests, to_space: &ChannelInput) {
    loop {
        let passed = tokio::select! {
            changed = requests.size.changed() => {
                let size = requests.size.borrow_and_update().clone();
                match (changed, size) {
                    (Ok(()), Some(size)) => to_space.window_change(&size).await,
                    (Ok(()), None) => Ok(()),
                    (Err(_), _) => return,
                }
            }
            signal = requests.signals.recv() => match signal {
                Some(name) => to_space.signal(&name).await,
                None => return,
            },
        };
        if passed.is_err() {
            return;
        }
    }
}

/// What people are told while a command runs.
struct Words<'a> {
    client: &'a Client,
    live: &'a Live,
    carries: Carries,
    notices: watch::Receiver<Option<Notice>>,
    news: watch::Receiver<Option<SpaceNews>>,
    asides: watch::Receiver<Option<Message>>,
    /// What admins write; only where somebody reads it.
    ear: Option<Ear>,
    /// Whether this terminal was told that the space stops: only then is it news that it does not.
    warned: bool,
}

/// Something that people are told.
struct Word {
    message: Message,
    /// Whether only those who read a terminal should see it.
    for_terminals: bool,
    /// Whether it is worth a bell.
    rings: bool,
    /// Whoever counts who has seen it.
    said: Option<Arc<Said>>,
}

impl<'a> Words<'a> {
    fn of(client: &'a Client, live: &'a Live, (carries, read): (Carries, bool)) -> Self {
        let (notices, asides) = (live.session.notices(), client.asides.subscribe());
        let ear = read.then(|| live.session.ear());
        Self { client, live, carries, notices, news: live.session.news(), asides, ear, warned: false }
    }

    /// The next word. Connections get none. Cancel-safe.
    async fn next(&mut self) -> Word {
        if self.carries == Carries::Stream {
            std::future::pending::<()>().await;
        }
        loop {
            tokio::select! {
                Ok(()) = self.notices.changed() => {
                    let notice = self.notices.borrow_and_update().clone();
                    if let Some(notice) = notice {
                        let address = &self.client.shared.address;
                        let message = messages::notice(&notice, self.live.space_name(), address);
                        return Word { message, for_terminals: true, rings: false, said: None };
                    }
                }
                Ok(()) = self.news.changed() => {
                    let news = self.news.borrow_and_update().clone();
                    if let Some(word) = news.and_then(|news| self.of_space(&news)) {
                        return word;
                    }
                }
                Ok(()) = self.asides.changed() => {
                    let aside = self.asides.borrow_and_update().clone();
                    if let Some(message) = aside {
                        return Word { message, for_terminals: false, rings: false, said: None };
                    }
                }
                Some(said) = heard(&mut self.ear) => {
                    let message = messages::said(&said.by, &said.text, self.client.shared.clock.now());
                    return Word { message, for_terminals: true, rings: true, said: Some(said) };
                }
                else => std::future::pending().await,
            }
        }
    }

    /// What becomes of the space, in words.
    fn of_space(&mut self, news: &SpaceNews) -> Option<Word> {
        let rings = !matches!(news, SpaceNews::StaysUp(_));
        if !rings && !self.warned {
            return None;
        }
        self.warned = rings;
        let Client { shared, user, .. } = self.client;
        let reader = messages::Reader { name: user.name.as_str(), now: shared.clock.now() };
        let message = messages::space_news(news, self.live.space_name(), &reader, &shared.address);
        Some(Word { message, for_terminals: true, rings, said: None })
    }
}

/// What an admin writes next, where somebody would read it. Cancel-safe.
async fn heard(ear: &mut Option<Ear>) -> Option<Arc<Said>> {
    match ear {
        Some(ear) => ear.next().await,
        None => None,
    }
}

/// Tells whoever is at the client's end, if it is for them.
async fn tell(terminal: &Terminal, word: Word) -> Result<(), Gone> {
    if word.for_terminals && !terminal.has_reader() {
        return Ok(());
    }
    if terminal.pty {
        // Whatever runs may have left the cursor inside a line.
        let bell = if word.rings { messages::BELL } else { "" };
        terminal.notice(format!("{bell}{}", terminal.newline())).await?;
    }
    terminal.say(&word.message).await?;
    if let Some(said) = word.said {
        said.shown();
    }
    Ok(())
}

/// The end of a command's output, held back until its status is known: a client that has seen both ends closes the
/// channel, and russh then answers with a close at once, before the status that was on its way.
struct HeldEof<'a> {
    clock: &'a dyn Clock,
    until: Option<Duration>,
}

impl HeldEof<'_> {
    fn hold(&mut self) {
        self.until = Some(self.clock.elapsed() + STATUS);
    }

    /// Completes when it was held for long enough. Cancel-safe.
    async fn due(&self) {
        match self.until {
            Some(until) => self.clock.sleep(until.saturating_sub(self.clock.elapsed())).await,
            None => std::future::pending().await,
        }
    }

    async fn release(&mut self, terminal: &Terminal) -> Result<(), Gone> {
        if self.until.take().is_some() { terminal.eof().await } else { Ok(()) }
    }
}

/// From the space to the client.
async fn pump_down(
    from_space: &mut ChannelOutput,
    terminal: &Terminal,
    mut words: Words<'_>,
    carries: Carries,
    sent_all: &CancellationToken,
) -> Result<Over, Gone> {
    let (mut status, mut received_all) = (false, false);
    let mut eof = HeldEof { clock: &*words.client.shared.clock, until: None };
    loop {
        let output = tokio::select! {
            output = from_space.next() => output,
            word = words.next() => {
                tell(terminal, word).await?;
                continue;
            }
            () = eof.due() => {
                eof.release(terminal).await?;
                continue;
            }
            () = sent_all.cancelled(), if received_all && carries == Carries::Stream => None,
        };
        match output {
            None => return Ok(Over::Closed { status }),
            Some(Output::Data(bytes)) => terminal.data(bytes).await?,
            Some(Output::Extended(stream, bytes)) => terminal.extended(stream, bytes).await?,
            Some(Output::ExitStatus(code)) => {
                status = true;
                terminal.exit_status(code).await?;
                eof.release(terminal).await?;
            }
            Some(Output::ExitSignal { name, core_dumped, message }) => {
                status = true;
                terminal.exit_signal(&name, core_dumped, message).await?;
                eof.release(terminal).await?;
            }
            Some(Output::Eof) => {
                received_all = true;
                if carries == Carries::Command && !status {
                    eof.hold();
                } else {
                    terminal.eof().await?;
                }
            }
        }
    }
}
