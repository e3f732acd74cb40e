//! Fault points: the steps at which a test kills this process or holds it up.
//!
//! `PROFFER_FAULT=push.placing=kill` kills the process with SIGKILL when it reaches that step.
//! `promote.loaded=hold:PATH` creates the file `PATH` with the extension `reached`, and waits until `PATH` does not
//! exist. Commas separate several faults. Only builds with `debug_assertions` read the variable, once. In a release
//! build, a point compiles to nothing.
//!
//! The steps, in the order in which they are reached:
//!
//! | step | state |
//! |---|---|
//! | `push.uploaded` | all bytes of a version have arrived and match the announcement |
//! | `push.staged` | a version is whole and synced in the staging directory, nothing in the store |
//! | `push.claimed` | on S3: its number is taken, none of its files is there |
//! | `push.placing` | locally as before; on S3: everything but the file that makes it a version |
//! | `push.placed` | the version exists |
//! | `push.judged` | the gates have ended, no verdict is stored |
//! | `verdict.writing`, `verdict.written` | before and after the verdict is stored |
//! | `create.checked` | a new release is sound, nothing of it is there |
//! | `release.staged` | the texts of a release: locally in staging; on S3 half a release, its number taken |
//! | `release.placing` | locally the whole release in staging; on S3 everything but `release.toml` |
//! | `release.placed` | the release exists |
//! | `promote.loaded` | the release is loaded and warm, `CURRENT` has not moved |
//! | `promote.asked` | nothing has been read or locked yet |
//! | `promote.written` | the next `CURRENT` is written (S3: about to be), the old one holds |
//! | `promote.moved` | the next `CURRENT` holds, `promotions/` has no copy of it |
//! | `promote.copied` | it has |
//! | `promote.switched` | as before, in the server that promotes; it still serves the release before |
//! | `promote.published` | it serves the new one, and has not answered |
//! | `init.version` | `init` has placed a version and stored its verdict |
//! | `delete.marked` | a version may no longer be pinned, and is still there |
//! | `delete.hidden` | the version no longer exists, its files do |
//! | `delete.done` | they are gone |

/// The steps by name.
#[cfg(debug_assertions)]
const STEPS: [&str; 23] = [
    "push.uploaded",
    "push.staged",
    "push.claimed",
    "push.placing",
    "push.placed",
    "push.judged",
    "verdict.writing",
    "verdict.written",
    "create.checked",
    "release.staged",
    "release.placing",
    "release.placed",
    "promote.loaded",
    "promote.asked",
    "promote.written",
    "promote.moved",
    "promote.copied",
    "promote.switched",
    "promote.published",
    "init.version",
    "delete.marked",
    "delete.hidden",
    "delete.done",
];

/// Marks a step; triggers the fault that `PROFFER_FAULT` names for it.
#[inline]
pub(crate) fn point(step: &str) {
    #[cfg(debug_assertions)]
    {
        debug_assert!(STEPS.contains(&step), "`{step}` is not in the list of steps");
        armed::reached(step);
    }
    #[cfg(not(debug_assertions))]
    let _ = step;
}

#[cfg(debug_assertions)]
mod armed {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::time::Duration;

    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) enum Fault {
        Kill,
        Hold(PathBuf),
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
                Fault::Hold(path) => {
                    let _ = std::fs::write(path.with_extension("reached"), "");
                    while path.exists() {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            }
        }
    }

    /// Malformed faults are reported on standard error: a test whose fault never triggers would pass.
    pub(super) fn parse(text: &str) -> Vec<(String, Fault)> {
        let mut faults = Vec::new();
        for asked in text.split(',').map(str::trim).filter(|asked| !asked.is_empty()) {
            let (step, action) = asked.split_once('=').unwrap_or((asked, ""));
            let fault = match (action, action.strip_prefix("hold:")) {
                ("kill", _) => Some(Fault::Kill),
                (_, Some(path)) => Some(Fault::Hold(PathBuf::from(path))),
                _ => None,
            };
            match fault.filter(|_| super::STEPS.contains(&step)) {
                Some(fault) => faults.push((step.to_owned(), fault)),
                None => eprintln!("PROFFER_FAULT: `{asked}` is not <step>=kill or <step>=hold:<path>"),
            }
        }
        faults
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::armed::{Fault, parse};
    use std::path::PathBuf;

    #[test]
    fn several_faults_are_separated_by_commas() {
        let faults = parse("push.staged=kill, promote.moved=hold:/tmp/gate,");
        let expected = [
            ("push.staged".to_owned(), Fault::Kill),
            ("promote.moved".to_owned(), Fault::Hold(PathBuf::from("/tmp/gate"))),
        ];
        assert_eq!(faults, expected);
        assert!(parse("push.staged=explode,push.stagd=kill").is_empty());
    }
}
