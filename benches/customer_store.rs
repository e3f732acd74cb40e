//! The embedded customer store at its stated size: 1,000,000 customers × 40 features.
//!
//! Prints the time and peak memory of loading (Linux), with each format in its own process, and the size of the table.
//! Then it measures lookups of random ids. Needs 700 MB in the temporary directory.
//! `cargo bench --bench customer_store`

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up should stop")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use criterion::Criterion;
use feature::store::CustomerTable;
use feature::{Entity, Feature, FeatureSchema, FeatureType};
use parquet::arrow::ArrowWriter;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

const CUSTOMERS: u64 = 1_000_000;
const FEATURES: usize = 40;
const SEED: u64 = 7;

/// Environment variables of the processes that [`in_child`] starts.
const STEP: &str = "CUSTOMER_STORE_STEP";
const FILE: &str = "CUSTOMER_STORE_FILE";

/// 28 floats, 6 ints of several widths, 4 strings of 50 values, 2 bools.
fn feature_type(feature: usize) -> FeatureType {
    match feature {
        0..28 => FeatureType::Float,
        28..34 => FeatureType::Int,
        34..38 => FeatureType::String,
        _ => FeatureType::Bool,
    }
}

fn schema() -> FeatureSchema {
    FeatureSchema::from_features(
        (0..FEATURES)
            .map(|feature| Feature::new(format!("f{feature}"), feature_type(feature), Entity::Customer)),
    )
}

/// Ids look like card numbers: sixteen digits in random order.
fn id(number: u64) -> String {
    format!("{:016}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 10_000_000_000_000_000)
}

fn int(feature: usize, random: u64) -> i64 {
    (random >> (8 * (feature % 6) + 8)) as i64 % 10_i64.pow(1 + 2 * (feature % 6) as u32)
}

fn write_csv(path: &Path) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let mut file = BufWriter::new(File::create(path).unwrap());
    let names: Vec<String> = (0..FEATURES).map(|feature| format!("f{feature}")).collect();
    writeln!(file, "customer_id,{}", names.join(",")).unwrap();
    let mut line = String::new();
    for number in 0..CUSTOMERS {
        line.clear();
        line.push_str(&id(number));
        for feature in 0..FEATURES {
            let drawn = random.next_u64();
            line.push(',');
            // One cell in sixteen is missing.
            if drawn.is_multiple_of(16) {
                continue;
            }
            match feature_type(feature) {
                FeatureType::Float => write!(line, "{:.2}", (drawn >> 40) as f64 / 100.0).unwrap(),
                FeatureType::Int => write!(line, "{}", int(feature, drawn)).unwrap(),
                FeatureType::String => write!(line, "value {}", (drawn >> 8) % 50).unwrap(),
                FeatureType::Bool => write!(line, "{}", drawn >> 63 == 1).unwrap(),
            }
        }
        writeln!(file, "{line}").unwrap();
    }
    file.flush().unwrap();
}

fn write_parquet(path: &Path) {
    const ROWS: u64 = 20_000;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let mut writer = None;
    for first in (0..CUSTOMERS).step_by(ROWS as usize) {
        let ids: StringArray = (first..first + ROWS).map(|number| Some(id(number))).collect();
        let mut columns: Vec<(String, ArrayRef, bool)> = vec![("customer_id".into(), Arc::new(ids), false)];
        for feature in 0..FEATURES {
            let drawn = (0..ROWS).map(|_| Some(random.next_u64()).filter(|drawn| !drawn.is_multiple_of(16)));
            let array: ArrayRef = match feature_type(feature) {
                FeatureType::Float => Arc::new(
                    drawn
                        .map(|drawn| drawn.map(|bits| (bits >> 40) as f64 / 100.0))
                        .collect::<Float64Array>(),
                ),
                FeatureType::Int => {
                    Arc::new(drawn.map(|drawn| drawn.map(|bits| int(feature, bits))).collect::<Int64Array>())
                }
                FeatureType::String => Arc::new(
                    drawn
                        .map(|drawn| drawn.map(|bits| format!("value {}", (bits >> 8) % 50)))
                        .collect::<StringArray>(),
                ),
                FeatureType::Bool => {
                    Arc::new(drawn.map(|drawn| drawn.map(|bits| bits >> 63 == 1)).collect::<BooleanArray>())
                }
            };
            columns.push((format!("f{feature}"), array, true));
        }
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let writer = writer.get_or_insert_with(|| {
            ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap()
        });
        writer.write(&batch).unwrap();
    }
    writer.unwrap().close().unwrap();
}

/// A line of `/proc/self/status` in MB; 0 if there is none.
fn memory_mb(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib =
        line.and_then(|rest| rest.trim_matches(|letter: char| !letter.is_ascii_digit()).parse::<f64>().ok());
    kib.unwrap_or_default() * 1024.0 / 1e6
}

/// Loads a file and prints its cost; the peak is that of the whole process.
fn report_load(path: &Path) {
    let before = memory_mb("VmRSS:");
    let started = Instant::now();
    let (table, report) = CustomerTable::load(path, &schema()).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let (peak, after) = (memory_mb("VmHWM:") - before, memory_mb("VmRSS:") - before);
    println!(
        "{}: {:.0} MB, {} customers × {FEATURES}; loaded in {seconds:.2} s; \
         table {:.1} MB, resident {after:.1} MB, peak while loading {peak:.1} MB",
        path.file_name().unwrap_or_default().display(),
        fs::metadata(path).unwrap().len() as f64 / 1e6,
        report.customers,
        table.memory_bytes() as f64 / 1e6,
    );
}

fn lookups(criterion: &mut Criterion, table: &CustomerTable) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(SEED + 1);
    let mut draw = |from: u64| -> Vec<String> {
        (0..100_000).map(|_| id(from + random.next_u64() % CUSTOMERS)).collect()
    };
    let (known, unknown) = (draw(0), draw(CUSTOMERS));
    let mut group = criterion.benchmark_group("customer_store_1000000x40");
    for (name, ids) in [("find_hit", &known), ("find_miss", &unknown)] {
        let mut next = ids.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| table.find(black_box(next.next().map_or("", String::as_str))));
        });
    }
    let mut next = known.iter().cycle();
    let mut values = Vec::with_capacity(FEATURES);
    group.bench_function("find_and_read_row_40", |bencher| {
        bencher.iter(|| {
            if let Some(row) = table.find(black_box(next.next().map_or("", String::as_str))) {
                table.read_row(row, &mut values);
            }
            black_box(values.len())
        });
    });
    group.finish();
}

/// Runs one step in a child process, so that its memory is counted alone.
fn in_child(step: &str, path: &Path) {
    let this = std::env::current_exe().unwrap();
    let status = Command::new(this).env(STEP, step).env(FILE, path).status().unwrap();
    assert!(status.success(), "{step} failed");
}

fn run_step(step: &str, path: &Path) {
    match step {
        "csv" => write_csv(path),
        "parquet" => write_parquet(path),
        _ => report_load(path),
    }
}

fn main() {
    if let (Ok(step), Some(path)) = (std::env::var(STEP), std::env::var_os(FILE)) {
        return run_step(&step, Path::new(&path));
    }
    let directory = tempfile::tempdir().unwrap();
    let [csv, parquet] = ["customers.csv", "customers.parquet"].map(|name| directory.path().join(name));
    for (format, path) in [("csv", &csv), ("parquet", &parquet)] {
        in_child(format, path);
        in_child("load", path);
    }
    let (table, _) = CustomerTable::load(&csv, &schema()).unwrap();
    let mut criterion = Criterion::default().configure_from_args();
    lookups(&mut criterion, &table);
    criterion.final_summary();
}
