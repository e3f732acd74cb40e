//! Comparisons with shadows for tests.

use proptest::prelude::*;
use uuid::Uuid;

use super::{DAY, NOON, id_at};
use crate::proto::{RecordedModel, ShadowOffer, ShadowRecord};

/// A comparison with a shadow as a server records it, of a decision that was made a second ago: the shadow swaps the
/// first two offers, and a rule of it withholds the third.
pub(crate) fn shadow(compared_at: i64) -> ShadowRecord {
    let decided_at = compared_at.saturating_sub(1_000_000);
    let offer = |id: &str, champion: (f64, u32), shadow: (f64, u32), value| ShadowOffer {
        offer_id: id.to_owned(),
        champion_score: champion.0,
        champion_priority: champion.0 * value,
        champion_rank: champion.1,
        shadow_score: shadow.0,
        shadow_priority: shadow.0 * value,
        shadow_rank: shadow.1,
        value,
    };
    let model = |version| vec![RecordedModel { name: "propensity".to_owned(), version }];
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    ShadowRecord {
        format: 1,
        compared_at,
        server: "server".to_owned(),
        server_version: "0.1.0".to_owned(),
        release: 7,
        decision_id: id_at(decided_at),
        placement: "app_home".to_owned(),
        channel: "web".to_owned(),
        customer_id: format!("C{}", compared_at % 97),
        shadow: "propensity_v8".to_owned(),
        segment: Some(4),
        decided_at,
        champion_models: model(3),
        shadow_models: model(8),
        offers: vec![
            offer("travel_card", (0.25, 1), (0.125, 2), 80.0),
            offer("loan", (0.125, 2), (0.25, 1), 64.0),
            offer("gold", (0.0625, 3), (0.0, 0), 32.0),
        ],
        champion_shown: ids(&["travel_card", "loan"]),
        shadow_shown: ids(&["loan", "travel_card"]),
        withheld_by_shadow_only: ids(&["gold"]),
        champion_us: 41,
        shadow_us: 43,
        ..ShadowRecord::default()
    }
}

/// Comparisons with shadows at times, in the order in which they were appended.
pub(crate) fn shadows(times: impl IntoIterator<Item = i64>) -> Vec<ShadowRecord> {
    times.into_iter().map(shadow).collect()
}

/// Any comparison with a shadow: with texts and numbers that no server would write.
pub(crate) fn any_shadow() -> impl Strategy<Value = ShadowRecord> {
    let text = || prop_oneof![Just(String::new()), "[a-c]{1,2}", ".{0,12}"];
    let texts = || prop::collection::vec(text(), 0..3);
    let number = || prop_oneof![Just(0.0), Just(-0.0), Just(f64::NAN), Just(f64::INFINITY), any::<f64>()];
    let rank = || prop_oneof![Just(0), 1_u32..9, any::<u32>()];
    let time = || prop_oneof![8 => NOON - DAY..NOON + DAY, 1 => Just(0), 1 => any::<i64>()];
    let id = prop_oneof![4 => any::<u128>().prop_map(|id| Uuid::from_u128(id).to_string()), 1 => text()];
    let model = || (text(), any::<u64>()).prop_map(|(name, version)| RecordedModel { name, version });
    let models = || prop::collection::vec(model(), 0..3);
    let side = || (number(), number(), rank());
    let offer = (text(), side(), side(), number()).prop_map(|(offer_id, champion, shadow, value)| {
        let (champion_score, champion_priority, champion_rank) = champion;
        let (shadow_score, shadow_priority, shadow_rank) = shadow;
        ShadowOffer {
            offer_id,
            champion_score,
            champion_priority,
            champion_rank,
            shadow_score,
            shadow_priority,
            shadow_rank,
            value,
        }
    });
    let segment = prop::option::of(prop_oneof![Just(0), any::<i64>()]);
    let head = (id, text(), text(), text(), text(), text(), text());
    let numbers = (time(), time(), any::<u64>(), any::<u32>(), any::<u32>(), segment);
    let lists = (models(), models(), prop::collection::vec(offer, 0..4), texts(), texts(), texts(), texts());
    (head, numbers, lists).prop_map(|(head, numbers, lists)| {
        let (decision_id, placement, channel, customer_id, pseudonym_key, shadow, error) = head;
        let (compared_at, decided_at, release, champion_us, shadow_us, segment) = numbers;
        let (champion_models, shadow_models, offers, champion_shown, shadow_shown, champion, of_shadow) =
            lists;
        ShadowRecord {
            format: 1,
            compared_at,
            server: "server".to_owned(),
            server_version: String::new(),
            release,
            decision_id,
            placement,
            channel,
            customer_id,
            pseudonym_key,
            shadow,
            segment,
            decided_at,
            champion_models,
            shadow_models,
            offers,
            champion_shown,
            shadow_shown,
            withheld_by_champion_only: champion,
            withheld_by_shadow_only: of_shadow,
            champion_us,
            shadow_us,
            error,
            erased: Vec::new(),
        }
    })
}
