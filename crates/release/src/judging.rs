//! Judging in a separate process: a model is foreign code until it has passed its gates, and a server never runs
//! foreign code.
//!
//! [`Judges`] starts `proffer judge`, the same program. The question goes to its standard input; a report of each
//! gate comes back on its standard output. The process limits itself before it reads anything ([`JudgeLimits`]); the
//! parent enforces the wall-clock limit. If the process dies, the running gate was the last, and the report `process`
//! gives the cause. A process that cannot be started or fed is an error and says nothing about the version.
//!
//! Start reading at [`Judges::judge`], then at [`serve`], the other end.

mod child;
mod ended;
mod group;
mod limits;
mod messages;
mod permits;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::Builder;
use std::time::{Duration, Instant};

pub use self::child::serve;
use self::ended::{End, cpu_time};
use self::group::Group;
pub use self::limits::JudgeLimits;
pub(super) use self::messages::{AbsolutePath, Question, ServingVersion};
use self::messages::{MAX_ANSWER, Message, Subject};
pub use self::permits::Permits;
use super::RegistryError;
use super::gates::{self, PROCESS};
use super::records::{Evidence, GateOutcome, GateReport};
use model::onnx::find_library;

/// The most bytes of standard error that are kept.
const MAX_STDERR: u64 = 64 << 10;

/// A process that got less than one part in this many of the elapsed time as CPU time was starved, not slow.
const STARVED: u32 = 10;

/// A starved process may take up to this multiple of the wall-clock limit.
const PATIENCE: u32 = 10;

/// How often the exit of a process is polled once its output is closed.
const EXIT_POLL: Duration = Duration::from_millis(1);

/// The environment variables that the process inherits: search paths of libraries.
const INHERITED: [&str; 2] = ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// How judging processes are started.
#[derive(Debug, Clone, Default)]
pub struct Judges {
    /// The program that has the command `judge`; by default, the running executable.
    pub program: Option<PathBuf>,
    /// The limits of each process.
    pub limits: JudgeLimits,
}

/// The gates' reports and evidence.
#[derive(Debug)]
pub(super) struct Judgement {
    pub gates: Vec<GateReport>,
    pub evidence: Evidence,
}

impl Judges {
    /// Runs the gates over a version in a separate process. The version may serve if no report says
    /// [`GateOutcome::Failed`].
    ///
    /// # Errors
    /// [`RegistryError::Internal`] where the process cannot be started, fed or understood, or got no time to run.
    pub(super) fn judge(&self, asked: Question) -> Result<Judgement, RegistryError> {
        self.ask(&Subject::Version(Box::new(asked)), &gates::names().collect::<Vec<_>>())
    }

    /// Loads and runs a graph without a manifest in a separate process. Such a graph serves the Open Inference
    /// Protocol alone.
    ///
    /// # Errors
    /// As [`Judges::judge`].
    pub(super) fn judge_bare(&self, file: &Path) -> Result<Judgement, RegistryError> {
        let file = AbsolutePath::new(file).map_err(|error| failed(&error))?;
        self.ask(&Subject::Bare { file }, &child::BARE_GATES)
    }

    fn ask(&self, subject: &Subject, names: &[&str]) -> Result<Judgement, RegistryError> {
        let question = serde_json::to_vec(subject).map_err(|error| failed(&error))?;
        let mut process = Process::start(self, question).map_err(|error| failed(&error))?;
        let grouped = process.group.is_some().then_some("a control group of its own");
        let mut transcript = Transcript::default();
        let late = process.listen(&self.limits, &mut transcript);
        let end = process.end(late, &self.limits).map_err(|error| failed(&error))?;
        match (transcript.done.take(), end) {
            (Some((mut evidence, used)), End::Exited(0)) => {
                evidence.limits.extend(grouped.map(str::to_owned));
                let limit = evidence.limits.join(", ");
                transcript.gates.push(report(GateOutcome::Passed, used, limit, String::new()));
                for report in &mut transcript.gates {
                    self.limits.explain(&mut report.why);
                }
                Ok(Judgement { gates: transcript.gates, evidence })
            }
            (_, end) => {
                let Some(how) = end.version_fault(&self.limits) else {
                    return Err(RegistryError::Internal(format!("the judging process {end}")));
                };
                let limit = [Some(self.limits.to_string()), grouped.map(str::to_owned)];
                let limit = limit.into_iter().flatten().collect::<Vec<_>>().join(", ");
                Ok(transcript.cut_short(names, &how, limit))
            }
        }
    }
}

/// The report on the process itself.
fn report(outcome: GateOutcome, measured: String, limit: String, why: String) -> GateReport {
    GateReport { gate: PROCESS.to_owned(), outcome, measured, limit, why }
}

fn failed(error: &dyn std::error::Error) -> RegistryError {
    RegistryError::Internal(format!("the judging process cannot be used: {error}"))
}

/// What the process has said so far.
#[derive(Default)]
struct Transcript {
    gates: Vec<GateReport>,
    running_gate: Option<String>,
    /// Its evidence, and what it used.
    done: Option<(Evidence, String)>,
}

impl Transcript {
    fn take(&mut self, said: Message) {
        match said {
            Message::Begins(gate) => self.running_gate = Some(gate),
            Message::Report(report) => {
                self.running_gate = None;
                self.gates.push(report);
            }
            Message::Done { evidence, used } => self.done = Some((evidence, used)),
        }
    }

    /// The reports when the process died: its evidence is dropped.
    fn cut_short(self, names: &[&str], how: &str, limit: String) -> Judgement {
        let Self { mut gates, running_gate, .. } = self;
        let at = running_gate
            .map_or_else(|| "before the first gate".to_owned(), |gate| format!("in the gate `{gate}`"));
        let reported = gates.len();
        gates.extend(names.iter().skip(reported).map(|gate| GateReport {
            gate: (*gate).to_owned(),
            outcome: GateOutcome::Skipped,
            measured: String::new(),
            limit: String::new(),
            why: "the judging process ended before this gate".to_owned(),
        }));
        gates.push(report(GateOutcome::Failed, String::new(), limit, format!("{at}, {how}")));
        Judgement { gates, evidence: Evidence::default() }
    }
}

/// The process, and the threads that feed it and read its output.
struct Process {
    child: Child,
    /// `None` where this machine allows no control group.
    group: Option<Group>,
    began: Instant,
    said: Receiver<Message>,
    stderr: Receiver<String>,
}

impl Process {
    fn start(judges: &Judges, question: Vec<u8>) -> io::Result<Self> {
        let program = judges.program.clone().map_or_else(std::env::current_exe, Ok)?;
        let library = find_library().map_err(io::Error::other)?;
        let mut command = Command::new(program);
        let inherited = INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        let inherited: Vec<(&str, OsString)> = inherited.collect();
        command
            .arg("judge")
            .args(judges.limits.arguments())
            .env_clear()
            .envs(inherited)
            .env("ORT_DYLIB_PATH", library)
            .env("ORT_DISABLE_TELEMETRY", "1")
            // Memory that the allocator reserves ahead would count towards the limit.
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let began = Instant::now();
        // The process does nothing before it gets its question, so it is in the group in time.
        let group = Group::make(judges.limits.memory).filter(|group| group.add_process(child.id()));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (tell, said) = mpsc::channel();
        let (tell_stderr, told_stderr) = mpsc::channel();
        let mut threads = vec![];
        threads.push(Builder::new().name("judge-in".to_owned()).spawn(move || {
            // If the process dies before it has read everything, `end` reports it.
            _ = stdin.map(|mut stdin| stdin.write_all(&question));
        }));
        threads.push(Builder::new().name("judge-out".to_owned()).spawn(move || {
            _ = stdout.map(|stdout| read_messages(stdout, &tell));
        }));
        threads.push(Builder::new().name("judge-err".to_owned()).spawn(move || {
            _ = stderr.map(|stderr| tell_stderr.send(head_of(stderr)));
        }));
        let process = Self { child, group, began, said, stderr: told_stderr };
        match threads.into_iter().find_map(Result::err) {
            // Dropping the process kills it.
            Some(error) => Err(error),
            None => Ok(process),
        }
    }

    /// Collects what the process says until it closes its output; true if it exceeded its time instead.
    fn listen(&mut self, limits: &JudgeLimits, transcript: &mut Transcript) -> bool {
        let mut turns = 1;
        loop {
            let until = self.began + limits.time * turns;
            match self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(said) => transcript.take(said),
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {
                    if !self.starved(limits.time * turns) || turns >= PATIENCE {
                        return true;
                    }
                    turns += 1;
                }
            }
        }
    }

    /// Whether the machine gave the process too little CPU time to judge it by the clock.
    fn starved(&self, elapsed: Duration) -> bool {
        cpu_time(self.child.id()).is_some_and(|cpu| cpu < elapsed / STARVED)
    }

    /// How the process ended. Kills it if it is `late`, or does not exit after its last line.
    fn end(mut self, late: bool, limits: &JudgeLimits) -> io::Result<End> {
        let until = self.began + limits.time * PATIENCE;
        let status = loop {
            if late || Instant::now() >= until {
                break None;
            }
            match self.child.try_wait()? {
                None => std::thread::sleep(EXIT_POLL),
                ended => break ended,
            }
        };
        let Some(status) = status else {
            let starved = self.starved(self.began.elapsed()).then(|| cpu_time(self.child.id()));
            self.child.kill()?;
            self.child.wait()?;
            return Ok(starved.map_or(End::Late, |cpu| End::Starved(cpu.unwrap_or_default())));
        };
        let stderr = self.stderr.recv().unwrap_or_default();
        let ran_out = self.group.as_ref().is_some_and(Group::ran_out);
        let end = End::of(status, &stderr);
        Ok(if ran_out && end == End::Killed { End::Memory } else { end })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killing a process that was already waited for fails harmlessly.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Passes on each line until one cannot be parsed or the output is too long.
fn read_messages(stdout: impl Read, tell: &mpsc::Sender<Message>) -> io::Result<()> {
    let mut lines = BufReader::new(stdout.take(MAX_ANSWER));
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        let told = serde_json::from_str(&line).is_ok_and(|said| tell.send(said).is_ok());
        if !told {
            break;
        }
        line.clear();
    }
    Ok(())
}

/// The beginning of standard error. The rest is drained, so that the process never blocks on a full pipe.
fn head_of(mut stderr: impl Read) -> String {
    let mut head = Vec::new();
    _ = stderr.by_ref().take(MAX_STDERR).read_to_end(&mut head);
    _ = io::copy(&mut stderr, &mut io::sink());
    String::from_utf8_lossy(&head).into_owned()
}
