//! The command line: `serve`, `check`, and `session`, `grant`, `user`, `key`, `explain`, `cost`, `simulate-policy`,
//! `audit`, `certificate` and `notify` for operators.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use spaceport::app;
use spaceport::app::cost::{Asked, By, Form};
use spaceport::app::explain::Answer;

use spaceport::config::{ConfigError, ConfigSource};
use spaceport::domain::access::Action;
use spaceport::domain::chain::Head;
use spaceport::domain::grant::{Reason, Term};
use spaceport::domain::ids::{DomainAlias, SpaceName};
use spaceport::store::chain::export::Wanted;
use time::{Date, OffsetDateTime};

/// What `explain` exits with when there is no answer: 1 is a denial.
const NO_ANSWER: u8 = 2;
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
    /// Grant single spaces to single people for a time.
    Grant {
        #[command(subcommand)]
        command: GrantCommand,
    },
    /// See everybody, keep people out and let them in again; needs the server's configuration.
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// See and revoke the SSH keys that people added, from any machine that reaches the database.
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Print what the policy decides and the rule that decides it; exits 0 if it allows, 1 if it denies, 2 without an
    /// answer. Needs the server's configuration.
    Explain {
        /// The person: a name, PROVIDER/NAME, or the id of their row.
        user: String,
        /// The space: SPACE, SPACE.DOMAIN, or its ARN.
        space: String,
        /// What they want: open, jump, start, change, forward-agent.
        action: Action,
    },
    /// Check and read the audit log, from any machine that reaches the database.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Print what spaces cost, with the total at the end; needs the server's configuration.
    Cost(Costs),
    /// Print what a policy would have stopped, when, why and what that would have saved, by the looks at spaces that
    /// are kept; nothing is stopped. Needs the server's configuration, unless both looks and policies are from files.
    SimulatePolicy(Simulation),
    /// Certificates of the gateway's own authority, from any machine with the server's configuration.
    Certificate {
        #[command(subcommand)]
        command: CertificateCommand,
    },
    /// Webhooks and e-mail; needs the server's configuration.
    Notify {
        #[command(subcommand)]
        command: NotifyCommand,
    },
}

#[derive(Subcommand)]
enum NotifyCommand {
    /// Send a test through every channel, mail to the admins; exits 1 if one was not taken.
    Test,
}

#[derive(clap::Args)]
struct Costs {
    /// The first day, of the configured time zone; that of the month if nothing is said.
    #[arg(long, value_name = "DAY", value_parser = app::cost::day)]
    from: Option<Date>,
    /// The last day; today if nothing is said.
    #[arg(long, value_name = "DAY", value_parser = app::cost::day)]
    to: Option<Date>,
    /// What lines stand for: day, user, space, team.
    #[arg(long, default_value = "day")]
    by: By,
    /// Comma-separated values, amounts to a billionth of a dollar.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Simulation {
    /// A file with `[idle]` and `[[idle.policies]]`; the configured policies if nothing is said.
    #[arg(long, value_name = "FILE")]
    policies: Option<PathBuf>,
    /// How far back: 12h, 30d; 30d if nothing is said, and all that is in a file.
    #[arg(long, value_name = "TIME")]
    since: Option<Term>,
    /// Spaces of this domain only.
    #[arg(long)]
    domain: Option<DomainAlias>,
    /// Spaces of this name only.
    #[arg(long)]
    space: Option<SpaceName>,
    /// Looks of a file that --export wrote, instead of the database's.
    #[arg(long, value_name = "FILE", conflicts_with = "export")]
    from_file: Option<PathBuf>,
    /// Write the looks to a new file, one JSON object a line, instead of trying policies on them.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "policies"])]
    export: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
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
        #[command(flatten)]
        operator: Operator,
    },
}

#[derive(Subcommand)]
enum GrantCommand {
    /// Grant a space to a person; needs the server's configuration.
    Add {
        /// The person: a name, PROVIDER/NAME, or the id of their row.
        #[arg(long)]
        user: String,
        /// The space: SPACE, SPACE.DOMAIN, or its ARN.
        #[arg(long)]
        space: String,
        /// How long it runs: 90m, 12h, 3d.
        #[arg(long = "for", value_name = "TIME")]
        lasts: String,
        /// Why, for the person and the audit log.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        operator: Operator,
    },
    /// List the grants that run, the one that ends first at the top.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// End a grant before its time.
    End {
        /// Its id, or the last digits of it as the list shows them.
        id: String,
        #[command(flatten)]
        operator: Operator,
    },
}

#[derive(Subcommand)]
enum UserCommand {
    /// List everybody who is known.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Keep a person out; what they have open ends.
    Suspend {
        /// The person: a name, PROVIDER/NAME, or the id of their row.
        user: String,
        /// Why, for other admins and the audit log.
        #[arg(long)]
        reason: Reason,
        #[command(flatten)]
        operator: Operator,
    },
    /// Let a person in again.
    Resume {
        /// The person: a name, PROVIDER/NAME, or the id of their row.
        user: String,
        #[command(flatten)]
        operator: Operator,
    },
}

#[derive(Subcommand)]
enum KeyCommand {
    /// List the keys that people added, oldest first.
    List {
        /// Of this person only: a name, PROVIDER/NAME, or the id of their row.
        #[arg(long)]
        user: Option<String>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Take a key away from its owner; connections made with it end.
    Revoke {
        /// Its fingerprint, SHA256:..., or its id.
        key: String,
        #[command(flatten)]
        operator: Operator,
    },
}

/// Who does something on the command line.
#[derive(clap::Args)]
struct Operator {
    /// Who does it, for the audit log and whoever it is about.
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
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
                SessionCommand::End { id, reason, operator } => {
                    return Ok(done(app::sessions::end(&store, &id, &operator.by, &reason).await?));
                }
            }
        }
        Command::Grant { command } => return grant(source, command).await,
        Command::User { command } => match command {
            UserCommand::List { json } => app::users::list(source?, json).await?,
            UserCommand::Suspend { user, reason, operator } => {
                return Ok(done(app::users::suspend(source?, &user, &reason, &operator.by).await?));
            }
            UserCommand::Resume { user, operator } => {
                return Ok(done(app::users::resume(source?, &user, &operator.by).await?));
            }
        },
        Command::Key { command } => {
            let store = app::sessions::store(source)?;
            match command {
                KeyCommand::List { user, json } => {
                    app::users::list_keys(&store, user.as_deref(), json).await?;
                }
                KeyCommand::Revoke { key, operator } => {
                    return Ok(done(app::users::revoke_key(&store, &key, &operator.by).await?));
                }
            }
        }
        Command::Cost(Costs { from, to, by, csv, json }) => {
            let form = if csv {
                Form::Csv
            } else if json {
                Form::Json
            } else {
                Form::Table
            };
            app::cost::print(source?, Asked { from, to, by, form }).await?;
        }
        Command::SimulatePolicy(asked) => {
            let Simulation { policies, since, domain, space, from_file, export, json } = asked;
            let asked = app::simulate::Asked { policies, since, domain, space, from_file, export, json };
            app::simulate::run(source, asked).await?;
        }
        Command::Explain { user, space, action } => return explain(source?, &user, &space, action).await,
        Command::Certificate { command } => match command {
            CertificateCommand::Issue { user, key } => app::certificates::issue(source?, &user, &key).await?,
            CertificateCommand::Authority => app::certificates::authority(source?).await?,
        },
        Command::Notify { command: NotifyCommand::Test } => {
            return Ok(done(app::notify::test(&source?).await?));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The exit status of a command that was done, or was not.
fn done(done: bool) -> ExitCode {
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn grant(source: Result<ConfigSource, ConfigError>, command: GrantCommand) -> anyhow::Result<ExitCode> {
    match command {
        GrantCommand::Add { user, space, lasts, reason, operator } => {
            let asked = app::grants::Asked { user: &user, space: &space, lasts: &lasts, reason: &reason };
            Ok(done(app::grants::add(source?, &asked, &operator.by).await?))
        }
        GrantCommand::List { json } => {
            app::grants::list(&app::sessions::store(source)?, json).await?;
            Ok(ExitCode::SUCCESS)
        }
        GrantCommand::End { id, operator } => {
            Ok(done(app::grants::end(&app::sessions::store(source)?, &id, &operator.by).await?))
        }
    }
}

async fn explain(source: ConfigSource, user: &str, space: &str, action: Action) -> anyhow::Result<ExitCode> {
    match app::explain::print(source, user, space, action).await {
        Ok(Answer::Allowed) => Ok(ExitCode::SUCCESS),
        Ok(Answer::Denied) => Ok(ExitCode::FAILURE),
        Ok(Answer::Unknown) => Ok(ExitCode::from(NO_ANSWER)),
        Err(error) if error.is::<ConfigError>() => Err(error),
        Err(error) => {
            eprintln!("spaceport: {error:#}");
            Ok(ExitCode::from(NO_ANSWER))
        }
    }
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
            let wanted = Wanted { since, until, kind, ..Wanted::default() };
            app::audit::export(&store, wanted).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
