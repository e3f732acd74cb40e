//! A prior gives way to the model, and a throttle to impressions.

use proptest::prelude::{prop_assert, proptest};

use super::{Maturity, Prior};
use crate::tests::{chi_square, limit};
use crate::{OfferKey, Seed};

#[test]
fn a_prior_gives_way_to_the_model() {
    let prior = Prior { propensity: 0.05, evidence: 200.0 };
    let with = |impressions| prior.propensity(Some(0.25), impressions);
    assert!((with(0) - 0.05).abs() < 1e-15);
    assert!((with(200) - 0.15).abs() < 1e-15);
    assert!((with(1_800) - 0.23).abs() < 1e-15);
    assert!((with(u64::MAX) - 0.25).abs() < 1e-12);
    assert!((prior.propensity(None, 1_000) - 0.05).abs() < f64::EPSILON);
}

#[test]
fn an_immature_offer_is_admitted_to_its_share_of_the_decisions() {
    const DECISIONS: usize = 100_000;
    let maturity = Maturity { max_share: 0.02, impressions: 5_000 };
    let offer = OfferKey::of("travel_gold");
    let admitted = |impressions| {
        let admits = |id: &usize| maturity.admits(Seed::of_decision(*id as u128), offer, impressions);
        (0..DECISIONS).filter(admits).count()
    };
    let count = admitted(4_999);
    let expected = 0.02 * DECISIONS as f64;
    let statistic = chi_square(&[count, DECISIONS - count], &[expected, DECISIONS as f64 - expected]);
    assert!(statistic < limit(1), "{count}");
    assert_eq!(admitted(5_000), DECISIONS);
    let never = Maturity { max_share: 0.0, ..maturity };
    let always = Maturity { max_share: 1.0, ..maturity };
    for id in 0..1_000 {
        assert!(
            !never.admits(Seed::of_decision(id), offer, 0) && always.admits(Seed::of_decision(id), offer, 0)
        );
    }
}

proptest! {
    #[test]
    fn a_blended_propensity_stays_between_both(
        propensity in 0.0..=1.0_f64,
        evidence in 1.0..1e9_f64,
        model in 0.0..=1.0_f64,
        impressions: u64,
    ) {
        let blended = Prior { propensity, evidence }.propensity(Some(model), impressions);
        prop_assert!((propensity.min(model) - 1e-12..=propensity.max(model) + 1e-12).contains(&blended));
        prop_assert!((0.0..=1.0).contains(&blended));
    }
}
