//! `spaceport audit`: the audit log, for operators. Any machine that reaches the database will do; verifying also
//! needs the key that encrypts secrets.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result, bail};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, Time};

use crate::config::{self, ConfigError, ConfigSource, Secrets};
use crate::domain::chain::Head;
use crate::domain::plain;
use crate::store::Store;
use crate::store::chain::export::Wanted;
use crate::store::chain::verify::VerifyError;
use crate::store::secrets::SealingKey;

/// The key that encrypts secrets, from the environment or the configuration, as the server has it.
///
/// # Errors
/// When neither has it. It is not made here.
pub fn sealing_key(source: Result<ConfigSource, ConfigError>) -> Result<SealingKey> {
    let secrets = match config::secrets_from_process()? {
        Some(secrets) => secrets,
        None => {
            let config = source.and_then(|source| source.load());
            config
                .context(
                    "set SPACEPORT_SECRET_KEY or SPACEPORT_SECRET_KEY_FILE, or name the server's configuration",
                )?
                .secrets
        }
    };
    if let Secrets::Own(path) = &secrets
        && !path.try_exists().with_context(|| format!("the key file {}", path.display()))?
    {
        bail!(
            "there is no key in {}: run this where the server runs, or set SPACEPORT_SECRET_KEY_FILE",
            path.display()
        );
    }
    Ok(SealingKey::new(secrets.key()?.expose())?)
}

/// Checks the whole log and says how it stands. Answers whether it is whole.
///
/// # Errors
/// When it cannot be read.
pub async fn verify(store: &Store, sealing: &SealingKey, logged: Option<&Head>) -> Result<bool> {
    let Some(key) = store.existing_chain_key(sealing).await.context("the key of the audit log's chain")?
    else {
        eprintln!(
            "spaceport: the key of the audit log's chain is not in the database.\n  \
             If no server of this release has run yet, start one. Otherwise somebody removed it: restore the table \
             `secrets` from a backup."
        );
        return Ok(false);
    };
    match store.verify_audit(&key, logged).await {
        Ok(whole) => {
            let (row, waiting) = (&whole.head, whole.waiting);
            println!("{} rows sealed, {waiting} waiting; head {} of {}", row.head.seq, row.head, row.at);
            Ok(true)
        }
        Err(VerifyError::Wrong(wrong)) => {
            eprintln!("spaceport: {wrong}.\n  {}", wrong.help());
            Ok(false)
        }
        Err(VerifyError::Store(error)) => Err(error).context("the audit log cannot be read"),
    }
}

/// Prints the wanted rows, a JSON object a line. Ends quietly when nobody reads on.
///
/// # Errors
/// When Postgres is away, or the output cannot be written.
pub async fn export(store: &Store, wanted: Wanted) -> Result<()> {
    let mut out = BufWriter::new(io::stdout());
    let mut rows = store.export_audit(wanted);
    loop {
        let page = rows.next().await?;
        let last = page.is_empty();
        let written = page
            .iter()
            .try_for_each(|row| writeln!(out, "{}", plain::json(&row.to_string())))
            .and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        if last {
            return Ok(());
        }
    }
}

/// A time from the command line: RFC 3339, or a day in UTC.
///
/// # Errors
/// When it is neither, with how to write one.
pub fn time(text: &str) -> Result<OffsetDateTime, String> {
    let day = || Date::parse(text, format_description!("[year]-[month]-[day]"));
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| day().map(|day| day.with_time(Time::MIDNIGHT).assume_utc()))
        .map_err(|_| "write a time like 2026-05-01T12:00:00Z, or a day like 2026-05-01".to_owned())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    #[test]
    fn times_are_read_in_both_forms() {
        assert_eq!(super::time("2026-05-01"), Ok(datetime!(2026-05-01 00:00 UTC)));
        assert_eq!(super::time("2026-05-01T02:00:00+02:00"), Ok(datetime!(2026-05-01 00:00 UTC)));
        for bad in ["", "yesterday", "2026-05", "2026-05-01 12:00"] {
            assert!(super::time(bad).is_err(), "{bad}");
        }
    }
}
