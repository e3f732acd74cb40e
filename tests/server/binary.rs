//! The real binary: run to its end, or serving in a process of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use super::harness::admin_get;

/// What a command that has ended said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// The binary that cargo built for these tests, or the one that `PROFFER_TEST_BINARY` names: what is measured is what is
/// shipped.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("PROFFER_TEST_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_proffer")), PathBuf::from)
}

/// The command `proffer` in an environment that says nothing about it.
pub(crate) fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("PROFFER_")) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `proffer` with these arguments.
pub(crate) fn proffer<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ended {
    command().args(arguments).output().unwrap().into()
}

/// Runs `proffer`, which must succeed; returns what it printed.
#[track_caller]
pub(crate) fn proffer_prints<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> String {
    let ended = proffer(arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

/// Makes a store of a workspace with `proffer init`.
pub(crate) fn init(store: &Path, workspace: &Path) -> Ended {
    proffer([OsStr::new("init"), "--store".as_ref(), store.as_ref(), "--from".as_ref(), workspace.as_ref()])
}

/// `proffer serve` on ports of its own; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// What it logs, once it has ended.
    log: Option<std::thread::JoinHandle<Vec<String>>>,
    /// Its standard error, where nobody reads on.
    unread: Option<BufReader<ChildStderr>>,
}

impl Process {
    /// Starts `command`, a `proffer` to which this adds `serve --store …`, and returns when it serves.
    pub(crate) fn start(command: Command, store: &Path) -> Self {
        let mut process = Self::start_unread(command, store);
        let log = process.unread.take().unwrap().lines();
        process.log = Some(std::thread::spawn(move || log.map_while(Result::ok).collect()));
        process
    }

    /// The same, and nobody reads what it logs once it serves.
    pub(crate) fn start_unread(mut command: Command, store: &Path) -> Self {
        command.arg("serve").arg("--store").arg(store);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"]);
        // No load balancer has to hear of its end, unless a test says so.
        let delay = OsStr::new("PROFFER_SERVER_DRAIN_DELAY");
        if !command.get_envs().any(|(name, value)| name == delay && value.is_some()) {
            command.env(delay, "0s");
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = Vec::new();
        let addresses = log.by_ref().lines().map(Result::unwrap).find_map(|line| {
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let address = |name: &str| entry[name].as_str().and_then(|text| text.parse::<SocketAddr>().ok());
            let addresses = address("grpc").zip(address("admin"));
            said.push(line);
            addresses
        });
        let (address, admin) = addresses.unwrap_or_else(|| panic!("it does not start: {said:#?}"));
        while !admin_get(admin, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            if child.try_wait().unwrap().is_some() {
                let log: Vec<String> = log.lines().map_while(Result::ok).collect();
                panic!("it does not serve: {said:#?} {log:#?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Self { child, address, admin, log: None, unread: Some(log) }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end, which must come by itself.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(self) -> ExitStatus {
        self.terminate_told().0
    }

    /// Sends SIGTERM and waits for the end; also what was logged after the addresses.
    pub(crate) fn terminate_told(mut self) -> (ExitStatus, Vec<String>) {
        self.signal("TERM");
        let status = self.child.wait().unwrap();
        (status, self.log.take().map(|log| log.join().unwrap()).unwrap_or_default())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
