//! Several at once: two commands, and a server that seals meanwhile. The end is the same in every order.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use telemetry::Metrics;

use crate::seal::{Sealer, SealerConfig};

use super::*;

/// Erases a customer, and begins again while another has the turn.
fn erase_until_done(world: &World, id: &str, pseudonyms: &Pseudonyms) -> Outcome {
    let mut wait = |_: &Awaited| {
        thread::yield_now();
        Patience::Wait
    };
    loop {
        match world.erase_waiting(id, pseudonyms, &mut wait) {
            Err(ErasureError::Busy { .. }) => thread::yield_now(),
            outcome => return outcome.unwrap(),
        }
    }
}

#[test]
fn two_commands_and_a_server_that_seals_do_not_undo_each_other() {
    let [_, _, known] = generations();
    let world = World::new();
    let log = world.start("one");
    let events = fill(&world, &log, std::slice::from_ref(&known));
    let of_carl: Vec<_> = (0..9).map(|at| record(&known, "C-carl", NOON + at)).collect();
    push(&log, &of_carl);
    close(&log);
    let carl: BTreeMap<_, _> = of_carl
        .iter()
        .map(|record| (record.decision_id.clone(), world.decisions()[&record.decision_id].clone()))
        .collect();
    let config = SealerConfig { poll: Duration::from_millis(1), ..SealerConfig::default() };
    let sealer =
        Sealer::start(log.log_files(), world.events.clone(), Arc::new(Metrics::default()), config).unwrap();
    let ended = AtomicBool::new(false);
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let (world, known, ended, outcomes) = (&world, &known, &ended, &outcomes);
        let (live, recorder) = (LiveLog::of(&log), log.recorder());
        scope.spawn(move || {
            let server = world.server(known);
            while !ended.load(Ordering::SeqCst) {
                poll(&server, &live);
                // More of others, for the sealer to seal.
                push_to(&recorder, &[record(known, "", NOON + 2 * DAY)]);
                recorder.close_file(Duration::from_mins(1)).unwrap();
            }
        });
        let commands = [ANNA, BERT, ANNA].map(|id| {
            scope.spawn(move || {
                let outcome = erase_until_done(world, id, known);
                outcomes.lock().unwrap().push((id, outcome));
            })
        });
        for command in commands {
            command.join().unwrap();
        }
        ended.store(true, Ordering::SeqCst);
    });
    sealer.stop();
    seal_all(&world, &log);
    for (id, outcome) in outcomes.into_inner().unwrap() {
        assert!(outcome.is_complete(), "{id}: {outcome}");
    }
    for id in [ANNA, BERT] {
        assert_eq!(world.holding(&names_of(id)), Vec::<String>::new());
    }
    let after = world.decisions();
    assert!(carl.iter().all(|(id, bytes)| after.get(id) == Some(bytes)));
    let found = verify(&world.events, &[], &mut |_| {}).unwrap();
    assert_eq!(found.problems, Vec::new());
    assert!(found.events > events);
}

#[test]
fn a_log_is_not_blanked_while_it_is_sealed() {
    let world = World::new();
    let log = world.start("one");
    push(&log, &records(&plain()));
    close(&log);
    let file = log.closed_files().remove(0);
    let files = log.log_files();
    let subject = Subject::new(ANNA, &plain()).unwrap();
    Erasures::new(world.store.clone()).add(&Marker::new(&subject, "desk", now()).unwrap()).unwrap();
    let live = LiveLog::of(&log);
    thread::scope(|scope| {
        let sealing = files.hold();
        let server = scope.spawn(|| poll(&world.server(&plain()), &live));
        // It has read the log, and writes what it has read.
        crate::seal::seal(log.server(), &file, &world.events).unwrap();
        assert!(!server.is_finished());
        assert!(Erasures::new(world.store.clone()).list().unwrap().values().all(BTreeSet::is_empty));
        drop(sealing);
        assert_eq!(server.join().unwrap().acknowledged[0].1.records, 12);
    });
    // What was sealed so is in the store when the server acknowledges, and the command finds it.
    let outcome = world.erase(&plain(), &[]);
    assert_eq!((outcome.records, outcome.is_complete()), (12, true));
    assert_eq!(world.holding(&[ANNA.to_owned()]), Vec::<String>::new());
}
