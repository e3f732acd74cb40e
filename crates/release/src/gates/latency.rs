//! The gate that checks a version against the latency budget of its manifest.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Finding;
use super::bench::Bench;
use crate::load::Loaded;
use document::plural;
use model::{Layout, Model, ModelError};
use work::priority::yield_if_due;

/// The number of measured runs; the 99th percentile is then the last but one.
const RUNS: usize = 100;

/// Rows of a run of a pairwise model: one customer with this many offers. For other models, one row is a customer.
const PAIRS: usize = 100;

/// With this many runs over the budget, the 99th percentile exceeds it, regardless of the other runs.
const HOPELESS: usize = 2;

/// Scoring for one customer takes at most what the manifest allows, at the 99th percentile.
///
/// Measures CPU time, not wall-clock time: judging runs on a thread of idle priority.
pub(super) fn check(bench: &Bench<'_>, loaded: &Loaded) -> Finding {
    let Some(budget) = bench.manifest().ok().and_then(|manifest| manifest.latency_budget) else {
        return Finding::skipped("the manifest sets no `latency_budget_ms`");
    };
    let (rows, measured) = match loaded {
        Loaded::Model(model) => match of_model(bench, model, budget) {
            Ok(measured) => measured,
            Err(error) => return Finding::failed("", shown(budget), format!("the model failed: {error}")),
        },
        Loaded::Segmentation(segmenter) => {
            let rows = bench.rows();
            let assign = |run: usize| {
                let row = rows[run % rows.len()].gapped();
                std::hint::black_box(segmenter.assign(|index| row.customer[index]));
                Ok::<(), ModelError>(())
            };
            match measure(budget, assign) {
                Ok(measured) => (1, measured),
                Err(error) => return Finding::failed("", shown(budget), error.to_string()),
            }
        }
    };
    let Measured { p99, runs, .. } = measured;
    let text = format!("p99 {} over {runs} runs of {}", shown(p99), plural(rows, "row"));
    if p99 <= budget {
        return Finding::passed(text, shown(budget));
    }
    let why = format!(
        "{} of {runs} runs took longer than the budget, in time of one core; make the model smaller or raise \
         `latency_budget_ms`",
        measured.over
    );
    Finding::failed(text, shown(budget), why)
}

/// The times of the runs.
struct Measured {
    p99: Duration,
    runs: usize,
    /// Runs over the budget.
    over: usize,
}

/// The number of rows of a run, and the times of the runs.
fn of_model(bench: &Bench<'_>, model: &Model, budget: Duration) -> Result<(usize, Measured), ModelError> {
    let rows = if model.manifest().layout == Some(Layout::Pairwise) { PAIRS } else { 1 };
    // Different rows each time: a model is faster on values that it has just seen.
    let mut matrices = Vec::with_capacity(RUNS);
    for batch in bench.rows().chunks_exact(rows).take(RUNS) {
        let mut matrix = model.matrix();
        for generated in batch {
            // The gate before has reported rows that the model does not accept.
            let _ = generated.push(&mut matrix);
        }
        matrices.push(matrix);
    }
    let worker = bench.worker();
    model.warm_up(worker)?;
    let measured = measure(budget, |run| {
        model.score(worker, &matrices[run % matrices.len()]).map(|scores| {
            std::hint::black_box(scores);
        })
    })?;
    Ok((rows, measured))
}

/// Runs until there are enough measurements, or the budget is certainly exceeded.
fn measure<E>(budget: Duration, mut run: impl FnMut(usize) -> Result<(), E>) -> Result<Measured, E> {
    let mut took = Vec::with_capacity(RUNS);
    let mut over = 0;
    while took.len() < RUNS && over < HOPELESS {
        yield_if_due();
        let began = thread_time();
        run(took.len())?;
        let time = thread_time().saturating_sub(began);
        over += usize::from(time > budget);
        took.push(time);
    }
    took.sort_unstable();
    // Nearest rank; at least one run was measured.
    let p99 = took[(took.len() * 99).div_ceil(100) - 1];
    Ok(Measured { p99, runs: took.len(), over })
}

/// The CPU time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither is ever negative, and the nanoseconds are less than a second.
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn shown(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spends `milliseconds` of this thread's CPU time.
    fn spend(milliseconds: u64) {
        let until = thread_time() + Duration::from_millis(milliseconds);
        while thread_time() < until {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn waiting_costs_nothing_and_computing_does() {
        let wait = |_| -> Result<(), ()> {
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        };
        let measured = measure(Duration::from_millis(500), wait).unwrap();
        assert_eq!((measured.runs, measured.over), (RUNS, 0));
    }

    #[test]
    fn measuring_stops_when_the_budget_is_certainly_missed() {
        let slow = |_| -> Result<(), ()> {
            spend(2);
            Ok(())
        };
        let measured = measure(Duration::from_millis(1), slow).unwrap();
        assert_eq!((measured.runs, measured.over), (HOPELESS, HOPELESS));
        assert!(measured.p99 >= Duration::from_millis(2), "{:?}", measured.p99);
    }

    #[test]
    fn one_slow_run_of_a_hundred_is_forgiven() {
        let hiccup = |run| -> Result<(), ()> {
            if run == 50 {
                spend(60);
            }
            Ok(())
        };
        let measured = measure(Duration::from_millis(50), hiccup).unwrap();
        assert_eq!((measured.runs, measured.over), (RUNS, 1));
        assert!(measured.p99 <= Duration::from_millis(50), "{:?}", measured.p99);
    }
}
