//! The cost of swaps for callers: latencies inside and outside the windows of promotions.

use std::time::Duration;

use super::history::Call;
use super::load::OPEN;
use super::statistics::{Latencies, Window, Windows};
use super::swaps::{Attempt, Step};

/// How long a window extends beyond the promotion's answer: the previous release is retired meanwhile.
pub(super) const TAIL: Duration = Duration::from_millis(250);

/// The least length of a quiet interval between windows that gets its own p99.
const QUIET: Duration = Duration::from_secs(1);

/// The calls of one part of a run.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The total length of this part.
    pub length: Duration,
    /// From the scheduled start of a call to its answer.
    pub latencies: Latencies,
    /// From the scheduled start of a call to its actual start.
    pub late: Latencies,
}

/// The p99 of one window or quiet interval, in µs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub from: Duration,
    pub p99: f64,
}

/// The calls of the open-loop connections, by part.
#[derive(Debug, Default)]
pub(super) struct Analysis {
    /// Calls that overlap no window.
    pub outside: Part,
    /// Calls that overlap the window of a swap.
    pub swaps: Part,
    /// Calls that overlap only the window of a rejected promotion.
    pub rejections: Part,
    /// The windows of swaps, lowest p99 first.
    pub windows: Vec<Interval>,
    /// The quiet intervals between windows, lowest p99 first: they show the variation of the machine itself.
    pub intervals: Vec<Interval>,
}

impl Analysis {
    /// Splits the calls of a run of this length.
    pub(super) fn of(calls: &[Call], attempts: &[Attempt], length: Duration) -> Self {
        let window = |attempt: &Attempt| Window { from: attempt.began, to: attempt.answered + TAIL };
        let of_swaps: Vec<Window> =
            attempts.iter().filter(|attempt| attempt.step == Step::Swap).map(window).collect();
        let swaps = Windows::union(of_swaps.iter().copied());
        let all = Windows::union(attempts.iter().map(window));
        let mut calls: Vec<Call> = calls.iter().filter(|call| call.connection < OPEN).copied().collect();
        calls.sort_by_key(|call| call.scheduled);

        let mut parts: [Vec<Call>; 3] = Default::default();
        for call in &calls {
            let part = if swaps.overlap(call.scheduled, call.ended) {
                0
            } else {
                1 + usize::from(!all.overlap(call.scheduled, call.ended))
            };
            parts[part].push(*call);
        }
        let lengths = [
            swaps.length(),
            all.length().saturating_sub(swaps.length()),
            length.saturating_sub(all.length()),
        ];
        let [swaps, rejections, outside] = std::array::from_fn(|part| Part {
            length: lengths[part],
            latencies: parts[part].iter().map(latency).collect(),
            late: parts[part].iter().map(|call| call.sent.saturating_sub(call.scheduled)).collect(),
        });
        let quiet = all.gaps().filter(|gap| gap.length() >= QUIET);
        let intervals = each(quiet, &calls);
        Self { outside, swaps, rejections, windows: each(of_swaps, &calls), intervals }
    }

    /// The cost of swapping: the p99 in the windows of swaps, relative to the p99 without.
    pub(super) fn ratio(&self) -> f64 {
        self.swaps.latencies.quantile(0.99) / self.outside.latencies.quantile(0.99)
    }
}

fn latency(call: &Call) -> Duration {
    call.ended.saturating_sub(call.scheduled)
}

/// The p99 of the calls that overlap each window, lowest first. `calls` are sorted by their schedule.
fn each(windows: impl IntoIterator<Item = Window>, calls: &[Call]) -> Vec<Interval> {
    // Calls that began this much earlier have ended; if not, the column of the longest calls shows it.
    const REACH: Duration = Duration::from_secs(1);
    let mut intervals: Vec<Interval> = windows
        .into_iter()
        .map(|window| {
            let first = calls.partition_point(|call| call.scheduled + REACH < window.from);
            let after = calls.partition_point(|call| call.scheduled <= window.to);
            let overlapping = calls[first..after].iter().filter(|call| call.ended >= window.from);
            let latencies: Latencies = overlapping.map(latency).collect();
            Interval { from: window.from, p99: latencies.quantile(0.99) }
        })
        .filter(|interval| interval.p99.is_finite())
        .collect();
    intervals.sort_by(|one, other| one.p99.total_cmp(&other.p99));
    intervals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swap::swaps::Rejection;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_call_belongs_to_the_windows_that_it_overlaps() {
        let attempt = |step, began, answered| Attempt { step, began: at(began), answered: at(answered) };
        // Windows: 1,000..=1,350 and 3,000..=3,260 of swaps, 3,200..=3,550 of a rejection.
        let attempts = [
            attempt(Step::Swap, 1000, 1100),
            attempt(Step::Swap, 3000, 3010),
            attempt(Step::Rejection(Rejection::Stale), 3200, 3300),
        ];
        let call = |connection, scheduled, ended| Call {
            connection,
            scheduled: at(scheduled),
            sent: at(scheduled + 1),
            ended: at(ended),
            release: 1,
        };
        let calls = [
            call(0, 100, 110),
            call(1, 990, 999),
            call(2, 995, 1000),
            call(3, 1350, 1352),
            call(0, 1351, 1354),
            call(0, 3205, 3211),
            call(0, 3261, 3268),
            call(OPEN, 1100, 1900),
        ];
        let analysis = Analysis::of(&calls, &attempts, at(5000));
        let longest = |part: &Part| (part.latencies.count(), part.latencies.longest());
        assert_eq!(longest(&analysis.outside), (3, 10_000.0));
        assert_eq!(longest(&analysis.swaps), (3, 6000.0));
        assert_eq!(longest(&analysis.rejections), (1, 7000.0));
        assert_eq!(analysis.swaps.length, at(610));
        assert_eq!(analysis.rejections.length, at(290));
        assert_eq!(analysis.outside.length, at(4100));
        assert!((analysis.swaps.late.longest() - 1000.0).abs() < 1e-6);
        assert!((analysis.ratio() - 0.6).abs() < 1e-9);
        let p99s =
            |intervals: &[Interval]| -> Vec<f64> { intervals.iter().map(|interval| interval.p99).collect() };
        assert_eq!(p99s(&analysis.windows), [5000.0, 6000.0]);
        assert_eq!(p99s(&analysis.intervals), [3000.0]);
    }
}
