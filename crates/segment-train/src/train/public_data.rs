//! Public data sets for tests. They are not part of the project; `PROFFER_DATA` names their directory.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use tempfile::TempDir;

/// The text of a gzipped file, or `None`, with a note, if it is not available.
pub(super) fn public_data(name: &str) -> Option<GzDecoder<File>> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let archive = std::env::var_os("PROFFER_DATA").map_or_else(default, PathBuf::from).join(name);
    let Ok(packed) = File::open(&archive) else {
        eprintln!("skipped: no data at {}; set PROFFER_DATA", archive.display());
        return None;
    };
    Some(GzDecoder::new(packed))
}

/// As [`public_data`], unpacked into a file.
pub(super) fn unpacked(name: &str) -> Option<(TempDir, PathBuf)> {
    let mut text = public_data(name)?;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.csv");
    io::copy(&mut text, &mut File::create(&path).unwrap()).unwrap();
    Some((directory, path))
}
