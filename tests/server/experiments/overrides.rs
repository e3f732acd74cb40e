//! What a variant changes, for its customers alone, in one call with the others.

use super::scene::{Bank, ask, rank, shown};
use crate::harness::wire;

/// A variant with one listed customer of the same name.
fn variant(id: &str, changes: &str) -> String {
    format!("[[experiment.variant]]\nid = \"{id}\"\nweight = 0.125\nlisted = [\"{id}\"]\n{changes}\n")
}

const IDS: [&str; 8] = ["control", "model", "margin", "one", "loans", "no_spring", "random", "nobody"];

fn experiment() -> String {
    let variants = [
        variant("control", ""),
        variant("model", "models = { m = 2 }"),
        variant("margin", "strategy = \"margin\""),
        variant("one", "count = 1"),
        variant("loans", "category_weights = { loans = 900.0 }"),
        variant("no_spring", "context_weights = { spring = -50.0 }"),
        variant("random", "exploration = { method = \"epsilon\", epsilon = 1.0 }"),
        variant("nobody", "models = { m = 2 }\ncount = 4"),
    ];
    format!("\n[[experiment]]\nid = \"all\"\nplacements = [\"home\"]\ncoverage = 0.0\n{}", variants.concat())
}

fn priorities(result: &wire::RankResult) -> Vec<f64> {
    result.offers.iter().map(|offer| offer.priority).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_override_changes_what_it_says_and_nothing_else() {
    let server = Bank::new(&experiment()).serve();
    let ids: Vec<String> = IDS.into_iter().chain(["stranger"]).map(str::to_owned).collect();
    let all = rank(&server, ask("home", &ids)).await;
    // Together with the others as alone.
    for (id, together) in ids.iter().zip(&all).filter(|(id, _)| *id != "random") {
        let alone = rank(&server, ask("home", std::slice::from_ref(id))).await.remove(0);
        assert_eq!((shown(&alone), priorities(&alone)), (shown(together), priorities(together)), "{id}");
    }
    let of = |id: &str| &all[ids.iter().position(|known| known == id).unwrap()];
    let factors = |result: &wire::RankResult, offer: &str| {
        let found = result.offers.iter().find(|one| one.offer_id == offer);
        found.and_then(|one| one.factors.clone()).unwrap_or_else(|| panic!("{offer}: {result:?}"))
    };
    let (control, stranger) = (of("control"), of("stranger"));
    assert!(stranger.assignments.is_empty());
    assert_eq!((shown(control), priorities(control)), (shown(stranger), priorities(stranger)));
    let best = shown(control)[0];
    assert_eq!(factors(control, best).model_version, 1);

    let (before, after) = (factors(control, best), factors(of("nobody"), best));
    assert_eq!((after.model_version, after.score.to_bits()), (2, before.score.to_bits()));
    assert!((after.propensity - before.propensity).abs() > 1e-3, "{after:?}");
    assert_eq!(of("nobody").offers.len(), 4);
    assert!(of("model").offers.iter().all(|offer| offer.factors.as_ref().unwrap().model_version == 2));

    let by_margin = of("margin");
    let margins: Vec<f64> =
        by_margin.offers.iter().map(|offer| offer.factors.as_ref().unwrap().margin).collect();
    assert!(margins.is_sorted_by(|one, other| one >= other), "{margins:?}");
    assert!(by_margin.rejected.iter().any(|one| one.detail.starts_with("margin ")), "{by_margin:?}");

    assert_eq!(shown(of("one")), shown(control)[..1]);
    let asked = wire::RankRequest { count: 3, ..ask("home", &["one".to_owned()]) };
    assert_eq!(rank(&server, asked).await[0].offers.len(), 3, "what the call asks for wins");

    let loans = of("loans");
    assert_eq!(shown(loans)[0], "loan");
    assert!((factors(loans, "loan").lever - 10.0).abs() < 1e-12);

    let context = |result| factors(result, shown(result)[0]).context_weight;
    assert!((context(control) - 1.1).abs() < 1e-12, "{control:?}");
    let springless = of("no_spring").offers.iter().find(|offer| offer.offer_id != "loan").unwrap();
    assert!((springless.factors.as_ref().unwrap().context_weight - 0.5).abs() < 1e-12);

    // Any of four, then any of three.
    let random: Vec<f64> = of("random").offers.iter().map(|offer| offer.selection_probability).collect();
    assert!((random[0] - 0.25).abs() < 1e-12 && (random[1] - 1.0 / 3.0).abs() < 1e-12, "{random:?}");
    for result in all.iter().filter(|result| result.customer_id != "random") {
        assert!(result.offers.iter().all(|offer| offer.selection_probability.to_bits() == 1.0_f64.to_bits()));
    }

    // Elsewhere it changes nothing.
    let letters = rank(&server, ask("letter", &ids)).await;
    assert!(
        letters.iter().all(|result| result.assignments.is_empty() && shown(result) == shown(&letters[0]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_both_arms_is_scored_by_both_versions() {
    let halves = super::scene::experiment("model", "coverage = 1.0", "models = { m = 2 }");
    let server = Bank::new(&halves).serve();
    let results = rank(&server, ask("home", &super::scene::customers(600))).await;
    let mut counts = [0, 0];
    for result in &results {
        let challenger = super::scene::variant(result, "model") == Some("challenger");
        counts[usize::from(challenger)] += 1;
        for offer in &result.offers {
            assert_eq!(offer.factors.as_ref().unwrap().model_version, 1 + u64::from(challenger));
        }
    }
    assert!(counts.iter().all(|count| *count > 240), "{counts:?}");
    let metrics = server.admin_get("/metrics").unwrap();
    for (version, count) in [(1, counts[0]), (2, counts[1])] {
        let rows = format!("proffer_model_rows_total{{model=\"m\",version=\"{version}\"}} {}\n", 4 * count);
        assert!(metrics.contains(&rows), "{rows} is not in {metrics}");
    }
    // A caller may score with either.
    let mut client = server.client().await;
    for version in [1, 2] {
        let mut request = crate::harness::scores("m", 2, &["gold"]);
        request.model.as_mut().unwrap().version = version;
        assert_eq!(client.score(request).await.unwrap().into_inner().version, version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_variant_changes_what_consents_dates_rules_and_limits_withhold() {
    let server = Bank::new(&experiment())
        .with("offers.toml", "id = \"black\"\n", "id = \"black\"\nvalid_from = 2099-01-01\n")
        .with("offers.toml", "id = \"gold\"\n", "id = \"gold\"\nconsents = [\"news\"]\n")
        .with(
            "offers.toml",
            "id = \"green\"\n",
            "id = \"green\"\neligibility = \"customer.balance >= 500.0\"\n",
        )
        .with(
            "offers.toml",
            "id = \"loan\"\n",
            "id = \"loan\"\ncap_customer = { limit = 1, per = \"7d\", count = \"decision\" }\n",
        )
        .serve();
    let ids: Vec<String> = IDS.into_iter().chain(["stranger"]).map(str::to_owned).collect();
    let first = rank(&server, ask("home", &ids)).await;
    assert!(first.iter().all(|result| shown(result) == ["loan"]), "{first:?}");
    let second = rank(&server, ask("home", &ids)).await;
    let expected = [
        ("black", wire::WithheldReason::NotYetValid),
        ("gold", wire::WithheldReason::ConsentMissing),
        ("green", wire::WithheldReason::Ineligible),
        ("loan", wire::WithheldReason::CapCustomer),
    ];
    for (id, result) in ids.iter().zip(&second) {
        assert_eq!(result.assignments.len(), usize::from(id != "stranger"), "{result:?}");
        let withheld = result.rejected.iter().map(|one| (one.offer_id.as_str(), one.withheld_reason()));
        let mut withheld: Vec<_> = withheld.collect();
        withheld.sort_by_key(|(offer, _)| *offer);
        assert_eq!((shown(result), withheld), (Vec::new(), expected.to_vec()), "{id}");
    }
}
