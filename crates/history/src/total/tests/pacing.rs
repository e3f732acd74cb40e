//! Budgets that are paced.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::*;

fn paced(counted: u16, period: Period, most: i64) -> Rule {
    Rule { is_paced: true, ..rule(TotalLimit::Budget, counted, period, most) }
}

/// The first moment of March 2026 in Berlin, one hour of which does not exist, and that of April.
fn march() -> (Millis, Millis) {
    let window = Window::new(Period::Month, chrono_tz::Europe::Berlin);
    (window.first(START), window.leaves(START))
}

/// Poisson arrivals: the next one after `mean` milliseconds on average.
fn next(random: &mut Xoshiro256PlusPlus, mean: f64) -> Millis {
    let uniform = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    (-(1.0 - uniform).ln() * mean) as Millis
}

/// Spends under arrivals that come `demand` times as often as the budget lasts for. Returns the shares of the budget
/// that are spent at each tenth of the month, and at its end.
fn spent(demand: f64, from: Millis, counted: u16, accepted_of_100: u64) -> Vec<f64> {
    let (begin, end) = march();
    let spendings = 10_000;
    let most = spendings * spend().cost_micros;
    let rules = [paced(counted, Period::Month, most)];
    let metered = Metered::new(&rules, begin);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(20_261_130);
    let mean = (end - from) as f64 / (spendings as f64 * demand);
    let (mut now, mut shares, mut number) = (from, Vec::new(), 0);
    let mut accepting: Vec<(Millis, Uuid)> = Vec::new();
    let share = |now: Millis| {
        let usage = metered.ledger.usage(metered.meter(TotalLimit::Budget), now);
        assert!(usage.confirmed + usage.reserved <= most, "{usage:?}");
        usage.confirmed as f64 / most as f64
    };
    loop {
        let arrival = now + next(&mut random, mean);
        while shares.len() < 10 && arrival >= begin + (end - begin) / 10 * (shares.len() as i64 + 1) {
            shares.push(share((begin + (end - begin) / 10 * (shares.len() as i64 + 1)).min(end - 1)));
        }
        if arrival >= end {
            break;
        }
        now = arrival;
        accepting.sort_unstable();
        while accepting.first().is_some_and(|(at, _)| *at <= now) {
            let (at, decision) = accepting.remove(0);
            let counted = metered.ledger.outcome(Some(decision), ACCEPT, at, spend(), at);
            assert!(counted.was_reserved && counted.overshoot == Overshoot::default());
        }
        number += 1;
        let decision = Uuid::from_u128(number);
        if metered.take(decision, now).is_ok()
            && counted != DECISION
            && random.next_u64() % 100 < accepted_of_100
        {
            accepting.push((now + next(&mut random, 4.0 * MINUTE as f64).min(29 * MINUTE), decision));
        }
    }
    while shares.len() < 10 {
        shares.push(share(end - 1));
    }
    shares
}

/// Whether every tenth of the month has its share within 2 % of the budget.
fn assert_even(shares: &[f64], tenths: std::ops::Range<usize>) {
    for tenth in tenths {
        let even = (tenth + 1) as f64 / 10.0;
        assert!((shares[tenth] - even).abs() <= 0.02, "{tenth}: {shares:?}");
    }
}

#[test]
fn a_budget_lasts_until_the_end_of_the_month_and_is_spent_then() {
    for demand in [1.2, 2.0, 10.0] {
        assert_even(&spent(demand, march().0, DECISION, 0), 0..10);
    }
}

#[test]
fn a_budget_is_spent_evenly_though_few_accept() {
    for accepted in [20, 60] {
        assert_even(&spent(12.0, march().0, ACCEPT, accepted), 0..10);
    }
}

#[test]
fn what_nobody_asked_for_is_spread_over_the_rest() {
    // Nothing for half of the month; then twice as fast, and not at once.
    let (begin, end) = march();
    let shares = spent(3.0, begin + (end - begin) / 2, DECISION, 0);
    assert!(shares[..5].iter().all(|share| *share < 0.02), "{shares:?}");
    for (tenth, share) in shares.iter().enumerate().skip(5) {
        let even = (tenth as f64 - 4.0) / 5.0;
        assert!((share - even).abs() <= 0.02, "{tenth}: {shares:?}");
    }
}

proptest! {
    #[test]
    fn a_paced_budget_frees_when_it_says(
        most in 7..4_000_i64, period in 0..4_usize, counted in prop_oneof![Just(DECISION), Just(ACCEPT)], steps in steps(),
    ) {
        let mut now = START;
        let periods = [Period::Day, Period::Week, Period::Month, Period::All];
        let until = (period == 3).then_some(START + 20_000 * MINUTE);
        let rules = [Rule { until, ..paced(counted, periods[period], most) }];
        let metered = Metered::new(&rules, now);
        let meter = metered.meter(TotalLimit::Budget);
        let mut decisions: Vec<Uuid> = Vec::new();
        for (number, (wait, step)) in steps.into_iter().enumerate() {
            now += wait;
            let decision = Uuid::from_u128(number as u128);
            match step {
                Step::Take { keeps } => {
                    let before = meter.frees();
                    let is_open = now >= before;
                    let taken = metered.take(decision, now);
                    prop_assert_eq!(taken.is_ok(), is_open, "{} {:?}", before, taken);
                    match taken {
                        Ok(_) if keeps => decisions.push(decision),
                        Ok(taken) => metered.ledger.give_back(decision, &taken, spend(), now),
                        Err(Refusal { frees: NEVER, .. }) => {}
                        Err(Refusal { frees, .. }) => {
                            prop_assert!(frees > now);
                            let just_before = metered.copy(&rules, now).take(decision, frees - 1);
                            prop_assert!(just_before.is_err(), "{} {}", now, frees);
                            let then = metered.copy(&rules, now).take(decision, frees);
                            prop_assert!(then.is_ok(), "{} {} {:?}", now, frees, then);
                        }
                    }
                }
                Step::Outcome { decision, ago } if !decisions.is_empty() => {
                    let decision = decisions[decision.index(decisions.len())];
                    metered.ledger.outcome(Some(decision), ACCEPT, now - ago, spend(), now);
                }
                Step::Outcome { .. } | Step::Foreign => {
                    metered.ledger.outcome(None, ACCEPT, now, spend(), now);
                }
                Step::Expire => metered.ledger.expire(now),
            }
        }
    }
}
