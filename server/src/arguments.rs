//! What the command line takes.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use spaceport::app;
use spaceport::app::cost::By;
use spaceport::domain::access::Action;
use spaceport::domain::chain::Head;
use spaceport::domain::grant::{Reason, Term};
use spaceport::domain::ids::{DomainAlias, SpaceName};
use time::{Date, OffsetDateTime};

/// A team-hosted SSH gateway to Amazon SageMaker Studio spaces.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The configuration file.
    #[arg(long, global = true, env = "SPACEPORT_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
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
pub(crate) enum NotifyCommand {
    /// Send a test through every channel, mail to the admins; exits 1 if one was not taken.
    Test,
}

#[derive(clap::Args)]
pub(crate) struct Costs {
    /// The first day, of the configured time zone; that of the month if nothing is said.
    #[arg(long, value_name = "DAY", value_parser = app::cost::day)]
    pub(crate) from: Option<Date>,
    /// The last day; today if nothing is said.
    #[arg(long, value_name = "DAY", value_parser = app::cost::day)]
    pub(crate) to: Option<Date>,
    /// What lines stand for: day, user, space, team.
    #[arg(long, default_value = "day")]
    pub(crate) by: By,
    /// Comma-separated values, amounts to a billionth of a dollar.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Simulation {
    /// A file with `[idle]` and `[[idle.policies]]`; the configured policies if nothing is said.
    #[arg(long, value_name = "FILE")]
    pub(crate) policies: Option<PathBuf>,
    /// How far back: 12h, 30d; 30d if nothing is said, and all that is in a file.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Term>,
    /// Spaces of this domain only.
    #[arg(long)]
    pub(crate) domain: Option<DomainAlias>,
    /// Spaces of this name only.
    #[arg(long)]
    pub(crate) space: Option<SpaceName>,
    /// Looks of a file that --export wrote, instead of the database's.
    #[arg(long, value_name = "FILE", conflicts_with = "export")]
    pub(crate) from_file: Option<PathBuf>,
    /// Write the looks to a new file, one JSON object a line, instead of trying policies on them.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "policies"])]
    pub(crate) export: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum CertificateCommand {
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
pub(crate) enum SessionCommand {
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
    /// Write to the open terminals of a live session.
    Message {
        /// Its id, or the last digits of it as the list shows them.
        id: String,
        /// What they show, after your name: at most 500 characters.
        text: String,
        #[command(flatten)]
        operator: Operator,
    },
}

#[derive(Subcommand)]
pub(crate) enum GrantCommand {
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
pub(crate) enum UserCommand {
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
pub(crate) enum KeyCommand {
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
pub(crate) struct Operator {
    /// Who does it, for the audit log and whoever it is about.
    #[arg(long, env = "USER", default_value = "operator")]
    pub(crate) by: String,
}

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
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
