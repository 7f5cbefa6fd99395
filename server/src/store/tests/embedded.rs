//! Private clusters.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use secrecy::ExposeSecret as _;

use super::*;
use crate::store::embedded::{EmbeddedError, EmbeddedOptions, EmbeddedPostgres};

/// A data directory that Postgres's user may pass through.
fn data_directory() -> tempfile::TempDir {
    directory_with(0o711)
}

fn directory_with(mode: u32) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
    directory
}

fn options(directory: &Path) -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(directory);
    options.settings = vec![("fsync".to_owned(), "off".to_owned())];
    options
}

fn server_pid(directory: &Path) -> Option<String> {
    let pid = fs::read_to_string(directory.join("postgres/postmaster.pid")).ok()?;
    pid.lines().next().map(str::to_owned)
}

#[tokio::test]
async fn a_cluster_lives_through_stops_kills_and_a_lost_password() {
    let directory = data_directory();
    let path = directory.path();
    let server = EmbeddedPostgres::start(&options(path)).await.unwrap();
    let store = Store::open(server.url()).await.unwrap();
    store.ensure_user("s", &"alice".parse().unwrap(), NOON).await.unwrap();
    assert_eq!(fs::read_to_string(path.join("postgres.url")).unwrap().trim(), server.url().expose_secret());
    assert_eq!(fs::metadata(path.join("postgres.url")).unwrap().mode() & 0o777, 0o600);
    assert!(matches!(EmbeddedPostgres::start(&options(path)).await, Err(EmbeddedError::InUse(_))));
    let wrong = server.url().expose_secret().replacen("spaceport:", "spaceport:wrong", 1).into();
    assert!(matches!(Store::open(&wrong).await, Err(crate::store::StoreError::Away(_))));
    store.close().await;
    server.stop().await;
    assert_eq!(server_pid(path), None, "stopped cleanly");

    // Killed: the pid file stays. And the password is lost.
    let server = EmbeddedPostgres::start(&options(path)).await.unwrap();
    let pid = server_pid(path).unwrap();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    server.stop().await;
    assert_eq!(server_pid(path), Some(pid));
    fs::remove_file(path.join("postgres.url")).unwrap();
    let server = EmbeddedPostgres::start(&options(path)).await.unwrap();
    let store = Store::open(server.url()).await.unwrap();
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&store.pool).await.unwrap();
    assert_eq!(users, 1);
    store.close().await;

    // Dropped without a stop, and started again at once: the next start waits for the old server.
    drop(server);
    EmbeddedPostgres::start(&options(path)).await.unwrap().stop().await;

    fs::write(path.join("postgres/PG_VERSION"), "9\n").unwrap();
    let refused = EmbeddedPostgres::start(&options(path)).await.unwrap_err();
    assert!(matches!(&refused, EmbeddedError::OtherVersion(_, wanted, ..) if wanted == "9"), "{refused}");
}

#[tokio::test]
async fn a_server_that_cannot_start_shows_its_log() {
    let directory = data_directory();
    let mut options = options(directory.path());
    options.settings.push(("shared_buffers".to_owned(), "plenty".to_owned()));
    let error = EmbeddedPostgres::start(&options).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::Start(..)), "{error}");
    assert!(error.to_string().contains("shared_buffers"), "{error}");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let directory = data_directory();
    let mut options = options(directory.path());
    options.binaries = Some(PathBuf::from("/nowhere"));
    let error = EmbeddedPostgres::start(&options).await.unwrap_err();
    assert!(matches!(&error, EmbeddedError::NoBinaries(looked) if looked == &[PathBuf::from("/nowhere")]));
    if rustix::process::geteuid().is_root() {
        options.binaries = None;
        options.user = Some("no-such-user".to_owned());
        let error = EmbeddedPostgres::start(&options).await.unwrap_err();
        assert!(matches!(&error, EmbeddedError::NoUser(name) if name == "no-such-user"), "{error}");
        let closed = directory_with(0o700);
        options.user = None;
        options.data_directory = closed.path().join("data");
        let error = EmbeddedPostgres::start(&options).await.unwrap_err();
        assert!(matches!(&error, EmbeddedError::Closed(path, _) if path == closed.path()), "{error}");
    }
}

#[tokio::test]
async fn a_long_data_directory_gets_a_short_socket() {
    let directory = data_directory();
    let long = directory.path().join("d".repeat(120));
    let server = EmbeddedPostgres::start(&options(&long)).await.unwrap();
    Store::open(server.url()).await.unwrap().close().await;
    server.stop().await;
}
