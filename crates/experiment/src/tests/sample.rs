//! A policy with an experiment of each kind.

use chrono_tz::Tz;
use document::{Document, Problems};

use crate::{CategoryNames, Experiments, Names, PlacementNames, read};

/// Three placements, two categories, two context weights, three offers.
pub(crate) const POLICY: &str = r#"
[holdout]
share = 0.02
redraw = "monthly"

[[placement]]
id = "app_home"
exploration = { method = "epsilon", epsilon = 0.05 }

[[placement]]
id = "email"

[[experiment]]
id = "propensity_v7"
placements = ["app_home"]
coverage = 0.2
when = "tenure"
[[experiment.variant]]
id = "champion"
weight = 0.5
[[experiment.variant]]
id = "challenger"
weight = 0.5
models = { propensity = 7 }
listed = ["tester-1"]
[[experiment.step]]
coverage = 0.5
after = "2d"
[[experiment.step]]
coverage = 1.0
after = "7d"

[[experiment]]
id = "weights"
coverage = 1.0
group = "ranking"
group_range = [0.0, 0.5]
[[experiment.variant]]
id = "as_is"
weight = 0.4
[[experiment.variant]]
id = "travel_first"
weight = 0.3
category_weights = { travel = 50 }
context_weights = { season = -20.0 }
[[experiment.variant]]
id = "by_margin"
weight = 0.3
strategy = "margin"
count = 2
exploration = { method = "softmax", temperature = 5.0 }

[[experiment]]
id = "margins"
coverage = 1.0
group = "ranking"
group_range = [0.5, 1.0]
[[experiment.variant]]
id = "by_priority"
weight = 0.5
[[experiment.variant]]
id = "by_margin"
weight = 0.5
strategy = "margin"
listed = ["tester-1"]
"#;

/// The same with the grouped experiments at another placement, so that the first may change what they change.
pub(crate) fn apart() -> String {
    let elsewhere = "coverage = 1.0\nplacements = [\"email\"]\ngroup";
    POLICY.replace("coverage = 1.0\ngroup", elsewhere)
}

/// Offers, one of them new.
pub(crate) const OFFERS: &str = r#"
[[offer]]
id = "cash_back"

[[offer]]
id = "travel_gold"
[offer.prior]
propensity = 0.05
evidence = 200.0
[offer.maturity]
max_share = 0.03
impressions = 5000
"#;

/// Reads both files. A rule is one word, and `broken` does not compile.
pub(crate) fn files(policy: &str, offers: &str) -> Result<Experiments<String>, Problems> {
    let placements = [
        PlacementNames { id: "app_home", models: vec!["propensity", "affinity"] },
        PlacementNames { id: "call_center", models: vec!["affinity"] },
        PlacementNames { id: "email", models: vec!["network"] },
    ];
    read_with(policy, offers, &placements)
}

/// The names of the sample.
pub(crate) fn names<'a>(placements: &'a [PlacementNames<'a>]) -> Names<'a> {
    Names {
        placements,
        categories: &[
            CategoryNames { id: "loans", lowest_offer: -60.0 },
            CategoryNames { id: "travel", lowest_offer: 0.0 },
        ],
        context_weights: &["looks_at_travel", "season"],
        offers: &["cash_back", "travel_fx", "travel_gold"],
        outcomes: &[
            "accept",
            "called_back",
            "click",
            "complaint",
            "convert",
            "dismiss",
            "impression",
            "opt_out",
            "reject",
        ],
        zone: Tz::Europe__Berlin,
    }
}

pub(crate) fn read_with(
    policy: &str,
    offers: &str,
    placements: &[PlacementNames<'_>],
) -> Result<Experiments<String>, Problems> {
    let policy = Document::parse("policy.toml", policy)?;
    let offers = Document::parse("offers.toml", offers)?;
    let found = read(&policy.root(), &offers.root(), &names(placements), |table, key| {
        let source: String = table.optional(key)?;
        if source == "broken" {
            table.problem_at(key, format!("`{key}`: unknown feature"));
            return None;
        }
        Some(source)
    });
    let mut problems = policy.finish(()).err().unwrap_or_default();
    problems.extend(offers.finish(()).err().unwrap_or_default());
    problems.sorted().into_result(found)
}

/// The experiments of a policy that is valid.
pub(crate) fn experiments(policy: &str) -> Experiments<String> {
    files(policy, OFFERS).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A policy with one experiment of two halves, and these lines in it.
pub(crate) fn policy_with(lines: &str) -> String {
    format!(
        "[[experiment]]\nid = \"e\"\n{lines}\n[[experiment.variant]]\nid = \"a\"\nweight = 0.5\n\
         [[experiment.variant]]\nid = \"b\"\nweight = 0.5\n"
    )
}
