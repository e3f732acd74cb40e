//! Lanes, limits, deadlines, and cancelled work.

use super::*;
use std::sync::atomic::Ordering;
use std::sync::{Barrier, Mutex};

/// Work of this cost that may need a session.
fn costing(cost: Duration) -> Needs {
    Needs { cost, session: true }
}

#[tokio::test]
async fn work_is_done_by_numbered_workers() {
    let workers = Workers::start(2, 8).unwrap();
    let index = workers.run(&Call::default(), Needs::session(), Worker::index).await.unwrap();
    assert!(index < 2);
}

#[tokio::test]
async fn a_panic_is_answered_and_the_worker_goes_on() {
    let workers = Workers::start(1, 8).unwrap();
    let panicked: Result<(), Rejection> =
        workers.run(&Call::default(), Needs::session(), |_| panic!("on purpose")).await;
    assert_eq!(panicked, Err(Rejection::Panicked));
    assert_eq!(workers.run(&Call::default(), Needs::session(), |_| 7).await, Ok(7));
}

#[tokio::test]
async fn a_thread_keeps_nothing_of_a_call_that_it_has_answered() {
    // Its span would otherwise last until the idle thread runs again.
    let workers = Workers::start(1, 8).unwrap();
    for lane in [Lane::Interactive, Lane::Bulk].repeat(100) {
        let call = Call::default().in_lane(lane);
        workers.run(&call, Needs::default(), |_| ()).await.unwrap();
        assert_eq!(Arc::strong_count(&call.abandoned), 1, "{lane:?}");
    }
}

#[tokio::test]
async fn work_beyond_the_limit_is_refused_and_late_work_never_begins() {
    let workers = Workers::start(1, 1).unwrap();
    let (entered, leave) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let blocked = tokio::spawn({
        let (workers, entered, leave) = (workers.clone(), Arc::clone(&entered), Arc::clone(&leave));
        async move {
            workers
                .run(&Call::default(), Needs::session(), move |_| {
                    entered.wait();
                    leave.wait();
                })
                .await
        }
    });
    tokio::task::spawn_blocking(move || entered.wait()).await.unwrap();
    let call = Call::default();
    let queued = tokio::spawn({
        let (workers, call) = (workers.clone(), call.clone());
        async move { workers.run(&call, Needs::session(), |_| 1).await }
    });
    while workers.queued() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(workers.run(&Call::default(), Needs::session(), |_| 2).await, Err(Rejection::Overloaded));
    queued.abort();
    let _ = queued.await;
    assert_eq!(call.check(), Err(Cancellation::Abandoned));
    leave.wait();
    blocked.await.unwrap().unwrap();
    let past = Call::new(Some(Instant::now().checked_sub(Duration::from_secs(1)).unwrap()));
    let late = workers.run(&past, Needs::session(), |_| 3).await;
    assert_eq!(late, Err(Rejection::Cancelled(Cancellation::DeadlineExceeded)));
}

/// Keeps a worker busy until the barrier is met a second time; the future of that.
async fn held(workers: &Workers) -> (Arc<Barrier>, tokio::task::JoinHandle<Result<(), Rejection>>) {
    let (entered, leave) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (inside, outside, workers) = (Arc::clone(&entered), Arc::clone(&leave), workers.clone());
    let work = async move {
        let work = move |_: &Worker| {
            inside.wait();
            outside.wait();
        };
        workers.run(&Call::default(), Needs::session(), work).await
    };
    let running = tokio::spawn(work);
    tokio::task::spawn_blocking(move || entered.wait()).await.unwrap();
    (leave, running)
}

#[tokio::test]
async fn interactive_work_goes_before_bulk_work() {
    let workers = Workers::start(1, 8).unwrap();
    let (leave, holding) = held(&workers).await;
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut queued = Vec::new();
    for (name, lane) in [("bulk 1", Lane::Bulk), ("bulk 2", Lane::Bulk), ("interactive", Lane::Interactive)] {
        let (inner, order) = (workers.clone(), Arc::clone(&order));
        let waiting = workers.queued();
        queued.push(tokio::spawn(async move {
            let work = move |_: &Worker| order.lock().unwrap().push(name);
            inner.run(&Call::default().in_lane(lane), Needs::session(), work).await
        }));
        while workers.queued() == waiting {
            tokio::task::yield_now().await;
        }
    }
    leave.wait();
    holding.await.unwrap().unwrap();
    for queued in queued {
        queued.await.unwrap().unwrap();
    }
    assert_eq!(*order.lock().unwrap(), ["interactive", "bulk 1", "bulk 2"]);
}

#[tokio::test]
async fn a_deadline_that_cannot_be_met_is_refused_before_the_work() {
    let workers = Workers::start(2, 8).unwrap();
    let second = Duration::from_secs(1);
    let due_in = |time: Duration| Call::new(Some(Instant::now() + time));
    let refused = |result: Result<(), Rejection>| matches!(result, Err(Rejection::TooLate { .. }));
    assert!(refused(workers.admit(&due_in(second), 3 * second, 1)));
    assert!(refused(workers.admit(&due_in(second), 3 * second, 2)));
    assert_eq!(workers.admit(&due_in(2 * second), 3 * second, 2), Ok(()));
    // More parts than threads save no time.
    assert!(refused(workers.admit(&due_in(second), 3 * second, 8)));
    assert_eq!(workers.admit(&due_in(second), Duration::ZERO, 1), Ok(()), "an unknown cost");
    assert_eq!(workers.admit(&Call::default(), 1000 * second, 1), Ok(()), "no deadline");
    let first = workers.backlog.add(Lane::Interactive, 4 * second);
    assert!(refused(workers.admit(&due_in(2 * second), second, 1)), "two seconds wait before it");
    assert_eq!(workers.admit(&due_in(4 * second), second, 1), Ok(()));
    let bulk = workers.backlog.add(Lane::Bulk, 100 * second);
    assert_eq!(workers.admit(&due_in(4 * second), second, 1), Ok(()), "bulk work waits behind it");
    assert!(refused(workers.admit(&due_in(4 * second).in_lane(Lane::Bulk), second, 1)));
    drop((first, bulk));
    assert_eq!(workers.admit(&due_in(2 * second).in_lane(Lane::Bulk), second, 1), Ok(()));
}

#[tokio::test]
async fn the_backlog_is_worked_off_whatever_becomes_of_the_work() {
    let workers = Workers::start(1, 1).unwrap();
    let second = Duration::from_secs(1);
    assert_eq!(workers.run(&Call::default(), costing(second), |_| ()).await, Ok(()));
    let panicked: Result<(), Rejection> =
        workers.run(&Call::default(), costing(second), |_| panic!("on purpose")).await;
    assert_eq!(panicked, Err(Rejection::Panicked));
    let (leave, holding) = held(&workers).await;
    let queued = tokio::spawn({
        let workers = workers.clone();
        async move { workers.run(&Call::default(), costing(second), |_| ()).await }
    });
    while workers.queued() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(workers.run(&Call::default(), costing(second), |_| ()).await, Err(Rejection::Overloaded));
    assert_eq!(workers.backlog.ahead(Lane::Bulk), second, "what waits, and not what was refused");
    leave.wait();
    holding.await.unwrap().unwrap();
    queued.await.unwrap().unwrap();
    assert_eq!(workers.backlog.ahead(Lane::Bulk), Duration::ZERO);
}

#[tokio::test]
async fn short_work_without_a_session_is_done_where_it_is_asked_for_and_nothing_else_is() {
    let workers = Workers::start(1, 8).unwrap();
    let thread = || std::thread::current().name().map(str::to_owned);
    let here = thread();
    let short = Needs { cost: INLINE, session: false };
    let on = async |call: Call, needs: Needs| workers.run(&call, needs, move |_| thread()).await.unwrap();
    assert_eq!(on(Call::default(), short).await, here);
    let elsewhere = [
        (Lane::Interactive, Needs { session: true, ..short }, "worker-0"),
        (Lane::Interactive, Needs { cost: INLINE * 2, ..short }, "worker-0"),
        (Lane::Interactive, Needs { cost: Duration::ZERO, ..short }, "worker-0"),
        (Lane::Bulk, short, "bulk-0"),
        (Lane::Bulk, Needs { session: true, ..short }, "worker-0"),
    ];
    for (lane, needs, expected) in elsewhere {
        let found = on(Call::default().in_lane(lane), needs).await;
        assert_eq!(found.as_deref(), Some(expected), "{lane:?} {needs:?}");
    }
    let panicked: Result<(), Rejection> =
        workers.run(&Call::default(), short, |_| panic!("on purpose")).await;
    assert_eq!(panicked, Err(Rejection::Panicked));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn bulk_work_gives_way() {
    let workers = Workers::start(1, 8).unwrap();
    let bulk = Call::default().in_lane(Lane::Bulk);
    let policy = |_: &Worker| thread_priority::thread_schedule_policy().unwrap();
    let found = workers.run(&bulk, Needs::default(), policy).await.unwrap();
    let idle = thread_priority::NormalThreadSchedulePolicy::Idle;
    assert_eq!(found, thread_priority::ThreadSchedulePolicy::Normal(idle));
}

/// A run that ends when it is told to, or only when the test allows it.
struct Endless {
    obeys: bool,
    leave: std::sync::atomic::AtomicBool,
    out: Mutex<Option<String>>,
}

impl Stoppable for Endless {
    fn stop(&self) {
        if self.obeys {
            self.leave.store(true, Ordering::SeqCst);
        }
    }

    fn take_out_of_service(&self, why: &str) -> String {
        *self.out.lock().unwrap() = Some(why.to_owned());
        "endless/1".to_owned()
    }
}

/// Runs an endless graph on the one worker, whose caller goes once it has begun, then other work. Returns the models
/// of lost workers.
async fn after_an_endless_run(run: &Arc<Endless>) -> Vec<String> {
    let lost = Arc::<Mutex<Vec<String>>>::default();
    let told = Arc::clone(&lost);
    let grace = Duration::from_millis(50);
    let workers =
        Workers::start_watched(1, 8, grace, move |model| told.lock().unwrap().push(model.to_owned()))
            .unwrap();
    let call = Call::default();
    let gone = call.abandon_on_drop();
    let (begun, begins) = oneshot::channel();
    let endless = Arc::clone(run);
    let runs = workers.run(&call, Needs::session(), move |worker| {
        begun.send(()).unwrap();
        let stoppable: Arc<dyn Stoppable> = Arc::clone(&endless) as Arc<dyn Stoppable>;
        worker.watched(&stoppable, || {
            while !endless.leave.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        assert_eq!(worker.over(), Some(Cancellation::Abandoned));
    });
    let next = async {
        begins.await.unwrap();
        drop(gone);
        workers.run(&Call::default(), Needs::session(), Worker::index).await.unwrap()
    };
    let waits = async {
        let next = next.await;
        run.leave.store(true, Ordering::SeqCst);
        next
    };
    let (ran, next) = tokio::join!(runs, waits);
    assert_eq!(ran, Ok(()));
    assert_eq!(next, 0, "the number of the only worker");
    drop(workers);
    let lost = lost.lock().unwrap();
    lost.clone()
}

#[tokio::test]
async fn a_run_is_stopped_when_its_call_is_over_and_its_worker_goes_on() {
    let run = Arc::new(Endless { obeys: true, leave: false.into(), out: Mutex::default() });
    assert!(after_an_endless_run(&run).await.is_empty());
    assert_eq!(*run.out.lock().unwrap(), None);
}

#[tokio::test]
async fn a_worker_whose_run_does_not_stop_is_replaced_and_the_model_out_of_service() {
    let run = Arc::new(Endless { obeys: false, leave: false.into(), out: Mutex::default() });
    assert_eq!(after_an_endless_run(&run).await, ["endless/1"]);
    assert!(run.out.lock().unwrap().as_ref().unwrap().contains("did not stop within 50ms"));
}

#[test]
fn a_run_beside_the_workers_is_stopped_and_its_model_stays_in_service() {
    let lost = |model: &str| panic!("{model} is lost");
    let workers = Workers::start_watched(1, 8, Duration::from_millis(1), lost).unwrap();
    let worker = Worker::beside(1);
    workers.watch(&worker);
    let (over, open) = (Call::default(), Call::default());
    over.abandon();
    let endless = |obeys| Arc::new(Endless { obeys, leave: false.into(), out: Mutex::default() });
    let run = |run: &Arc<Endless>, work: &dyn Fn()| {
        worker.watched(&(Arc::clone(run) as Arc<dyn Stoppable>), work);
    };
    let (obeying, stubborn) = (endless(true), endless(false));
    worker.serve(&over, || {
        assert_eq!(worker.over(), Some(Cancellation::Abandoned));
        run(&obeying, &|| {
            while !obeying.leave.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        // For longer than a worker's run may go on.
        run(&stubborn, &|| std::thread::sleep(5 * super::TICK));
    });
    assert_eq!([&obeying, &stubborn].map(|run| run.out.lock().unwrap().clone()), [None, None]);
    // Nothing stops what runs for a call that is not over.
    let other = endless(true);
    worker.serve(&open, || run(&other, &|| std::thread::sleep(5 * super::TICK)));
    assert!(worker.over().is_none() && !other.leave.load(Ordering::SeqCst));
}
