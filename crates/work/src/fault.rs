//! Fault points: the steps at which a test kills this process or holds it up.
//!
//! `PROFFER_FAULT=push.placing=kill` kills the process with SIGKILL when it reaches that step, and
//! `record.append=kill:20` when it reaches it for the twentieth time.
//! `promote.loaded=hold:PATH` creates the file `PATH` with the extension `reached`, and waits until `PATH` does not
//! exist. Commas separate several faults. Only builds with `debug_assertions` read the variable, once. In a release
//! build, a point compiles to nothing.
//!
//! The steps of a crate are in its own module `fault`. Their names begin with one of [`GROUPS`].

/// The groups of steps of all crates: what stands before the full stop of a step.
pub const GROUPS: [&str; 11] = [
    "push",
    "verdict",
    "create",
    "release",
    "promote",
    "init",
    "delete",
    "customers",
    "record",
    "seal",
    "erase",
];

/// The steps of a crate, by name.
#[derive(Debug, Clone, Copy)]
pub struct Steps(&'static [&'static str]);

impl Steps {
    /// A list of steps, each of which is `group.name`.
    #[must_use]
    pub const fn new(steps: &'static [&'static str]) -> Self {
        Self(steps)
    }

    /// The names of the steps, in their order.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        self.0
    }

    /// Marks a step; triggers the fault that `PROFFER_FAULT` names for it.
    #[inline]
    pub fn point(self, step: &str) {
        #[cfg(debug_assertions)]
        {
            debug_assert!(self.0.contains(&step), "`{step}` is not in the list of steps");
            armed::reached(self.0, step);
        }
        #[cfg(not(debug_assertions))]
        let _ = (self.0, step);
    }
}

#[cfg(debug_assertions)]
mod armed {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use super::GROUPS;

    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) enum Fault {
        /// When it is reached so many times.
        Kill(u32),
        Hold(PathBuf),
    }

    type Asked = (String, Fault);

    pub(super) fn reached(steps: &'static [&'static str], step: &str) {
        static FAULTS: OnceLock<Vec<Asked>> = OnceLock::new();
        static CHECKED: Mutex<Vec<&'static [&'static str]>> = Mutex::new(Vec::new());
        let faults = FAULTS.get_or_init(|| {
            let (faults, wrong) = parse(&std::env::var("PROFFER_FAULT").unwrap_or_default());
            report(&wrong);
            faults
        });
        if faults.is_empty() {
            return;
        }
        let mut checked = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
        if !checked.contains(&steps) {
            checked.push(steps);
            report(&unknown(faults, steps));
        }
        drop(checked);
        for (number, (_, fault)) in faults.iter().enumerate().filter(|(_, (at, _))| at == step) {
            match fault {
                Fault::Kill(times) => {
                    if times_reached(number) != *times {
                        continue;
                    }
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

    /// How often the step of the fault of this number is reached, this time included.
    fn times_reached(number: usize) -> u32 {
        static TIMES: Mutex<BTreeMap<usize, u32>> = Mutex::new(BTreeMap::new());
        let mut all = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
        let times = all.entry(number).or_default();
        *times += 1;
        *times
    }

    /// A test whose fault never triggers would pass, so standard error tells.
    fn report(wrong: &[String]) {
        for asked in wrong {
            eprintln!(
                "PROFFER_FAULT: `{asked}` is not <step>=kill, <step>=kill:<times> or <step>=hold:<path>"
            );
        }
    }

    /// The faults that are asked for, and what is malformed or of no group.
    pub(super) fn parse(text: &str) -> (Vec<Asked>, Vec<String>) {
        let (mut faults, mut wrong) = (Vec::new(), Vec::new());
        for asked in text.split(',').map(str::trim).filter(|asked| !asked.is_empty()) {
            let (step, action) = asked.split_once('=').unwrap_or((asked, ""));
            let fault = match action.split_once(':') {
                None if action == "kill" => Some(Fault::Kill(1)),
                Some(("kill", times)) => times.parse().ok().filter(|times| *times > 0).map(Fault::Kill),
                Some(("hold", path)) => Some(Fault::Hold(PathBuf::from(path))),
                _ => None,
            };
            match fault.filter(|_| GROUPS.contains(&group(step))) {
                Some(fault) => faults.push((step.to_owned(), fault)),
                None => wrong.push(asked.to_owned()),
            }
        }
        (faults, wrong)
    }

    /// The faults of the groups of `steps` that are not among them.
    pub(super) fn unknown(faults: &[Asked], steps: &[&str]) -> Vec<String> {
        let ours = |step: &str| steps.iter().any(|known| group(known) == group(step));
        let asked = faults.iter().map(|(step, _)| step);
        asked.filter(|step| ours(step) && !steps.contains(&step.as_str())).cloned().collect()
    }

    fn group(step: &str) -> &str {
        step.split_once('.').map_or(step, |(group, _)| group)
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::armed::{Fault, parse, unknown};
    use std::path::PathBuf;

    #[test]
    fn several_faults_are_separated_by_commas() {
        let (faults, wrong) = parse("push.staged=kill, promote.moved=hold:/tmp/gate,record.append=kill:20,");
        let expected = [
            ("push.staged".to_owned(), Fault::Kill(1)),
            ("promote.moved".to_owned(), Fault::Hold(PathBuf::from("/tmp/gate"))),
            ("record.append".to_owned(), Fault::Kill(20)),
        ];
        assert_eq!((faults.as_slice(), wrong.len()), (expected.as_slice(), 0));
    }

    #[test]
    fn what_would_never_trigger_is_told() {
        let asked =
            "push.staged=explode,psh.staged=kill,push.stagd=kill,record.append=kill,push.staged=kill:0";
        let (faults, wrong) = parse(asked);
        assert_eq!(wrong, ["push.staged=explode", "psh.staged=kill", "push.staged=kill:0"]);
        assert_eq!(unknown(&faults, &["push.staged", "push.placed"]), ["push.stagd"]);
        assert!(unknown(&faults, &["record.append"]).is_empty());
    }
}
