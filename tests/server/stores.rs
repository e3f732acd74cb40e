//! The store in a directory and in a bucket of a real S3-compatible server, which must behave alike.

mod commands;
mod interrupted;
mod mirror;
mod racing;
mod trouble;
mod variants;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use release::{
    Current, GateOutcome, GateReport, NewRelease, Placed, Store, StoreError, Verdict, VersionRecord,
};

use super::s3::S3;

/// An empty location for a store, and how to access it.
pub(crate) struct Place {
    location: String,
    variables: Vec<(String, String)>,
    directory: tempfile::TempDir,
}

impl Place {
    fn local() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = directory.path().join("store").to_str().unwrap().to_owned();
        Self { location, variables: Vec::new(), directory }
    }

    fn on(s3: &S3) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { location: s3.new_location(), variables: s3.variables(), directory }
    }

    /// The store without a `CURRENT`, as another process would open it.
    fn create(&self) -> Store {
        Store::create_with(&self.location, Some(&self.mirror()), self.variables.clone()).unwrap()
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open_with(&self.location, Some(&self.mirror()), self.variables.clone())
    }

    fn mirror(&self) -> PathBuf {
        self.directory.path().join("mirror")
    }

    fn is_local(&self) -> bool {
        self.variables.is_empty()
    }
}

/// Runs a test in a directory and, if there is a server, in a bucket.
fn in_both(test: impl Fn(&Place)) {
    test(&Place::local());
    if let Some(s3) = S3::shared() {
        test(&Place::on(s3));
    }
}

fn push(store: &Store, version: Option<u64>, content: &[u8]) -> Result<Placed, StoreError> {
    let staged = store.stage()?;
    fs::create_dir(staged.path().join("folder")).unwrap();
    fs::write(staged.path().join("model.toml"), "kind = 'propensity'").unwrap();
    fs::write(staged.path().join("folder/weights and more.bin"), content).unwrap();
    fs::write(staged.path().join(".hidden"), "from an editor").unwrap();
    store.add_version("card", version, staged)
}

fn pins(version: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([("card".to_owned(), version)])
}

fn release(store: &Store, models: &BTreeMap<String, u64>, features: &str) -> Result<u64, StoreError> {
    let new =
        NewRelease { author: "a test", note: "", models, features, offers: "o = 1", policy: "", step: None };
    store.add_release(&new).map(|record| record.number)
}

fn current(release: u64, sequence: u64, author: &str) -> Current {
    let (author, reason, time) = (author.to_owned(), "a test".to_owned(), "2026-01-01T00:00:00Z".to_owned());
    Current { release, previous: release.saturating_sub(1), sequence, author, reason, time }
}

fn verdict(release: u64) -> Verdict {
    let report = GateReport {
        gate: "loads".to_owned(),
        outcome: GateOutcome::Passed,
        measured: String::new(),
        limit: String::new(),
        why: String::new(),
    };
    Verdict { passed: true, gates: vec![report], release, time: "2026-01-01T00:00:00Z".to_owned() }
}

fn versions(store: &Store) -> Vec<u64> {
    store.versions().unwrap().remove("card").unwrap_or_default().into_iter().collect()
}

#[test]
fn without_current_there_is_no_store() {
    in_both(|place| {
        let refused = place.open().unwrap_err();
        assert!(matches!(refused, StoreError::NotAStore { .. }), "{refused}");
        assert!(
            refused.to_string().contains(&format!("proffer init --store {}", place.location)),
            "{refused}"
        );
        let store = place.create();
        assert!(matches!(store.current(), Err(StoreError::NotAStore { .. })));
        assert!(matches!(place.open(), Err(StoreError::NotAStore { .. })));
        let first = current(1, 1, "a");
        let stamp = place.create().replace_current(None, &first).unwrap();
        let read = place.open().unwrap().current().unwrap();
        assert_eq!((read.current, read.stamp), (first, stamp));
        let again = Store::create_with(&place.location, Some(&place.mirror()), place.variables.clone());
        assert!(matches!(again.unwrap_err(), StoreError::AlreadyInitialised { release: 1, .. }));
    });
}

#[test]
fn a_version_never_changes() {
    in_both(|place| {
        let store = place.create();
        // Larger than the parts of an upload, and not a multiple of their size.
        let large: Vec<u8> = (0..13_000_001_u32).map(|index| (index / 7) as u8).collect();
        assert_eq!(push(&store, None, &large).unwrap(), Placed { version: 1, created: true });
        assert_eq!(push(&store, Some(7), b"seven").unwrap(), Placed { version: 7, created: true });
        assert_eq!(push(&store, None, b"").unwrap().version, 8);
        assert_eq!(push(&store, Some(3), b"three").unwrap().version, 3);
        assert_eq!(versions(&store), [1, 3, 7, 8]);

        assert_eq!(push(&store, Some(7), b"seven").unwrap(), Placed { version: 7, created: false });
        assert_eq!(push(&store, Some(1), &large).unwrap(), Placed { version: 1, created: false });
        let other = push(&store, Some(7), b"SEVEN").unwrap_err();
        assert!(
            matches!(&other, StoreError::Occupied { path } if path.ends_with("models/card/7")),
            "{other}"
        );
        assert!(matches!(push(&store, Some(0), b"zero"), Err(StoreError::Damaged { .. })));

        let record = store.version("card", 1).unwrap();
        let bytes = large.len() as u64 + 19;
        assert_eq!(record, VersionRecord { manifest: "kind = 'propensity'".to_owned(), bytes });
        let directory = store.fetch_version("card", 1).unwrap();
        assert_eq!(directory, store.models_dir().join("card/1"));
        assert!(fs::read(directory.join("folder/weights and more.bin")).unwrap() == large);
        for absent in [2, 4, 9] {
            assert!(!store.has_version("card", absent).unwrap());
            assert!(matches!(store.version("card", absent), Err(StoreError::NoSuchVersion { .. })));
            assert!(matches!(store.fetch_version("card", absent), Err(StoreError::NoSuchVersion { .. })));
        }
        assert!(
            store.has_version("card", 8).unwrap()
                && !store.has_version("cart", 8).unwrap()
                && !store.has_version("..", 8).unwrap()
        );
    });
}

#[test]
fn a_model_without_a_manifest_is_kept_and_not_listed() {
    in_both(|place| {
        let store = place.create();
        let bare = |content: &str| {
            let staged = store.stage().unwrap();
            fs::write(staged.path().join("model.onnx"), content).unwrap();
            store.add_version("bare", Some(2), staged)
        };
        assert!(bare("onnx").unwrap().created);
        assert!(!bare("onnx").unwrap().created);
        assert!(matches!(bare("other"), Err(StoreError::Occupied { .. })));
        assert!(!store.has_version("bare", 2).unwrap());
        assert_eq!(store.versions().unwrap(), BTreeMap::new());
        assert!(matches!(store.version("bare", 2), Err(StoreError::NoSuchVersion { .. })));
        let refused = release(&store, &BTreeMap::from([("bare".to_owned(), 2)]), "");
        assert!(matches!(refused, Err(StoreError::NoSuchVersion { .. })));
        let directory = store.fetch_version("bare", 2).unwrap();
        assert_eq!(fs::read_to_string(directory.join("model.onnx")).unwrap(), "onnx");
        store.delete_version("bare", 2).unwrap();
        assert!(matches!(bare("onnx"), Err(StoreError::Deleted { .. })));
    });
}

#[test]
fn numbers_are_never_reused() {
    in_both(|place| {
        let store = place.create();
        for version in 1..=3 {
            push(&store, Some(version), &[version as u8]).unwrap();
        }
        store.add_verdict("card", 3, &verdict(1)).unwrap();
        assert_eq!(release(&store, &pins(1), "").unwrap(), 1);
        assert_eq!(release(&store, &pins(1), "").unwrap(), 2);
        let pinned = store.delete_version("card", 1).unwrap_err();
        assert!(matches!(&pinned, StoreError::Pinned { releases, .. } if *releases == [1, 2]), "{pinned}");
        assert!(store.has_version("card", 1).unwrap());
        store.fetch_version("card", 2).unwrap();
        for version in [2, 3] {
            store.delete_version("card", version).unwrap();
            assert!(
                !store.has_version("card", version).unwrap()
                    && !store.models_dir().join("card").join(version.to_string()).exists()
            );
            let again = push(&store, Some(version), &[version as u8]).unwrap_err();
            assert!(matches!(again, StoreError::Deleted { .. }), "{again}");
            assert!(matches!(store.delete_version("card", version), Err(StoreError::NoSuchVersion { .. })));
        }
        // Judged or not, a deleted version keeps a verdict.
        assert!(!store.verdict("card", 2).unwrap().unwrap().passed);
        assert_eq!(store.verdict("card", 3).unwrap(), Some(verdict(1)));
        assert_eq!(push(&store, None, b"next").unwrap().version, 4);
        assert_eq!(versions(&store), [1, 4]);
        assert!(matches!(release(&store, &pins(2), ""), Err(StoreError::NoSuchVersion { version: 2, .. })));
        assert!(matches!(store.delete_version("card", 9), Err(StoreError::NoSuchVersion { .. })));
    });
}

#[test]
fn a_verdict_is_written_once() {
    in_both(|place| {
        let store = place.create();
        assert!(matches!(store.add_verdict("card", 1, &verdict(1)), Err(StoreError::NoSuchVersion { .. })));
        push(&store, None, b"one").unwrap();
        assert_eq!(store.verdict("card", 1).unwrap(), None);
        assert_eq!(store.add_verdict("card", 1, &verdict(1)).unwrap(), verdict(1));
        assert_eq!(store.add_verdict("card", 1, &verdict(2)).unwrap(), verdict(1));
        assert_eq!(store.verdict("card", 1).unwrap(), Some(verdict(1)));
    });
}

#[test]
fn releases_are_numbered_and_read_back() {
    in_both(|place| {
        let store = place.create();
        push(&store, None, b"one").unwrap();
        assert_eq!(store.releases().unwrap(), Vec::<u64>::new());
        for number in 1..=3 {
            assert_eq!(release(&store, &pins(1), &format!("# {number}")).unwrap(), number);
        }
        assert_eq!(store.releases().unwrap(), [1, 2, 3]);
        let files = store.release(2).unwrap();
        assert_eq!((&*files.features, &*files.offers, &*files.policy), ("# 2", "o = 1", ""));
        assert_eq!((files.record.number, files.record.models), (2, pins(1)));
        assert_eq!(store.release_record(3).unwrap().author, "a test");
        assert!(
            store.has_release(3).unwrap() && !store.has_release(4).unwrap() && !store.has_release(0).unwrap()
        );
        assert!(matches!(store.release(4), Err(StoreError::NoSuchRelease(4))));
        assert!(matches!(release(&store, &pins(2), ""), Err(StoreError::NoSuchVersion { version: 2, .. })));
        assert_eq!(store.releases().unwrap(), [1, 2, 3]);
    });
}

#[test]
fn current_moves_only_from_the_expected_state() {
    in_both(|place| {
        let store = place.create();
        let first = store.replace_current(None, &current(1, 1, "a")).unwrap();
        assert_eq!(store.current_unless(&first).unwrap(), None);
        let second = store.replace_current(Some(&first), &current(2, 2, "b")).unwrap();
        assert_eq!(store.current().unwrap().stamp, second);
        let seen = store.current_unless(&first).unwrap().unwrap();
        assert_eq!((seen.current, seen.stamp), (current(2, 2, "b"), second.clone()));
        for stale in [None, Some(&first)] {
            match store.replace_current(stale, &current(3, 3, "c")) {
                Err(StoreError::Overtaken { current: found }) => assert_eq!(*found, current(2, 2, "b")),
                other => panic!("{other:?}"),
            }
        }
        let backwards = store.replace_current(Some(&second), &current(1, 2, "c"));
        assert!(matches!(backwards, Err(StoreError::OutOfOrder { next: 2, present: 2 })));
        store.replace_current(Some(&second), &current(1, 5, "d")).unwrap();
        let all = [current(1, 1, "a"), current(2, 2, "b"), current(1, 5, "d")];
        assert_eq!(store.promotions().unwrap(), all);
    });
}

#[test]
fn a_long_history_is_read_completely() {
    in_both(|place| {
        let (store, count) = (place.create(), 40);
        push(&store, None, b"one").unwrap();
        let mut stamp = None;
        for number in 1..=count {
            release(&store, &pins(1), "").unwrap();
            stamp = Some(store.replace_current(stamp.as_ref(), &current(number, number, "a")).unwrap());
        }
        assert_eq!(store.releases().unwrap(), (1..=count).collect::<Vec<_>>());
        let promoted: Vec<u64> = store.promotions().unwrap().iter().map(|current| current.release).collect();
        assert_eq!(promoted, (1..=count).collect::<Vec<_>>());
        let pinned = store.delete_version("card", 1).unwrap_err();
        assert!(matches!(&pinned, StoreError::Pinned { releases, .. } if releases.len() == count as usize));
        assert!(pinned.to_string().contains("release 1, 2, 3, 4, 5, 6, 7, 8 and others"), "{pinned}");
    });
}
