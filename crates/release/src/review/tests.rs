//! Each reviewer is tested with a small release that has the mistake, and one that has none.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::*;
use model::GraphCache;
use model::onnx::OnnxRuntime;

const FEATURES: &str = "[[feature]]\nname = 'balance'\ntype = 'float'\nentity = 'customer'\ndefault = 100.0\n\
    [[feature]]\nname = 'annual_fee'\ntype = 'float'\nentity = 'offer'\ndefault = 1.0\nrange = [0, 500]\n\
    [[feature]]\nname = 'tier'\ntype = 'string'\nentity = 'offer'\ndefault = 'basic'\nvalues = ['basic', 'gold']\n";

const MANIFEST: &str = "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['balance', 'annual_fee']\n";

/// `home` over app and web, `mail` over email.
const PLACEMENTS: &str = "\
    [[placement]]\nid = 'home'\nchannels = ['app', 'web']\ncount = 1\nmodel = 'm'\nfallback = 'last'\n\
    [[placement]]\nid = 'mail'\nchannels = ['email']\ncount = 1\nmodel = 'm'\n";

/// Puts each key on its own line, after the offer that is always there.
fn offer(id: &str, more: &str) -> String {
    format!("[[offer]]\nid = '{id}'\nname = '{id}'\ncategory = 'c'\n{more}\n")
}

fn warnings_with(offers: &str, placements: &str) -> String {
    warnings_of(offers, placements, "golden.csv")
}

/// `golden`: the name of the model's file of golden rows; empty for none.
fn warnings_of(offers: &str, placements: &str, golden: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let version = directory.path().join("m/1");
    fs::create_dir_all(&version).unwrap();
    let graph = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/onnx/pushed_good.onnx");
    fs::copy(graph, version.join("model.onnx")).unwrap();
    fs::write(version.join("model.toml"), MANIFEST).unwrap();
    if !golden.is_empty() {
        fs::write(version.join(golden), "").unwrap();
    }
    let last = offer("last", "placements = []\nvalue = 0");
    let both = offer("both", "placements = ['home', 'mail']\nvalue = 9\ncost = 9");
    let (offers, pins) = (format!("{last}{both}{offers}"), BTreeMap::from([("m".to_owned(), 1)]));
    let policy = format!("[[category]]\nid = 'c'\n{placements}");
    let source = ReleaseSource {
        number: 0,
        features: FEATURES,
        offers: &offers,
        policy: &policy,
        models_dir: directory.path().to_owned(),
        store: None,
        pins: &pins,
    };
    let release = Release::load(&source, &GraphCache::new(OnnxRuntime::load().unwrap(), 1)).unwrap();
    review(&release, &source).into_warnings().unwrap().to_string()
}

fn warnings(offers: &str) -> String {
    warnings_with(offers, PLACEMENTS)
}

#[test]
fn a_release_without_mistakes_is_warned_of_nothing() {
    let future = "valid_from = 2000-01-01\nvalid_until = 9999-01-01";
    let fine =
        offer("a", &format!("placements = ['home']\nvalue = 2\ncost = 1\nchannels = ['web']\n{future}"));
    assert_eq!(warnings(&fine), "");
}

#[test]
fn an_offer_that_no_placement_shows_is_warned_of() {
    assert_eq!(
        warnings(&offer("a", "placements = []\nvalue = 1")),
        "offers.toml:18: offer `a`: no placement shows it, and it is no placement's `fallback`; give it `placements` or remove it"
    );
}

#[test]
fn a_channel_that_no_placement_has_is_warned_of_with_the_one_that_is_meant() {
    let found = warnings(&offer("a", "placements = ['home']\nvalue = 1\nchannels = ['wep', 'app']"));
    assert_eq!(
        found,
        "offers.toml:20: offer `a`: `channels`: no placement has the channel `wep`; did you mean `web`?"
    );
    let found = warnings(&offer("a", "placements = ['home', 'mail']\nvalue = 1\nchannels = ['emial']"));
    assert!(found.contains("no placement has the channel `emial`; did you mean `email`?"), "{found}");
    assert!(found.contains("leaves none of placement `home`, which has app, web"), "{found}");
    let found = warnings(&offer("a", "placements = ['home']\nvalue = 1\nchannels = ['email', 'app']"));
    assert!(found.contains("none of the offer's placements has the channel `email`"), "{found}");
}

#[test]
fn a_channel_over_which_no_offer_may_be_shown_is_warned_of() {
    let placements = format!(
        "{PLACEMENTS}[[placement]]\nid = 'call'\nchannels = ['phone', 'chat']\ncount = 1\nmodel = 'm'\n"
    );
    let only = offer("a", "placements = ['call']\nvalue = 1\nchannels = ['chat']");
    let found = warnings_with(&only, &placements);
    assert_eq!(found, "policy.toml:16: placement `call`: `channels`: no offer may be shown over `phone`");
}

#[test]
fn features_that_no_offer_is_expected_to_have_are_warned_of() {
    let described = |features: &str| {
        warnings(&offer("a", &format!("placements = ['home']\nvalue = 1\nfeatures = {{ {features} }}")))
    };
    assert_eq!(described("tier = 'gold', annual_fee = 500.0"), "");
    assert_eq!(
        described("tier = 'glod', annual_fee = 501.0"),
        "offers.toml:20: offer `a`: `annual_fee` 501 is outside its `range` in features.toml\n\
         offers.toml:20: offer `a`: `tier` is \"glod\", which is none of its `values` in features.toml; did you mean `gold`?"
    );
}

#[test]
fn terms_that_lose_money_or_have_passed_are_warned_of() {
    let found = warnings(&offer("a", "placements = ['home']\nvalue = 1\ncost = 2.5"));
    assert_eq!(
        found,
        "offers.toml:19: offer `a`: `value` 1 is below `cost` 2.5: it loses money even if all accept"
    );
    let found = warnings(&offer("a", "placements = ['home']\nvalue = 1\nvalid_until = 2020-02-01"));
    assert!(found.starts_with("offers.toml:20: offer `a`: it expired at 2020-02-01T00:00:00Z"), "{found}");
    let found = warnings(&offer("a", "placements = ['home']\nvalue = 1\nvalid_from = 9999-02-01"));
    assert!(found.ends_with("before 9999-02-01T00:00:00Z; is the year right?"), "{found}");
}

#[test]
fn a_rule_that_nobody_can_have_meant_is_warned_of_on_its_line() {
    let rule = |rule: &str| {
        warnings(&offer("a", &format!("placements = ['home']\nvalue = 2\neligibility = '{rule}'")))
    };
    assert_eq!(rule("customer.balance > 5 && customer.balance < 500"), "");
    assert_eq!(
        rule("customer.balance > 5 && customer.balance < 3"),
        "offers.toml:20: offer `a`: `eligibility` can never be true: the offer is never shown"
    );
    let found = rule("offer.category == \"cc\"");
    assert!(
        found.starts_with("offers.toml:20: offer `a`: `eligibility`: `offer.category` is never"),
        "{found}"
    );
}

#[test]
fn a_model_without_golden_rows_is_warned_of() {
    let warnings = |golden| warnings_of("", PLACEMENTS, golden);
    assert_eq!(warnings("golden.csv"), "");
    let none = warnings("");
    assert!(none.starts_with("m/1: there is no golden.csv, so its answers were never compared"), "{none}");
    assert_eq!(
        warnings("golden.csv.gz"),
        "m/1: `golden.csv.gz` is not read; unpack it, so that its answers are checked"
    );
}

#[test]
fn experiments_that_change_nothing_and_holdouts_without_a_fallback_are_named() {
    let experiment = "[holdout]\nshare = 0.1\nredraw = 'never'\n[[experiment]]\nid = 'e'\ncoverage = 1.0\n\
        [[experiment.variant]]\nid = 'a'\nweight = 0.5\n[[experiment.variant]]\nid = 'b'\nweight = 0.5\n\
        models = { m = 1 }\n";
    let new = offer(
        "new",
        "placements = ['home']\nvalue = 9\nmandatory = true\nmaturity = { max_share = 0.1, impressions = 9 }",
    );
    let found = warnings_with(&new, &format!("{PLACEMENTS}{experiment}"));
    for part in [
        "variant `b`: the release pins version 1 of `m` itself, so this changes nothing; name another version",
        "placement `mail`: it has no `fallback`, so customers who are held out see nothing there; give it one",
        "offer `new`: it is `mandatory`, and `maturity` withholds it from most decisions all the same; keep one",
    ] {
        assert!(found.contains(part), "{part} is not in {found}");
    }
    assert!(!found.contains("placement `home`: it has no"), "{found}");
}

#[test]
fn guardrails_that_nothing_passes_or_breaks_are_named_and_schedules_without_any() {
    let found = |lines: &str, metric: &str| {
        let experiment = format!(
            "[[experiment]]\nid = 'e'\ncoverage = 0.1\n{lines}[[experiment.variant]]\nid = 'a'\nweight = 0.5\n\
             [[experiment.variant]]\nid = 'b'\nweight = 0.5\ncount = 2\n[[experiment.step]]\ncoverage = 1.0\n\
             after = '1d'\n[experiment.metric]\nprimary = 'conversion'\n{metric}"
        );
        let policy = format!("{PLACEMENTS}{experiment}");
        let line = format!("[[category]]\nid = 'c'\n{policy}")
            .lines()
            .position(|line| line == "[experiment.metric]");
        let place = format!("policy.toml:{}: experiment `e`: ", line.unwrap() + 1);
        let found = warnings_with("", &policy);
        assert!(found.lines().all(|line| line.starts_with(&place)), "{found}");
        found
    };
    let guardrail = |id: &str, loss: &str| format!("guardrails = [{{ metric = '{id}', tolerate = {loss} }}]");
    assert_eq!(found("", &guardrail("opt_out_rate", "0.002")), "");
    assert_eq!(found("", &guardrail("revenue_per_customer", "1.5")), "");
    for (metric, part) in [
        (guardrail("conversion", "0.01"), "guardrail `conversion` is the primary metric, too"),
        (
            guardrail("opt_out_rate", "0"),
            "guardrail `opt_out_rate` tolerates nothing, so a step comes only once",
        ),
        (
            guardrail("slow_share", "1"),
            "guardrail `slow_share` tolerates 1, and is a share of 0 to 1, so nothing",
        ),
        (String::new(), "its steps come by time alone, since it has no `guardrails`"),
    ] {
        let warned = found("", &metric);
        assert!(warned.lines().count() == 1 && warned.contains(part), "{part} is not in {warned}");
        // Of one that is over nothing is said.
        assert_eq!(found("state = 'stopped'\n", &metric), "");
    }
}
