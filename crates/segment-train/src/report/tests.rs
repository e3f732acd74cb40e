use proptest::prelude::*;
use report::checks::{self_contained, well_formed};

use super::*;
use crate::train::study::{
    Candidate, Choice, Column, Comparison, FeatureProfile, Gap, Migration, Pictures, PopulationProfile,
    Scatter, SegmentProfile, Source, Stability, SuitableOffer,
};

/// A name that injects a script unless it is escaped.
const HOSTILE: &str = "<b>&\"'</b><script src=\"http://example.com/x.js\">";

fn segment(id: u32, name: &str, features: usize, size: u64) -> SegmentProfile {
    let side = if id.is_multiple_of(2) { 1.0 } else { -1.0 };
    let feature =
        FeatureProfile { mean: 12.5, median: 9.0, z: side * 0.7, lift: Some(1.3), difference: side };
    SegmentProfile {
        id,
        name: name.to_owned(),
        proposed: format!("High thing {id}"),
        description: "Average thing 12.5 (all customers: 9).".into(),
        size,
        share: size as f64 / 100.0,
        silhouette: 0.2,
        jaccard: 0.9,
        features: vec![feature; features],
        distinguishing: (0..features.min(5)).collect(),
        nearest: vec!["row 7".into(), HOSTILE.into()],
        offers: vec![SuitableOffer {
            id: "o".into(),
            name: HOSTILE.into(),
            share: 0.6,
            propensity: Some(0.1),
        }],
    }
}

fn candidate(k: u64) -> Candidate {
    Candidate {
        k,
        inertia: 1_000.0 / k as f64,
        silhouette: 0.2,
        silhouette_error: Some(0.01),
        calinski_harabasz: 40.0,
        davies_bouldin: 1.5,
        gap: Some(Gap { value: 0.3, error: 0.02 }),
        sizes: Vec::new(),
        smallest_share: 0.1,
        stability: Stability { resamples: 20, ari: 0.8, jaccard: vec![0.8; k as usize] },
        stable: k < 5,
    }
}

fn column(name: &str) -> Column {
    Column {
        name: name.to_owned(),
        kind: "number",
        missing: 3,
        distinct: 70,
        distinct_bounded: true,
        range: Some([0.0, 90.0]),
        mean: Some(9.0),
        skewness: Some(1.5),
        impute: Some(8.0),
        winsor: Some([1.0, 80.0]),
        log1p: true,
        left_out: Some(HOSTILE.into()),
        out_of_range: Some(2),
        warning: Some(HOSTILE.into()),
    }
}

/// `k` segments of 100 customers in `width` features whose names are hostile.
fn study(k: u32, width: usize) -> Study {
    let names: Vec<String> = (0..width).map(|feature| format!("{HOSTILE}{feature}")).collect();
    let feature = |name: &String| PopulationProfile {
        name: name.clone(),
        mean: 9.0,
        median: 8.0,
        deviation: 3.0,
        explained: 0.4,
    };
    let points: Vec<[f32; 2]> = (0..k * 4).map(|point| [point as f32, (point * 7 % 5) as f32]).collect();
    let scatter = Scatter { segments: (0..k * 4).map(|point| point % k).collect(), points };
    let ids = 0..k;
    Study {
        source: Source {
            file: HOSTILE.into(),
            rows: 100,
            id_column: Some(HOSTILE.into()),
            seed: 42,
            n_init: 10,
            dimensions: 2,
            variance_kept: Some(0.9),
            inertia: 123.4,
        },
        columns: names.iter().map(|name| column(name)).collect(),
        choice: Choice {
            candidates: (3..=12).map(candidate).collect(),
            knee: Some(5),
            recommended: Some(4),
            chosen: u64::from(k),
            by_hand: true,
            reason: HOSTILE.into(),
        },
        comparisons: vec![Comparison {
            method: HOSTILE.into(),
            settings: HOSTILE.into(),
            rows: 50,
            clusters: 3,
            noise: 0.1,
            ari: None,
            silhouette: Some(0.1),
            note: Some(HOSTILE.into()),
        }],
        segments: ids.map(|id| segment(id, &format!("{HOSTILE} {id}"), width, 100 / u64::from(k))).collect(),
        features: names.iter().map(feature).collect(),
        correlation: vec![vec![0.5; width]; width],
        pictures: Pictures {
            pca: scatter.clone(),
            pca_shares: [0.5, 0.2],
            tsne: scatter,
            silhouettes: vec![vec![0.5, 0.1, -0.2]; k as usize],
        },
        warnings: vec![HOSTILE.into()],
        migration: Some(Migration {
            previous: HOSTILE.into(),
            names: vec![HOSTILE.into(); 2],
            continues: (0..k).map(|id| (id < 2).then_some(id)).collect(),
            matrix: vec![vec![5; k as usize]; 2],
            moved: 0.3,
            limit: 0.2,
        }),
        notes: vec![HOSTILE.into()],
    }
}

#[test]
fn hostile_names_are_shown_and_do_nothing() {
    let html = page::page(&study(4, 3)).unwrap();
    assert_eq!(well_formed(&html), Ok(()));
    assert_eq!(self_contained(&html), Ok(()));
    // Escaped text may hold the words, never the element.
    assert!(!html.contains("<b>&\""));
    assert!(html.contains("&lt;script src=&quot;http://example.com/x.js&quot;&gt;"));
    assert!(html.matches(" href=\"#").count() > 5);
}

#[test]
fn every_segment_and_every_k_is_on_the_page() {
    let mut study = study(4, 3);
    for (id, name) in ["Revolvers", "Transactors", "Cash users", "Dormant"].into_iter().enumerate() {
        study.segments[id].name = name.to_owned();
    }
    let html = page::page(&study).unwrap();
    for segment in &study.segments {
        assert!(html.contains(&segment.name), "{}", segment.name);
    }
    for k in 3..=12 {
        assert!(html.contains(&format!("<td class=\"n\">{k}</td>")), "{k}");
    }
    let since = "Changes since the previous version";
    for heading in ["The segments", since, "Method and limits", "would change segment"] {
        assert!(html.contains(heading), "{heading}");
    }
}

#[test]
fn absent_parts_have_no_section() {
    let mut study = study(1, 1);
    study.migration = None;
    study.comparisons.clear();
    study.choice.candidates.clear();
    study.pictures = Pictures::default();
    let html = page::page(&study).unwrap();
    assert_eq!(well_formed(&html), Ok(()));
    for absent in ["Changes since the previous version", "Other methods", "Customer map", "migration.csv"] {
        assert!(!html.contains(absent), "{absent}");
    }
}

#[test]
fn the_files_are_the_same_every_time_and_read_back() {
    let made = files(&study(3, 2)).unwrap();
    assert_eq!(made, files(&study(3, 2)).unwrap());
    let names: Vec<&str> = made.iter().map(|(name, _)| *name).collect();
    let expected = [
        "report.html",
        "report.json",
        "profiles.csv",
        "choice.csv",
        "columns.csv",
        "correlation.csv",
        "migration.csv",
    ];
    assert_eq!(names, expected);
    let mut profiles = csv::Reader::from_reader(made[2].1.as_slice());
    let rows: Vec<csv::StringRecord> = profiles.records().map(Result::unwrap).collect();
    assert_eq!((rows.len(), &rows[0][4], &rows[0][8]), (6, &*format!("{HOSTILE}0"), "1.3"));
    let json: serde_json::Value = serde_json::from_slice(&made[1].1).unwrap();
    assert_eq!(json["segments"][2]["size"], 33);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_page_is_well_formed_for_every_shape(k in 1..16_u32, width in 1..70_usize) {
        let html = page::page(&study(k, width)).unwrap();
        prop_assert_eq!(well_formed(&html), Ok(()));
        prop_assert!(!html.contains("NaN") && !html.contains("inf\""));
    }
}
