//! Figures of the operating system about processes and the machine, on Linux only.

use std::fs;
use std::time::Instant;

/// Ticks per second of the times in `/proc`: 100 on every architecture that Rust supports, regardless of the kernel's
/// own rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory of a process in MB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Memory {
    pub resident: f64,
    /// Without pages of files, such as the program and its libraries.
    pub anonymous: f64,
}

impl Memory {
    /// The current memory of a process.
    pub(crate) fn of(process: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let mb = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kib * 1024.0 / 1e6)
        };
        Some(Self { resident: mb("VmRSS:")?, anonymous: mb("RssAnon:")? })
    }
}

/// CPU time per second, in cores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cores {
    pub server: f64,
    /// This process, which generates the load and checks the answers.
    pub client: f64,
    /// Everything else on the machine.
    pub others: f64,
}

/// Measures who used the cores since its creation.
pub(crate) struct Watch {
    server: u32,
    before: Option<[f64; 3]>,
    began: Instant,
}

impl Watch {
    pub(crate) fn new(server: u32) -> Self {
        Self { server, before: Self::spent(server), began: Instant::now() }
    }

    /// The average number of cores in use.
    pub(crate) fn cores(&self) -> Option<Cores> {
        let elapsed = self.began.elapsed().as_secs_f64();
        let (now, before) = (Self::spent(self.server)?, self.before?);
        let [server, client, all] = [0, 1, 2].map(|index| (now[index] - before[index]) / elapsed);
        Some(Cores { server, client, others: (all - server - client).max(0.0) })
    }

    /// CPU seconds so far: of the server, of this process, and of all.
    fn spent(server: u32) -> Option<[f64; 3]> {
        Some([of_process(server)?, of_process(std::process::id())?, of_all()?])
    }
}

fn of_process(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program is in brackets and may contain anything; numbers follow the last bracket. User and kernel
    // time are the 14th and 15th field of the line.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Some(ticks.sum::<f64>() / TICKS_PER_SECOND)
}

fn of_all() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // The fields are user, nice, system, idle, iowait, irq, softirq and steal, then guest times, which are part of the
    // first two.
    let busy = ticks.iter().take(8).sum::<f64>() - ticks.get(3)? - ticks.get(4)?;
    Some(busy / TICKS_PER_SECOND)
}

/// The machine in one line.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{cores} cores, {}", name.map_or("unknown CPU", |(_, name)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_uses_cores() {
        let watch = Watch::new(std::process::id());
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.resident > 1.0 && memory.anonymous < memory.resident, "{memory:?}");
        std::hint::black_box((0..1_000_000_u64).fold(0, |sum, number| sum ^ number));
        assert!(watch.cores().is_some_and(|cores| cores.server >= 0.0));
        assert_eq!(Memory::of(u32::MAX), None);
    }
}
