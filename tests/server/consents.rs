//! Consents: after an opt-out, offers that need the consent are withheld, regardless of the request.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::harness::{rank_request, wire};
use super::small::{INPUTS, Small, Texts, reason, shown};

const FEATURES: &str = r#"
[[feature]]
name = "consent_mail"
type = "bool"
entity = "customer"
[[feature]]
name = "consent_calls"
type = "bool"
entity = "customer"
"#;

fn texts() -> Texts {
    Texts {
        features: format!("{INPUTS}{FEATURES}"),
        offers: "[[offer]]\nid = 'letter'\nname = ''\ncategory = 'c'\nplacements = ['p']\nvalue = 2.0\nconsents = ['mail']\n\
                 [[offer]]\nid = 'open'\nname = ''\ncategory = 'c'\nplacements = ['p', 'q']\nvalue = 1.0\n"
            .to_owned(),
        policy: "[[category]]\nid = 'c'\n\
                 [[placement]]\nid = 'p'\nchannels = ['app']\ncount = 3\nmodel = 'base'\n\
                 [[placement]]\nid = 'q'\nchannels = ['app']\ncount = 3\nmodel = 'base'\n"
            .to_owned(),
        customers: "customer_id,consent_mail,consent_calls\nyes,true,true\nno,false,false\nasked,,\n".to_owned(),
    }
}

/// A call for one customer with these consents, and `consent_mail` as a feature where it is given.
fn call(customer: &str, claimed: &[&str], sent: Option<bool>) -> wire::RankRequest {
    use wire::feature_column::Values;
    let mut request = rank_request("p", &[customer]);
    request.customers[0].consents = claimed.iter().map(|consent| (*consent).to_owned()).collect();
    request.features = sent.map(|given| wire::FeatureBatch {
        rows: 1,
        dense: None,
        columns: vec![wire::FeatureColumn {
            name: "consent_mail".to_owned(),
            values: Some(Values::Bools(wire::BoolValues { values: vec![given] })),
            null_rows: vec![],
        }],
    });
    request
}

#[test]
fn an_opt_out_overrides_the_call() {
    let (runtime, small) = (Runtime::new().unwrap(), Small::new());
    small.publish(&texts());
    let claims = prop::sample::subsequence(vec!["mail", "calls", "fax"], 0..=3);
    let strategy = (
        prop::sample::select(vec!["yes", "no", "asked", "stranger"]),
        claims,
        prop::option::of(any::<bool>()),
    );
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    runner
        .run(&strategy, |(customer, claimed, sent)| {
            let result = runtime.block_on(small.one(call(customer, &claimed, sent)));
            let reports = |entry: &str| result.degraded.iter().any(|one| one == entry);
            let refused = customer == "no" || sent == Some(false);
            let given = !refused && (customer == "yes" || sent == Some(true) || claimed.contains(&"mail"));
            prop_assert_eq!(shown(&result).contains(&"letter"), given);
            let expected = if refused { Some("OPTED_OUT") } else { Some("CONSENT_MISSING") };
            prop_assert_eq!(reason(&result, "letter"), expected.filter(|_| !given));
            // An offer needs it, so it is reported whether or not the call claims it.
            prop_assert_eq!(reports("opted_out:mail"), refused);
            prop_assert_eq!(reports("opted_out:calls"), customer == "no" && claimed.contains(&"calls"));
            for unasked in ["calls", "fax"] {
                let entry = format!("unknown_consent:{unasked}");
                prop_assert_eq!(reports(&entry), claimed.contains(&unasked));
            }
            prop_assert!(!reports("unknown_consent:mail"));
            prop_assert_eq!(reports("unknown_customer"), customer == "stranger");
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn an_opt_out_is_reported_where_an_offer_needs_the_consent() {
    let small = Small::new();
    small.publish(&texts());
    let at = |placement: &str, claimed: &[&str]| wire::RankRequest {
        placement: placement.to_owned(),
        ..call("no", claimed, None)
    };
    let reported = async |request| {
        let result = small.one(request).await;
        result.degraded.into_iter().filter(|entry| entry.starts_with("opted_out")).collect::<Vec<_>>()
    };
    assert!(reported(at("q", &[])).await.is_empty(), "no offer of this placement needs a consent");
    assert_eq!(reported(at("q", &["calls"])).await, ["opted_out:calls"]);
    let narrowed = wire::RankRequest { candidate_offer_ids: vec!["open".to_owned()], ..at("p", &[]) };
    assert!(reported(narrowed).await.is_empty(), "this candidate needs no consent");
    assert_eq!(reported(at("p", &[])).await, ["opted_out:mail"]);
}

#[tokio::test]
async fn names_from_callers_are_echoed_within_bounds() {
    let small = Small::new();
    small.publish(&texts());
    let names: Vec<String> = (0..5000).map(|at| format!("\u{1b}[31m{at}{}", "x".repeat(200))).collect();
    let mut request = call("yes", &[], None);
    request.customers[0].consents = names.clone();
    request.candidate_offer_ids = names;
    let result = small.one(request).await;
    assert_eq!(result.degraded.len(), 2 * 9, "{:?}", result.degraded);
    for entry in &result.degraded {
        assert!(entry.len() < 100 && !entry.chars().any(char::is_control), "{entry:?}");
    }
    assert!(result.degraded.iter().any(|entry| entry == "unknown_consent:… 4992 more"));
}

#[test]
fn unusable_consent_features_are_rejected_and_unused_ones_warned_of() {
    let small = Small::new();
    let found = small.publish(&texts());
    assert!(found.refusals.is_empty(), "{}", found.refusals);
    let expected = "features.toml:23: feature `consent_calls`: no offer asks for the consent `calls`";
    assert!(found.warnings.to_string().contains(expected), "{}", found.warnings);
    let review = |from: &str, to: &str| {
        let mut changed = texts();
        for text in [&mut changed.features, &mut changed.offers] {
            *text = text.replace(from, to);
        }
        changed.customers = "customer_id\nyes\n".to_owned();
        small.publish(&changed)
    };
    let granted = review("name = \"consent_mail\"\n", "name = \"consent_mail\"\ndefault = true\n").refusals;
    let expected =
        "features.toml:20: feature `consent_mail`: `default = true` takes the consent `mail` for given";
    assert!(granted.to_string().starts_with(expected), "{granted}");
    let denied = review("name = \"consent_mail\"\n", "name = \"consent_mail\"\ndefault = false\n");
    assert!(denied.refusals.is_empty(), "{}", denied.refusals);
    for kind in ["string", "int", "float"] {
        let feature = "name = \"consent_mail\"\ntype = ";
        let text =
            review(&format!("{feature}\"bool\""), &format!("{feature}\"{kind}\"")).refusals.to_string();
        assert!(text.starts_with("features.toml:20: feature `consent_mail`: carries the consent"), "{text}");
    }
    let misspelt = review("['mail']", "['mial']").warnings.to_string();
    assert!(misspelt.contains("offers.toml:7: offer `letter`: asks for the consent `mial`"), "{misspelt}");
    assert!(misspelt.contains("did you mean `mail`?"), "{misspelt}");
}
