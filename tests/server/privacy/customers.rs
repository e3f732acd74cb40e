//! Customers are loaded while a person is erased from them: no load is lost, and nothing of the person stays.

use std::process::{Child, Stdio};
use std::sync::Arc;

use arrow_array::{Float32Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;

use super::*;

/// A command that was started, and the gate at which it stops.
struct Held {
    child: Child,
    gate: PathBuf,
}

impl Held {
    /// Starts a command over the store, which stops at `step`, and waits until it does.
    fn at(place: &Place, step: &str, words: &[&str]) -> Self {
        let gate = place.path(&step.replace('.', "-"));
        fs::write(&gate, "").unwrap();
        let mut command = place.command();
        command.args(words).args(["--store", &place.location]);
        command.env("PROFFER_FAULT", format!("{step}=hold:{}", gate.display()));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !gate.with_extension("reached").exists() {
            assert_eq!(child.try_wait().unwrap(), None, "{words:?} does not reach {step}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child, gate }
    }

    /// Lets it go on, and returns what it has printed. It must succeed.
    #[track_caller]
    fn ends(self) -> String {
        fs::remove_file(&self.gate).unwrap();
        let ended = Ended::from(self.child.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        fs::remove_file(self.gate.with_extension("reached")).unwrap();
        ended.stdout
    }
}

const ERASE: [&str; 4] = ["privacy", "erase", "--customer", ANNA];

impl Place {
    /// The sample's customers without the last `fewer`, as a file to load; without Anna, or with her.
    fn sample(&self, fewer: usize, has_anna: bool) -> String {
        let text = fs::read_to_string(sample_workspace().join("customers.csv")).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| has_anna || !line.starts_with(ANNA)).collect();
        let file = self.path("loaded.csv");
        fs::write(&file, lines[..lines.len() - fewer].join("\n") + "\n").unwrap();
        file.display().to_string()
    }

    /// The ids of the customers that the store has now, and the name of their file.
    fn present(&self) -> (String, BTreeSet<String>) {
        let folder = self.store().join("customers");
        let is_present = |file: &PathBuf| {
            let name = file.file_name().unwrap().to_str().unwrap();
            file.parent() == Some(&folder) && name.starts_with("customers.")
        };
        let files: Vec<PathBuf> = walk(&folder).into_iter().filter(is_present).collect();
        let [file] = &files[..] else { panic!("one file: {files:?}") };
        let bytes = fs::read(file).unwrap();
        let text = if bytes.starts_with(b"PAR1") { values(bytes.into()) } else { bytes };
        let text = String::from_utf8_lossy(&text).into_owned();
        let starts = text.match_indices("C0").map(|(start, _)| start);
        let ids = starts.filter_map(|start| text.get(start..start + ANNA.len())).map(str::to_owned).collect();
        (file.file_name().unwrap().to_str().unwrap().to_owned(), ids)
    }

    /// Whether anything of Anna is in the store.
    fn has_anna(&self) -> bool {
        !self.holding(&[ANNA.to_owned()]).is_empty()
    }
}

/// The ids in a file of customers.
fn ids(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().skip(1).map(|line| line[..ANNA.len()].to_owned()).collect()
}

fn without_anna(mut ids: BTreeSet<String>) -> BTreeSet<String> {
    ids.remove(ANNA);
    ids
}

#[test]
fn a_load_during_an_erasure_is_kept_and_loses_the_person_too() {
    let Some(place) = Place::in_bucket() else { return };
    let erasing = Held::at(&place, "customers.made", &ERASE);
    // The former file, which has her, is kept by now.
    let file = place.sample(7, true);
    place.succeeds(&["features", "load", "--force", &file]);
    assert!(place.has_anna());
    let printed = erasing.ends();
    assert!(printed.contains("customers/customers.csv: 1 row removed"), "{printed}");
    assert!(printed.contains("customers/previous/"), "{printed}");
    assert_eq!(place.present(), ("customers.csv".to_owned(), without_anna(ids(&file))));
    assert!(!place.has_anna());
    // It can be undone, and she does not come back.
    place.succeeds(&["features", "load", "--undo"]);
    assert_eq!(place.present().1, ids(&place.sample(0, false)));
    assert!(!place.has_anna());
}

#[test]
fn an_erasure_during_a_load_is_not_undone_by_what_the_load_keeps() {
    let Some(place) = Place::in_bucket() else { return };
    let file = place.sample(7, false);
    // The former file is kept, and the new one is not there.
    let loading = Held::at(&place, "customers.kept", &["features", "load", &file]);
    place.succeeds(&ERASE);
    loading.ends();
    assert_eq!(place.present(), ("customers.csv".to_owned(), ids(&file)));
    assert!(!place.has_anna());
    // The file that is undone is kept as well.
    for (step, customer) in [("customers.kept", BERT), ("customers.placed", CARL)] {
        let undoing = Held::at(&place, step, &["features", "load", "--undo"]);
        place.succeeds(&["privacy", "erase", "--customer", customer]);
        undoing.ends();
        assert!(!place.present().1.contains(customer));
        assert_eq!(place.holding(&[customer.to_owned()]), Vec::<PathBuf>::new(), "{step}");
        place.succeeds(&["features", "load", &place.sample(0, false)]);
    }
}

/// A file of customers as Parquet.
fn parquet(place: &Place, ids: &[&str]) -> String {
    let path = place.path("loaded.parquet");
    let ages = Float32Array::from(vec![40.0; ids.len()]);
    let batch = RecordBatch::try_from_iter([
        ("customer_id", Arc::new(StringArray::from(ids.to_vec())) as arrow_array::ArrayRef),
        ("age", Arc::new(ages) as _),
    ])
    .unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path.display().to_string()
}

#[test]
fn of_two_formats_the_load_stays_wherever_it_is_held_up() {
    let Some(place) = Place::in_bucket() else { return };
    let file = parquet(&place, &[BERT, CARL]);
    let load = ["features", "load", "--force", &file];
    // Both files are there for a while, and the erasure replaces the former one.
    let erasing = Held::at(&place, "customers.made", &ERASE);
    let loading = Held::at(&place, "customers.placed", &load);
    erasing.ends();
    loading.ends();
    let expected = ("customers.parquet".to_owned(), BTreeSet::from([BERT, CARL].map(str::to_owned)));
    assert_eq!(place.present(), expected);
    assert_eq!(place.holding(&[ANNA.to_owned()]), Vec::<PathBuf>::new());
    // The load is whole before the erasure goes on.
    place.succeeds(&["features", "load", "--force", &place.sample(0, true)]);
    let erasing = Held::at(&place, "customers.made", &ERASE);
    place.succeeds(&load);
    erasing.ends();
    assert_eq!(place.present(), expected);
    assert_eq!(place.holding(&[ANNA.to_owned()]), Vec::<PathBuf>::new());
    // What a load has left that was killed goes, and the later file stays. Lists may have whole seconds.
    let hour = std::time::SystemTime::now() - Duration::from_hours(1);
    let former = fs::File::options().append(true).open(place.store().join("customers/customers.parquet"));
    former.unwrap().set_modified(hour).unwrap();
    let csv = place.sample(0, true);
    let mut killed = place.command();
    killed.args(["features", "load", "--force", &csv, "--store", &place.location]);
    let killed = killed.env("PROFFER_FAULT", "customers.placed=kill").output().unwrap();
    assert_eq!(killed.status.code(), None, "{killed:?}");
    place.succeeds(&ERASE);
    assert_eq!(place.present(), ("customers.csv".to_owned(), without_anna(ids(&csv))));
    assert!(!place.has_anna());
}

#[test]
fn in_a_directory_a_load_and_an_erasure_take_turns() {
    let place = Place::in_directory();
    let file = place.sample(7, false);
    for _ in 0..3 {
        place.succeeds(&["features", "load", &place.sample(0, true)]);
        let file = place.sample(7, false);
        std::thread::scope(|scope| {
            let erasing = scope.spawn(|| place.run(&ERASE));
            place.succeeds(&["features", "load", &file]);
            erasing.join().unwrap();
        });
        assert_eq!(place.present(), ("customers.csv".to_owned(), ids(&file)));
    }
    // In every order, the last word has the next erasure.
    place.run(&ERASE);
    assert_eq!(place.holding(&[ANNA.to_owned()]), Vec::<PathBuf>::new());
    assert_eq!(place.present().1, ids(&file));
}
