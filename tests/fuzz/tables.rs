//! Tables: CSV, compressed or not, and Parquet, for customers and for training.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;

use feature::FeatureSchema;
use feature::store::CustomerTable;
use segment_train::train::{ReadOptions, Table};
use table::{Faults, Limits, Options, Reader, Record};

use super::{file, run, run_within, text};
use fuzz::Target;

const CSV: [&str; 22] = [
    ",",
    ";",
    "\t",
    "|",
    "\"",
    "\"\"",
    "'",
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\u{feff}",
    "1,5",
    "1.000,00",
    "1e999",
    "NaN",
    "-",
    "NA",
    "yes",
    "\\N",
    "é",
    "customer_id",
];

fn schema() -> FeatureSchema {
    FeatureSchema::parse("features.toml", &text("models/features.toml")).unwrap()
}

/// A file in the temporary folder, replaced with each input.
fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("proffer-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// The first rows of the sample's customers.
fn customers() -> String {
    let text = text("models/customers.csv");
    text.lines().take(20).collect::<Vec<_>>().join("\n") + "\n"
}

fn texts() -> Vec<Vec<u8>> {
    let mut seeds = vec![customers().into_bytes(), file("models/propensity/1/golden.csv")];
    seeds.push(b"a;b\r\n1,5;2,5\r\n'x';\"y\r\n\"\r\n".to_vec());
    seeds.push(b"a,b\n1,\"2\n".to_vec());
    seeds
}

#[test]
fn csv() {
    let mut seeds = texts();
    let plain = seeds[0].clone();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    seeds.push(gzip.finish().unwrap());
    seeds.push(zstd::encode_all(&plain[..], 1).unwrap());
    run(Target { name: "csv", seeds, words: &CSV, inputs: 3_000 }, 64, |input| {
        for (faults, limits) in [(Faults::Refused, Limits::CUSTOMERS), (Faults::Tolerated, Limits::GOLDEN)] {
            let options = Options { faults, limits, ..Options::default() };
            let Ok(mut reader) = Reader::open(input, options) else { continue };
            let mut record = Record::default();
            while let Ok(true) = reader.read(&mut record) {
                let width = record.iter().map(<[u8]>::len).sum::<usize>();
                assert!(record.len() <= limits.columns + 1 && width <= 17 << 20);
            }
            drop(reader.notes());
        }
    });
}

#[test]
fn customers_csv() {
    let (schema, path) = (schema(), scratch("customers.csv"));
    run(Target { name: "customers_csv", seeds: texts(), words: &CSV, inputs: 1_500 }, 64, |input| {
        fs::write(&path, input).unwrap();
        if let Ok((table, report)) = CustomerTable::load(&path, &schema) {
            assert_eq!(table.len(), report.customers);
        }
    });
}

#[test]
fn training_csv() {
    let path = scratch("training.csv");
    run(Target { name: "training_csv", seeds: texts(), words: &CSV, inputs: 500 }, 512, |input| {
        fs::write(&path, input).unwrap();
        let options = ReadOptions { one_hot: vec!["gender".to_owned()], ..ReadOptions::default() };
        for options in [options, ReadOptions::default()] {
            if let Ok(table) = Table::read(&path, &options) {
                assert!(table.rows() >= 2);
            }
        }
    });
}

/// Valid files: both page versions, several codecs, dictionaries, delta encodings and several row groups.
fn parquets() -> Vec<Vec<u8>> {
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values((0..40).map(|row| format!("C{row:06}"))));
    let cities: ArrayRef =
        Arc::new((0..40).map(|row| (row % 3 > 0).then_some(["a", "bb"][row % 2])).collect::<StringArray>());
    let columns: [(&str, ArrayRef); 5] = [
        ("customer_id", ids),
        (
            "balance",
            Arc::new(
                (0..40).map(|row| (row % 5 > 0).then_some(f64::from(row) / 3.0)).collect::<Float64Array>(),
            ),
        ),
        ("age", Arc::new((0..40).map(|row| (row % 7 > 0).then_some(row)).collect::<Int64Array>())),
        ("city", cities),
        (
            "active",
            Arc::new((0..40).map(|row| (row % 4 > 0).then_some(row % 2 == 0)).collect::<BooleanArray>()),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let base = WriterProperties::builder;
    let kinds = [
        base(),
        base().set_compression(Compression::SNAPPY).set_max_row_group_row_count(Some(16)),
        base().set_compression(Compression::GZIP(GzipLevel::default())),
        base().set_compression(Compression::ZSTD(ZstdLevel::default())),
        base()
            .set_compression(Compression::LZ4)
            .set_writer_version(parquet::file::properties::WriterVersion::PARQUET_2_0),
        base().set_dictionary_enabled(false).set_column_encoding("city".into(), Encoding::DELTA_BYTE_ARRAY),
        base()
            .set_dictionary_enabled(false)
            .set_column_encoding("customer_id".into(), Encoding::DELTA_LENGTH_BYTE_ARRAY),
        base().set_dictionary_enabled(false).set_column_encoding("age".into(), Encoding::DELTA_BINARY_PACKED),
    ];
    kinds
        .map(|properties| {
            let mut writer =
                ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
            writer.write(&batch).unwrap();
            writer.into_inner().unwrap()
        })
        .to_vec()
}

/// The bytes that Parquet may take for each byte of the file …
const PARQUET: usize = 512;

/// … and those for any file, including the size that a file may expand to (`table::Limits`). A short file may repeat a
/// row a million times.
const PARQUET_FREE: usize = super::FREE + (256 << 20);

#[test]
fn customers_parquet() {
    let (schema, path) = (schema(), scratch("customers.parquet"));
    let seeds = parquets();
    run_within(
        Target { name: "customers_parquet", seeds, words: &["PAR1"], inputs: 3_000 },
        PARQUET_FREE,
        PARQUET,
        |input| {
            fs::write(&path, input).unwrap();
            if let Ok((table, report)) = CustomerTable::load(&path, &schema) {
                assert_eq!(table.len(), report.customers);
            }
        },
    );
}

#[test]
fn training_parquet() {
    let path = scratch("training.parquet");
    run_within(
        Target { name: "training_parquet", seeds: parquets(), words: &["PAR1"], inputs: 1_000 },
        PARQUET_FREE,
        PARQUET,
        |input| {
            fs::write(&path, input).unwrap();
            let options = ReadOptions { one_hot: vec!["city".to_owned()], ..ReadOptions::default() };
            drop(Table::read(&path, &options));
        },
    );
}
