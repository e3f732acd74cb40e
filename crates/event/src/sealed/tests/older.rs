//! A sealed file of a version that knew fewer columns, in a store with files of this version.

use std::ops::ControlFlow;

use ::parquet::file::metadata::KeyValue;

use super::*;
use crate::proto::RecordedAssignment;
use crate::read::EventReader;
use crate::read::rows::DecisionRow;
use crate::sealed::description::{CHUNKS_CRC, FOOTER_CRC};
use crate::sealed::testing::{Files, bytes};
use crate::sealed::write::{CREATED_BY, checksum_in, crc};

/// Seals records as a version would have that had these columns alone. What the others hold was in `record` then.
fn seal_older(files: &Files, sequence: u64, records: &[DecisionRecord]) {
    let entries = entries(records);
    let mut contents = Contents::new();
    for entry in &entries {
        contents.add(u32::from_le_bytes(frame_of(entry)[4..8].try_into().unwrap()));
    }
    let rest = records.iter().map(|record| {
        let mut rest = record.clone();
        rest.decided_at = 0;
        rest.customer_id.clear();
        rest.encode_to_vec()
    });
    let times = |of: fn(&Entry) -> i64| {
        Arc::new(entries.iter().map(of).map(Some).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            as ArrayRef
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("position", Arc::new(entries.iter().map(|entry| entry.position as i64).collect::<Int64Array>())),
        ("recorded_at", times(|entry| entry.recorded_at)),
        ("decided_at", times(|entry| entry.record.filed_at())),
        (
            "customer_id",
            Arc::new(StringArray::from_iter_values(entries.iter().map(|entry| entry.record.customer_id()))),
        ),
        ("record", Arc::new(BinaryArray::from_iter_values(rest))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_created_by(format!("{CREATED_BY} 0.0.1"))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.flush().unwrap();
    writer.sync().unwrap();
    let chunks = writer.flushed_row_groups()[0].columns().iter().map(|column| {
        let (at, length) = column.byte_range();
        format!("{:08x}", crc(&writer.inner()[at as usize..][..length as usize]))
    });
    let chunks = chunks.collect::<String>();

    let date = date_of(records[0].decided_at);
    let (first, last) = (entries[0].position, entries[entries.len() - 1].position);
    let log = OfLog {
        server: "s".to_owned(),
        sequence,
        first_position: first,
        last_position: last,
        dates: BTreeMap::from([(Kind::Decision.name().to_owned(), vec![date])]),
        keys: Vec::new(),
    };
    let description = Description {
        kind: Kind::Decision,
        content: contents.content(),
        first_position: first,
        last_position: last,
        log: Some(log),
    };
    let checksums = [(CHUNKS_CRC, chunks), (FOOTER_CRC, "00000000".to_owned())];
    for (key, value) in description.pairs().into_iter().chain(checksums) {
        writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
    }
    writer.finish().unwrap();
    let mut bytes = std::mem::take(writer.inner_mut());
    let end = bytes.len() - 8;
    let start = end - u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
    let (at, _) = checksum_in(&bytes[start..end]).unwrap();
    let checksum = format!("{:08x}", crc(&bytes[start..end]));
    bytes[start + at..][..8].copy_from_slice(checksum.as_bytes());

    let staged = files.store().stage().unwrap();
    let made = staged.path().join("older.parquet");
    fs::write(&made, bytes).unwrap();
    let key = SealedKey { kind: Kind::Decision, date, server: "s".to_owned(), sequence };
    assert_eq!(files.store().place(&key, &made).unwrap(), Placed::New);
}

#[test]
fn a_sealed_file_of_an_older_schema_is_read_beside_a_newer_one() {
    let files = Files::new();
    let mut records = decisions(NOON..NOON + 20);
    records[3].placement = "letter".to_owned();
    records[13].placement = "letter".to_owned();
    let (experiment, variant) = ("welcome".to_owned(), "warm".to_owned());
    records[5].assignments = vec![RecordedAssignment { experiment, variant, how: 1, phase: u64::MAX }];
    records[6].held_out = true;
    records[14] = DecisionRecord { decided_at: records[14].decided_at, ..records[5].clone() };
    records[14].decision_id = crate::sealed::testing::id_at(records[14].decided_at);
    seal_older(&files, 1, &records[..10]);
    files.seal("s", 2, 11, &records[10..]);
    let scan = |query: &Query| {
        let mut found = Vec::new();
        let reader = EventReader::new(files.store().clone());
        let keep = &mut |record| {
            found.push(bytes(&record));
            ControlFlow::Continue(())
        };
        reader.scan(query, keep).unwrap();
        found
    };
    let expected: Vec<Vec<u8>> = records.iter().map(bytes).collect();
    assert_eq!(scan(&Query::default()), expected);
    // Conditions on a column that it lacks look into its records.
    let letters = Query { placement: Some("letter".to_owned()), ..Query::default() };
    assert_eq!(scan(&letters), [expected[3].clone(), expected[13].clone()]);
    let one = Query::of_decision(&records[7].decision_id);
    assert_eq!(scan(&one), [expected[7].clone()]);
    // So do rows, though files of this version are read without them.
    let (mut found, reader) = (Vec::new(), EventReader::new(files.store().clone()));
    let keep = &mut |row: &DecisionRow<'_>| {
        let arms = row.arms.iter().map(|arm| (arm.variant.to_owned(), arm.phase)).collect::<Vec<_>>();
        found.push((row.decision_id.to_owned(), row.customer_id.to_owned(), arms, row.held_out));
        ControlFlow::Continue(())
    };
    reader.scan_decision_rows(&Query::default(), keep).unwrap();
    let row = |record: &DecisionRecord| {
        let arms = record.assignments.iter().map(|arm| (arm.variant.clone(), arm.phase)).collect::<Vec<_>>();
        (record.decision_id.clone(), record.customer_id.clone(), arms, record.held_out)
    };
    assert_eq!(found, records.iter().map(row).collect::<Vec<_>>());
    let verified = crate::verify::verify(files.store(), &[], &mut |_| {}).unwrap();
    assert_eq!((verified.sealed_files, verified.events, verified.problems), (2, 20, Vec::new()));
}
