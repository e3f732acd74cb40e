//! Proffer's side of the comparison with scikit-learn: clusters the points of a file and prints results and times.
//!
//! The output is one line of JSON. `peers.py` generates the points, runs both sides and prints the ratios; run it with
//! `make bench-segment`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark stops at the first error")]

use std::path::Path;
use std::time::Instant;

use ndarray::{Array2, ArrayView2};
use rayon::ThreadPoolBuilder;
use segment_train::train::k_means::{KMeansOptions, each_nearest, fit};
use segment_train::train::progress::Silent;
use segment_train::train::silhouette::{EXACT_UP_TO, silhouettes};
use serde_json::json;

const SEED: u64 = 42;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [case, file, dimensions, threads, rest @ ..] = &arguments[..] else {
        println!("usage: CASE FILE DIMENSIONS THREADS …; run it with `make bench-segment`");
        return;
    };
    let points = read(Path::new(file), dimensions.parse().unwrap());
    let pool = ThreadPoolBuilder::new().num_threads(threads.parse().unwrap()).build().unwrap();
    let number = |at: usize| rest[at].parse::<usize>().unwrap();
    let found = pool.install(|| match case.as_str() {
        "sweep" => sweep(points.view(), number(0)..=number(1), number(2)),
        "k-means" => k_means(points.view(), number(0), number(1)),
        "assign" => assign(points.view(), number(0)),
        _ => panic!("unknown case: {case}"),
    });
    println!("{found}");
}

/// Reads little-endian 64-bit floats, row-major.
fn read(file: &Path, dimensions: usize) -> Array2<f64> {
    let bytes = std::fs::read(file).unwrap();
    let values = bytes.chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect();
    Array2::from_shape_vec((bytes.len() / 8 / dimensions, dimensions), values).unwrap()
}

/// Clusters with every k of a range and computes exact silhouettes.
fn sweep(
    points: ArrayView2<'_, f64>,
    ks: std::ops::RangeInclusive<usize>,
    n_init: usize,
) -> serde_json::Value {
    let began = Instant::now();
    let fits: Vec<_> =
        ks.clone().map(|k| fit(points, &KMeansOptions::new(k, n_init, SEED), &Silent).unwrap()).collect();
    let clustered = began.elapsed();
    let labelings: Vec<_> = fits.iter().zip(ks.clone()).map(|(fit, k)| (fit.labels.as_slice(), k)).collect();
    let silhouettes = silhouettes(points, &labelings, EXACT_UP_TO, SEED, &Silent).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    json!({
        "seconds": seconds,
        "clustering": clustered.as_secs_f64(),
        "inertia": fits.iter().map(|fit| fit.inertia).collect::<Vec<_>>(),
        "silhouette": silhouettes.iter().map(|found| found.mean).collect::<Vec<_>>(),
    })
}

fn k_means(points: ArrayView2<'_, f64>, k: usize, n_init: usize) -> serde_json::Value {
    let began = Instant::now();
    let fit = fit(points, &KMeansOptions::new(k, n_init, SEED), &Silent).unwrap();
    json!({
        "seconds": began.elapsed().as_secs_f64(),
        "inertia": [fit.inertia],
        "iterations": fit.iterations,
        "peak_bytes": peak_bytes(),
    })
}

/// Measures the rows that one core assigns per second.
fn assign(points: ArrayView2<'_, f64>, k: usize) -> serde_json::Value {
    let centroids = points.slice(ndarray::s![..k, ..]);
    let mut passes: Vec<f64> = (0..7)
        .map(|_| {
            let began = Instant::now();
            let mut sum = 0_u64;
            each_nearest(centroids, points, |segment| sum += u64::from(segment));
            std::hint::black_box(sum);
            points.nrows() as f64 / began.elapsed().as_secs_f64()
        })
        .collect();
    passes.sort_by(f64::total_cmp);
    json!({ "rows_per_second": passes[passes.len() / 2] })
}

fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}
