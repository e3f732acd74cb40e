//! A control group for one judging process: the kernel bounds all its memory, shared pages and files in memory
//! included.
//!
//! A limit of the process (`RLIMIT_DATA`) does not count mapped files and shared pages. Each judging process gets a
//! group of its own where this server may make groups with a memory limit. With version 1 of control groups, a
//! privileged server makes it below its own group. With version 2 it stands beside the server's group, if systemd
//! delegated the parent group to the service: `Delegate=memory` with `DelegateSubgroup=`
//! (<https://systemd.io/CGROUP_DELEGATION/>). Elsewhere only the other limits hold, and the verdict says so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the kernel mounts control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// The prefix of our groups' names; the id of this process and a counter follow.
const PREFIX: &str = "proffer-judge-";

/// Extra bytes for what the other limits leave out: the stack, and pages of the program and of ONNX Runtime. A group
/// is charged for such a page if its process touches it first.
const OVERHEAD: u64 = 128 << 20;

/// Three files of a group: the memory limit, the limit that covers swap, and the counter of OOM kills.
struct Files {
    limit: &'static str,
    swap: (&'static str, bool),
    events: &'static str,
}

/// Version 2, then version 1 (<https://docs.kernel.org/admin-guide/cgroup-v2.html>, `cgroup-v1/memory.html`).
const FILES: [Files; 2] = [
    Files { limit: "memory.max", swap: ("memory.swap.max", false), events: "memory.events" },
    Files {
        limit: "memory.limit_in_bytes",
        swap: ("memory.memsw.limit_in_bytes", true),
        events: "memory.oom_control",
    },
];

/// A control group. Dropping it removes it; its process must have ended by then.
#[derive(Debug)]
pub(super) struct Group {
    directory: PathBuf,
    events: &'static str,
}

impl Group {
    /// A group for one process whose other limits allow `memory` bytes; `None` where this server may not make one.
    pub(super) fn make(memory: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        places(&own, Path::new(ROOT)).into_iter().find_map(|place| Self::below(&place, memory).ok())
    }

    fn below(place: &Path, memory: u64) -> io::Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        remove_stale(place);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let directory = place.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&directory)?;
        // The kernel creates the files of each controller that the parent enables. From here on, dropping removes the
        // group.
        let mut group = Self { directory, events: FILES[0].events };
        let files = FILES.iter().find(|files| group.directory.join(files.limit).exists());
        let files = files.ok_or(io::ErrorKind::Unsupported)?;
        group.events = files.events;
        let limit = memory.saturating_add(OVERHEAD);
        group.write(files.limit, limit)?;
        let (swap, with_memory) = files.swap;
        // A kernel without swap has no such file.
        _ = group.write(swap, if with_memory { limit } else { 0 });
        Ok(group)
    }

    fn write(&self, file: &str, value: u64) -> io::Result<()> {
        let path = self.directory.join(file);
        // Never creates the file: it must be one of the kernel's.
        fs::OpenOptions::new().write(true).open(&path)?;
        fs::write(path, value.to_string())
    }

    /// Moves a process into the group; true if the kernel accepted it.
    pub(super) fn add_process(&self, process: u32) -> bool {
        self.write("cgroup.procs", process.into()).is_ok()
    }

    /// Whether the kernel killed the process for its memory.
    pub(super) fn ran_out(&self) -> bool {
        let events = fs::read_to_string(self.directory.join(self.events)).unwrap_or_default();
        events.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its files go with it.
        if let Err(error) = fs::remove_dir(&self.directory) {
            tracing::debug!(directory = %self.directory.display(), %error, "a control group is left behind");
        }
    }
}

/// Where groups may be made, according to `/proc/self/cgroup`: below the own group. In version 2, the parent group
/// comes first if it was delegated.
fn places(own: &str, root: &Path) -> Vec<PathBuf> {
    let below = |root: &Path, path: &str| root.join(path.trim_start_matches('/'));
    let mut places = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        if controllers.split(',').any(|one| one == "memory") {
            places.push(below(&root.join("memory"), path));
        } else if controllers.is_empty() && root.join("cgroup.controllers").exists() {
            let group = below(root, path);
            places.extend(group.parent().filter(|above| is_delegated(above)).map(Path::to_owned));
            places.push(group);
        }
    }
    places
}

/// Whether systemd has delegated a group to its processes; if so, turns on the memory controller for the groups below
/// it.
#[cfg(target_os = "linux")]
fn is_delegated(group: &Path) -> bool {
    let says = |name: &str| {
        let mut value = [0_u8; 8];
        rustix::fs::getxattr(group, name, &mut value).is_ok_and(|length| value.get(..length) == Some(b"1"))
    };
    let delegated = says("user.delegate") || says("trusted.delegate");
    if delegated {
        // If this fails, the controller is on already, or the groups below have no limit.
        _ = fs::write(group.join("cgroup.subtree_control"), "+memory");
    }
    delegated
}

#[cfg(not(target_os = "linux"))]
fn is_delegated(_group: &Path) -> bool {
    false
}

/// Removes groups that servers left behind when they were killed.
fn remove_stale(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        if process.is_some_and(|(process, _)| !Path::new("/proc").join(process).exists()) {
            // The kernel keeps a group that still has a process.
            _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn groups_are_made_where_memory_is_managed() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let one = "4:memory:/a/b\n1:cpu,cpuacct:/\n0::/\n";
        assert_eq!(places(one, root), [root.join("memory/a/b")]);
        assert_eq!(places("", root), Vec::<PathBuf>::new());
        assert_eq!(places("0::/a/b\n", root), Vec::<PathBuf>::new(), "the unified hierarchy is elsewhere");
        fs::write(root.join("cgroup.controllers"), "memory\n").unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        assert_eq!(places("0::/a/b\n", root), [root.join("a/b")], "the group above was not handed over");
    }

    #[test]
    fn a_place_without_limits_gets_no_group_and_keeps_nothing() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join(format!("{PREFIX}4294967295-0"))).unwrap();
        fs::create_dir(place.path().join("other-4294967295-0")).unwrap();
        let error = Group::below(place.path(), 1 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        let left: Vec<_> =
            fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["other-4294967295-0"]);
    }

    /// Tests something only where this machine lets us make groups.
    #[test]
    fn who_takes_more_than_the_group_has_is_killed() {
        let Some(group) = Group::make(0) else { return };
        // The command waits for a line, so it is in its group before it takes more than the limit.
        let take = "read line; head -c 400000000 /dev/zero | tail -c 400000000 > /dev/null";
        let mut process = std::process::Command::new("sh")
            .args(["-c", take])
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        assert!(group.add_process(process.id()));
        process.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(!process.wait().unwrap().success());
        assert!(group.ran_out());
        let directory = group.directory.clone();
        drop(group);
        assert!(!directory.exists());
    }

    #[test]
    fn the_kernel_says_whom_it_killed() {
        let place = tempfile::tempdir().unwrap();
        let group = Group { directory: place.path().join("group"), events: FILES[0].events };
        fs::create_dir(&group.directory).unwrap();
        for (said, ran_out) in [
            ("low 0\nmax 12\noom 1\noom_kill 0\n", false),
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", true),
            ("", false),
        ] {
            fs::write(group.directory.join(group.events), said).unwrap();
            assert_eq!(group.ran_out(), ran_out, "{said}");
        }
        fs::remove_file(group.directory.join(group.events)).unwrap();
    }
}
