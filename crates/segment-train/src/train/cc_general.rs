//! Training on the data set CC GENERAL, compared with figures of scikit-learn.
//!
//! The data is not part of the project: see `public_data`.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::progress::Silent;
use super::public_data::unpacked;
use super::settings::{Log1p, TrainSettings};
use super::{Detail, ReadOptions, Table, Trained, train};
use segment::Segmentation;

/// CC GENERAL as a CSV file, or `None`, with a note, if it is not available.
fn cc_general() -> Option<(TempDir, PathBuf)> {
    unpacked("cc_general/CC_GENERAL.csv.gz")
}

/// Settings that try only `k`, so that each test takes seconds.
fn settings(k: usize) -> TrainSettings {
    let mut settings = TrainSettings::default();
    settings.read.id = Some("CUST_ID".into());
    let cluster = &mut settings.cluster;
    (cluster.k, cluster.k_min, cluster.k_max, cluster.resamples) = (Some(k), k.max(2), k.max(2), 2);
    settings
}

fn trained(path: &Path, settings: &TrainSettings) -> Trained {
    let table = Table::read(path, &ReadOptions::from(&settings.read)).unwrap();
    train(table, settings, None, Detail::Segments, &Silent).unwrap()
}

/// Compares with scikit-learn's `KMeans(k, n_init=10)` after median imputation and `StandardScaler`.
///
/// Once with log1p of the ten skewed columns, and once without.
#[test]
fn inertia_silhouettes_and_segments_agree_with_scikit_learn_and_the_artefact() {
    let Some((directory, path)) = cc_general() else { return };
    for (k, log1p, inertia, silhouette) in [
        (3, Log1p::Auto, 95_644.7, 0.2244),
        (5, Log1p::Auto, 77_933.1, 0.2183),
        (6, Log1p::Auto, 71_656.4, 0.2172),
        (3, Log1p::Never, 111_975.0, 0.2510),
        (4, Log1p::Never, 99_061.9, 0.1977),
    ] {
        let mut settings = settings(k);
        settings.prepare.log1p = log1p;
        let trained = trained(&path, &settings);
        let found = trained.segmentation.inertia();
        let candidates = &trained.study.choice.candidates;
        let candidate = candidates.iter().find(|candidate| candidate.k == k as u64).unwrap();
        eprintln!(
            "k = {k}: inertia {found:.1} ({inertia}), silhouette {:.4} ({silhouette})",
            candidate.silhouette
        );
        assert!((found / inertia - 1.0).abs() < 0.005, "k = {k}: {found}");
        assert!((candidate.silhouette - silhouette).abs() < 0.005, "k = {k}: {}", candidate.silhouette);

        let written =
            fs::read(crate::write::write_segments(&trained.segmentation, directory.path()).unwrap()).unwrap();
        let served = Segmentation::parse("segments.json", &written).unwrap();
        assert_eq!(served, trained.segmentation);
        let raw: Vec<f32> = (0..8_950).flat_map(|row| trained.raw(row).iter().copied()).collect();
        let assigned: Vec<u32> = served.assign_rows(&raw).iter().map(|row| row.id).collect();
        assert_eq!(assigned, trained.segments);
    }
}

#[test]
fn the_ten_amounts_and_counts_are_logged() {
    let Some((_directory, path)) = cc_general() else { return };
    let trained = trained(&path, &settings(1));
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
    let columns = trained.study.columns.iter().filter(|column| column.missing > 0);
    let missing: Vec<(&str, u64)> = columns.map(|column| (column.name.as_str(), column.missing)).collect();
    assert_eq!(missing, [("CREDIT_LIMIT", 1), ("MINIMUM_PAYMENTS", 313)]);
}
