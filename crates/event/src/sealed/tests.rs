mod arms;
mod fuzz_decoders;
mod older;
mod outcomes;
mod shadows;
pub(crate) mod testing;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use proptest::prelude::*;
use prost::Message;

use self::testing::{NOON, any_record, decision, decisions, entries_from, frame_of};
use super::*;
use crate::columns::Entry;
use crate::frame;
use crate::kind::{EventRecord, Record};
use crate::proto::{DecisionRecord, RecordedOffer};
use crate::read::{Query, ReadProgress, read_file};

fn entries<R: Clone + Into<Record>>(records: &[R]) -> Vec<Entry> {
    entries_from(1, records)
}

fn kind_of(entries: &[Entry]) -> Kind {
    entries.first().map_or(Kind::Decision, |entry| entry.record.kind())
}

fn write(path: &Path, entries: &[Entry], log: Option<OfLog>) -> Content {
    let mut writer = SealedWriter::create(path, kind_of(entries), true).unwrap();
    for entry in entries {
        let frame = frame_of(entry);
        let checksum = u32::from_le_bytes(frame[4..8].try_into().unwrap());
        writer.push(entry.clone(), checksum).unwrap();
    }
    writer.finish(log).unwrap()
}

fn read(path: &Path) -> Result<Vec<Entry>, SealedError> {
    let file = SealedFile::open(LocalFile::open(path)?)?;
    all(&file)
}

fn all(file: &SealedFile) -> Result<Vec<Entry>, SealedError> {
    let mut found = Vec::new();
    for group in 0..file.groups() {
        found.extend(file.entries(group, &Query::default())?);
    }
    Ok(found)
}

/// An export of decisions, which another program may have written.
fn read_any(path: &Path) -> Result<Vec<Entry>, SealedError> {
    read_any_of(Kind::Decision, path)
}

fn read_any_of(kind: Kind, path: &Path) -> Result<Vec<Entry>, SealedError> {
    all(&SealedFile::open_any(LocalFile::open(path)?, kind)?)
}

fn same(one: &[Entry], other: &[Entry]) -> bool {
    let whole = |entries: &[Entry]| entries.iter().map(frame_of).collect::<Vec<_>>();
    whole(one) == whole(other)
}

/// A file of a batch as it is, without metadata of this program.
fn foreign(batch: &RecordBatch, properties: WriterProperties) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign.parquet");
    let file = fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    (folder, path)
}

fn batch(entries: &[Entry]) -> RecordBatch {
    let mut builder = kind_of(entries).table().builder();
    for entry in entries {
        builder.push(entry.clone(), 1).unwrap();
    }
    builder.finish().unwrap()
}

fn default() -> WriterProperties {
    WriterProperties::builder().build()
}

proptest! {
    #[test]
    fn columns_and_record_are_the_whole_message(records in prop::collection::vec(any_record(), 0..12)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let written = entries(&records);
        let content = write(&path, &written, None);
        prop_assert_eq!(content.events, records.len() as u64);
        prop_assert!(same(&read(&path).unwrap(), &written));
        // The same entries give the same bytes.
        let again = folder.path().join("again");
        write(&again, &written, None);
        prop_assert_eq!(fs::read(path).unwrap(), fs::read(again).unwrap());
    }

    #[test]
    fn a_file_that_was_cut_is_an_error(cut in any::<prop::sample::Index>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, &entries(&decisions(NOON..NOON + 20)), None);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..cut.index(whole.len())]).unwrap();
        prop_assert!(read(&path).is_err());
    }

    #[test]
    fn a_changed_byte_is_an_error_or_changes_nothing(at in any::<prop::sample::Index>(), change in 1_u8..=255) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let written = entries(&decisions(NOON..NOON + 20));
        write(&path, &written, None);
        let mut changed = fs::read(&path).unwrap();
        let at = at.index(changed.len());
        changed[at] ^= change;
        fs::write(&path, &changed).unwrap();
        if let Ok(found) = read(&path) {
            prop_assert!(same(&found, &written), "byte {at} of {}", changed.len());
        }
        // Exports, too.
        if let Ok(found) = read_any(&path) {
            prop_assert!(same(&found, &written), "byte {at} of {}", changed.len());
        }
    }

    #[test]
    fn a_damaged_file_without_checksums_is_no_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let written = entries(&decisions(NOON..NOON + 20));
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let (_folder, path) = foreign(&batch(&written), properties);
        let mut changed = fs::read(&path).unwrap();
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        fs::write(&path, &changed).unwrap();
        // What comes out is not known: nothing protects it.
        let _ = read_any(&path);
    }
}

#[test]
fn every_byte_of_a_small_file_is_protected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let written = entries(&decisions([NOON]));
    write(&path, &written, None);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        fs::write(&path, &changed).unwrap();
        // Nothing else reads the format number, or what pads.
        assert!(read(&path).is_err(), "byte {at} of {}", whole.len());
    }
}

#[test]
fn many_entries_are_several_row_groups_of_bounded_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let records = decisions(NOON..NOON + 2 * GROUP_ROWS as i64 + 5);
    let written = entries(&records);
    write(&path, &written, None);
    let file = SealedFile::open(LocalFile::open(&path).unwrap()).unwrap();
    assert_eq!((file.groups(), file.rows()), (3, written.len() as u64));
    assert_eq!(file.number_bounds(1, "decided_at").unwrap().0, NOON + GROUP_ROWS as i64);
    let ids = file.text_bounds(2, "decision_id").unwrap();
    let last = &records[2 * GROUP_ROWS..];
    assert_eq!(ids.0, last[0].decision_id.as_bytes());
    assert_eq!(ids.1, last[4].decision_id.as_bytes());
    assert!(same(&all(&file).unwrap(), &written));
}

#[test]
fn large_events_and_long_texts_end_row_groups_early() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut records = decisions(NOON..NOON + 40);
    for record in &mut records[..20] {
        // Not in a column of its own.
        record.consents = vec!["x".repeat(1 << 20)];
    }
    for record in &mut records[20..] {
        // A column with a dictionary: each value may be the longest.
        record.placement = format!("{}{}", "x".repeat(4 << 20), record.decided_at);
    }
    let written = entries(&records);
    write(&path, &written, None);
    let file = SealedFile::open(LocalFile::open(&path).unwrap()).unwrap();
    assert!(file.groups() > 12, "{}", file.groups());
    assert!(same(&all(&file).unwrap(), &written));
}

#[test]
fn a_file_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let dates = BTreeMap::from([("decision".to_owned(), vec!["2026-11-30".parse().unwrap()])]);
    let (server, keys) = ("s".to_owned(), Vec::new());
    let log = OfLog { server, sequence: 3, first_position: 1, last_position: 4, dates, keys };
    let written = entries(&decisions([NOON, NOON + 1]));
    let content = write(&path, &written[..], Some(log.clone()));
    let file = SealedFile::open(LocalFile::open(&path).unwrap()).unwrap();
    let expected =
        Description { kind: Kind::Decision, content, first_position: 1, last_position: 2, log: Some(log) };
    assert_eq!(file.description(), Some(&expected));
    let mut contents = Contents::new();
    for entry in &written {
        contents.add(u32::from_le_bytes(frame_of(entry)[4..8].try_into().unwrap()));
    }
    assert_eq!(contents.content(), content);
}

#[test]
fn a_file_of_an_older_schema_has_the_fields_in_its_record() {
    let mut record = decision(NOON);
    let customer = record.customer_id.clone();
    let written = entries(std::slice::from_ref(&record));
    // At that time, these were the only columns. What they held was not in `record`.
    record.decided_at = 0;
    record.customer_id.clear();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("position", Arc::new(Int64Array::from(vec![1]))),
        ("recorded_at", Arc::new(TimestampMicrosecondArray::from(vec![NOON + 5_000]).with_timezone("UTC"))),
        ("decided_at", Arc::new(TimestampMicrosecondArray::from(vec![NOON]).with_timezone("UTC"))),
        ("customer_id", Arc::new(StringArray::from(vec![&*customer]))),
        ("record", Arc::new(BinaryArray::from_vec(vec![&record.encode_to_vec()]))),
    ];
    let (_folder, path) = foreign(&RecordBatch::try_from_iter(columns).unwrap(), default());
    assert!(same(&read_any(&path).unwrap(), &written));
    // Conditions on columns that it lacks look into the record.
    let file = SealedFile::open_any(LocalFile::open(&path).unwrap(), Kind::Decision).unwrap();
    let of = |placement: &str| Query { placement: Some(placement.to_owned()), ..Query::default() };
    assert_eq!(file.entries(0, &of("app_home")).unwrap().len(), 1);
    assert_eq!(file.entries(0, &of("other")).unwrap().len(), 0);
}

#[test]
fn columns_of_a_newer_schema_are_ignored() {
    let written = entries(&decisions([NOON, NOON + 1]));
    let batch = batch(&written);
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.insert(3, Field::new("experiment", DataType::Utf8, true));
    let mut columns = batch.columns().to_vec();
    columns.insert(3, Arc::new(StringArray::from(vec![Some("a"), None])));
    let newer = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let (_folder, path) = foreign(&newer, default());
    assert!(same(&read_any(&path).unwrap(), &written));
}

#[test]
fn a_file_that_another_program_has_rewritten_is_read() {
    let written = entries(&decisions([NOON, NOON + 1]));
    let batch = batch(&written);
    let other = |name: &str| match name {
        "decision_id" | "server" => Some(DataType::LargeUtf8),
        "placement" => Some(DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))),
        "decided_at" => Some(DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))),
        "recorded_at" => Some(DataType::Timestamp(TimeUnit::Microsecond, None)),
        "count" => Some(DataType::UInt8),
        "release" => Some(DataType::UInt64),
        "record" => Some(DataType::LargeBinary),
        "offer_ids" => Some(DataType::LargeList(Arc::new(Field::new("item", DataType::LargeUtf8, true)))),
        _ => None,
    };
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let kind = other(field.name()).unwrap_or_else(|| field.data_type().clone());
        columns.push(cast(column, &kind).unwrap());
        fields.push(Field::new(field.name(), kind, true));
    }
    let rewritten = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let (_folder, path) = foreign(&rewritten, properties);
    assert!(same(&read_any(&path).unwrap(), &written));
    // In a store it does not belong.
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("it is no sealed file"), "{error}");
}

#[test]
fn the_metadata_of_the_file_before_does_not_count_where_another_program_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let written = entries(&decisions([NOON, NOON + 1]));
    write(&path, &written, None);
    let before = SealedFile::open(LocalFile::open(&path).unwrap()).unwrap();
    let pairs = before.parquet().file_metadata().key_value_metadata().cloned();
    let mut pairs = pairs.unwrap();
    let rewritten = |pairs: &[KeyValue]| {
        let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs.to_vec())).build();
        foreign(&batch(&written), properties)
    };
    let (_folder, path) = rewritten(&pairs);
    assert!(same(&read_any(&path).unwrap(), &written));
    // In a store it does not belong.
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("it is no sealed file"), "{error}");
    // But for the format: what a newer version wrote may be more than is known here.
    pairs.iter_mut().find(|pair| pair.key == "proffer.format").unwrap().value = Some("2".to_owned());
    let (_folder, path) = rewritten(&pairs);
    let error = read_any(&path).unwrap_err().to_string();
    assert!(error.contains("is newer than this version: its format is 2"), "{error}");
}

#[test]
fn an_event_that_an_export_has_twice_is_refused() {
    let written = entries(&decisions([NOON, NOON + 1, NOON + 2]));
    let found = |rows: &[usize]| {
        let rows: Vec<Entry> = rows.iter().map(|at| written[*at].clone()).collect();
        let (_folder, path) = foreign(&batch(&rows), default());
        let (mut found, progress) = (0, ReadProgress::default());
        let read = read_file(&path, Kind::Decision, &Query::default(), &progress, &mut |_| {
            found += 1;
            ControlFlow::Continue(())
        });
        read.map(|()| found).map_err(|error| error.to_string())
    };
    assert_eq!(found(&[2, 0, 1]), Ok(3));
    let twice = found(&[0, 2, 1, 2]).unwrap_err();
    assert!(twice.contains("foreign.parquet: event 3 of server server is there twice"), "{twice}");
}

#[test]
fn columns_that_do_not_fit_the_record_are_errors() {
    let written = entries(&decisions([NOON]));
    let whole = batch(&written);
    let replaced = |name: &str, column: ArrayRef| {
        let at = whole.schema().index_of(name).unwrap();
        let mut columns = whole.columns().to_vec();
        let mut fields: Vec<Field> =
            whole.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields[at] = Field::new(name, column.data_type().clone(), true);
        columns[at] = column;
        let (_folder, path) =
            foreign(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap(), default());
        read_any(&path).unwrap_err().to_string()
    };
    let mut one = ListBuilder::new(StringBuilder::new());
    one.values().append_value("travel_card");
    one.append(true);
    let none = || Arc::new(Int64Array::from(vec![None])) as ArrayRef;
    let some = |number| Arc::new(Int64Array::from(vec![number])) as ArrayRef;
    for (name, column, message) in [
        ("offer_ids", Arc::new(one.finish()) as ArrayRef, "`offer_ids` does not fit `record`"),
        ("segment_id", none(), "`segment_id` does not fit `record`"),
        ("error_code", some(1), "`error_code` does not fit `record`"),
        ("fallback", Arc::new(BooleanArray::from(vec![false])), "`fallback` does not fit `record`"),
        ("count", some(-1), "`count` is -1, which has more than 32 bits"),
        ("release", Arc::new(StringArray::from(vec!["seven"])), "`release`"),
        ("record", Arc::new(BinaryArray::from_vec(vec![&b"\xff\xff"[..]])), "`record` of row 0"),
    ] {
        let error = replaced(name, column);
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn what_would_unpack_to_too_much_is_refused_before_it_is_decoded() {
    // A thousand rows with 200 offers each, whose name takes a megabyte once, in the dictionary.
    let offer = RecordedOffer { offer_id: "x".repeat(1_000_000), ..RecordedOffer::default() };
    let mut ids = ListBuilder::new(StringBuilder::new());
    let (mut records, rows) = (Vec::new(), 1_000);
    for _ in 0..rows {
        ids.values().append_value(if records.is_empty() { &*offer.offer_id } else { "y" });
        ids.append(true);
        records.push(
            DecisionRecord { offers: vec![RecordedOffer::default()], ..DecisionRecord::default() }
                .encode_to_vec(),
        );
    }
    let record = BinaryArray::from_iter_values(records);
    let columns: Vec<(&str, ArrayRef)> =
        vec![("offer_ids", Arc::new(ids.finish())), ("record", Arc::new(record))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_dictionary_page_size_limit(2 << 20).build();
    let (_folder, path) = foreign(&batch, properties);
    let error = read_any(&path).unwrap_err().to_string();
    assert!(error.contains("`offer_ids.list.item` may unpack to more than 256 MiB"), "{error}");
}

#[test]
fn records_that_would_take_too_much_memory_are_refused_before_they_are_decoded() {
    // Three bytes in the message each, and almost none in the file.
    let record =
        DecisionRecord { offers: vec![RecordedOffer::default(); 2_000_000], ..DecisionRecord::default() };
    let column = Arc::new(BinaryArray::from_vec(vec![&record.encode_to_vec()])) as ArrayRef;
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let (_folder, path) = foreign(&RecordBatch::try_from_iter([("record", column)]).unwrap(), properties);
    assert!(fs::metadata(&path).unwrap().len() < 20_000);
    let error = read_any(&path).unwrap_err().to_string();
    assert!(error.contains("its records would take more than 512 MiB of memory"), "{error}");
}

#[test]
fn other_codecs_and_encodings_are_refused_by_name() {
    let batch = batch(&entries(&decisions([NOON, NOON + 1])));
    let gzip = WriterProperties::builder().set_compression(Compression::GZIP(GzipLevel::default())).build();
    let delta = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_column_encoding("decided_at".into(), Encoding::DELTA_BINARY_PACKED)
        .build();
    for (properties, message) in [(gzip, "is compressed with GZIP"), (delta, "has values of encoding 5")] {
        let (_folder, path) = foreign(&batch, properties);
        let error = read_any(&path).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_file_of_a_newer_format_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write(&path, &entries(&decisions([NOON])), None);
    let mut changed = fs::read(&path).unwrap();
    let key = b"proffer.format";
    let at = changed.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 2;
    assert_eq!(changed[at], b'1');
    changed[at] = b'2';
    // Its checksum is of its footer.
    let length = changed.len();
    let bytes = u32::from_le_bytes(changed[length - 8..length - 4].try_into().unwrap()) as usize;
    let footer = &mut changed[length - 8 - bytes..length - 8];
    let (place, _) = super::write::checksum_in(footer).unwrap();
    let checksum = super::write::footer_checksum(footer, place);
    footer[place..place + 8].copy_from_slice(format!("{checksum:08x}").as_bytes());
    fs::write(&path, &changed).unwrap();
    let error = read(&path).map(|_| ()).unwrap_err();
    assert!(matches!(error, SealedError::Newer { .. }), "{error}");
}

#[test]
fn an_event_as_large_as_a_log_can_hold_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut record = decision(NOON);
    record.consents = vec!["x".repeat(frame::MAX_EVENT_BYTES - 2_000)];
    let written = entries(&[decision(NOON - 1), record, decision(NOON + 1)]);
    write(&path, &written, None);
    assert!(same(&read(&path).unwrap(), &written));
}
