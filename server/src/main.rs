//! The command line: `serve`, `check`, and `session`, `audit` and `certificate` for operators.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use spaceport::app;
use spaceport::config::{ConfigError, ConfigSource};
use spaceport::domain::chain::Head;
use spaceport::store::chain::export::Wanted;
use time::OffsetDateTime;

/// `EX_CONFIG` of sysexits(3): the configuration is at fault.
const EX_CONFIG: u8 = 78;

/// A team-hosted SSH gateway to Amazon SageMaker Studio spaces.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The configuration file.
    #[arg(long, global = true, env = "SPACEPORT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT, which drain it; SIGHUP reads users, roles and access policy again.
    Serve,
    /// Check the configuration and print every fault in it.
    Check,
    /// See and end live sessions, on any replica, from any machine that reaches the database.
    Session {
        #[command(subcommand)]
        command: SessionCommand,
    },
    /// Check and read the audit log, from any machine that reaches the database.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Certificates of the gateway's own authority, from any machine with the server's configuration.
    Certificate {
        #[command(subcommand)]
        command: CertificateCommand,
    },
}

#[derive(Subcommand)]
enum CertificateCommand {
    /// Certify a person's key and print the certificate.
    Issue {
        /// The person.
        #[arg(long)]
        user: String,
        /// The file of the public key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Print the public key of the authority.
    Authority,
}

#[derive(Subcommand)]
enum SessionCommand {
    /// List live sessions, newest first.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// End a live session.
    End {
        /// Its id, or the last digits of it as the list shows them.
        id: String,
        /// What the person is told.
        #[arg(long, default_value = "")]
        reason: String,
        /// Who ends it, for the audit log and the person's terminal.
        #[arg(long, env = "USER", default_value = "operator")]
        by: String,
    },
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Check that no row was changed, removed, reordered or slipped in; needs the key that encrypts secrets.
    Verify {
        /// The newest end of the chain in a server's log (audit.head): the log must still have that row.
        #[arg(long, value_name = "SEQ:MAC")]
        head: Option<Head>,
    },
    /// Print rows, oldest first, one JSON object a line.
    Export {
        /// From this time on: 2026-05-01T12:00:00Z, or a day.
        #[arg(long, value_name = "TIME", value_parser = app::audit::time)]
        since: Option<OffsetDateTime>,
        /// Before this time.
        #[arg(long, value_name = "TIME", value_parser = app::audit::time)]
        until: Option<OffsetDateTime>,
        /// Rows of this kind only: access.denied, session.ended.
        #[arg(long)]
        kind: Option<String>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("spaceport: {error:#}");
            let config = error.chain().any(|cause| cause.is::<ConfigError>());
            ExitCode::from(if config { EX_CONFIG } else { 1 })
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let source = ConfigSource::from_process(arguments.config.as_deref());
    match arguments.command {
        Command::Serve => {
            let source = source?;
            let config = source.load()?;
            app::serve(source, config).await?;
        }
        Command::Check => {
            let config = source?.load()?;
            println!("{} domains, {} users: no fault", config.domains.len(), config.people.users.len());
        }
        Command::Audit { command } => return audit(source, command).await,
        Command::Session { command } => {
            let store = app::sessions::store(source)?;
            match command {
                SessionCommand::List { json } => app::sessions::list(&store, json).await?,
                SessionCommand::End { id, reason, by } => {
                    if !app::sessions::end(&store, &id, &by, &reason).await? {
                        return Ok(ExitCode::FAILURE);
                    }
                }
            }
        }
        Command::Certificate { command } => match command {
            CertificateCommand::Issue { user, key } => app::certificates::issue(source?, &user, &key).await?,
            CertificateCommand::Authority => app::certificates::authority(source?).await?,
        },
    }
    Ok(ExitCode::SUCCESS)
}

async fn audit(source: Result<ConfigSource, ConfigError>, command: AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Verify { head } => {
            let from = source.as_ref().ok().cloned();
            let sealing = app::audit::sealing_key(from.ok_or(ConfigError::NoFile))?;
            let store = app::sessions::store(source)?;
            if !app::audit::verify(&store, &sealing, head.as_ref()).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        AuditCommand::Export { since, until, kind } => {
            let store = app::sessions::store(source)?;
            app::audit::export(&store, Wanted { since, until, kind }).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
