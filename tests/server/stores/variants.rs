//! Versions that variants of experiments name: a release needs them as those that it pins. They are fetched with it,
//! and nobody deletes them.

use super::*;

/// A policy whose variant names a version of `card`. It is no policy that a server would take.
fn tries(state: &str, version: u64) -> String {
    format!(
        "[[experiment]]\nid = 'e'\nstate = '{state}'\n[[experiment.variant]]\nid = 'a'\n\
         [[experiment.variant]]\nid = 'b'\nmodels = {{ card = {version} }}\n"
    )
}

/// Writes a release that pins version 1.
fn trying(store: &Store, policy: &str) -> Result<u64, StoreError> {
    let models = pins(1);
    let (author, note, features, offers) = ("a test", "", "f = 1", "o = 1");
    let new = NewRelease { author, note, models: &models, features, offers, policy, step: None };
    store.add_release(&new).map(|record| record.number)
}

fn needed(store: &Store, release: u64) -> Vec<u64> {
    store.release(release).unwrap().versions().into_iter().map(|(_, version)| version).collect()
}

#[test]
fn a_release_needs_the_versions_of_its_variants() {
    in_both(|place| {
        let store = place.create();
        for content in [&b"one"[..], b"two", b"three"] {
            push(&store, None, content).unwrap();
        }
        for state in ["draft", "running", "paused"] {
            let refused = trying(&store, &tries(state, 9)).unwrap_err();
            assert!(matches!(refused, StoreError::NoSuchVersion { version: 9, .. }), "{state}: {refused}");
        }
        // Nothing of what was refused is left.
        assert_eq!(store.releases().unwrap(), Vec::<u64>::new());
        let running = trying(&store, &tries("running", 2)).unwrap();
        let over = trying(&store, &tries("stopped", 3)).unwrap();
        assert_eq!((needed(&store, running), needed(&store, over)), (vec![1, 2], vec![1]));
        assert_eq!(store.pinned_by("card", 1).unwrap(), [running, over]);
        assert_eq!(store.pinned_by("card", 2).unwrap(), [running]);
        assert_eq!(store.readable_pinned_by("card", 2).unwrap(), [running]);
        assert_eq!(store.pinned_by("card", 3).unwrap(), Vec::<u64>::new());
    });
}

#[test]
fn a_version_of_a_variant_is_not_deleted_while_a_release_needs_it() {
    in_both(|place| {
        let store = place.create();
        for content in [&b"one"[..], b"two", b"three"] {
            push(&store, None, content).unwrap();
        }
        let running = trying(&store, &tries("running", 2)).unwrap();
        trying(&store, &tries("stopped", 3)).unwrap();
        let pinned = store.delete_version("card", 2).unwrap_err();
        assert!(
            matches!(&pinned, StoreError::Pinned { version: 2, releases, .. } if *releases == [running]),
            "{pinned}"
        );
        // It is whole, and a release may still name it.
        assert!(store.fetch_version("card", 2).unwrap().join("folder/weights and more.bin").is_file());
        let again = trying(&store, &tries("draft", 2)).unwrap();
        assert_eq!(store.pinned_by("card", 2).unwrap(), [running, again]);
        // An experiment that is over keeps nothing.
        store.delete_version("card", 3).unwrap();
        assert_eq!(versions(&store), [1, 2]);
        let refused = trying(&store, &tries("running", 3)).unwrap_err();
        assert!(matches!(refused, StoreError::NoSuchVersion { version: 3, .. }), "{refused}");
    });
}

#[test]
fn the_mirror_keeps_a_version_of_a_variant_that_was_fetched() {
    let Some(s3) = S3::shared() else { return };
    let place = Place::on(s3);
    let store = place.create();
    for content in [&b"one"[..], b"two", b"three"] {
        push(&store, None, content).unwrap();
    }
    let release = trying(&store, &tries("running", 2)).unwrap();
    // Another process with another mirror.
    let mirror = tempfile::tempdir().unwrap();
    let replica = Store::create_with(&place.location, Some(mirror.path()), place.variables.clone()).unwrap();
    let mirrored = |version: u64| mirror.path().join(format!("models/card/{version}")).is_dir();
    // By itself it has only what serves beside releases: the highest version.
    replica.sync_models(&pins(1)).unwrap();
    assert_eq!([1, 2, 3].map(mirrored), [false, false, true]);
    for (name, version) in replica.release(release).unwrap().versions() {
        replica.fetch_version(&name, version).unwrap();
    }
    replica.sync_models(&pins(1)).unwrap();
    assert_eq!([1, 2, 3].map(mirrored), [true, true, true]);
    let file = mirror.path().join("models/card/2/folder/weights and more.bin");
    assert_eq!(fs::read(&file).unwrap(), b"two");
    // A damaged copy is fetched again.
    fs::write(&file, "tw").unwrap();
    replica.fetch_version("card", 2).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"two");
}
