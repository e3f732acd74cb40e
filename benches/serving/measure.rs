//! Closed loops and their results: each caller makes one call after another.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::server::{Process, cpu_of_all};

/// Counted passes of a loop, after a shorter warm-up pass.
const PASSES: usize = 5;

/// The length of a pass; the last call of each caller is completed.
const PASS: Duration = Duration::from_millis(700);

/// The length of the warm-up pass.
const WARM_UP: Duration = Duration::from_millis(300);

/// Rounds of [`in_turns`].
const ROUNDS: usize = 15;

/// The results of a loop.
pub(crate) struct Measured {
    passes: Vec<Pass>,
    cpu: Option<Duration>,
    /// See [`Watch::others`].
    others: String,
}

struct Pass {
    latencies: Vec<Duration>,
    elapsed: Duration,
}

impl Pass {
    /// Calls per second.
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Lets each caller make one call after another, pass by pass. A caller prepares a call and returns it; only the call
/// is timed. The CPU time is that of `process`.
pub(crate) async fn closed_loop<C, F>(callers: Vec<C>, process: Process) -> Measured
where
    C: FnMut() -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (mut callers, _) = pass(callers, WARM_UP).await;
    let mut passes = Vec::with_capacity(PASSES);
    let (before, watch) = (process.cpu(), Watch::new([process]));
    for _ in 0..PASSES {
        let (same, measured) = pass(callers, PASS).await;
        callers = same;
        passes.push(measured);
    }
    let cpu = process.cpu().zip(before).map(|(after, before)| after.saturating_sub(before));
    Measured { passes, cpu, others: watch.others() }
}

/// Two loops that take turns, pass by pass, so that what else the machine does affects both.
pub(crate) struct Turns {
    passes: [Vec<Pass>; 2],
    /// Of the process of each loop, warm-up included.
    cpu: [Option<Duration>; 2],
    /// Calls that were answered, warm-up included.
    calls: [usize; 2],
    /// See [`Watch::others`].
    others: String,
}

/// Lets two sets of callers take turns. The CPU times are those of `processes`.
pub(crate) async fn in_turns<C, F>(mut loops: [Vec<C>; 2], processes: [Process; 2]) -> Turns
where
    C: FnMut() -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (before, watch) = (processes.map(Process::cpu), Watch::new(processes));
    let (mut passes, mut calls) = ([Vec::new(), Vec::new()], [0; 2]);
    for round in 0..=ROUNDS {
        // In the order 0 1, 1 0, so that a drift of the machine cancels out.
        for turn in [round % 2, 1 - round % 2] {
            let length = if round == 0 { WARM_UP } else { PASS };
            let (same, measured) = pass(std::mem::take(&mut loops[turn]), length).await;
            loops[turn] = same;
            calls[turn] += measured.latencies.len();
            if round > 0 {
                passes[turn].push(measured);
            }
        }
    }
    let cpu = [0, 1].map(|turn| {
        let now: Option<Duration> = processes[turn].cpu();
        now.zip(before[turn]).map(|(after, before)| after.saturating_sub(before))
    });
    Turns { passes, cpu, calls, others: watch.others() }
}

impl Turns {
    /// Calls per second of one of the loops.
    pub(crate) fn rate(&self, turn: usize) -> Spread {
        Spread::of(self.passes[turn].iter().map(Pass::rate))
    }

    /// The rate of the second loop to that of the first, round by round.
    pub(crate) fn ratio(&self) -> Spread {
        let [first, second] = &self.passes;
        Spread::of(first.iter().zip(second).map(|(first, second)| second.rate() / first.rate()))
    }

    /// Calls of one of the loops that were answered, warm-up included.
    pub(crate) fn calls(&self, turn: usize) -> usize {
        self.calls[turn]
    }

    /// Prints the rate of one of the loops, the CPU time per call and the CPU usage of other programs.
    pub(crate) fn print(&self, name: &str, turn: usize) {
        let cpu = self.cpu[turn].map(|cpu| micros(cpu) / self.calls[turn].max(1) as f64);
        let cpu = cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.0}"));
        println!("{}{cpu:>9}{:>9}", row(name, [self.rate(turn)]), self.others);
    }
}

/// Measures the CPU usage of programs other than this bench and the measured processes.
pub(crate) struct Watch {
    processes: Vec<Process>,
    before: Option<Duration>,
    began: Instant,
}

impl Watch {
    /// Starts the measurement.
    pub(crate) fn new(processes: impl Into<Vec<Process>>) -> Self {
        let processes = processes.into();
        Self { before: Self::elsewhere(&processes), processes, began: Instant::now() }
    }

    fn elsewhere(processes: &[Process]) -> Option<Duration> {
        let this = Process::this();
        let others = processes.iter().filter(|process| **process != this);
        let measured = others.chain([&this]).map(|process| process.cpu()).sum::<Option<Duration>>()?;
        Some(cpu_of_all()?.saturating_sub(measured))
    }

    /// The CPU usage of other programs since the start, in percent; `-` without `/proc`.
    pub(crate) fn others(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let elapsed = self.began.elapsed().as_secs_f64();
        let spent = Self::elsewhere(&self.processes).zip(self.before);
        let share = spent.map(|(now, before)| now.saturating_sub(before).as_secs_f64() / (elapsed * cores));
        share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0))
    }
}

async fn pass<C, F>(callers: Vec<C>, length: Duration) -> (Vec<C>, Pass)
where
    C: FnMut() -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let began = Instant::now();
    let mut running = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let mut latencies = Vec::with_capacity(1 << 14);
            while began.elapsed() < length {
                let call = caller();
                let asked = Instant::now();
                call.await;
                latencies.push(asked.elapsed());
            }
            (caller, latencies)
        });
    }
    let (callers, latencies): (Vec<C>, Vec<Vec<Duration>>) = running.join_all().await.into_iter().unzip();
    let elapsed = began.elapsed();
    let mut latencies: Vec<Duration> = latencies.into_iter().flatten().collect();
    latencies.sort_unstable();
    (callers, Pass { latencies, elapsed })
}

/// A caller that uses the requests in turn, starting at index `first`.
pub(crate) fn in_turn<T: Clone, F>(
    requests: Arc<[T]>,
    first: usize,
    call: impl Fn(T) -> F,
) -> impl FnMut() -> F {
    let mut next = first;
    move || {
        let request = requests[next % requests.len()].clone();
        next += 1;
        call(request)
    }
}

impl Measured {
    /// The quantile of the latency, in µs.
    pub(crate) fn quantile(&self, share: f64) -> Spread {
        let of = |pass: &Pass| {
            let rank = (share * pass.latencies.len() as f64).ceil() as usize;
            let latency = pass.latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default();
            micros(latency)
        };
        Spread::of(self.passes.iter().map(of))
    }

    /// Items per second, with `items` items per call.
    pub(crate) fn rate(&self, items: usize) -> Spread {
        Spread::of(self.passes.iter().map(|pass| pass.rate() * items as f64))
    }

    /// CPU time per call in µs, if the operating system reports it.
    pub(crate) fn cpu_per_call(&self) -> Option<f64> {
        let calls: usize = self.passes.iter().map(|pass| pass.latencies.len()).sum();
        Some(micros(self.cpu?) / calls.max(1) as f64)
    }

    /// Prints p50, p99, the rate, the CPU time per call and the CPU usage of other programs.
    pub(crate) fn print(&self, name: &str, items: usize) {
        let cpu = self.cpu_per_call().map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.0}"));
        let columns = [self.quantile(0.5), self.quantile(0.99), self.rate(items)];
        println!("{}{cpu:>9}{:>9}", row(name, columns), self.others);
    }
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The median, minimum and maximum of several passes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// `values` must not be empty.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        Self { median: values[values.len() / 2], min: values[0], max: values[values.len() - 1] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} [{} {}]", number(self.median), number(self.min), number(self.max)))
    }
}

/// Three significant digits or an integer, with thousands separators.
fn number(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let head = digits.len() % 3;
    let groups = digits.as_bytes()[head..].chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let head = (head > 0).then(|| digits[..head].to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

fn row<const N: usize>(name: &str, columns: [Spread; N]) -> String {
    let columns = columns.map(|column| format!("{column:>26}"));
    format!("{name:<62}{}", columns.concat())
}

pub(crate) fn print_row<const N: usize>(name: &str, columns: [Spread; N]) {
    println!("{}", row(name, columns));
}

/// `1 caller`, `2 callers`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Prints the title of a part of the table.
pub(crate) fn print_heading(title: &str) {
    println!("\n{title}");
}

/// Prints the title of a part of the table with rows of [`Measured::print`].
pub(crate) fn print_columns(title: &str, rate: &str) {
    println!("\n{title:<62}{:>26}{:>26}{rate:>26}{:>9}{:>9}", "p50 µs", "p99 µs", "CPU µs", "others");
}
