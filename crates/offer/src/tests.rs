//! Both files together: a valid pair is read, and each mistake is reported.

mod limits;
mod refusals;
mod sample;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use super::{Strategy, *};
use feature::Value;

const FEATURES: &str = r#"
[[feature]]
name = "balance"
type = "float"
entity = "customer"
[[feature]]
name = "month"
type = "int"
entity = "context"
[[feature]]
name = "annual_fee"
type = "float"
entity = "offer"
default = 10.0
[[feature]]
name = "network"
type = "string"
entity = "offer"
"#;

const OFFERS: &str = r#"
[[offer]]
id = "travel_gold"
name = "Travel Gold"
category = "travel"
placements = ["email", "app_home"]
channels = ["app", "email", "app"]
valid_from = 2026-01-01
valid_until = 2027-01-01T00:00:00Z
value = 80
cost = 5.5
weight = 25.0
eligibility = "customer.balance >= 3000.0"
exclusion = "segment.id == 2"
conflicts_with = ["travel_basic"]
consents = ["marketing"]
features = { annual_fee = 95, network = "visa" }
attributes = { headline = "Fly", stars = 5, rate = 1.5, new = true }

[[offer]]
id = "cash_back"
name = "Cash Back"
category = "cash"
placements = ["app_home"]
value = 40.0

[[offer]]
id = "travel_basic"
name = "Travel Basic"
category = "travel"
placements = ["app_home"]
value = 20.0

[[offer]]
id = "tips"
name = "Tips"
category = "cash"
placements = []
value = 0.0
"#;

const POLICY: &str = r#"
segmentation = "segments"

[[category]]
id = "travel"
weight = 10.0

[[category]]
id = "cash"

[[placement]]
id = "app_home"
description = "Home screen"
channels = ["app", "web"]
count = 3
strategy = "margin"
model = "propensity"
max_per_category = 1
fallback = "tips"
[[placement.scorer]]
model = "affinity"
categories = ["travel"]
[[placement.scorer]]
model = "other"
offers = ["travel_gold"]

[[placement]]
id = "email"
channels = ["email"]
count = 1
model = "propensity"

[[context_weight]]
id = "season"
when = "context.month >= 6"
percent = 100.0
categories = ["travel"]

[[context_weight]]
id = "always"
when = "true"
percent = -50
"#;

fn schema() -> FeatureSchema {
    FeatureSchema::parse("features.toml", FEATURES).unwrap()
}

fn catalog(offers: &str, policy: &str) -> Result<Catalog, Problems> {
    read(&schema(), ("offers.toml", offers), ("policy.toml", policy)).map_err(|invalid| invalid.problems)
}

#[test]
fn a_valid_pair_of_files_is_read() {
    let Catalog { library, policy, .. } = catalog(OFFERS, POLICY).unwrap();
    let ids: Vec<&str> = library.offers().iter().map(|offer| offer.id.as_ref()).collect();
    assert_eq!(ids, ["cash_back", "tips", "travel_basic", "travel_gold"]);
    assert_eq!(library.find("travel_gold"), Some(OfferIndex::new(3)));
    assert_eq!(library.find("nothing"), None);

    let gold = library.get(OfferIndex::new(3));
    assert_eq!(policy.categories[gold.category], Category { id: "travel".to_owned(), weight: 10.0 });
    assert_eq!(gold.placements, [0, 1].map(PlacementIndex::new));
    assert_eq!(gold.channels, ["app", "email"]);
    assert_eq!(gold.valid_from.unwrap().to_rfc3339(), "2026-01-01T00:00:00+00:00");
    assert_eq!((gold.value, gold.cost, gold.weight), (80.0, 5.5, 25.0));
    assert_eq!(gold.eligibility.as_ref().unwrap().source(), "customer.balance >= 3000.0");
    assert_eq!(gold.suitability, None);
    assert_eq!(gold.features, [Some(Value::Float(95.0)), Some(Value::String("visa".into()))]);
    assert_eq!(gold.attributes["stars"], Attribute::Int(5));
    assert_eq!(gold.attributes["rate"], Attribute::Float(1.5));
    assert_eq!(gold.attributes["new"], Attribute::Bool(true));
    assert_eq!(gold.attributes["headline"], Attribute::String("Fly".to_owned()));

    let basic = library.get(OfferIndex::new(2));
    assert_eq!(basic.features, [Some(Value::Float(10.0)), None]);
    assert_eq!((basic.cost, basic.weight), (0.0, 0.0));

    let app = policy.placement(policy.find_placement("app_home").unwrap());
    assert_eq!((app.count, app.strategy, app.max_per_category), (3, Strategy::Margin, Some(1)));
    assert_eq!(app.fallback, Some(OfferIndex::new(1)));
    assert_eq!(policy.placements[1].strategy, Strategy::Priority);
    assert_eq!(policy.context_weights[0].offers, [0, 1, 2, 3].map(OfferIndex::new));
    assert_eq!(policy.context_weights[1].offers, [2, 3].map(OfferIndex::new));
    assert_eq!(policy.segmentation.as_ref().unwrap().name, "segments");
    let models: Vec<&str> = policy.models().into_iter().collect();
    assert_eq!(models, ["affinity", "other", "propensity", "segments"]);
}

#[test]
fn dates_without_an_offset_are_read_in_the_time_zone_of_the_policy() {
    let policy = format!("time_zone = \"Europe/Berlin\"{POLICY}");
    let gold = |policy: &str| catalog(OFFERS, policy).unwrap().library.get(OfferIndex::new(3)).clone();
    let (here, utc) = (gold(&policy), gold(POLICY));
    assert_eq!(here.valid_from.unwrap().to_rfc3339(), "2025-12-31T23:00:00+00:00");
    assert_eq!(utc.valid_from.unwrap().to_rfc3339(), "2026-01-01T00:00:00+00:00");
    // An offset fixes the moment.
    assert_eq!(here.valid_until, utc.valid_until);
    let unknown = catalog(OFFERS, &format!("time_zone = \"Berlin\"{POLICY}")).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "policy.toml:1: `time_zone`: unknown time zone \"Berlin\"; use a name of the IANA database, such as \
         \"Europe/Berlin\"; did you mean `Europe/Berlin`?"
    );
}

#[test]
fn the_first_scorer_that_claims_an_offer_scores_it() {
    let policy = catalog(OFFERS, POLICY).unwrap().policy;
    let app = &policy.placements[0];
    let scored: Vec<(usize, &str)> = app
        .candidates
        .iter()
        .map(|candidate| (candidate.offer.get(), app.models[candidate.model].name.as_str()))
        .collect();
    assert_eq!(scored, [(0, "propensity"), (2, "affinity"), (3, "affinity")]);
}

#[test]
fn a_conflict_holds_in_both_directions() {
    let library = catalog(OFFERS, POLICY).unwrap().library;
    assert_eq!(library.get(OfferIndex::new(2)).conflicts_with, [OfferIndex::new(3)]);
    assert_eq!(library.get(OfferIndex::new(3)).conflicts_with, [OfferIndex::new(2)]);
}

#[test]
fn rules_read_the_fields_of_an_offer() {
    let catalog = catalog(OFFERS, POLICY).unwrap();
    let fields = catalog.fields(catalog.library.get(OfferIndex::new(3)));
    assert_eq!((fields.id, fields.category, fields.weight), ("travel_gold", "travel", 25.0));
}

/// The tables of [`OFFERS`], one text each.
fn offer_tables() -> Vec<String> {
    OFFERS.split("[[offer]]").skip(1).map(|table| format!("[[offer]]{table}")).collect()
}

/// Text that resembles one of the files.
fn pieces() -> impl Generator<Value = String> {
    let lines: Vec<&'static str> = OFFERS.lines().chain(POLICY.lines()).collect();
    let piece = prop_oneof![
        4 => prop::sample::select(lines).prop_map(str::to_owned),
        1 => "[a-z_]{1,8} = (-?[0-9]{1,4}|\"[a-z]{0,5}\"|\\[\\]|\\{\\}|true|inf|2026-01-01)",
    ];
    prop::collection::vec(piece, 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn the_order_of_the_file_does_not_matter(tables in Just(offer_tables()).prop_shuffle()) {
        let (found, sorted) =
            (catalog(&tables.concat(), POLICY).unwrap(), catalog(OFFERS, POLICY).unwrap());
        prop_assert_eq!((found.library, found.policy), (sorted.library, sorted.policy));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(offers: Vec<u8>, policy: Vec<u8>) {
        let _ = catalog(&String::from_utf8_lossy(&offers), &String::from_utf8_lossy(&policy));
    }

    #[test]
    fn no_text_like_the_files_makes_the_reader_panic(offers in pieces(), policy in pieces()) {
        let _ = catalog(&offers, &policy);
        let _ = catalog(&offers, POLICY);
        let _ = catalog(OFFERS, &policy);
    }
}

#[test]
fn the_shadows_of_a_policy_are_those_of_its_names() {
    let shadow = "\n[[shadow]]\nid = \"affinity_v3\"\nplacements = [\"app_home\"]\nsample = 0.2\n\
                  models = { affinity = 3 }\ncategory_weights = { travel = 20.0 }\n";
    let with = catalog(OFFERS, &format!("{POLICY}{shadow}")).unwrap();
    let [found] = &with.experiments.shadows[..] else { panic!("{:?}", with.experiments.shadows) };
    let places: Vec<bool> = (0..2).map(|placement| found.is_at(placement)).collect();
    assert_eq!((&*found.id, places), ("affinity_v3", vec![true, false]));
    let named: Vec<_> =
        found.changes.models.iter().map(|model| (model.name.as_str(), model.version)).collect();
    assert_eq!((named, &found.changes.category_weights), (vec![("affinity", 3)], &vec![(1, 20.0)]));
    // It has no phase, and rules are compiled as without it.
    assert!(with.phases.is_empty() && catalog(OFFERS, POLICY).unwrap().experiments.shadows.is_empty());
    let wrong = shadow.replace("affinity = 3", "affinty = 3");
    let message = catalog(OFFERS, &format!("{POLICY}{wrong}")).unwrap_err().to_string();
    assert!(
        message.contains("no placement of the shadow uses model `affinty`; did you mean `affinity`?"),
        "{message}"
    );
}

#[test]
fn metrics_count_the_outcomes_of_the_policy() {
    let metric = "\n[[outcome]]\nid = \"called_back\"\nkind = \"positive\"\n[[metric]]\nid = \"calls\"\n\
                  numerator = { outcome = \"called_back\", sum = \"count\" }\nper = \"decision\"\nbetter = \"higher\"\n";
    let with = catalog(OFFERS, &format!("{POLICY}{metric}")).unwrap();
    let (_, calls) = with.experiments.find_metric("calls").unwrap();
    assert_eq!(calls.denominator, experiment::Denominator::Decisions);
    let wrong = metric.replace("id = \"called_back\"", "id = \"called\"");
    let message = catalog(OFFERS, &format!("{POLICY}{wrong}")).unwrap_err().to_string();
    let expected = "metric `calls` [numerator]: `outcome`: unknown outcome `called_back`, not built in and no [[outcome]]";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn the_metrics_of_every_policy_count_outcomes_of_every_policy() {
    use experiment::{Denominator, Numerator};
    for metric in experiment::built_in() {
        let mut sums = Vec::new();
        if let Numerator::Outcomes(sum) = &metric.numerator {
            sums.push(sum);
        }
        if let Denominator::Outcomes(sum) = &metric.denominator {
            sums.push(sum);
        }
        for outcome in sums.into_iter().flat_map(|sum| &sum.outcomes) {
            assert!(OUTCOMES.iter().any(|(known, _)| known == outcome), "{}: {outcome}", metric.id);
        }
    }
}
