//! The bytes that a decision takes in sealed files, column by column.

use std::collections::BTreeMap;
use std::fs::File;

use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::archive::{Archive, bytes_of};
use crate::goals::Goals;
use crate::measure::print_heading;

/// Prints the bytes per decision and column.
pub(crate) fn print(archive: &Archive, goals: &mut Goals) {
    let (mut columns, mut packed, mut rows, mut bytes) = (BTreeMap::new(), 0, 0, 0);
    for file in archive.files() {
        bytes += bytes_of(&file);
        let reader = SerializedFileReader::new(File::open(&file).unwrap()).unwrap();
        rows += reader.metadata().file_metadata().num_rows();
        for column in reader.metadata().row_groups().iter().flat_map(RowGroupMetaData::columns) {
            let name = column.column_path().parts()[0].clone();
            let (of_packed, of_plain) = columns.entry(name).or_insert((0, 0));
            *of_packed += column.compressed_size();
            *of_plain += column.uncompressed_size();
            packed += column.compressed_size();
        }
    }
    assert_eq!(rows, archive.events as i64);
    let per_decision = |bytes: f64| bytes / rows as f64;
    print_heading("Bytes of a decision in sealed files: 40 candidates, 25 features, none sensitive");
    let mut columns: Vec<_> = columns.into_iter().collect();
    columns.sort_by_key(|(_, (packed, _))| -packed);
    for (name, (packed, plain)) in columns {
        let (packed, plain) = (per_decision(packed as f64), per_decision(plain as f64));
        println!("{name:<62}{packed:>12.1}  of {plain:>7.1}");
    }
    println!("{:<62}{:>12.1}", "footers", per_decision(bytes as f64 - packed as f64));
    goals.at_most("sealed size of a decision", "bytes", per_decision(bytes as f64), 900.0, 500.0);
}
