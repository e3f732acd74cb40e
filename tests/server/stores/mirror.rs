//! What is copied from a bucket to the local mirror: versions, and the customers.

use std::path::Path;

use super::*;

const FILE: &str = "folder/weights and more.bin";

fn on_s3(test: impl Fn(&S3, &Place)) {
    if let Some(s3) = S3::shared() {
        test(s3, &Place::on(s3));
    }
}

fn inode(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().ino()
}

#[test]
fn a_store_in_a_directory_has_no_mirror() {
    let place = Place::local();
    let store = place.create();
    push(&store, None, b"one").unwrap();
    store.sync_models(&BTreeMap::new()).unwrap();
    store.sync_customers().unwrap();
    store.put_customers(Path::new("unused.csv")).unwrap();
    assert_eq!(store.models_dir(), Path::new(&place.location).join("models"));
    assert_eq!(store.customers_dir(), Path::new(&place.location).join("customers"));
    assert!(!place.mirror().exists());
}

#[test]
fn a_version_is_fetched_once_unless_the_mirror_is_wrong() {
    on_s3(|s3, place| {
        let store = place.create();
        push(&store, None, b"one").unwrap();
        let directory = store.fetch_version("card", 1).unwrap();
        assert_eq!(directory, place.mirror().join("models/card/1"));
        let first = inode(&directory);
        assert_eq!(inode(&store.fetch_version("card", 1).unwrap()), first);
        // Truncated by a full disk, or written by another store.
        fs::write(directory.join(FILE), "o").unwrap();
        assert_eq!(fs::read(store.fetch_version("card", 1).unwrap().join(FILE)).unwrap(), b"one");
        let other = Place {
            location: s3.new_location(),
            variables: s3.variables(),
            directory: tempfile::tempdir().unwrap(),
        };
        let elsewhere = Store::create_with(&other.location, Some(&place.mirror()), s3.variables()).unwrap();
        push(&elsewhere, None, b"two").unwrap();
        assert_eq!(fs::read(elsewhere.fetch_version("card", 1).unwrap().join(FILE)).unwrap(), b"two");
        assert_eq!(fs::read(store.fetch_version("card", 1).unwrap().join(FILE)).unwrap(), b"one");
    });
}

#[test]
fn a_version_may_be_fetched_concurrently() {
    on_s3(|_, place| {
        let store = place.create();
        push(&store, None, &vec![7; 1 << 20]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let directory = store.fetch_version("card", 1).unwrap();
                    assert_eq!(fs::read(directory.join(FILE)).unwrap(), vec![7; 1 << 20]);
                });
            }
        });
        assert_eq!(fs::read_dir(place.mirror().join(".staging")).unwrap().count(), 0);
    });
}

#[test]
fn the_highest_version_of_each_unpinned_model_is_mirrored() {
    on_s3(|_, place| {
        let store = place.create();
        for content in [&b"one"[..], b"two", b"three"] {
            push(&store, None, content).unwrap();
        }
        let staged = store.stage().unwrap();
        fs::write(staged.path().join("model.onnx"), "bare").unwrap();
        store.add_version("bare", None, staged).unwrap();
        let mirrored = |version: &str| place.mirror().join("models").join(version).exists();
        // Version 3 is pinned, so loading its release fetches it.
        store.sync_models(&pins(3)).unwrap();
        assert!(mirrored("bare/1") && !mirrored("card/3"));
        store.sync_models(&pins(2)).unwrap();
        assert!(mirrored("card/3") && !mirrored("card/2") && !mirrored("card/1"));
        // Another process with another mirror deletes it.
        let other = tempfile::tempdir().unwrap();
        let elsewhere =
            Store::create_with(&place.location, Some(other.path()), place.variables.clone()).unwrap();
        elsewhere.delete_version("card", 3).unwrap();
        store.sync_models(&BTreeMap::new()).unwrap();
        assert!(!mirrored("card/3") && mirrored("card/2") && mirrored("bare/1"));
    });
}

#[test]
fn a_temporary_mirror_is_removed_with_its_store() {
    on_s3(|_, place| {
        let store = Store::create_with(&place.location, None, place.variables.clone()).unwrap();
        push(&store, None, b"one").unwrap();
        let directory = store.fetch_version("card", 1).unwrap();
        assert!(directory.join(FILE).is_file());
        let clone = store.clone();
        drop(store);
        assert!(directory.is_dir());
        drop(clone);
        assert!(!directory.exists());
    });
}

#[test]
fn customers_are_replaced_as_a_whole_and_reach_every_mirror() {
    on_s3(|_, place| {
        let store = place.create();
        let other = tempfile::tempdir().unwrap();
        let replica =
            Store::create_with(&place.location, Some(other.path()), place.variables.clone()).unwrap();
        let seen = |name: &str| fs::read_to_string(replica.customers_dir().join(name)).ok();
        replica.sync_customers().unwrap();
        assert_eq!((seen("customers.csv"), seen("customers.parquet")), (None, None));

        let file = place.directory.path().join("customers.csv");
        for text in ["customer_id\nA\n", "customer_id\nB\n"] {
            fs::write(&file, text).unwrap();
            store.put_customers(&file).unwrap();
            replica.sync_customers().unwrap();
            assert_eq!(seen("customers.csv").as_deref(), Some(text));
        }
        let before = inode(&replica.customers_dir().join("customers.csv"));
        replica.sync_customers().unwrap();
        assert_eq!(inode(&replica.customers_dir().join("customers.csv")), before);
        // Changes to the mirror are overwritten from the store.
        fs::write(replica.customers_dir().join("customers.csv"), "mine").unwrap();
        replica.sync_customers().unwrap();
        assert_eq!(seen("customers.csv").as_deref(), Some("customer_id\nB\n"));

        let parquet = place.directory.path().join("customers.parquet");
        fs::write(&parquet, "PAR1").unwrap();
        store.put_customers(&parquet).unwrap();
        replica.sync_customers().unwrap();
        assert_eq!((seen("customers.csv"), seen("customers.parquet").as_deref()), (None, Some("PAR1")));
        let refused = store.put_customers(Path::new("customers.json")).unwrap_err();
        assert!(refused.to_string().contains("customers.csv or customers.parquet"), "{refused}");
    });
}
