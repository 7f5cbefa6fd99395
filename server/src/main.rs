//! The command line: `serve`, `check`, and `session`, `grant`, `user`, `key`, `explain`, `cost`, `simulate-policy`,
//! `audit`, `certificate` and `notify` for operators.

mod arguments;

use std::process::ExitCode;

use clap::Parser as _;
use spaceport::app;
use spaceport::app::cost::{Asked, Form};
use spaceport::app::explain::Answer;
use spaceport::config::{ConfigError, ConfigSource};
use spaceport::domain::access::Action;
use spaceport::domain::plain;
use spaceport::store::chain::export::Wanted;

use self::arguments::{
    Arguments, AuditCommand, CertificateCommand, Command, Costs, GrantCommand, KeyCommand, NotifyCommand,
    SessionCommand, Simulation, UserCommand,
};

/// What `explain` exits with when there is no answer: 1 is a denial.
const NO_ANSWER: u8 = 2;
/// `EX_CONFIG` of sysexits(3): the configuration is at fault.
const EX_CONFIG: u8 = 78;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("spaceport: {}", plain::lines(&format!("{error:#}")));
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
                SessionCommand::Message { id, text, operator } => {
                    return Ok(done(app::sessions::message(&store, &id, &operator.by, &text).await?));
                }
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
            eprintln!("spaceport: {}", plain::lines(&format!("{error:#}")));
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
