//! The store in a directory. `tests/server/stores.rs` tests what holds for a bucket as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;
use crate::records::{Current, GateOutcome, GateReport, Verdict};

struct Place {
    store: Store,
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = Store::create(root.path().to_str().unwrap(), None).unwrap();
        Self { store, root }
    }

    fn with_current() -> Self {
        let place = Self::new();
        place.store.replace_current(None, &current(1, 1)).unwrap();
        place
    }

    fn push(&self, version: Option<u64>, content: &str) -> Result<Placed, StoreError> {
        push(&self.store, "card", version, content)
    }

    fn names(&self, folder: &str) -> BTreeSet<String> {
        // The folder does not exist before the first push.
        let Ok(entries) = fs::read_dir(self.root.path().join(folder)) else { return BTreeSet::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn push(store: &Store, name: &str, version: Option<u64>, content: &str) -> Result<Placed, StoreError> {
    let staged = store.stage()?;
    fs::create_dir(staged.path().join("folder")).unwrap();
    fs::write(staged.path().join("model.toml"), format!("# {content}")).unwrap();
    fs::write(staged.path().join("folder/weights.bin"), content).unwrap();
    store.add_version(name, version, staged)
}

fn current(release: u64, sequence: u64) -> Current {
    let (author, reason) = ("a test".to_owned(), format!("promotion {sequence}"));
    let time = "2026-01-01T00:00:00Z".to_owned();
    Current { release, previous: release.saturating_sub(1), sequence, author, reason, time }
}

fn release(store: &Store, models: &BTreeMap<String, u64>) -> Result<u64, StoreError> {
    let new = NewRelease {
        author: "a test",
        note: "",
        models,
        features: "f",
        offers: "o",
        policy: "p",
        step: None,
    };
    store.add_release(&new).map(|record| record.number)
}

fn verdict(passed: bool) -> Verdict {
    let report = GateReport {
        gate: "loads".to_owned(),
        outcome: if passed { GateOutcome::Passed } else { GateOutcome::Failed },
        measured: String::new(),
        limit: String::new(),
        why: String::new(),
    };
    Verdict { passed, gates: vec![report], release: 1, time: "2026-01-01T00:00:00Z".to_owned() }
}

#[test]
fn only_a_directory_with_a_current_is_a_store() {
    let root = tempfile::tempdir().unwrap();
    let absent = root.path().join("absent");
    let refused = |path: &Path| Store::open(path.to_str().unwrap(), None).unwrap_err().to_string();
    assert!(refused(&absent).contains("there is no such directory"), "{}", refused(&absent));
    assert!(refused(root.path()).contains("it has no CURRENT"));
    let other = Store::open("gs://bucket/store", None).unwrap_err().to_string();
    assert!(other.contains("no such directory") || other.contains("s3://"), "{other}");
    let place = Place::with_current();
    let location = place.store.location().to_owned();
    assert_eq!(Store::open(&location, None).unwrap().current().unwrap().current, current(1, 1));
    let again = Store::create(&location, None).unwrap_err();
    assert!(matches!(again, StoreError::AlreadyInitialised { release: 1, .. }), "{again}");
}

#[test]
fn what_is_staged_appears_whole_and_nothing_is_left() {
    let place = Place::new();
    assert_eq!(place.push(None, "a").unwrap(), Placed { version: 1, created: true });
    let record = place.store.version("card", 1).unwrap();
    assert_eq!(record, VersionRecord { manifest: "# a".to_owned(), bytes: 4 });
    let directory = place.store.fetch_version("card", 1).unwrap();
    assert_eq!(fs::read_to_string(directory.join("folder/weights.bin")).unwrap(), "a");
    assert_eq!(place.names(".staging"), BTreeSet::new());
    drop(place.store.stage().unwrap());
    assert_eq!(place.names(".staging"), BTreeSet::new());
    assert!(matches!(place.store.version("card", 2), Err(StoreError::NoSuchVersion { version: 2, .. })));
    assert!(matches!(place.store.version("../card", 1), Err(StoreError::BadName { .. })));
    assert!(!place.store.has_version("../models/card", 1).unwrap());
}

#[test]
fn an_empty_upload_is_no_version() {
    let place = Place::new();
    let refused = place.store.add_version("card", None, place.store.stage().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("neither model.toml nor model.onnx"), "{refused}");
    assert_eq!(place.names("models"), BTreeSet::new());
}

#[test]
fn a_directory_that_somebody_left_keeps_its_number_and_is_no_version() {
    let place = Place::new();
    fs::create_dir_all(place.root.path().join("models/card/4/folder")).unwrap();
    fs::create_dir_all(place.root.path().join("models/card/notes")).unwrap();
    assert_eq!(place.store.versions().unwrap(), BTreeMap::new());
    assert!(matches!(place.push(Some(4), "a"), Err(StoreError::HalfWritten { .. })));
    assert_eq!(place.push(None, "a").unwrap().version, 5);
    place.store.delete_version("card", 4).unwrap();
    assert!(matches!(place.push(Some(4), "a"), Err(StoreError::Deleted { .. })));
}

#[test]
fn a_store_that_cannot_be_written_to_is_read() {
    let place = Place::with_current();
    place.push(None, "a").unwrap();
    release(&place.store, &BTreeMap::from([("card".to_owned(), 1)])).unwrap();
    // A staging directory that cannot be made or swept stands for a read-only file system: permissions do not stop
    // root.
    fs::remove_dir_all(place.root.path().join(".staging")).unwrap();
    fs::write(place.root.path().join(".staging"), "").unwrap();
    fs::remove_file(place.root.path().join(".lock")).unwrap();
    fs::create_dir(place.root.path().join(".lock")).unwrap();
    fs::set_permissions(place.root.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let store = Store::open(place.store.location(), None).unwrap();
    assert_eq!(store.current().unwrap().current.release, 1);
    assert_eq!(store.release(1).unwrap().features, "f");
    assert!(store.fetch_version("card", 1).is_ok());
    assert!(store.stage().is_err());
    let stamp = store.current().unwrap().stamp;
    assert!(matches!(store.replace_current(Some(&stamp), &current(2, 2)), Err(StoreError::Io { .. })));
    assert_eq!(store.current().unwrap().current, current(1, 1));
    fs::set_permissions(place.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_copy_that_a_dead_promoter_owes_is_kept_by_the_next() {
    let place = Place::with_current();
    let first = place.store.current().unwrap().stamp;
    let second = place.store.replace_current(Some(&first), &current(2, 2)).unwrap();
    fs::remove_file(place.root.path().join("promotions/2.toml")).unwrap();
    assert_eq!(place.store.promotions().unwrap(), [current(1, 1), current(2, 2)]);
    place.store.replace_current(Some(&second), &current(3, 3)).unwrap();
    assert_eq!(place.store.promotions().unwrap(), [current(1, 1), current(2, 2), current(3, 3)]);
    assert_eq!(place.names("promotions"), ["1.toml", "2.toml", "3.toml"].map(str::to_owned).into());
}

#[test]
fn promotions_are_read_in_pages() {
    let place = Place::with_current();
    for sequence in 2..=12 {
        let stamp = place.store.current().unwrap().stamp;
        place.store.replace_current(Some(&stamp), &current(sequence, sequence)).unwrap();
    }
    // The present one has no copy yet.
    fs::remove_file(place.root.path().join("promotions/12.toml")).unwrap();
    let page = |before, count| -> Vec<u64> {
        let found = place.store.promotions_before(before, count).unwrap();
        found.iter().map(|entry| entry.sequence).collect()
    };
    assert_eq!(page(u64::MAX, 3), [10, 11, 12]);
    assert_eq!(page(10, 2), [8, 9]);
    assert_eq!(page(3, 100), [1, 2]);
    assert!(page(1, 100).is_empty());
    assert_eq!(place.store.promotions().unwrap().len(), 12);
}

#[test]
fn a_damaged_file_is_named() {
    let place = Place::with_current();
    let path = place.root.path().join("CURRENT");
    fs::write(&path, "release = \"one\"").unwrap();
    let error = place.store.current().unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged { path: named, .. } if *named == path.display().to_string())
    );
    fs::remove_file(&path).unwrap();
    assert!(matches!(place.store.current(), Err(StoreError::NotAStore { .. })));
}

#[test]
fn the_releases_of_a_version_are_those_that_pin_it_and_those_whose_variants_name_it() {
    let place = Place::new();
    place.push(None, "a").unwrap();
    place.push(None, "b").unwrap();
    let add = |version: u64, policy: &str| {
        let models = BTreeMap::from([("card".to_owned(), version)]);
        let new = NewRelease {
            author: "a",
            note: "n",
            models: &models,
            features: "f",
            offers: "o",
            policy,
            step: None,
        };
        place.store.add_release(&new).unwrap().number
    };
    let tried = |state: &str| {
        format!(
            "[[experiment]]\nid = 'e'\nstate = '{state}'\n[[experiment.variant]]\nid = 'b'\nmodels = {{ card = 2 }}\n"
        )
    };
    let shadowed = "[[shadow]]\nid = 's'\nsample = 0.1\nmodels = { card = 2 }\n";
    let numbers =
        [add(1, &tried("running")), add(2, ""), add(1, ""), add(1, &tried("stopped")), add(1, shadowed)];
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let of = |version| place.store.readable_pinned_by("card", version).unwrap();
    assert_eq!((of(1), of(2), of(3)), (vec![1, 3, 4, 5], vec![1, 2, 5], vec![]));
    assert_eq!(place.store.pinned_by("card", 2).unwrap(), of(2));
    // So neither a variant's version nor that of a shadow can be deleted.
    let refused = place.store.delete_version("card", 2).unwrap_err();
    assert!(
        matches!(refused, StoreError::Pinned { ref releases, .. } if *releases == [1, 2, 5]),
        "{refused:?}"
    );
    // One that cannot be read is left out here; it stops a deletion.
    fs::write(place.root.path().join("releases/2").join(keys::RECORD), "number = ").unwrap();
    assert_eq!(of(2), [1, 5]);
    assert!(place.store.pinned_by("card", 2).is_err());
}

#[test]
fn a_release_needs_the_versions_of_variants_as_those_that_it_pins() {
    let place = Place::new();
    for content in ["a", "b"] {
        place.push(None, content).unwrap();
    }
    let models = BTreeMap::from([("card".to_owned(), 1)]);
    let add = |state: &str, version: u64| {
        let policy = format!(
            "[[experiment]]\nid = 'e'\nstate = '{state}'\n[[experiment.variant]]\nid = 'b'\n\
             models = {{ card = {version} }}\n"
        );
        let (author, note) = ("a", "n");
        let (features, offers) = ("f", "o");
        let new = NewRelease { author, note, models: &models, features, offers, policy: &policy, step: None };
        place.store.add_release(&new).map(|record| record.number)
    };
    for state in ["draft", "running", "paused"] {
        let refused = add(state, 3).unwrap_err();
        assert!(
            matches!(&refused, StoreError::NoSuchVersion { name, version: 3 } if name == "card"),
            "{refused}"
        );
    }
    assert_eq!((add("stopped", 3).unwrap(), add("draft", 2).unwrap()), (1, 2));
    let of = |release: u64| place.store.release(release).unwrap().versions();
    let card = |version: u64| ("card".to_owned(), version);
    assert_eq!((of(1), of(2)), (BTreeSet::from([card(1)]), BTreeSet::from([card(1), card(2)])));
    let pinned = place.store.delete_version("card", 2).unwrap_err();
    assert!(matches!(&pinned, StoreError::Pinned { releases, .. } if *releases == [2]), "{pinned}");
    assert!(place.store.has_version("card", 2).unwrap());
}

#[test]
fn a_full_disk_is_told_from_other_errors() {
    let error = |code| StoreError::io(Path::new("store"), std::io::Error::from_raw_os_error(code));
    assert!([28, 122].map(error).iter().all(StoreError::is_full));
    assert!(![5, 30, 13].map(error).iter().any(StoreError::is_full));
}

#[test]
fn a_store_may_be_used_and_dropped_on_a_thread_of_a_runtime() {
    let place = Place::with_current();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        assert!(!place.store.has_version("card", 1).unwrap());
        drop(place);
    });
}

/// An operation on the store; a model in memory predicts its result.
#[derive(Debug, Clone)]
enum Step {
    Push(Option<u64>, u8),
    Judge(u64),
    Delete(u64),
    Release(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (proptest::option::of(1..5_u64), 0..3_u8).prop_map(|(version, content)| Step::Push(version, content)),
        (1..6_u64).prop_map(Step::Judge),
        (1..6_u64).prop_map(Step::Delete),
        (1..6_u64).prop_map(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn numbers_are_never_used_for_two_things(steps in proptest::collection::vec(step(), 1..24)) {
        let place = Place::new();
        let mut live: BTreeMap<u64, u8> = BTreeMap::new();
        let [mut used, mut pinned] = [BTreeSet::<u64>::new(), BTreeSet::new()];
        for step in steps {
            match step {
                Step::Push(wanted, content) => {
                    let pushed = place.push(wanted, &content.to_string());
                    let next = used.last().map_or(1, |last| last + 1);
                    let version = wanted.unwrap_or(next);
                    match live.get(&version) {
                        Some(there) if *there == content => {
                            prop_assert_eq!(pushed.unwrap(), Placed { version, created: false });
                        }
                        Some(_) => {
                            let refused = matches!(pushed, Err(StoreError::Occupied { .. }));
                            prop_assert!(refused, "{:?}", pushed);
                        }
                        None if used.contains(&version) => {
                            let refused = matches!(pushed, Err(StoreError::Deleted { .. }));
                            prop_assert!(refused, "{:?}", pushed);
                        }
                        None => {
                            prop_assert_eq!(pushed.unwrap(), Placed { version, created: true });
                            live.insert(version, content);
                            used.insert(version);
                        }
                    }
                }
                Step::Judge(version) => {
                    let stored = place.store.add_verdict("card", version, &verdict(true));
                    prop_assert_eq!(stored.is_ok(), used.contains(&version));
                }
                Step::Delete(version) => {
                    let deleted = place.store.delete_version("card", version);
                    if pinned.contains(&version) {
                        let refused = matches!(deleted, Err(StoreError::Pinned { .. }));
                        prop_assert!(refused, "{:?}", deleted);
                    } else {
                        prop_assert_eq!(deleted.is_ok(), live.remove(&version).is_some());
                    }
                }
                Step::Release(version) => {
                    let made = release(&place.store, &BTreeMap::from([("card".to_owned(), version)]));
                    prop_assert_eq!(made.is_ok(), live.contains_key(&version));
                    if made.is_ok() {
                        pinned.insert(version);
                    }
                }
            }
        }
        let versions = place.store.versions().unwrap().remove("card").unwrap_or_default();
        prop_assert_eq!(versions, live.keys().copied().collect::<BTreeSet<u64>>());
        prop_assert_eq!(place.names(".staging"), BTreeSet::new());
    }
}
