//! Opening a file: its footer, checked, and what the file says of itself.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use objects::Staging;
use work::catch_panic;

use super::description::{CHUNKS_CRC, Fault, has_format};
use super::write::{CREATED_BY, checksum_in, footer_checksum};
use super::{Description, SealedError};
use crate::keys::KeyName;
use crate::kind::Kind;

/// The most bytes of a footer. That of a file of a hundred million rows is smaller.
const FOOTER_BYTES: u64 = 64 << 20;
/// The most columns, counting those that are not known.
const COLUMNS: usize = 1_024;
/// The most row groups.
const GROUPS: usize = 100_000;
/// The most rows of a row group, and of one in a store, which this program has written.
const ROWS: [u64; 2] = [1 << 20, super::GROUP_ROWS as u64 * 8];
/// The most bytes of a column chunk.
const CHUNK_BYTES: u64 = 256 << 20;

const MAGIC: &[u8; 4] = b"PAR1";

/// A file whose footer was read and is within the limits.
pub(crate) struct SealedFile {
    pub(super) shown: String,
    pub(super) file: File,
    pub(super) length: u64,
    pub(super) metadata: ArrowReaderMetadata,
    kind: Kind,
    /// `None` for a file that another program has written.
    description: Option<Description>,
    /// Of each column chunk, by row group and column.
    chunk_checksums: Vec<u32>,
    has_footer_checksum: bool,
    /// The copy of an object, removed with this.
    _copy: Option<Staging>,
}

/// A file on this machine: of the store, or the copy of an object.
pub(crate) struct LocalFile {
    /// Its name in messages.
    pub(crate) shown: String,
    pub(crate) file: File,
    pub(crate) copy: Option<Staging>,
}

impl LocalFile {
    /// A file that is no object of a store.
    pub(crate) fn open(path: &Path) -> Result<Self, SealedError> {
        let file = File::open(path).map_err(SealedError::io(path))?;
        Ok(Self { shown: path.display().to_string(), file, copy: None })
    }
}

impl SealedFile {
    /// Opens a sealed file of a store.
    ///
    /// # Errors
    /// A file that is not whole, or was not written by this program.
    pub(crate) fn open(local: LocalFile) -> Result<Self, SealedError> {
        let opened = Self::open_as(local, None)?;
        if opened.description.is_none() {
            return Err(SealedError::damaged(
                &opened.shown,
                "it is no sealed file: its metadata is of another program",
            ));
        }
        opened.check_groups(ROWS[1])?;
        let columns = opened
            .parquet()
            .row_groups()
            .iter()
            .map(::parquet::file::metadata::RowGroupMetaData::num_columns)
            .sum::<usize>();
        if opened.chunk_checksums.len() != columns || !opened.has_footer_checksum {
            return Err(SealedError::damaged(&opened.shown, "its metadata lacks checksums"));
        }
        Ok(opened)
    }

    /// Opens an export of a kind, which another program may have rewritten.
    ///
    /// # Errors
    /// A file that is not whole, exceeds the limits, or says that it is of another kind.
    pub(crate) fn open_any(local: LocalFile, kind: Kind) -> Result<Self, SealedError> {
        Self::open_as(local, Some(kind))
    }

    /// Opens a file. `expected`: its kind, which a file of another program does not say.
    fn open_as(local: LocalFile, expected: Option<Kind>) -> Result<Self, SealedError> {
        let LocalFile { shown, file, copy } = local;
        let damaged = |message: String| SealedError::damaged(&shown, message);
        let length = file.metadata().map_err(|source| SealedError::Io { path: shown.clone(), source })?.len();
        let mut footer = read_footer(&file, length).map_err(damaged)?;
        let own_checksum = checksum_in(&footer);
        let is_changed = own_checksum.is_some_and(|(at, stated)| {
            format!("{:08x}", footer_checksum(&mut footer, at)).as_bytes() != stated
        });
        // The decoder may assert where a footer contradicts itself.
        let metadata = catch_panic(|| decode(&footer))
            .unwrap_or_else(|_| Err("its footer contradicts itself".to_owned()))
            .map_err(damaged)?;
        let of_file = metadata.metadata().file_metadata();
        // A program that writes a file anew may keep its metadata, which describes the file before.
        let is_ours = of_file.created_by().is_some_and(|program| program.starts_with(CREATED_BY));
        if is_ours && is_changed {
            return Err(damaged("its footer does not match its checksum; the file was changed".to_owned()));
        }
        let pairs = of_file.key_value_metadata();
        let any_value_of = |key: &str| {
            pairs
                .and_then(|pairs| pairs.iter().find(|pair| pair.key == key))
                .and_then(|pair| pair.value.as_deref())
        };
        let value_of = |key: &str| any_value_of(key).filter(|_| is_ours);
        let faulty = |fault| match fault {
            Fault::Newer(message) => SealedError::Newer { path: shown.clone(), message },
            Fault::Damaged(message) => damaged(message),
        };
        has_format(any_value_of).map_err(faulty)?;
        let description = Description::parse(value_of).map_err(faulty)?;
        let stated = description.as_ref().map(|description| description.kind);
        let kind = match (stated, expected) {
            (Some(stated), Some(expected)) if stated != expected => {
                return Err(damaged(format!("it has events of kind `{stated}`, not `{expected}`")));
            }
            // Without a description it is a sealed file of no kind.
            (stated, expected) => stated.or(expected).unwrap_or(Kind::Decision),
        };
        let chunk_checksums = checksums(value_of(CHUNKS_CRC).unwrap_or_default())
            .ok_or_else(|| damaged(format!("its metadata has no usable `{CHUNKS_CRC}`")))?;
        let opened = Self {
            shown: shown.clone(),
            file,
            length,
            metadata,
            kind,
            description,
            chunk_checksums,
            has_footer_checksum: is_ours && own_checksum.is_some(),
            _copy: copy,
        };
        opened.check_groups(ROWS[0])?;
        Ok(opened)
    }

    /// Its name in messages.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// The kind of its events.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The server whose log it is of; empty for an export.
    pub(crate) fn server(&self) -> &str {
        let log = self.description.as_ref().and_then(|description| description.log.as_ref());
        log.map_or("", |log| &log.server)
    }

    /// The keys for pseudonyms that its server had, as far as they are known.
    pub(crate) fn log_keys(&self) -> &[KeyName] {
        let log = self.description.as_ref().and_then(|description| description.log.as_ref());
        log.map_or(&[], |log| &log.keys)
    }

    /// What it says of itself; `None` for a file that another program has written.
    pub(crate) fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// How many row groups it has.
    pub(crate) fn groups(&self) -> usize {
        self.parquet().num_row_groups()
    }

    /// The bytes of a row group.
    pub(crate) fn group_bytes(&self, group: usize) -> u64 {
        self.parquet().row_group(group).compressed_size().max(0).cast_unsigned()
    }

    /// How many rows it has.
    pub(crate) fn rows(&self) -> u64 {
        self.parquet().row_groups().iter().map(|group| group.num_rows() as u64).sum()
    }

    pub(super) fn parquet(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// The checksum of a column chunk, if one is known.
    pub(super) fn checksum_of(&self, group: usize, leaf: usize) -> Option<u32> {
        let columns = self.parquet().file_metadata().schema_descr().num_columns();
        self.chunk_checksums.get(group * columns + leaf).copied()
    }

    /// Checks that chunks are within the file, and small enough to be in memory.
    fn check_groups(&self, most_rows: u64) -> Result<(), SealedError> {
        let parquet = self.parquet();
        let columns = parquet.file_metadata().schema_descr().num_columns();
        let refused = |message: String| Err(SealedError::damaged(&self.shown, message));
        if columns > COLUMNS || parquet.num_row_groups() > GROUPS {
            return refused(format!(
                "it has {columns} columns and {} row groups; at most {COLUMNS} and {GROUPS}",
                parquet.num_row_groups()
            ));
        }
        for group in parquet.row_groups() {
            if group.num_columns() != columns {
                return refused("its footer contradicts itself".to_owned());
            }
            match u64::try_from(group.num_rows()) {
                Ok(rows) if rows <= most_rows => {}
                Ok(rows) => {
                    return refused(format!(
                        "it has a row group of {rows} rows; at most {most_rows}: write it with smaller ones"
                    ));
                }
                Err(_) => return refused("its footer contradicts itself".to_owned()),
            }
            for column in group.columns() {
                let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
                let (start, bytes) = (u64::try_from(start), u64::try_from(column.compressed_size()));
                let (Ok(start), Ok(bytes)) = (start, bytes) else {
                    return refused("its footer contradicts itself".to_owned());
                };
                if start.checked_add(bytes).is_none_or(|end| end > self.length) {
                    return refused("its footer names bytes beyond its end; it is not whole".to_owned());
                }
                if bytes > CHUNK_BYTES {
                    return refused(format!(
                        "it has a column of {} MiB in a row group; at most {}: write it with smaller row groups",
                        bytes >> 20,
                        CHUNK_BYTES >> 20
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Reads the footer, without its length and `PAR1` behind it.
fn read_footer(file: &File, length: u64) -> Result<Vec<u8>, String> {
    let not_whole = || "it is not a whole Parquet file".to_owned();
    let at = length.checked_sub(8).filter(|at| *at >= 4).ok_or_else(not_whole)?;
    let mut head = [0; 4];
    let mut tail = [0; 8];
    let read = file.read_exact_at(&mut head, 0).and_then(|()| file.read_exact_at(&mut tail, at));
    read.map_err(|error| format!("it cannot be read: {error}"))?;
    let ([bytes @ .., _, _, _, _], [_, _, _, _, magic @ ..]) = (tail, tail);
    if head != *MAGIC || magic != *MAGIC {
        return Err(not_whole());
    }
    let bytes = u64::from(u32::from_le_bytes(bytes));
    if bytes > FOOTER_BYTES {
        return Err(format!("its footer has {} MiB; at most {}", bytes >> 20, FOOTER_BYTES >> 20));
    }
    let start = at.checked_sub(bytes).filter(|start| *start >= 4).ok_or_else(not_whole)?;
    let mut footer = vec![0; bytes as usize];
    file.read_exact_at(&mut footer, start).map_err(|error| format!("it cannot be read: {error}"))?;
    Ok(footer)
}

fn decode(footer: &[u8]) -> Result<ArrowReaderMetadata, String> {
    let failed = |error| format!("its footer cannot be read: {error}");
    let metadata = ParquetMetaDataReader::decode_metadata(footer).map_err(failed)?;
    // The types of Arrow that a writer may have noted are not needed.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ArrowReaderMetadata::try_new(Arc::new(metadata), options).map_err(failed)
}

fn checksums(text: &str) -> Option<Vec<u32>> {
    let digits = text.as_bytes().chunks(8);
    digits.map(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).collect()
}
