//! The holdout: its share, its months, and its independence of the arms.

use chrono::{DateTime, TimeDelta, Utc};

use super::{CUSTOMERS, assert_independent, chi_square, experiments, id, limit, policy_with};
use crate::{Experiments, Forced, Standing};

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

/// A policy with this redraw, read with the zone Europe/Berlin.
fn holding(redraw: &str, share: f64) -> Experiments<String> {
    let holdout = format!("[holdout]\nshare = {share:?}\nredraw = \"{redraw}\"\n");
    experiments(&format!("{holdout}{}", policy_with("coverage = 1.0")))
}

/// Who of the first customers is held out at a moment.
fn held_out(experiments: &Experiments<String>, now: DateTime<Utc>, customers: usize) -> Vec<bool> {
    let forced = Forced::default();
    let draws = experiments.at(0, now, &forced);
    let mut arms = Vec::new();
    let standing = |number| draws.assign(&id(number), |_, _| true, &mut arms);
    (0..customers).map(standing).map(|standing| standing == Standing::HeldOut).collect()
}

#[test]
fn the_share_of_the_customers_is_held_out() {
    for share in [0.01, 0.05, 0.5] {
        let held = held_out(&holding("never", share), at("2026-11-30T12:00:00Z"), CUSTOMERS);
        let count = held.iter().filter(|held| **held).count();
        let expected = share * CUSTOMERS as f64;
        let counts = [count, CUSTOMERS - count];
        let statistic = chi_square(&counts, &[expected, CUSTOMERS as f64 - expected]);
        assert!(statistic < limit(1), "{share}: {count}");
    }
}

#[test]
fn a_month_ends_in_the_time_zone_of_the_policy() {
    let monthly = holding("monthly", 0.05);
    let held = |time: &str| held_out(&monthly, at(time), 2_000);
    // Midnight in Berlin is 23:00 in winter and 22:00 in summer.
    let november = held("2026-11-01T00:00:00Z");
    assert_eq!(held("2026-10-31T23:00:00Z"), november);
    assert_eq!(held("2026-11-30T22:59:59.999Z"), november);
    assert_ne!(held("2026-11-30T23:00:00Z"), november);
    assert_ne!(held("2026-10-31T22:59:59Z"), november);
    assert_eq!(held("2026-06-30T22:00:00Z"), held("2026-07-31T21:59:59Z"));
    assert_ne!(held("2026-06-30T21:59:59Z"), held("2026-06-30T22:00:00Z"));
    // Another year has another November.
    assert_ne!(held("2027-11-01T00:00:00Z"), november);
}

#[test]
fn nobody_leaves_the_holdout_by_asking_about_another_month() {
    let (november, december) = (at("2026-11-15T00:00:00Z"), at("2026-12-15T00:00:00Z"));
    let both = |experiments: &Experiments<String>, asked, clock| -> Vec<bool> {
        let forced = Forced::default();
        let draws = experiments.at(0, asked, &forced).held_out_at(clock);
        let mut arms = Vec::new();
        let standing = |number| draws.assign(&id(number), |_, _| true, &mut arms);
        (0..2_000).map(standing).map(|standing| standing == Standing::HeldOut).collect()
    };
    let monthly = holding("monthly", 0.1);
    let [first, second] = [november, december].map(|moment| held_out(&monthly, moment, 2_000));
    assert_ne!(first, second);
    let either: Vec<bool> = first.iter().zip(&second).map(|(first, second)| *first || *second).collect();
    assert_eq!(both(&monthly, november, december), either);
    assert_eq!(both(&monthly, december, november), either);
    assert_eq!(both(&monthly, november, november + TimeDelta::days(1)), first);
    let never = holding("never", 0.1);
    assert_eq!(both(&never, november, december), held_out(&never, november, 2_000));
}

#[test]
fn a_holdout_that_is_never_redrawn_stays() {
    let never = holding("never", 0.05);
    let held = held_out(&never, at("2026-11-01T00:00:00Z"), 2_000);
    for days in [1, 30, 365, 3_650] {
        assert_eq!(held_out(&never, at("2026-11-01T00:00:00Z") + TimeDelta::days(days), 2_000), held);
    }
}

#[test]
fn months_and_arms_are_independent_of_the_holdout() {
    let monthly = holding("monthly", 0.1);
    let november = held_out(&monthly, at("2026-11-15T00:00:00Z"), CUSTOMERS);
    let december = held_out(&monthly, at("2026-12-15T00:00:00Z"), CUSTOMERS);
    let mut months = [[0; 2]; 2];
    let mut arms = [[0; 2]; 2];
    let experiment = monthly.find("e").unwrap().1;
    for number in 0..CUSTOMERS {
        months[usize::from(november[number])][usize::from(december[number])] += 1;
        let arm = experiment.split.variant(&id(number)).unwrap();
        arms[usize::from(november[number])][arm] += 1;
    }
    assert_independent(&months, "November and December");
    assert_independent(&arms, "holdout and arm");
}
