//! Up to where the log was on the disk: the file `durable`, beside the folder of the log.
//!
//! A log file alone does not say how long it was: bytes that are missing at its end, or are no events, may never have
//! been written. So after each sync the last numbers are noted here, in place, without a sync of their own. The note
//! may be older than the truth, and never newer. An event that it counts was on the disk: if it is not there now, it is
//! lost, and its position is not used again.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crc_fast::CrcAlgorithm;

use super::files::LogEnd;
use crate::disk::Disk;
use crate::numbers::parse;

const DURABLE: &str = "durable";

/// Where the note of a log in `directory` is.
pub(crate) fn path(directory: &Path) -> PathBuf {
    directory.with_file_name(DURABLE)
}

/// Notes the last numbers of a server that are synced.
pub(super) fn note(disk: &dyn Disk, directory: &Path, server: &str, reached: LogEnd) -> io::Result<()> {
    disk.note(&path(directory), written(server, reached).as_bytes())
}

/// What is noted of a server; zeros if nothing is, or the note was torn.
pub(super) fn read(disk: &dyn Disk, directory: &Path, server: &str) -> io::Result<LogEnd> {
    let mut text = String::new();
    match disk.read(&path(directory)).and_then(|source| source.take(1 << 10).read_to_string(&mut text)) {
        Ok(_) => Ok(parsed(server, &text).unwrap_or_default()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
            Ok(LogEnd::default())
        }
        Err(error) => Err(error),
    }
}

/// All notes have the same length, so that none leaves a part of another. The checksum covers the server, too: where a
/// directory was given another id, its note is no note of that server.
fn written(server: &str, LogEnd { sequence, position }: LogEnd) -> String {
    let numbers = format!("sequence = {sequence:020}\nposition = {position:020}\n");
    let checksum = checksum(&format!("{numbers}{server}"));
    format!("{numbers}crc32c = {checksum:08x}\n")
}

fn parsed(server: &str, text: &str) -> Option<LogEnd> {
    let mut lines = text.lines();
    let sequence = parse(lines.next()?.strip_prefix("sequence = ")?)?;
    let position = parse(lines.next()?.strip_prefix("position = ")?)?;
    let reached = LogEnd { position, sequence };
    (text == written(server, reached)).then_some(reached)
}

fn checksum(text: &str) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, text.as_bytes()) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::LocalDisk;
    use crate::disk::memory::MemoryDisk;
    use crate::numbers::GREATEST;

    const LOG: &str = "/log";

    #[test]
    fn the_last_note_counts() {
        let root = tempfile::tempdir().unwrap();
        let log = root.path().join("log");
        assert_eq!(read(&LocalDisk, &log, "s").unwrap(), LogEnd::default());
        for number in [7, GREATEST, 0, 12] {
            let reached = LogEnd { sequence: number / 2, position: number };
            note(&LocalDisk, &log, "s", reached).unwrap();
            assert_eq!(read(&LocalDisk, &log, "s").unwrap(), reached);
        }
        assert_eq!(read(&LocalDisk, &log, "other").unwrap(), LogEnd::default());
        assert!(path(&log).starts_with(root.path()) && path(&log).exists());
    }

    #[test]
    fn after_a_loss_of_power_it_is_an_earlier_one_or_none() {
        let reached = |position| LogEnd { sequence: position % 7, position };
        let mut found = std::collections::BTreeSet::new();
        for seed in 0..60 {
            let disk = MemoryDisk::default();
            note(&disk, Path::new(LOG), "s", reached(3)).unwrap();
            disk.sync(&path(Path::new(LOG))).unwrap();
            disk.sync_names(Path::new("/")).unwrap();
            note(&disk, Path::new(LOG), "s", reached(90_000_000_000_000_000)).unwrap();
            found.insert(read(&disk.after_loss_of_power(seed), Path::new(LOG), "s").unwrap().position);
        }
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [0, 3, 90_000_000_000_000_000]);
    }

    proptest! {
        #[test]
        fn any_other_bytes_are_no_note(
            sequence in 0..=GREATEST,
            position in 0..=GREATEST,
            at in 0_usize..70,
            change in 1_u8..128,
        ) {
            let reached = LogEnd { position, sequence };
            let mut bytes = written("s", reached).into_bytes();
            prop_assert_eq!(parsed("s", &written("s", reached)), Some(reached));
            let at = at % bytes.len();
            bytes[at] ^= change;
            let disk = MemoryDisk::default();
            disk.put(&path(Path::new(LOG)), &bytes);
            prop_assert_eq!(read(&disk, Path::new(LOG), "s").unwrap(), LogEnd::default());
        }
    }
}
