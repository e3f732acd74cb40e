//! The real binary: run to completion, or serving in its own process.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use super::harness::admin_get;
use tempfile::TempDir;

/// The exit code and the output of a command.
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

/// The binary that Cargo built for these tests, or the one that `PROFFER_TEST_BINARY` names, so that measurements use
/// the release build.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("PROFFER_TEST_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_proffer")), PathBuf::from)
}

/// The command `proffer` in an environment without `PROFFER_*` variables.
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

/// Runs `proffer`, which must succeed, and returns its output.
#[track_caller]
pub(crate) fn proffer_prints<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> String {
    let ended = proffer(arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

/// Creates a store from a workspace with `proffer init`.
pub(crate) fn init(store: &Path, workspace: &Path) -> Ended {
    proffer([OsStr::new("init"), "--store".as_ref(), store.as_ref(), "--from".as_ref(), workspace.as_ref()])
}

/// `proffer serve` on its own ports; killed on drop.
pub(crate) struct Process {
    child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// Its log, once it has ended.
    log: Option<std::thread::JoinHandle<Vec<String>>>,
    /// Its standard error, if it is left unread.
    unread: Option<BufReader<ChildStderr>>,
    /// Its data directory, unless the command names one.
    _data: TempDir,
}

impl Process {
    /// Starts `command`, a `proffer` to which this adds `serve --store …`, and returns once it serves.
    pub(crate) fn start(command: Command, store: &Path) -> Self {
        let mut process = Self::start_unread(command, store);
        let log = process.unread.take().unwrap().lines();
        process.log = Some(std::thread::spawn(move || log.map_while(Result::ok).collect()));
        process
    }

    /// The same, but its log is left unread once it serves.
    pub(crate) fn start_unread(command: Command, store: &Path) -> Self {
        let mut process = Self::launch(command, store);
        while !process.serves() {
            if process.child.try_wait().unwrap().is_some() {
                let log: Vec<String> = process.unread.take().unwrap().lines().map_while(Result::ok).collect();
                panic!("it does not serve: {log:#?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        process
    }

    /// The same, but returns as soon as it listens.
    pub(crate) fn launch(mut command: Command, store: &Path) -> Self {
        command.arg("serve").arg("--store").arg(store);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"]);
        // There is no load balancer to notify of the shutdown, unless a test sets a delay.
        let delay = OsStr::new("PROFFER_SERVER_DRAIN_DELAY");
        if !command.get_envs().any(|(name, value)| name == delay && value.is_some()) {
            command.env(delay, "0s");
        }
        let (data, directory) = (tempfile::tempdir().unwrap(), OsStr::new("PROFFER_DATA_DIRECTORY"));
        if !command.get_envs().any(|(name, value)| name == directory && value.is_some()) {
            command.env(directory, data.path().join("data"));
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut printed = Vec::new();
        let addresses = log.by_ref().lines().map(Result::unwrap).find_map(|line| {
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let address = |name: &str| entry[name].as_str().and_then(|text| text.parse::<SocketAddr>().ok());
            let addresses = address("grpc").zip(address("admin"));
            printed.push(line);
            addresses
        });
        let (address, admin) = addresses.unwrap_or_else(|| panic!("it does not start: {printed:#?}"));
        Self { child, address, admin, log: None, unread: Some(log), _data: data }
    }

    /// Whether it serves.
    pub(crate) fn serves(&self) -> bool {
        admin_get(self.admin, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends the signal of this name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it exits by itself.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// How it ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends SIGTERM and waits until it exits.
    pub(crate) fn terminate(self) -> ExitStatus {
        self.terminate_with_log().0
    }

    /// As `terminate`; also returns what was logged after the addresses.
    pub(crate) fn terminate_with_log(mut self) -> (ExitStatus, Vec<String>) {
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
