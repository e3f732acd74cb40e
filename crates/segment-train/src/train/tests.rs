//! Whole trainings on small tables.

use std::fmt::Write as _;
use std::fs;

use proptest::prelude::*;

use super::progress::Silent;
use super::*;

fn settings(k: usize) -> TrainSettings {
    let mut settings = TrainSettings::default();
    let cluster = &mut settings.cluster;
    (cluster.k, cluster.k_min, cluster.k_max) = (Some(k), k.max(2), k.max(2));
    (cluster.n_init, cluster.resamples) = (4, 2);
    settings
}

fn by_customer(k: usize) -> TrainSettings {
    let mut settings = settings(k);
    settings.read.id = Some("customer_id".into());
    settings
}

fn trained(text: &str, settings: &TrainSettings, before: Option<&Previous>) -> Result<Trained, TrainError> {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("customers.csv");
    fs::write(&input, text).unwrap();
    let table = Table::read(&input, &ReadOptions::from(&settings.read))?;
    train(table, settings, before, Detail::Segments, &Silent)
}

/// Three separated groups of 5, 10 and 20 customers; three of the last have no limit.
fn groups() -> String {
    let mut text = String::from("customer_id,balance,limit\n");
    for customer in 0..35_u32 {
        let (balance, limit) = match customer {
            0..5 => (-40.0, 10.0),
            5..15 => (0.0, 50.0),
            _ => (40.0, 90.0),
        };
        let spread = f64::from(customer * 7 % 5) / 10.0;
        let limit =
            if customer > 15 && customer % 7 == 3 { String::new() } else { (limit + spread).to_string() };
        writeln!(text, "c{customer},{},{limit}", balance + spread).unwrap();
    }
    text
}

#[test]
fn the_largest_segment_has_id_0_and_names_come_from_the_features() {
    let trained = trained(&groups(), &by_customer(3), None).unwrap();
    let sizes: Vec<u64> = trained.segmentation.segments().iter().map(|segment| segment.size).collect();
    assert_eq!(sizes, [20, 10, 5]);
    assert_eq!(trained.segments[..6], [2, 2, 2, 2, 2, 1]);
    let profiles = &trained.study.segments;
    for (id, segment) in trained.segmentation.segments().iter().enumerate() {
        assert_eq!((&segment.name, &segment.name), (&profiles[id].name, &profiles[id].proposed));
    }
    let missing: Vec<u64> = trained.study.columns.iter().map(|column| column.missing).collect();
    assert_eq!(missing, [0, 0, 3]);
    assert_eq!(trained.ids.as_ref().unwrap().get(34), "c34");
    assert_eq!(trained.sample_of(2, 2), [0, 3]);
    assert_eq!(trained.raw(0), [-40.0, 10.0]);
}

#[test]
fn without_a_number_a_stable_one_is_recommended() {
    let mut settings = by_customer(3);
    (settings.cluster.k, settings.cluster.k_min, settings.cluster.k_max) = (None, 2, 5);
    settings.cluster.resamples = 10;
    let trained = trained(&groups(), &settings, None).unwrap();
    let choice = &trained.study.choice;
    assert_eq!((choice.recommended, choice.chosen, choice.by_hand), (Some(3), 3, false));
    assert_eq!(choice.candidates.len(), 4);
}

#[test]
fn names_are_given_by_id_and_must_fit() {
    let named = |names: &[(u32, &str)]| {
        let mut settings = by_customer(3);
        settings.names = names.iter().map(|(id, name)| (*id, (*name).to_owned())).collect();
        trained(&groups(), &settings, None)
    };
    let some = named(&[(0, "large"), (2, "small")]).unwrap();
    assert_eq!((some.segmentation.name(0), some.segmentation.name(2)), (Some("large"), Some("small")));
    assert_eq!(some.study.segments[2].name, "small");
    for names in [&[(3, "x")][..], &[(0, "a"), (1, "a")], &[(0, " ")]] {
        let error = named(names).unwrap_err().to_string();
        assert!(error.contains("name"), "{error}");
    }
}

#[test]
fn the_same_file_and_seed_give_the_same_bytes_for_every_number_of_threads() {
    let bytes = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let settings = by_customer(4);
            let directory = tempfile::tempdir().unwrap();
            let input = directory.path().join("customers.csv");
            fs::write(&input, groups()).unwrap();
            let table = Table::read(&input, &ReadOptions::from(&settings.read)).unwrap();
            let trained = train(table, &settings, None, Detail::Report, &Silent).unwrap();
            let study = serde_json::to_string(&trained.study).unwrap();
            (trained.segmentation.to_json().unwrap(), trained.segmentation.golden_csv(), study)
        })
    };
    let one = bytes(1);
    assert_eq!(one, bytes(1));
    assert_eq!(one, bytes(3));
}

#[test]
fn a_single_segment_has_all_customers_and_the_whole_variance() {
    let trained = trained(&groups(), &by_customer(1), None).unwrap();
    assert_eq!(trained.segmentation.segments()[0].size, 35);
    // Two standardised features: a variance of 1 each, over 35 rows.
    assert!((trained.segmentation.inertia() - 70.0).abs() < 1e-6, "{}", trained.segmentation.inertia());
}

#[test]
fn as_many_segments_as_distinct_rows_have_no_inertia() {
    let text = "balance\n1\n2\n2\n30\n";
    let three = trained(text, &settings(3), None).unwrap();
    assert!(three.segmentation.inertia() < 1e-6);
    assert_eq!(three.segments[1], three.segments[2]);
    let error = trained(text, &settings(4), None).unwrap_err().to_string();
    assert!(
        error.ends_with("customers.csv: cannot form 4 segments (k) from 3 distinct rows; request at most 3"),
        "{error}"
    );
}

#[test]
fn assignments_are_by_id_or_by_row() {
    let text = |trained: Trained| String::from_utf8(trained.assignments_csv()).unwrap();
    let by_id = text(trained(&groups(), &by_customer(3), None).unwrap());
    assert!(by_id.starts_with("id,segment\nc0,2\nc1,2\n"), "{by_id}");
    assert_eq!(by_id.lines().count(), 36);
    let by_row = text(trained("balance\n1\n2\n9\n", &settings(2), None).unwrap());
    assert_eq!(by_row, "id,segment\n1,0\n2,0\n3,1\n");
}

#[test]
fn retrained_segments_keep_ids_and_names_and_too_many_moves_are_refused() {
    let mut first = by_customer(3);
    first.names =
        [(0, "large"), (1, "middling"), (2, "small")].map(|(id, name)| (id, name.to_owned())).into();
    let before = trained(&groups(), &first, None).unwrap();
    let before = Previous { name: "segments/1".into(), segmentation: before.segmentation };
    // The smallest group has grown to be the largest.
    let mut grown = groups();
    for customer in 0..40 {
        writeln!(
            grown,
            "d{customer},{},{}",
            -40.0 + f64::from(customer % 5) / 10.0,
            10.0 + f64::from(customer % 3) / 10.0
        )
        .unwrap();
    }
    let again = trained(&grown, &by_customer(3), Some(&before)).unwrap();
    let named: Vec<(&str, u64)> =
        again.segmentation.segments().iter().map(|segment| (segment.name.as_str(), segment.size)).collect();
    // The three without a limit are imputed with another median now, and move.
    assert_eq!(named, [("large", 17), ("middling", 13), ("small", 45)]);
    let migration = again.study.migration.as_ref().unwrap();
    assert_eq!((migration.customers_moved(), again.refusal.is_none()), (3, true));

    // One segment merges three previous ones.
    let merged = trained(&groups(), &by_customer(1), Some(&before)).unwrap();
    let refusal = merged.refusal.unwrap().to_string();
    assert!(
        refusal.contains("customers") && refusal.ends_with("pass --force to write the segments anyway"),
        "{refusal}"
    );
}

#[test]
fn golden_rows_name_the_segments_of_the_centroids() {
    let trained = trained(&groups(), &by_customer(3), None).unwrap();
    let text = trained.segmentation.golden_csv();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines.len()), ("balance,limit,expected", 5));
    for (line, id) in lines[1..4].iter().zip(["0", "1", "2"]) {
        assert_eq!(line.rsplit_once(',').unwrap().1, id);
    }
    assert!(lines[4].starts_with(",,"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_row_keeps_its_segment_through_the_artefact(
        rows in prop::collection::vec(prop::array::uniform3(prop::option::weighted(0.9, 0.0..1e4_f64)), 6..40),
        k in 1..4_usize,
    ) {
        let mut text = String::from("a,b,c\n");
        for row in &rows {
            let fields = row.map(|value| value.map_or_else(String::new, |value| value.to_string()));
            writeln!(text, "{}", fields.join(",")).unwrap();
        }
        // Other tests cover unusable columns.
        let Ok(trained) = trained(&text, &settings(k), None) else { return Ok(()) };
        let json = trained.segmentation.to_json().unwrap();
        let served = Segmentation::parse("segments.json", json.as_bytes()).unwrap();
        let values = rows.iter().flatten();
        let raw: Vec<f32> = values.map(|value| value.map_or(f32::NAN, |value| value as f32)).collect();
        let assigned: Vec<u32> = served.assign_rows(&raw).iter().map(|assignment| assignment.id).collect();
        prop_assert_eq!(assigned, trained.segments);
    }
}
