//! The limits of a judging process, and how it sets them on itself.

use std::fmt;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

use model::onnx::JUDGE_STACK;

/// The most open files: standard streams, a library, a graph with its weights.
const FILES: u64 = 64;

/// The limits of one judging process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgeLimits {
    /// Bytes of private writable memory, without the stack.
    pub memory: u64,
    /// CPU time, over all threads.
    pub cpu_time: Duration,
    /// Wall-clock time.
    pub time: Duration,
}

impl Default for JudgeLimits {
    /// The values of `deploy/proffer.toml`.
    fn default() -> Self {
        Self { memory: 2 << 30, cpu_time: Duration::from_secs(30), time: Duration::from_mins(1) }
    }
}

impl JudgeLimits {
    /// The arguments of `proffer judge`.
    pub(super) fn arguments(&self) -> [String; 6] {
        let seconds = self.cpu_time.as_secs().max(1);
        let parent = std::process::id();
        [
            "--memory",
            &self.memory.to_string(),
            "--cpu-time",
            &seconds.to_string(),
            "--parent",
            &parent.to_string(),
        ]
        .map(str::to_owned)
    }

    pub(super) fn shown_memory(&self) -> String {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let unit = UNITS.iter().find(|(unit, _)| self.memory.is_multiple_of(*unit));
        unit.map_or_else(
            || format!("{} bytes", self.memory),
            |(unit, name)| format!("{} {name}", self.memory / unit),
        )
    }

    pub(super) fn shown_cpu_time(&self) -> String {
        format!("{} s", self.cpu_time.as_secs().max(1))
    }

    pub(super) fn shown_time(&self) -> String {
        format!("{} s", self.time.as_secs_f64())
    }

    /// Adds the limit to an allocation error that ONNX Runtime reported instead of dying.
    pub(super) fn explain(&self, why: &mut String) {
        if why.contains("bad_alloc")
            || why.contains("bad allocation")
            || why.contains("Failed to allocate memory")
        {
            why.push_str("; it took more than ");
            why.push_str(&self.shown_memory());
            why.push_str(" of memory");
        }
    }
}

impl fmt::Display for JudgeLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (memory, cpu, time) = (self.shown_memory(), self.shown_cpu_time(), self.shown_time());
        write!(f, "{memory} of memory, {cpu} of CPU time, {time}")
    }
}

/// Limits this process for good. Call it with one thread, before anything is read. Returns a description of each
/// limit that holds; what the operating system does not support is missing.
#[must_use]
pub(super) fn apply(memory: u64, cpu_seconds: u64) -> Vec<String> {
    let limits = JudgeLimits { memory, cpu_time: Duration::from_secs(cpu_seconds), ..JudgeLimits::default() };
    let set = |resource, soft: u64, hard: u64| {
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) }).is_ok()
    };
    let with_stack = memory.saturating_add(JUDGE_STACK as u64);
    let held = [
        (set(Resource::Data, with_stack, with_stack), format!("{} of memory", limits.shown_memory())),
        // The signal at the soft limit names the cause; the hard limit kills a process that ignores it.
        (
            set(Resource::Cpu, cpu_seconds, cpu_seconds + 1),
            format!("{} of CPU time", limits.shown_cpu_time()),
        ),
        (set(Resource::Fsize, 0, 0), "no file written".to_owned()),
        (set(Resource::Nofile, FILES, FILES), format!("{FILES} open files")),
        (set(Resource::Core, 0, 0), "no core dump".to_owned()),
        (without_network(), "no network".to_owned()),
    ];
    held.into_iter().filter(|(holds, _)| *holds).map(|(_, words)| words).collect()
}

/// Forbids further threads and processes. False where that does not hold, as for a privileged user.
pub(super) fn no_more_processes() -> bool {
    let privileged = rustix::process::geteuid().is_root();
    setrlimit(Resource::Nproc, Rlimit { current: Some(0), maximum: Some(0) }).is_ok() && !privileged
}

/// Leaves every network, if the kernel allows it: directly for a privileged user, else in a new user namespace.
#[cfg(target_os = "linux")]
fn without_network() -> bool {
    use rustix::thread::UnshareFlags;
    // The descriptor table stays shared; unsharing it would be the unsound part.
    #[expect(
        deprecated,
        reason = "the function that is not is unsafe for the sake of flags that are not used here"
    )]
    let unshare = rustix::thread::unshare;
    // In a user namespace a privileged user could no longer read the files of other users.
    unshare(UnshareFlags::NEWNET).is_ok()
        || (!rustix::process::geteuid().is_root()
            && unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET).is_ok())
}

#[cfg(not(target_os = "linux"))]
fn without_network() -> bool {
    false
}

/// Makes the kernel kill this process when its parent ends; false if the parent has ended already.
#[cfg(target_os = "linux")]
pub(super) fn ends_with(parent: u32) -> bool {
    // Without that signal an orphan has no wall-clock limit, but its CPU limit still ends it.
    _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    rustix::process::getppid().is_some_and(|now| now.as_raw_nonzero().get().unsigned_abs() == parent)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn ends_with(_parent: u32) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_largest_unit_that_divides_them() {
        let shown = |memory| JudgeLimits { memory, ..JudgeLimits::default() }.shown_memory();
        assert_eq!(
            [shown(2 << 30), shown(1536 << 20), shown(3 << 10), shown(1001)],
            ["2 GiB", "1536 MiB", "3 KiB", "1001 bytes"]
        );
        assert_eq!(JudgeLimits::default().to_string(), "2 GiB of memory, 30 s of CPU time, 60 s");
    }
}
