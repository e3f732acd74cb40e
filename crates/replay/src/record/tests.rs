use std::fmt::Write;
use std::future::{self, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use decision::{
    ContextValue, Customer, Decider, DecisionError, Durable, RankRequest, RecordedCall, Recorder,
};
use release::{Publisher, Snapshot};
use telemetry::Metrics;
use work::{Call, Lane, Workers};

use crate::samples::{Models, Texts, rank};

/// Files with so many more offers at home.
fn with_offers(offers: usize) -> Texts {
    let mut texts = Texts::sample(60);
    for number in 0..offers {
        writeln!(
            texts.offers,
            "[[offer]]\nid = \"more_{number}\"\nname = \"m\"\ncategory = \"points\"\nplacements = [\"home\"]\nvalue = 1.0"
        )
        .unwrap();
    }
    texts.with(|texts| &mut texts.policy, "max_per_category = 1\n", "")
}

#[test]
fn what_records_take_is_reserved_before_they_are_made() {
    let snapshot = Models::new().load(3, &with_offers(900));
    let ids = |number: usize| (0..number).map(|at| format!("{at:0>200}")).collect::<Vec<_>>();
    let customer = |number| Customer { id: format!("c{number:05}"), ..Customer::default() };
    let request = || RankRequest {
        placement: "home".to_owned(),
        customers: (0..40).map(customer).collect(),
        ..RankRequest::default()
    };
    let page = ("page".to_owned(), Some(ContextValue::String("x".repeat(60_000))));
    let requests = [
        request(),
        RankRequest { count: 100, ..request() },
        RankRequest { exclude_offer_ids: ids(1_000), ..request() },
        RankRequest { candidate_offer_ids: ids(500), context: vec![page], ..request() },
    ];
    // The recorder of the samples compares the bytes.
    let (results, records) = rank(&snapshot, requests);
    assert_eq!((results.len(), records.len()), (160, 160));
    let candidates = records.iter().filter_map(|record| record.candidates.as_ref());
    assert!(candidates.map(|all| all.stages.len()).max() > Some(900));
    assert!(records.iter().any(|record| record.offers.len() == 100));
}

/// A recorder with room for what is expected of a call. More of it is only for a call that waits and holds none.
#[derive(Debug, Default)]
struct Narrow {
    refuses: bool,
    stays_full: bool,
    held: AtomicUsize,
    recorded: AtomicUsize,
    dropped: AtomicUsize,
}

impl Recorder for Narrow {
    fn try_reserve(&self, _lane: Lane, bytes: usize) -> Option<usize> {
        self.held.fetch_add(bytes, Ordering::SeqCst);
        Some(bytes)
    }

    fn reserve(&self, bytes: usize) -> Pin<Box<dyn Future<Output = Option<usize>> + Send + '_>> {
        if self.stays_full {
            return Box::pin(future::pending::<Option<usize>>());
        }
        let held_before = self.held.fetch_add(bytes, Ordering::SeqCst);
        assert_eq!(held_before, 0, "a call waits and holds room");
        Box::pin(future::ready(Some(bytes)))
    }

    fn try_extend(&self, _lane: Lane, _bytes: usize, _needed: usize) -> Option<usize> {
        None
    }

    fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
    }

    fn refuses(&self) -> bool {
        self.refuses
    }

    fn is_stalled(&self) -> bool {
        false
    }

    fn record(&self, bytes: usize, call: RecordedCall) -> Option<Durable> {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
        self.recorded.fetch_add(call.decisions.len(), Ordering::SeqCst);
        None
    }

    fn dropped(&self, decisions: usize) {
        self.dropped.fetch_add(decisions, Ordering::SeqCst);
    }
}

impl Narrow {
    /// Answers a call whose record is longer than was expected: it also lists offers that the release does not have.
    /// Returns whether the answer says that it is not recorded; and what was recorded, what was dropped, what is held.
    fn answer(self, snapshot: &Arc<Snapshot>, call: &Call) -> (Result<bool, DecisionError>, [usize; 3]) {
        let recorder = Arc::new(self);
        let publisher = Publisher::default();
        assert!(publisher.publish(Arc::clone(snapshot)).is_none());
        let workers = Workers::start(1, 64).unwrap();
        let decider = Decider::new(publisher.pointer(), workers, Arc::new(Metrics::new()), Arc::default());
        let decider = decider.with_recorder(Arc::clone(&recorder) as Arc<dyn Recorder>);
        let request = RankRequest {
            placement: "home".to_owned(),
            customers: vec![Customer { id: "c00001".to_owned(), ..Customer::default() }],
            exclude_offer_ids: (100..140).map(|number| format!("{number}{number:0>97}")).collect(),
            count: 1,
            ..RankRequest::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let answered = runtime.block_on(decider.rank(request, call)).map(|(_, results)| {
            assert!(results[0].error.is_none());
            results[0].degraded.iter().any(|line| line == "not_recorded")
        });
        let Narrow { recorded, dropped, held, .. } = &*recorder;
        (answered, [recorded, dropped, held].map(|count| count.load(Ordering::SeqCst)))
    }
}

#[test]
fn bulk_calls_wait_for_room_beyond_what_was_expected_and_hold_none() {
    let snapshot = Models::new().load(3, &Texts::sample(60));
    let bulk = Call::default().in_lane(Lane::Bulk);
    assert_eq!(Narrow::default().answer(&snapshot, &bulk), (Ok(false), [1, 0, 0]));
    // Others do not wait, and where calls are refused, none does.
    assert_eq!(Narrow::default().answer(&snapshot, &Call::default()), (Ok(true), [0, 1, 0]));
    let refusing = Narrow { refuses: true, ..Narrow::default() };
    assert_eq!(refusing.answer(&snapshot, &bulk), (Err(DecisionError::NotRecorded), [0, 1, 0]));
    // It waits no longer than its caller.
    let ends_soon = Call::new(Some(Instant::now() + Duration::from_millis(200))).in_lane(Lane::Bulk);
    let full = Narrow { stays_full: true, ..Narrow::default() };
    let (answered, counts) = full.answer(&snapshot, &ends_soon);
    assert!(matches!(answered, Err(DecisionError::Rejected(_))), "{answered:?}");
    assert_eq!(counts, [0, 0, 0]);
}
