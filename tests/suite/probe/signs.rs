//! What the script finds, and how it says that it cannot.

use time::Duration;

use spaceport::domain::idle::CpuSource;
use spaceport::domain::probe::{ProbeFailure, Report};

use super::{SHELLS, in_time, look_as, looks, reports};

fn all_fail(setup: &str, failure: ProbeFailure) {
    for report in reports(setup) {
        assert_eq!(report, Err(failure), "{setup}");
    }
}

fn all_report(setup: &str, check: impl Fn(&Report)) {
    for report in reports(setup) {
        check(&report.unwrap_or_else(|failure| panic!("{failure}: {setup}")));
    }
}

#[test]
fn a_space_without_anything_is_reported_so_by_every_shell() {
    all_report("", |report| {
        assert_eq!(report.pty_age, None);
        assert!(report.gpus.is_empty());
        assert!(report.cpu.up_s > 1.0);
        let off = report.clock - std::time::SystemTime::now();
        assert!(off.abs() < Duration::minutes(2), "the clock is the space's, in UTC: {off}");
    });
}

#[test]
fn cpu_time_is_the_control_groups_of_either_version_or_the_processes() {
    let cpu = |setup: &'static str| {
        move |check: &dyn Fn(CpuSource, f64)| {
            all_report(setup, |report| check(report.cpu.source, report.cpu.used_s));
        }
    };
    cpu("printf 'usage_usec 1234567\\nuser_usec 9\\n' >/sys/fs/cgroup/cpu.stat")(&|source, used_s| {
        assert_eq!((source, used_s), (CpuSource::Cgroup2, 1.234567));
    });
    for folder in ["cpuacct", "cpu,cpuacct"] {
        let setup = format!(
            "rm /sys/fs/cgroup/cpu.stat; mkdir /sys/fs/cgroup/{folder}
             echo 98765432100 >/sys/fs/cgroup/{folder}/cpuacct.usage"
        );
        all_report(&setup, |report| {
            assert_eq!((report.cpu.source, report.cpu.used_s), (CpuSource::Cgroup1, 98.7654321));
        });
    }
    // Neither, or one that says something else: 1234 s of a process, and what the frame has used.
    for nothing in ["rm /sys/fs/cgroup/cpu.stat", "echo nonsense >/sys/fs/cgroup/cpu.stat"] {
        let setup = format!("{nothing}\nstat_of '{}'", stat("(job)", 0, [100_000, 20_000, 3_000, 400], 7));
        all_report(&setup, |report| {
            assert!(matches!(report.cpu.source, CpuSource::Processes(_)));
            assert!((1234.0..1244.0).contains(&report.cpu.used_s), "{}", report.cpu.used_s);
            assert_eq!(report.programs[0], "job");
        });
    }
}

/// A line of `/proc/[pid]/stat` with these flags, times and start.
fn stat(
    name: &str,
    flags: u64,
    [user, system, children_user, children_system]: [u64; 4],
    start: u64,
) -> String {
    format!(
        "77 {name} S 1 77 77 0 -1 {flags} 1 2 3 4 {user} {system} {children_user} {children_system} 20 0 1 0 {start} 5 6\\n"
    )
}

#[test]
fn a_busy_process_that_ends_makes_the_sum_another_source() {
    for shell in SHELLS {
        let source = |jobs: &[(u64, u64)]| {
            let jobs: String = jobs
                .iter()
                .map(|(ticks, start)| format!("stat_of '{}'\n", stat("(job)", 0, [*ticks, 0, 0, 0], *start)))
                .collect();
            let setup = format!("rm /sys/fs/cgroup/cpu.stat\n{jobs}");
            look_as(shell, &setup, &[]).report().expect("a report").cpu.source
        };
        let both = source(&[(5_000, 7), (6_000, 8)]);
        assert_eq!(source(&[(5_500, 7), (6_500, 8)]), both, "it goes on, whatever they use");
        assert_eq!(source(&[(5_500, 7), (6_500, 8), (99, 9)]), both, "with one that has used little");
        assert_ne!(source(&[(5_500, 7), (6_500, 9)]), both, "but not with another in its place");
        assert_ne!(source(&[(5_500, 7)]), both, "nor without one of them");
    }
}

#[test]
fn threads_of_the_kernel_are_no_programs_and_use_nothing() {
    let setup = format!(
        "rm /sys/fs/cgroup/cpu.stat\nstat_of '{}'",
        stat("(kworker/0:1)", 0x0020_8040, [90_000; 4], 7)
    );
    for (_, look) in looks(&setup) {
        assert!(look.report().is_ok_and(
            |report| report.cpu.used_s < 100.0 && !report.programs.contains(&"kworker/0:1".to_owned())
        ));
    }
}

#[test]
fn the_newest_terminal_is_dated_by_its_age() {
    let near = |seconds: i64| {
        move |report: &Report| {
            let age = report.pty_age.expect("an age").whole_seconds();
            assert!((seconds..seconds + 30).contains(&age), "{age}");
        }
    };
    all_report("terminal 0 4000", near(4000));
    all_report("terminal 0 4000\nterminal 1 70\nterminal 2 9000", near(70));
    // Written to in the future, by its date: that is now.
    all_report("terminal 0 4000\nterminal 1 -5000", |report| {
        assert_eq!(report.pty_age, Some(Duration::ZERO))
    });
}

#[test]
fn a_terminal_that_cannot_be_dated_and_a_space_without_a_clock_are_failures() {
    let date = |text: &str| format!("printf '#!/bin/sh\\n{text}\\n' >/mnt/date; chmod +x /mnt/date");
    let over = "for file in /usr/bin/date /bin/date; do mount --bind /mnt/date $file; done";
    let undated = date("case $1 in -r) exit 1 ;; esac; echo 1764079740");
    all_fail(&format!("{undated}\nterminal 0 50\n{over}"), ProbeFailure::Pty);
    all_report(&format!("{undated}\n{over}"), |report| assert_eq!(report.pty_age, None));
    all_fail(&format!("{}\n{over}", date("exit 1")), ProbeFailure::Clock);
    all_fail(&format!("{}\n{over}", date("echo Thursday")), ProbeFailure::Clock);
}

#[test]
fn a_proc_that_says_nothing_is_a_failure() {
    all_fail("printf 'soon' >/mnt/up; mount --bind /mnt/up /proc/uptime", ProbeFailure::Uptime);
}

#[test]
fn gpus_are_reported_one_by_one() {
    all_report("gpu 'echo 3; echo 97; echo 0'", |report| assert_eq!(report.gpus, [3, 97, 0]));
    all_report("gpu 'sleep 0.4; echo 100'", |report| assert_eq!(report.gpus, [100]));
    // The tool alone is no GPU: images have it on machines without one.
    all_report("gpu 'exit 9'; rm /dev/nvidia0", |report| assert!(report.gpus.is_empty()));
}

#[test]
fn a_gpu_that_does_not_say_how_busy_it_is_is_a_failure() {
    let asked = "[ \"$*\" = \"--query-gpu=utilization.gpu --format=csv,noheader,nounits\" ] || exit 1";
    all_report(&format!("gpu '{asked}; echo 5'"), |report| assert_eq!(report.gpus, [5]));
    for nonsense in [
        "echo 5; echo \"[N/A]\"",
        "echo \"[Not Supported]\"",
        "echo 101",
        "echo -5",
        "true",
        "seq 0 70",
        "echo 5 %",
    ] {
        all_fail(&format!("gpu '{nonsense}'"), ProbeFailure::NvidiaNonsense);
    }
    for failing in ["echo NVIDIA-SMI has failed; exit 9", "echo 5; exit 1", "kill -SEGV $$"] {
        all_fail(&format!("gpu '{failing}'"), ProbeFailure::NvidiaFailed);
    }
    all_fail("touch /dev/nvidia0", ProbeFailure::NvidiaMissing);
    all_fail("touch /dev/neuron0", ProbeFailure::OtherAccelerator);
    all_fail("gpu 'echo 5'; touch /dev/kfd", ProbeFailure::OtherAccelerator);
}

#[test]
fn a_tool_that_hangs_or_never_ends_is_ended_in_time() {
    for never in ["exec sleep 1000", "trap \"\" TERM; echo 5; exec sleep 1000"] {
        in_time(&format!("gpu '{never}'\nsleepers 600"), |look| {
            assert_eq!(look.report(), Err(ProbeFailure::NvidiaLate), "{never}");
        });
    }
    in_time("gpu 'while :; do echo 5; done'", |look| {
        assert_eq!(look.report(), Err(ProbeFailure::NvidiaNonsense));
    });
}
