//! What a promotion must not do to callers: calls that were valid before it stay valid.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;
use tonic::Code;

use super::harness::{rank_request, wire};
use super::small::{INPUTS, Small, Texts, shown};

const CHANNELS: [&str; 3] = ["app", "mail", "web"];
const CONSENTS: [&str; 2] = ["mail", "calls"];

/// Numeric types in widening order: a value of one is also a value of the next.
const NUMBERS: [&str; 3] = ["bool", "int", "float"];

/// A release drawn from the common pool.
#[derive(Debug, Clone)]
struct Drawn {
    /// Name → index in [`NUMBERS`], 3 for strings; customer features `f0`…, context features `k0`….
    features: BTreeMap<String, usize>,
    /// Features of the pool that belong to another entity in this release.
    moved: BTreeSet<String>,
    consent_features: Vec<&'static str>,
    offers: BTreeMap<usize, OfferSpec>,
    channels: Vec<&'static str>,
    fallback: bool,
}

#[derive(Debug, Clone)]
struct OfferSpec {
    consents: Vec<&'static str>,
    channels: Vec<&'static str>,
    /// Whether its rule reads the first numeric customer feature.
    rule: bool,
}

fn offer_spec() -> impl Strategy<Value = OfferSpec> {
    let consents = prop::sample::subsequence(CONSENTS.to_vec(), 0..=1);
    let channels = prop::sample::subsequence(CHANNELS.to_vec(), 0..=2);
    (consents, channels, any::<bool>()).prop_map(|(consents, channels, rule)| OfferSpec {
        consents,
        channels,
        rule,
    })
}

fn pool() -> Vec<String> {
    (0..4).map(|at| format!("f{at}")).chain((0..3).map(|at| format!("k{at}"))).collect()
}

fn release() -> impl Strategy<Value = Drawn> {
    let features = pool()
        .into_iter()
        .map(|name| (Just(name), prop::option::weighted(0.7, 0..4_usize)))
        .collect::<Vec<_>>();
    (
        features,
        prop::sample::subsequence(pool(), 0..=2),
        prop::sample::subsequence(CONSENTS.to_vec(), 0..=2),
        prop::collection::btree_map(0..6_usize, offer_spec(), 1..6),
        prop::sample::subsequence(CHANNELS.to_vec(), 1..=3),
        any::<bool>(),
    )
        .prop_map(|(features, moved, consent_features, offers, channels, fallback)| Drawn {
            features: features.into_iter().filter_map(|(name, kind)| Some((name, kind?))).collect(),
            moved: moved.into_iter().collect(),
            consent_features,
            offers,
            channels,
            fallback,
        })
}

/// The next release from the same pool: types stay or widen, as otherwise the call would change its meaning.
fn successor(before: &Drawn, mut after: Drawn) -> Drawn {
    for (name, kind) in &mut after.features {
        if let Some(old) = before.features.get(name) {
            *kind = if *old == 3 { 3 } else { (*kind).max(*old).min(2) };
        }
    }
    after
}

fn texts(release: &Drawn) -> Texts {
    let mut features = INPUTS.to_owned();
    for (name, kind) in &release.features {
        let own = if name.starts_with('f') { "customer" } else { "context" };
        let other = if own == "customer" { "context" } else { "customer" };
        let entity = if release.moved.contains(name) { other } else { own };
        let kind = NUMBERS.get(*kind).unwrap_or(&"string");
        write!(features, "[[feature]]\nname = '{name}'\ntype = '{kind}'\nentity = '{entity}'\n").unwrap();
    }
    for consent in &release.consent_features {
        write!(features, "[[feature]]\nname = 'consent_{consent}'\ntype = 'bool'\nentity = 'customer'\n")
            .unwrap();
    }
    let number = release.features.iter().find(|(name, kind)| {
        name.starts_with('f') && (1..3).contains(*kind) && !release.moved.contains(*name)
    });
    let mut offers = String::new();
    for (id, spec) in &release.offers {
        write!(
            offers,
            "[[offer]]\nid = 'o{id}'\nname = ''\ncategory = 'c'\nplacements = ['p']\nvalue = {id}.5\n\
             consents = {:?}\nchannels = {:?}\n",
            spec.consents, spec.channels
        )
        .unwrap();
        if let Some((name, _)) = number.filter(|_| spec.rule) {
            writeln!(offers, "eligibility = 'customer.{name} >= 0'").unwrap();
        }
    }
    offers.push_str("[[offer]]\nid = 'last'\nname = ''\ncategory = 'c'\nplacements = []\nvalue = 0.0\n");
    let fallback = if release.fallback { "fallback = 'last'\n" } else { "" };
    let policy = format!(
        "[[category]]\nid = 'c'\n[[placement]]\nid = 'p'\nchannels = {:?}\ncount = 2\nmodel = 'base'\n{fallback}",
        release.channels
    );
    Texts {
        features,
        offers,
        policy,
        customers: "customer_id,f0,consent_mail\na,1,false\nb,0,true\n".to_owned(),
    }
}

/// The parts of a call; [`call`] fits them to a release.
#[derive(Debug, Clone)]
struct Parts {
    customers: Vec<(&'static str, Vec<&'static str>)>,
    sent: BTreeSet<String>,
    dense: bool,
    channel: prop::sample::Index,
    candidates: BTreeSet<usize>,
    excluded: BTreeSet<usize>,
    count: u32,
}

fn parts() -> impl Strategy<Value = Parts> {
    let customer = (
        prop::sample::select(vec!["a", "b", "unknown"]),
        prop::sample::subsequence(vec!["mail", "calls", "fax"], 0..=3),
    );
    (
        prop::collection::vec(customer, 1..4),
        prop::sample::subsequence(pool(), 0..=7),
        any::<bool>(),
        any::<prop::sample::Index>(),
        prop::collection::btree_set(0..6_usize, 0..4),
        prop::collection::btree_set(0..6_usize, 0..4),
        0..4_u32,
    )
        .prop_map(|(customers, sent, dense, channel, candidates, excluded, count)| Parts {
            customers,
            sent: sent.into_iter().collect(),
            dense,
            channel,
            candidates,
            excluded,
            count,
        })
}

/// A call that is valid for a release.
fn call(release: &Drawn, parts: &Parts) -> wire::RankRequest {
    use wire::feature_column::Values;
    use wire::feature_value::Kind;
    let rows = parts.customers.len();
    let mut batch = wire::FeatureBatch { rows: rows as u32, dense: None, columns: Vec::new() };
    let (mut dense_names, mut context) = (Vec::new(), HashMap::new());
    for (name, kind) in release.features.iter().filter(|(name, _)| parts.sent.contains(*name)) {
        if name.starts_with('f') == release.moved.contains(name) {
            let kind = match kind {
                0 => Kind::BoolValue(true),
                1 => Kind::Int64Value(7),
                2 => Kind::FloatValue(7.5),
                _ => Kind::StringValue("seven".to_owned()),
            };
            context.insert(name.clone(), wire::FeatureValue { kind: Some(kind) });
            continue;
        }
        if parts.dense && *kind < 3 {
            dense_names.push(name.as_str());
            continue;
        }
        let values = match kind {
            0 => Values::Bools(wire::BoolValues { values: vec![true; rows] }),
            1 => Values::Int64s(wire::Int64Values { values: vec![7; rows] }),
            2 => Values::Floats(wire::FloatValues { values: vec![7.5; rows] }),
            _ => Values::Strings(wire::StringValues { values: vec!["seven".to_owned(); rows] }),
        };
        batch.columns.push(wire::FeatureColumn {
            name: name.clone(),
            values: Some(values),
            null_rows: vec![],
        });
    }
    // 1 is a value of every numeric type.
    let values = vec![1.0; rows * dense_names.len()];
    batch.dense = Some(wire::DenseFeatures { names: dense_names.into_iter().collect(), values });
    let ids = |chosen: &BTreeSet<usize>| {
        chosen.iter().filter(|id| release.offers.contains_key(id)).map(|id| format!("o{id}")).collect()
    };
    wire::RankRequest {
        customers: parts
            .customers
            .iter()
            .map(|(id, consents)| wire::Customer {
                customer_id: (*id).to_owned(),
                consents: consents.iter().map(|consent| (*consent).to_owned()).collect(),
            })
            .collect(),
        channel: (*parts.channel.get(&release.channels)).to_owned(),
        features: Some(batch),
        context,
        candidate_offer_ids: ids(&parts.candidates),
        exclude_offer_ids: ids(&parts.excluded),
        count: parts.count,
        ..rank_request("p", &[])
    }
}

#[test]
fn no_promotion_turns_a_good_call_bad() {
    let (runtime, small) = (Runtime::new().unwrap(), Small::new());
    let strategy = (release(), release(), prop::collection::vec(parts(), 8));
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    runner
        .run(&strategy, |(before, after, drawn)| {
            let after = successor(&before, after);
            let calls: Vec<wire::RankRequest> = drawn.iter().map(|parts| call(&before, parts)).collect();
            for release in [&before, &after] {
                small.publish(&texts(release));
                for request in &calls {
                    let answered = runtime.block_on(small.rank(request.clone()));
                    let response =
                        answered.map_err(|status| TestCaseError::fail(format!("{status} of {request:?}")))?;
                    prop_assert_eq!(response.results.len(), request.customers.len());
                    for result in &response.results {
                        prop_assert!(result.error.is_none(), "{:?} of {:?}", result.error, request);
                        check(release, request, result)?;
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

/// Checks that only permitted offers are shown, and that names unknown to the release are reported.
fn check(
    release: &Drawn,
    request: &wire::RankRequest,
    result: &wire::RankResult,
) -> Result<(), TestCaseError> {
    let reports = |entry: &str| result.degraded.iter().any(|one| one == entry);
    let has_channel = release.channels.contains(&request.channel.as_str());
    prop_assert_eq!(reports(&format!("unknown_channel:{}", request.channel)), !has_channel);
    prop_assert!(has_channel || result.offers.is_empty());
    let known = |id: &str| release.offers.contains_key(&id[1..].parse().unwrap());
    for id in request.candidate_offer_ids.iter().chain(&request.exclude_offer_ids) {
        prop_assert_eq!(reports(&format!("unknown_offer:{id}")), !known(id));
    }
    for name in request.context.keys() {
        let fits =
            release.features.contains_key(name) && name.starts_with('k') != release.moved.contains(name);
        prop_assert_eq!(reports(&format!("unknown_feature:{name}")), !fits);
    }
    let narrowed = !request.candidate_offer_ids.is_empty();
    for id in shown(result) {
        let candidate = request.candidate_offer_ids.iter().any(|one| one == id);
        prop_assert!(id == "last" || candidate || !narrowed, "{} was not a candidate", id);
        prop_assert!(!request.exclude_offer_ids.iter().any(|one| one == id), "{} was excluded", id);
    }
    if narrowed && !request.candidate_offer_ids.iter().any(|id| known(id)) {
        let fallback: &[&str] = if release.fallback && has_channel { &["last"] } else { &[] };
        prop_assert_eq!(shown(result), fallback);
    }
    Ok(())
}

fn two_offers(also: &str) -> Texts {
    let offer = |id: &str, placements: &str| {
        format!("[[offer]]\nid = '{id}'\nname = ''\ncategory = 'c'\nplacements = {placements}\nvalue = 5.0\n")
    };
    Texts {
        features: INPUTS.to_owned(),
        offers: offer("a", "['p']") + &offer("last", "[]") + also,
        policy:
            "[[category]]\nid = 'c'\n[[placement]]\nid = 'p'\nchannels = ['app']\ncount = 3\nmodel = 'base'\n\
                 fallback = 'last'\n"
                .to_owned(),
        customers: "customer_id,m0\nc1,0.5\n".to_owned(),
    }
}

#[tokio::test]
async fn a_retired_offer_may_still_be_excluded_or_named_as_candidate() {
    let small = Small::new();
    let retired = "[[offer]]\nid = 'old'\nname = ''\ncategory = 'c'\nplacements = ['p']\nvalue = 9.0\n";
    let exclude =
        || wire::RankRequest { exclude_offer_ids: vec!["old".to_owned()], ..rank_request("p", &["c1"]) };
    let candidates = |ids: &[&str]| wire::RankRequest {
        candidate_offer_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..rank_request("p", &["c1"])
    };
    small.publish(&two_offers(retired));
    let before = small.one(exclude()).await;
    assert_eq!((shown(&before), &before.degraded[..]), (vec!["a"], &["default:m1".to_owned()][..]));
    assert_eq!(shown(&small.one(candidates(&["old"])).await), ["old"]);
    small.publish(&two_offers(""));
    let after = small.one(exclude()).await;
    let named = |result: &wire::RankResult| result.degraded.iter().any(|one| one == "unknown_offer:old");
    assert!(shown(&after) == ["a"] && named(&after), "{after:?}");
    let some = small.one(candidates(&["old", "a"])).await;
    assert!(shown(&some) == ["a"] && named(&some), "{some:?}");
    let none = small.one(candidates(&["old"])).await;
    assert!(shown(&none) == ["last"] && named(&none), "{none:?}");
    assert!(none.offers[0].fallback);
    // A placement is indispensable, so an unknown one is still an error.
    let placement = small.rank(rank_request("elsewhere", &["c1"])).await.unwrap_err();
    assert_eq!(placement.code(), Code::NotFound);
}

#[tokio::test]
async fn a_customer_who_is_in_no_file_is_unknown_even_if_the_file_is_empty() {
    let small = Small::new();
    for (customers, expected) in
        [("customer_id,m0\nother,1\n", true), ("customer_id,m0\n", true), ("customer_id\nc1\n", false)]
    {
        small.publish(&Texts { customers: customers.to_owned(), ..two_offers("") });
        let unknown = |result: &wire::RankResult| result.degraded.iter().any(|one| one == "unknown_customer");
        assert_eq!(unknown(&small.one(rank_request("p", &["c1"])).await), expected, "{customers}");
        let mut sent = rank_request("p", &["c1"]);
        sent.features = Some(super::harness::dense(&["m0"], 1, &[0.25]));
        assert_eq!(unknown(&small.one(sent.clone()).await), expected, "with features, too: {customers}");
        sent.customers[0].customer_id = String::new();
        assert!(!unknown(&small.one(sent).await), "an anonymous visitor is not reported as unknown");
    }
}

#[tokio::test]
async fn only_features_that_the_decision_reads_are_reported() {
    let small = Small::new();
    let mut texts = two_offers(
        "[[offer]]\nid = 'ruled'\nname = ''\ncategory = 'c'\nplacements = ['p', 'r']\nvalue = 9.0\neligibility = 'customer.ruled > 1.0 || context.hour > 3'\n",
    );
    for (name, kind, entity) in [
        ("ruled", "float", "customer"),
        ("weighed", "int", "customer"),
        ("idle", "float", "customer"),
        ("hour", "int", "context"),
        ("idle_too", "string", "context"),
    ] {
        write!(texts.features, "[[feature]]\nname = '{name}'\ntype = '{kind}'\nentity = '{entity}'\n")
            .unwrap();
    }
    texts.policy.push_str(
        "[[placement]]\nid = 'q'\nchannels = ['app']\ncount = 3\nmodel = 'base'\n\
         [[placement]]\nid = 'r'\nchannels = ['app']\ncount = 3\nmodel = 'base'\n\
         [[context_weight]]\nid = 'w'\nwhen = 'has(customer.weighed)'\npercent = 10.0\noffers = ['a']\n",
    );
    small.publish(&texts);
    let degraded = async |request: wire::RankRequest| small.one(request).await.degraded;
    assert_eq!(
        degraded(rank_request("p", &["c1"])).await,
        ["default:m1", "missing:hour", "missing:ruled", "missing:weighed"]
    );
    assert_eq!(degraded(rank_request("r", &["c1"])).await, ["default:m1", "missing:hour", "missing:ruled"]);
    assert!(degraded(rank_request("q", &["c1"])).await.is_empty(), "no candidate, so no feature is read");
    let narrowed = |id: &str| wire::RankRequest {
        candidate_offer_ids: vec![id.to_owned()],
        ..rank_request("p", &["c1"])
    };
    assert_eq!(degraded(narrowed("a")).await, ["default:m1", "missing:weighed"]);
    assert_eq!(degraded(narrowed("ruled")).await, ["default:m1", "missing:hour", "missing:ruled"]);
}
