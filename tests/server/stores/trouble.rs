//! Buckets that cannot be reached, deny access, or hold foreign objects.

use std::time::{Duration, Instant};

use super::*;

/// The limit for any call here, including its retries.
const SOON: Duration = Duration::from_secs(10);

type Call = fn(&Store) -> Option<StoreError>;

/// A call of each kind.
const CALLS: [(&str, Call); 7] = [
    ("current", |store| store.current().err()),
    ("versions", |store| store.versions().err()),
    ("releases", |store| store.releases().err()),
    ("fetch", |store| store.fetch_version("card", 1).err()),
    ("push", |store| push(store, Some(9), b"nine").err()),
    ("release", |store| release(store, &BTreeMap::new(), "").err()),
    ("customers", |store| store.sync_customers().err()),
];

/// Checks that every kind of call fails within the limit, reports an unreachable store, and names it.
fn assert_unreachable(store: &Store, location: &str) {
    std::thread::scope(|scope| {
        for (what, call) in CALLS {
            scope.spawn(move || {
                let began = Instant::now();
                let error = call(store).unwrap_or_else(|| panic!("{what} succeeds"));
                assert!(began.elapsed() < SOON, "{what} takes {:?}", began.elapsed());
                assert!(error.is_unreachable(), "{what}: {error:?}");
                assert!(error.to_string().starts_with(location), "{what}: {error}");
            });
        }
    });
    // An object that cannot be looked up does not count as missing.
    assert!(store.has_version("card", 1).is_err() && store.has_release(1).is_err());
}

#[test]
fn an_unreachable_store_is_reported_soon_and_recovers() {
    let Some(s3) = S3::start() else { return };
    let place = Place::on(&s3);
    let store = place.create();
    let stamp = store.replace_current(None, &current(1, 1, "a")).unwrap();
    push(&store, None, b"one").unwrap();
    // It accepts connections but does not answer.
    s3.hold();
    assert_unreachable(&store, &place.location);
    s3.release();
    assert_eq!(store.current().unwrap().current, current(1, 1, "a"));
    assert_eq!(store.current_unless(&stamp).unwrap(), None);
    assert_eq!(versions(&store)[0], 1);
    // It is gone.
    drop(s3);
    assert_unreachable(&store, &place.location);
    let began = Instant::now();
    let error = place.open().unwrap_err();
    assert!(error.is_unreachable() && began.elapsed() < SOON, "{error} after {:?}", began.elapsed());
}

#[test]
fn denied_access_is_not_reported_as_damage() {
    let Some(s3) = S3::shared() else { return };
    let mut place = Place::on(s3);
    for (name, value) in &mut place.variables {
        if name == "AWS_SECRET_ACCESS_KEY" {
            "wrong".clone_into(value);
        }
    }
    let error = place.open().unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("AWS_"), "{error}");
}

#[test]
fn a_location_that_does_not_exist_is_named() {
    let Some(s3) = S3::shared() else { return };
    let open = |location: &str| Store::open_with(location, None, s3.variables()).unwrap_err().to_string();
    let missing = open("s3://no-such-bucket/store");
    assert!(missing.starts_with("s3://no-such-bucket/store is not a store"), "{missing}");
    assert!(open("s3://").contains("names no bucket"));
    assert!(open("s3:///store").contains("names no bucket"));
    let made = Store::create_with("s3://no-such-bucket/store", None, s3.variables()).unwrap();
    let error = made.replace_current(None, &current(1, 1, "a")).unwrap_err().to_string();
    assert!(error.contains("no such bucket"), "{error}");
    // Without permission to use HTTP.
    let variables = s3.variables().into_iter().filter(|(name, _)| name != "AWS_ALLOW_HTTP");
    let error = Store::open_with(&s3.new_location(), None, variables).unwrap_err();
    assert!(error.to_string().contains("AWS_ALLOW_HTTP"), "{error}");
}

#[test]
fn foreign_objects_are_ignored() {
    let Some(s3) = S3::shared() else { return };
    let place = Place::on(s3);
    let store = place.create();
    push(&store, None, b"one").unwrap();
    release(&store, &pins(1), "").unwrap();
    store.replace_current(None, &current(1, 1, "a")).unwrap();
    let root = s3.directory(&place.location);
    for folder in
        ["models/half/1", "models/card/x", "models/card/7/deep", "releases/8", "releases/notes", "customers"]
    {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for file in [
        "models/half/1/weights.bin",
        "models/card/x/model.toml",
        "models/card/7/deep/file",
        "models/README",
        "releases/8/offers.toml",
        "releases/notes/release.toml",
        "promotions/x.toml",
        "customers/notes.txt",
    ] {
        fs::write(root.join(file), "what is this?").unwrap();
    }
    assert_eq!(store.versions().unwrap(), BTreeMap::from([("card".to_owned(), BTreeSet::from([1]))]));
    assert_eq!((store.releases().unwrap(), store.promotions().unwrap().len()), (vec![1], 1));
    store.sync_models(&BTreeMap::new()).unwrap();
    store.sync_customers().unwrap();
    // A number that is taken by a foreign object is skipped.
    assert_eq!(push(&store, None, b"two").unwrap().version, 8);
    assert_eq!(release(&store, &pins(1), "").unwrap(), 9);
}

#[test]
fn a_changed_file_and_a_missing_one_are_distinguished() {
    let Some(s3) = S3::shared() else { return };
    let place = Place::on(s3);
    let store = place.create();
    release(&store, &BTreeMap::new(), "f = 1").unwrap();
    let file = s3.directory(&place.location).join("releases/1/features.toml");
    fs::write(&file, "f = 2").unwrap();
    let changed = store.release(1).unwrap_err();
    assert!(
        matches!(&changed, StoreError::Changed { path, .. } if path.ends_with("releases/1/features.toml"))
    );
    fs::remove_file(&file).unwrap();
    let missing = store.release(1).unwrap_err();
    assert!(missing.to_string().contains("releases/1/features.toml: is missing"), "{missing}");
}

#[test]
fn a_version_that_was_copied_by_hand_is_accepted() {
    let Some(s3) = S3::shared() else { return };
    let place = Place::on(s3);
    let store = place.create();
    push(&store, Some(3), b"three").unwrap();
    fs::remove_file(s3.directory(&place.location).join("models/card/3/.files")).unwrap();
    assert_eq!(push(&store, Some(3), b"three").unwrap(), Placed { version: 3, created: false });
    assert!(matches!(push(&store, Some(3), b"THREE"), Err(StoreError::Occupied { .. })));
    assert!(matches!(push(&store, Some(3), b"four"), Err(StoreError::Occupied { .. })));
    assert_eq!(release(&store, &pins(3), "").unwrap(), 1);
}
