//! Comparisons for tests.

use crate::{Compared, ComparedOffer, Comparison, ModelVersion, Ranked};

/// A number of 0..1 for each position, without a pattern.
pub(crate) fn share(at: u64) -> f64 {
    let mut x = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Gives the offers of a side their ranks: by priority, those with a score of 0 not at all.
fn rank(offers: &mut [ComparedOffer], side: fn(&mut ComparedOffer) -> &mut Option<Ranked>) -> Vec<u32> {
    let mut order: Vec<(f64, usize)> = Vec::new();
    for (at, offer) in offers.iter_mut().enumerate() {
        order.extend(side(offer).map(|ranked| (-ranked.priority, at)));
    }
    order.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    for (place, (_, at)) in (1..).zip(&order) {
        if let Some(ranked) = side(&mut offers[*at]) {
            ranked.rank = place;
        }
    }
    order.into_iter().take(3).map(|(_, at)| at as u32).collect()
}

/// The comparison at a position. `shift` is how far the shadow's scores are from the champion's: with 0 it is the same.
pub(crate) fn comparison(at: u64, shift: f64) -> Comparison {
    let count = 2 + at % 9;
    let offer = |offer: u64| {
        let score = 0.2 * share(97 * at + offer);
        let moved = (score + shift * (share(89 * at + offer + 7_000_000) - 0.4)).clamp(0.0, 1.0);
        let value = 5.0 + 10.0 * offer as f64;
        let ranked = |score: f64| Some(Ranked { rank: 0, score, priority: score * value });
        ComparedOffer {
            offer_id: format!("offer_{offer}"),
            value,
            champion: ranked(score),
            shadow: if shift > 0.0 && (at + offer).is_multiple_of(13) { None } else { ranked(moved) },
        }
    };
    let mut offers: Vec<ComparedOffer> = (0..count).map(offer).collect();
    let champion_shown = rank(&mut offers, |offer| &mut offer.champion);
    let shadow_shown = rank(&mut offers, |offer| &mut offer.shadow);
    let failed = shift > 0.0 && at % 31 == 30;
    let model = |version| vec![ModelVersion { name: "propensity".to_owned(), version }];
    Comparison {
        shadow: "challenger".to_owned(),
        placement: if at.is_multiple_of(3) { "app_home" } else { "call_center" }.to_owned(),
        segment: (!at.is_multiple_of(5)).then_some((at % 4) as i64),
        decision_id: format!("{at:032x}"),
        decided_at: 1_796_000_000_000_000 + at as i64 * 1_000_000,
        release: 7 + at / 500,
        champion_models: model(7),
        shadow_models: model(if shift > 0.0 { 8 } else { 7 }),
        result: if failed {
            Err(format!("the model has no column `balance_{}`", at % 2))
        } else {
            Ok(Compared {
                offers,
                champion_shown,
                shadow_shown,
                withheld_by_champion_only: 0,
                withheld_by_shadow_only: u32::from(shift > 0.0 && at % 50 == 1),
                champion_us: 20 + (at % 17) as u32,
                shadow_us: 25 + (at % 19) as u32,
            })
        },
    }
}

/// A decision in which nobody shows or ranks anything.
pub(crate) fn empty(at: u64) -> Comparison {
    Comparison { result: Ok(Compared::default()), ..comparison(at, 0.0) }
}
