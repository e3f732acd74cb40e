//! What is said of each mistake in the keys of metrics.

use super::rows::{MISSING, Row};

/// As [`super::rows::TABLES`].
pub(super) const TABLES: &[(&str, &[Row])] = &[
    (
        "experiment `every` [metric]",
        &[
            (
                "primary = \"conversion\"",
                &[
                    (MISSING, "`primary` is missing; give it a metric, such as \"conversion\""),
                    (
                        "\"convertion\"",
                        "`primary`: unknown metric `convertion`, not built in and no [[metric]]; did you mean `conversion`?",
                    ),
                    (
                        "\"\"",
                        "`primary`: unknown metric ``, not built in and no [[metric]]; known: acceptance, annoyed, \
                         complaint_rate, conversion, coverage, diversity, engagement, gold_revenue, \
                         margin_per_customer, margin_per_decision, opt_out_rate, relevance, retention, \
                         revenue_per_customer, revenue_per_decision, slow_share, value_per_customer, value_per_decision",
                    ),
                ],
            ),
            (
                "secondary = [\"engagement\"]",
                &[
                    (
                        "[\"retention\", \"divercity\"]",
                        "`secondary`: unknown metric `divercity`, not built in and no [[metric]]; did you mean `diversity`?",
                    ),
                    (
                        "[\"conversion\"]",
                        "`secondary`: `conversion` is the primary metric already; remove it here",
                    ),
                    (
                        "[\"slow_share\", \"retention\"]",
                        "`secondary`: `slow_share` is a guardrail already; remove it here",
                    ),
                ],
            ),
            (
                "alpha = 0.01",
                &[
                    (
                        "0.0009",
                        "`alpha` must be a share of 0.001 to 0.2, such as 0.05, not the number 0.0009",
                    ),
                    ("0.21", "`alpha` must be a share of 0.001 to 0.2, such as 0.05, not the number 0.21"),
                    ("5", "`alpha` must be a share of 0.001 to 0.2, such as 0.05, not the number 5"),
                    ("nan", "`alpha` must be a share of 0.001 to 0.2, such as 0.05, not the number nan"),
                ],
            ),
            (
                "planned = 5000",
                &[
                    (
                        "99",
                        "`planned` must be a number of customers, a whole number of 100 to 1000000000, not the number 99",
                    ),
                    (
                        "1000000001",
                        "`planned` must be a number of customers, a whole number of 100 to 1000000000, not the number \
                         1000000001",
                    ),
                    (
                        "-5000",
                        "`planned` must be a number of customers, a whole number of 100 to 1000000000, not the number \
                         -5000",
                    ),
                    (
                        "5e3",
                        "`planned` must be a number of customers, a whole number of 100 to 1000000000, not the number \
                         5e3",
                    ),
                ],
            ),
            (
                "covariate = \"14d\"",
                &[
                    (
                        "\"366d\"",
                        "`covariate` must be a duration of 0d to 365d, such as \"28d\", not the string \"366d\"",
                    ),
                    (
                        "\"-1d\"",
                        "`covariate` must be a duration of 0d to 365d, such as \"28d\", not the string \"-1d\"",
                    ),
                    (
                        "\"none\"",
                        "`covariate` must be a duration of 0d to 365d, such as \"28d\", not the string \"none\"",
                    ),
                ],
            ),
        ],
    ),
    (
        "experiment `every` [metric] [guardrails]",
        &[
            (
                "metric = \"opt_out_rate\"",
                &[
                    (MISSING, "`metric` is missing; give it a metric, such as \"conversion\""),
                    (
                        "\"opt_out\"",
                        "`metric`: unknown metric `opt_out`, not built in and no [[metric]]; known: acceptance, annoyed, \
                         complaint_rate, conversion, coverage, diversity, engagement, gold_revenue, \
                         margin_per_customer, margin_per_decision, opt_out_rate, relevance, retention, \
                         revenue_per_customer, revenue_per_decision, slow_share, value_per_customer, value_per_decision",
                    ),
                    ("\"slow_share\"", "`metric`: `slow_share` is a guardrail already; keep one of them"),
                ],
            ),
            (
                "tolerate = 0.002",
                &[
                    (
                        MISSING,
                        "`tolerate` is missing; give it a loss of at least 0 in the unit of the metric, such as 0.002",
                    ),
                    (
                        "-0.002",
                        "`tolerate` must be a loss of at least 0 in the unit of the metric, such as 0.002, not the number \
                         -0.002",
                    ),
                    (
                        "inf",
                        "`tolerate` must be a loss of at least 0 in the unit of the metric, such as 0.002, not the number \
                         inf",
                    ),
                ],
            ),
        ],
    ),
    ("[metric]", &[("id = \"gold_revenue\"", &[(MISSING, "`id` is missing; give it a string")])]),
    (
        "metric ``",
        &[(
            "id = \"gold_revenue\"",
            &[(
                "\"\"",
                "`id` must be letters, digits, _ - and ., beginning with a letter or a digit, not \"\"",
            )],
        )],
    ),
    (
        "metric `engagement`",
        &[(
            "id = \"gold_revenue\"",
            &[("\"engagement\"", "`engagement` is built in; remove it here, or choose another `id`")],
        )],
    ),
    (
        "metric `gold_revenue`",
        &[
            (
                "window = \"7d\"",
                &[
                    (
                        "\"59s\"",
                        "`window` must be a duration of 1m to 365d, such as \"12h\" or \"7d\", not the string \"59s\"",
                    ),
                    (
                        "\"366d\"",
                        "`window` must be a duration of 1m to 365d, such as \"12h\" or \"7d\", not the string \"366d\"",
                    ),
                    (
                        "\"soon\"",
                        "`window` must be a duration of 1m to 365d, such as \"12h\" or \"7d\", not the string \"soon\"",
                    ),
                ],
            ),
            (
                "better = \"higher\"",
                &[
                    (MISSING, "`better` is missing; give it one of higher, lower"),
                    (
                        "\"hihger\"",
                        "`better` must be one of higher, lower, not \"hihger\"; did you mean `higher`?",
                    ),
                    ("\"more\"", "`better` must be one of higher, lower, not \"more\""),
                ],
            ),
        ],
    ),
    (
        "metric `gold_revenue` [numerator]",
        &[
            (
                "outcome = \"accept\"",
                &[
                    (
                        MISSING,
                        "`outcome` is missing; give it an outcome or a list of outcomes, such as \"accept\"",
                    ),
                    (
                        "\"acept\"",
                        "`outcome`: unknown outcome `acept`, not built in and no [[outcome]]; did you mean `accept`?",
                    ),
                    ("[]", "`outcome` is an empty list; name at least one outcome"),
                    (
                        "[\"click\", \"sold\"]",
                        "`outcome`: unknown outcome `sold`, not built in and no [[outcome]]; known: accept, called_back, \
                         click, complaint, convert, dismiss, impression, opt_out, reject",
                    ),
                    (
                        "[\"click\", 1]",
                        "`outcome` must be an outcome or a list of outcomes, such as \"accept\", not such a list",
                    ),
                ],
            ),
            (
                "sum = \"value\"",
                &[
                    (MISSING, "`sum` is missing; give it one of count, any, value, offer_value, margin"),
                    (
                        "\"valeu\"",
                        "`sum` must be one of count, any, value, offer_value, margin, not \"valeu\"; did you mean `value`?",
                    ),
                ],
            ),
        ],
    ),
    (
        "metric `gold_revenue` [denominator]",
        &[
            (
                "outcome = \"impression\"",
                &[(
                    "\"impresion\"",
                    "`outcome`: unknown outcome `impresion`, not built in and no [[outcome]]; did you mean `impression`?",
                )],
            ),
            (
                "sum = \"count\"",
                &[(MISSING, "`sum` is missing; give it one of count, any, value, offer_value, margin")],
            ),
        ],
    ),
    (
        "metric `annoyed`",
        &[(
            "per = \"customer\"",
            &[
                (
                    MISSING,
                    "`per` is missing; give it one of customer, decision, or give the metric a `denominator`",
                ),
                (
                    "\"custumer\"",
                    "`per` must be one of customer, decision, not \"custumer\"; did you mean `customer`?",
                ),
                (
                    "\"decision\"",
                    "`per` must be customer where `sum` is any: whether a customer has at least one is the same for all \
                     of their decisions; or let `sum` be count",
                ),
            ],
        )],
    ),
];
