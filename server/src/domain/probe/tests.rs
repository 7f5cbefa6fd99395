//! Whatever comes out of a space, what is made of it is within bounds, and each failure has its words.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::domain::idle::{CpuSource, CpuUse, NoLook};

const NOW: OffsetDateTime = datetime!(2026-11-25 14:09 UTC);

/// What the script prints.
const WELL: &str = "spaceport-probe 1\nclock 1764079740\nuptime 86400.25\ncpu cgroup2 1234500000\npty 45\n\
                    program python3\nprogram tmux: server\ngpu 3 97\nend\n";

/// A report as the script prints it.
fn printed(report: &Report) -> String {
    let CpuUse { source, used_s, up_s } = report.cpu;
    let cpu = match source {
        CpuSource::Cgroup2 => format!("cgroup2 {:.0}", used_s * 1e6),
        CpuSource::Cgroup1 => format!("cgroup1 {:.0}", used_s * 1e9),
        CpuSource::Processes(busy) => format!("processes {:.0} {busy}", used_s * 100.0),
    };
    let pty = report.pty_age.map_or_else(|| "none".to_owned(), |age| age.whole_seconds().to_string());
    let gpus: Vec<String> = report.gpus.iter().map(u8::to_string).collect();
    let gpu = if gpus.is_empty() { "none".to_owned() } else { gpus.join(" ") };
    let programs: String = report.programs.iter().map(|name| format!("program {name}\n")).collect();
    let clock = report.clock.unix_timestamp();
    format!(
        "spaceport-probe 1\nclock {clock}\nuptime {up_s:.2}\ncpu {cpu}\npty {pty}\n{programs}gpu {gpu}\nend\n"
    )
}

fn well_with(from: &str, to: &str) -> Result<Report, ProbeFailure> {
    assert!(WELL.contains(from), "{from}");
    read(WELL.replacen(from, to, 1).as_bytes())
}

#[test]
fn a_report_is_read() {
    let report = read(WELL.as_bytes()).unwrap();
    assert_eq!(report.clock, datetime!(2025-11-25 14:09 UTC));
    assert_eq!(report.cpu, CpuUse { source: CpuSource::Cgroup2, used_s: 1234.5, up_s: 86_400.25 });
    assert_eq!(report.pty_age, Some(Duration::seconds(45)));
    assert_eq!(report.gpus, [3, 97]);
    assert_eq!(report.programs, ["python3", "tmux: server"]);
    assert_eq!(printed(&report), WELL);
}

#[test]
fn each_source_of_cpu_time_has_its_unit() {
    let cpu = |line: &str| well_with("cgroup2 1234500000", line).unwrap().cpu;
    assert_eq!(
        cpu("cgroup1 1234500000000"),
        CpuUse { source: CpuSource::Cgroup1, used_s: 1234.5, up_s: 86_400.25 }
    );
    let processes = CpuUse { source: CpuSource::Processes(77), used_s: 1234.5, up_s: 86_400.25 };
    assert_eq!(cpu("processes 123450 77"), processes);
}

#[test]
fn each_failure_that_the_script_names_has_its_words() {
    let failures = [
        ("clock 1764079740", "clock failed", ProbeFailure::Clock),
        ("uptime 86400.25", "uptime failed", ProbeFailure::Uptime),
        ("cpu cgroup2 1234500000", "cpu failed", ProbeFailure::Cpu),
        ("pty 45", "pty failed", ProbeFailure::Pty),
        ("gpu 3 97", "gpu failed missing", ProbeFailure::NvidiaMissing),
        ("gpu 3 97", "gpu failed late", ProbeFailure::NvidiaLate),
        ("gpu 3 97", "gpu failed exit", ProbeFailure::NvidiaFailed),
        ("gpu 3 97", "gpu failed nonsense", ProbeFailure::NvidiaNonsense),
        ("gpu 3 97", "gpu failed other", ProbeFailure::OtherAccelerator),
    ];
    let mut words = Vec::new();
    for (line, failed, failure) in failures {
        assert_eq!(well_with(line, failed), Err(failure), "{failed}");
        words.push(NoLook::from(failure));
    }
    assert!(words.iter().all(|no_look| !no_look.not_set_up && no_look.why.len() < 70));
    words.sort_by(|one, other| one.why.cmp(&other.why));
    words.dedup();
    assert_eq!(words.len(), failures.len(), "no two failures have the same words");
    assert_eq!(NoLook::from(ProbeFailure::NvidiaLate).why, "nvidia-smi did not answer");
}

#[test]
fn what_did_not_arrive_whole_says_so() {
    assert_eq!(read(b""), Err(ProbeFailure::Silent));
    for end in 1..WELL.len() {
        assert_eq!(read(&WELL.as_bytes()[..end]), Err(ProbeFailure::CutOff), "{end}");
    }
    let endless = format!("{WELL}{}", "x".repeat(LONGEST_OUTPUT));
    assert_eq!(read(endless.as_bytes()), Err(ProbeFailure::TooLong));
    assert_eq!(read(format!("Welcome!\n\u{1b}[1mhi\n{WELL}").as_bytes()), Err(ProbeFailure::Preceded));
    assert_eq!(read(b"sh: not found\n"), Err(ProbeFailure::Nonsense));
    assert_eq!(read(WELL.replace("probe 1", "probe 2").as_bytes()), Err(ProbeFailure::Nonsense));
    assert_eq!(read(format!("{WELL}logout\n").as_bytes()), Err(ProbeFailure::Nonsense));
}

#[test]
fn what_the_script_never_prints_is_refused() {
    let never = [
        ("clock 1764079740", "clock -5"),
        ("clock 1764079740", "clock 01764079740"),
        ("clock 1764079740", "clock 999999999999999999"),
        ("clock 1764079740", "clock"),
        ("uptime 86400.25", "uptime 86400"),
        ("uptime 86400.25", "uptime 1e9.5"),
        ("uptime 86400.25", "uptime inf"),
        ("uptime 86400.25", "uptime 86400.25 7.5"),
        ("uptime 86400.25", "uptime 99999999999.25"),
        ("uptime 86400.25", "uptime 1."),
        ("cpu cgroup2 1234500000", "cpu cgroup2"),
        ("cpu cgroup2 1234500000", "cpu cgroup2 -1"),
        ("cpu cgroup2 1234500000", "cpu cgroup2 1234500000 1"),
        ("cpu cgroup2 1234500000", "cpu cgroup3 1234500000"),
        ("cpu cgroup2 1234500000", "cpu cgroup2 99999999999999999999"),
        ("cpu cgroup2 1234500000", "cpu processes 999999999999999999 1"),
        ("cpu cgroup2 1234500000", "cpu processes 5"),
        ("cpu cgroup2 1234500000", "cpu processes 5 99999999999"),
        ("pty 45", "pty -45"),
        ("pty 45", "pty 4.5"),
        ("pty 45", "pty 99999999999"),
        ("pty 45", "pty  45"),
        ("gpu 3 97", "gpu 3 101"),
        ("gpu 3 97", "gpu 3  97"),
        ("gpu 3 97", "gpu 3 [N/A]"),
        ("gpu 3 97", "gpu failed"),
        ("program python3", "program "),
        ("program python3", "program sixteen-letters-"),
        ("program python3", "program \u{1b}[2J"),
        ("program python3", "program <b>"),
        ("program python3", "program caf\u{e9}"),
        ("program python3\n", "program python3\nend\n"),
        ("program python3\n", "program python3\n\n"),
        ("program python3\n", "program python3\r\n"),
        ("program python3\n", "load 5\n"),
        ("program python3\n", "program a\nprogram b\nprogram c\nprogram d\nprogram e\n"),
    ];
    for (line, wrong) in never {
        assert_eq!(well_with(line, wrong), Err(ProbeFailure::Nonsense), "{wrong:?}");
    }
    let gpus = |number: usize| well_with("gpu 3 97", &format!("gpu{}", " 7".repeat(number)));
    assert!(gpus(64).is_ok());
    assert_eq!(gpus(65), Err(ProbeFailure::Nonsense));
}

#[test]
fn kernels_and_terminals_are_read_as_jupyter_server_lists_them() {
    let list = br#"[
        {"id": "a", "name": "python3", "last_activity": "2026-11-25T14:00:05.123456Z", "execution_state": "idle", "connections": 1},
        {"id": "b", "name": "python3", "last_activity": "2026-11-25T13:00:00Z", "execution_state": "busy", "connections": 0, "reason": ""},
        {"id": "c", "name": "ir", "last_activity": "", "execution_state": "starting", "connections": 0},
        {"id": "d", "name": "ir", "execution_state": "dead"},
        {"id": "e", "name": "ir", "last_activity": null}]"#;
    let newest = Some(datetime!(2026-11-25 14:00:05.123456 UTC));
    assert_eq!(kernels(list), Ok(Kernels { open: 5, busy: 2, newest }));
    assert_eq!(kernels(b"[]"), Ok(Kernels::default()));
    let list = br#"[{"name": "1", "last_activity": "2026-11-25T12:00:00.5Z"}, {"name": "2", "last_activity": ""}, {"name": "3"}]"#;
    assert_eq!(terminals(list), Ok(Terminals { newest: Some(datetime!(2026-11-25 12:00:00.5 UTC)) }));
}

#[test]
fn only_a_kernel_at_rest_is_not_busy() {
    let busy = |state: &str| {
        kernels(format!(r#"[{{"id": "a", "execution_state": "{state}"}}]"#).as_bytes()).unwrap().busy
    };
    assert_eq!((busy("idle"), busy("dead"), busy("starting")), (0, 0, 0));
    for state in ["busy", "restarting", "autorestarting", "terminating", "unknown", "dreaming", ""] {
        assert_eq!(busy(state), 1, "{state}");
    }
}

#[test]
fn what_jupyter_server_never_answers_is_refused() {
    let lists: [&[u8]; 7] = [
        b"",
        b"<html>Sign in</html>",
        br#"{"message": "Forbidden"}"#,
        b"[1]",
        b"[{}]",
        br#"[{"id": "a", "name": "a", "last_activity": "yesterday"}]"#,
        br#"[{"id": "a", "name": "a", "last_activity": 5}]"#,
    ];
    for list in lists {
        assert_eq!(kernels(list), Err(ProbeFailure::Kernels));
        assert_eq!(terminals(list), Err(ProbeFailure::Terminals));
    }
    let endless = format!("[{}]", " ".repeat(LONGEST_LIST));
    assert_eq!(kernels(endless.as_bytes()), Err(ProbeFailure::Kernels));
    assert_eq!(terminals("[".repeat(LONGEST_LIST).as_bytes()), Err(ProbeFailure::Terminals));
}

#[test]
fn times_are_judged_by_age_whatever_the_clock_of_the_space() {
    // The space's clock is a year behind. Its kernel spoke 5 minutes ago, its terminal will speak in an hour.
    let report = read(WELL.as_bytes()).unwrap();
    let jupyter = Jupyter {
        kernels: Kernels { open: 3, busy: 1, newest: Some(report.clock - Duration::minutes(5)) },
        terminals: Terminals { newest: Some(report.clock + Duration::hours(1)) },
    };
    let inside = inside(report.clone(), Some(jupyter), NOW);
    let at = |sign| inside.signs.iter().find(|seen| seen.sign == sign).map(|seen| seen.at);
    assert_eq!(at(Sign::Pty), Some(NOW - Duration::seconds(45)));
    assert_eq!(at(Sign::Kernel), Some(NOW - Duration::minutes(5)));
    assert_eq!(at(Sign::JupyterTerminal), Some(NOW));
    assert_eq!(inside.kernels, Some((3, 1)));
    assert_eq!(inside.cpu, Some(report.cpu));
    assert_eq!(inside.gpu_percent, Some(97.0));
    assert_eq!(inside.programs, ["python3", "tmux: server"]);
}

#[test]
fn a_space_without_terminals_gpus_or_a_jupyter_server_has_none_of_their_signs() {
    let quiet = "spaceport-probe 1\nclock 1\nuptime 0.00\ncpu cgroup2 0\npty none\ngpu none\nend\n";
    let inside = inside(read(quiet.as_bytes()).unwrap(), None, NOW);
    assert_eq!((inside.kernels, inside.gpu_percent), (None, None));
    assert!(inside.signs.is_empty() && inside.programs.is_empty());
}

#[test]
fn a_program_is_named_once() {
    let workers = well_with("program python3\n", "program b\nprogram a\nprogram b\nprogram a\n").unwrap();
    assert_eq!(inside(workers, None, NOW).programs, ["b", "a", "tmux: server"]);
}

fn any_report() -> impl Strategy<Value = Report> {
    let source = prop_oneof![
        Just(CpuSource::Cgroup2),
        Just(CpuSource::Cgroup1),
        any::<u32>().prop_map(CpuSource::Processes)
    ];
    // Exact in each unit and in the two places of the uptime.
    let cpu = (source, 0_u32..400_000_000, 0_u32..400_000_000).prop_map(|(source, used, up)| CpuUse {
        source,
        used_s: f64::from(used) / 4.0,
        up_s: f64::from(up) / 4.0,
    });
    let clock =
        (0_i64..253_402_300_800).prop_map(|epoch| OffsetDateTime::from_unix_timestamp(epoch).unwrap());
    let age = option::of((0_i64..3_153_600_000).prop_map(Duration::seconds));
    let programs = vec("[A-Za-z0-9._:+@/ ?-]{1,15}", 0..=5);
    (clock, cpu, age, vec(0_u8..=100, 0..=64), programs)
        .prop_map(|(clock, cpu, pty_age, gpus, programs)| Report { clock, cpu, pty_age, gpus, programs })
}

/// Text that is near the format, so that more than the first line of the parser is reached.
fn near() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("clock "),
        Just("uptime "),
        Just("cpu "),
        Just("pty "),
        Just("gpu "),
        Just("program "),
        Just("end"),
        Just("")
    ];
    let value = prop_oneof![
        "[0-9]{0,20}",
        "[0-9]{0,20}\\.[0-9]{0,20}",
        "(cgroup[12]|processes) [0-9]{0,20}",
        "failed( [a-z]{0,8})?",
        "none",
        "([0-9]{1,3} ){0,5}[0-9]{1,3}",
        "\\PC{0,20}",
        "[ -~\\x00-\\x1f]{0,20}"
    ];
    (key, value).prop_map(|(key, value)| format!("{key}{value}"))
}

/// Whether nothing in it is beyond what was measured or may be shown.
fn within_bounds(report: &Report) -> bool {
    let plain = |name: &String| {
        (1..=15).contains(&name.len())
            && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !b"<>&\"'\\`$".contains(&byte))
    };
    report.cpu.used_s >= 0.0
        && report.cpu.used_s.is_finite()
        && (0.0..4e9).contains(&report.cpu.up_s)
        && report.pty_age.is_none_or(|age| !age.is_negative())
        && report.gpus.len() <= 64
        && report.gpus.iter().all(|percent| *percent <= 100)
        && report.programs.len() <= 5
        && report.programs.iter().all(plain)
}

proptest! {
    #[test]
    fn any_report_that_is_printed_is_read_as_it_was(report in any_report()) {
        let text = printed(&report);
        prop_assert!(text.len() < LONGEST_OUTPUT);
        prop_assert_eq!(read(text.as_bytes()), Ok(report));
    }

    #[test]
    fn any_bytes_are_refused_or_within_bounds(bytes in vec(any::<u8>(), 0..300), headed in any::<bool>()) {
        let bytes = if headed { [b"spaceport-probe 1\n", bytes.as_slice(), b"\nend\n"].concat() } else { bytes };
        if let Ok(report) = read(&bytes) {
            prop_assert!(within_bounds(&report));
        }
        let _ = (kernels(&bytes), terminals(&bytes));
    }

    #[test]
    fn a_line_that_is_lost_doubled_or_another_is_refused_or_harmless(
        report in any_report(),
        at in any::<prop::sample::Index>(),
        other in near(),
        how in 0..3,
    ) {
        let text = printed(&report);
        let mut lines: Vec<&str> = text.lines().collect();
        let at = at.index(lines.len());
        let program = lines[at].starts_with("program ");
        match how {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at]),
            _ => lines[at] = &other,
        }
        let read = read(format!("{}\n", lines.join("\n")).as_bytes());
        if how < 2 && !program {
            prop_assert!(read.is_err(), "{:?}", lines);
        } else if let Ok(read) = read {
            prop_assert!(within_bounds(&read));
            let programs = report.programs.clone();
            if program {
                prop_assert_eq!(Report { programs, ..read }, report, "only its own line is changed");
            }
        }
    }

    #[test]
    fn no_sign_is_from_the_future(
        report in any_report(), kernel in any_report(), terminal in any_report(), now in any_report(),
    ) {
        let jupyter = Jupyter {
            kernels: Kernels { open: 1, busy: 0, newest: Some(kernel.clock) },
            terminals: Terminals { newest: Some(terminal.clock) },
        };
        let inside = inside(report, Some(jupyter), now.clock);
        prop_assert!(inside.signs.iter().all(|seen| seen.at <= now.clock && !seen.sign.from_outside()));
    }
}
