//! Totals against a list of events and reservations.

mod pacing;

use std::sync::Arc;

use offer::Period;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::moment::{Millis, NEVER};
use crate::names::DECISION;
use crate::window::Window;

/// A type of outcome.
const ACCEPT: u16 = 5;
const MINUTE: Millis = 60_000;

/// A rule without pacing that reserves for half an hour.
fn rule(limit: TotalLimit, counted: u16, period: Period, most: i64) -> Rule {
    let (measure, asks) = match limit {
        TotalLimit::Cap => (Measure::Count, 1),
        TotalLimit::Budget => (Measure::Cost, spend().cost_micros),
    };
    Rule {
        limit,
        counted,
        window: Window::new(period, chrono_tz::Europe::Berlin),
        most,
        asks,
        measure,
        until: None,
        is_paced: false,
        reserve: if counted == DECISION { 0 } else { 30 * MINUTE },
    }
}

fn spend() -> Spend {
    Spend { cost_micros: 7, value_micros: 100 }
}

/// A ledger with the meters of a release.
struct Metered {
    ledger: Ledger,
    board: Arc<Board>,
    cap: Option<Arc<Meter>>,
    budget: Option<Arc<Meter>>,
}

impl Metered {
    fn new(rules: &[Rule], now: Millis) -> Self {
        Self::over(Ledger::default(), rules, now)
    }

    fn over(ledger: Ledger, rules: &[Rule], now: Millis) -> Self {
        let board: Arc<Board> = Arc::default();
        let meter = |limit| {
            let rule = rules.iter().find(|rule| rule.limit == limit);
            rule.map(|rule| ledger.meter(rule, &board, now))
        };
        let (cap, budget) = (meter(TotalLimit::Cap), meter(TotalLimit::Budget));
        Self { ledger, board, cap, budget }
    }

    /// Whether the board says that a meter may have no room.
    fn is_on_board(&self, limit: TotalLimit) -> bool {
        let (word, bit) = Board::place(self.meter(limit).slot());
        self.board.word(word) >> bit & 1 == 1
    }

    /// Another one in the same state.
    fn copy(&self, rules: &[Rule], now: Millis) -> Self {
        let ledger = Ledger::default();
        ledger.restore(self.ledger.save());
        Self::over(ledger, rules, now)
    }

    fn take(&self, decision: Uuid, now: Millis) -> Result<Taken, Refusal> {
        let charge = Charge { spend: spend(), cap: self.cap.as_ref(), budget: self.budget.as_ref() };
        self.ledger.take(decision, charge, true, now)
    }

    fn meter(&self, limit: TotalLimit) -> &Arc<Meter> {
        let meter = match limit {
            TotalLimit::Cap => &self.cap,
            TotalLimit::Budget => &self.budget,
        };
        meter.as_ref().unwrap()
    }
}

/// Everything that happened.
#[derive(Default)]
struct Naive {
    events: Vec<(u16, Millis)>,
    holds: Vec<(Uuid, TotalLimit, Hold)>,
}

impl Naive {
    fn confirmed(&self, rule: &Rule, now: Millis) -> i64 {
        let first = rule.window.first(now);
        let counted = self.events.iter().filter(|(of, at)| *of == rule.counted && *at >= first);
        counted.count() as i64 * Sum::one(spend()).of(rule.measure)
    }

    fn reserved(&self, rule: &Rule, now: Millis) -> i64 {
        let open = self.holds.iter().filter(|(_, limit, hold)| {
            *limit == rule.limit && hold.counted == rule.counted && hold.until > now
        });
        open.count() as i64 * Sum::one(spend()).of(rule.measure)
    }

    fn has_room(&self, rule: &Rule, now: Millis) -> bool {
        self.confirmed(rule, now) + self.reserved(rule, now) + rule.asks <= rule.most
    }
}

#[derive(Debug, Clone)]
enum Step {
    Take {
        keeps: bool,
    },
    /// An outcome of a decision so far, or of none, that happened some time before.
    Outcome {
        decision: prop::sample::Index,
        ago: Millis,
    },
    Foreign,
    Expire,
}

fn steps() -> impl Strategy<Value = Vec<(Millis, Step)>> {
    let step = prop_oneof![
        6 => any::<bool>().prop_map(|keeps| Step::Take { keeps }),
        3 => (any::<prop::sample::Index>(), 0..20 * MINUTE).prop_map(|(decision, ago)| Step::Outcome { decision, ago }),
        1 => Just(Step::Foreign),
        1 => Just(Step::Expire),
    ];
    let wait = prop_oneof![Just(0), 1..100_i64, 0..40 * MINUTE, 0..1_500 * MINUTE];
    prop::collection::vec((wait, step), 1..60)
}

fn period() -> impl Strategy<Value = Period> {
    prop_oneof![
        Just(Period::Sliding(chrono::TimeDelta::hours(2))),
        Just(Period::Sliding(chrono::TimeDelta::days(3))),
        Just(Period::Day),
        Just(Period::Week),
        Just(Period::Month),
        Just(Period::All),
    ]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let one = |limit, most: std::ops::Range<i64>| {
        let counted = prop_oneof![Just(DECISION), Just(ACCEPT)];
        let rule = (counted, period(), most)
            .prop_map(move |(counted, period, most)| rule(limit, counted, period, most));
        prop::option::of(rule)
    };
    let both = (one(TotalLimit::Cap, 0..6), one(TotalLimit::Budget, 0..40));
    both.prop_map(|(cap, budget)| cap.into_iter().chain(budget).collect())
}

/// On 25 March 2026, four days before the clocks change in Berlin.
const START: Millis = 196_600_000_000;

proptest! {
    #[test]
    fn totals_are_those_of_a_list(rules in rules(), steps in steps()) {
        let (mut now, mut naive) = (START, Naive::default());
        let metered = Metered::new(&rules, now);
        let mut decisions: Vec<Uuid> = Vec::new();
        for (number, (wait, step)) in steps.into_iter().enumerate() {
            now += wait;
            match step {
                Step::Take { keeps } => {
                    let decision = Uuid::from_u128(number as u128);
                    let refused = rules.iter().find(|rule| !naive.has_room(rule, now));
                    match metered.take(decision, now) {
                        Ok(taken) => {
                            prop_assert!(refused.is_none(), "{:?} has no room", refused);
                            if keeps {
                                decisions.push(decision);
                                naive.events.push((DECISION, now));
                                naive.holds.extend(taken.iter().map(|(limit, hold)| (decision, *limit, *hold)));
                            } else {
                                metered.ledger.give_back(decision, &taken, spend(), now);
                            }
                        }
                        Err(Refusal { limit, frees }) => {
                            prop_assert_eq!(Some(limit), refused.map(|rule| rule.limit));
                            let rule = refused.unwrap();
                            if frees == NEVER {
                                prop_assert!(!naive.has_room(rule, now + 4_000_000 * MINUTE));
                            } else {
                                prop_assert!(frees > now && naive.has_room(rule, frees), "{} {}", now, frees);
                                prop_assert!(!naive.has_room(rule, frees - 1), "{} {}", now, frees);
                            }
                        }
                    }
                }
                Step::Outcome { decision, ago } if !decisions.is_empty() => {
                    let decision = decisions[decision.index(decisions.len())];
                    let waits = |(of, _, hold): &(Uuid, TotalLimit, Hold)| {
                        *of == decision && hold.counted == ACCEPT && hold.until > now
                    };
                    let reserved = naive.holds.iter().filter(|one| waits(one)).count();
                    let counted = metered.ledger.outcome(Some(decision), ACCEPT, now - ago, spend(), now);
                    prop_assert_eq!(counted.was_reserved, reserved > 0);
                    naive.holds.retain(|one| !waits(one));
                    naive.events.push((ACCEPT, now - ago));
                    let waiting = rules.iter().filter(|rule| rule.counted == ACCEPT).count();
                    if reserved == waiting {
                        prop_assert_eq!(counted.overshoot, Overshoot::default());
                    }
                }
                Step::Outcome { .. } | Step::Foreign => {
                    metered.ledger.outcome(None, ACCEPT, now, spend(), now);
                    naive.events.push((ACCEPT, now));
                }
                Step::Expire => metered.ledger.expire(now),
            }
            for rule in &rules {
                let meter = metered.meter(rule.limit);
                let usage = metered.ledger.usage(meter, now);
                let expected = MeterUse {
                    confirmed: naive.confirmed(rule, now),
                    reserved: naive.reserved(rule, now),
                };
                prop_assert_eq!(usage, expected, "{:?} at {}", rule, now);
                prop_assert_eq!(now >= meter.frees(), naive.has_room(rule, now), "{}", meter.frees());
                prop_assert_eq!(metered.is_on_board(rule.limit), meter.frees() != 0);
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_back_or_ahead_never_makes_room_that_is_taken(
        rules in rules(),
        steps in prop::collection::vec((-70 * MINUTE..70 * MINUTE, any::<bool>()), 1..60),
    ) {
        let (mut now, mut naive) = (START, Naive::default());
        let metered = Metered::new(&rules, now);
        for (number, (wait, outcome)) in steps.into_iter().enumerate() {
            now = (now + wait).max(0);
            // A reservation that has lapsed stays lapsed.
            naive.holds.retain(|(_, _, hold)| hold.until > now);
            let decision = Uuid::from_u128(number as u128);
            if outcome {
                metered.ledger.outcome(None, ACCEPT, now, spend(), now);
                naive.events.push((ACCEPT, now));
                continue;
            }
            let fits = |rule: &Rule| naive.has_room(rule, now);
            let expected = rules.iter().all(fits);
            let taken = metered.take(decision, now);
            prop_assert_eq!(taken.is_ok(), expected, "at {}", now);
            if let Ok(taken) = taken {
                naive.events.push((DECISION, now));
                naive.holds.extend(taken.iter().map(|(limit, hold)| (decision, *limit, *hold)));
            }
        }
    }

    #[test]
    fn a_checkpoint_changes_nothing(rules in rules(), steps in steps()) {
        let mut now = START;
        let metered = Metered::new(&rules, now);
        for (number, (wait, step)) in steps.into_iter().enumerate() {
            now += wait;
            let decision = Uuid::from_u128(number as u128);
            match step {
                Step::Take { .. } => _ = metered.take(decision, now),
                Step::Outcome { decision, ago } => {
                    let decision = Uuid::from_u128(decision.index(number + 1) as u128);
                    metered.ledger.outcome(Some(decision), ACCEPT, now - ago, spend(), now);
                }
                Step::Foreign => _ = metered.ledger.outcome(None, ACCEPT, now, spend(), now),
                Step::Expire => metered.ledger.expire(now),
            }
        }
        let copy = metered.copy(&rules, now);
        for rule in &rules {
            let limit = rule.limit;
            let frees = (metered.meter(limit).frees(), copy.meter(limit).frees());
            prop_assert_eq!(now >= frees.0, now >= frees.1, "{:?}", frees);
            let usage = metered.ledger.usage(metered.meter(limit), now);
            prop_assert_eq!(usage, copy.ledger.usage(copy.meter(limit), now));
        }
        let next = Uuid::from_u128(u128::MAX);
        prop_assert_eq!(metered.take(next, now), copy.take(next, now));
    }
}

#[test]
fn an_outcome_behind_its_reservation_is_counted_and_reported() {
    let rules = [rule(TotalLimit::Cap, ACCEPT, Period::All, 1)];
    let metered = Metered::new(&rules, START);
    let [first, second] = [1, 2].map(Uuid::from_u128);
    metered.take(first, START).unwrap();
    // The reservation lapses, and the second decision gets the room.
    let later = START + 30 * MINUTE;
    assert_eq!(metered.take(second, later - 1), Err(Refusal { limit: TotalLimit::Cap, frees: later }));
    metered.take(second, later).unwrap();
    let counted = metered.ledger.outcome(Some(second), ACCEPT, later, spend(), later);
    assert!(counted.was_reserved && counted.overshoot == Overshoot::default());
    let counted = metered.ledger.outcome(Some(first), ACCEPT, later, spend(), later);
    assert!(!counted.was_reserved && counted.overshoot.cap_total);
    let usage = metered.ledger.usage(metered.meter(TotalLimit::Cap), later);
    assert_eq!(usage, MeterUse { confirmed: 2, reserved: 0 });
    assert_eq!(
        metered.take(Uuid::from_u128(3), later),
        Err(Refusal { limit: TotalLimit::Cap, frees: NEVER })
    );
}

#[test]
fn an_outcome_before_its_decision_leaves_no_reservation() {
    let rules = [rule(TotalLimit::Cap, ACCEPT, Period::All, 5)];
    let metered = Metered::new(&rules, START);
    let decision = Uuid::from_u128(1);
    let hold = Hold { counted: ACCEPT, until: START + 30 * MINUTE, spend: spend() };
    let taken = Taken::from_iter([(TotalLimit::Cap, hold)]);
    metered.ledger.outcome(Some(decision), ACCEPT, START + 5, spend(), START + 5);
    metered.ledger.decided(decision, START, spend(), &taken);
    let usage = metered.ledger.usage(metered.meter(TotalLimit::Cap), START + 5);
    assert_eq!(usage, MeterUse { confirmed: 1, reserved: 0 });
}

#[test]
fn a_new_limit_finds_what_was_counted_before() {
    let metered = Metered::new(&[], START);
    for number in 0..3 {
        metered.take(Uuid::from_u128(number), START + number as i64).unwrap();
    }
    let rules = [rule(TotalLimit::Cap, DECISION, Period::Day, 3)];
    let next = Metered::over(metered.ledger, &rules, START + 10);
    assert!(next.take(Uuid::from_u128(9), START + 10).is_err());
}

#[test]
fn a_meter_that_is_gone_leaves_nothing_on_the_board() {
    let board = Arc::default();
    let full = rule(TotalLimit::Cap, ACCEPT, Period::All, 0);
    let free = rule(TotalLimit::Cap, ACCEPT, Period::All, 1);
    let first = Ledger::default();
    let slots: Vec<usize> =
        [&full, &free, &full].map(|rule| Ledger::default().meter(rule, &board, START).slot()).into();
    assert_eq!(slots, [0, 0, 0], "a slot is given out again");
    let kept = first.meter(&full, &board, START);
    assert_eq!((kept.slot(), board.word(0)), (0, 1));
    let second = Ledger::default();
    let another = second.meter(&full, &board, START);
    assert_eq!((another.slot(), board.word(0)), (1, 0b11));
    drop((kept, first));
    assert_eq!(board.word(0), 0b10);
    assert_eq!(second.meter(&free, &board, START).slot(), 0);
    assert_eq!(board.word(0), 0b10);
}

#[test]
fn a_new_limit_of_any_length_finds_what_was_counted_years_before() {
    const DAY: Millis = 86_400_000;
    let metered = Metered::new(&[rule(TotalLimit::Cap, DECISION, Period::Day, 3)], START);
    metered.take(Uuid::from_u128(1), START).unwrap();
    for days in [10, 40, 400] {
        let now = START + days * DAY;
        metered.ledger.expire(now);
        let longer = Period::Sliding(chrono::TimeDelta::days(days + 1));
        let meter = metered.ledger.meter(&rule(TotalLimit::Cap, DECISION, longer, 3), &Arc::default(), now);
        assert_eq!(metered.ledger.usage(&meter, now).confirmed, 1, "{days}");
    }
    // No limit looks back further than ten years.
    metered.ledger.expire(START + 4_000 * DAY);
    assert!(metered.ledger.save().series.iter().all(|(_, series)| series.points().len() == 0));
}
