//! Mutated events and Parquet files: no decoder panics, for any kind of event.

use std::ops::ControlFlow;

use fuzz::Target;

use super::testing::{Files, of_all_kinds, outcomes, shadows};
use super::*;
use crate::columns::{DecisionBatch, OutcomeBatch};
use crate::frame::Frames;
use crate::log::LogFile;
use crate::log::scan::scan;
use crate::proto::Event;
use crate::read::{ReadProgress, read_file};
use crate::seal::{OpenLog, Window};

/// An event in a log: what is mutated is framed, with a checksum that fits.
#[test]
fn events() {
    let files = Files::new();
    let events = entries_from(1, &of_all_kinds(NOON..NOON + 6)).into_iter().map(Entry::into_event);
    let seeds = events.map(|event| event.encode_to_vec()).chain([Vec::new()]).collect();
    let header = fs::read(files.log::<Record>("s", 1, 1, &[]).path).unwrap();
    let path = files.logs().join("mutated.log");
    Target { name: "events", seeds, words: &[], inputs: 4_000 }.run(|input| {
        let length = (input.len() as u32).to_le_bytes();
        let checksum = frame::checksum(length, input).to_le_bytes();
        let log = [&header[..], &length, &checksum, input].concat();
        let mut frames = Frames::new(&log[..]);
        while let Ok(Some(frame)) = frames.next_frame() {
            same_again(&frame.event)?;
        }
        scan(&log[..], None).map_err(|error| error.to_string())?;
        fs::write(&path, &log).map_err(|error| error.to_string())?;
        let bytes = log.len() as u64;
        let log = LogFile { path: path.clone(), sequence: 1, first: 1, last: 1, bytes, recorded_at: 0 };
        let opened = OpenLog::open("s", &log).map_err(|error| error.to_string())?;
        let Some(opened) = opened else { return Err("it is gone".to_owned()) };
        let Ok(index) = opened.index() else { return Ok(()) };
        let mut window = Window::default();
        for item in index.days().iter().flat_map(|day| day.items) {
            // What is not known is refused.
            if let Ok((entry, _)) = index.whole_entry(*item, &mut window) {
                assert_eq!(entry.record.filed_at(), item.filed_at);
            }
        }
        Ok(())
    });
}

/// Checks that an event keeps its length and its bytes when it is encoded and decoded again.
fn same_again(event: &Event) -> Result<(), String> {
    let written = event.encode_to_vec();
    let again = Event::decode(&*written).map_err(|error| error.to_string())?;
    // Bytes, as a number may be NaN.
    let is_same = written.len() == event.encoded_len() && again.encode_to_vec() == written;
    if is_same { Ok(()) } else { Err(format!("{event:?} is another when it is decoded again")) }
}

/// A Parquet file of entries: with checksums, as this program writes it, and without.
fn files_of(entries: &[Entry]) -> [Vec<u8>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write(&path, entries, None);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let (_folder, other) = foreign(&batch(entries), properties);
    [path, other].map(|path| fs::read(path).unwrap())
}

#[test]
fn exports() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mutated.parquet");
    let times = NOON..NOON + 3;
    let of_kinds =
        [entries(&decisions(times.clone())), entries(&outcomes(times.clone())), entries(&shadows(times))];
    let seeds = of_kinds.iter().flat_map(|entries| files_of(entries)).collect();
    let words =
        ["proffer.kind", "decision", "outcome", "shadow", "view", "proffer.log_other_dates", "key_value"];
    Target { name: "exports", seeds, words: &words, inputs: 2_000 }.run(|input| {
        fs::write(&path, input).map_err(|error| error.to_string())?;
        for kind in Kind::ALL {
            // What comes out is protected by checksums, or not at all.
            let _ = read_file(&path, kind, &Query::default(), &ReadProgress::default(), &mut |_| {
                ControlFlow::Continue(())
            });
            let opened = LocalFile::open(&path).and_then(|local| SealedFile::open_any(local, kind));
            if let Ok(file) = opened {
                (0..file.groups()).for_each(|group| visit_rows(&file, group));
            }
        }
        Ok(())
    });
}

/// Visits what can be read as rows of a few columns.
fn visit_rows(file: &SealedFile, group: usize) {
    if let Ok(Some(batches)) = file.narrow::<DecisionBatch>(group, &Query::default()) {
        for batch in batches {
            let _ = batch.each(&mut |_| ControlFlow::Continue(()));
        }
    }
    if let Ok(Some(batches)) = file.narrow::<OutcomeBatch>(group, &Query::default()) {
        for batch in batches {
            let _ = batch.each(&mut |_| ControlFlow::Continue(()));
        }
    }
}
