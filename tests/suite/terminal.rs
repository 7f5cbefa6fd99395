//! An interactive shell, in tmux, as a person sees it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use spaceport_tests::client::run;
use spaceport_tests::until::until;
use spaceport_tests::world::World;
use tokio::process::Command;

/// How long a screen may take to show something.
const LIMIT: Duration = Duration::from_secs(30);

/// A tmux server of one test, with one window.
pub(crate) struct Screen {
    socket: String,
}

impl Screen {
    /// Opens a window that runs a command.
    pub(crate) async fn open(world: &World, command: &str) -> Result<Self> {
        // Each has a server of its own: one that ends would take a window along that has just been opened.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let socket = world.folder().join(format!("tmux-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let screen = Self { socket: socket.display().to_string() };
        screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", command]).await?;
        Ok(screen)
    }

    async fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let mut tmux = Command::new("tmux");
        let done = run(
            {
                tmux.arg("-S").arg(&self.socket).args(arguments);
                tmux
            },
            &[],
        )
        .await?;
        Ok(done.well().context(format!("tmux {arguments:?}"))?.text())
    }

    /// Types a line.
    pub(crate) async fn line(&self, text: &str) -> Result<()> {
        self.tmux(&["send-keys", "-l", text]).await?;
        self.tmux(&["send-keys", "Enter"]).await.map(drop)
    }

    /// Presses a key.
    pub(crate) async fn key(&self, name: &str) -> Result<()> {
        self.tmux(&["send-keys", name]).await.map(drop)
    }

    /// Changes the size of the window.
    pub(crate) async fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        let (x, y) = (columns.to_string(), rows.to_string());
        self.tmux(&["resize-window", "-x", &x, "-y", &y]).await.map(drop)
    }

    /// What the window shows.
    pub(crate) async fn text(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p", "-S", "-200"]).await
    }

    /// Waits until the window shows a text.
    pub(crate) async fn shows(&self, text: &str) -> Result<String> {
        self.shows_within(text, LIMIT).await
    }

    /// Waits until the window shows a text that may take longer than others.
    pub(crate) async fn shows_within(&self, text: &str, limit: Duration) -> Result<String> {
        let what = format!("{text:?} on the screen");
        let shown = until(&what, limit, async || {
            let screen = self.text().await?;
            Ok(screen.contains(text).then_some(screen))
        });
        match shown.await {
            Ok(screen) => Ok(screen),
            Err(error) => {
                Err(error.context(format!("the screen shows:\n{}", self.text().await.unwrap_or_default())))
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The server ends with its last window; a failed test may leave one.
        let _ = std::process::Command::new("tmux").args(["-S", &self.socket, "kill-server"]).output();
    }
}

/// The command line that opens an interactive shell in a space.
pub(crate) fn shell(world: &World, host: &str) -> String {
    format!("ssh -F {} -o LogLevel=INFO {host}; echo ended $?; sleep 60", world.client.config().display())
}

#[tokio::test(flavor = "multi_thread")]
async fn shell_has_a_terminal_that_follows_the_windows_size() -> Result<()> {
    for way in ["demo", "demo.jump"] {
        let world = World::start().await?;
        let screen = Screen::open(&world, &shell(&world, way)).await?;
        screen.line("echo size $(stty size) term $TERM").await?;
        screen.shows("size 30 100 term").await.context(way)?;
        screen.resize(132, 40).await?;
        screen.line("stty size | tr ' ' x").await?;
        screen.shows("40x132").await.context(way)?;
        // Quoted apart, so that the text shows once the command runs and not while it is typed.
        screen.line("echo slee''ping; sleep 1000").await?;
        screen.shows("sleeping").await.context(way)?;
        screen.key("C-c").await?;
        screen.line("echo interrupted $?").await?;
        screen.shows("interrupted 130").await.context(way)?;
        screen.line("exit 7").await?;
        screen.shows("ended 7").await.context(way)?;
    }
    Ok(())
}
