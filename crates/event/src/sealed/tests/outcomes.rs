//! Outcomes in sealed files: as decisions, with a column of texts by name.

use arrow_array::builder::{Int64Builder, MapBuilder, MapFieldNames};
use arrow_array::{Array, Float64Array};

use super::testing::{any_outcome, outcome, outcomes};
use super::*;
use crate::proto::OutcomeRecord;

fn outcome_of(entry: &Entry) -> &OutcomeRecord {
    match &entry.record {
        Record::Outcome(record) => record,
        other @ (Record::Decision(_) | Record::Shadow(_)) => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn columns_and_record_are_the_whole_message(records in prop::collection::vec(any_outcome(), 0..12)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let written = entries(&records);
        let mut writer = SealedWriter::create(&path, Kind::Outcome, true).unwrap();
        for entry in &written {
            writer.push(entry.clone(), 7).unwrap();
        }
        prop_assert_eq!(writer.finish(None).unwrap().events, records.len() as u64);
        let file = SealedFile::open(LocalFile::open(&path).unwrap()).unwrap();
        prop_assert_eq!(file.kind(), Kind::Outcome);
        prop_assert!(same(&all(&file).unwrap(), &written));
    }

    #[test]
    fn a_changed_byte_is_an_error_or_changes_nothing(at in any::<prop::sample::Index>(), change in 1_u8..=255) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let written = entries(&outcomes(NOON..NOON + 20));
        write(&path, &written, None);
        let mut changed = fs::read(&path).unwrap();
        let at = at.index(changed.len());
        changed[at] ^= change;
        fs::write(&path, &changed).unwrap();
        for found in [read(&path), read_any_of(Kind::Outcome, &path)].into_iter().flatten() {
            prop_assert!(same(&found, &written), "byte {at} of {}", changed.len());
        }
    }

    #[test]
    fn a_damaged_file_without_checksums_is_no_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let written = entries(&outcomes(NOON..NOON + 20));
        let (_folder, path) = foreign(&batch(&written), default());
        let mut changed = fs::read(&path).unwrap();
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        fs::write(&path, &changed).unwrap();
        // What comes out is not known: nothing protects it.
        let _ = read_any_of(Kind::Outcome, &path);
    }
}

#[test]
fn columns_are_named_as_in_the_proto() {
    let columns = Kind::Outcome.table().columns();
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let expected = "position recorded_at received_at occurred_at event_id type decision_id offer_id customer_id \
                    pseudonym_key value attributes attributed late placement channel decided_at cost offer_value server \
                    server_version release record";
    assert_eq!(names.join(" "), expected);
    // A time that is not known is null.
    let mut unknown = outcome(NOON);
    unknown.decided_at = 0;
    let batch = batch(&entries(&[unknown, outcome(NOON)]));
    let decided_at = batch.column_by_name("decided_at").unwrap();
    assert_eq!([0, 1].map(|row| decided_at.is_null(row)), [true, false]);
    // What is left of an outcome is its format.
    let rest = batch.column_by_name("record").unwrap();
    assert_eq!(rest.as_any().downcast_ref::<BinaryArray>().unwrap().value(1), [8, 1]);
}

#[test]
fn a_file_holds_events_of_one_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut writer = SealedWriter::create(&path, Kind::Outcome, true).unwrap();
    let refused = writer.push(entries(&decisions([NOON])).remove(0), 7).unwrap_err().to_string();
    assert!(refused.contains("event 1 is of kind `decision`, not `outcome`"), "{refused}");
    // Who expects another kind is told so.
    write(&path, &entries(&outcomes([NOON])), None);
    let refused = read_any(&path).unwrap_err().to_string();
    assert!(refused.contains("it has events of kind `outcome`, not `decision`"), "{refused}");
}

#[test]
fn a_file_that_another_program_has_rewritten_is_read() {
    let written = entries(&outcomes([NOON, NOON + 1]));
    let batch = batch(&written);
    // Its own names for the parts of a map, and values that may be missing.
    let text = || StringBuilder::new();
    let names =
        MapFieldNames { entry: "entries".to_owned(), key: "keys".to_owned(), value: "values".to_owned() };
    let mut maps = MapBuilder::new(Some(names), text(), text());
    for entry in &written {
        for (name, value) in &outcome_of(entry).attributes {
            maps.keys().append_value(name);
            maps.values().append_value(value);
        }
        maps.append(true).unwrap();
    }
    let maps = Arc::new(maps.finish()) as ArrayRef;
    let other = |name: &str, column: &ArrayRef| match name {
        "attributes" => Arc::clone(&maps),
        "value" => cast(column, &DataType::Float32).unwrap(),
        "decided_at" => cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None)).unwrap(),
        "event_id" => cast(column, &DataType::LargeUtf8).unwrap(),
        _ => Arc::clone(column),
    };
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        columns.push(other(field.name(), column));
        fields.push(Field::new(field.name(), columns[columns.len() - 1].data_type().clone(), true));
    }
    let rewritten = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let (_folder, path) = foreign(&rewritten, default());
    let mut expected = written;
    for entry in &mut expected {
        let Record::Outcome(record) = &mut entry.record else { panic!("{entry:?}") };
        // It has cut it.
        record.decided_at -= record.decided_at % 1_000;
    }
    assert!(same(&read_any_of(Kind::Outcome, &path).unwrap(), &expected));
}

#[test]
fn a_column_that_is_no_map_of_texts_is_refused_by_name() {
    let whole = batch(&entries(&outcomes([NOON])));
    let replaced = |column: ArrayRef| {
        let at = whole.schema().index_of("attributes").unwrap();
        let mut columns = whole.columns().to_vec();
        let mut fields: Vec<Field> =
            whole.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields[at] = Field::new("attributes", column.data_type().clone(), true);
        columns[at] = column;
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let (_folder, path) = foreign(&batch, default());
        read_any_of(Kind::Outcome, &path)
    };
    let error = replaced(Arc::new(Float64Array::from(vec![1.0]))).unwrap_err().to_string();
    assert!(error.contains("`attributes`: it is no map"), "{error}");
    // Numbers are written as texts.
    let mut numbers = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    numbers.keys().append_value("page");
    numbers.values().append_value(7);
    numbers.append(true).unwrap();
    let found = replaced(Arc::new(numbers.finish())).unwrap();
    assert_eq!(outcome_of(&found[0]).attributes["page"], "7");
}

#[test]
fn attributes_that_would_take_too_much_memory_are_refused() {
    // A row of some megabytes, of which each entry takes two hundred bytes in memory.
    let mut attributes = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for at in 0..3_000_000 {
        attributes.keys().append_value(at.to_string());
        attributes.values().append_value("");
    }
    attributes.append(true).unwrap();
    let record = outcome(NOON).encode_to_vec();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("attributes", Arc::new(attributes.finish())),
        ("record", Arc::new(BinaryArray::from_vec(vec![&record]))),
    ];
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let (_folder, path) = foreign(&RecordBatch::try_from_iter(columns).unwrap(), properties);
    let error = read_any_of(Kind::Outcome, &path).unwrap_err().to_string();
    assert!(error.contains("its records would take more than 512 MiB of memory"), "{error}");
}
