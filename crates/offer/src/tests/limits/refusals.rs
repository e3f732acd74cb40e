//! The message of each mistake in limits and outcomes, and its line.

use super::{LIMITS, OFFER, catalog, texts};

/// Expects exactly these problems, each the part of a file with its line, and the message. `offer` has keys of the
/// offer `cash_back`, `placement` of the placement `email`, `policy` has further tables.
fn check(offer: &str, placement: &str, policy: &str, expected: &[(&str, &str)]) {
    let (offers, policy) = texts(offer, placement, policy);
    let of = |(part, message): &(&str, &str)| {
        let (file, text) =
            if offers.contains(part) { ("offers.toml", &offers) } else { ("policy.toml", &policy) };
        let line = text.lines().position(|line| line.contains(part));
        let line = line.unwrap_or_else(|| panic!("{part} is not in {offers}{policy}")) + 1;
        format!("{file}:{line}: {message}")
    };
    let expected: Vec<String> = expected.iter().map(of).collect();
    let found = match catalog(&offers, &policy) {
        Ok(_) => panic!("{offer}{placement}{policy} is accepted"),
        Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
    };
    assert_eq!(found, expected, "{offer}{placement}");
}

/// A key of the offer `cash_back` with exactly these problems, each on its line.
fn offer(key: &str, messages: &[&str]) {
    let expected: Vec<(&str, String)> =
        messages.iter().map(|message| (key, format!("offer `cash_back`{message}"))).collect();
    let expected: Vec<(&str, &str)> =
        expected.iter().map(|(part, message)| (*part, message.as_str())).collect();
    check(key, "", "", &expected);
}

/// Replaces a line of [`LIMITS`], and expects exactly these problems on the line `part`.
fn policy(valid: &str, broken: &str, part: &str, messages: &[&str]) {
    assert!(LIMITS.contains(valid), "{valid}");
    let text = LIMITS.replacen(valid, broken, 1);
    let expected: Vec<(&str, &str)> = messages.iter().map(|message| (part, *message)).collect();
    check(OFFER, "", &text, &expected);
}

const NOT_DECLARED: &str = "not built in and no [[outcome]] in policy.toml";
const PERIODS: &str =
    "`per` must be a duration of 1s to 3650d, such as \"7d\", or one of \"day\", \"week\", \"month\"";
const LENGTH: &str = "must be a duration of 1s to 3650d, such as \"30m\", \"12h\" or \"7d\"";

#[test]
fn a_mistake_in_a_cap_is_named_with_its_line() {
    offer(
        "class = \"a b\"",
        &[": `class` must be letters, digits, _ - and ., beginning with a letter or a digit, not \"a b\""],
    );
    offer("cap_customer = 3", &[": `cap_customer` must be a table ([cap_customer])"]);
    offer("cap_total = 3", &[": `cap_total` must be a table ([cap_total])"]);
    offer(
        "cap_customer = {}",
        &[
            " [cap_customer]: `count` is missing; give it \"decision\", or an outcome such as \"impression\"",
            " [cap_customer]: `limit` is missing; give it a whole number of at least 0",
            &format!(" [cap_customer]: {}", PERIODS.replace("must be", "is missing; give it")),
        ],
    );
    offer(
        "cap_customer = { limit = -1, per = \"day\", count = \"click\" }",
        &[" [cap_customer]: `limit` must be a whole number of at least 0, not the number -1"],
    );
    offer(
        "cap_customer = { limit = 1, per = \"all\", count = \"click\" }",
        &[&format!(" [cap_customer]: {PERIODS}, not the string \"all\"")],
    );
    offer(
        "cap_customer = { limit = 1, per = \"day\", count = \"clik\" }",
        &[&format!(
            " [cap_customer]: `count`: unknown outcome `clik`, {NOT_DECLARED}; did you mean `click`?"
        )],
    );
    offer(
        "cap_customer = { limit = 1, per = \"day\", count = \"decisions\" }",
        &[&format!(
            " [cap_customer]: `count`: unknown outcome `decisions`, {NOT_DECLARED}; did you mean `decision`?"
        )],
    );
    offer(
        "cap_customer = { limit = 1, per = \"day\", count = \"purchase\" }",
        &[&format!(
            " [cap_customer]: `count`: unknown outcome `purchase`, {NOT_DECLARED}; known: accept, click, \
             complaint, convert, dismiss, impression, opt_out, reject, decision"
        )],
    );
    offer(
        "cap_customer = { limit = 1, per = \"day\", count = \"click\", reserve = \"1h\" }",
        &[" [cap_customer]: unknown key `reserve`; known here: count, limit, per"],
    );
    offer(
        "cap_total = { limit = 1, per = \"all\", count = \"decision\", reserve = \"30m\" }",
        &[
            " [cap_total]: `reserve` is the time to wait for an outcome, and `count = \"decision\"` waits for \
             none; remove it",
        ],
    );
    offer(
        "cap_total = { limit = 1, per = \"year\", count = \"click\", reserve = \"soon\" }",
        &[
            &format!(" [cap_total]: {PERIODS}, \"all\", not the string \"year\""),
            &format!(" [cap_total]: `reserve` {LENGTH}, not the string \"soon\""),
        ],
    );
}

#[test]
fn a_mistake_in_a_budget_is_named_with_its_line() {
    offer("budget = 1000.0", &[": `budget` must be a table ([budget])"]);
    let budget = |keys: &str, messages: &[&str]| {
        let messages: Vec<String> = messages.iter().map(|message| format!(" [budget]: {message}")).collect();
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        offer(&format!("budget = {{ {keys} }}"), &messages);
    };
    budget(
        "per = \"all\", count = \"click\"",
        &["`amount` is missing; give it a finite number", "`spends` is missing; give it one of cost, value"],
    );
    budget(
        "amount = -5, per = \"all\", count = \"click\", spends = \"cost\"",
        &["`amount` must be at least 0, not -5"],
    );
    budget(
        "amount = 1e13, per = \"all\", count = \"click\", spends = \"cost\"",
        &["`amount` must be at most 1000000000000, not 10000000000000"],
    );
    budget(
        "amount = 5, per = \"all\", count = \"click\", spends = \"costs\"",
        &["`spends` must be one of cost, value, not \"costs\"; did you mean `cost`?"],
    );
    budget(
        "amount = 5, per = \"day\", count = \"click\", spends = \"cost\", pacing = \"evn\"",
        &["`pacing` must be one of even, fast, not \"evn\"; did you mean `even`?"],
    );
    for per in ["all", "7d"] {
        budget(
            &format!("amount = 5, per = \"{per}\", count = \"click\", spends = \"cost\", pacing = \"even\""),
            &["`pacing` even needs an end to spread the amount until; set `per` to day, week or month, or \
                 to all with the offer's `valid_until`"],
        );
    }
    budget(
        "amount = 5, per = \"day\", count = \"decision\", spends = \"cost\", reserve = \"30m\"",
        &[
            "`reserve` is the time to wait for an outcome, and `count = \"decision\"` waits for none; remove it",
        ],
    );
}

#[test]
fn a_mistake_in_a_contact_limit_is_named_with_its_line() {
    let emails = "contact_limit `two_emails_a_week`";
    for key in ["channels", "placements", "categories", "offers", "exempt"] {
        let table = "[[contact_limit]]\nlimit = 1\nper = \"day\"\ncount = \"click\"\nid = \"few\"";
        let message = format!("contact_limit `few`: `{key}` is an empty list; remove it, or name something");
        check("", "", &format!("{table}\n{key} = [ ]"), &[(&format!("{key} = [ ]"), &message)]);
    }
    policy(
        "channels = [\"email\"]\nlimit",
        "channels = [\"\"]\nlimit",
        "channels = [\"\"]",
        &[&format!("{emails}: `channels` has an empty item; remove it")],
    );
    policy(
        "exempt = [\"service\"]",
        "exempt = [\"servic\"]",
        "exempt",
        &[&format!("{emails}: `exempt`: no offer has the class `servic`; did you mean `service`?")],
    );
    policy(
        "limit = 2\n",
        "",
        "[[contact_limit]]",
        &[&format!("{emails}: `limit` is missing; give it a whole number of at least 0")],
    );
    policy("per = \"7d\"", "per = 7", "per = 7", &[&format!("{emails}: {PERIODS}, not the number 7")]);
    for per in ["0s", "4000d", "1 week", "all", "-1d", ""] {
        let broken = format!("per = \"{per}\" # at most");
        policy(
            "per = \"7d\"",
            &broken,
            &broken,
            &[&format!("{emails}: {PERIODS}, not the string \"{per}\"")],
        );
    }
    policy(
        "count = \"decision\"",
        "count = \"decison\"",
        "decison",
        &[&format!("{emails}: `count`: unknown outcome `decison`, {NOT_DECLARED}; did you mean `decision`?")],
    );
    let text = LIMITS.replacen("count = \"decision\"", "cuont = \"decision\"", 1);
    let missing =
        format!("{emails}: `count` is missing; give it \"decision\", or an outcome such as \"impression\"");
    let unknown = format!("{emails}: unknown key `cuont`; did you mean `count`?");
    check(OFFER, "", &text, &[("[[contact_limit]]", &missing), ("cuont", &unknown)]);
    policy(
        "categories = [\"travel\"]",
        "categories = [\"travl\"]",
        "travl",
        &["contact_limit `one_trip_a_day`: `categories`: unknown category `travl`, no [[category]] in \
             policy.toml; did you mean `travel`?"],
    );
    policy(
        "categories = [\"travel\"]",
        "categories = [\"travel\"]\noffers = [\"tips\"]",
        "offers = [\"tips\"]",
        &["contact_limit `one_trip_a_day`: `offers` and `categories` exclude each other; keep one"],
    );
    policy(
        "[\"email\", \"app_home\"]\ncategories",
        "[\"emial\"]\ncategories",
        "emial",
        &["contact_limit `one_trip_a_day`: `placements`: unknown placement `emial`, no [[placement]] in \
             policy.toml; did you mean `email`?"],
    );
    policy(
        "id = \"one_trip_a_day\"",
        "id = \"one trip\"",
        "one trip",
        &["contact_limit `one trip`: `id` must be letters, digits, _ - and ., beginning with a letter or a \
             digit, not \"one trip\""],
    );
}

#[test]
fn a_mistake_in_a_suppression_is_named_with_its_line() {
    let after = "after = { outcome = \"dismiss\", times = 3, within = \"30d\" }";
    let changed = |broken: &str, messages: &[&str]| policy(after, broken, broken, messages);
    policy(
        after,
        "",
        "[[suppression]]",
        &["suppression `dismissed`: `after` is missing; give it a table, such as { outcome = \"dismiss\", \
             times = 3, within = \"30d\" }"],
    );
    changed("after = 3", &["suppression `dismissed`: `after` must be a table ([after])"]);
    changed(
        "after = {}",
        &[
            "suppression `dismissed` [after]: `outcome` is missing; give it an outcome, such as \"impression\"",
            "suppression `dismissed` [after]: `times` is missing; give it a whole number of at least 1",
            &format!(
                "suppression `dismissed` [after]: `within` is missing; give it {}",
                &LENGTH["must be ".len()..]
            ),
        ],
    );
    changed(
        "after = { outcome = \"dismissed\", times = 0, within = \"30\" }",
        &[
            &format!(
                "suppression `dismissed` [after]: `outcome`: unknown outcome `dismissed`, {NOT_DECLARED}; did \
                 you mean `dismiss`?"
            ),
            "suppression `dismissed` [after]: `times` must be a whole number of at least 1, not the number 0",
            &format!("suppression `dismissed` [after]: `within` {LENGTH}, not the string \"30\""),
        ],
    );
    policy(
        "pause = \"60d\"",
        "pause = true",
        "pause = true",
        &[&format!("suppression `dismissed`: `pause` {LENGTH}, not true")],
    );
    policy(
        "scope = \"offer\"",
        "scope = \"offers\"",
        "scope = \"offers\"",
        &["suppression `dismissed`: `scope` must be one of offer, category, all, not \"offers\"; did you \
             mean `offer`?"],
    );
    policy(
        "scope = \"offer\"",
        "",
        "[[suppression]]",
        &["suppression `dismissed`: `scope` is missing; give it one of offer, category, all"],
    );
}

#[test]
fn a_mistake_in_an_outcome_is_named_with_its_line() {
    let declared = "[[outcome]]\nkind = \"neutral\"\n";
    let refused = |id: &str, message: &str| {
        let line = format!("id = \"{id}\"");
        check("", "", &format!("{declared}{line}"), &[(&line, &format!("outcome `{id}`: {message}"))]);
    };
    refused("Signed", "`id` of an outcome must be small letters, digits and _, not \"Signed\"");
    refused("decision", "`decision` is what limits count without an outcome; choose another `id`");
    refused("click", "`click` is built in; remove it here, or choose another `id`");
    refused(
        "a/b",
        "`id` must be letters, digits, _ - and ., beginning with a letter or a digit, not \"a/b\"",
    );
    policy(
        "kind = \"positive\"",
        "kind = \"good\"",
        "kind = \"good\"",
        &["outcome `signed`: `kind` must be one of positive, negative, neutral, not \"good\""],
    );
    policy(
        "kind = \"positive\"",
        "",
        "[[outcome]]",
        &["outcome `signed`: `kind` is missing; give it one of positive, negative, neutral"],
    );
    let table = |at: usize| format!("[[outcome]]\nid = \"type_{at:03}\"\nkind = \"neutral\"\n");
    let many: String = (0..=200).map(table).collect();
    let (offers, policy) = texts("", "", &many);
    // The header is on the line before the id.
    let line = policy.lines().position(|line| line.contains("type_200")).unwrap();
    let expected =
        format!("policy.toml:{line}: outcome `type_200`: a policy can declare at most 200 outcome types");
    assert_eq!(catalog(&offers, &policy).unwrap_err().to_string(), expected);
}

#[test]
fn a_mistake_in_a_window_is_named_with_its_line() {
    policy(
        "impression = \"1h\"",
        "impresion = \"1h\"",
        "impresion",
        &[&format!(
            "[attribution]: `impresion`: unknown outcome `impresion`, {NOT_DECLARED}; did you mean `impression`?"
        )],
    );
    policy(
        "impression = \"1h\"",
        "impression = 1",
        "impression = 1",
        &[&format!("[attribution]: `impression` {LENGTH}, not the number 1")],
    );
    check(
        "",
        "attribution = { click = \"1\" }",
        "",
        &[(
            "attribution = {",
            &format!("placement `email` [attribution]: `click` {LENGTH}, not the string \"1\""),
        )],
    );
    check(
        "",
        "attribution = \"1d\"",
        "",
        &[("attribution = ", "placement `email`: `attribution` must be a table ([attribution])")],
    );
}
