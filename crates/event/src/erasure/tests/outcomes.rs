//! What is pending, what cannot be searched, and what is reported.

use std::collections::BTreeSet;

use crate::log::{LogFile, take_over};
use crate::seal::seal_all;
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
    let first = world.erase(&known, &[(world.server(&known), &log)]);
    assert_eq!(first.pending.iter().map(|one| one.server.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    assert!(!first.is_complete());
    let shown = first.to_string();
    assert!(
        shown.contains(&format!("pending: server {id}, last seen at 2026-11-30T11:00:00.000Z with")),
        "{shown}"
    );
    // Its data directory has the person, and nothing else has.
    let holding = world.holding(&names_of(ANNA));
    assert!(!holding.is_empty() && holding.iter().all(|name| name.starts_with("dead/log/")), "{holding:?}");
    // Sealing it obeys first.
    let taken = take_over(&world.data("dead"), "test").unwrap();
    let done = poll(&world.server(&known), &taken).acknowledged;
    assert_eq!((done.len(), done[0].1.records), (1, 24));
    assert!(seal_all(&taken, &world.events).failures.is_empty());
    let (eraser, subject) = (world.eraser(), Subject::new(ANNA, &known).unwrap());
    let marked = eraser.mark(&subject, "desk", now()).unwrap();
    assert_eq!((marked.id(), marked.resumed), (first.id.as_str(), true));
    let mut wait = |_: &Awaited| panic!("all have acknowledged");
    let second = eraser.finish(&subject, &marked, &now, &mut wait, &mut |_, _| {}).unwrap();
    assert!(second.is_complete() && second.records == 0, "{second}");
    assert_eq!(world.holding(&names_of(ANNA)), Vec::<String>::new());
    let erasures = Erasures::new(world.store.clone());
    assert_eq!(erasures.get(&first.id).unwrap(), None);
    assert_eq!(erasures.completed(&first.id).unwrap().unwrap().servers.len(), 2);
}

#[test]
fn who_stops_waiting_is_told_what_is_pending() {
    let world = World::new();
    let log = world.start("one");
    fill(&world, &log, &[plain()]);
    let mut asked = 0;
    let mut stop = |awaited: &Awaited| {
        asked += 1;
        assert_eq!((awaited.servers[0].server.as_str(), awaited.acknowledged), (log.server(), 0));
        Patience::Stop
    };
    let outcome = world.erase_waiting(ANNA, &plain(), &mut stop).unwrap();
    assert_eq!((outcome.pending.len(), outcome.acknowledged.len(), asked), (1, 0, 1));
    // What was sealed is done already.
    assert!(outcome.records > 0);
    let again = world.erase(&plain(), &[(world.server(&plain()), &log)]);
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
    let outcome = world.erase(&plain(), &[(world.server(&plain()), &log)]);
    assert_eq!(outcome.unreadable.len(), 1);
    assert!(outcome.unreadable[0].contains(&key.to_string()), "{outcome}");
    assert!(!outcome.is_complete() && outcome.records > 0);
    fs::write(&path, &whole).unwrap();
    assert_eq!(world.holding(&[ANNA.to_owned()]), [format!("store/{key}")]);
    assert!(world.erase(&plain(), &[(world.server(&plain()), &log)]).is_complete());
    assert_eq!(world.holding(&[ANNA.to_owned()]), Vec::<String>::new());
}

#[test]
fn keys_that_are_not_known_are_reported_until_they_are_there_or_gone_for_good() {
    let [_, old, both] = generations();
    let world = World::new();
    let log = world.start("one");
    // Records by a key that the command does not have: in sealed files, in a log file, and between others in one.
    fill(&world, &log, &[plain(), both.clone(), old.clone()]);
    let first = world.erase(&old, &[(world.server(&old), &log)]);
    let named = |keys: &BTreeSet<KeyName>| keys.iter().map(KeyName::to_string).collect::<Vec<_>>();
    assert_eq!(named(&first.unknown_keys), ["new-key"]);
    assert_eq!(named(&first.acknowledged[0].unknown_keys), ["new-key"]);
    assert!(!first.is_complete());
    assert!(first.to_string().contains("by the key `new-key`"), "{first}");
    // Who has lost the key cannot tell whose these records are.
    let lost = world.eraser().with_lost_keys(BTreeSet::from(["new-key".to_owned()]));
    let subject = Subject::new(ANNA, &old).unwrap();
    let marked = lost.mark(&subject, "desk", now()).unwrap();
    assert!(marked.resumed);
    let mut wait = |_: &Awaited| panic!("the server has acknowledged");
    assert!(lost.finish(&subject, &marked, &now, &mut wait, &mut |_, _| {}).unwrap().is_complete());
    assert_eq!(world.holding(&[both.of(ANNA).text.clone()]).len(), 4);
    // With the key it is another erasure.
    let second = world.erase(&both, &[(world.server(&both), &log)]);
    assert!(second.is_complete() && second.id != first.id, "{second}");
    assert_eq!(world.holding(&names_of(ANNA)), Vec::<String>::new());
}

#[test]
fn of_two_commands_the_later_one_sees_that_it_is_complete() {
    let world = World::new();
    let log = world.start("one");
    fill(&world, &log, &[plain()]);
    let (eraser, subject) = (world.eraser(), Subject::new(ANNA, &plain()).unwrap());
    let later = eraser.mark(&subject, "desk", now()).unwrap();
    let first = world.erase(&plain(), &[(world.server(&plain()), &log)]);
    assert!(first.is_complete() && first.id == later.id());
    let mut wait = |_: &Awaited| panic!("no server is waited for");
    let second = eraser.finish(&subject, &later, &now, &mut wait, &mut |_, _| {}).unwrap();
    assert!(second.is_complete(), "{second}");
    let completed = Erasures::new(world.store.clone()).completed(&first.id).unwrap().unwrap();
    assert_eq!(completed.servers, BTreeSet::from([log.server().to_owned()]));
}

#[test]
fn an_attempt_with_more_keys_ends_those_with_fewer() {
    let [_, old, both] = generations();
    let world = World::new();
    let log = world.start("one");
    fill(&world, &log, std::slice::from_ref(&both));
    let without = world.erase(&plain(), &[(world.server(&plain()), &log)]);
    let fewer = world.erase(&old, &[(world.server(&old), &log)]);
    assert!(!without.is_complete() && !fewer.is_complete() && without.id != fewer.id);
    let erasures = Erasures::new(world.store.clone());
    assert_eq!(erasures.open().unwrap().len(), 2);
    assert!(world.erase(&both, &[(world.server(&both), &log)]).is_complete());
    assert!(erasures.open().unwrap().is_empty());
    assert_eq!(world.holding(&names_of(ANNA)), Vec::<String>::new());
}

#[test]
fn copies_of_damaged_logs_are_pending_until_they_are_removed() {
    let world = World::new();
    let log = world.start("one");
    fill(&world, &log, &[plain()]);
    let copy = log.log_files().directory().join(format!("{}-00000001.log.damaged", log.server()));
    fs::write(&copy, "half a frame").unwrap();
    let first = world.erase(&plain(), &[(world.server(&plain()), &log)]);
    // So may be the log of another server.
    let foreign = copy.with_file_name("other-00000001.log");
    fs::write(&foreign, "a frame").unwrap();
    let again = world.erase(&plain(), &[(world.server(&plain()), &log)]);
    for (outcome, files) in [(&first, &[&copy][..]), (&again, &[&copy, &foreign])] {
        assert_eq!(outcome.left.len(), files.len(), "{outcome}");
        for (left, file) in outcome.left.iter().zip(files) {
            assert!(left.starts_with(&file.display().to_string()), "{left}");
        }
        assert!(outcome.to_string().contains("damaged: it is the copy of a damaged log file"), "{outcome}");
        assert!(!outcome.is_complete());
    }
    fs::remove_file(&copy).unwrap();
    fs::remove_file(&foreign).unwrap();
    let second = world.erase(&plain(), &[(world.server(&plain()), &log)]);
    assert!(second.is_complete() && second.id == first.id, "{second}");
}

#[test]
fn a_server_without_a_key_of_an_erasure_obeys_the_others() {
    let [_, old, _] = generations();
    let world = World::new();
    let log = world.start("one");
    fill(&world, &log, &[plain()]);
    let eraser = world.eraser();
    let keyed = eraser.mark(&Subject::new(ANNA, &old).unwrap(), "desk", now()).unwrap();
    let other = eraser.mark(&Subject::new(BERT, &plain()).unwrap(), "desk", now()).unwrap();
    let polled = poll(&world.server(&plain()), &LiveLog::of(&log));
    assert_eq!(polled.acknowledged.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), [other.id()]);
    let refused = polled.refused[0].to_string();
    assert!(refused.contains(keyed.id()) && refused.contains("by the keys old-key@"), "{refused}");
    let mut stop = |_: &Awaited| Patience::Stop;
    assert_eq!(world.erase_waiting(ANNA, &old, &mut stop).unwrap().pending.len(), 1);
}

#[test]
fn a_marker_that_cannot_be_understood_keeps_a_server_from_no_other() {
    let world = World::new();
    let log = world.start("one");
    fill(&world, &log, &[plain()]);
    let marked = world.eraser().mark(&Subject::new(ANNA, &plain()).unwrap(), "desk", now()).unwrap();
    let odd: [(u128, &[u8]); 3] = [(1, b"\xff\xfe"), (2, b"format = 1"), (3, b"")];
    for (id, bytes) in odd {
        let name = format!("store/erasures/{}.toml", uuid::Uuid::from_u128(id));
        fs::write(world.path().join(name), bytes).unwrap();
    }
    let polled = poll(&world.server(&plain()), &LiveLog::of(&log));
    assert_eq!(polled.acknowledged.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), [marked.id()]);
    let refused: Vec<String> = polled.refused.iter().map(ErasureError::to_string).collect();
    for ((id, _), refused) in odd.iter().zip(&refused) {
        assert!(refused.contains(&uuid::Uuid::from_u128(*id).to_string()), "{refused}");
    }
    assert_eq!(refused.len(), odd.len());
}

#[test]
fn who_cannot_be_forgotten_is_not_acknowledged() {
    let world = World::new();
    let log = world.start("one");
    fill(&world, &log, &[plain()]);
    world.eraser().mark(&Subject::new(ANNA, &plain()).unwrap(), "desk", now()).unwrap();
    let server = world.server(&plain());
    let mut fails = |_: &Erased| Err("the customers cannot be read".to_owned());
    let failed = server.poll(&LiveLog::of(&log), &mut fails, now()).unwrap_err().to_string();
    assert!(failed.contains("still in memory: the customers cannot be read"), "{failed}");
    // Nor what is in a log that is about to be given up.
    let ending = LiveLog::of(&log);
    ending.end();
    assert!(server.poll(&ending, &mut |_| Ok(()), now()).is_err());
    assert!(world.holding(&[ANNA.to_owned()]).len() > 2);
    assert_eq!(poll(&server, &LiveLog::of(&log)).acknowledged.len(), 1);
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
    let outcome = world.erase(&plain(), &[(world.server(&plain()), &log)]);
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
