//! A mail server on loopback that is strict about lines (RFC 5321) and keeps what it got.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The longest command and the longest line of text, with their CRLF (RFC 5321 4.5.3.1.4 and 4.5.3.1.6).
const LONGEST: (usize, usize) = (512, 1_000);

/// A mail that was taken.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The return path.
    pub from: String,
    /// Whom the envelope names.
    pub to: Vec<String>,
    /// Head and body, with dots unstuffed.
    pub text: String,
}

#[derive(Default)]
struct Kept {
    mails: Vec<Mail>,
    commands: Vec<String>,
    breaches: Vec<String>,
    /// Answers that recipients get instead of a yes: whom, what, how often.
    answers: Vec<(String, String, usize)>,
}

/// A running server. Dropping it ends it.
pub struct MailSink {
    /// Where it listens.
    pub address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    accepting: JoinHandle<()>,
}

impl MailSink {
    /// Starts a server without TLS.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let kept = Arc::<Mutex<Kept>>::default();
        let held = Arc::clone(&kept);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let held = Arc::clone(&held);
                tokio::spawn(async move {
                    if let Err(error) = serve(client, &held).await {
                        with(&held, |kept| kept.breaches.push(error.to_string()));
                    }
                });
            }
        });
        Ok(Self { address, kept, accepting })
    }

    /// Answers like this to a recipient, so often.
    pub fn answer(&self, to: &str, line: &str, times: usize) {
        with(&self.kept, |kept| kept.answers.push((to.to_owned(), line.to_owned(), times)));
    }

    /// What was taken so far.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        with(&self.kept, |kept| kept.mails.clone())
    }

    /// Every command so far.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        with(&self.kept, |kept| kept.commands.clone())
    }

    /// What clients did that they must not.
    #[must_use]
    pub fn breaches(&self) -> Vec<String> {
        with(&self.kept, |kept| kept.breaches.clone())
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn with<T>(kept: &Mutex<Kept>, work: impl FnOnce(&mut Kept) -> T) -> T {
    work(&mut kept.lock().unwrap_or_else(PoisonError::into_inner))
}

/// One line without its CRLF; nothing at the end.
async fn line(client: &mut BufReader<TcpStream>, longest: usize) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    client.read_until(b'\n', &mut bytes).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    ensure!(bytes.len() <= longest, "a line of {} bytes", bytes.len());
    let Some(text) = bytes.strip_suffix(b"\r\n") else { bail!("a bare LF, or no end of line") };
    ensure!(!text.contains(&b'\r'), "a bare CR");
    ensure!(text.is_ascii(), "8 bits without 8BITMIME");
    Ok(Some(String::from_utf8(text.to_vec())?))
}

fn path(argument: &str, word: &str) -> Option<String> {
    Some(argument.strip_prefix(word)?.strip_prefix('<')?.strip_suffix('>')?.to_owned())
}

async fn serve(client: TcpStream, held: &Mutex<Kept>) -> Result<()> {
    let mut client = BufReader::new(client);
    let (mut from, mut to) = (None, Vec::new());
    client.write_all(b"220 sink ESMTP\r\n").await?;
    while let Some(command) = line(&mut client, LONGEST.0).await? {
        with(held, |kept| kept.commands.push(command.clone()));
        let (verb, argument) = command.split_once(' ').unwrap_or((&command, ""));
        let answer = match verb {
            "EHLO" if !argument.is_empty() => "250 sink".to_owned(),
            "MAIL" if from.is_none() => match path(argument, "FROM:") {
                Some(path) => {
                    from = Some(path);
                    "250 ok".to_owned()
                }
                None => "501 no path".to_owned(),
            },
            "RCPT" if from.is_some() => match path(argument, "TO:") {
                Some(path) => match answer(held, &path) {
                    Some(told) => told,
                    None => {
                        to.push(path);
                        "250 ok".to_owned()
                    }
                },
                None => "501 no path".to_owned(),
            },
            "DATA" if !to.is_empty() => {
                client.write_all(b"354 go on\r\n").await?;
                let text = data(&mut client).await?;
                let mail = Mail { from: from.take().unwrap_or_default(), to: std::mem::take(&mut to), text };
                with(held, |kept| kept.mails.push(mail));
                "250 taken".to_owned()
            }
            "QUIT" => {
                client.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "503 not here".to_owned(),
        };
        client.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}

fn answer(held: &Mutex<Kept>, path: &str) -> Option<String> {
    with(held, |kept| {
        let told = kept.answers.iter_mut().find(|(to, _, times)| to == path && *times > 0)?;
        told.2 -= 1;
        Some(told.1.clone())
    })
}

async fn data(client: &mut BufReader<TcpStream>) -> Result<String> {
    let mut text = String::new();
    while let Some(line) = line(client, LONGEST.1).await? {
        if line == "." {
            return Ok(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
        text.push('\n');
    }
    bail!("the text has no end")
}
