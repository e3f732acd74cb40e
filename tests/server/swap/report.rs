//! The report: one table for operators of the server.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::time::Duration;

use super::analysis::{Analysis, Interval, Part, TAIL};
use super::history::{Call, Violations};
use super::load::{OPEN, SEQUENTIAL};
use super::machine::{self, Cores};
use super::memory::{SWAPS, Trend};
use super::statistics::Latencies;
use super::swaps::{Attempt, Log, Rejection, Step};

/// The limit for the rise of the p99 by swapping.
pub(super) const RATIO: f64 = 1.2;

/// The limit for the growth of memory without the history of customers, by a thousand swaps.
pub(super) const GROWTH: f64 = 1.1;

/// The limit for the duration of the full form.
pub(super) const LONGEST: Duration = Duration::from_mins(10);

/// The number of figures that show memory over time.
const POINTS: usize = 14;

/// The results of a run.
pub(super) struct Report {
    pub binary: PathBuf,
    /// From the first command to the end of the load.
    pub elapsed: Duration,
    /// Calls per second of each pass of the closed loop.
    pub peaks: Vec<f64>,
    /// Calls per second of the load.
    pub rate: f64,
    pub calls: Vec<Call>,
    pub log: Log,
    pub analysis: Analysis,
    pub cores: Option<Cores>,
    /// Failed calls and wrong answers: how many, and descriptions of the first.
    pub failures: (usize, Vec<String>),
    pub not_current: Violations,
    pub gone_back: Violations,
    pub releases_seen: usize,
    /// Decisions in each variant of the experiment, the control first.
    pub in_variants: [usize; 2],
    /// Publications that the server counted during the load.
    pub published: u64,
    /// Why the promoter ended early.
    pub promoter: Result<(), String>,
}

impl Report {
    /// The number of swaps.
    pub(super) fn swaps(&self) -> usize {
        self.log.publications.len() - 1
    }

    /// Violations of what must hold on any machine.
    pub(super) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if let Err(why) = &self.promoter {
            broken.push(format!("the promoter stopped: {why}"));
        }
        let (failures, examples) = &self.failures;
        if *failures > 0 {
            broken.push(format!("{failures} calls failed or mixed releases:\n  {}", examples.join("\n  ")));
        }
        for (what, found) in [
            ("answers of a release that was not current during the call", &self.not_current),
            ("answers of an older release than an earlier answer", &self.gone_back),
        ] {
            if found.count > 0 {
                broken.push(format!("{} {what}:\n{}", found.count, found.examples));
            }
        }
        if self.releases_seen != self.log.publications.len() {
            broken.push(format!("only {} releases answered calls", self.releases_seen));
        }
        if self.in_variants.contains(&0) {
            broken.push(format!("decisions in the variants of the experiment: {:?}", self.in_variants));
        }
        if self.published != self.swaps() as u64 {
            broken.push(format!("the server counted {} publications, not {}", self.published, self.swaps()));
        }
        broken
    }

    /// Violations of what must hold on an otherwise idle machine.
    pub(super) fn over_limits(&self) -> Vec<String> {
        let mut over_limits = Vec::new();
        let ratio = self.analysis.ratio();
        if ratio.is_nan() || ratio > RATIO {
            over_limits.push(format!("the p99 rises by a factor of {ratio:.3}, more than {RATIO}"));
        }
        match Trend::of(&self.log.memory) {
            Some(trend) if trend.growth() <= GROWTH => {}
            trend => over_limits.push(format!("memory is not flat: {trend:?}")),
        }
        if self.elapsed > LONGEST {
            over_limits.push(format!("it took {:.1?}, longer than {LONGEST:?}", self.elapsed));
        }
        over_limits
    }

    fn rejected(&self) -> usize {
        self.log.attempts.len() - self.swaps()
    }

    fn write_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let analysis = &self.analysis;
        let tail = TAIL.as_millis();
        writeln!(
            f,
            "\n{:<44}{:>9}{:>10}{:>10}{:>10}{:>10}{:>11}{:>10}",
            "latency from the scheduled start, µs",
            "seconds",
            "calls",
            "p50",
            "p99",
            "p99.9",
            "longest",
            "late p99"
        )?;
        let in_windows = format!("promotion to {tail} ms after its answer");
        for (name, part) in [
            ("without a swap", &analysis.outside),
            (in_windows.as_str(), &analysis.swaps),
            ("the same for rejected promotions only", &analysis.rejections),
        ] {
            write_part(f, name, part)?;
        }
        let median = |part: &Part| part.latencies.quantile(0.5);
        let p50 = median(&analysis.swaps) / median(&analysis.outside);
        let ratio = analysis.ratio();
        writeln!(f, "{:<44}{:>29.3}{:>10.3}   (p99: at most {RATIO})", "with a swap / without", p50, ratio)?;
        write_intervals(f, "p99 of each window of a swap", &analysis.windows)?;
        write_intervals(f, "p99 of each interval without a swap", &analysis.intervals)
    }

    fn write_promotions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<44}{:>9}{:>10}{:>10}{:>10}", "promotions, ms", "count", "p50", "p99", "longest")?;
        let kinds = [
            ("accepted: loaded, warmed up, published", Step::Swap),
            ("rejected: a version is damaged on disk", Step::Rejection(Rejection::Damaged)),
            ("rejected: a pushed version fails its gates", Step::Rejection(Rejection::Gates)),
            ("rejected: another release is current", Step::Rejection(Rejection::Stale)),
            ("rejected: no such release", Step::Rejection(Rejection::Unknown)),
        ];
        for (name, step) in kinds {
            let took = |attempt: &Attempt| attempt.answered.saturating_sub(attempt.began);
            let of_kind = self.log.attempts.iter().filter(|attempt| attempt.step == step);
            let took: Latencies = of_kind.map(took).collect();
            if took.count() == 0 {
                continue;
            }
            let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|share| took.quantile(share) / 1e3);
            writeln!(f, "{name:<44}{:>9}{p50:>10.1}{p99:>10.1}{longest:>10.1}", took.count())?;
        }
        Ok(())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (swaps, rejected) = (self.swaps(), self.rejected());
        let elapsed = self.elapsed.as_secs_f64();
        writeln!(f, "\n{swaps} swaps and {rejected} rejected promotions under load; {elapsed:.0} s in all")?;
        writeln!(f, "machine: {}", machine::describe())?;
        writeln!(f, "server: {}, in a process of its own", self.binary.display())?;
        let peaks: Vec<String> = self.peaks.iter().map(|peak| format!("{peak:.0}")).collect();
        let best = self.peaks.iter().copied().fold(f64::NAN, f64::max);
        writeln!(
            f,
            "load: {:.0} Rank and Score per second, {:.0} % of the peak of {best:.0} (passes: {}); {OPEN} connections with random arrivals, which are measured, and {SEQUENTIAL} with sequential calls",
            self.rate,
            100.0 * self.rate / best,
            peaks.join(", "),
        )?;
        if let Some(Cores { server, client, others }) = self.cores {
            writeln!(
                f,
                "cores in use: server {server:.2}, this client {client:.2} (on the same cores, so its share is part of \
                 every figure), everything else {others:.2}"
            )?;
        }
        self.write_latencies(f)?;
        self.write_promotions(f)?;
        let (published, checked) = (self.log.publications.len(), self.calls.len());
        writeln!(
            f,
            "\n{:<44}{checked:>9}, each complete and of one release: marks, segment, models, scores, variants",
            "answers checked"
        )?;
        for (what, count) in [
            ("calls that failed or mixed releases", self.failures.0),
            ("answers of a release that was not current", self.not_current.count),
            ("answers that went back to an older release", self.gone_back.count),
        ] {
            writeln!(f, "{what:<44}{count:>9}")?;
        }
        writeln!(f, "{:<44}{:>9} of {published}", "releases that answered", self.releases_seen)?;
        writeln!(f, "{:<44}{:>9}", "publications by the server's own count", self.published)?;
        let [control, other] = self.in_variants;
        writeln!(f, "{:<44}{control:>9} in the control, {other} in the other", "decisions in an experiment")?;
        if let Some(trend) = Trend::of(&self.log.memory) {
            writeln!(
                f,
                "{:<44}{:>9.1} half-way, {:.1} at the end, by the median slope: × {:.3} in {SWAPS} swaps (at most {GROWTH})",
                "resident memory without the history, MB",
                trend.first,
                trend.last,
                trend.growth(),
            )?;
        }
        // If memory grows, this shows whether it would continue to grow.
        let step = self.log.memory.len().div_ceil(POINTS).max(1);
        let points = self.log.memory.iter().step_by(step);
        let points: Vec<String> =
            points.map(|one| format!("{}: {:.0} + {:.0}", one.swaps, one.rest(), one.history)).collect();
        writeln!(f, "{:<44}{}", "by the number of swaps, with the history", points.join(", "))
    }
}

fn write_part(f: &mut fmt::Formatter<'_>, name: &str, part: &Part) -> fmt::Result {
    let [p50, p99, p999, longest] = [0.5, 0.99, 0.999, 1.0].map(|share| part.latencies.quantile(share));
    let (seconds, count, late) =
        (part.length.as_secs_f64(), part.latencies.count(), part.late.quantile(0.99));
    writeln!(
        f,
        "{name:<44}{seconds:>9.1}{count:>10}{p50:>10.0}{p99:>10.0}{p999:>10.0}{longest:>11.0}{late:>10.0}"
    )
}

/// The best, the median and the worst.
fn write_intervals(f: &mut fmt::Formatter<'_>, name: &str, intervals: &[Interval]) -> fmt::Result {
    let (Some(best), Some(worst)) = (intervals.first(), intervals.last()) else { return Ok(()) };
    let median = intervals[intervals.len() / 2];
    let (best_p99, median, worst_p99) = (best.p99, median.p99, worst.p99);
    let (best_at, worst_at) = (best.from.as_secs_f64(), worst.from.as_secs_f64());
    writeln!(
        f,
        "{name:<44}{:>9} of them: best {best_p99:.0} (at {best_at:.1} s), median {median:.0}, worst {worst_p99:.0} (at \
         {worst_at:.1} s)",
        intervals.len(),
    )
}
