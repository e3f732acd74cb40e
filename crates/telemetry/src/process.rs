//! Facts about this process from the operating system.

/// Resident memory of the process in bytes; `None` if the system has no `/proc`.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    // The kernel always writes this line in kB, meaning 1,024 bytes.
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The bytes of memory that the process may use: the lowest limit of its control groups (version 1 or 2), else the
/// machine's memory. `None` if the system reports neither.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    limit_of(&read("/proc/self/cgroup").unwrap_or_default(), &read("/proc/meminfo").unwrap_or_default(), read)
}

/// The limit, from `/proc/self/cgroup` and `/proc/meminfo`; `read` reads other files.
fn limit_of(groups: &str, machine: &str, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let mut least = machine.lines().find_map(|line| line.strip_prefix("MemTotal:")).and_then(|line| {
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    });
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // A container sees its own group as the root, though the path may be the one seen from outside. Any parent
        // group may have the lower limit.
        let mut group = path.trim_end_matches('/');
        loop {
            // `max` means no limit.
            let limit = read(&format!("{root}{group}/{file}")).and_then(|text| text.trim().parse().ok());
            least = least.into_iter().chain(limit).min();
            let Some((above, _)) = group.rsplit_once('/') else { break };
            group = above;
        }
    }
    least
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::limit_of;

    #[test]
    fn the_lowest_limit_counts() {
        let machine = "MemTotal:        8388608 kB\nMemFree: 1 kB\n";
        let gib = 1_u64 << 30;
        let files = |files: &'static [(&str, &str)]| {
            move |path: &str| {
                files.iter().find(|(known, _)| *known == path).map(|(_, text)| (*text).to_owned())
            }
        };
        let none = files(&[]);
        assert_eq!(limit_of("", "", none), None);
        assert_eq!(limit_of("0::/a/b\n", machine, none), Some(8 * gib));
        let two = files(&[
            ("/sys/fs/cgroup/a/memory.max", "1073741824\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
        ]);
        assert_eq!(limit_of("0::/a/b\n", machine, two), Some(gib));
        let one = files(&[
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/c/memory.limit_in_bytes", "2147483648\n"),
        ]);
        assert_eq!(limit_of("4:cpu,memory:/c\n0::/\n", machine, one), Some(2 * gib));
        let container = files(&[("/sys/fs/cgroup/memory.max", "1073741824\n")]);
        assert_eq!(limit_of("0::/kubepods/x\n", machine, container), Some(gib));
    }

    #[test]
    fn a_process_holds_some_memory() {
        assert!(super::resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }
}
