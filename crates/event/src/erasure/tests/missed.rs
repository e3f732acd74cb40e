//! Whether erasures were completed without a server that did not run.

use std::collections::BTreeSet;

use uuid::{NoContext, Timestamp, Uuid};

use super::*;

/// The id of an erasure that was asked for at `at`.
fn made(at: DateTime<Utc>) -> String {
    let timestamp =
        Timestamp::from_unix(NoContext, at.timestamp().cast_unsigned(), at.timestamp_subsec_nanos());
    Uuid::new_v7(timestamp).to_string()
}

/// A store in which an erasure of this id is complete, which the server `there` has acknowledged.
fn store(id: &str, completed_at: &str) -> (World, Erasures) {
    let world = World::new();
    let completed = Completed {
        format: 1,
        id: id.to_owned(),
        requested_at: completed_at.to_owned(),
        by: "desk".to_owned(),
        completed_at: completed_at.to_owned(),
        servers: BTreeSet::from(["there".to_owned()]),
    };
    world.store.put_new(&format!("erased/{id}.toml"), &completed).unwrap();
    let erasures = Erasures::new(world.store.clone());
    (world, erasures)
}

#[test]
fn who_has_not_acknowledged_has_missed_what_is_complete() {
    let world = World::new();
    let erasures = Erasures::new(world.store.clone());
    let since = Utc::now();
    assert!(!erasures.missed_by("away", since).unwrap());
    let marker = Marker::new(&Subject::new(ANNA, &plain()).unwrap(), "desk", since).unwrap();
    erasures.add(&marker).unwrap();
    let done = Acknowledgement {
        server: "there".to_owned(),
        version: "1.2.3".to_owned(),
        at: since.to_rfc3339(),
        records: 0,
        unknown_keys: BTreeSet::new(),
        left: Vec::new(),
    };
    erasures.acknowledge(&marker, &done).unwrap();
    // It is still to be done: a server that starts finds the marker.
    assert!(!erasures.missed_by("away", since).unwrap());
    erasures.complete(&marker, since).unwrap();
    assert!(erasures.missed_by("away", since).unwrap());
    assert!(!erasures.missed_by("there", since).unwrap());
}

#[test]
fn what_was_complete_before_was_not_missed_unless_clocks_differ() {
    let completed = now();
    let (_world, erasures) = store(&made(completed - TimeDelta::hours(1)), &completed.to_rfc3339());
    let missed = |since: DateTime<Utc>| erasures.missed_by("away", since).unwrap();
    let day = TimeDelta::days(1);
    assert!(missed(completed - day) && missed(completed) && missed(completed + day));
    assert!(!missed(completed + day + TimeDelta::milliseconds(1)));
}

#[test]
fn an_erasure_that_took_long_is_missed_and_one_of_last_year_is_not_read() {
    let completed = now();
    let asked = completed - TimeDelta::days(59);
    let (_world, erasures) = store(&made(asked), &completed.to_rfc3339());
    assert!(erasures.missed_by("away", completed).unwrap());
    let (world, erasures) = store(&made(now()), &now().to_rfc3339());
    let folder = world.path().join("store/erased");
    fs::write(folder.join(format!("{}.toml", made(now() - TimeDelta::days(400)))), "no record").unwrap();
    fs::write(folder.join("README"), "no record").unwrap();
    assert!(!erasures.missed_by("there", now()).unwrap());
    // One that cannot be understood may be of anybody.
    fs::write(folder.join(format!("{}.toml", made(now()))), "no record").unwrap();
    assert!(erasures.missed_by("there", now()).is_err());
}

#[test]
fn a_time_that_nobody_understands_counts_as_missed() {
    let (_world, erasures) = store(&made(now()), "yesterday");
    assert!(erasures.missed_by("away", now() + TimeDelta::days(9)).unwrap());
    assert!(!erasures.missed_by("there", now()).unwrap());
}
