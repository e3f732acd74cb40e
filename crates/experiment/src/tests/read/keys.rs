//! Every key with each of its mistakes: what is said of it, and on which line.

mod metrics;
mod rows;

use std::collections::BTreeSet;

use self::rows::{MISSING, OFFERS, POLICY, Row, TABLES};
use super::super::experiments;
use super::super::sample::files;
use super::problems;

/// The lines of the files that have a key of this reader.
fn lines() -> Vec<&'static str> {
    let of_others = ["id = \"app_home\"", "id = \"travel_gold\""];
    let lines = POLICY.lines().chain(OFFERS.lines());
    lines.filter(|line| line.contains(" = ") && !of_others.contains(line)).collect()
}

/// What tables are called in messages, and the mistakes of their keys.
fn tables() -> impl Iterator<Item = (&'static str, &'static [Row])> {
    TABLES.iter().chain(metrics::TABLES).copied()
}

fn key(line: &str) -> &str {
    line.split(" = ").next().unwrap()
}

/// What is said when a line has another value or is missing. The first text is the file with the number of the line
/// that is to blame: that of the table, if its key is missing.
fn broken(line: &str, value: &str) -> (String, Vec<String>) {
    let (is_offer, text) =
        if OFFERS.lines().any(|one| one == line) { (true, OFFERS) } else { (false, POLICY) };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut at = lines.iter().position(|one| one == line).unwrap_or_else(|| panic!("no line {line}"));
    if value == MISSING {
        lines.remove(at);
        at = (0..at).rfind(|before| lines[*before].starts_with('[')).unwrap();
    } else {
        lines[at] = format!("{} = {value}", key(line));
    }
    let text = lines.join("\n");
    let (file, found) = if is_offer {
        ("offers.toml", problems(POLICY, &text))
    } else {
        ("policy.toml", problems(&text, OFFERS))
    };
    (format!("{file}:{}: ", at + 1), found)
}

#[test]
fn each_mistake_of_each_key_is_named_with_its_line() {
    for (table, rows) in tables() {
        for (line, mistakes) in rows {
            for (value, message) in *mistakes {
                let (place, found) = broken(line, value);
                assert_eq!(found, [format!("{place}{table}: {message}")], "{line} → {value}");
            }
        }
    }
}

#[test]
fn every_key_has_its_mistakes() {
    files(POLICY, OFFERS).unwrap();
    let tested: BTreeSet<&str> = tables().flat_map(|(_, rows)| rows).map(|(line, _)| key(line)).collect();
    assert_eq!(tested, lines().into_iter().map(key).collect::<BTreeSet<_>>());
    // The files have all keys that the reader knows.
    for (head, known) in [
        ("[holdout]\n", "redraw, share"),
        ("[placement.exploration]\n", "epsilon, method, temperature"),
        (
            "[[experiment]]\n",
            "coverage, group, group_range, guardrails, id, metric, placements, scheme, seed, state, step, \
             variant, when",
        ),
        (
            "[[experiment.variant]]\n",
            "category_weights, context_weights, count, exploration, id, listed, models, strategy, weight",
        ),
        ("[[experiment.step]]\n", "after, coverage, guardrails, metric"),
        ("[experiment.metric]\n", "alpha, covariate, guardrails, planned, primary, secondary"),
        ("[[experiment.metric.guardrails]]\n", "metric, tolerate"),
        ("[[metric]]\n", "better, denominator, id, numerator, per, window"),
        ("[metric.numerator]\n", "outcome, sum"),
        ("[metric.denominator]\n", "outcome, sum"),
    ] {
        let found = problems(&POLICY.replacen(head, &format!("{head}qqqqqq = 1\n"), 1), OFFERS);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with(&format!("unknown key `qqqqqq`; known here: {known}")), "{found:?}");
        let keys: BTreeSet<&str> = known.split(", ").collect();
        let of_other_tables = ["guardrails", "metric", "step", "variant"];
        let tables =
            ["category_weights", "context_weights", "denominator", "exploration", "models", "numerator"];
        for key in keys.iter().filter(|key| !of_other_tables.contains(key) && !tables.contains(key)) {
            assert!(tested.contains(key), "{head}{key}");
        }
    }
    for (head, known) in
        [("[offer.prior]\n", "evidence, propensity"), ("[offer.maturity]\n", "impressions, max_share")]
    {
        let found = problems(POLICY, &OFFERS.replacen(head, &format!("{head}qqqqqq = 1\n"), 1));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with(&format!("unknown key `qqqqqq`; known here: {known}")), "{found:?}");
        assert!(known.split(", ").all(|key| tested.contains(key)), "{known}");
    }
}

#[test]
fn no_key_takes_a_value_of_another_type() {
    let values = ["\"text\"", "7", "7.5", "true", "2026-11-30", "[true]", "{ a = 1 }"];
    for line in lines() {
        let valid = &line[key(line).len() + 3..];
        for value in values {
            let is_same = match &valid[..1] {
                "\"" => value.starts_with('"'),
                "[" => false,
                _ => value.starts_with('7'),
            };
            if is_same {
                continue;
            }
            let (place, found) = broken(line, value);
            // One message, on the line, which names the key: nothing follows from it.
            let [message] = &found[..] else { panic!("{line} → {value}: {found:?}") };
            let says = format!("`{}` must be ", key(line));
            assert!(message.starts_with(&place) && message.contains(&says), "{line} → {value}: {message}");
        }
    }
}

/// How many accepted.
const SUM: &str = "numerator = { outcome = \"accept\", sum = \"count\" }\n";

#[test]
fn a_table_that_is_none_is_refused() {
    let no_array = |key: &str| format!("`{key}` must be an array of tables ([[{key}]])");
    let no_table = |key: &str| format!("`{key}` must be a table ([{key}])");
    let policy = |text: &str| problems(text, "");
    for value in ["1", "\"x\"", "{ id = \"e\" }", "[1]"] {
        let found = policy(&format!("experiment = {value}\n"));
        assert_eq!(found, [format!("policy.toml:1: {}", no_array("experiment"))], "{value}");
    }
    for value in ["1", "{ id = \"m\" }"] {
        let found = policy(&format!("metric = {value}\n"));
        assert_eq!(found, [format!("policy.toml:1: {}", no_array("metric"))], "{value}");
    }
    for key in ["numerator", "denominator"] {
        let per = if key == "numerator" { "per = \"customer\"\n" } else { SUM };
        let found =
            policy(&format!("[[metric]]\nid = \"m\"\nbetter = \"higher\"\n{per}{key} = \"accept\"\n"));
        assert_eq!(found, [format!("policy.toml:5: metric `m`: {}", no_table(key))]);
    }
    let (before, _) = POLICY.split_once("[experiment.metric]").unwrap();
    let text = before.replacen("coverage = 0.2\n", "coverage = 0.2\nmetric = \"conversion\"\n", 1);
    let line = text.lines().position(|line| line == "metric = \"conversion\"").unwrap() + 1;
    assert_eq!(policy(&text), [format!("policy.toml:{line}: experiment `every`: {}", no_table("metric"))]);
    let (before, _) = POLICY.split_once("[[experiment.metric.guardrails]]").unwrap();
    let text = format!("{before}guardrails = [\"opt_out_rate\"]\n");
    let line = text.lines().count();
    let expected = format!("policy.toml:{line}: experiment `every` [metric]: {}", no_array("guardrails"));
    assert_eq!(policy(&text), [expected]);
    for value in ["1", "[]", "\"monthly\""] {
        let found = policy(&format!("holdout = {value}\n"));
        assert_eq!(found, [format!("policy.toml:1: {}", no_table("holdout"))], "{value}");
    }
    let found = policy("[[experiment]]\nid = \"e\"\ncoverage = 1.0\nvariant = 1\n");
    let few = "experiment `e`: 0 variants; an experiment needs 2 to 20 [[experiment.variant]], of which the first is \
               the control";
    let expected =
        [format!("policy.toml:1: {few}"), format!("policy.toml:4: experiment `e`: {}", no_array("variant"))];
    assert_eq!(found, expected);
    let steps = POLICY.replacen("coverage = 0.2\n", "coverage = 0.2\nstep = 1\n", 1);
    let steps = steps.split("[[experiment.step]]").next().unwrap();
    let line = steps.lines().position(|line| line == "step = 1").unwrap() + 1;
    assert_eq!(policy(steps), [format!("policy.toml:{line}: experiment `every`: {}", no_array("step"))]);
    for key in ["models", "category_weights", "context_weights", "exploration"] {
        let head = format!("[experiment.variant.{key}]");
        let (before, after) = POLICY.split_once(&head).unwrap();
        // Up to the next table.
        let after = &after[after.find("\n[").unwrap()..];
        let text = format!("{before}{after}").replacen("count = 2\n", &format!("count = 2\n{key} = 1\n"), 1);
        let line = text.lines().position(|line| *line == format!("{key} = 1")).unwrap() + 1;
        let expected =
            format!("policy.toml:{line}: experiment `every` variant `challenger`: {}", no_table(key));
        assert_eq!(policy(&text), [expected]);
    }
    for key in ["prior", "maturity"] {
        let found = problems("", &format!("[[offer]]\nid = \"travel_gold\"\n{key} = 1\n"));
        assert_eq!(found, [format!("offers.toml:3: offer `travel_gold`: {}", no_table(key))]);
    }
    let found = policy("[[placement]]\nid = \"app_home\"\nexploration = \"epsilon\"\n");
    assert_eq!(found, [format!("policy.toml:3: placement `app_home`: {}", no_table("exploration"))]);
}

#[test]
fn coverage_may_be_all_or_nothing_and_numbers_may_be_whole() {
    for (valid, other) in [
        ("coverage = 0.2", "coverage = 0"),
        ("group_range = [0.0, 0.5]", "group_range = [0, 1]"),
        ("after = \"5d\"", "after = \"365d\""),
        ("after = \"2d\"", "after = \"1m\""),
        ("coverage = 0.8", "coverage = 1"),
        ("epsilon = 0.05", "epsilon = 1"),
        ("temperature = 5.0", "temperature = 0.000001"),
        ("count = 2", "count = 100"),
        ("share = 0.02", "share = 0.0001"),
        ("alpha = 0.01", "alpha = 0.2"),
        ("alpha = 0.01", "alpha = 0.001"),
        ("planned = 5000", "planned = 100"),
        ("planned = 5000", "planned = 1_000_000_000"),
        ("covariate = \"14d\"", "covariate = \"0d\""),
        ("covariate = \"14d\"", "covariate = \"365d\""),
        ("tolerate = 0.002", "tolerate = 0"),
        ("window = \"7d\"", "window = \"1m\""),
    ] {
        let policy = POLICY.replacen(valid, other, 1);
        assert_ne!(policy, POLICY, "{valid}");
        experiments(&policy);
    }
}
