//! What is pending, what cannot be searched, and what is reported.

use crate::log::{LogFile, take_over};
use crate::sealed::SealedKey;

use super::*;

#[test]
fn servers_that_are_silent_are_pending_until_their_directory_is_sealed() {
    let [_, _, known] = generations();
    let world = World::new();
    let (dead, log) = (world.start("dead"), world.start("one"));
    for one in [&dead, &log] {
        fill(&world, one, std::slice::from_ref(&known));
        close(one);
    }
    let id = dead.server().to_owned();
    world.beat(&dead, now() - TimeDelta::hours(1));
    let _ = dead.close(Duration::from_mins(1));
    let first = world.erase(&known, &mut [(world.server(&known), &log)]);
    assert_eq!(first.pending.iter().map(|one| one.server.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    assert!(!first.is_complete());
    let shown = first.to_string();
    assert!(
        shown.contains(&format!("pending: server {id}, last seen at 2026-11-30T11:00:00.000Z")),
        "{shown}"
    );
    assert!(shown.ends_with("not complete; run the command again"), "{shown}");
    // Its data directory has the person, and nothing else has.
    let holding = world.holding(&names_of(ANNA));
    assert!(!holding.is_empty() && holding.iter().all(|name| name.starts_with("dead/log/")), "{holding:?}");
    // Whoever seals it obeys first.
    let taken = take_over(&world.data("dead")).unwrap();
    let done = world.server(&known).poll(&taken, &mut |_| {}, now()).unwrap();
    assert_eq!((done.len(), done[0].1.records), (1, 24));
    for file in taken.files().closed() {
        seal_and_delete(&file, taken.files(), &world.events).unwrap();
    }
    let mut steps = Vec::new();
    let subject = Subject::new(ANNA, &known).unwrap();
    let eraser = world.eraser();
    let mut wait = |_: &Awaited| panic!("all have acknowledged");
    let second = eraser.erase(&subject, "desk", &now, &mut wait, &mut |step| steps.push(step)).unwrap();
    assert_eq!(steps[0], Progress::Marked { id: first.id.clone(), resumed: true });
    assert_eq!((second.id.as_str(), second.records), (first.id.as_str(), 0));
    assert!(second.is_complete() && second.to_string().ends_with("complete"));
    assert_eq!(world.holding(&names_of(ANNA)), Vec::<String>::new());
    let marker = Erasures::new(world.store.clone()).get(&first.id).unwrap().unwrap();
    assert!(marker.is_complete());
}

#[test]
fn who_stops_waiting_is_told_what_is_pending() {
    let world = World::new();
    let log = world.start("one");
    fill(&world, &log, &[plain()]);
    let subject = Subject::new(ANNA, &plain()).unwrap();
    let mut asked = 0;
    let mut stop = |awaited: &Awaited| {
        asked += 1;
        assert_eq!((awaited.servers[0].server.as_str(), awaited.acknowledged), (log.server(), 0));
        Patience::Stop
    };
    let outcome = world.eraser().erase(&subject, "desk", &now, &mut stop, &mut |_| {}).unwrap();
    assert_eq!((outcome.pending.len(), outcome.acknowledged.len(), asked), (1, 0, 1));
    // What was sealed is done already.
    assert!(outcome.records > 0);
    let again = world.erase(&plain(), &mut [(world.server(&plain()), &log)]);
    assert_eq!(again.id, outcome.id);
    assert!(again.is_complete());
    assert_eq!(world.holding(&[ANNA.to_owned()]), Vec::<String>::new());
}

#[test]
fn a_damaged_file_is_reported_and_keeps_nobody_in_the_others() {
    let world = World::new();
    let log = world.start("one");
    fill(&world, &log, &[plain()]);
    let listed = world.events.list(crate::sealed::Kind::Decision, None).unwrap();
    let key: &SealedKey = &listed[0].0;
    let path = world.path().join("store").join(key.to_string());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let outcome = world.erase(&plain(), &mut [(world.server(&plain()), &log)]);
    assert_eq!(outcome.unreadable.len(), 1);
    assert!(outcome.unreadable[0].contains(&key.to_string()), "{outcome}");
    assert!(!outcome.is_complete() && outcome.records > 0);
    fs::write(&path, &whole).unwrap();
    assert_eq!(world.holding(&[ANNA.to_owned()]), [format!("store/{key}")]);
    assert!(world.erase(&plain(), &mut [(world.server(&plain()), &log)]).is_complete());
    assert_eq!(world.holding(&[ANNA.to_owned()]), Vec::<String>::new());
}

#[test]
fn keys_that_are_not_known_and_copies_of_damaged_logs_are_reported() {
    let [_, old, both] = generations();
    let world = World::new();
    let log = world.start("one");
    // Records by a key that the command does not have: in a sealed file and in the log.
    fill(&world, &log, &[both]);
    let copy = log.log_files().directory().join(format!("{}-00000001.log.damaged", log.server()));
    fs::write(&copy, "half a frame").unwrap();
    let outcome = world.erase(&old, &mut [(world.server(&old), &log)]);
    assert_eq!(outcome.unknown_keys.iter().collect::<Vec<_>>(), ["new-key"]);
    assert_eq!(outcome.acknowledged[0].unknown_keys.iter().collect::<Vec<_>>(), ["new-key"]);
    assert_eq!(outcome.left, [copy.display().to_string()]);
    let shown = outcome.to_string();
    assert!(shown.contains("by key `new-key`") && shown.contains(".damaged, the copy"), "{shown}");
}

#[test]
fn a_server_without_a_key_of_the_erasure_does_not_acknowledge() {
    let [_, old, _] = generations();
    let world = World::new();
    let log = world.start("one");
    let subject = Subject::new(ANNA, &old).unwrap();
    let mut refused = None;
    let mut wait = |_: &Awaited| {
        refused = world.server(&plain()).poll(&LiveLog::of(&log), &mut |_| {}, now()).err();
        Patience::Stop
    };
    let outcome = world.eraser().erase(&subject, "desk", &now, &mut wait, &mut |_| {}).unwrap();
    let refused = refused.unwrap().to_string();
    assert!(refused.contains("by the keys old-key, and `records.keys` has none of them"), "{refused}");
    assert_eq!(outcome.pending.len(), 1);
}

#[test]
fn a_failed_write_behind_the_end_of_a_log_is_cut() {
    let world = World::new();
    let log = world.start("one");
    push(&log, &records(&plain()));
    close(&log);
    let file = log.closed_files().remove(0);
    // A write that failed and could not be cut: the same records follow behind the end.
    let mut bytes = fs::read(&file.path).unwrap();
    let copy = bytes.clone();
    bytes.extend(&copy[..copy.len() / 3]);
    fs::write(&file.path, &bytes).unwrap();
    let outcome = world.erase(&plain(), &mut [(world.server(&plain()), &log)]);
    assert!(outcome.is_complete());
    assert_eq!(fs::metadata(&file.path).unwrap().len(), file.bytes);
    assert_eq!(world.holding(&[ANNA.to_owned()]), Vec::<String>::new());
    world.verify(24);
}

#[test]
fn a_file_is_closed_behind_what_was_queued_and_a_log_that_has_ended_says_so() {
    let world = World::new();
    let log = world.start("one");
    let recorder = log.recorder();
    for count in 1..=3 {
        push(&log, &records(&plain()));
        recorder.close_file(Duration::from_mins(1)).unwrap();
        assert_eq!(log.closed_files().len(), count);
        assert_eq!(log.closed_files().iter().map(LogFile::events).sum::<u64>(), 24 * count as u64);
    }
    // Nothing is open, so there is nothing to close.
    recorder.close_file(Duration::from_mins(1)).unwrap();
    assert_eq!(log.closed_files().len(), 3);
    let _ = log.close(Duration::from_mins(1));
    assert!(recorder.close_file(Duration::from_mins(1)).is_err());
}
