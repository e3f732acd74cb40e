//! Recovery of a log after a crash, and reading back what was recorded: from the log, and from sealed files. Files are
//! in the page cache, as after a crash of the server alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event::EventLog;
use telemetry::Metrics;

use super::archive::Archive;
use crate::goals::Goals;
use crate::measure::{Spread, print_heading, print_row};

/// How often each is measured.
const ROUNDS: usize = 3;

/// Seconds that it took with the events of an archive.
pub(crate) struct Times {
    events: usize,
    log_bytes: u64,
    recovery: Spread,
    from_log: Spread,
    sealing: f64,
    from_sealed: Spread,
}

/// Measures an archive, which is sealed then.
pub(crate) fn measure(archive: &Archive) -> Times {
    let events = archive.events;
    let log_bytes = archive.log_bytes();
    let recovery = Spread::of((0..ROUNDS).map(|_| {
        let began = Instant::now();
        let (log, recovery) = EventLog::start(&archive.config(), "bench", &Arc::new(Metrics::new())).unwrap();
        let took = began.elapsed();
        assert_eq!(recovery.events, events as u64);
        assert_eq!(log.close(Duration::from_mins(1)).lost, 0);
        took.as_secs_f64()
    }));
    let from_log = seconds(|| assert_eq!(archive.read_log(), events));
    let began = Instant::now();
    archive.seal();
    let sealing = began.elapsed().as_secs_f64();
    let from_sealed = seconds(|| assert_eq!(archive.read_sealed(), events));
    Times { events, log_bytes, recovery, from_log, sealing, from_sealed }
}

fn seconds(work: impl Fn()) -> Spread {
    let round = |_| {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64()
    };
    Spread::of((0..ROUNDS).map(round))
}

impl Times {
    /// Recovery, and reading back from the log.
    fn of_log(&self) -> f64 {
        self.recovery.median + self.from_log.median
    }
}

/// Prints the times, and holds them to their goals: those of a million, and that they grow no faster than the events.
pub(crate) fn report(all: &[Times], goals: &mut Goals) {
    print_heading("Recovery and reading back, seconds");
    for times in all {
        let events = times.events;
        let per_event = times.log_bytes as f64 / events as f64;
        println!(
            "{events} events, {per_event:.0} bytes each in the log; sealed in {:.1} s on one thread",
            times.sealing
        );
        print_row(&format!("recovery of {events}"), [times.recovery]);
        print_row(&format!("reading {events} from the log"), [times.from_log]);
        print_row(&format!("reading {events} from sealed files"), [times.from_sealed]);
    }
    for times in all.iter().filter(|times| times.events == 1_000_000) {
        goals.at_most(
            "recovery of 1,000,000 events and reading them from the log",
            "s",
            times.of_log(),
            3.0,
            1.0,
        );
        goals.at_most("reading 1,000,000 events from sealed files", "s", times.from_sealed.median, 3.0, 1.0);
    }
    let [first, rest @ ..] = all else { return };
    for times in rest {
        let growth = times.events as f64 / first.events as f64;
        let work = format!("time per event of {} to that of {}", times.events, first.events);
        let ratio = |of: fn(&Times) -> f64| of(times) / of(first) / growth;
        goals.at_most(&format!("{work}, log"), "×", ratio(Times::of_log), 1.25, 1.0);
        goals.at_most(&format!("{work}, sealed"), "×", ratio(|times| times.from_sealed.median), 1.25, 1.0);
    }
}
