//! The script that looks inside spaces, run by each shell that may be a space's `/bin/sh`, in namespaces that are the
//! space. It needs the right to make them, as root has.

mod hostile;
mod signs;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use spaceport::domain::probe::{LONGEST_OUTPUT, ProbeFailure, Report, SCRIPT, read};

/// Every shell that may read the script, with the arguments before `-s`.
const SHELLS: [&[&str]; 4] = [&["dash"], &["busybox", "sh"], &["bash", "--posix"], &["bash"]];

/// What one run of the script left.
struct Look {
    output: Vec<u8>,
    took_s: f64,
    /// Processes and files that were not there before, and whether a stand-in for a program ran.
    left: String,
}

impl Look {
    fn report(&self) -> Result<Report, ProbeFailure> {
        read(&self.output)
    }
}

/// The path of a program. A test that lacks one fails.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: run deploy/needs test"))
}

/// Runs the script in a space that `setup` furnishes, with exactly these variables.
fn look_as(shell: &[&str], setup: &str, variables: &[(&str, &str)]) -> Look {
    let folder = tempfile::tempdir().expect("a folder");
    let within = |name: &str| folder.path().join(name);
    fs::write(within("script"), SCRIPT).expect("the script is written");
    fs::write(within("setup"), setup).expect("the setup is written");
    let mut command = Command::new(program("unshare"));
    command.args(["--mount", "--pid", "--ipc", "--fork", "--kill-child"]);
    if is_not_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["/bin/sh", concat!(env!("CARGO_MANIFEST_DIR"), "/suite/probe/frame.sh")]);
    command.arg(folder.path()).args(["/usr/bin/env", "-i"]);
    command.args(variables.iter().map(|(name, value)| format!("{name}={value}")));
    command.arg(program(shell[0])).args(&shell[1..]).arg("-s");
    let done = command.output().expect("unshare runs");
    let says = String::from_utf8_lossy(&done.stderr).into_owned();
    let text = |name: &str| fs::read_to_string(within(name)).unwrap_or_default();
    let took = text("took");
    let (began, ended) = took.trim().split_once(' ').unwrap_or_else(|| panic!("no run: {says}"));
    let seconds = |text: &str| text.parse::<f64>().expect("seconds");
    Look {
        output: fs::read(within("out")).expect("an output"),
        took_s: seconds(ended) - seconds(began),
        left: text("left") + &text("fooled"),
    }
}

fn is_not_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout != b"0\n"
}

/// Looks with every shell, with nothing in the environment; none of them may leave anything.
fn looks(setup: &str) -> Vec<(&'static [&'static str], Look)> {
    SHELLS
        .into_iter()
        .map(|shell| {
            let look = look_as(shell, setup, &[]);
            assert_eq!(look.left, "", "{shell:?} left something");
            assert!(look.output.len() < LONGEST_OUTPUT);
            (shell, look)
        })
        .collect()
}

/// What every shell reports alike.
fn reports(setup: &str) -> Vec<Result<Report, ProbeFailure>> {
    looks(setup).into_iter().map(|(_, look)| look.report()).collect()
}

/// Looks with every shell, which must be done within two seconds. Three tries are for a machine that is busy otherwise.
fn in_time(setup: &str, check: impl Fn(&Look)) {
    for shell in SHELLS {
        let in_time = (0..3).any(|_| {
            let look = look_as(shell, setup, &[]);
            assert_eq!(look.left, "", "{shell:?} left something");
            check(&look);
            look.took_s < 2.0
        });
        assert!(in_time, "{shell:?} took more than two seconds");
    }
}
