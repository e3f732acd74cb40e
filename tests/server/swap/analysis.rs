//! What swaps cost those who call: latencies inside the windows of promotions, and outside.

use std::time::Duration;

use super::history::Call;
use super::load::OPEN;
use super::statistics::{Latencies, Window, Windows};
use super::swaps::{Attempt, Step};

/// A window ends so long after the promotion was answered: what was published before is retired meanwhile.
pub(super) const TAIL: Duration = Duration::from_millis(250);

/// A stretch between windows that is long enough for a p99 of its own.
const QUIET: Duration = Duration::from_secs(1);

/// Calls of one kind.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// How long this part of the run was.
    pub length: Duration,
    /// From the moment at which a call was to be sent to its answer.
    pub latencies: Latencies,
    /// From the moment at which a call was to be sent to the moment at which this client sent it.
    pub late: Latencies,
}

/// The p99 of one window or stretch, in µs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stretch {
    pub from: Duration,
    pub p99: f64,
}

/// The calls of the open connections, split.
#[derive(Debug, Default)]
pub(super) struct Analysis {
    /// Calls that no window touches.
    pub outside: Part,
    /// Calls that the window of a swap touches.
    pub swaps: Part,
    /// Calls that only the window of a refused promotion touches.
    pub refusals: Part,
    /// By window of a swap, the least p99 first.
    pub windows: Vec<Stretch>,
    /// By stretch between windows, the least p99 first: how much the machine itself wavers.
    pub stretches: Vec<Stretch>,
}

impl Analysis {
    /// Splits the calls of a run that lasted for `length`.
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
            let part = if swaps.touch(call.scheduled, call.ended) {
                0
            } else {
                1 + usize::from(!all.touch(call.scheduled, call.ended))
            };
            parts[part].push(*call);
        }
        let lengths = [
            swaps.length(),
            all.length().saturating_sub(swaps.length()),
            length.saturating_sub(all.length()),
        ];
        let [swaps, refusals, outside] = std::array::from_fn(|part| Part {
            length: lengths[part],
            latencies: parts[part].iter().map(latency).collect(),
            late: parts[part].iter().map(|call| call.sent.saturating_sub(call.scheduled)).collect(),
        });
        let quiet = all.gaps().filter(|gap| gap.length() >= QUIET);
        let stretches = each(quiet, &calls);
        Self { outside, swaps, refusals, windows: each(of_swaps, &calls), stretches }
    }

    /// What swapping costs: the p99 in the windows of swaps over the p99 without.
    pub(super) fn ratio(&self) -> f64 {
        self.swaps.latencies.quantile(0.99) / self.outside.latencies.quantile(0.99)
    }
}

fn latency(call: &Call) -> Duration {
    call.ended.saturating_sub(call.scheduled)
}

/// The p99 of the calls that each window touches, the least first. `calls` are in the order of their schedule.
fn each(windows: impl IntoIterator<Item = Window>, calls: &[Call]) -> Vec<Stretch> {
    // No call that began so much earlier is under way any more; if one is, the row of the longest calls shows it.
    const REACH: Duration = Duration::from_secs(1);
    let mut stretches: Vec<Stretch> = windows
        .into_iter()
        .map(|window| {
            let first = calls.partition_point(|call| call.scheduled + REACH < window.from);
            let after = calls.partition_point(|call| call.scheduled <= window.to);
            let touched = calls[first..after].iter().filter(|call| call.ended >= window.from);
            let latencies: Latencies = touched.map(latency).collect();
            Stretch { from: window.from, p99: latencies.quantile(0.99) }
        })
        .filter(|stretch| stretch.p99.is_finite())
        .collect();
    stretches.sort_by(|one, other| one.p99.total_cmp(&other.p99));
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swap::swaps::Refusal;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_call_counts_where_it_is_touched() {
        let attempt = |step, began, answered| Attempt { step, began: at(began), answered: at(answered) };
        // Windows: 1,000..=1,350 and 3,000..=3,260 of swaps, 3,200..=3,550 of a refusal.
        let attempts = [
            attempt(Step::Swap, 1000, 1100),
            attempt(Step::Swap, 3000, 3010),
            attempt(Step::Refusal(Refusal::Stale), 3200, 3300),
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
        assert_eq!(longest(&analysis.refusals), (1, 7000.0));
        assert_eq!(analysis.swaps.length, at(610));
        assert_eq!(analysis.refusals.length, at(290));
        assert_eq!(analysis.outside.length, at(4100));
        assert!((analysis.swaps.late.longest() - 1000.0).abs() < 1e-6);
        assert!((analysis.ratio() - 0.6).abs() < 1e-9);
        let p99s =
            |stretches: &[Stretch]| -> Vec<f64> { stretches.iter().map(|stretch| stretch.p99).collect() };
        assert_eq!(p99s(&analysis.windows), [5000.0, 6000.0]);
        assert_eq!(p99s(&analysis.stretches), [3000.0]);
    }
}
