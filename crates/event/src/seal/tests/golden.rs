//! Files of version 0.1.0 as it was when it knew decisions alone, and no experiments: they are read, and their columns
//! are written again, to the byte.
//!
//! `golden/` holds a log, and the two sealed files that it became. A later version may pack columns otherwise, and adds
//! columns; what a file says of its events stays.

use std::io::Write;
use std::ops::ControlFlow;

use ::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaDataReader};
use prost_types::Timestamp;

use super::*;
use crate::export::{ExportFormat, export};
use crate::log::files::Deleted;
use crate::proto::{DecisionRecord, EncryptedValues, RecordedError};
use crate::read::Since;
use crate::read::rows::DecisionRow;
use crate::sealed::testing::opened;
use crate::verify::verify;

const LOG: &[u8] = include_bytes!("golden/golden-00000007.log");
const SEALED: [(&str, &[u8]); 2] = [
    ("decision/date=2026-11-30/golden-00000007.parquet", include_bytes!("golden/2026-11-30.parquet")),
    ("decision/date=2026-12-01/golden-00000007.parquet", include_bytes!("golden/2026-12-01.parquet")),
];
/// The columns that were added since.
const ADDED: [&str; 5] = ["held_out", "experiments", "variants", "phases", "assigned_how"];
/// The position of the first event.
const FIRST: u64 = 41;

/// Records of all shapes on two days, of which one was erased.
fn records() -> Vec<DecisionRecord> {
    let midnight = NOON + DAY / 2;
    let mut records = decisions((-3..5).map(|second| midnight + second * 1_000_000));
    for (record, at) in records.iter_mut().zip(0..) {
        record.decision_id = format!("01930000-0000-7000-8000-{at:012}");
    }
    (records[1].customer_id, records[1].pseudonym_key) = ("f00dcafe".to_owned(), "2026-11".to_owned());
    records[2].error =
        Some(RecordedError { code: 3, message: "no age".to_owned(), field: "features".to_owned() });
    (records[2].segment, records[2].candidates, records[2].offers) = (None, None, Vec::new());
    let decided_at = records[3].decided_at;
    records[3] = DecisionRecord { format: 1, decided_at, erased: vec![0; 400], ..DecisionRecord::default() };
    records[4].customer.as_mut().unwrap().encrypted =
        Some(EncryptedValues { key: "k".to_owned(), nonce: vec![7; 12], ciphertext: vec![9; 40] });
    records[5].as_of = Some(Timestamp { seconds: 1_796_000_000, nanos: 5 });
    records[5].exclude_offer_ids = vec!["loan".to_owned()];
    records[5].ignored = vec!["unknown_feature:age".to_owned()];
    records[6].customer_id.clear();
    records[6].unknown_customer = true;
    records[7].offers[0].selection_probability = 0.5;
    records
}

fn log(files: &Files) -> LogFile {
    let path = files.logs().join("golden-00000007.log");
    fs::write(&path, LOG).unwrap();
    let last = FIRST + records().len() as u64 - 1;
    LogFile { path, sequence: 7, first: FIRST, last, bytes: LOG.len() as u64, recorded_at: NOON }
}

/// A store with the sealed files.
fn stored() -> Files {
    let files = Files::new();
    for (name, bytes) in SEALED {
        let path = files.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    files
}

fn frames(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(frame_of).collect()
}

/// All events of a reader, those of an erased person among them.
fn logged(log: &LogFile) -> Vec<Entry> {
    let mut frames = log.frames().unwrap().unwrap();
    let mut found = Vec::new();
    while let Some(frame) = frames.next_frame().unwrap() {
        found.extend(Entry::of_event(frame.event));
    }
    found
}

#[test]
fn a_log_has_the_same_bytes_as_ever() {
    let files = Files::new();
    let expected = frames(&entries_from(FIRST, &records()));
    assert_eq!(frames(&logged(&log(&files))), expected);
    let written = files.log("golden", 7, FIRST, &records());
    assert_eq!(fs::read(written.path).unwrap(), LOG);
}

#[test]
fn a_log_and_its_sealed_files_are_read_as_ever() {
    let files = stored();
    let mut expected = entries_from(FIRST, &records());
    expected.retain(|entry| !entry.record.is_erased());
    let with_log = Files::new();
    let readers = [
        EventReader::new(files.store().clone()),
        EventReader::new(with_log.store().clone()).with_opened(opened("golden", &[log(&with_log)])),
        EventReader::new(files.store().clone()).with_opened(opened("golden", &[log(&files)])),
    ];
    for reader in readers {
        let (mut by_time, mut by_position) = (Vec::new(), Vec::new());
        let keep = |entry, found: &mut Vec<Entry>| {
            found.push(entry);
            ControlFlow::Continue(())
        };
        reader
            .scan_entries(Kind::Decision, &Query::default(), &mut |entry| keep(entry, &mut by_time))
            .unwrap();
        reader.events_since(&Since::default(), &mut |entry| keep(entry, &mut by_position)).unwrap();
        assert_eq!(frames(&by_time), frames(&expected));
        assert_eq!(frames(&by_position), frames(&expected));
    }
    let verified = verify(files.store(), &[opened("golden", &[log(&files)])], &mut |_| {}).unwrap();
    assert_eq!((verified.problems, verified.events), (Vec::new(), 8));
}

#[test]
fn rows_of_files_without_the_columns_of_experiments_are_read() {
    let (files, mut found) = (stored(), Vec::new());
    let keep = &mut |row: &DecisionRow<'_>| {
        let row = (row.decision_id, row.customer_id, row.failed, row.held_out, row.arms.len());
        found.push(format!("{row:?}"));
        ControlFlow::Continue(())
    };
    EventReader::new(files.store().clone()).scan_decision_rows(&Query::default(), keep).unwrap();
    let mut expected = records();
    expected.retain(|record| record.erased.is_empty());
    let row = |record: &DecisionRecord| {
        let row = (&*record.decision_id, &*record.customer_id, record.error.is_some(), false, 0);
        format!("{row:?}")
    };
    assert_eq!(found, expected.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn a_log_that_was_sealed_is_known_again() {
    let files = stored();
    let log = log(&files);
    let logs = LogFiles::new(
        Arc::new(LocalDisk),
        files.logs().to_owned(),
        "golden".to_owned(),
        vec![log.clone()],
        Deleted::default(),
    );
    let sealed = seal_and_delete(&log, &logs, files.store()).unwrap();
    assert_eq!(
        sealed.files.iter().map(|part| (part.events, part.is_new)).collect::<Vec<_>>(),
        [(3, false), (5, false)]
    );
    assert!(!log.path.exists());
}

/// The bytes of the columns of a sealed file, by their names.
fn columns(bytes: &[u8]) -> Vec<(String, &[u8])> {
    let end = bytes.len() - 8;
    let footer = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
    let metadata = ParquetMetaDataReader::decode_metadata(&bytes[end - footer..end]).unwrap();
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns().iter());
    let column = |chunk: &ColumnChunkMetaData| {
        let (at, length) = chunk.byte_range();
        let name = chunk.column_path().parts()[0].clone();
        (name, &bytes[at as usize..(at + length) as usize])
    };
    chunks.map(column).collect()
}

#[test]
fn a_log_is_sealed_as_ever() {
    let files = Files::new();
    seal("golden", &log(&files), files.store()).unwrap();
    assert_eq!(files.names(), SEALED.map(|(name, _)| name));
    for (name, expected) in SEALED {
        let found = fs::read(files.path(name)).unwrap();
        // They stand before `record`, in their order.
        let (known, added): (Vec<_>, Vec<_>) =
            columns(&found).into_iter().partition(|(name, _)| !ADDED.contains(&&**name));
        assert_eq!(known, columns(expected), "{name}");
        assert_eq!(added.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ADDED, "{name}");
    }
}

#[test]
fn an_export_has_the_same_text_as_ever() {
    let files = stored();
    let reader = EventReader::new(files.store().clone());
    let formats = [
        (ExportFormat::JsonLines, include_str!("golden/decisions.jsonl")),
        (ExportFormat::Csv, include_str!("golden/decisions.csv")),
    ];
    for (format, expected) in formats {
        let mut text = Vec::new();
        let out = (Path::new("out"), &mut text as &mut dyn Write);
        export(&reader, Kind::Decision, &Query::default(), format, out, &|_| None).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), expected, "{format:?}");
    }
}
