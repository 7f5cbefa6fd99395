//! What is in a space may be made to mislead: names, shells, variables, and very many processes.

use super::{SHELLS, in_time, look_as, looks};

#[test]
fn a_thousand_processes_are_read_in_time() {
    in_time("sleepers 1000", |look| assert!(look.report().is_ok()));
}

#[test]
fn processes_that_come_and_go_meanwhile_do_no_harm() {
    for shell in SHELLS {
        let look = look_as(shell, "sleepers 200; while :; do /bin/true; done &", &[]);
        assert!(look.report().is_ok(), "{shell:?}: {:?}", String::from_utf8_lossy(&look.output));
    }
}

/// Names that programs give themselves, as `printf` writes them, and as they are shown.
const NAMES: [(&str, &str); 10] = [
    (r"a\nend\n", "a end "),
    (r") R 1 2 3 4 5", "? R 1 2 3 4 5"),
    (r"((x)) S", "??x?? S"),
    (r"\033[2J\007", "??2J?"),
    (r"caf\303\251", "caf??"),
    (r"\201\202\210\377x", "????x"),
    ("*", "?"),
    ("$`id`", "??id?"),
    ("tmux: server", "tmux: server"),
    ("python3.11-long-name", "python3.11-long"),
];

#[test]
fn names_of_programs_can_neither_break_lines_nor_forge_them() {
    for names in NAMES.chunks(5) {
        let workers: String = names.iter().map(|(name, _)| format!("worker '{name}'\n")).collect();
        for (shell, look) in looks(&workers) {
            let report = look.report().expect("a report");
            // Some kernels write a line break as a backslash and a letter.
            let mut found: Vec<String> =
                report.programs.into_iter().map(|name| name.replace("a?nend?n", "a end ")).collect();
            let mut shown: Vec<&str> = names.iter().map(|(_, shown)| *shown).collect();
            found.sort();
            shown.sort_unstable();
            assert_eq!(found, shown, "{shell:?}");
        }
    }
}

/// As kernels show them that leave line breaks as they are.
#[test]
fn names_with_line_breaks_cannot_hide_what_a_program_used() {
    let setup = "stat_of '77 (a\\nend\\n1 (b) R) S 1 77 77 0 -1 0 1 2 3 4 70000 0 0 0 20 0 1 0 7 5 6\\n'
                 stat_of '78 (\\n\\n\\n) S 1 77 77 0 -1 0 1 2 3 4 60000 0 0 0 20 0 1 0 7 5 6\\n'";
    for (shell, look) in looks(setup) {
        let programs = look.report().expect("a report").programs;
        assert_eq!(programs[..2], ["a end 1 ?b? R".to_owned(), "   ".to_owned()], "{shell:?}");
    }
}

/// Stand-ins for programs: each leaves a trace if it runs.
const STAND_INS: &str = "mkdir /mnt/fakes
    for name in cat date find getconf kill nvidia-smi printf ps read sleep stat timeout '['; do
        printf '#!/bin/sh\\necho %s >>/mnt/fooled; echo 5\\n' \"$name\" >\"/mnt/fakes/$name\"
        chmod +x \"/mnt/fakes/$name\"
    done
    terminal 0 50
    gpu 'echo 7'
    echo 'alias read=false unset=false printf=false
        date() { echo date >>/mnt/fooled; }; shopt -s expand_aliases' >/mnt/start\n";

/// Where the variables of the space are set to mislead.
const MISLEADING: [(&str, &str); 12] = [
    ("PATH", "/mnt/fakes:."),
    ("IFS", "0123456789 ."),
    ("ENV", "/mnt/start"),
    ("BASH_ENV", "/mnt/start"),
    ("SHELLOPTS", "errexit:noclobber:noglob:nounset"),
    ("BASHOPTS", "failglob:nocasematch"),
    ("LC_ALL", "C.UTF-8"),
    ("TMOUT", "1"),
    ("TZ", "Asia/Kathmandu"),
    ("LD_PRELOAD", "/mnt/none.so"),
    ("CDPATH", "/"),
    ("stat", "5"),
];

#[test]
fn a_space_that_is_set_up_to_mislead_is_read_all_the_same() {
    for shell in SHELLS {
        let look = look_as(shell, STAND_INS, &MISLEADING);
        assert_eq!(look.left, "", "{shell:?}");
        let report = look.report().unwrap_or_else(|failure| {
            panic!("{shell:?}: {failure}: {}", String::from_utf8_lossy(&look.output))
        });
        assert_eq!(report.gpus, [7]);
        assert!(report.pty_age.is_some_and(|age| (50..80).contains(&age.whole_seconds())));
    }
}

#[test]
fn functions_that_a_shell_inherits_stand_in_for_nothing() {
    let stand_in = "() { echo function >>/mnt/fooled; echo 5; }";
    let names = [
        "[",
        "alias",
        "command",
        "date",
        "echo",
        "kill",
        "nvidia-smi",
        "printf",
        "read",
        "shopt",
        "sleep",
        "test",
        "true",
        "unalias",
        "wait",
    ];
    for shell in SHELLS {
        let mut names: Vec<String> = names.iter().map(|name| format!("BASH_FUNC_{name}%%")).collect();
        // As POSIX's shell, bash does not even start with this one.
        if shell == ["bash"] {
            names
                .extend(["unset", "set", "export", "trap", "exit"].map(|name| format!("BASH_FUNC_{name}%%")));
        }
        let variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), stand_in)).collect();
        let look = look_as(shell, STAND_INS, &variables);
        assert_eq!(look.left, "", "{shell:?}");
        assert_eq!(look.report().map(|report| report.gpus), Ok(vec![7]), "{shell:?}");
    }
}

#[test]
fn a_working_directory_that_is_gone_does_no_harm() {
    for (_, look) in looks("mkdir /mnt/gone; cd /mnt/gone; rmdir /mnt/gone") {
        assert!(look.report().is_ok());
    }
}
