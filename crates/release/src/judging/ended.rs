//! How a judging process ended, and what that says about the version.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use super::JudgeLimits;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It exited with this code.
    Exited(i32),
    /// It exited with an error; this is the last line of its standard error.
    Failed(String),
    /// It was killed because it exceeded the wall-clock limit.
    Late,
    /// It was killed after the limit, but the machine had given it only this much CPU time.
    Starved(Duration),
    Stack,
    Memory,
    /// It exceeded its CPU time.
    Cpu,
    /// Another process or the kernel killed it.
    Killed,
    /// It crashed on this signal.
    Crashed(i32),
}

/// What the Rust runtime prints when a stack overflows.
const STACK: &str = "has overflowed its stack";

/// What Rust, the C++ library and the allocator print when memory runs out.
const MEMORY: [&str; 3] = ["memory allocation of", "std::bad_alloc", "unable to allocate"];

impl End {
    /// Derived from the exit status and from what the process wrote to standard error.
    pub(super) fn of(status: ExitStatus, stderr: &str) -> Self {
        if let Some(code) = status.code() {
            return if code == 0 { Self::Exited(0) } else { Self::Failed(last_line(stderr)) };
        }
        let signal = status.signal().unwrap_or_default();
        let is = |known: Signal| signal == known.as_raw();
        if stderr.contains(STACK) {
            Self::Stack
        } else if MEMORY.iter().any(|words| stderr.contains(words)) {
            Self::Memory
        } else if is(Signal::XCPU) {
            Self::Cpu
        } else if is(Signal::KILL) {
            Self::Killed
        } else {
            Self::Crashed(signal)
        }
    }

    /// The reason for the author of the version; `None` where the end says nothing about the version.
    pub(super) fn version_fault(&self, limits: &JudgeLimits) -> Option<String> {
        Some(match self {
            Self::Exited(_) | Self::Failed(_) | Self::Starved(_) => return None,
            Self::Late => format!("it took longer than {}", limits.shown_time()),
            Self::Stack => {
                "the stack overflowed: the graph, or a tree in it, is nested too deeply".to_owned()
            }
            Self::Memory => format!("it took more than {} of memory", limits.shown_memory()),
            Self::Cpu => format!("it took more than {} of CPU time", limits.shown_cpu_time()),
            Self::Killed => {
                "the operating system killed it, most likely because the machine ran out of memory".to_owned()
            }
            Self::Crashed(signal) => format!("ONNX Runtime crashed (signal {signal})"),
        })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code} before it had reported everything"),
            Self::Failed(said) => write!(f, "failed: {said}"),
            Self::Starved(cpu) => {
                write!(f, "got {cpu:.1?} of CPU time on this busy machine, which is not enough; push again")
            }
            Self::Late => f.write_str("took too long"),
            Self::Stack => f.write_str("overflowed its stack"),
            Self::Memory => f.write_str("took too much memory"),
            Self::Cpu => f.write_str("took too much CPU time"),
            Self::Killed => f.write_str("was killed"),
            Self::Crashed(signal) => write!(f, "crashed on signal {signal}"),
        }
    }
}

fn last_line(text: &str) -> String {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it does not say why").to_owned()
}

/// The CPU time that a process has used; `None` where `/proc` does not tell.
pub(super) fn cpu_time(process: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name stands in parentheses and may contain anything.
    let fields = text.rsplit_once(')')?.1;
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap_or_default()).sum();
    // Linux shows programs hundredths of a second (USER_HZ), independent of the kernel's tick.
    Some(Duration::from_millis(10 * ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_death_is_told_apart() {
        let limits = JudgeLimits::default();
        let killed = |signal: i32, stderr: &str| End::of(ExitStatus::from_raw(signal), stderr);
        let stack =
            "\nthread 'judge' (7) has overflowed its stack\nfatal runtime error: stack overflow, aborting\n";
        let says = |end: &End| end.version_fault(&limits).unwrap();
        assert!(says(&killed(6, stack)).contains("the stack overflowed"));
        assert!(
            says(&killed(6, "memory allocation of 99 bytes failed")).contains("more than 2 GiB of memory")
        );
        assert!(says(&killed(24, "")).contains("more than 30 s of CPU time"));
        assert!(says(&End::Late).contains("longer than 60 s"));
        assert!(says(&killed(9, "")).contains("ran out of memory"));
        assert!(says(&killed(11, "")).contains("crashed (signal 11)"));
        let failed = End::of(ExitStatus::from_raw(1 << 8), "error: there is no library\n");
        assert_eq!(failed, End::Failed("error: there is no library".to_owned()));
        assert_eq!(failed.version_fault(&limits), None);
        assert_eq!(End::Starved(Duration::ZERO).version_fault(&limits), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_time_of_this_process_is_found() {
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        assert!(cpu_time(std::process::id()).unwrap() > Duration::ZERO);
    }
}
