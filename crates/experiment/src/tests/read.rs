//! What a file says, and the message of each mistake with its line.

mod keys;
mod metrics;
mod shadows;
mod variants;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::{Strategy, prop, prop_oneof, proptest};

use super::sample::{OFFERS, POLICY, files};
use super::{experiments, policy_with};
use crate::{
    Changes, Exploration, Maturity, Method, ModelVersion, Newcomer, Prior, Redraw, Scheme, State, Step,
    Strategy as SortedBy, built_in, versions,
};

/// The line of `text` that contains `part`, from 1.
fn line_of(text: &str, part: &str) -> usize {
    let at = text.find(part).unwrap_or_else(|| panic!("{part} is not in {text}"));
    text[..at].matches('\n').count() + 1
}

fn problems(policy: &str, offers: &str) -> Vec<String> {
    match files(policy, offers) {
        Ok(_) => panic!("accepted: {policy}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// Replaces `valid` by `broken` in one of the files, and expects exactly these messages on its first line.
fn check(valid: &str, broken: &str, expected: &[&str]) {
    check_in(POLICY, valid, broken, expected);
}

/// The same with another policy.
fn check_in(base: &str, valid: &str, broken: &str, expected: &[&str]) {
    let edit = |text: &str| text.replacen(valid, broken, 1);
    let (file, text, found) = if OFFERS.contains(valid) {
        let offers = edit(OFFERS);
        ("offers.toml", offers.clone(), problems(base, &offers))
    } else {
        let policy = edit(base);
        assert_ne!(policy, base, "{valid}");
        ("policy.toml", policy.clone(), problems(&policy, OFFERS))
    };
    let line = line_of(&text, broken);
    let expected: Vec<String> = expected.iter().map(|message| format!("{file}:{line}: {message}")).collect();
    assert_eq!(found, expected, "{broken}");
}

/// Expects exactly these messages, each beginning with its file and line.
fn check_whole(policy: &str, expected: &[&str]) {
    assert_eq!(problems(policy, OFFERS), expected, "{policy}");
}

/// Expects exactly this message, on the line of `part`.
fn check_at(policy: &str, part: &str, message: &str) {
    check_whole(policy, &[&format!("policy.toml:{}: {message}", line_of(policy, part))]);
}

#[test]
fn the_sample_says_what_it_says() {
    let experiments = experiments(POLICY);
    let ids: Vec<&str> = experiments.all.iter().map(|experiment| experiment.id.as_str()).collect();
    assert_eq!(ids, ["margins", "propensity_v7", "weights"]);
    let holdout = experiments.holdout.unwrap();
    assert_eq!((holdout.share, holdout.redraw), (0.02, Redraw::Monthly));

    let (index, ramped) = experiments.find("propensity_v7").unwrap();
    assert_eq!(index, 1);
    assert_eq!((ramped.state, ramped.scheme, ramped.coverage), (State::Running, Scheme::GrowthBook, 0.2));
    assert_eq!((ramped.seed.as_str(), ramped.placements.as_slice()), ("propensity_v7", &[0][..]));
    assert_eq!(ramped.when.as_ref().map(|when| (&*when.source, &*when.rule)), Some(("tenure", "tenure")));
    assert_eq!(ramped.line, line_of(POLICY, "[[experiment]]"));
    let control = &ramped.variants[0];
    assert_eq!((control.id.as_str(), &control.changes), ("champion", &Changes::default()));
    let model = ModelVersion { name: "propensity".to_owned(), version: 7, line: line_of(POLICY, "models =") };
    assert_eq!(ramped.variants[1].changes.models, [model]);
    assert_eq!(ramped.variants[1].listed, ["tester-1"]);
    assert!(ramped.is_at(0) && !ramped.is_at(1));
    let day = Duration::from_hours(24);
    assert_eq!(
        ramped.steps,
        [Step { coverage: 0.5, after: 2 * day }, Step { coverage: 1.0, after: 7 * day }]
    );
    assert_eq!(ramped.next_step(), Some(ramped.steps[0]));

    let weights = experiments.find("weights").unwrap().1;
    assert!(weights.is_at(0) && weights.is_at(2));
    let group = weights.group.as_ref().unwrap();
    assert_eq!((group.name.as_str(), group.range), ("ranking", [0.0, 0.5]));
    let changes: Vec<&Changes> = weights.variants.iter().map(|variant| &variant.changes).collect();
    let travel = Changes {
        category_weights: vec![(1, 50.0)],
        context_weights: vec![(1, -20.0)],
        ..Changes::default()
    };
    let margin = Changes {
        strategy: Some(SortedBy::Margin),
        count: Some(2),
        exploration: Some(Exploration { method: Method::Softmax { temperature: 5.0 } }),
        ..Changes::default()
    };
    assert_eq!(changes, [&Changes::default(), &travel, &margin]);

    assert_eq!(experiments.exploration_of(0).method, Method::Epsilon { epsilon: 0.05 });
    assert_eq!(experiments.exploration_of(1), Exploration::default());
    let newcomer = Newcomer {
        prior: Some(Prior { propensity: 0.05, evidence: 200.0 }),
        maturity: Some(Maturity { max_share: 0.03, impressions: 5_000 }),
    };
    assert_eq!(experiments.newcomers, [(2, newcomer)]);
}

#[test]
fn files_without_experiments_have_none() {
    let none = files("", "").unwrap();
    assert!(none.all.is_empty() && none.holdout.is_none() && none.newcomers.is_empty());
    assert_eq!(none.metrics, built_in());
    assert_eq!(none.exploration_of(2), Exploration::default());
}

#[test]
fn a_step_is_next_until_its_coverage_is_reached() {
    let next = |coverage: &str| {
        let policy = POLICY.replacen("coverage = 0.2", &format!("coverage = {coverage}"), 1);
        experiments(&policy).find("propensity_v7").unwrap().1.next_step().map(|step| step.coverage)
    };
    assert_eq!(
        ["0.0", "0.49", "0.5", "0.7", "1.0"].map(next),
        [Some(0.5), Some(0.5), Some(1.0), Some(1.0), None]
    );
}

#[test]
fn rules_can_be_compiled_further() {
    let mut experiments = experiments(POLICY);
    for rule in experiments.rules_mut() {
        rule.push_str("_compiled");
    }
    let when = experiments.find("propensity_v7").unwrap().1.when.as_ref().unwrap();
    assert_eq!((when.source.as_str(), when.rule.as_str()), ("tenure", "tenure_compiled"));
}

#[test]
fn a_mistake_in_an_experiment_is_named_with_its_line() {
    let name = "experiment `propensity_v7`";
    check(
        "id = \"propensity_v7\"",
        "id = \"a b\"",
        &[
            "experiment `a b`: `id` must be letters, digits, _ - and ., beginning with a letter or a digit, not \"a b\"",
        ],
    );
    check("id = \"propensity_v7\"", "id = 7", &["[experiment]: `id` must be a string, not the number 7"]);
    let state = "coverage = 0.2\nstate = \"on\"";
    let line = line_of(POLICY, "coverage = 0.2") + 1;
    let policy = POLICY.replacen("coverage = 0.2", state, 1);
    check_whole(
        &policy,
        &[&format!(
            "policy.toml:{line}: {name}: `state` must be one of draft, running, paused, stopped, not \"on\""
        )],
    );
    check(
        "placements = [\"app_home\"]",
        "placements = [\"app_hoem\"]",
        &[&format!("{name}: `placements`: unknown placement `app_hoem`; did you mean `app_home`?")],
    );
    check(
        "placements = [\"app_home\"]",
        "placements = []",
        &[&format!("{name}: `placements` is an empty list; remove it for all placements, or name one")],
    );
    for (coverage, found) in [
        ("1.5", "the number 1.5"),
        ("-0.1", "the number -0.1"),
        ("nan", "the number nan"),
        ("'5 %'", "the string \"5 %\""),
    ] {
        check(
            "coverage = 0.2",
            &format!("coverage = {coverage}"),
            &[&format!("{name}: `coverage` must be a share of 0 to 1, such as 0.05, not {found}")],
        );
    }
}

#[test]
fn a_coverage_is_needed() {
    let line = line_of(POLICY, "[[experiment]]");
    check_whole(
        &POLICY.replacen("coverage = 0.2\n", "", 1),
        &[&format!(
            "policy.toml:{line}: experiment `propensity_v7`: `coverage` is missing; give it a share of 0 to 1, such as \
             0.05"
        )],
    );
}

#[test]
fn a_mistake_in_scheme_seed_or_rule_is_named() {
    let name = "experiment `propensity_v7`";
    let with = |line: &str| format!("when = \"tenure\"\n{line}");
    let line = line_of(POLICY, "when =") + 1;
    let check = |text: &str, message: &str| {
        let policy = POLICY.replacen("when = \"tenure\"", &with(text), 1);
        check_whole(&policy, &[&format!("policy.toml:{line}: {name}: {message}")]);
    };
    check(
        "scheme = \"growthbok\"",
        "`scheme` must be one of growthbook, growthbook_1, unleash, flagd, eppo, not \"growthbok\"; did you mean \
         `growthbook`?",
    );
    check("seed = ''", "`seed` is empty; remove it, and the id is the seed");
    check(
        "seed = 'holdout:2026-11'",
        "`seed` begins with \"holdout:\", which is kept for the holdout: one hash for both skews the arms",
    );
    check(
        "seed = '__ranking'",
        "`seed` begins with \"__\", which is kept for groups: one hash for both skews the arms",
    );
    check("covreage = 1", "unknown key `covreage`; did you mean `coverage`?");
    check("group_range = [0, 0.5]", "`group_range` needs a `group`");
    check(
        "group = 'a b'",
        "`group` must be letters, digits, _ - and ., beginning with a letter or a digit, not \"a b\"",
    );
    check("guardrails = []", "`guardrails` belongs to [experiment.metric]; move it there");
    super::read::check(
        "when = \"tenure\"",
        "when = \"broken\"",
        &[&format!("{name}: `when`: unknown feature")],
    );
    super::read::check(
        "when = \"tenure\"",
        "when = true",
        &[&format!("{name}: `when` must be a string, not true")],
    );
}

#[test]
fn a_group_range_is_a_part_of_the_group() {
    let name = "experiment `weights`";
    for (range, shown) in [
        ("[0.5, 0.5]", "[0.5, 0.5]"),
        ("[0.4, 0.2]", "[0.4, 0.2]"),
        ("[-0.1, 0.5]", "[-0.1, 0.5]"),
        ("[0.0, 1.5]", "[0, 1.5]"),
    ] {
        let expected = format!(
            "{name}: `group_range` must be a start below an end, both 0 to 1, such as [0.0, 0.5], not {shown}"
        );
        check("group_range = [0.0, 0.5]", &format!("group_range = {range}"), &[&expected]);
    }
    check(
        "group_range = [0.0, 0.5]",
        "group_range = 0.5",
        &[&format!("{name}: `group_range` must be two finite numbers, not the number 0.5")],
    );
}

#[test]
fn a_ramp_rises_by_time_alone() {
    let name = "experiment `propensity_v7`";
    let policy = POLICY.replacen("coverage = 0.5", "coverage = 1.0", 1);
    let line = line_of(&policy, "after = \"2d\"") + 2;
    check_whole(
        &policy,
        &[&format!(
            "policy.toml:{line}: {name} [step]: `coverage` must be more than the 1 of the step before, not 1: a ramp \
             only rises"
        )],
    );
    let policy = POLICY.replacen("coverage = 1.0\nafter", "coverage = 0.6\nafter", 1);
    check_at(
        &policy.replacen("coverage = 0.2", "coverage = 0.7", 1),
        "coverage = 0.7",
        &format!("{name}: `coverage` 0.7 is more than the last step's 0.6; remove the steps"),
    );
    check(
        "after = \"2d\"",
        "after = \"30s\"",
        &[&format!(
            "{name} [step]: `after` must be a duration of 1m to 365d, such as \"12h\" or \"7d\", not the string \"30s\""
        )],
    );
    check(
        "after = \"2d\"",
        "after = 2",
        &[&format!(
            "{name} [step]: `after` must be a duration of 1m to 365d, such as \"12h\" or \"7d\", not the number 2"
        )],
    );
    for (key, place) in [("guardrails", "[experiment.metric]"), ("metric", "the [[experiment]]")] {
        check(
            "after = \"2d\"",
            &format!("{key} = [\"opt_out_rate\"]\nafter = \"2d\""),
            &[&format!("{name} [step]: `{key}` belongs to {place}; move it there")],
        );
    }
}

#[test]
fn a_part_of_a_group_that_has_nobody_is_refused() {
    let part = |range: &str| policy_with(&format!("coverage = 1.0\ngroup = \"g\"\ngroup_range = {range}"));
    check_at(
        &part("[0.1001, 0.1002]"),
        "group_range",
        "experiment `e`: `group_range` [0.1001, 0.1002] has nobody: a group is drawn in thousandths, so make it at \
         least 0.001 long",
    );
    experiments(&part("[0.1, 0.101]"));
}

#[test]
fn experiments_that_clash_are_refused() {
    let twin = format!("{}{}", policy_with("coverage = 1.0"), policy_with("coverage = 0.5"));
    check_whole(
        &twin,
        &["policy.toml:11: experiment `e`: `e` is already the id of the experiment in line 1"],
    );
    let other = |lines: &str| policy_with(lines).replace("id = \"e\"", "id = \"f\"");
    let seed = format!("{}{}", policy_with("coverage = 1.0"), other("coverage = 1.0\nseed = \"e\""));
    check_whole(
        &seed,
        &[
            "policy.toml:13: experiment `f`: the seed is that of experiment `e`, so both would draw the same customers; \
           give one another",
        ],
    );
    // Other hashes, or over.
    for lines in ["scheme = \"eppo\"\nseed = \"e\"", "state = \"stopped\"\nseed = \"e\""] {
        experiments(&format!(
            "{}{}",
            policy_with("coverage = 1.0"),
            other(&format!("coverage = 1.0\n{lines}"))
        ));
    }
    let group = format!(
        "{}{}",
        policy_with("coverage = 1.0\ngroup = \"g\""),
        other("coverage = 1.0\ngroup = \"g\"\ngroup_range = [0.3, 0.6]")
    );
    check_whole(
        &group,
        &[
            "policy.toml:15: experiment `f`: group `g`: [0.3, 0.6] overlaps [0, 1] of experiment `e`; give each a \
           `group_range` of its own",
        ],
    );
    let listed = format!(
        "{}listed = [\"C1\"]\n{}listed = [\"C1\"]\n",
        policy_with("coverage = 1.0\ngroup = \"g\"\ngroup_range = [0.0, 0.5]"),
        other("coverage = 1.0\ngroup = \"g\"\ngroup_range = [0.5, 1.0]")
    );
    check_whole(
        &listed,
        &["policy.toml:13: experiment `f`: customer \"C1\" is listed here and in `e`, both of group `g`"],
    );
}

#[test]
fn two_experiments_that_change_the_same_thing_need_a_group() {
    for (change, words) in [
        ("models = { affinity = 2 }", "model `affinity`"),
        ("strategy = \"margin\"", "`strategy`"),
        ("count = 1", "`count`"),
        ("exploration = { method = \"greedy\" }", "`exploration`"),
        ("category_weights = { travel = 1 }", "the weight of category `travel`"),
        ("context_weights = { season = 1 }", "context weight `season`"),
    ] {
        let both = |one: &str, other: &str| {
            let other = policy_with(other).replace("id = \"e\"", "id = \"f\"");
            format!("{}{change}\n{other}{change}\n", policy_with(one))
        };
        let policy = both(
            "coverage = 1.0\nplacements = [\"app_home\", \"call_center\"]",
            "coverage = 1.0\nplacements = [\"call_center\"]",
        );
        let line = policy[..policy.rfind("[[experiment]]").unwrap()].matches('\n').count() + 1;
        check_whole(
            &policy,
            &[&format!(
                "policy.toml:{line}: experiment `f`: changes {words} at placement `call_center`, as does experiment `e`; put \
                 both into one `group`"
            )],
        );
        // At other placements, in one group, or when one is over.
        for (one, other) in [
            ("placements = [\"app_home\"]", "placements = [\"call_center\"]"),
            ("group = \"g\"\ngroup_range = [0.0, 0.5]", "group = \"g\"\ngroup_range = [0.5, 1.0]"),
            ("state = \"stopped\"", ""),
        ] {
            experiments(&both(&format!("coverage = 1.0\n{one}"), &format!("coverage = 1.0\n{other}")));
        }
    }
}

#[test]
fn a_mistake_in_the_holdout_is_named_with_its_line() {
    for share in ["0", "0.00005", "0.6"] {
        let share = format!("share = {share}");
        let shown: f64 = share.split(' ').next_back().unwrap().parse().unwrap();
        check("share = 0.02", &share, &[&format!("[holdout]: `share` must be 0.0001 to 0.5, not {shown}")]);
    }
    check(
        "share = 0.02",
        "share = \"2 %\"",
        &["[holdout]: `share` must be a share of 0 to 1, such as 0.05, not the string \"2 %\""],
    );
    check(
        "redraw = \"monthly\"",
        "redraw = \"weekly\"",
        &["[holdout]: `redraw` must be one of never, monthly, not \"weekly\""],
    );
    check_at(
        &POLICY.replace("redraw = \"monthly\"", "redraw = \"never\"\nsalt = 1"),
        "salt",
        "[holdout]: unknown key `salt`; known here: redraw, share",
    );
    check_at(
        &POLICY.replace("redraw = \"monthly\"", ""),
        "[holdout]",
        "[holdout]: `redraw` is missing; give it one of never, monthly",
    );
}

#[test]
fn a_mistake_in_a_new_offer_is_named_with_its_line() {
    let name = "offer `travel_gold`";
    check(
        "propensity = 0.05",
        "propensity = 5",
        &[&format!("{name} [prior]: `propensity` must be a share of 0 to 1, such as 0.05, not the number 5")],
    );
    for evidence in ["0", "0.5", "2e9"] {
        check(
            "evidence = 200.0",
            &format!("evidence = {evidence}"),
            &[&format!(
                "{name} [prior]: `evidence` must be a number of impressions, 1 to 1e9, not the number {evidence}"
            )],
        );
    }
    for share in ["-1", "0", "1.5"] {
        check(
            "max_share = 0.03",
            &format!("max_share = {share}"),
            &[&format!(
                "{name} [maturity]: `max_share` must be a share above 0 and at most 1, such as 0.05, not the number \
                 {share}"
            )],
        );
    }
    check(
        "impressions = 5000",
        "impressions = 0",
        &[&format!(
            "{name} [maturity]: `impressions` must be a number of impressions, a whole number of at least 1, not the number 0"
        )],
    );
    check(
        "[offer.prior]\npropensity = 0.05\nevidence = 200.0",
        "prior = 1",
        &[&format!("{name}: `prior` must be a table ([prior])")],
    );
}

#[test]
fn what_has_no_effect_at_the_top_is_refused_by_name() {
    for (key, message) in [
        ("metric", "`metric` must be an array of tables ([[metric]])"),
        ("guardrails", "`guardrails` belongs to [experiment.metric]; move it there"),
    ] {
        check_whole(&format!("{key} = 1\n{POLICY}"), &[&format!("policy.toml:1: {message}")]);
    }
}

#[test]
fn too_many_experiments_are_refused() {
    let many: String = (0..101)
        .map(|number| policy_with("coverage = 1.0").replace("id = \"e\"", &format!("id = \"e{number}\"")))
        .collect();
    let found = problems(&many, OFFERS);
    assert_eq!(
        found,
        ["policy.toml:1: 101 experiments; at most 100 are allowed, so remove those that are over"]
    );
}

#[test]
fn all_problems_come_together() {
    let policy = POLICY
        .replace("share = 0.02", "share = 0.9")
        .replacen("coverage = 0.2", "coverage = 2", 1)
        .replace("method = \"epsilon\"", "method = \"greedy\"")
        .replace("propensity = 7", "propensity = 0");
    let offers = OFFERS.replace("evidence = 200.0", "evidence = 0");
    let found = problems(&policy, &offers);
    let lines: Vec<String> = found.iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    let at = |text: &str, file: &str, part: &str| format!("{file}:{}", line_of(text, part));
    let expected = [
        at(&offers, "offers.toml", "evidence"),
        at(&policy, "policy.toml", "share ="),
        at(&policy, "policy.toml", "exploration ="),
        at(&policy, "policy.toml", "coverage = 2"),
        at(&policy, "policy.toml", "models ="),
    ];
    assert_eq!(lines, expected, "{found:?}");
}

/// Text that resembles one of the files.
fn pieces() -> impl Strategy<Value = String> {
    let lines: Vec<&'static str> =
        POLICY.lines().chain(metrics::METRICS.lines()).chain(OFFERS.lines()).collect();
    let piece = prop_oneof![
        4 => prop::sample::select(lines).prop_map(str::to_owned),
        1 => "[a-z_]{1,8} = (-?[0-9]{1,4}|\"[a-z]{0,5}\"|\\[\\]|\\{\\}|true|inf|2026-01-01)",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(policy: Vec<u8>, offers: Vec<u8>) {
        let _ = files(&String::from_utf8_lossy(&policy), &String::from_utf8_lossy(&offers));
    }

    #[test]
    fn no_text_like_the_files_makes_the_reader_panic(policy in pieces(), offers in pieces()) {
        let _ = files(&policy, &offers);
        let _ = files(&policy, OFFERS);
        let _ = files(POLICY, &offers);
    }
}

#[test]
fn versions_are_those_of_the_variants_that_may_decide() {
    let one = |state: &str, models: &str| {
        format!(
            "[[experiment]]\nid = \"e\"\nstate = \"{state}\"\n[[experiment.variant]]\nid = \"a\"\n\
             [[experiment.variant]]\nid = \"b\"\nmodels = {models}\n"
        )
    };
    let policy = [
        one("running", "{ propensity = 7, affinity = 2 }"),
        one("paused", "{ propensity = 7 }"),
        one("stopped", "{ propensity = 8 }"),
        one("draft", "{ propensity = 9, broken = 0 }"),
    ];
    let named = |pairs: &[(&str, u64)]| -> BTreeSet<(String, u64)> {
        pairs.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
    };
    assert_eq!(versions(&policy.concat()), named(&[("affinity", 2), ("propensity", 7), ("propensity", 9)]));
    assert_eq!(versions("[[placement]]\nid = \"here\"\n"), named(&[]));
    assert_eq!(versions("[[experiment"), named(&[]));
}
