//! Files with every key, and what is said of each mistake in each of their lines.

/// A policy with every key, each on a line that is there once.
pub(super) const POLICY: &str = r#"
[holdout]
share = 0.02
redraw = "monthly"

[[placement]]
id = "app_home"
[placement.exploration]
method = "epsilon"
epsilon = 0.05

[[experiment]]
id = "every"
state = "running"
placements = ["app_home"]
coverage = 0.2
scheme = "eppo"
seed = "apples"
when = "tenure"
group = "ranking"
group_range = [0.0, 0.5]
[[experiment.variant]]
id = "control"
weight = 0.4
listed = ["tester-1"]
[[experiment.variant]]
id = "challenger"
weight = 0.6
listed = ["tester-2"]
strategy = "margin"
count = 2
[experiment.variant.models]
propensity = 7
[experiment.variant.category_weights]
loans = 50.0
[experiment.variant.context_weights]
season = -20.0
[experiment.variant.exploration]
method = "softmax"
temperature = 5.0
[[experiment.step]]
coverage = 0.5
after = "2d"
[[experiment.step]]
coverage = 0.8
after = "5d"
[experiment.metric]
primary = "conversion"
secondary = ["engagement"]
alpha = 0.01
planned = 5000
covariate = "14d"
[[experiment.metric.guardrails]]
metric = "slow_share"
tolerate = 0.001
[[experiment.metric.guardrails]]
metric = "opt_out_rate"
tolerate = 0.002

[[metric]]
id = "gold_revenue"
window = "7d"
better = "higher"
[metric.numerator]
outcome = "accept"
sum = "value"
[metric.denominator]
outcome = "impression"
sum = "count"

[[metric]]
id = "annoyed"
per = "customer"
better = "lower"
[metric.numerator]
outcome = "dismiss"
sum = "any"
"#;

/// The same for offers.
pub(super) const OFFERS: &str = r#"
[[offer]]
id = "travel_gold"
[offer.prior]
propensity = 0.05
evidence = 200.0
[offer.maturity]
max_share = 0.03
impressions = 5000
"#;

/// Stands for a line that is missing.
pub(super) const MISSING: &str = "";

/// A line of the files, and the values of each mistake in its place with what is said of it.
pub(super) type Row = (&'static str, &'static [(&'static str, &'static str)]);

/// What tables are called in messages, and their keys.
pub(super) const TABLES: &[(&str, &[Row])] = &[
    (
        "[holdout]",
        &[
            (
                "share = 0.02",
                &[
                    (MISSING, "`share` is missing; give it a share of the customers, such as 0.01"),
                    ("0.00009", "`share` must be 0.0001 to 0.5, not 0.00009"),
                    ("0.51", "`share` must be 0.0001 to 0.5, not 0.51"),
                    ("-0.1", "`share` must be a share of 0 to 1, such as 0.05, not the number -0.1"),
                    ("1.5", "`share` must be a share of 0 to 1, such as 0.05, not the number 1.5"),
                    ("nan", "`share` must be a share of 0 to 1, such as 0.05, not the number nan"),
                ],
            ),
            (
                "redraw = \"monthly\"",
                &[
                    (MISSING, "`redraw` is missing; give it one of never, monthly"),
                    (
                        "\"montly\"",
                        "`redraw` must be one of never, monthly, not \"montly\"; did you mean `monthly`?",
                    ),
                    ("\"yearly\"", "`redraw` must be one of never, monthly, not \"yearly\""),
                ],
            ),
        ],
    ),
    (
        "placement `app_home` [exploration]",
        &[
            (
                "method = \"epsilon\"",
                &[
                    (MISSING, "`method` is missing; give it one of greedy, epsilon, softmax"),
                    (
                        "\"epsilom\"",
                        "`method` must be one of greedy, epsilon, softmax, not \"epsilom\"; did you mean `epsilon`?",
                    ),
                    ("\"thompson\"", "method thompson: not enforced by this version; use softmax"),
                ],
            ),
            (
                "epsilon = 0.05",
                &[
                    (MISSING, "`epsilon` is missing; give it the share of slots that explore, such as 0.05"),
                    ("0.0", "`epsilon` must be more than 0; method greedy does not explore"),
                    ("-0.1", "`epsilon` must be a share of 0 to 1, such as 0.05, not the number -0.1"),
                    ("1.01", "`epsilon` must be a share of 0 to 1, such as 0.05, not the number 1.01"),
                    ("inf", "`epsilon` must be a share of 0 to 1, such as 0.05, not the number inf"),
                ],
            ),
        ],
    ),
    ("[experiment]", &[("id = \"every\"", &[(MISSING, "`id` is missing; give it a string")])]),
    (
        "experiment ``",
        &[(
            "id = \"every\"",
            &[(
                "\"\"",
                "`id` must be letters, digits, _ - and ., beginning with a letter or a digit, not \"\"",
            )],
        )],
    ),
    (
        "experiment `_a`",
        &[(
            "id = \"every\"",
            &[(
                "\"_a\"",
                "`id` must be letters, digits, _ - and ., beginning with a letter or a digit, not \"_a\"",
            )],
        )],
    ),
    (
        "experiment `every`",
        &[
            (
                "state = \"running\"",
                &[(
                    "\"stoped\"",
                    "`state` must be one of draft, running, paused, stopped, not \"stoped\"; did you mean `stopped`?",
                )],
            ),
            (
                "placements = [\"app_home\"]",
                &[
                    ("[]", "`placements` is an empty list; remove it for all placements, or name one"),
                    (
                        "[\"app_home\", \"app_hom\"]",
                        "`placements`: unknown placement `app_hom`; did you mean `app_home`?",
                    ),
                ],
            ),
            (
                "coverage = 0.2",
                &[
                    (MISSING, "`coverage` is missing; give it a share of 0 to 1, such as 0.05"),
                    ("-0.01", "`coverage` must be a share of 0 to 1, such as 0.05, not the number -0.01"),
                    ("1.01", "`coverage` must be a share of 0 to 1, such as 0.05, not the number 1.01"),
                    ("nan", "`coverage` must be a share of 0 to 1, such as 0.05, not the number nan"),
                    ("0.9", "`coverage` 0.9 is more than the last step's 0.8; remove the steps"),
                ],
            ),
            (
                "scheme = \"eppo\"",
                &[(
                    "\"epo\"",
                    "`scheme` must be one of growthbook, growthbook_1, unleash, flagd, eppo, not \"epo\"; did you mean \
                     `eppo`?",
                )],
            ),
            (
                "seed = \"apples\"",
                &[
                    ("\"\"", "`seed` is empty; remove it, and the id is the seed"),
                    (
                        "\"holdout:\"",
                        "`seed` begins with \"holdout:\", which is kept for the holdout: one hash for both skews the \
                         arms",
                    ),
                    (
                        "\"__x\"",
                        "`seed` begins with \"__\", which is kept for groups: one hash for both skews the arms",
                    ),
                ],
            ),
            ("when = \"tenure\"", &[("\"broken\"", "`when`: unknown feature")]),
            (
                "group = \"ranking\"",
                &[(
                    "\"\"",
                    "`group` must be letters, digits, _ - and ., beginning with a letter or a digit, not \"\"",
                )],
            ),
            (
                "group_range = [0.0, 0.5]",
                &[
                    ("[0.5]", "`group_range` must be two finite numbers, not such a list"),
                    ("[0.0, 0.5, 1.0]", "`group_range` must be two finite numbers, not such a list"),
                    ("[0.0, inf]", "`group_range` must be two finite numbers, not such a list"),
                    (
                        "[0.5, 0.0]",
                        "`group_range` must be a start below an end, both 0 to 1, such as [0.0, 0.5], not [0.5, 0]",
                    ),
                    (
                        "[0.5, 1.01]",
                        "`group_range` must be a start below an end, both 0 to 1, such as [0.0, 0.5], not [0.5, 1.01]",
                    ),
                    (
                        "[0.0001, 0.0002]",
                        "`group_range` [0.0001, 0.0002] has nobody: a group is drawn in thousandths, so make it at \
                         least 0.001 long",
                    ),
                ],
            ),
        ],
    ),
    (
        "experiment `every` [variant]",
        &[("id = \"challenger\"", &[(MISSING, "`id` is missing; give it a string")])],
    ),
    (
        "experiment `every` variant ``",
        &[(
            "id = \"challenger\"",
            &[(
                "\"\"",
                "`id` must be letters, digits, _ - and ., beginning with a letter or a digit, not \"\"",
            )],
        )],
    ),
    (
        "experiment `every` variant `a/b`",
        &[(
            "id = \"challenger\"",
            &[(
                "\"a/b\"",
                "`id` must be letters, digits, _ - and ., beginning with a letter or a digit, not \"a/b\"",
            )],
        )],
    ),
    (
        "experiment `every` variant `control`",
        &[
            (
                "weight = 0.4",
                &[
                    (MISSING, "`weight` is missing; give it a share of 0 to 1, such as 0.05"),
                    ("-0.4", "`weight` must be a share of 0 to 1, such as 0.05, not the number -0.4"),
                    ("1.4", "`weight` must be a share of 0 to 1, such as 0.05, not the number 1.4"),
                    ("nan", "`weight` must be a share of 0 to 1, such as 0.05, not the number nan"),
                ],
            ),
            (
                "listed = [\"tester-1\"]",
                &[("[\"\"]", "`listed` has an empty id; remove it: an empty id is in no arm")],
            ),
        ],
    ),
    (
        "experiment `every` variant `challenger`",
        &[
            ("weight = 0.6", &[("0.5", "`weight`: the weights sum to 0.9, and must sum to 1")]),
            (
                "listed = [\"tester-2\"]",
                &[(
                    "[\"tester-1\"]",
                    "`listed`: customer \"tester-1\" is already listed in variant `control`",
                )],
            ),
            (
                "strategy = \"margin\"",
                &[(
                    "\"margins\"",
                    "`strategy` must be one of priority, margin, not \"margins\"; did you mean `margin`?",
                )],
            ),
            (
                "count = 2",
                &[
                    ("0", "`count` must be 1 to 100, not 0"),
                    ("101", "`count` must be 1 to 100, not 101"),
                    ("-1", "`count` must be a whole number of at least 0, not the number -1"),
                    ("1.5", "`count` must be a whole number of at least 0, not the number 1.5"),
                ],
            ),
        ],
    ),
    (
        "experiment `every` variant `challenger` [models]",
        &[(
            "propensity = 7",
            &[
                ("0", "`propensity` must be a version, a whole number of at least 1, not the number 0"),
                ("-1", "`propensity` must be a version, a whole number of at least 1, not the number -1"),
                ("1.5", "`propensity` must be a version, a whole number of at least 1, not the number 1.5"),
            ],
        )],
    ),
    (
        "experiment `every` variant `challenger` [category_weights]",
        &[(
            "loans = 50.0",
            &[
                ("-100", "`loans` must be more than -100 percent, not -100"),
                (
                    "-40",
                    "`loans` -40 plus -60 of an offer of the category is -100; the sum must be more than -100 percent",
                ),
                ("inf", "`loans` must be a finite number, not the number inf"),
            ],
        )],
    ),
    (
        "experiment `every` variant `challenger` [context_weights]",
        &[(
            "season = -20.0",
            &[
                ("-100.0", "`season` must be more than -100 percent, not -100"),
                ("nan", "`season` must be a finite number, not the number nan"),
            ],
        )],
    ),
    (
        "experiment `every` variant `challenger` [exploration]",
        &[
            (
                "method = \"softmax\"",
                &[
                    (MISSING, "`method` is missing; give it one of greedy, epsilon, softmax"),
                    ("\"ucb\"", "`method` must be one of greedy, epsilon, softmax, not \"ucb\""),
                ],
            ),
            (
                "temperature = 5.0",
                &[
                    (
                        MISSING,
                        "`temperature` is missing; give it an amount in the unit of the priority, such as 5.0",
                    ),
                    ("0.0", "`temperature` must be at least 0.000001, not 0"),
                    ("-5.0", "`temperature` must be at least 0.000001, not -5"),
                    ("inf", "`temperature` must be a finite number, not the number inf"),
                ],
            ),
        ],
    ),
    (
        "experiment `every` [step]",
        &[
            (
                "coverage = 0.8",
                &[
                    (MISSING, "`coverage` is missing; give it a share of 0 to 1, such as 0.05"),
                    ("-0.5", "`coverage` must be a share of 0 to 1, such as 0.05, not the number -0.5"),
                    ("1.01", "`coverage` must be a share of 0 to 1, such as 0.05, not the number 1.01"),
                    (
                        "0.50",
                        "`coverage` must be more than the 0.5 of the step before, not 0.5: a ramp only rises",
                    ),
                ],
            ),
            (
                "after = \"5d\"",
                &[
                    (
                        MISSING,
                        "`after` is missing; give it a duration of 1m to 365d, such as \"12h\" or \"7d\"",
                    ),
                    (
                        "\"59s\"",
                        "`after` must be a duration of 1m to 365d, such as \"12h\" or \"7d\", not the string \"59s\"",
                    ),
                    (
                        "\"366d\"",
                        "`after` must be a duration of 1m to 365d, such as \"12h\" or \"7d\", not the string \"366d\"",
                    ),
                    (
                        "\"-1d\"",
                        "`after` must be a duration of 1m to 365d, such as \"12h\" or \"7d\", not the string \"-1d\"",
                    ),
                    (
                        "\"soon\"",
                        "`after` must be a duration of 1m to 365d, such as \"12h\" or \"7d\", not the string \"soon\"",
                    ),
                ],
            ),
        ],
    ),
    (
        "offer `travel_gold` [prior]",
        &[
            (
                "propensity = 0.05",
                &[
                    (MISSING, "`propensity` is missing; give it a share of 0 to 1, such as 0.05"),
                    ("-0.1", "`propensity` must be a share of 0 to 1, such as 0.05, not the number -0.1"),
                    ("1.5", "`propensity` must be a share of 0 to 1, such as 0.05, not the number 1.5"),
                    ("nan", "`propensity` must be a share of 0 to 1, such as 0.05, not the number nan"),
                ],
            ),
            (
                "evidence = 200.0",
                &[
                    (MISSING, "`evidence` is missing; give it a number of impressions, 1 to 1e9"),
                    ("0.9", "`evidence` must be a number of impressions, 1 to 1e9, not the number 0.9"),
                    ("1e10", "`evidence` must be a number of impressions, 1 to 1e9, not the number 1e10"),
                    ("nan", "`evidence` must be a number of impressions, 1 to 1e9, not the number nan"),
                ],
            ),
        ],
    ),
    (
        "offer `travel_gold` [maturity]",
        &[
            (
                "max_share = 0.03",
                &[
                    (MISSING, "`max_share` is missing; give it a share above 0 and at most 1, such as 0.05"),
                    (
                        "0.0",
                        "`max_share` must be a share above 0 and at most 1, such as 0.05, not the number 0.0",
                    ),
                    (
                        "1.1",
                        "`max_share` must be a share above 0 and at most 1, such as 0.05, not the number 1.1",
                    ),
                    (
                        "nan",
                        "`max_share` must be a share above 0 and at most 1, such as 0.05, not the number nan",
                    ),
                ],
            ),
            (
                "impressions = 5000",
                &[
                    (
                        MISSING,
                        "`impressions` is missing; give it a number of impressions, a whole number of at least 1",
                    ),
                    (
                        "0",
                        "`impressions` must be a number of impressions, a whole number of at least 1, not the number 0",
                    ),
                    (
                        "-1",
                        "`impressions` must be a number of impressions, a whole number of at least 1, not the number \
                         -1",
                    ),
                    (
                        "2.5",
                        "`impressions` must be a number of impressions, a whole number of at least 1, not the number \
                         2.5",
                    ),
                ],
            ),
        ],
    ),
];
