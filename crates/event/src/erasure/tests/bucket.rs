//! In a bucket, by a real S3-compatible server.

use crate::erasure::lease::Lease;

use super::*;

#[path = "../../../../../tests/server/s3.rs"]
#[allow(dead_code, reason = "tests of the server use the rest")]
mod s3;

use s3::S3;

#[test]
fn nothing_of_the_person_is_left_in_a_bucket() {
    let Some(server) = S3::start() else { return };
    let location = server.new_location();
    let [_, _, known] = generations();
    let world = World::in_bucket(&location, server.variables());
    let log = world.start("one");
    let events = fill(&world, &log, std::slice::from_ref(&known));
    close(&log);
    let objects = server.directory(&location);
    assert!(!World::holding_in(&objects, &names_of(ANNA)).is_empty());
    let before = world.decisions();
    let outcome = world.erase(&known, &[(world.server(&known), &log)]);
    assert!(outcome.is_complete() && outcome.records > 0, "{outcome}");
    assert_eq!(World::holding_in(&objects, &names_of(ANNA)), Vec::<String>::new());
    assert_eq!(world.holding(&names_of(ANNA)), Vec::<String>::new());
    let anna = Subject::new(ANNA, &known).unwrap();
    let others =
        before.into_iter().filter(|(_, bytes)| !anna.is_of(&DecisionRecord::decode(&**bytes).unwrap()));
    assert_eq!(world.decisions(), others.collect());
    world.verify(events);
    // The turn is over, and no server is waited for.
    let lease = fs::read_to_string(objects.join("erasures/lease.toml")).unwrap();
    assert!(lease.contains("until = \"1970-01-01T00:00:00.000Z\""), "{lease}");
    let again = world.erase(&known, &[(world.server(&known), &log)]);
    assert_eq!(again.records, 0);
}

#[test]
fn in_a_bucket_a_turn_ends_with_its_time() {
    let Some(server) = S3::start() else { return };
    let store = ErasureStore::open(&server.new_location(), server.variables()).unwrap();
    let minutes = |minutes| now() + TimeDelta::minutes(minutes);
    let mut one = Lease::take(&store, "one", minutes(0)).unwrap();
    let refused = Lease::take(&store, "other", minutes(3)).unwrap_err().to_string();
    assert!(
        refused.contains("one is rewriting sealed files; try again when it has ended, or in 8 minutes"),
        "{refused}"
    );
    // Renewed, it lasts longer.
    one.renew(minutes(4)).unwrap();
    one.renew(minutes(6)).unwrap();
    assert!(Lease::take(&store, "other", minutes(16)).is_err());
    // Held up for too long, it is another's turn, which the first does not end.
    let mut other = Lease::take(&store, "other", minutes(17)).unwrap();
    assert!(matches!(one.renew(minutes(18)), Err(ErasureError::Overtaken)));
    drop(one);
    other.renew(minutes(24)).unwrap();
    drop(other);
    Lease::take(&store, "third", minutes(24)).unwrap();
}

#[test]
fn a_sealed_file_that_changed_since_it_was_read_is_not_replaced() {
    let Some(server) = S3::start() else { return };
    for world in [World::in_bucket(&server.new_location(), server.variables()), World::new()] {
        let log = world.start("one");
        fill(&world, &log, &[plain()]);
        let key = world.events.list(crate::sealed::Kind::Decision, None).unwrap().remove(0).0.to_string();
        let former = world.store.tag(&key).unwrap().unwrap();
        let made = world.path().join("made");
        fs::write(&made, "first").unwrap();
        assert!(matches!(world.store.exchange(&key, &former, &made).unwrap(), objects::Put::Done(_)));
        fs::write(&made, "second").unwrap();
        assert_eq!(world.store.exchange(&key, &former, &made).unwrap(), objects::Put::Taken);
        assert_eq!(world.store.objects().get(&key).unwrap().unwrap().bytes, "first");
        assert_eq!(world.store.exchange("events/none", &former, &made).unwrap(), objects::Put::Taken);
    }
}
