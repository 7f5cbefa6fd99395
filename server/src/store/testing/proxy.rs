//! A way to Postgres that can be cut.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Passes connections on to the cluster until it is cut; then it ends them all and refuses new ones.
pub(crate) struct Proxy {
    directory: tempfile::TempDir,
    server: PathBuf,
    url: SecretString,
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Proxy {
    pub(crate) fn to(url: &SecretString) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (login, rest) = url.expose_secret().split_once('@').unwrap();
        let (host, database) = rest.split_once('/').unwrap();
        let server = PathBuf::from(host.replace("%2F", "/")).join(".s.PGSQL.5432");
        let own_host = directory.path().to_str().unwrap().replace('/', "%2F");
        let url = format!("{login}@{own_host}/{database}").into();
        let proxy = Self { directory, server, url, cut: CancellationToken::new(), tasks: TaskTracker::new() };
        proxy.serve();
        proxy
    }

    pub(crate) const fn url(&self) -> &SecretString {
        &self.url
    }

    /// Ends all connections and refuses new ones.
    pub(crate) async fn cut(&self) {
        std::fs::remove_file(self.socket()).unwrap();
        self.cut.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Passes connections on again.
    pub(crate) fn mend(&mut self) {
        self.cut = CancellationToken::new();
        self.tasks = TaskTracker::new();
        self.serve();
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join(".s.PGSQL.5432")
    }

    fn serve(&self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let (server, cut, tasks) = (self.server.clone(), self.cut.clone(), self.tasks.clone());
        self.tasks.spawn(async move {
            while let Some(Ok((mut client, _))) = cut.run_until_cancelled(listener.accept()).await {
                let (server, cut) = (server.clone(), cut.clone());
                tasks.spawn(async move {
                    let mut server = UnixStream::connect(server).await.unwrap();
                    let _ = cut.run_until_cancelled(copy_bidirectional(&mut client, &mut server)).await;
                });
            }
        });
    }
}
