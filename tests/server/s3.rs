//! A real S3-compatible server: the Versity gateway over a temporary directory, on a free port. `make test` installs
//! it.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The server's only bucket.
const BUCKET: &str = "bucket";
const ACCESS_KEY: &str = "proffer-test";
const SECRET_KEY: &str = "not-a-secret";

/// Starts the gateway and kills it when standard input ends, so that it never outlives this process.
const GUARD: &str = r#""$@" & child=$!; echo "$child"; read -r _; kill -KILL "$child"; wait"#;

/// A server with an empty bucket; it stops on drop, or with this process.
pub(crate) struct S3 {
    guard: Child,
    pid: String,
    port: u16,
    directory: tempfile::TempDir,
}

impl S3 {
    /// A server for the caller alone, or `None` and a message.
    pub(crate) fn start() -> Option<Self> {
        let gateway = gateway()?;
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(BUCKET)).unwrap();
        // Another process may take the port before the gateway does.
        Some((0..5).find_map(|_| Self::try_start(&gateway, directory.path())).map_or_else(
            || panic!("{} does not answer", gateway.display()),
            |(guard, pid, port)| Self { guard, pid, port, directory },
        ))
    }

    /// One server for all tests that do not stop it; each uses its own prefixes.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<S3>> = OnceLock::new();
        SERVER.get_or_init(Self::start).as_ref()
    }

    /// A new prefix, as the location of a store.
    #[expect(clippy::unused_self, reason = "a location exists only with a server")]
    pub(crate) fn new_location(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        format!("s3://{BUCKET}/stores/{}", COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// The environment of a process that uses the server.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_ALLOW_HTTP", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// The directory in which the server keeps the objects of a location.
    pub(crate) fn directory(&self, location: &str) -> PathBuf {
        self.directory.path().join(location.strip_prefix("s3://").unwrap())
    }

    /// Suspends the server: it accepts connections but does not answer.
    pub(crate) fn hold(&self) {
        self.signal("STOP");
        // Its threads stop one after another.
        for _ in 0..500 {
            let state = Command::new("ps").args(["-o", "stat=", "-p", &self.pid]).output().unwrap();
            if state.stdout.starts_with(b"T") {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the gateway does not stop");
    }

    /// The most bytes of one connection that were sent to the server and that it has not read.
    pub(crate) fn unread_bytes(&self) -> u64 {
        let local = format!(":{:04X}", self.port);
        let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let unread = connections.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, received) = fields.get(4)?.split_once(':')?;
            let received = u64::from_str_radix(received, 16).ok()?;
            fields.get(1)?.ends_with(&local).then_some(received)
        });
        unread.max().unwrap_or_default()
    }

    /// Resumes a suspended server.
    pub(crate) fn release(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(&self.pid).status().unwrap();
        assert!(sent.success());
    }

    fn try_start(gateway: &Path, directory: &Path) -> Option<(Child, String, u16)> {
        use std::io::{BufRead, BufReader};
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh"]).arg(gateway);
        command.args(["--access", ACCESS_KEY, "--secret", SECRET_KEY, "--quiet", "--keep-alive"]);
        command.arg("--port").arg(format!("127.0.0.1:{port}")).arg("posix").arg(directory);
        let mut guard = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir(directory)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(guard.stdout.take().unwrap()).lines();
        let pid = output.next().unwrap().unwrap();
        // A full pipe would block it.
        std::thread::spawn(move || output.for_each(drop));
        for _ in 0..500 {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(_) => return Some((guard, pid, port)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}"),
            }
            if !Path::new(&format!("/proc/{pid}")).exists() && cfg!(target_os = "linux") {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(guard.stdin.take());
        let _ = guard.wait();
        None
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// The gateway that `make test` installs, or `None` and a message.
fn gateway() -> Option<PathBuf> {
    let found = std::env::var_os("PROFFER_TEST_S3").map(PathBuf::from).filter(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped on S3: PROFFER_TEST_S3 is not set (`make test` sets it)");
    }
    found
}
