//! What a space shows of its inside, and that it is the space's own.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::rig::{SPACE, until};
use super::ssh::{HOST, Space, program};
use crate::inside::{GpuFault, Gpus, Jupyter, JupyterFault, Kernel, KernelState, Script, Terminal};
use crate::sessions::{Machine, Spaces as _};

/// A space that is isolated; without that these tests mean nothing.
async fn space_on(machine: Machine) -> Space {
    let (spaces, folder) = program().await;
    assert_eq!(spaces.why_shared(), None, "spaces must be isolated: run as root");
    Space::of(spaces, folder, &machine).await
}

async fn space() -> Space {
    space_on(Machine::default()).await
}

/// A number that nothing else on the machine sleeps for.
fn marker(test: u32) -> String {
    (1_000_000 + 10 * std::process::id() + test).to_string()
}

/// Whether the machine runs `sleep SECONDS`.
fn sleeps(seconds: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let wanted = format!("sleep\0{seconds}\0");
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| line == wanted.as_bytes())
}

impl Space {
    /// Starts a program that leaves its group and its parent.
    async fn daemon(&self, seconds: &str) {
        let start = format!("setsid sleep {seconds} >/dev/null 2>&1 </dev/null &");
        self.text(&[HOST, &start]).await;
        until("it runs", || sleeps(seconds)).await;
    }

    async fn script(&self, jupyter: Jupyter) {
        self.spaces.script(SPACE, Script::Jupyter(jupyter)).await.unwrap();
    }

    /// Status and body of an answer of JupyterLab.
    async fn ask(&self, path: &str) -> (u16, Value) {
        let request = format!("GET /jupyterlab/default{path} HTTP/1.0\r\n\r\n");
        let output = self.ssh(&["-W", "127.0.0.1:8888", HOST], request.as_bytes()).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_space_sees_its_own_processes_terminals_and_tmp_alone() {
    let (one, other) = (space().await, space().await);
    let theirs = marker(1);
    other.daemon(&theirs).await;
    let mut command = other.command("ssh", "-p");
    let mut open = command.args(["-tt", HOST, "echo up; cat"]).spawn().unwrap();
    let mut first = [0; 2];
    tokio::io::AsyncReadExt::read_exact(open.stdout.as_mut().unwrap(), &mut first).await.unwrap();

    let seen = one.text(&[HOST, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).await;
    assert!(!seen.contains(&theirs), "{seen}");
    let pids = one.text(&[HOST, "ls -d /proc/[0-9]*"]).await.lines().count();
    assert!((2..=3).contains(&pids), "the server and this command: {pids}");
    // The other's terminal is open meanwhile.
    assert_eq!(one.text(&[HOST, "ls /dev/pts"]).await, "ptmx\n");
    let own = one.ssh(&["-tt", HOST, "tty; ls /dev/pts"], b"").await;
    assert_eq!(String::from_utf8_lossy(&own.stdout), "/dev/pts/0\r\n0  ptmx\r\n");
    assert_eq!(one.text(&[HOST, "ls -A /sys/fs/cgroup"]).await, "");

    let name = format!("of-a-space-{theirs}");
    one.text(&[HOST, &format!("echo mine >/tmp/{name}")]).await;
    let tmp = one.spaces.tmp(SPACE).unwrap();
    assert_eq!(std::fs::read_to_string(tmp.join(&name)).unwrap(), "mine\n");
    assert!(!std::path::Path::new("/tmp").join(&name).exists());
    assert!(!other.ssh(&[HOST, &format!("test -e /tmp/{name}")], b"").await.status.success());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(
        !mounts.contains(one.folder.path().to_str().unwrap()),
        "nothing is mounted on the machine: {mounts}"
    );

    one.spaces.stop(SPACE).await;
    one.spaces.start(SPACE, "run-2", &Machine::default()).await.unwrap();
    assert!(!tmp.join(&name).exists(), "a new app has a new /tmp");
    open.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_is_gone_even_if_its_parent_ended_first() {
    let space = space().await;
    space
        .text(&[
            HOST,
            "setsid sh -c 'echo $$ >pid; read line <gate' >/dev/null 2>&1 </dev/null & mkfifo gate",
        ])
        .await;
    let gone = "kill -9 $(cat pid); for i in $(seq 100); do test -e /proc/$(cat pid) || exit 0; sleep 0.05; done; exit 1";
    until("it runs", || std::fs::read(space.spaces.home(SPACE).join("pid")).is_ok_and(|pid| !pid.is_empty()))
        .await;
    let output = space.ssh(&[HOST, gone], b"").await;
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_a_space_ends_its_programs_and_keeps_its_home() {
    let space = space().await;
    let seconds = marker(2);
    space.text(&[HOST, "touch kept"]).await;
    space.daemon(&seconds).await;
    space.spaces.stop(SPACE).await;
    // Nothing to wait for: with the process of the space all in it has ended.
    assert!(!sleeps(&seconds));
    assert_eq!(space.spaces.process(SPACE), None);
    assert!(space.spaces.home(SPACE).join("kept").exists());
    space.spaces.start(SPACE, "run-2", &Machine::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_kills_a_space_leaves_nothing_of_it() {
    let space = space().await;
    let seconds = marker(3);
    space.daemon(&seconds).await;
    let server = space.spaces.process(SPACE).unwrap().to_string();
    let killed = tokio::process::Command::new("kill").args(["-KILL", &server]).status().await.unwrap();
    assert!(killed.success());
    until("all gone", || !sleeps(&seconds)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_namespaces_a_space_works_and_still_ends_its_programs() {
    let (spaces, folder) = program().await;
    let space =
        Space::of(spaces.sharing_the_machine(), folder, &Machine { gpus: 1, ..Machine::default() }).await;
    let seconds = marker(4);
    space.daemon(&seconds).await;
    assert!(space.text(&[HOST, "cat /proc/[0-9]*/comm"]).await.lines().count() > 5, "it sees the machine");
    assert_eq!(space.spaces.tmp(SPACE), None);
    let refused = space.spaces.script(SPACE, Script::Gpus(Gpus::at(&[5]))).await.unwrap_err();
    assert!(format!("{refused:#}").contains("no GPUs"), "{refused:#}");
    space.spaces.stop(SPACE).await;
    until("all gone", || !sleeps(&seconds)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gpus_are_told_of_by_nvidia_smi() {
    const LOAD: &str = "nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits";
    let none = space().await;
    assert_eq!(none.ssh(&[HOST, LOAD], b"").await.status.code(), Some(127), "no GPU, no program");
    let refused = none.spaces.script(SPACE, Script::Gpus(Gpus::at(&[5]))).await;
    assert!(refused.is_err());

    let four = space_on(Machine { gpus: 4, ..Machine::default() }).await;
    let gpus = async |gpus| four.spaces.script(SPACE, Script::Gpus(gpus)).await;
    assert_eq!(four.text(&[HOST, LOAD]).await, "0\n0\n0\n0\n");
    gpus(Gpus::at(&[7, 100])).await.unwrap();
    assert_eq!(four.text(&[HOST, LOAD]).await, "7\n100\n0\n0\n");
    let table = four.text(&[HOST, "nvidia-smi --query-gpu=index,utilization.gpu --format=csv"]).await;
    assert!(table.starts_with("index, utilization.gpu [%]\n0, 7 %\n1, 100 %\n"), "{table}");
    assert!(gpus(Gpus::at(&[1; 5])).await.is_err(), "it has four");
    let unknown = four.ssh(&[HOST, "nvidia-smi --query-gpu=mood --format=csv"], b"").await;
    assert_eq!(unknown.status.code(), Some(2));

    gpus(Gpus::failing(GpuFault::NotAvailable)).await.unwrap();
    assert_eq!(four.text(&[HOST, LOAD]).await, "[N/A]\n[N/A]\n[N/A]\n[N/A]\n");
    gpus(Gpus::failing(GpuFault::Fails)).await.unwrap();
    let failed = four.ssh(&[HOST, LOAD], b"").await;
    assert_eq!(failed.status.code(), Some(9));
    assert!(failed.stdout.starts_with(b"NVIDIA-SMI has failed"), "{failed:?}");
    gpus(Gpus::failing(GpuFault::Hangs)).await.unwrap();
    let hung = four.ssh(&[HOST, &format!("timeout 0.5 {LOAD}")], b"").await;
    assert_eq!((hung.status.code(), hung.stdout.as_slice()), (Some(124), &b""[..]));
    assert!(!std::path::Path::new("/usr/local/sbin/gpus.json").exists(), "the machine's folder is as it was");
}

/// A time that the API gave.
fn time(model: &Value) -> OffsetDateTime {
    let text = model["last_activity"].as_str().unwrap();
    assert_eq!(text.len(), "2026-01-01T00:00:00.000000Z".len(), "{text}");
    OffsetDateTime::parse(text, &Rfc3339).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jupyter_tells_of_kernels_terminals_and_tabs() {
    let space = space().await;
    for empty in ["/api/kernels", "/api/sessions", "/api/terminals"] {
        assert_eq!(space.ask(empty).await, (200, json!([])));
    }
    assert_eq!(space.ask("/api/contents").await.0, 404);
    let silent = Kernel::new("silent", KernelState::Busy).with_tabs(1);
    let talking = Kernel::new("talking", KernelState::Busy).talking();
    let stuck = Kernel::new("stuck", KernelState::Starting);
    let old = Kernel::new("old", KernelState::Idle).quiet_for(7200.0).with_tabs(2);
    let terminals = vec![Terminal::new("1").quiet_for(60.0)];
    let kernels = vec![silent, talking, stuck, old];
    space.script(Jupyter { kernels: kernels.clone(), terminals, fault: None }).await;

    let (_, first) = space.ask("/api/kernels").await;
    let mut members: Vec<&String> = first[0].as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["connections", "execution_state", "id", "last_activity", "name"]);
    let states: Vec<&str> = (0..4).map(|k| first[k]["execution_state"].as_str().unwrap()).collect();
    assert_eq!(states, ["busy", "busy", "starting", "idle"]);
    let connections: Vec<u64> = (0..4).map(|k| first[k]["connections"].as_u64().unwrap()).collect();
    assert_eq!(connections, [1, 0, 0, 2]);
    let age = OffsetDateTime::now_utc() - time(&first[3]);
    assert!((time::Duration::hours(2)..time::Duration::minutes(121)).contains(&age), "{age}");
    // Only what a kernel says moves its time, also when others change.
    space.script(Jupyter { kernels: kernels[..3].to_vec(), ..Jupyter::default() }).await;
    let (_, second) = space.ask("/api/kernels").await;
    assert_eq!(time(&second[0]), time(&first[0]), "silent");
    assert!(time(&second[1]) > time(&first[1]), "talking");
    // A change of state is something said.
    space
        .script(Jupyter { kernels: vec![Kernel::new("silent", KernelState::Idle)], ..Jupyter::default() })
        .await;
    let (_, third) = space.ask("/api/kernels/silent").await;
    assert!(time(&third) > time(&second[0]));

    let (_, sessions) = space.ask("/api/sessions").await;
    assert_eq!(sessions[0]["kernel"], third);
    assert_eq!((&sessions[0]["type"], &sessions[0]["path"]), (&json!("notebook"), &json!("Untitled.ipynb")));
    space.script(Jupyter { terminals: vec![Terminal::new("1").talking()], ..Jupyter::default() }).await;
    let (_, terminals) = space.ask("/api/terminals").await;
    assert_eq!(terminals[0]["name"], "1");
    assert!(OffsetDateTime::now_utc() - time(&terminals[0]) < time::Duration::minutes(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_jupyter_moves_its_own_activity_unless_told_not_to() {
    let space = space().await;
    let kernels = vec![Kernel::new("a", KernelState::Idle).quiet_for(3600.0).with_tabs(2)];
    space.script(Jupyter { kernels, ..Jupyter::default() }).await;
    let (_, before) = space.ask("/api/status").await;
    assert_eq!((&before["connections"], &before["kernels"]), (&json!(2), &json!(1)));
    space.ask("/api/kernels?no_track_activity=1").await;
    assert_eq!(time(&space.ask("/api/status").await.1), time(&before));
    space.ask("/api/kernels").await;
    assert!(time(&space.ask("/api/status").await.1) > time(&before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jupyter_fails_as_it_is_told_and_code_editor_has_none() {
    let space = space().await;
    let fault = async |fault| space.script(Jupyter { fault: Some(fault), ..Jupyter::default() }).await;
    fault(JupyterFault::Nonsense).await;
    let (status, body) = space.ask("/api/kernels").await;
    assert!(status == 200 && body.is_string(), "{body}");
    fault(JupyterFault::Closed).await;
    let closed = space.ssh(&["-W", "127.0.0.1:8888", HOST], b"").await;
    assert!(!closed.status.success());
    fault(JupyterFault::Hangs).await;
    let hung = tokio::time::timeout(std::time::Duration::from_millis(500), space.ask("/api/kernels")).await;
    assert!(hung.is_err());
    space.script(Jupyter::default()).await;
    assert_eq!(space.ask("/api/kernels").await, (200, json!([])));

    let editor = space_on(Machine { app_type: "CodeEditor".to_owned(), gpus: 0 }).await;
    for path in ["/api", "/api/kernels", "/api/status"] {
        assert_eq!(editor.ask(path).await.0, 404);
    }
}
