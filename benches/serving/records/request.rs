//! What recording adds to a decision on the thread that asks. Encoding, checksums and files are the business of the
//! writer's thread, which works on another core meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use decision::{Decider, Explain};
use event::{EventConfig, EventLog};
use proffer::app::recorder;
use replay::Privacy;
use telemetry::Metrics;
use work::Call;

use crate::PLACEMENTS;
use crate::in_process::Engine;
use crate::measure::print_heading;
use crate::parts::Sweeps;
use crate::sample::Visit;

/// How often all customers are decided, with a record and without.
const SWEEPS: usize = 15;

/// Microseconds that a record takes: the mean over the customers of the difference of medians.
pub(crate) async fn run(engine: &Engine, visits: &[Visit], data: &Path) -> f64 {
    let config = EventConfig { directory: data.to_owned(), ..EventConfig::reference() };
    let metrics = Arc::new(Metrics::new());
    let (log, _) = EventLog::start(&config, "bench", &metrics).unwrap();
    let without = engine.decider.clone();
    let with = without.clone().with_recorder(recorder(log.recorder(), Privacy::default()));
    let mut times = [(); 2].map(|()| Sweeps::<1>::new(visits.len()));
    // In turns, so that variations of the machine affect both. A sweep fits into the queue.
    for _ in 0..SWEEPS {
        for (decider, times) in [&without, &with].into_iter().zip(&mut times) {
            sweep(decider, visits, times).await;
        }
        log.recorder().close_file(Duration::from_mins(1)).unwrap();
    }
    assert_eq!(log.close(Duration::from_mins(1)).lost, 0);
    let recorded = (metrics.events.appended.get(), metrics.events.dropped.get());
    assert_eq!(recorded, ((SWEEPS * visits.len()) as u64, 0));

    let [[without], [with]] = times.each_ref().map(Sweeps::means);
    print_heading(&format!(
        "A record on the thread that asks, Rank {}; mean of {} customers, {SWEEPS} sweeps",
        PLACEMENTS[0].0,
        visits.len()
    ));
    println!("{:<62}{without:>10.2} µs", "a decision without a record");
    println!("{:<62}{with:>10.2} µs", "a decision with a record");
    with - without
}

/// Times a decision for each customer.
async fn sweep(decider: &Decider, visits: &[Visit], times: &mut Sweeps<1>) {
    for (index, visit) in visits.iter().enumerate() {
        let request = visit.request(PLACEMENTS[0].0, Explain::Winners);
        let began = Instant::now();
        let (_, results) = decider.rank(request, &Call::default()).await.unwrap();
        times.add(index, [began.elapsed()]);
        assert!(results[0].error.is_none());
    }
}
