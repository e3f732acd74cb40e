//! Training on real card holders, against figures of scikit-learn.
//!
//! The data is not part of the project: `PROFFER_DATA` says where it is.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use tempfile::TempDir;

use super::table::{ReadOptions, Table};
use super::{TrainOptions, train};
use crate::segment::Segmentation;

/// CC GENERAL as a CSV file of its own, or `None`, with a note, where it is not at hand.
fn cc_general() -> Option<(TempDir, PathBuf)> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let data = std::env::var_os("PROFFER_DATA").map_or_else(beside, PathBuf::from);
    let archive = data.join("cc_general/CC_GENERAL.csv.gz");
    let Ok(packed) = File::open(&archive) else {
        eprintln!("found no data at {}; set PROFFER_DATA. Nothing was tested", archive.display());
        return None;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cc_general.csv");
    io::copy(&mut GzDecoder::new(packed), &mut File::create(&path).unwrap()).unwrap();
    Some((directory, path))
}

#[test]
fn inertia_and_segments_of_cc_general_hold_against_scikit_learn_and_the_artefact() {
    let Some((directory, path)) = cc_general() else { return };
    let table =
        Table::read(&path, &ReadOptions { id_column: Some("CUST_ID".into()), ..ReadOptions::default() })
            .unwrap();
    // KMeans(k, n_init=10) of scikit-learn after median imputation, log1p and StandardScaler.
    for (k, reference) in [(3, 95_644.7), (5, 77_933.1), (6, 71_656.4)] {
        let options = TrainOptions { id_column: Some("CUST_ID".into()), ..TrainOptions::new(k) };
        let trained = train(&path, &options).unwrap();
        let inertia = trained.segmentation.inertia();
        eprintln!("k = {k}: inertia {inertia:.1}, scikit-learn {reference:.1}");
        assert!((inertia / reference - 1.0).abs() < 0.005, "k = {k}: {inertia}");

        let written = fs::read(trained.segmentation.write(directory.path()).unwrap()).unwrap();
        let served = Segmentation::parse("segments.json", &written).unwrap();
        assert_eq!(served, trained.segmentation);
        let assigned: Vec<u32> = served.assign_rows(&table.values).iter().map(|row| row.id).collect();
        assert_eq!(assigned.len(), 8_950);
        assert_eq!(assigned, trained.segments);
    }
}

#[test]
fn the_ten_amounts_and_counts_of_cc_general_are_logged() {
    let Some((_directory, path)) = cc_general() else { return };
    let options = TrainOptions { id_column: Some("CUST_ID".into()), ..TrainOptions::new(1) };
    let trained = train(&path, &options).unwrap();
    let features = trained.segmentation.features();
    let logged: Vec<&str> =
        features.iter().filter(|feature| feature.log1p).map(|feature| feature.name.as_str()).collect();
    let expected = [
        "BALANCE",
        "PURCHASES",
        "ONEOFF_PURCHASES",
        "INSTALLMENTS_PURCHASES",
        "CASH_ADVANCE",
        "CASH_ADVANCE_TRX",
        "PURCHASES_TRX",
        "CREDIT_LIMIT",
        "PAYMENTS",
        "MINIMUM_PAYMENTS",
    ];
    assert_eq!(logged, expected);
    let missing: Vec<(&str, usize)> = features
        .iter()
        .map(|feature| feature.name.as_str())
        .zip(trained.missing.iter().copied())
        .filter(|(_, missing)| *missing > 0)
        .collect();
    assert_eq!(missing, [("CREDIT_LIMIT", 1), ("MINIMUM_PAYMENTS", 313)]);
}
