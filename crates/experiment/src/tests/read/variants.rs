//! Mistakes in variants, their weights and their exploration.

use super::super::sample::{POLICY, apart};
use super::super::{experiments, policy_with};
use super::{check, check_in, check_whole, line_of};

#[test]
fn a_mistake_in_a_variant_is_named_with_its_line() {
    let challenger = "experiment `propensity_v7` variant `challenger`";
    let models = "models = { propensity = 7 }";
    let check = |broken: &str, message: &str| {
        check_in(&apart(), models, broken, &[&format!("{challenger}{message}")]);
    };
    check("models = 7", ": `models` must be a table ([models])");
    for version in ["0", "-1", "1.5", "\"7\""] {
        let found = match version {
            "\"7\"" => "the string \"7\"".to_owned(),
            number => format!("the number {number}"),
        };
        check(
            &format!("models = {{ propensity = {version} }}"),
            &format!(" [models]: `propensity` must be a version, a whole number of at least 1, not {found}"),
        );
    }
    check(
        "models = { propensty = 7 }",
        " [models]: no placement of the experiment uses model `propensty`; did you mean `propensity`?",
    );
    check("models = { network = 1 }", " [models]: no placement of the experiment uses model `network`");
    check("strategy = \"value\"", ": `strategy` must be one of priority, margin, not \"value\"");
    check("count = 0", ": `count` must be 1 to 100, not 0");
    check("count = 101", ": `count` must be 1 to 100, not 101");
    check("count = -1", ": `count` must be a whole number of at least 0, not the number -1");
    check(
        "category_weights = { travl = 5 }",
        " [category_weights]: unknown category `travl`; did you mean `travel`?",
    );
    check(
        "category_weights = { travel = -100 }",
        " [category_weights]: `travel` must be more than -100 percent, not -100",
    );
    check(
        "category_weights = { loans = -40 }",
        " [category_weights]: `loans` -40 plus -60 of an offer of the category is -100; the sum must be more than -100 \
         percent",
    );
    check("category_weights = 5", ": `category_weights` must be a table ([category_weights])");
    check(
        "context_weights = { seasons = 5 }",
        " [context_weights]: unknown context weight `seasons`; did you mean `season`?",
    );
    check(
        "context_weights = { season = 'x' }",
        " [context_weights]: `season` must be a finite number, not the string \"x\"",
    );
    check("fallback = \"cash_back\"", &format!(": unknown key `fallback`{}", known_keys()));
    check_in(
        POLICY,
        "listed = [\"tester-1\"]",
        "listed = [\"\"]",
        &[&format!("{challenger}: `listed` has an empty id; remove it: an empty id is in no arm")],
    );
}

fn known_keys() -> &'static str {
    "; known here: category_weights, context_weights, count, exploration, id, listed, models, strategy, weight"
}

#[test]
fn exploration_has_its_own_mistakes() {
    let models = "models = { propensity = 7 }";
    let name = "experiment `propensity_v7` variant `challenger`";
    for (broken, message) in [
        ("{ method = \"softmax\", temperature = 0 }", "`temperature` must be at least 0.000001, not 0"),
        ("{ method = \"softmax\", temperature = -2.0 }", "`temperature` must be at least 0.000001, not -2"),
        (
            "{ method = \"softmax\" }",
            "`temperature` is missing; give it an amount in the unit of the priority, such as 5.0",
        ),
        (
            "{ method = \"softmax\", temperature = 1, epsilon = 0.1 }",
            "`epsilon` belongs to method epsilon; remove it",
        ),
        (
            "{ method = \"epsilon\" }",
            "`epsilon` is missing; give it the share of slots that explore, such as 0.05",
        ),
        (
            "{ method = \"epsilon\", epsilon = 0 }",
            "`epsilon` must be more than 0; method greedy does not explore",
        ),
        (
            "{ method = \"epsilon\", epsilon = 2 }",
            "`epsilon` must be a share of 0 to 1, such as 0.05, not the number 2",
        ),
        (
            "{ method = \"epsilon\", epsilon = 0.1, temperature = 1 }",
            "`temperature` belongs to method softmax; remove it",
        ),
        ("{ method = \"greedy\", epsilon = 0.1 }", "`epsilon` belongs to method epsilon; remove it"),
        ("{ method = \"thompson\" }", "method thompson: not enforced by this version; use softmax"),
        (
            "{ method = \"softmx\" }",
            "`method` must be one of greedy, epsilon, softmax, not \"softmx\"; did you mean `softmax`?",
        ),
        ("{ }", "`method` is missing; give it one of greedy, epsilon, softmax"),
        (
            "{ method = \"greedy\", ratio = 1 }",
            "unknown key `ratio`; known here: epsilon, method, temperature",
        ),
    ] {
        check_in(
            &apart(),
            models,
            &format!("exploration = {broken}"),
            &[&format!("{name} [exploration]: {message}")],
        );
    }
    check_in(
        &apart(),
        models,
        "exploration = 1",
        &[&format!("{name}: `exploration` must be a table ([exploration])")],
    );
    check(
        "exploration = { method = \"epsilon\", epsilon = 0.05 }",
        "exploration = { method = \"epsilon\", epsilon = 5 }",
        &[
            "placement `app_home` [exploration]: `epsilon` must be a share of 0 to 1, such as 0.05, not the number 5",
        ],
    );
}

#[test]
fn the_control_changes_nothing() {
    for change in [
        "models = { propensity = 6 }",
        "strategy = \"margin\"",
        "count = 1",
        "category_weights = { travel = 1 }",
        "context_weights = { season = 1 }",
        "exploration = { method = \"greedy\" }",
    ] {
        let key = change.split(' ').next().unwrap();
        let line = line_of(POLICY, "id = \"champion\"") + 1;
        let policy = apart().replacen("id = \"champion\"", &format!("id = \"champion\"\n{change}"), 1);
        check_whole(
            &policy,
            &[&format!(
                "policy.toml:{line}: experiment `propensity_v7` variant `champion`: the first variant is the control, \
                 which changes nothing; remove `{key}`"
            )],
        );
    }
}

#[test]
fn weights_must_sum_to_one() {
    let line = line_of(POLICY, "id = \"challenger\"") + 1;
    let name = "experiment `propensity_v7` variant `challenger`";
    for (weight, sum) in [("0.4", "0.9"), ("0.50001", "1.00001")] {
        let policy = POLICY.replacen(
            "id = \"challenger\"\nweight = 0.5",
            &format!("id = \"challenger\"\nweight = {weight}"),
            1,
        );
        check_whole(
            &policy,
            &[&format!("policy.toml:{line}: {name}: `weight`: the weights sum to {sum}, and must sum to 1")],
        );
    }
    // A weight that is wrong by itself is all that is said.
    let policy = POLICY.replacen("id = \"challenger\"\nweight = 0.5", "id = \"challenger\"\nweight = 5", 1);
    check_whole(
        &policy,
        &[&format!(
            "policy.toml:{line}: {name}: `weight` must be a share of 0 to 1, such as 0.05, not the number 5"
        )],
    );
    let policy = POLICY.replacen("id = \"challenger\"\nweight = 0.5\n", "id = \"challenger\"\n", 1);
    let line = line - 2;
    check_whole(
        &policy,
        &[&format!(
            "policy.toml:{line}: {name}: `weight` is missing; give it a share of 0 to 1, such as 0.05"
        )],
    );
}

#[test]
fn an_experiment_needs_variants() {
    let one =
        "[[experiment]]\nid = \"e\"\ncoverage = 1.0\n[[experiment.variant]]\nid = \"a\"\nweight = 1.0\n";
    let message = |count: usize| {
        format!(
            "policy.toml:1: experiment `e`: {count} variants; an experiment needs 2 to 20 [[experiment.variant]], of \
             which the first is the control"
        )
    };
    check_whole(one, &[&message(1)]);
    check_whole("[[experiment]]\nid = \"e\"\ncoverage = 1.0\n", &[&message(0)]);
    let mut many = "[[experiment]]\nid = \"e\"\ncoverage = 1.0\n".to_owned();
    let variant = |number| format!("[[experiment.variant]]\nid = \"v{number}\"\nweight = 0.05\n");
    many.extend((0..21).map(variant));
    check_whole(&many, &[&message(21)]);
    let twins = policy_with("coverage = 1.0").replace("id = \"b\"", "id = \"a\"");
    check_whole(
        &twins,
        &["policy.toml:8: experiment `e` variant `a`: `a` is already the id of the variant in line 4"],
    );
    let listed =
        policy_with("coverage = 1.0").replace("weight = 0.5\n", "weight = 0.5\nlisted = [\"C1\", \"C1\"]\n");
    check_whole(
        &listed,
        &[
            "policy.toml:11: experiment `e` variant `b`: `listed`: customer \"C1\" is already listed in variant `a`",
        ],
    );
    let ids: Vec<String> = (0..1_001).map(|number| format!("\"C{number}\"")).collect();
    let crowd = format!("{}listed = [{}]\n", policy_with("coverage = 1.0"), ids.join(", "));
    check_whole(
        &crowd,
        &[
            "policy.toml:10: experiment `e` variant `b`: `listed` has 1001 customers and may have 1000: it is for testers",
        ],
    );
}

#[test]
fn a_policy_lists_so_many_customers_in_all() {
    let listing = |experiment: usize, count: usize| {
        let ids: Vec<String> = (0..count).map(|number| format!("\"C{experiment}-{number}\"")).collect();
        let policy =
            policy_with("coverage = 1.0").replace("id = \"e\"", &format!("id = \"e{experiment:02}\""));
        format!("{policy}listed = [{}]\n", ids.join(", "))
    };
    let full: String = (0..10).map(|experiment| listing(experiment, 1_000)).collect();
    experiments(&full);
    let over = format!("{full}{}", listing(10, 1));
    let message = "experiment `e10`: with these, the policy lists 10001 customers and may list 10000: `listed` is for \
                   testers";
    let line = line_of(&over, "id = \"e10\"") - 1;
    check_whole(&over, &[&format!("policy.toml:{line}: {message}")]);
}

#[test]
fn unleash_has_its_own_limits() {
    let policy = policy_with("coverage = 0.055\nscheme = \"unleash\"");
    check_whole(
        &policy,
        &[
            "policy.toml:3: experiment `e`: `coverage`: with scheme unleash, coverage must be a whole percentage, such as \
           0.05, not 0.055",
        ],
    );
    let policy = policy_with("coverage = 0.05\nscheme = \"unleash\"")
        .replacen("0.5", "0.5005", 1)
        .replacen("0.5\n", "0.4995\n", 1);
    let expected = "experiment `e` variant `a`: `weight`: with scheme unleash, a weight must be a whole number of \
                    thousandths, such as 0.333, not 0.5005";
    check_whole(&policy, &[&format!("policy.toml:7: {expected}")]);
    let policy = format!(
        "{}[[experiment.step]]\ncoverage = 0.125\nafter = \"1d\"\n",
        policy_with("coverage = 0.05\nscheme = \"unleash\"")
    );
    check_whole(
        &policy,
        &[
            "policy.toml:12: experiment `e` [step]: `coverage`: with scheme unleash, coverage must be a whole percentage, \
           such as 0.05, not 0.125",
        ],
    );
}
