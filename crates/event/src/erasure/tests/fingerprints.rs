//! Two key files with other secrets under the same id: no one is taken for erased whose records were not found.

use super::*;

/// Pseudonyms by a key with the same id and one secret, by another secret, and by both.
fn two_secrets() -> [Pseudonyms; 3] {
    let of = |listed: &[(&str, u8, &str, bool)]| {
        Pseudonyms::new(PseudonymMode::HmacSha256, &keys(listed)).unwrap()
    };
    [
        of(&[("2026-11", 1, "pseudonyms", true)]),
        of(&[("2026-11", 2, "pseudonyms", true)]),
        of(&[("2026-11", 1, "pseudonyms", false), ("2026-11", 2, "pseudonyms", true)]),
    ]
}

fn key_names(pseudonyms: &Pseudonyms) -> Vec<KeyName> {
    pseudonyms.keys().cloned().collect()
}

#[test]
fn records_by_another_secret_keep_an_erasure_from_being_complete() {
    let [ours, theirs, both] = two_secrets();
    let world = World::new();
    let log = world.start_with("one", key_names(&ours));
    fill(&world, &log, std::slice::from_ref(&ours));
    let is_there = || !world.holding(&[ours.of(ANNA).text]).is_empty();
    let incomplete = |outcome: Outcome| {
        assert_eq!(outcome.unknown_keys.iter().cloned().collect::<Vec<_>>(), key_names(&ours), "{outcome}");
        assert!(!outcome.is_complete() && outcome.all_records() == 0 && is_there(), "{outcome}");
        outcome
    };
    // The server that runs has another secret than the command.
    let server = world.server(&ours);
    let mut wait = |_: &Awaited| {
        let polled = poll(&server, &LiveLog::of(&log));
        assert!(polled.acknowledged.is_empty());
        assert!(matches!(polled.refused[..], [ErasureError::NoKey { .. }]), "{:?}", polled.refused);
        Patience::Stop
    };
    let outcome = incomplete(world.erase_waiting(ANNA, &theirs, &mut wait).unwrap());
    assert_eq!(outcome.pending.len(), 1);
    assert!(outcome.to_string().contains(&key_names(&ours)[0].to_string()), "{outcome}");
    // A server that was started anew with the file of the command, and finds the records of before in its log.
    close(&log);
    let server = world.server(&theirs);
    let mut wait = |_: &Awaited| {
        assert_eq!(poll(&server, &LiveLog::of(&log)).acknowledged.len(), 1);
        Patience::Wait
    };
    let outcome = incomplete(world.erase_waiting(ANNA, &theirs, &mut wait).unwrap());
    assert!(outcome.pending.is_empty());
    assert_eq!(outcome.acknowledged[0].unknown_keys.iter().cloned().collect::<Vec<_>>(), key_names(&ours));
    // No server is left, and everything is sealed.
    seal_all(&world, &log);
    Heartbeats::new(world.store.clone()).remove(log.server()).unwrap();
    drop(log);
    let mut nobody = |_: &Awaited| panic!("nobody is waited for");
    incomplete(world.erase_waiting(ANNA, &theirs, &mut nobody).unwrap());
    // With both secrets they are found.
    let outcome = world.erase_waiting(ANNA, &both, &mut nobody).unwrap();
    assert!(outcome.is_complete() && outcome.records > 0 && !is_there(), "{outcome}");
}

#[test]
fn a_reader_tells_which_secret_is_missing() {
    let [ours, theirs, both] = two_secrets();
    let world = World::new();
    let log = world.start_with("one", key_names(&ours));
    fill(&world, &log, std::slice::from_ref(&ours));
    let opened = open_read_only(&world.data("one")).unwrap();
    let reader = EventReader::new(world.events.clone()).with_opened(opened);
    let found = reader.pseudonym_keys(&Query::default()).unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), key_names(&ours));
    let known =
        |pseudonyms: &Pseudonyms| Subject::new(ANNA, pseudonyms).unwrap().knows_key(&key_names(&ours)[0]);
    assert_eq!([known(&ours), known(&theirs), known(&both)], [true, false, true]);
    // Of other days none is told.
    let later = Query { from: Some(NOON + 9 * DAY), ..Query::default() };
    assert!(reader.pseudonym_keys(&later).unwrap().is_empty());
}

#[test]
fn what_an_older_version_has_sealed_is_searched_by_the_id() {
    let [_, theirs, _] = two_secrets();
    let world = World::new();
    // It notes no fingerprints.
    let log = world.start("one");
    fill(&world, &log, std::slice::from_ref(&theirs));
    let outcome = world.erase(&theirs, &[(world.server(&theirs), &log)]);
    assert!(outcome.is_complete() && outcome.records > 0, "{outcome}");
    let unproven: Vec<String> = outcome.unproven_keys.iter().map(KeyName::to_string).collect();
    assert_eq!(unproven, ["2026-11"]);
    assert!(outcome.to_string().contains("by the id of the key `2026-11` alone"), "{outcome}");
}
