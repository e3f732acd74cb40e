//! The server in its own process, and its figures from the operating system.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The release binary: `cargo bench` builds it with the options of `cargo build --release`.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_proffer");

/// How long the server may take to become ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server; killed on drop.
pub(crate) struct Server {
    pub address: SocketAddr,
    admin: SocketAddr,
    /// From exec to the first `/readyz` that answered 200.
    pub ready_after: Duration,
    child: Child,
}

impl Server {
    /// Runs `proffer serve` on free ports and waits until it is ready. The configuration is the default one but for
    /// `settings`, which are environment variables. Its log goes to the directory `logs`.
    pub(crate) fn start(store: &Path, logs: &Path, settings: &[(&str, &str)]) -> Self {
        let [address, admin] = free_addresses();
        let log = logs.join("serve.log");
        let began = Instant::now();
        let child = Command::new(BINARY)
            .args(["serve", "--listen", &address.to_string(), "--admin", &admin.to_string(), "--store"])
            .arg(store)
            .arg("--data")
            .arg(logs.join("data"))
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self { address, admin, ready_after: Duration::ZERO, child };
        while !is_ready(admin) {
            let ended = server.child.try_wait().unwrap().is_some();
            if ended || began.elapsed() > PATIENCE {
                eprintln!("{}", fs::read_to_string(&log).unwrap());
            }
            assert!(!ended, "the server ended before it was ready");
            assert!(began.elapsed() < PATIENCE, "the server was not ready within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        server.ready_after = began.elapsed();
        server
    }

    /// The value of a metric without labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = get(self.admin, "/metrics").unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().trim().parse().unwrap()
    }

    /// The value of a metric by its name with its labels; `None` if it was not counted yet.
    pub(crate) fn labelled_metric(&self, name: &str) -> Option<f64> {
        let page = get(self.admin, "/metrics").unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(value.trim().parse().unwrap())
    }

    /// The server's process.
    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two free loopback addresses.
fn free_addresses() -> [SocketAddr; 2] {
    // Both are held until both are found, so that they differ.
    let held = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

fn is_ready(admin: SocketAddr) -> bool {
    get(admin, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The answer of the admin listener: status line, headers and body.
fn get(admin: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(admin)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A process by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

/// CPU time of all processes so far, over all cores; `None` without `/proc`.
pub(crate) fn cpu_of_all() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // The fields are user, nice, system, idle, iowait, irq, softirq and steal, then guest times, which are part of the
    // first two.
    let busy = ticks.iter().take(8).sum::<f64>() - ticks.get(3)? - ticks.get(4)?;
    Some(Duration::from_secs_f64(busy / TICKS_PER_SECOND))
}

/// Ticks per second of the times in `/proc`: 100 on every architecture that Rust supports, regardless of the kernel's
/// own rate.
const TICKS_PER_SECOND: f64 = 100.0;

impl Process {
    /// The process of this bench.
    pub(crate) fn this() -> Self {
        Self(std::process::id())
    }

    /// CPU time so far, in user and kernel mode; `None` without `/proc`.
    pub(crate) fn cpu(self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        // The name of the program is in brackets and may contain anything; numbers follow the last bracket. User and
        // kernel time are the 14th and 15th field of the line.
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks: f64 =
            fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        Some(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
    }

    /// The current memory of the process.
    pub(crate) fn memory(self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let mb = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            let kib: f64 = line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kib * 1024.0 / 1e6)
        };
        Memory { resident: mb("VmRSS"), peak: mb("VmHWM"), anonymous: mb("RssAnon") }
    }
}

/// Memory of a process in MB; unknown without `/proc`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    resident: Option<f64>,
    peak: Option<f64>,
    /// Without pages of files, such as the program and its libraries.
    anonymous: Option<f64>,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(resident), Some(peak), Some(anonymous)) = (self.resident, self.peak, self.anonymous) else {
            return f.write_str("unknown");
        };
        write!(f, "{resident:.0} MB resident ({anonymous:.0} without files), peak {peak:.0} MB")
    }
}
