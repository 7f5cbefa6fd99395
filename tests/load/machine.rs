//! What the machine is, and what a process has used of it.

use std::future::Future;

use anyhow::{Context, Result};

/// Ticks in a second of `/proc/PID/stat`; Linux has reported 100 on every architecture for decades.
const TICKS: f64 = 100.0;

/// The machine's name for the table: processor, cores, memory, kernel, OpenSSH.
pub(crate) fn describe() -> Result<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, m)| m);
    let cores = std::thread::available_parallelism()?;
    let meminfo = std::fs::read_to_string("/proc/meminfo")?;
    let kib: u64 = meminfo.split_whitespace().nth(1).context("MemTotal")?.parse()?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let ssh = std::process::Command::new("ssh").arg("-V").output()?;
    let ssh = String::from_utf8_lossy(&ssh.stderr).split(',').next().unwrap_or_default().trim().to_owned();
    Ok(format!("{model}, {cores} cores, {} GiB, Linux {}, {ssh}", kib >> 20, kernel.trim()))
}

/// Resident memory of a process and its children, in KiB.
pub(crate) fn memory_kib(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for pid in family(pid)? {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
        sum += line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default();
    }
    Ok(sum)
}

/// What a process's memory grows by at most, as the kernel counts its pages: nothing is missed between two looks.
pub(crate) struct Peak {
    pid: u32,
    begun_kib: f64,
}

impl Peak {
    /// From here on. 5 resets the high-water mark (proc(5), clear_refs).
    pub(crate) fn begin(pid: u32) -> Result<Self> {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        Ok(Self { pid, begun_kib: status_kib(pid, "VmRSS:")? })
    }

    /// What was added at most since then, in MiB.
    pub(crate) fn added_mib(&self) -> Result<f64> {
        Ok((status_kib(self.pid, "VmHWM:")? - self.begun_kib) / 1024.0)
    }
}

fn status_kib(pid: u32, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context(field.to_owned())?;
    Ok(line.split_whitespace().next().context(field.to_owned())?.parse()?)
}

/// Seconds of processor time that a process and its children have used, ended children included.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    Ok(used_by(family(pid)?))
}

/// Seconds of processor time that all processes below this one have used, without its own.
pub(crate) fn children_cpu_seconds() -> Result<f64> {
    let me = std::process::id();
    Ok(used_by(family(me)?.into_iter().filter(|pid| *pid != me)))
}

fn used_by(processes: impl IntoIterator<Item = u32>) -> f64 {
    let mut sum = 0.0;
    for pid in processes {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
        // utime, stime, cutime, cstime are fields 14 to 17 of proc(5); the state, field 3, is the first here.
        sum += fields.iter().skip(11).take(4).filter_map(|f| f.parse::<f64>().ok()).sum::<f64>();
    }
    sum / TICKS
}

fn family(pid: u32) -> Result<Vec<u32>> {
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(&parent) = family.get(at) {
        let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|c| c.parse::<u32>().ok()));
        }
        at += 1;
    }
    Ok(family)
}

/// Does some work, and says how much processor time the process used meanwhile.
pub(crate) async fn with_cpu<T>(pid: u32, work: impl Future<Output = Result<T>>) -> Result<(T, f64)> {
    let before = cpu_seconds(pid)?;
    let done = work.await?;
    Ok((done, cpu_seconds(pid)? - before))
}
