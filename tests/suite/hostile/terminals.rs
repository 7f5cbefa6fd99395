//! What reaches terminals, logs and files for spreadsheets.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use russh::keys::load_secret_key;
use serde_json::Value;
use spaceport_tests::client::{Client, Done, run};
use tokio::process::Command;

use super::ear::Caller;
use super::stage::{FAILS, LONG, Stage};
use super::{HOSTILE, is_plain};
use crate::grants::operator;

/// What a spreadsheet takes for the beginning of a formula (OWASP, CSV Injection).
const FORMULA: [char; 8] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// Everything that a client may ask for with words of its own.
async fn asks_for_all_sorts(stage: &Stage) -> Result<()> {
    let caller = stage.call("OpenSSH_9.9", "team").await?;
    for text in HOSTILE {
        let channel = caller.channel().await?;
        channel.request_pty(true, text, 80, 24, 0, 0, &[]).await?;
        channel.set_env(true, text, text).await?;
        channel.set_env(true, "LC_ALL", text).await?;
        channel.request_subsystem(true, text).await?;
        channel.exec(true, "true").await?;
        caller.hear_out(text, channel).await?;
        ensure!(!caller.forward(text).await?, "{text:?} is no host");
        caller.listen(text).await?;
    }
    // Bytes that are no text.
    caller.run(b"true '\xff\x9b2J\xc3\x28'", true).await?;
    Ok(())
}

/// Commands of the gateway's own, with hostile words in each place.
async fn commands(stage: &Stage) -> Result<()> {
    let caller = stage.call("OpenSSH_9.9", "spaceport").await?;
    for pty in [false, true] {
        for text in HOSTILE {
            let quoted = format!("'{}'", text.replace('\'', "'\\''"));
            for command in [
                text.to_owned(),
                format!("status {quoted}"),
                format!("status --json {quoted}"),
                format!("start team {quoted}"),
                format!("stop {quoted} --force"),
                format!("hold {quoted} 1h x"),
                format!("hold team {quoted} x"),
                format!("keys remove {quoted}"),
                format!("config {quoted}"),
            ] {
                let answer = caller.run(command.as_bytes(), pty).await?;
                ensure!(answer.status.is_some(), "{command:?}: {}", answer.out);
            }
            let answer = caller.run(format!("hold team 1h {quoted}").as_bytes(), pty).await?;
            ensure!(answer.status == Some(0), "{text:?}: {}", answer.out);
            for command in ["status team", "status --json team"] {
                let answer = caller.run(command.as_bytes(), pty).await?;
                ensure!(answer.status.is_some_and(|status| status != 1), "{command}: {}", answer.out);
            }
        }
        for command in ["whoami", "keys", "spaces", "config", "help"] {
            let answer = caller.run(command.as_bytes(), pty).await?;
            ensure!(answer.status == Some(0), "{command}: {}", answer.out);
        }
        let answer = caller.run(format!("status {LONG} --json").as_bytes(), pty).await?;
        let report: Value = serde_json::from_str(answer.out.trim())?;
        ensure!(report["owner"] == LONG, "{report}");
    }
    Ok(())
}

/// What AWS says when it refuses. SageMaker's and STS's messages are free text of their models; STS's comes as XML, which
/// cannot carry controls.
async fn words_of_aws(stage: &Stage) -> Result<()> {
    let simulator = &stage.scene.world.account.simulator;
    for (n, text) in HOSTILE.into_iter().enumerate() {
        let in_xml: String = text.chars().filter(|c| !c.is_control()).collect();
        let (operation, error, words) = match n % 4 {
            0 => ("StartSession", "ValidationException", text),
            1 => ("AssumeRole", "AccessDenied", &*in_xml),
            2 => ("StartSession", "ResourceLimitExceeded", text),
            _ => ("StartSession", "AccessDeniedException", text),
        };
        simulator.fail_next_with(operation, error, words, 100);
        let caller = stage.call("OpenSSH_9.9", &LONG.to_lowercase()).await?;
        let answer = caller.run(b"true", n % 2 == 0).await?;
        ensure!(answer.status != Some(0), "{operation} {error}: {}", answer.out);
        simulator.clear_faults();
    }
    let caller = stage.call("OpenSSH_9.9", FAILS).await?;
    for pty in [false, true] {
        let answer = caller.run(b"true", pty).await?;
        ensure!(answer.out.contains("AWS says"), "{}", answer.out);
    }
    Ok(())
}

/// Certificates with hostile names in them, of an authority that the gateway trusts.
async fn certificates(stage: &Stage) -> Result<()> {
    let laptop = Client::new(&stage.scene.world.folder().join("certified")).await?;
    let key = Arc::new(load_secret_key(laptop.key(), None)?);
    for text in HOSTILE {
        // Arguments end at NUL, and commas part principals.
        let name = text.replace(['\0', ','], " ");
        // Somebody is called like the long word.
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric());
        for (principals, lets_in) in [(&*name, is_name), ("anna@example.com", true)] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.arg("-q").arg("-s").arg(stage.authority.key()).args(["-I", &name, "-n", principals]);
            keygen.arg(format!("{}.pub", laptop.key().display()));
            run(keygen, &[]).await?.well()?;
            let certificate = std::fs::read_to_string(format!("{}-cert.pub", laptop.key().display()))?;
            let mut caller =
                Caller::connect(stage.scene.world.gateway.ssh, "OpenSSH_9.9", &stage.heard).await?;
            let is_in = caller.certify("spaceport", &key, &certificate).await?;
            ensure!(is_in == lets_in, "{name:?} for {principals:?}");
            if is_in {
                caller.run(b"whoami", false).await?;
            }
        }
    }
    Ok(())
}

fn done_is_plain(what: &str, done: &Done) -> Result<()> {
    is_plain(what, &done.stdout)?;
    is_plain(what, done.stderr.as_bytes())
}

/// What operators read.
async fn operators(stage: &Stage) -> Result<()> {
    let world = &stage.scene.world;
    let caller = stage.call("<script>\u{1b}[31m\u{9b}2J\u{202e}", "team").await?;
    let live = caller.channel().await?;
    live.exec(true, "sleep 1000").await?;
    world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "1").await?;
    for list in ["key", "grant", "session", "user"] {
        for form in [&[list, "list"][..], &[list, "list", "--json"]] {
            let done = operator(world, form).await?.well()?;
            done_is_plain(&format!("{form:?}"), &done)?;
            let texts = done.text();
            ensure!(texts.lines().count() >= 4 - form.len(), "{form:?}: {texts}");
            if form.len() == 3 {
                texts.lines().try_for_each(|line| serde_json::from_str::<Value>(line).map(drop))?;
            }
        }
    }
    for by in ["user", "space", "team", "day"] {
        for form in
            [&["cost", "--by", by][..], &["cost", "--by", by, "--csv"], &["cost", "--by", by, "--json"]]
        {
            let done = operator(world, form).await?.well()?;
            done_is_plain(&format!("{form:?}"), &done)?;
        }
    }
    for text in HOSTILE {
        let text = text.replace('\0', "");
        for command in [
            &["explain", "--user", &text, "--space", &text][..],
            &["user", "suspend", &text, "--reason", &text, "--by", "dana"],
            &["key", "revoke", &text, "--by", "dana"],
            &["grant", "end", &text, "--by", &text],
            &["session", "message", &text, &text, "--by", "dana"],
            &["session", "end", &text, "--by", "dana", "--reason", &text],
        ] {
            let done = operator(world, command).await?;
            ensure!(!done.stdout.is_empty() || !done.stderr.is_empty(), "{command:?} is answered");
            done_is_plain(&format!("{command:?}"), &done)?;
        }
    }
    let log = operator(world, &["audit", "export"]).await?.well()?;
    done_is_plain("the audit log", &log)?;
    let kinds: Vec<Value> = log.text().lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    for kind in ["key.added", "grant.added", "login.refused", "user.suspended"] {
        ensure!(kinds.iter().any(|row| row["kind"] == kind), "no {kind} among {} rows", kinds.len());
    }
    Ok(())
}

/// The cells of comma-separated values (RFC 4180).
fn cells(csv: &str) -> Vec<String> {
    let (mut all, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    for c in csv.chars() {
        match c {
            '"' => {
                // A quote in quotes is written twice: it ends them and begins them anew.
                if !quoted && cell.ends_with('\u{1}') {
                    cell.pop();
                    cell.push('"');
                }
                quoted = !quoted;
                if !quoted {
                    cell.push('\u{1}');
                }
            }
            ',' | '\r' | '\n' if !quoted => all.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    all.into_iter().map(|cell| cell.replace('\u{1}', "")).collect()
}

/// Files for spreadsheets hold no formula, wherever a spreadsheet parts their lines.
async fn spreadsheets(stage: &Stage) -> Result<()> {
    let mut formulas = 0;
    for path in [
        "/audit.csv",
        "/sessions/history.csv",
        "/cost.csv?by=user",
        "/cost.csv?by=space",
        "/cost.csv?by=team",
    ] {
        let file = stage.ada.get(&stage.scene.page(path)).await?.is(200)?;
        is_plain(path, file.body.as_bytes())?;
        for cell in cells(&file.body) {
            formulas += usize::from(cell.contains("=HYPERLINK"));
            for part in cell.split([';', '\t', '\r', '\n']) {
                let first = part.trim_start_matches([' ', '"']);
                let number = first.strip_prefix('-').is_some_and(|rest| rest.parse::<f64>().is_ok());
                ensure!(number || !first.starts_with(FORMULA), "{path} has the formula {part:?} in {cell:?}");
            }
        }
    }
    for path in ["/audit.jsonl", "/sessions/history.jsonl"] {
        let file = stage.ada.get(&stage.scene.page(path)).await?.is(200)?;
        is_plain(path, file.body.as_bytes())?;
        file.body.lines().try_for_each(|line| serde_json::from_str::<Value>(line).map(drop))?;
    }
    ensure!(formulas > 3, "the texts are in the files: {formulas}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn terminals_logs_and_spreadsheets_get_nothing_that_they_obey() -> Result<()> {
    let stage = Stage::new().await?;
    stage.fill().await?;
    asks_for_all_sorts(&stage).await.context("requests")?;
    words_of_aws(&stage).await.context("words of AWS")?;
    certificates(&stage).await.context("certificates")?;
    operators(&stage).await.context("operators")?;
    spreadsheets(&stage).await.context("files for spreadsheets")?;
    // Last, since keys are removed by their names.
    commands(&stage).await.context("commands")?;
    let pieces = stage.heard.are_plain()?;
    ensure!(pieces > 500, "{pieces} pieces were heard");
    let log = std::fs::read(stage.scene.world.folder().join("gateway.log"))?;
    is_plain("the log", &log)?;
    let log = String::from_utf8(log)?;
    ensure!(!log.contains(['\r', '\t']), "no line of it is made up");
    log.lines()
        .try_for_each(|line| serde_json::from_str::<Value>(line).map(drop))
        .context("lines of JSON")?;
    ensure!(log.contains("HYPERLINK") && log.contains("evil.example"), "the texts are in the log");
    Ok(())
}
