use std::sync::{Arc, LazyLock};

use event::keys::Keys;
use event::privacy::{PseudonymMode, Pseudonyms};
use proptest::collection::vec;
use proptest::prelude::*;
use release::{AssignedSegment, Snapshot};
use shadow::{ComparedOffer, ModelVersion, Ranked};

use super::*;
use crate::samples::{Models, Texts};

/// A release with a few offers.
static SNAPSHOT: LazyLock<Arc<Snapshot>> = LazyLock::new(|| Models::new().load(3, &Texts::sample(1)));

fn offers() -> Vec<OfferIndex> {
    SNAPSHOT.release.catalog().library.indexed().map(|(index, _)| index).collect()
}

fn id(offer: OfferIndex) -> String {
    SNAPSHOT.release.catalog().library.get(offer).id.to_string()
}

/// What an acceptance is worth: the same for both sides.
fn value(offer: OfferIndex) -> f64 {
    25.0 + offer.get() as f64
}

fn some_offers() -> impl Strategy<Value = Vec<OfferIndex>> {
    let all = offers();
    let count = all.len();
    (Just(all).prop_shuffle(), 0..=count).prop_map(|(all, count)| all[..count].to_vec())
}

fn side() -> impl Strategy<Value = Decided> {
    let ranking = (some_offers(), vec((0.0..=1.0_f64, -1e6..1e6_f64), 7)).prop_map(|(offers, numbers)| {
        let ranked = offers.into_iter().zip(numbers).map(|(offer, (score, priority))| RankedCandidate {
            offer,
            score,
            priority,
            value: value(offer),
            margin: 0.0,
        });
        ranked.collect::<Vec<_>>()
    });
    let models = vec(("[a-z]{1,8}", 1..9_u64), 0..3);
    (ranking, some_offers(), some_offers(), 0..u64::from(u32::MAX), models).prop_map(
        |(ranking, shown, mut withheld_by_rules, micros, models)| {
            withheld_by_rules.sort_unstable();
            Decided { ranking, shown, withheld_by_rules, took: Duration::from_micros(micros), models }
        },
    )
}

fn comparisons() -> impl Strategy<Value = ShadowComparison> {
    let segment = |id| AssignedSegment { id, name: "Busy".into(), distance: 0.5, margin: 0.1 };
    let both = (side(), side())
        .prop_map(|(champion, challenger)| Ok::<_, String>(Compared { champion, challenger }));
    let result = prop_oneof![3 => both, 1 => "[a-z ]{1,20}".prop_map(Err)];
    let texts = ["[a-z_0-9]{1,12}", "[a-z]{1,8}", "[a-z]{0,8}", "[A-Z0-9]{0,8}"];
    (texts, any::<u128>(), proptest::option::of(any::<i64>().prop_map(segment)), result).prop_map(
        |([shadow, placement, channel, customer_id], decision, segment, result)| ShadowComparison {
            shadow: shadow.into(),
            decision_id: Uuid::from_u128(decision),
            placement: placement.into(),
            channel: channel.into(),
            customer_id,
            segment,
            result,
        },
    )
}

/// The ranking of a side as a comparison has it, in order.
fn ranking(
    offers: &[ComparedOffer],
    side: fn(&ComparedOffer) -> Option<Ranked>,
) -> Vec<(String, f64, Ranked)> {
    let mut ranking: Vec<_> = offers
        .iter()
        .filter_map(|offer| side(offer).map(|ranked| (offer.offer_id.clone(), offer.value, ranked)))
        .collect();
    ranking.sort_by_key(|(_, _, ranked)| ranked.rank);
    ranking
}

fn expected_ranking(side: &Decided) -> Vec<(String, f64, Ranked)> {
    let ranked = (1..).zip(&side.ranking).map(|(rank, one)| {
        (id(one.offer), one.value, Ranked { rank, score: one.score, priority: one.priority })
    });
    ranked.collect()
}

proptest! {
    #[test]
    fn a_comparison_is_read_back_from_its_record(
        comparison in comparisons(),
        micros in 0..4_000_000_000_000_000_i64,
        waited in 0..1_000_000_i64,
    ) {
        let decided_at = DateTime::from_timestamp_micros(micros).unwrap();
        let compared_at = DateTime::from_timestamp_micros(micros + waited).unwrap();
        let record =
            shadow_record(&comparison, &SNAPSHOT.release, decided_at, compared_at, &Privacy::default());
        prop_assert_eq!(record.compared_at, micros + waited);
        prop_assert_eq!((&record.customer_id, &*record.channel), (&comparison.customer_id, &*comparison.channel));

        let read = shadow::read(record).unwrap().unwrap();
        prop_assert_eq!(&*read.shadow, &*comparison.shadow);
        prop_assert_eq!(&*read.placement, &*comparison.placement);
        prop_assert_eq!(read.segment, comparison.segment.map(|segment| segment.id));
        prop_assert_eq!(Uuid::parse_str(&read.decision_id).unwrap(), comparison.decision_id);
        prop_assert_eq!((read.decided_at, read.release), (micros, 3));
        let (read_both, both) = match (read.result, comparison.result) {
            (Ok(read), Ok(both)) => (read, both),
            (read, both) => {
                prop_assert_eq!(read.err(), both.err());
                return Ok(());
            }
        };

        let models = |side: &Decided| {
            let models = side.models.iter();
            models.map(|(name, version)| ModelVersion { name: name.clone(), version: *version }).collect::<Vec<_>>()
        };
        prop_assert_eq!(read.champion_models, models(&both.champion));
        prop_assert_eq!(read.shadow_models, models(&both.challenger));
        let offers = &read_both.offers;
        prop_assert_eq!(ranking(offers, |offer| offer.champion), expected_ranking(&both.champion));
        prop_assert_eq!(ranking(offers, |offer| offer.shadow), expected_ranking(&both.challenger));
        // Each offer is there once.
        let mut ids: Vec<&str> = offers.iter().map(|offer| &*offer.offer_id).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        prop_assert_eq!(ids.len(), count);
        let shown = |positions: &[u32]| -> Vec<String> {
            positions.iter().map(|at| offers[*at as usize].offer_id.clone()).collect()
        };
        let expected = |side: &Decided| side.shown.iter().map(|offer| id(*offer)).collect::<Vec<_>>();
        prop_assert_eq!(shown(&read_both.champion_shown), expected(&both.champion));
        prop_assert_eq!(shown(&read_both.shadow_shown), expected(&both.challenger));
        let alone = |one: &Decided, other: &Decided| {
            let alone = one.withheld_by_rules.iter().filter(|offer| !other.withheld_by_rules.contains(offer));
            alone.count() as u32
        };
        prop_assert_eq!(read_both.withheld_by_champion_only, alone(&both.champion, &both.challenger));
        prop_assert_eq!(read_both.withheld_by_shadow_only, alone(&both.challenger, &both.champion));
        prop_assert_eq!(u128::from(read_both.champion_us), both.champion.took.as_micros());
        prop_assert_eq!(u128::from(read_both.shadow_us), both.challenger.took.as_micros());
    }
}

fn failed(customer_id: &str, why: &str) -> ShadowComparison {
    ShadowComparison {
        shadow: "s".into(),
        decision_id: Uuid::from_u128(7),
        placement: "home".into(),
        channel: "app".into(),
        customer_id: customer_id.to_owned(),
        segment: None,
        result: Err(why.to_owned()),
    }
}

fn recorded(comparison: &ShadowComparison, privacy: &Privacy) -> ShadowRecord {
    shadow_record(comparison, &SNAPSHOT.release, DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH, privacy)
}

#[test]
fn a_customer_goes_by_the_pseudonym_that_decisions_have() {
    let text = "[[key]]\nid = \"k\"\nsecret = \"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\"\n\
                use = \"pseudonyms\"\nactive = true\n";
    let keys = Keys::parse("keys", text).unwrap();
    let pseudonyms = Pseudonyms::new(PseudonymMode::HmacSha256, &keys).unwrap();
    let expected = pseudonyms.of("c00001");
    let privacy = Privacy { pseudonyms, ..Privacy::default() };
    let record = recorded(&failed("c00001", "NaN"), &privacy);
    assert_eq!((record.customer_id, record.pseudonym_key), (expected.text, "k".to_owned()));
    // A visitor without an id has none.
    let record = recorded(&failed("", "NaN"), &privacy);
    assert_eq!((record.customer_id, record.pseudonym_key), (String::new(), String::new()));
}

#[test]
fn a_failure_without_words_is_still_a_failure() {
    let record = recorded(&failed("c", ""), &Privacy::default());
    assert_eq!(shadow::read(record).unwrap().unwrap().result, Err("no reason was given".to_owned()));
}
