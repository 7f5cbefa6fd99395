//! How a start looks to whoever waits: one line that is rewritten on a terminal, a line for each step elsewhere.

use std::time::Duration;

use super::messages;
use crate::domain::space::SpaceState;
use crate::domain::start::StartStep;
use crate::gateway::Progress;

/// Columns of the bar.
const BAR: u64 = 20;
/// How long a start usually takes, in seconds (SageMaker Studio, JupyterLab).
const USUAL_S: u64 = 120;
/// Steps that the bar counts.
const STEPS: usize = 4;
/// What a rewritten line is filled up to, so that nothing of the one before stays.
const WIDTH: usize = 79;

/// What one waiting channel has been shown.
pub(super) struct View {
    space: String,
    newline: &'static str,
    rewrites: bool,
    shown: Option<Shown>,
}

struct Shown {
    since: Duration,
    step: StartStep,
    line_open: bool,
}

impl View {
    /// For a channel that has a terminal, or none; a dumb one cannot rewrite a line.
    pub(super) fn new(space: &str, pty: bool, dumb: bool) -> Self {
        let newline = if pty { "\r\n" } else { "\n" };
        Self { space: space.to_owned(), newline, rewrites: pty && !dumb, shown: None }
    }

    /// Whether anything has been shown, so that Ctrl-C means the wait.
    pub(super) const fn is_shown(&self) -> bool {
        self.shown.is_some()
    }

    /// What to write when the start has got further.
    pub(super) fn update(&mut self, progress: &Progress, now: Duration) -> String {
        let mut out = String::new();
        if self.shown.is_none() {
            let quick = progress.from == SpaceState::Running && progress.step != StartStep::Registering;
            if quick || progress.step == StartStep::Connected {
                return out;
            }
            out = messages::starting(&self.space, progress).render(self.newline);
        }
        let is_news = self.shown.as_ref().is_none_or(|shown| shown.step != progress.step);
        let line_open = self.shown.as_ref().is_some_and(|shown| shown.line_open);
        self.shown = Some(Shown { since: progress.since, step: progress.step.clone(), line_open });
        match self.rewrites {
            true => out.push_str(&self.tick(now)),
            false if is_news => out.push_str(&self.step(now)),
            false => {}
        }
        out
    }

    /// What to write each second: the line again, on a terminal.
    pub(super) fn tick(&mut self, now: Duration) -> String {
        let Some(shown) = self.shown.as_mut().filter(|_| self.rewrites) else { return String::new() };
        let seconds = now.saturating_sub(shown.since).as_secs();
        let filled = (seconds * BAR / USUAL_S).min(BAR - 1);
        let bar: String = (0..BAR).map(|at| bar_char(at, filled)).collect();
        let step = messages::step(&shown.step);
        let line = format!("  [{bar}]  {}  {step}, step {} of {STEPS}", clock(seconds), number(&shown.step));
        shown.line_open = true;
        format!("\r{line:<WIDTH$}")
    }

    /// What to write at the end of the wait, before anything else; on success with how long it took.
    pub(super) fn finish(&mut self, success: bool, now: Duration) -> String {
        let Some(shown) = self.shown.take() else { return String::new() };
        let seconds = now.saturating_sub(shown.since).as_secs();
        let mut out = match shown.line_open {
            true => format!("\r{:<WIDTH$}\r", ""),
            false => String::new(),
        };
        match (success, self.rewrites) {
            (true, true) => out.push_str(&messages::is_up(&self.space, seconds).render(self.newline)),
            (true, false) if shown.step != StartStep::Connected => {
                out.push_str(&self.line(seconds, &StartStep::Connected));
            }
            _ => {}
        }
        out
    }

    fn step(&self, now: Duration) -> String {
        self.shown.as_ref().map_or_else(String::new, |shown| {
            self.line(now.saturating_sub(shown.since).as_secs(), &shown.step)
        })
    }

    fn line(&self, seconds: u64, step: &StartStep) -> String {
        format!("  {}  {}{}", clock(seconds), messages::step(step), self.newline)
    }
}

const fn bar_char(at: u64, filled: u64) -> char {
    if at < filled {
        '='
    } else if at == filled {
        '>'
    } else {
        ' '
    }
}

/// `1:41`.
fn clock(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

const fn number(step: &StartStep) -> usize {
    match step {
        StartStep::Requested => 1,
        StartStep::Pending => 2,
        StartStep::InService | StartStep::Registering => 3,
        StartStep::Connected => STEPS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(step: StartStep) -> Progress {
        let from = SpaceState::Stopped;
        let instance_type = Some("ml.m5.2xlarge".to_owned());
        Progress { from, instance_type, step, since: Duration::from_secs(1_000) }
    }
    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000 + seconds)
    }

    #[test]
    fn without_a_terminal_each_step_is_a_line() {
        let mut view = View::new("churn-eda", false, false);
        let mut out = view.update(&progress(StartStep::Requested), at(2));
        out += &view.tick(at(3));
        out += &view.update(&progress(StartStep::Pending), at(34));
        out += &view.update(&progress(StartStep::Pending), at(40));
        out += &view.update(&progress(StartStep::InService), at(101));
        out += &view.finish(true, at(109));
        assert_eq!(
            out,
            "spaceport: churn-eda is stopped. Starting it.\n\
             \x20 ml.m5.2xlarge, usually 2 min. Ctrl-C ends the wait only.\n\
             \x20 0:02  asked AWS for the app\n\
             \x20 0:34  waiting for an instance\n\
             \x20 1:41  app in service\n\
             \x20 1:49  connected\n"
        );
    }

    #[test]
    fn on_a_terminal_one_line_is_rewritten() {
        let mut view = View::new("churn-eda", true, false);
        let first = view.update(&progress(StartStep::Pending), at(34));
        let line = first.rsplit("\r\n").next().unwrap_or_default();
        assert_eq!(line.trim_end(), "\r  [=====>              ]  0:34  waiting for an instance, step 2 of 4");
        assert_eq!(line.len(), 80, "a carriage return and the line, filled up");
        assert!(view.tick(at(600)).contains("[===================>]"));
        assert_eq!(
            view.finish(true, at(109)),
            format!("\r{:79}\rspaceport: churn-eda is up after 1 min 49 s.\r\n", "")
        );
    }

    #[test]
    fn a_failed_start_leaves_the_line_free_for_its_reason() {
        let mut view = View::new("churn-eda", true, false);
        view.update(&progress(StartStep::Pending), at(34));
        assert_eq!(view.finish(false, at(35)), format!("\r{:79}\r", ""));
    }

    #[test]
    fn a_dumb_terminal_gets_lines_that_start_at_the_left() {
        let mut view = View::new("churn-eda", true, true);
        let out = view.update(&progress(StartStep::Requested), at(2));
        assert!(out.ends_with("  0:02  asked AWS for the app\r\n"), "{out:?}");
        assert_eq!(view.tick(at(3)), "");
    }

    #[test]
    fn a_running_space_opens_without_a_word() {
        let mut view = View::new("churn-eda", true, false);
        let up = |step| Progress { from: SpaceState::Running, ..progress(step) };
        assert_eq!(view.update(&up(StartStep::InService), at(1)), "");
        assert_eq!(view.update(&up(StartStep::Connected), at(2)), "");
        assert_eq!(view.finish(true, at(2)), "");
        assert!(!view.is_shown());
        assert!(
            view.update(&up(StartStep::Registering), at(2))
                .contains("its agent is not ready yet".trim_start_matches("its"))
        );
    }
}
