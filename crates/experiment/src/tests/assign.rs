//! Arms of customers: precedence, groups, eligibility, and what they do not depend on.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::{Just, Strategy as _, any, prop, prop_assert, prop_assert_eq, proptest};

use super::sample::{OFFERS, POLICY, apart, names, read_with};
use super::{CUSTOMERS, experiments, id, policy_with};
use crate::{
    Assignment, Experiments, ForceError, Forced, How, Names, PlacementNames, Split, Standing, State,
};

const APP: usize = 0;
const EMAIL: usize = 2;

fn now() -> DateTime<Utc> {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

/// The arms of a customer for whom every rule holds, by experiment and variant.
fn arms_of(
    experiments: &Experiments<String>,
    placement: usize,
    forced: &Forced,
    id: &str,
) -> (Standing, Vec<(String, String, How)>) {
    let mut arms = Vec::new();
    let standing = experiments.at(placement, now(), forced).assign(id, |_, _| true, &mut arms);
    (standing, named(experiments, &arms))
}

fn named(experiments: &Experiments<String>, arms: &[Assignment]) -> Vec<(String, String, How)> {
    let name = |arm: &Assignment| {
        let experiment = &experiments.all[arm.experiment];
        (experiment.id.clone(), experiment.variants[arm.variant].id.clone(), arm.how)
    };
    arms.iter().map(name).collect()
}

/// The first customer for whom this holds.
fn first(mut holds: impl FnMut(&str) -> bool) -> String {
    (0..CUSTOMERS).map(id).find(|id| holds(id)).unwrap()
}

fn arm(experiment: &str, variant: &str, how: How) -> (String, String, How) {
    (experiment.to_owned(), variant.to_owned(), how)
}

#[test]
fn many_experiments_of_all_schemes_are_drawn_each_for_itself() {
    let experiment = |number: usize| {
        let scheme = crate::Scheme::ALL[number % 5].0;
        let lines = format!("coverage = 0.5\nscheme = \"{scheme}\"");
        policy_with(&lines).replace("id = \"e\"", &format!("id = \"e{number:02}\""))
    };
    let experiments = experiments(&(0..37).map(experiment).collect::<String>());
    let forced = Forced::default();
    let draws = experiments.at(APP, now(), &forced);
    let mut arms = Vec::new();
    for id in (0..500).map(id).chain(["Zoë", "日本語"].map(str::to_owned)) {
        draws.assign(&id, |_, _| true, &mut arms);
        let found: Vec<(usize, usize)> = arms.iter().map(|arm| (arm.experiment, arm.variant)).collect();
        let expected: Vec<(usize, usize)> = (0..37)
            .filter_map(|number| {
                let scheme = crate::Scheme::ALL[number % 5].1;
                let split = Split::new(scheme, &format!("e{number:02}"), 0.5, &[0.5, 0.5]).unwrap();
                Some((number, split.variant(&id)?))
            })
            .collect();
        assert_eq!(found, expected, "{id}");
    }
}

#[test]
fn a_customer_has_an_arm_of_each_experiment_that_covers_them() {
    let experiments = experiments(POLICY);
    let (mut both, mut nothing) = (0, 0);
    for number in 0..2_000 {
        let (standing, arms) = arms_of(&experiments, APP, &Forced::default(), &id(number));
        assert!(arms.is_sorted_by(|left, right| left.0 < right.0), "{arms:?}");
        both += usize::from(arms.len() == 2);
        nothing += usize::from(standing == Standing::HeldOut);
        // The parts of the group are the whole group.
        let in_group = arms.iter().filter(|(experiment, ..)| experiment != "propensity_v7").count();
        assert_eq!(in_group, usize::from(standing == Standing::Open), "{arms:?}");
    }
    // A fifth is covered, 2 % are held out.
    assert!((300..500).contains(&both) && (15..70).contains(&nothing), "{both} {nothing}");
}

#[test]
fn an_experiment_stays_at_its_placements() {
    let experiments = experiments(POLICY);
    for number in 0..1_000 {
        let (_, arms) = arms_of(&experiments, EMAIL, &Forced::default(), &id(number));
        assert!(arms.iter().all(|(experiment, ..)| experiment != "propensity_v7"), "{arms:?}");
    }
}

#[test]
fn an_empty_id_is_neither_in_an_arm_nor_held_out() {
    let experiments = experiments(POLICY);
    let forced = experiments.force([("propensity_v7", "challenger")]).unwrap();
    for forced in [Forced::default(), forced] {
        assert_eq!(arms_of(&experiments, APP, &forced, ""), (Standing::Unidentified, Vec::new()));
    }
}

#[test]
fn eligibility_is_asked_only_where_it_decides() {
    let experiments = experiments(POLICY);
    let (mut asked, mut arms) = (Vec::new(), Vec::new());
    let forced = Forced::default();
    let draws = experiments.at(APP, now(), &forced);
    for number in 0..1_000 {
        asked.clear();
        draws.assign(
            &id(number),
            |experiment, rule| {
                asked.push((experiment, rule.clone()));
                false
            },
            &mut arms,
        );
        // The one experiment with a rule has nobody then.
        assert!(named(&experiments, &arms).iter().all(|(experiment, ..)| experiment != "propensity_v7"));
        let (_, all) = arms_of(&experiments, APP, &forced, &id(number));
        let covered = all.iter().any(|(experiment, ..)| experiment == "propensity_v7");
        let expected = if covered { vec![(1, "tenure".to_owned())] } else { Vec::new() };
        assert_eq!(asked, expected, "{number}");
    }
}

#[test]
fn a_listed_customer_is_in_their_variant_and_in_no_other_experiment_of_the_group() {
    let experiments = experiments(POLICY);
    let (_, arms) = arms_of(&experiments, APP, &Forced::default(), "tester-1");
    let expected =
        [arm("margins", "by_margin", How::Listed), arm("propensity_v7", "challenger", How::Listed)];
    assert_eq!(arms, expected);
    // Without being asked whether they are eligible.
    let mut arms = Vec::new();
    let forced = Forced::default();
    experiments.at(APP, now(), &forced).assign("tester-1", |_, _| panic!("not asked"), &mut arms);
    assert_eq!(arms.len(), 2);
}

#[test]
fn what_a_request_forces_displaces_lists_and_draws() {
    let experiments = experiments(POLICY);
    let forced = experiments.force([("weights", "travel_first"), ("propensity_v7", "champion")]).unwrap();
    let expected =
        [arm("propensity_v7", "champion", How::Requested), arm("weights", "travel_first", How::Requested)];
    for id in ["tester-1", "C000001", "C000002"] {
        assert_eq!(arms_of(&experiments, APP, &forced, id), (Standing::Open, expected.to_vec()), "{id}");
    }
}

#[test]
fn what_a_request_forces_elsewhere_displaces_nothing() {
    let elsewhere = "id = \"margins\"\nplacements = [\"app_home\"]";
    let experiments = experiments(&POLICY.replace("id = \"margins\"", elsewhere));
    let forced = experiments.force([("margins", "by_margin")]).unwrap();
    let (mut drawn, mut held_out) = (0, 0);
    for number in 0..1_000 {
        let expected = arms_of(&experiments, EMAIL, &Forced::default(), &id(number));
        drawn += expected.1.len();
        held_out += usize::from(expected.0 == Standing::HeldOut);
        assert_eq!(arms_of(&experiments, EMAIL, &forced, &id(number)), expected, "{number}");
        let (_, here) = arms_of(&experiments, APP, &forced, &id(number));
        assert!(here.contains(&arm("margins", "by_margin", How::Requested)), "{here:?}");
        assert!(here.iter().all(|(experiment, ..)| experiment != "weights"), "{here:?}");
    }
    assert!(drawn > 0 && held_out > 0, "{drawn} {held_out}");
}

#[test]
fn what_cannot_be_forced_is_named() {
    let policy = POLICY.replace("id = \"propensity_v7\"", "id = \"propensity_v7\"\nstate = \"paused\"");
    let experiments = experiments(&policy);
    let refused = |wanted: &[(&'static str, &'static str)]| {
        experiments.force(wanted.iter().copied()).unwrap_err().to_string()
    };
    assert_eq!(refused(&[("wieghts", "as_is")]), "unknown experiment `wieghts`");
    assert_eq!(refused(&[("weights", "x")]), "experiment `weights` has no variant `x`");
    assert_eq!(
        refused(&[("propensity_v7", "challenger")]),
        "experiment `propensity_v7` is paused or stopped, so no variant can be forced"
    );
    let exclusive =
        |first, second| format!("variants of `{first}` and `{second}` exclude each other; force one of them");
    assert_eq!(refused(&[("weights", "as_is"), ("margins", "by_margin")]), exclusive("weights", "margins"));
    assert_eq!(refused(&[("weights", "as_is"), ("weights", "as_is")]), exclusive("weights", "weights"));
    assert_eq!(experiments.force([]), Ok::<_, ForceError>(Forced::default()));
}

#[test]
fn a_held_out_customer_is_reached_by_nothing_but_what_a_request_forces() {
    let policy = POLICY.replace("share = 0.02", "share = 0.5").replace("tester-1", "C000007");
    let experiments = experiments(&policy);
    let held_out = |id: &str| arms_of(&experiments, APP, &Forced::default(), id).0 == Standing::HeldOut;
    let forced = experiments.force([("propensity_v7", "challenger")]).unwrap();
    let customer = first(|id| held_out(id) && id != "C000007");
    let only = (Standing::Open, vec![arm("propensity_v7", "challenger", How::Requested)]);
    assert_eq!(arms_of(&experiments, APP, &forced, &customer), only);
    // Where the forced experiment does not hold, the holdout does.
    assert_eq!(arms_of(&experiments, EMAIL, &forced, &customer), (Standing::HeldOut, Vec::new()));
    // A list is no role.
    let listed = POLICY.replace("share = 0.02", "share = 0.5").replace("tester-1", &customer);
    let listed = super::experiments(&listed);
    assert_eq!(arms_of(&listed, APP, &Forced::default(), &customer), (Standing::HeldOut, Vec::new()));
}

#[test]
fn only_a_running_experiment_draws_and_only_a_live_one_is_forced() {
    for (name, state) in State::ALL {
        let experiments = experiments(&format!(
            "{}listed = [\"tester-1\"]",
            policy_with(&format!("coverage = 1.0\nstate = \"{name}\""))
        ));
        let (_, drawn) = arms_of(&experiments, APP, &Forced::default(), "C000001");
        assert_eq!(drawn.len(), usize::from(state == State::Running), "{name}");
        let (_, listed) = arms_of(&experiments, APP, &Forced::default(), "tester-1");
        let is_live = matches!(state, State::Draft | State::Running);
        assert_eq!(listed.len(), usize::from(is_live), "{name}");
        assert_eq!(experiments.force([("e", "a")]).is_ok(), is_live, "{name}");
    }
}

#[test]
fn a_pause_takes_everyone_out() {
    let paused = experiments(&policy_with("coverage = 1.0\nstate = \"paused\""));
    for number in 0..1_000 {
        assert_eq!(arms_of(&paused, APP, &Forced::default(), &id(number)), (Standing::Open, Vec::new()));
    }
}

#[test]
fn experiments_of_a_group_share_nobody() {
    let experiments = experiments(POLICY);
    let forced = Forced::default();
    let mut counts = [0; 2];
    for number in 0..CUSTOMERS {
        let (_, arms) = arms_of(&experiments, EMAIL, &forced, &id(number));
        let of = |name: &str| usize::from(arms.iter().any(|(experiment, ..)| experiment == name));
        let (weights, margins) = (of("weights"), of("margins"));
        assert!(weights + margins < 2, "{arms:?}");
        counts = [counts[0] + weights, counts[1] + margins];
    }
    // Half of the 98 % each.
    let expected = 0.49 * CUSTOMERS as f64;
    assert!(counts.iter().all(|count| (*count as f64 - expected).abs() < 1_000.0), "{counts:?}");
}

/// Every arm of some customers, as text.
fn all_arms(
    experiments: &Experiments<String>,
    ids: &[String],
    now: DateTime<Utc>,
) -> Vec<(String, Vec<String>)> {
    let forced = Forced::default();
    let draws = experiments.at(APP, now, &forced);
    let mut arms = Vec::new();
    let of = |id: &String| {
        draws.assign(id, |_, _| true, &mut arms);
        let mut names: Vec<String> =
            named(experiments, &arms).into_iter().map(|(one, two, _)| format!("{one}={two}")).collect();
        names.sort();
        (id.clone(), names)
    };
    ids.iter().map(of).collect()
}

#[test]
fn other_threads_and_another_reading_of_the_file_give_the_same_arms() {
    let ids: Vec<String> = (0..5_000).map(id).collect();
    let expected = all_arms(&experiments(POLICY), &ids, now());
    let again = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| all_arms(&experiments(POLICY), &ids, now()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(again.iter().all(|arms| *arms == expected));
}

#[test]
fn a_phase_ends_when_the_experiment_becomes_another_one() {
    let phase = |policy: &str| {
        let placements = placements();
        let names = names(&placements);
        let experiments = read_with(policy, OFFERS, &placements).unwrap();
        experiments.find("propensity_v7").unwrap().1.phase(&names).to_string()
    };
    let base = apart();
    let before = phase(&base);
    assert_eq!(before.len(), 16);
    for (valid, other) in [
        ("coverage = 0.2", "coverage = 0.3"),
        ("coverage = 0.2", "coverage = 0.2\nstate = \"paused\""),
        ("after = \"2d\"", "after = \"3d\""),
        ("listed = [\"tester-1\"]\n[[experiment.step]]", "[[experiment.step]]"),
        ("when = \"tenure\"", "when = \"tenure\"\nmetric = { primary = \"conversion\" }"),
        (
            "[[experiment.step]]",
            "[experiment.metric]\nprimary = \"calls\"\nalpha = 0.1\nguardrails = [{ metric = \"opt_out_rate\", tolerate \
             = 0.1 }]\n[[metric]]\nid = \"calls\"\nnumerator = { outcome = \"called_back\", sum = \"any\" }\nper = \
             \"customer\"\nbetter = \"higher\"\n[[experiment.step]]",
        ),
        // Of another experiment.
        ("group_range = [0.0, 0.5]", "group_range = [0.0, 0.4]"),
    ] {
        let policy = base.replacen(valid, other, 1);
        assert_ne!(policy, base, "{valid}");
        assert_eq!(phase(&policy), before, "{other}");
    }
    for (valid, other) in [
        ("coverage = 0.2", "coverage = 0.2\nseed = \"other\""),
        ("coverage = 0.2", "coverage = 0.2\nscheme = \"eppo\""),
        ("coverage = 0.2", "coverage = 0.2\ngroup = \"models\""),
        ("when = \"tenure\"", "when = \"longer\""),
        ("when = \"tenure\"", ""),
        ("placements = [\"app_home\"]", "placements = [\"app_home\", \"call_center\"]"),
        ("models = { propensity = 7 }", "models = { propensity = 8 }"),
        ("models = { propensity = 7 }", "models = { affinity = 7 }"),
        ("models = { propensity = 7 }", "models = { propensity = 7 }\ncount = 2"),
        ("models = { propensity = 7 }", "models = { propensity = 7 }\nstrategy = \"priority\""),
        ("models = { propensity = 7 }", "models = { propensity = 7 }\nexploration = { method = \"greedy\" }"),
        ("models = { propensity = 7 }", "models = { propensity = 7 }\ncategory_weights = { loans = 1 }"),
        (
            "models = { propensity = 7 }",
            "models = { propensity = 7 }\ncontext_weights = { looks_at_travel = 1 }",
        ),
        ("id = \"champion\"", "id = \"control\""),
        (
            "weight = 0.5\n[[experiment.variant]]\nid = \"challenger\"\nweight = 0.5",
            "weight = 0.6\n[[experiment.variant]]\nid = \"challenger\"\nweight = 0.4",
        ),
    ] {
        let policy = base.replacen(valid, other, 1);
        assert_ne!(policy, base, "{valid}");
        assert_ne!(phase(&policy), before, "{other}");
    }
}

fn placements() -> [PlacementNames<'static>; 3] {
    [
        PlacementNames { id: "app_home", models: vec!["propensity", "affinity"] },
        PlacementNames { id: "call_center", models: vec!["affinity"] },
        PlacementNames { id: "email", models: vec!["network"] },
    ]
}

#[test]
fn a_phase_does_not_depend_on_the_other_placements() {
    let phase = |placements: &[PlacementNames<'_>]| {
        let names = Names { placements, ..names(placements) };
        let experiments = read_with(POLICY, OFFERS, placements).unwrap();
        experiments.find("propensity_v7").unwrap().1.phase(&names)
    };
    let mut more = placements().to_vec();
    more.insert(0, PlacementNames { id: "aaa", models: Vec::new() });
    assert_eq!(phase(&more), phase(&placements()));
}

/// The experiments of the sample, one text each, after what stands before them.
fn parts() -> (String, Vec<String>) {
    let mut parts = POLICY.split("[[experiment]]").map(str::to_owned);
    let before = parts.next().unwrap();
    (before, parts.map(|part| format!("[[experiment]]{part}")).collect())
}

proptest! {
    #[test]
    fn the_order_of_customers_of_the_file_and_the_clock_do_not_matter(
        ids in prop::collection::vec("[A-Za-z0-9é]{1,12}", 1..40).prop_flat_map(|ids| (Just(ids.clone()), Just(ids).prop_shuffle())),
        parts in Just(parts().1).prop_shuffle(),
        seconds in 0..20 * 86_400_i64,
    ) {
        let shuffled = format!("{}{}", self::parts().0, parts.concat());
        let mut expected = all_arms(&experiments(POLICY), &ids.0, now());
        // Within the month: the holdout is drawn monthly.
        let mut found = all_arms(&experiments(&shuffled), &ids.1, now() - TimeDelta::seconds(seconds));
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_drawn_arm_is_the_split_by_id_seed_and_weights_alone(id in any::<String>(), coverage in 0..=100_u32) {
        let coverage = f64::from(coverage) / 100.0;
        let experiments = experiments(&policy_with(&format!("coverage = {coverage:?}")));
        let split = Split::new(crate::Scheme::GrowthBook, "e", coverage, &[0.5, 0.5]).unwrap();
        let mut arms = Vec::new();
        experiments.at(APP, now(), &Forced::default()).assign(&id, |_, _| true, &mut arms);
        prop_assert!(arms.iter().all(|arm| arm.how == How::Drawn));
        prop_assert_eq!(arms.first().map(|arm| arm.variant), split.variant(&id));
    }
}
