//! Ten thousand customers, with ids in ASCII and not, are in the arms that other systems put them into.
//!
//! `tests/golden/assignments.py` asks GrowthBook's own SDK for Python, and works out the others. It needs the Python
//! that `make test` installs.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::DateTime;
use document::Document;
use proffer_experiment::{Forced, Names, PlacementNames, Split, read};
use serde_json::{Value, json};

const IDS: usize = 10_000;

/// Ids as banks have them, and one in two with letters of many alphabets, some beyond 16 bits.
fn ids() -> Vec<String> {
    let scripts = ["é", "ß", "Ω", "Ж", "日本", "한", "ﬁ", "👩🏽", "e\u{301}", "\u{10ffff}"];
    let id = |number: usize| match number % 4 {
        0 => format!("C{number:06}"),
        1 => format!("{number:08x}-4f5e-7c00-9000-{:012x}", number * 7_919),
        2 => format!("{}{number}", scripts[number / 4 % scripts.len()]),
        _ => format!("customer {number} {}", scripts[number / 4 % scripts.len()]),
    };
    (0..IDS).map(id).collect()
}

/// The Python of the test environment, or `None` and a message.
fn python() -> Option<PathBuf> {
    let found = std::env::var_os("PROFFER_TEST_PYTHON").map(PathBuf::from).filter(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: PROFFER_TEST_PYTHON is not set (`make test` sets it)");
    }
    found
}

/// The arms of an experiment read from a policy, as the server has them.
fn arms(
    scheme: &str,
    coverage: f64,
    weights: &[f64],
    group_range: Option<[f64; 2]>,
    ids: &[String],
) -> Vec<Option<usize>> {
    let mut policy =
        format!("[[experiment]]\nid = \"nbo-exp-1\"\nscheme = \"{scheme}\"\ncoverage = {coverage:?}\n");
    let group = |[start, end]: [f64; 2]| format!("group = \"ranking\"\ngroup_range = [{start:?}, {end:?}]\n");
    policy.extend(group_range.map(group));
    let variant =
        |(index, weight)| format!("[[experiment.variant]]\nid = \"v{index}\"\nweight = {weight:?}\n");
    policy.extend(weights.iter().enumerate().map(variant));
    let placements = [PlacementNames { id: "home", models: Vec::new() }];
    let names = Names {
        placements: &placements,
        categories: &[],
        context_weights: &[],
        offers: &[],
        outcomes: &[],
        zone: chrono_tz::UTC,
    };
    let document = Document::parse("policy.toml", &policy).unwrap();
    let no_offers = Document::parse("offers.toml", "").unwrap();
    let experiments = read(&document.root(), &no_offers.root(), &names, |_, _| Some(()));
    let experiments = document.finish(experiments).unwrap_or_else(|problems| panic!("{problems}"));
    let forced = Forced::default();
    let draws = experiments.at(0, DateTime::UNIX_EPOCH, &forced);
    let mut assigned = Vec::new();
    let arm = |id: &String| {
        draws.assign(id, |_, ()| true, &mut assigned);
        assigned.first().map(|arm| arm.variant)
    };
    ids.iter().map(arm).collect()
}

fn case(scheme: &str, coverage: f64, weights: &[f64], group: Option<[f64; 2]>, ids: &[String]) -> Value {
    let arms = arms(scheme, coverage, weights, group, ids);
    let group = group.map(|[start, end]| json!(["ranking", start, end]));
    json!({
        "scheme": scheme, "seed": "nbo-exp-1", "coverage": coverage, "weights": weights, "group": group, "ids": ids,
        "arms": arms,
    })
}

#[test]
fn other_systems_assign_the_same_arms() {
    let Some(python) = python() else { return };
    let ids = ids();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for (scheme, coverage, weights, group) in [
        ("growthbook", 1.0, &[0.5, 0.5][..], None),
        ("growthbook", 0.35, &[0.1, 0.2, 0.7], None),
        ("growthbook", 0.07, &[0.334, 0.333, 0.333], Some([0.25, 0.85])),
        ("growthbook_1", 1.0, &[0.1; 10], None),
        ("growthbook_1", 0.29, &[0.5, 0.5], Some([0.0, 0.3])),
        ("unleash", 1.0, &[0.5, 0.5], None),
        ("unleash", 0.29, &[0.333, 0.333, 0.334], None),
        ("flagd", 1.0, &[0.1, 0.2, 0.7], None),
        ("flagd", 1.0, &[0.333, 0.667], None),
        ("eppo", 1.0, &[0.1, 0.2, 0.7], None),
        ("eppo", 1.0, &[0.5, 0.5], None),
    ] {
        let case = case(scheme, coverage, weights, group, &ids);
        writeln!(file, "{case}").unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/assignments.py");
    let output = Command::new(python).arg("-B").arg(script).arg(file.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let agreed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let twice = 2 * IDS;
    assert_eq!(
        agreed,
        json!({
            "growthbook": 3 * IDS, "growthbook_1": twice, "unleash": twice, "flagd": twice, "eppo": twice,
        }),
    );
}

#[test]
fn the_split_is_what_a_policy_draws() {
    let ids = ids();
    let split = Split::new(proffer_experiment::Scheme::Unleash, "nbo-exp-1", 0.29, &[0.5, 0.5]).unwrap();
    let expected: Vec<Option<usize>> = ids.iter().map(|id| split.variant(id)).collect();
    assert_eq!(arms("unleash", 0.29, &[0.5, 0.5], None, &ids), expected);
}
