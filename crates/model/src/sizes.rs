//! Actual and declared sizes of files. Each is checked against a limit here before memory is allocated.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most bytes of a graph: the limit of protocol buffers.
pub const MAX_GRAPH_BYTES: u64 = (1 << 31) - 1;

/// The most bytes of `model.toml`.
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// The most bytes of `segments.json`: enough for ten thousand segments of a thousand columns.
pub const MAX_SEGMENTS_BYTES: u64 = 256 << 20;

/// The most bytes that a tensor in a graph may declare.
pub const MAX_TENSOR_BYTES: u64 = MAX_GRAPH_BYTES;

/// The most rows of a graph with a fixed batch: a call for one row computes them all.
pub const MAX_BATCH: usize = 65_536;

/// The most values of such a batch in one input: 64 MiB of floats.
pub const MAX_BATCH_VALUES: usize = 1 << 24;

/// Reads the whole file, if it has at most `most` bytes, also while it is read.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`] if it has more; any error of reading.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    read_from(file, bytes, most)
}

/// Does the same for an open file of `bytes` bytes.
pub(super) fn read_from(file: File, bytes: u64, most: u64) -> io::Result<Vec<u8>> {
    let too_large = |bytes: u64| {
        let message = format!("it has {bytes} bytes, and at most {most} are read");
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    };
    if bytes > most {
        return Err(too_large(bytes));
    }
    // At most `most`, so it fits the address space where the file can be held at all.
    let mut read = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
    file.take(most + 1).read_to_end(&mut read)?;
    if read.len() as u64 > most { Err(too_large(read.len() as u64)) } else { Ok(read) }
}

/// Does the same for a text.
///
/// # Errors
/// As [`read_at_most`]; [`io::ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_text_at_most(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read_at_most(path, most)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit_and_not_beyond() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read_text_at_most(&path, 4).unwrap(), "four");
        let error = read_at_most(&path, 3).unwrap_err();
        assert_eq!(error.to_string(), "it has 4 bytes, and at most 3 are read");
        // A sparse file, of which nothing is read.
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read_at_most(&path, 1 << 30).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
