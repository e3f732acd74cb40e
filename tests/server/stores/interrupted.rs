//! Writers that are killed with SIGKILL at each step: the state is the old or the new one, and the operation can be
//! repeated.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::*;

const ACT: &str = "PROFFER_TEST_ACT";
const LOCATION: &str = "PROFFER_TEST_LOCATION";
const MIRROR: &str = "PROFFER_TEST_MIRROR";
const FAULT: &str = "PROFFER_FAULT";

/// Performs the operation of the other process.
fn act(store: &Store, act: &str) {
    match act {
        "push" => _ = push(store, Some(2), b"two").unwrap(),
        "push next" => _ = push(store, None, b"two").unwrap(),
        "judge" => _ = store.add_verdict("card", 1, &verdict(1)).unwrap(),
        "release" => _ = release(store, &pins(1), "# 2").unwrap(),
        "promote" => {
            let stamp = store.current().unwrap().stamp;
            store.replace_current(Some(&stamp), &current(2, 2, "the other")).unwrap();
        }
        "delete" => store.delete_version("card", 1).unwrap(),
        other => panic!("{other}"),
    }
}

/// Not a test: the process that is killed.
#[test]
#[ignore = "started by the tests of this module"]
fn the_other_process() {
    let Ok(what) = std::env::var(ACT) else { return };
    let [location, mirror] = [LOCATION, MIRROR].map(|name| std::env::var(name).unwrap());
    let store = Store::open(&location, Some(mirror.as_ref())).unwrap();
    act(&store, &what);
    println!("the other process is done");
}

/// A store with a version and a `CURRENT`.
fn filled(place: &Place) -> Store {
    let store = place.create();
    push(&store, None, b"one").unwrap();
    store.replace_current(None, &current(1, 1, "a")).unwrap();
    store
}

/// Runs an operation in another process, which is killed at `step`.
fn killed_at(place: &Place, what: &str, step: &str) {
    let name = format!("{}::the_other_process", module_path!().split_once("::").unwrap().1);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&name, "--exact", "--ignored", "--nocapture"]);
    command.envs(place.variables.clone());
    command.env(ACT, what).env(LOCATION, &place.location).env(MIRROR, place.mirror());
    let ended = command.env(FAULT, format!("{step}=kill")).output().unwrap();
    assert_eq!(ended.status.signal(), Some(9), "{what} is not killed at {step}: {ended:?}");
}

/// Checks that nothing half-written is left once the store has been reopened.
fn assert_swept(place: &Place, store: &Store) {
    let staging = store.models_dir().parent().unwrap().join(".staging");
    let left = fs::read_dir(&staging).map(Iterator::count).unwrap_or_default();
    assert_eq!(left, 0, "{}", staging.display());
    assert_eq!(store.location(), place.location);
}

/// Runs a test at each step, in both kinds of store; only buckets have `claimed` steps.
fn at_each(steps: &[&str], test: impl Fn(&Place, &str)) {
    for step in steps {
        in_both(|place| {
            if !(place.is_local() && step.ends_with("claimed")) {
                test(place, step);
            }
        });
    }
}

#[test]
fn a_push_is_repeated_and_completes() {
    at_each(&["push.staged", "push.claimed", "push.placing", "push.placed"], |place, step| {
        let placed = step == "push.placed";
        drop(filled(place));
        killed_at(place, "push", step);
        let store = place.open().unwrap();
        assert_swept(place, &store);
        assert_eq!(versions(&store), if placed { vec![1, 2] } else { vec![1] }, "{step}");
        assert_eq!(store.fetch_version("card", 2).is_ok(), placed, "{step}");
        assert_eq!(push(&store, Some(2), b"two").unwrap(), Placed { version: 2, created: !placed }, "{step}");
        let directory = store.fetch_version("card", 2).unwrap();
        assert_eq!(fs::read(directory.join("folder/weights and more.bin")).unwrap(), b"two");
        assert_eq!(push(&store, None, b"three").unwrap().version, 3, "{step}");
    });
}

#[test]
fn remains_of_a_killed_push_do_not_mix_with_another() {
    at_each(&["push.staged", "push.claimed", "push.placing"], |place, step| {
        drop(filled(place));
        killed_at(place, "push next", step);
        let store = place.open().unwrap();
        let claimed = !place.is_local() && step != "push.staged";
        let other = push(&store, Some(2), b"other");
        if claimed {
            let refused = other.unwrap_err();
            assert!(matches!(refused, StoreError::HalfWritten { .. }), "{step}: {refused}");
            assert_eq!(push(&store, None, b"other").unwrap().version, 3, "{step}");
            assert!(matches!(release(&store, &pins(2), ""), Err(StoreError::NoSuchVersion { .. })));
            store.delete_version("card", 2).unwrap();
            assert!(matches!(push(&store, Some(2), b"two"), Err(StoreError::Deleted { .. })));
            assert!(matches!(store.delete_version("card", 2), Err(StoreError::NoSuchVersion { .. })));
        } else {
            assert_eq!(other.unwrap(), Placed { version: 2, created: true }, "{step}");
        }
    });
}

#[test]
fn a_verdict_is_written_completely_or_not_at_all() {
    at_each(&["verdict.writing", "verdict.written"], |place, step| {
        drop(filled(place));
        killed_at(place, "judge", step);
        let store = place.open().unwrap();
        assert_swept(place, &store);
        let kept = (step == "verdict.written").then(|| verdict(1));
        assert_eq!(store.verdict("card", 1).unwrap(), kept, "{step}");
        let expected = kept.unwrap_or_else(|| verdict(9));
        assert_eq!(store.add_verdict("card", 1, &verdict(9)).unwrap(), expected, "{step}");
    });
}

#[test]
fn an_incomplete_release_does_not_count_and_blocks_none() {
    at_each(&["release.staged", "release.placing", "release.placed"], |place, step| {
        let store = filled(place);
        assert_eq!(release(&store, &pins(1), "# 1").unwrap(), 1);
        drop(store);
        killed_at(place, "release", step);
        let store = place.open().unwrap();
        assert_swept(place, &store);
        let there = step == "release.placed";
        assert_eq!(store.releases().unwrap(), if there { vec![1, 2] } else { vec![1] }, "{step}");
        assert_eq!(store.release(2).is_ok(), there, "{step}");
        // In a bucket, the number of the incomplete release is not reused.
        let next = if there || !place.is_local() { 3 } else { 2 };
        assert_eq!(release(&store, &pins(1), "# next").unwrap(), next, "{step}");
        assert_eq!(store.release(next).unwrap().features, "# next");
    });
}

#[test]
fn current_is_old_or_new_and_the_history_is_complete() {
    at_each(&["promote.asked", "promote.written", "promote.moved", "promote.copied"], |place, step| {
        drop(filled(place));
        killed_at(place, "promote", step);
        let store = place.open().unwrap();
        assert_swept(place, &store);
        let moved = ["promote.moved", "promote.copied"].contains(&step);
        let mut expected = vec![current(1, 1, "a")];
        expected.extend(moved.then(|| current(2, 2, "the other")));
        let seen = store.current().unwrap();
        assert_eq!(Some(&seen.current), expected.last(), "{step}");
        assert_eq!(store.promotions().unwrap(), expected, "{step}");
        let next = current(3, seen.current.sequence + 1, "next");
        store.replace_current(Some(&seen.stamp), &next).unwrap();
        expected.push(next);
        assert_eq!(store.promotions().unwrap(), expected, "{step}");
    });
}

#[test]
fn a_deletion_is_repeated_and_completes() {
    at_each(&["delete.marked", "delete.hidden", "delete.done"], |place, step| {
        drop(filled(place));
        killed_at(place, "delete", step);
        let store = place.open().unwrap();
        assert_swept(place, &store);
        let there = step == "delete.marked";
        assert_eq!(store.has_version("card", 1).unwrap(), there, "{step}");
        let pinned = release(&store, &pins(1), "");
        if there && place.is_local() {
            assert!(pinned.is_ok(), "{step}");
            return;
        }
        assert!(
            matches!(pinned, Err(StoreError::NoSuchVersion { .. } | StoreError::Deleting { .. })),
            "{step}"
        );
        let left = there || (step == "delete.hidden" && !place.is_local());
        let again = store.delete_version("card", 1);
        assert_eq!(again.is_ok(), left, "{step}: {again:?}");
        assert!(!store.has_version("card", 1).unwrap(), "{step}");
        assert!(matches!(push(&store, Some(1), b"one"), Err(StoreError::Deleted { .. })), "{step}");
        assert_eq!(push(&store, None, b"one").unwrap().version, 2, "{step}");
    });
}
