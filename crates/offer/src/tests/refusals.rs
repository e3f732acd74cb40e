//! The message of each mistake, and its line.

use super::{OFFERS, POLICY, catalog};

/// The line of `text` that contains `part`, from 1.
fn line_of(text: &str, part: &str) -> usize {
    let at = text.find(part).unwrap_or_else(|| panic!("{part} is not in {text}"));
    text[..at].matches('\n').count() + 1
}

/// Replaces `valid` by `broken` in one of the files, and expects exactly these messages on its first line.
fn check(valid: &str, broken: &str, expected: &[&str]) {
    let in_offers = OFFERS.contains(valid);
    let edit = |text: &str| text.replacen(valid, broken, 1);
    let (offers, policy) =
        if in_offers { (edit(OFFERS), POLICY.to_owned()) } else { (OFFERS.to_owned(), edit(POLICY)) };
    let (file, text) = if in_offers { ("offers.toml", &offers) } else { ("policy.toml", &policy) };
    let line = line_of(text, broken);
    let expected: Vec<String> = expected.iter().map(|message| format!("{file}:{line}: {message}")).collect();
    let found = match catalog(&offers, &policy) {
        Ok(_) => panic!("{broken} is accepted"),
        Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
    };
    assert_eq!(found, expected, "{broken}");
}

#[test]
fn a_mistake_in_the_offers_is_named_with_its_line() {
    let rename = "offer `travel_gold`";
    check(
        "name = \"Cash Back\"",
        "nmae = \"Cash Back\"\nname = \"x\"",
        &["offer `cash_back`: unknown key `nmae`; did you mean `name`?"],
    );
    check(
        "value = 40.0",
        "value = '40'",
        &["offer `cash_back`: `value` must be a finite number, not the string \"40\""],
    );
    check(
        "value = 40.0",
        "value = nan",
        &["offer `cash_back`: `value` must be a finite number, not the number nan"],
    );
    check("value = 40.0", "value = -1", &["offer `cash_back`: `value` must be at least 0, not -1"]);
    check("cost = 5.5", "cost = -5.5", &[&format!("{rename}: `cost` must be at least 0, not -5.5")]);
    check(
        "weight = 25.0",
        "weight = -150",
        &[&format!("{rename}: `weight` must be more than -100 percent, not -150")],
    );
    check(
        "weight = 25.0",
        "weight = -110.0 # sum",
        &[&format!("{rename}: `weight` must be more than -100 percent, not -110")],
    );
    check(
        "valid_until = 2027-01-01T00:00:00Z",
        "valid_until = 2026-01-01",
        &[&format!("{rename}: `valid_until` must be later than `valid_from`")],
    );
    check(
        "category = \"cash\"",
        "category = \"csh\"",
        &["offer `cash_back`: `category`: unknown category `csh`, no [[category]] in policy.toml; did you \
             mean `cash`?"],
    );
    check(
        "[\"email\", \"app_home\"]",
        "[\"email\", \"app_hme\"]",
        &[&format!(
            "{rename}: `placements`: unknown placement `app_hme`, no [[placement]] in policy.toml; did you mean \
             `app_home`?"
        )],
    );
    check(
        "[\"travel_basic\"]",
        "[\"travel_basics\"]",
        &[&format!(
            "{rename}: `conflicts_with`: unknown offer `travel_basics`, no [[offer]] in offers.toml; did you \
             mean `travel_basic`?"
        )],
    );
    check(
        "[\"travel_basic\"]",
        "[\"travel_gold\"]",
        &[&format!("{rename}: `conflicts_with` names the offer itself; remove it")],
    );
    check(
        "consents = [\"marketing\"]",
        "consents = [\" \"]",
        &[&format!("{rename}: `consents` has an empty item; remove it")],
    );
    check(
        "id = \"cash_back\"",
        "id = \"cash back\"",
        &["offer `cash back`: `id` must be letters, digits, _ - and ., beginning with a letter or a digit, \
             not \"cash back\""],
    );
    check(
        "annual_fee = 95,",
        "annual_fe = 95,",
        &[&format!(
            "{rename} [features]: unknown feature `annual_fe`: the schema has no such offer feature; did you \
             mean `annual_fee`?"
        )],
    );
    check(
        "annual_fee = 95,",
        "balance = 95,",
        &[&format!("{rename} [features]: `balance` is a feature of the customer, not of offers; remove it")],
    );
    check(
        "annual_fee = 95,",
        "annual_fee = true,",
        &[&format!("{rename} [features]: `annual_fee` must be of the feature's type, float")],
    );
    check(
        "stars = 5",
        "stars = [5]",
        &[&format!(
            "{rename} [attributes]: `stars` must be a string, a finite number, true or false, not such a list"
        )],
    );
}

#[test]
fn a_missing_key_is_named_with_the_table_that_lacks_it() {
    let missing = |text: &str, key: &str| text.replacen(key, "", 1);
    let found = |offers: &str, policy: &str| catalog(offers, policy).unwrap_err().to_string();
    for (key, message) in [
        ("id = \"cash_back\"", "[offer]: `id` is missing; give it a string"),
        ("value = 40.0", "offer `cash_back`: `value` is missing; give it a finite number"),
        ("name = \"Cash Back\"", "offer `cash_back`: `name` is missing; give it a string"),
        ("category = \"cash\"", "offer `cash_back`: `category` is missing; give it a string"),
        (
            "placements = []",
            "offer `tips`: `placements` is missing; give it a list of placement ids, empty if the offer is only \
             a fallback",
        ),
    ] {
        let said = found(&missing(OFFERS, key), POLICY);
        assert!(said.contains(message), "{said}");
        assert_eq!(said.lines().filter(|line| line.contains("missing")).count(), 1, "{said}");
    }
    for (key, message) in [
        (
            "channels = [\"email\"]",
            "placement `email`: `channels` needs at least one channel; the first is the default",
        ),
        ("count = 1", "placement `email`: `count` is missing; give it a whole number of at least 0"),
        ("model = \"affinity\"", "placement `app_home` [scorer]: `model` is missing; give it a string"),
        (
            "offers = [\"travel_gold\"]",
            "placement `app_home` [scorer]: the scorer names no offers; give it `categories` or `offers`",
        ),
        (
            "model = \"propensity\"\nmax",
            "placement `app_home`: no model scores offer `cash_back`; give the placement a `model`",
        ),
        ("when = \"true\"", "context_weight `always`: `when` is missing; give it a rule, `true` for always"),
        ("percent = -50", "context_weight `always`: `percent` is missing; give it a finite number"),
    ] {
        let key = key.strip_suffix("\nmax").unwrap_or(key);
        let said = found(OFFERS, &missing(POLICY, key));
        assert_eq!(said.split_once(": ").unwrap().1, message, "{said}");
    }
}

#[test]
fn a_mistake_in_the_policy_is_named_with_its_line() {
    check(
        "weight = 10.0",
        "weight = -100",
        &["category `travel`: `weight` must be more than -100 percent, not -100"],
    );
    check(
        "segmentation = \"segments\"",
        "segmentation = \"../x\"",
        &[
            "`segmentation` must be letters, digits, _ - and ., beginning with a letter or a digit, not \"../x\"",
        ],
    );
    check(
        "channels = [\"app\", \"web\"]",
        "channels = []",
        &["placement `app_home`: `channels` needs at least one channel; the first is the default"],
    );
    check("count = 3", "count = 101", &["placement `app_home`: `count` must be 1 to 100, not 101"]);
    check("count = 3", "count = 0", &["placement `app_home`: `count` must be 1 to 100, not 0"]);
    check(
        "strategy = \"margin\"",
        "strategy = \"margins\"",
        &[
            "placement `app_home`: `strategy` must be one of priority, margin, not \"margins\"; did you mean `margin`?",
        ],
    );
    check(
        "max_per_category = 1",
        "max_per_category = 0",
        &["placement `app_home`: `max_per_category` must be at least 1; without it there is no limit"],
    );
    check(
        "fallback = \"tips\"",
        "fallback = \"tps\"",
        &[
            "placement `app_home`: `fallback`: unknown offer `tps`, no [[offer]] in offers.toml; did you mean `tips`?",
        ],
    );
    check(
        "fallback = \"tips\"",
        "fallback = \"travel_gold\"",
        &["placement `app_home`: `fallback`: offer `travel_gold` may not be shown in web; choose one for \
             every channel"],
    );
    check(
        "offers = [\"travel_gold\"]",
        "offers = [\"travel_gld\"]",
        &[
            "placement `app_home` [scorer]: `offers`: unknown offer `travel_gld`, no [[offer]] in offers.toml; \
             did you mean `travel_gold`?",
        ],
    );
    check(
        "offers = [\"travel_gold\"]",
        "offers = []\ncategories = []",
        &["placement `app_home` [scorer]: `offers` and `categories` exclude each other; keep one"],
    );
    check(
        "model = \"affinity\"",
        "model = \"a/b\"",
        &[
            "placement `app_home` [scorer]: `model` must be letters, digits, _ - and ., beginning with a letter \
             or a digit, not \"a/b\"",
        ],
    );
    check(
        "percent = 100.0",
        "percent = -150.0",
        &["context_weight `season`: `percent` must be more than -100 percent, not -150"],
    );
    check(
        "when = \"context.month >= 6\"",
        "when = \"context.mnth >= 6\"",
        &["context_weight `season`: `when`: unknown feature `context.mnth`, not in the feature schema; did \
             you mean `month`?"],
    );
    check(
        "when = \"context.month >= 6\"",
        "wehn = \"true\"\nwhen = \"true\"",
        &["context_weight `season`: unknown key `wehn`; did you mean `when`?"],
    );
}

#[test]
fn the_rule_of_an_experiment_reads_neither_the_offer_nor_the_call() {
    let policy = |when: &str| {
        let variant = |id: &str| format!("[[experiment.variant]]\nid = \"{id}\"\nweight = 0.5\n");
        let [a, b] = ["a", "b"].map(variant);
        format!("{POLICY}\n[[experiment]]\nid = \"e\"\ncoverage = 0.5\nwhen = '{when}' # of e\n{a}{b}")
    };
    let refused = |when: &str| -> Vec<String> {
        let text = policy(when);
        let start = format!("policy.toml:{}: experiment `e`: ", line_of(&text, "# of e"));
        match catalog(OFFERS, &text) {
            Ok(_) => panic!("{when} is accepted"),
            Err(problems) => problems.iter().map(|problem| problem.to_string().replace(&start, "")).collect(),
        }
    };
    let call = "`when` reads `context`, but who takes part must not depend on the call; use customer or segment, and \
                `placements` for where it holds";
    assert_eq!(refused("context.month >= 6"), [call]);
    assert_eq!(refused("has(context.month)"), [call]);
    let offer = "`when` reads `offer`, but an experiment has customers, not offers; use customer or segment";
    assert_eq!(refused("offer.value > 3.0"), [offer]);
    assert_eq!(refused("offer.value > 3.0 && context.month >= 6").len(), 2);
    assert!(catalog(OFFERS, &policy("true")).is_ok());
}

#[test]
fn weights_that_add_up_to_minus_100_percent_are_refused() {
    let policy = POLICY.replace("weight = 10.0", "weight = -40.0");
    let offers = OFFERS.replace("weight = 25.0", "weight = -60.0");
    let line = line_of(&offers, "weight = -60.0");
    let expected = format!(
        "offers.toml:{line}: offer `travel_gold`: `weight` -60 plus -40 of category `travel` is -100; the sum \
         must be more than -100 percent"
    );
    assert_eq!(catalog(&offers, &policy).unwrap_err().to_string(), expected);
}

#[test]
fn a_duplicate_id_is_refused_at_its_second_occurrence() {
    let first = line_of(OFFERS, "[[offer]]");
    let offers = format!(
        "{OFFERS}\n[[offer]]\nid = \"travel_gold\"\nname = 'x'\ncategory = 'cash'\nplacements = []\nvalue = 1"
    );
    let line = offers.matches('\n').count() - 3;
    let expected = format!(
        "offers.toml:{line}: offer `travel_gold`: `travel_gold` is already the id of the offer in line {first}"
    );
    assert_eq!(catalog(&offers, POLICY).unwrap_err().to_string(), expected);
    let policy = format!("{POLICY}\n[[category]]\nid = \"cash\"");
    assert!(
        catalog(OFFERS, &policy)
            .unwrap_err()
            .to_string()
            .contains("`cash` is already the id of the category")
    );
}

#[test]
fn what_is_not_enforced_is_refused_by_name() {
    let refused = "offer `cash_back`: caps: not enforced by this version; remove it";
    check("value = 40.0", "caps = 3\nvalue = 40.0", &[refused]);
    let negative = "offer `cash_back`: `caps` must not be negative, and is -3";
    check("value = 40.0", "caps = { customer = -3 }\nvalue = 40.0", &[negative, refused]);
    let refused = "explore: not enforced by this version; remove it";
    check("segmentation =", "explore = 0.1\nsegmentation =", &[refused]);
    check("count = 1", "explore = true\ncount = 1", &[&format!("placement `email`: {refused}")]);
    let elsewhere = "`exploration` belongs to a [[placement]]; move it there";
    check("segmentation =", "exploration = { method = \"greedy\" }\nsegmentation =", &[elsewhere]);
    let refused = "placement `email`: suppression: not enforced by this version; remove it";
    check("count = 1", "suppression = true\ncount = 1", &[refused]);
    check(
        "segmentation =",
        "suppression = 0.1\nsegmentation =",
        &["`suppression` must be an array of tables ([[suppression]])"],
    );
}

#[test]
fn a_rule_without_segments_cannot_ask_for_one() {
    let policy = POLICY.replace("segmentation = \"segments\"", "");
    let line = line_of(OFFERS, "exclusion");
    let expected = format!(
        "offers.toml:{line}: offer `travel_gold`: `exclusion` uses `segment`, but policy.toml names no `segmentation`"
    );
    assert_eq!(catalog(OFFERS, &policy).unwrap_err().to_string(), expected);
}

#[test]
fn every_rule_that_is_wrong_is_named_with_offer_key_and_line() {
    for key in ["eligibility", "applicability", "suitability", "exclusion"] {
        let rule = format!("{key} = \"customer.balanse > 'x' || context.month && true\"");
        let valid = "value = 40.0";
        check(
            valid,
            &format!("{rule}\n{valid}"),
            &[
                &format!(
                    "offer `cash_back`: `{key}`: `&&` joins conditions, and one side is the int \
                     `context.month`; compare it with something"
                ),
                &format!(
                    "offer `cash_back`: `{key}`: unknown feature `customer.balanse`, not in the feature schema; \
                     did you mean `balance`?"
                ),
            ],
        );
    }
    check(
        "value = 40.0",
        "eligibility = '''\ncustomer.balance > 1 &&\ncustomer.balance > 'x' '''\nvalue = 40.0",
        &[
            "offer `cash_back`: `eligibility`: `>` cannot compare the float `customer.balance` with the string \
             \"x\"; numbers are written without quotes, text with (line 2 of the rule)",
        ],
    );
}

#[test]
fn problems_of_both_files_come_together() {
    let problems =
        catalog(&OFFERS.replace("value = 40.0", "value = -1"), &POLICY.replace("count = 1", "count = 0"));
    let said = problems.unwrap_err().to_string();
    assert!(said.contains("offers.toml:") && said.contains("policy.toml:"), "{said}");
    let broken = catalog("[[offer", "x = = 1").unwrap_err().to_string();
    assert!(broken.contains("offers.toml:1") && broken.contains("policy.toml:1"), "{broken}");
    let empty = catalog("", "").unwrap_err().to_string();
    for kind in ["offer", "category", "placement"] {
        assert!(empty.contains(&format!("no [[{kind}]]: a release needs at least one")), "{empty}");
    }
}
