use super::*;
use crate::{Entity, Feature, FeatureType, ValueRef};
use std::time::Duration;

fn schema() -> FeatureSchema {
    FeatureSchema::from_features([Feature::new("balance", FeatureType::Float, Entity::Customer)])
}

struct Place {
    directory: tempfile::TempDir,
    source: CustomerSource,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = CustomerSource::new(directory.path().join("store/customers"));
        Self { directory, source }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

#[test]
fn a_valid_file_replaces_the_present_one() {
    let place = Place::new();
    assert_eq!(place.source.current(), None);
    assert!(place.source.load(&schema()).unwrap().0.is_empty());
    for balance in ["1", "2"] {
        let before = place.source.fingerprint();
        let file = place.write("new.csv", &format!("customer_id,balance\nA,{balance}\n"));
        assert_eq!(place.source.install(&file, &schema()).unwrap().customers, 1);
        assert_ne!(place.source.fingerprint(), before);
        let (table, report) = place.source.load(&schema()).unwrap();
        assert_eq!(table.value(table.find("A").unwrap(), 0), ValueRef::Float(balance.parse().unwrap()));
        assert!(report.unwrap().file.ends_with("customers/customers.csv"));
    }
    assert_eq!(place.source.fingerprint(), place.source.fingerprint());
}

#[test]
fn a_bad_file_changes_nothing_and_leaves_nothing() {
    let place = Place::new();
    let good = place.write("good.csv", "customer_id,balance\nA,1\n");
    place.source.install(&good, &schema()).unwrap();
    let before = place.source.fingerprint();
    let bad = place.write("bad.csv", "customer_id,balance\nA,x\n");
    let problems = place.source.install(&bad, &schema()).unwrap_err().to_string();
    assert!(problems.contains("bad.csv:2: `balance` is a float"), "{problems}");
    assert!(place.source.install(&place.directory.path().join("none.csv"), &schema()).is_err());
    let unknown = place.source.install(&place.write("x.json", "{}"), &schema()).unwrap_err().to_string();
    assert!(unknown.contains(".csv.zst) or a .parquet"), "{unknown}");
    assert_eq!(place.source.fingerprint(), before);
    assert!(!place.source.directory.join(INCOMING).exists());
}

#[test]
fn the_file_of_the_other_format_goes_and_of_two_the_later_wins() {
    let place = Place::new();
    let csv = place.write("good.csv", "customer_id,balance\nA,1\n");
    place.source.install(&csv, &schema()).unwrap();
    let parquet = place.source.file(Format::Parquet);
    fs::write(&parquet, "by hand").unwrap();
    let later = SystemTime::now() + Duration::from_hours(1);
    File::options().write(true).open(&parquet).unwrap().set_modified(later).unwrap();
    assert_eq!(place.source.current(), Some(parquet.clone()));
    place.source.install(&csv, &schema()).unwrap();
    assert!(!parquet.exists());
    assert_eq!(place.source.current(), Some(place.source.file(Format::Csv)));
}

#[test]
fn a_customer_goes_from_every_file_and_the_others_stay() {
    let place = Place::new();
    for balance in [1, 2, 3] {
        let file = place.write("new.csv", &format!("customer_id,balance,name\nA,{balance},Ann\nB,9,\n"));
        place.source.exchange(&file, &schema(), Losses::Refused).unwrap();
    }
    fs::write(place.source.directory.join(INCOMING), "customer_id,balance\nA,1\n").unwrap();
    let rows = place.source.rows_of("A").unwrap();
    let balances: Vec<_> = rows.iter().map(|row| row.values[1].1.clone().unwrap()).collect();
    assert_eq!(balances, ["1", "2", "3"]);
    assert_eq!(rows[2].values[2], ("name".to_owned(), Some("Ann".to_owned())));
    assert_eq!(place.source.rows_of("B").unwrap()[0].values[2].1, None);
    let (before, modified) = (place.source.fingerprint().unwrap(), |of: &Fingerprint| of.modified.unwrap());
    let erased = place.source.erase("A").unwrap();
    let is_kept = |one: &ErasedFrom| one.file.parent().unwrap().ends_with(kept::PREVIOUS);
    assert_eq!(
        erased.iter().map(|one| (one.rows, is_kept(one))).collect::<Vec<_>>(),
        [(1, true), (1, true), (1, false)]
    );
    // A server reads it again, and of two formats it is as late as before.
    let after = place.source.fingerprint().unwrap();
    assert_ne!(after, before);
    assert_eq!(modified(&after), modified(&before));
    assert!(!place.source.directory.join(INCOMING).exists());
    assert!(place.source.rows_of("A").unwrap().is_empty() && place.source.rows_of("B").unwrap().len() == 3);
    assert!(place.source.erase("A").unwrap().is_empty());
    // A load can still be undone.
    place.source.undo(&schema()).unwrap();
    assert_eq!(place.source.load(&schema()).unwrap().0.len(), 1);
}

#[test]
fn a_file_that_was_put_there_meanwhile_is_not_overwritten() {
    let place = Place::new();
    let file = place.write("new.csv", "customer_id,balance\nA,1\nB,2\n");
    place.source.install(&file, &schema()).unwrap();
    let present = place.source.file(Format::Csv);
    // By another program, which takes no lock: in its place, then into it.
    let mut others = vec!["customer_id,balance\nA,4\nB,5\n", "customer_id,balance\nA,3\nC,4\nD,5\n"];
    let mut made = 0;
    let erased = place.source.erase_observed("A", &mut |file| {
        made += 1;
        match others.pop() {
            Some(text) if others.is_empty() => fs::write(file, text).unwrap(),
            Some(text) => fs::rename(place.write("other.csv", text), file).unwrap(),
            None => {}
        }
    });
    assert_eq!(erased.unwrap(), [ErasedFrom { file: present.clone(), rows: 1 }]);
    assert_eq!((made, fs::read_to_string(&present).unwrap().as_str()), (3, "customer_id,balance\nB,5\n"));
    // One that has nothing of them stays as it is.
    fs::copy(&file, &present).unwrap();
    let erased = place.source.erase_observed("A", &mut |file| {
        fs::write(file, "customer_id,balance\nC,7\n").unwrap();
    });
    assert!(erased.unwrap().is_empty());
    assert_eq!(fs::read_to_string(&present).unwrap(), "customer_id,balance\nC,7\n");
    // One that never rests is an error, and stays as well.
    let mut number = 0;
    let refused = place.source.erase_observed("C", &mut |file| {
        number += 1;
        fs::write(file, format!("customer_id,balance\nC,{}\n", 10_u32.pow(number))).unwrap();
    });
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("customers.csv: keeps changing"), "{refused}");
    assert_eq!(fs::read_to_string(&present).unwrap(), "customer_id,balance\nC,100000\n");
    assert!(!place.source.directory.join(INCOMING).exists());
}

#[test]
fn a_load_that_begins_meanwhile_waits_and_nothing_of_them_is_kept() {
    let place = Place::new();
    let file = |name: &str, balance: u32| {
        place.write(name, &format!("customer_id,balance\nA,{balance}\nB,{balance}\n"))
    };
    place.source.install(&file("one.csv", 1), &schema()).unwrap();
    let two = file("two.csv", 2);
    std::thread::scope(|scope| {
        let mut loading = None;
        let erased = place.source.erase_observed("A", &mut |_| {
            loading = Some(scope.spawn(|| place.source.exchange(&two, &schema(), Losses::Refused)));
        });
        assert_eq!(erased.unwrap().len(), 1);
        loading.unwrap().join().unwrap().unwrap();
    });
    assert_eq!(fs::read(place.source.file(Format::Csv)).unwrap(), fs::read(&two).unwrap());
    let kept = kept::list(&place.source.directory).remove(0);
    assert_eq!(fs::read_to_string(kept.path).unwrap(), "customer_id,balance\nB,1\n");
}

#[test]
fn a_load_is_undone_and_undoing_ends_at_the_oldest() {
    let place = Place::new();
    let present = || {
        let (table, _) = place.source.load(&schema()).unwrap();
        format!("{:?}", table.value(table.find("A").unwrap(), 0))
    };
    assert!(place.source.undo(&schema()).unwrap_err().to_string().contains("nothing to undo"));
    for balance in 1..=5 {
        let file = place.write("new.csv", &format!("customer_id,balance\nA,{balance}\n"));
        place.source.exchange(&file, &schema(), Losses::Refused).unwrap();
    }
    // Three are kept.
    for balance in [4.0, 3.0, 2.0] {
        let before = place.source.fingerprint();
        let undone = place.source.undo(&schema()).unwrap();
        assert_eq!(present(), format!("{:?}", ValueRef::Float(balance)));
        assert_ne!(place.source.fingerprint(), before);
        assert!(undone.kept.unwrap().path.exists());
        assert_eq!(kept::list(&place.source.directory).len(), kept::KEPT_FILES);
    }
    assert!(place.source.undo(&schema()).unwrap_err().to_string().contains("nothing to undo"));
    assert_eq!(present(), format!("{:?}", ValueRef::Float(2.0)));
    // Undone files are pruned when new ones are loaded.
    let file = place.write("new.csv", "customer_id,balance\nA,6\n");
    place.source.exchange(&file, &schema(), Losses::Refused).unwrap();
    assert_eq!(kept::list(&place.source.directory).len(), kept::KEPT_FILES);
    place.source.undo(&schema()).unwrap();
    assert_eq!(present(), format!("{:?}", ValueRef::Float(2.0)));
}

#[test]
fn a_load_that_loses_customers_is_refused_unless_allowed_and_can_be_undone() {
    let place = Place::new();
    let good = place.write("good.csv", "customer_id,balance\nA,1\nB,2\n");
    place.source.exchange(&good, &schema(), Losses::Refused).unwrap();
    let before = place.source.fingerprint();
    let empty = place.write("empty.csv", "customer_id,balance\n");
    let problems = place.source.exchange(&empty, &schema(), Losses::Refused).unwrap_err().to_string();
    assert!(problems.contains("empty.csv: the file has a header and no customers: all 2"), "{problems}");
    assert_eq!(place.source.fingerprint(), before);
    assert!(kept::list(&place.source.directory).is_empty());
    assert_eq!(place.source.exchange(&empty, &schema(), Losses::Allowed).unwrap().report.customers, 0);
    assert!(place.source.load(&schema()).unwrap().0.is_empty());
    assert_eq!(place.source.undo(&schema()).unwrap().report.customers, 2);
    assert_eq!(place.source.load(&schema()).unwrap().0.len(), 2);
}

#[test]
fn undoing_brings_the_other_format_back_though_its_file_is_older() {
    let place = Place::new();
    let csv = place.write("good.csv", "customer_id,balance\nA,1\n");
    place.source.exchange(&csv, &schema(), Losses::Refused).unwrap();
    let kept = kept::keep(&place.source.directory, &place.source.current().unwrap()).unwrap();
    assert_eq!(kept.path.extension().unwrap(), "csv");
    // A Parquet file that was installed later.
    let parquet = place.source.file(Format::Parquet);
    fs::write(&parquet, "later").unwrap();
    fs::remove_file(place.source.file(Format::Csv)).unwrap();
    place.source.undo(&schema()).unwrap();
    assert_eq!(place.source.current(), Some(place.source.file(Format::Csv)));
    let files = kept::list(&place.source.directory);
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].path.extension().unwrap(), "parquet");
}
