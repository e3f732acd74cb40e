//! Fault points: the places where a test stops this process dead, or holds it up.
//!
//! `PROFFER_FAULT=push.placing=kill` kills the process with SIGKILL when it reaches that step, `promote.written=sleep:500` holds the
//! thread for 500 ms; several are separated by commas. Only builds with `debug_assertions` read the variable, once; in a release
//! build a point is nothing at all.
//!
//! The steps of the store, in the order in which they are reached:
//!
//! | step | what is there |
//! |---|---|
//! | `push.staged` | a version is whole and synced in the staging directory, nothing in the store |
//! | `push.claimed` | on S3: its number is taken, none of its files is there |
//! | `push.placing` | locally as before; on S3: everything but the file that makes it a version |
//! | `push.placed` | the version exists |
//! | `verdict.writing`, `verdict.written` | before and after the verdict is there |
//! | `release.staged` | the texts of a release; locally in staging, on S3 the number is taken and half a release is there |
//! | `release.placing` | locally the whole release in staging; on S3 everything but `release.toml` |
//! | `release.placed` | the release exists |
//! | `promote.asked` | nothing has been read or locked yet |
//! | `promote.written` | the next `CURRENT` is written (S3: about to be), the old one holds |
//! | `promote.moved` | the next `CURRENT` holds, `promotions/` has no copy of it |
//! | `promote.copied` | it has |
//! | `delete.marked` | a version may no longer be pinned, and is still there |
//! | `delete.hidden` | the version no longer exists, its files do |
//! | `delete.done` | they are gone |

/// The steps of the store, in the order in which they are reached.
pub const STEPS: [&str; 16] = [
    "push.staged",
    "push.claimed",
    "push.placing",
    "push.placed",
    "verdict.writing",
    "verdict.written",
    "release.staged",
    "release.placing",
    "release.placed",
    "promote.asked",
    "promote.written",
    "promote.moved",
    "promote.copied",
    "delete.marked",
    "delete.hidden",
    "delete.done",
];

/// Marks a step; does what `PROFFER_FAULT` asks for there.
#[inline]
pub fn point(step: &str) {
    #[cfg(debug_assertions)]
    armed::reached(step);
    #[cfg(not(debug_assertions))]
    let _ = step;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::time::Duration;

    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) enum Fault {
        Kill,
        Sleep(Duration),
    }

    pub(super) fn reached(step: &str) {
        static FAULTS: OnceLock<Vec<(String, Fault)>> = OnceLock::new();
        let faults = FAULTS.get_or_init(|| parse(&std::env::var("PROFFER_FAULT").unwrap_or_default()));
        for (_, fault) in faults.iter().filter(|(at, _)| at == step) {
            match fault {
                Fault::Kill => {
                    let _ = rustix::process::kill_process(
                        rustix::process::getpid(),
                        rustix::process::Signal::KILL,
                    );
                }
                Fault::Sleep(time) => std::thread::sleep(*time),
            }
        }
    }

    /// What cannot be read is told on standard error: a test that asks for a fault and gets none would pass.
    pub(super) fn parse(text: &str) -> Vec<(String, Fault)> {
        let mut faults = Vec::new();
        for asked in text.split(',').map(str::trim).filter(|asked| !asked.is_empty()) {
            let (step, action) = asked.split_once('=').unwrap_or((asked, ""));
            let sleep = action.strip_prefix("sleep:").and_then(|time| time.parse().ok());
            match (action, sleep) {
                ("kill", _) => faults.push((step.to_owned(), Fault::Kill)),
                (_, Some(time)) => faults.push((step.to_owned(), Fault::Sleep(Duration::from_millis(time)))),
                _ => eprintln!("PROFFER_FAULT: `{asked}` is not <step>=kill or <step>=sleep:<ms>"),
            }
        }
        faults
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::armed::{Fault, parse};
    use std::time::Duration;

    #[test]
    fn several_faults_are_separated_by_commas() {
        let faults = parse("push.staged=kill, promote.moved=sleep:500,");
        let expected = [
            ("push.staged".to_owned(), Fault::Kill),
            ("promote.moved".to_owned(), Fault::Sleep(Duration::from_millis(500))),
        ];
        assert_eq!(faults, expected);
        assert!(parse("push.staged=explode").is_empty());
    }
}
