//! Invariants for any table and any settings.

use proptest::prelude::*;

use super::*;
use crate::train::settings::TrainSettings;
use segment::artefact::{Artefact, ArtefactSegment, FORMAT_VERSION, TrainingNotes};
use segment::assign::Centroids;

/// Tables of up to five columns of very different sizes, some correlated, with missing values.
fn tables() -> impl Strategy<Value = Table> {
    (1..6_usize, 4..60_usize).prop_flat_map(|(width, rows)| {
        let value = prop_oneof![
            4 => 0.0..1e4_f32,
            2 => -50.0..50.0_f32,
            2 => (0..4_u8).prop_map(f32::from),
            1 => Just(f32::NAN),
        ];
        let copies = prop::collection::vec(any::<bool>(), width);
        (prop::collection::vec(value, rows * width), copies).prop_map(move |(mut values, copies)| {
            for row in values.chunks_exact_mut(width) {
                for column in (1..width).filter(|column| copies[*column]) {
                    row[column] = row[column].mul_add(0.01, row[column - 1] * 2.0);
                }
            }
            let names = (0..width).map(|column| format!("feature_{column}")).collect();
            Table {
                file: "customers.csv".into(),
                names,
                equals: vec![None; width],
                values,
                ..Table::default()
            }
        })
    })
}

fn settings() -> impl Strategy<Value = PrepareSettings> {
    let impute =
        prop_oneof![Just(Impute::Median), Just(Impute::Mean), (-10.0..10.0).prop_map(Impute::Constant)];
    let quantiles = prop::option::of((0.0..0.4, 0.6..1.0).prop_map(|(low, high)| [low, high]));
    let log1p = prop_oneof![Just(Log1p::Auto), Just(Log1p::Never)];
    let scale = prop_oneof![Just(Scale::ZScore), Just(Scale::MinMax)];
    let limit = prop::option::of(0.3..1.0);
    let share = prop::option::of(prop_oneof![0.05..1.0, Just(1.0)]);
    (impute.clone(), impute, quantiles, log1p, scale, limit, share).prop_map(
        |(impute, first, winsorise, log1p, scale, correlation_limit, variance_kept)| PrepareSettings {
            impute,
            impute_by_feature: [("feature_0".to_owned(), first)].into(),
            winsorise,
            log1p,
            scale,
            correlation_limit,
            variance_kept,
        },
    )
}

/// The preparation of an artefact with one segment, after writing and parsing it.
fn served(learned: &Learned, settings: &PrepareSettings, rows: u64) -> Preparation {
    let dimensions = learned.preparation.dimensions();
    let artefact = Artefact {
        format_version: FORMAT_VERSION,
        features: learned.preparation.features.clone(),
        pca: learned.preparation.pca.clone(),
        segments: vec![ArtefactSegment {
            id: 0,
            name: "All".into(),
            size: rows,
            centroid: Centroids::new(dimensions, vec![0.0; dimensions]).rows().next().unwrap().to_vec(),
        }],
        inertia: 0.0,
        training: TrainingNotes {
            rows,
            k: 1,
            seed: 42,
            n_init: 1,
            scale: settings.scale,
            variance_kept: learned.variance_kept,
            dropped: learned.dropped.clone(),
        },
    };
    let json = artefact.check("segments.json").unwrap().to_json().unwrap();
    segment::Segmentation::parse("segments.json", json.as_bytes()).unwrap().preparation
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #[test]
    fn a_row_is_the_same_point_in_training_and_through_the_artefact(table in tables(), settings in settings()) {
        // Other tests cover unusable columns.
        let Ok(learned) = learn(&table, &settings) else { return Ok(()) };
        let raw = learned.raw(table.values.clone(), table.names.len());
        let trained = learned.preparation.points(&raw);
        prop_assert!(trained.iter().all(|coordinate| coordinate.is_finite()));
        let preparation = served(&learned, &settings, table.rows() as u64);
        prop_assert_eq!(&preparation, &learned.preparation);
        let (width, dimensions) = (preparation.features.len(), preparation.dimensions());
        let mut buffer = Vec::new();
        for (row, point) in raw.chunks_exact(width).zip(trained.chunks_exact(dimensions)) {
            prop_assert_eq!(bits(preparation.point(row, &mut buffer)), bits(point));
        }
    }

    #[test]
    fn min_max_ends_at_0_and_1(table in tables(), settings in settings()) {
        let settings = PrepareSettings { scale: Scale::MinMax, variance_kept: None, ..settings };
        let Ok(learned) = learn(&table, &settings) else { return Ok(()) };
        let points = learned.preparation.points(&learned.raw(table.values.clone(), table.names.len()));
        let width = learned.preparation.features.len();
        for column in 0..width {
            let column: Vec<f64> = points.iter().copied().skip(column).step_by(width).collect();
            prop_assert!(column.iter().all(|value| (0.0..=1.0).contains(value)));
            prop_assert!(column.contains(&0.0) && column.contains(&1.0));
        }
    }

    #[test]
    fn components_are_orthonormal_and_explain_the_share(
        table in tables(), settings in settings(), share in 0.05..1.0,
    ) {
        let settings = PrepareSettings { variance_kept: Some(share), ..settings };
        let Ok(learned) = learn(&table, &settings) else { return Ok(()) };
        let kept = learned.variance_kept.unwrap();
        let components = learned.preparation.pca.as_ref().unwrap();
        prop_assert!(kept >= share && kept <= 1.0);
        for (row, one) in components.iter().enumerate() {
            let largest = one.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
            // Of equally large weights, the first decides the sign.
            let first = one.iter().find(|weight| weight.abs() >= largest.abs() * (1.0 - 1e-9)).unwrap();
            prop_assert!(*first > 0.0);
            for (column, other) in components.iter().enumerate() {
                let product: f64 = one.iter().zip(other).map(|(one, other)| one * other).sum();
                prop_assert!((product - f64::from(u8::from(row == column))).abs() < 1e-9);
            }
        }
        // The share, measured on the points themselves.
        let variance = |points: &[f64], width: usize| -> f64 {
            (0..width)
                .map(|column| points.iter().copied().skip(column).step_by(width).collect::<Vec<_>>())
                .map(|column| statistics::central_moment(&column, 2))
                .sum()
        };
        let raw = learned.raw(table.values.clone(), table.names.len());
        let whole = Preparation { pca: None, ..learned.preparation.clone() };
        let all = variance(&whole.points(&raw), whole.dimensions());
        let held = variance(&learned.preparation.points(&raw), components.len());
        prop_assert!((held / all - kept).abs() < 1e-9);
    }

    #[test]
    fn no_pair_above_the_limit_remains(table in tables(), settings in settings(), limit in 0.1..1.0) {
        let settings = PrepareSettings { correlation_limit: Some(limit), ..settings };
        let Ok(learned) = learn(&table, &settings) else { return Ok(()) };
        prop_assert_eq!(learned.kept.len() + learned.dropped.len(), table.names.len());
        let left_out = learned.columns.iter().filter(|column| column.left_out.is_some()).count();
        prop_assert_eq!(left_out, learned.dropped.len());
        for (row, correlations) in learned.correlation.iter().enumerate() {
            for (column, r) in correlations.iter().enumerate() {
                prop_assert!(row == column || r.abs() <= limit);
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit(table in tables(), settings in settings()) {
        let by = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            // Debug text has every digit of every float and equal text for NaN.
            let learned = pool.install(|| learn(&table, &settings));
            learned.map(|learned| format!("{learned:?}")).map_err(|found| found.to_string())
        };
        prop_assert_eq!(by(1), by(3));
    }

    #[test]
    fn settings_of_these_tests_are_valid(settings in settings()) {
        let settings = TrainSettings { prepare: settings, ..TrainSettings::default() };
        prop_assert_eq!(settings.check(), Ok(()));
    }
}
