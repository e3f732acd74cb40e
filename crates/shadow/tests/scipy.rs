//! The statistics of the report are those of SciPy: `tests/golden/shadow_statistics.py` computes them from the same
//! comparisons in the form of an export. Skipped without the Python of the test environment.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use event::proto::{RecordedModel, ShadowOffer, ShadowRecord};
use proffer_shadow::{Names, Tally, read};
use serde_json::{Value, json};

const RECORDS: u64 = 3_000;

/// What quantiles of a sketch may be off, relative and near 0.
const OFF: [f64; 2] = [1.0 / 128.0, 1.0 / (1_u64 << 30) as f64];

/// The Python of the test environment, or `None` and a message.
fn python() -> Option<PathBuf> {
    let found = std::env::var_os("PROFFER_TEST_PYTHON").map(PathBuf::from).filter(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: PROFFER_TEST_PYTHON is not set (`make test` sets it)");
    }
    found
}

/// A number of 0..1 for each position, without a pattern.
fn share(at: u64) -> f64 {
    let mut x = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Gives a side its ranks by descending priority, and returns the ids of the best.
fn rank(
    offers: &mut [ShadowOffer],
    is_ranked: impl Fn(usize) -> bool,
    side: fn(&mut ShadowOffer) -> (&mut f64, &mut f64, &mut u32),
) -> Vec<String> {
    let mut order: Vec<(f64, usize)> = Vec::new();
    for (at, offer) in offers.iter_mut().enumerate() {
        let (score, priority, _) = side(offer);
        if is_ranked(at) {
            order.push((-*priority, at));
        } else {
            (*score, *priority) = (0.0, 0.0);
        }
    }
    order.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    for (place, (_, at)) in (1..).zip(&order) {
        *side(&mut offers[*at]).2 = place;
    }
    order.iter().take(3).map(|(_, at)| offers[*at].offer_id.clone()).collect()
}

/// Comparisons of two shadows with ties, with offers that one side did not rank, fallbacks, failures, and decisions
/// without anything.
fn record(at: u64) -> ShadowRecord {
    let count = if at % 97 == 96 { 0 } else { 1 + at % 14 };
    let mut offers: Vec<ShadowOffer> = (0..count)
        .map(|offer| {
            // Coarse scores and few values make ties.
            let score = (0.3 * share(53 * at + offer) * 64.0).round() / 64.0;
            let shadow_score = (score * (0.7 + 0.6 * share(59 * at + offer + 99_000_000))).min(1.0);
            let value = 10.0 * (1 + offer % 3) as f64;
            ShadowOffer {
                offer_id: format!("offer_{offer}"),
                champion_score: score,
                champion_priority: score * value,
                shadow_score,
                shadow_priority: shadow_score * value,
                value,
                ..ShadowOffer::default()
            }
        })
        .collect();
    let mut champion_shown = rank(
        &mut offers,
        |offer| !(at + offer as u64).is_multiple_of(11),
        |offer| (&mut offer.champion_score, &mut offer.champion_priority, &mut offer.champion_rank),
    );
    let mut shadow_shown = rank(
        &mut offers,
        |offer| !(at + offer as u64).is_multiple_of(7),
        |offer| (&mut offer.shadow_score, &mut offer.shadow_priority, &mut offer.shadow_rank),
    );
    offers.retain(|offer| offer.champion_rank > 0 || offer.shadow_rank > 0);
    if at % 41 == 3 {
        champion_shown = vec!["fallback".to_owned()];
        shadow_shown.push("fallback".to_owned());
    }
    let failed = at % 29 == 5;
    if failed {
        offers.clear();
        champion_shown.clear();
        shadow_shown.clear();
    }
    let withheld = |part: u64| if at % part == 1 { vec!["offer_99".to_owned()] } else { Vec::new() };
    ShadowRecord {
        format: 1,
        compared_at: 1_796_000_000_500_000 + at as i64,
        decided_at: 1_796_000_000_000_000 + at as i64,
        server: "s".to_owned(),
        release: 7,
        decision_id: format!("{:016x}", (share(at) * 1e18) as u64),
        placement: ["app_home", "call_center", "e_mail"][(at % 3) as usize].to_owned(),
        shadow: if at.is_multiple_of(4) { "propensity_v9" } else { "propensity_v8" }.to_owned(),
        segment: (!at.is_multiple_of(6)).then_some((at % 6) as i64),
        shadow_models: vec![RecordedModel { name: "propensity".to_owned(), version: 8 }],
        offers,
        champion_shown,
        shadow_shown,
        withheld_by_champion_only: withheld(37),
        withheld_by_shadow_only: withheld(43),
        champion_us: (20.0 / (0.05 + share(at + 1_000_000))) as u32,
        shadow_us: (30.0 / (0.05 + share(at + 2_000_000))) as u32,
        error: if failed { format!("the model failed: {}", at % 2) } else { String::new() },
        ..ShadowRecord::default()
    }
}

/// The line of an export (docs/reference/records.md), with the columns that statistics need.
fn line(record: &ShadowRecord) -> Value {
    let each = |column: fn(&ShadowOffer) -> Value| record.offers.iter().map(column).collect::<Vec<_>>();
    json!({
        "shadow": record.shadow,
        "decision_id": record.decision_id,
        "placement": record.placement,
        "segment_id": record.segment,
        "offer_ids": each(|offer| json!(offer.offer_id)),
        "champion_scores": each(|offer| json!(offer.champion_score)),
        "champion_priorities": each(|offer| json!(offer.champion_priority)),
        "champion_ranks": each(|offer| json!(offer.champion_rank)),
        "shadow_scores": each(|offer| json!(offer.shadow_score)),
        "shadow_priorities": each(|offer| json!(offer.shadow_priority)),
        "shadow_ranks": each(|offer| json!(offer.shadow_rank)),
        "values": each(|offer| json!(offer.value)),
        "champion_shown": record.champion_shown,
        "shadow_shown": record.shadow_shown,
        "withheld_by_champion_only": record.withheld_by_champion_only,
        "withheld_by_shadow_only": record.withheld_by_shadow_only,
        "champion_us": record.champion_us,
        "shadow_us": record.shadow_us,
        "error": record.error,
    })
}

/// Compares a number with that of SciPy, as near as the report says.
fn near(path: &str, found: f64, expected: f64) {
    let is_counted = ["/p1/", "/p50/", "/p99/"].iter().any(|quantile| path.contains(quantile));
    let allowed = if is_counted { (OFF[0] * expected.abs()).max(OFF[1]) } else { 0.0 };
    assert!(
        (found - expected).abs() <= allowed + 1e-10 * expected.abs().max(0.1),
        "{path}: {found} is not {expected}"
    );
}

/// Checks everything that the script computed; returns how many numbers that were.
fn check(path: &str, found: &Value, expected: &Value) -> u64 {
    match expected {
        Value::Object(map) => map
            .iter()
            .map(|(name, expected)| check_member(&format!("{path}/{name}"), found, name, expected))
            .sum(),
        Value::Array(list) => {
            assert_eq!(found.as_array().map(Vec::len), Some(list.len()), "{path}");
            let found = found.as_array().unwrap();
            let each = found.iter().zip(list).enumerate();
            each.map(|(at, (found, expected))| check(&format!("{path}/{at}"), found, expected)).sum()
        }
        Value::Number(number) => {
            assert!(found.is_number(), "{path}: {found} is not {expected}");
            near(path, found.as_f64().unwrap(), number.as_f64().unwrap());
            1
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {
            assert_eq!(found, expected, "{path}");
            0
        }
    }
}

fn check_member(path: &str, found: &Value, name: &str, expected: &Value) -> u64 {
    let number = |name: &str| found[name].as_f64().unwrap();
    match (name, expected) {
        ("ks", _) => {
            let exact = expected.as_f64().unwrap();
            assert!(
                number("ks") <= exact + 1e-12 && exact <= number("ks_at_most") + 1e-12,
                "{path}: {found}"
            );
            assert!(number("ks_at_most") - number("ks") < 0.05, "{path}: {found}");
            1
        }
        // A smaller distance is more likely.
        ("ks_p_value", _) => {
            assert!(number("ks_p_value") >= expected.as_f64().unwrap() - 1e-12, "{path}: {found}");
            1
        }
        ("errors", Value::Object(errors)) => {
            let listed = found["errors"].as_array().unwrap();
            assert_eq!(listed.len(), errors.len(), "{path}");
            for error in listed {
                assert_eq!(error["decisions"], errors[error["reason"].as_str().unwrap()], "{path}");
            }
            listed.len() as u64
        }
        _ => check(path, &found[name], expected),
    }
}

#[test]
fn statistics_are_those_of_scipy() {
    let Some(python) = python() else { return };
    let (mut tally, mut lines) = (Tally::default(), String::new());
    for record in (0..RECORDS).map(record) {
        writeln!(lines, "{}", line(&record)).unwrap();
        tally.add(&read(record).unwrap().unwrap());
    }
    let directory = tempfile::tempdir().unwrap();
    let export = directory.path().join("shadows.jsonl");
    std::fs::write(&export, lines).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/shadow_statistics.py");
    let run = Command::new(python).arg("-B").arg(script).arg(export).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let expected: Value = serde_json::from_slice(&run.stdout).unwrap();
    let found = serde_json::to_value(tally.report(&Names::default())).unwrap();
    let numbers = check("", &found, &expected);
    assert!(numbers > 1_000, "only {numbers} numbers were compared");
}
