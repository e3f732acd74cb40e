use report::checks::{self_contained, well_formed};

use super::*;
use crate::samples::{comparison, empty};
use crate::{Comparison, Ranked};

/// A name that injects a script unless it is escaped, moves a terminal's cursor, and begins a line of its own.
const HOSTILE: &str = "<b>&\"'</b>`<script src=\"http://example.com/x.js\">\u{1b}[2J\u{202e}\nforged";

fn tally(count: u64, shift: f64) -> Tally {
    let mut tally = Tally::default();
    (0..count).for_each(|at| tally.add(&comparison(at, shift)));
    tally
}

/// No script, nothing from elsewhere, no number that is none, and no character that a terminal or a reader stumbles
/// over.
fn sound(report: &Report) {
    let (html, text, json) = (report.html(), report.text(), report.json().unwrap());
    assert_eq!(well_formed(&html), Ok(()));
    assert_eq!(self_contained(&html), Ok(()));
    for report in [&html, &text] {
        for wrong in ["NaN", "inf ", "inf%", "inf<", "−0 ", "−0<"] {
            assert!(!report.contains(wrong), "{wrong}: {report}");
        }
    }
    assert!(!html.contains("<b>&\""), "{html}");
    assert!(html.chars().all(|letter| letter == '\n' || telemetry::foreign::is_shown(letter)), "{html}");
    assert!(text.chars().all(|letter| letter == '\n' || telemetry::foreign::is_shown(letter)), "{text:?}");
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed["shadows"].as_array().unwrap().len(), report.shadows.len());
}

#[test]
fn a_report_has_every_part_as_text_and_as_a_page() {
    let report = tally(2_000, 0.1).report(&Names::default());
    sound(&report);
    for shown in [report.html(), report.text()] {
        for word in [
            "The champion and the shadow show the same offer first in",
            "rank-biased overlap, p = 0.9",
            "Kendall's tau-b",
            "population stability index",
            "Kolmogorov–Smirnov",
            "By placement",
            "call_center",
            "pairs",
            "By segment",
            "Time and errors",
            "balance_1",
            "The largest disagreements",
            "propensity 8",
            "The shadow failed in 64 of 2,000 decisions",
            "Rules withhold other offers from the shadow in",
            "Assumptions and limits",
        ] {
            assert!(shown.replace("&#39;", "'").contains(word), "{word}: {shown}");
        }
    }
    assert_eq!(report.html().matches("<svg").count(), 3);
    for more in ["Each segment at each placement", "call_center: 2", "99 % of the changes are up to"] {
        assert!(report.html().contains(more), "{more}");
    }
    assert!(report.text().contains("HTML and JSON also have each segment at each placement."));
    assert_eq!((report.html(), report.text()), (report.html(), report.text()));
}

#[test]
fn names_are_shown_with_ids() {
    let mut names = Names::default();
    names.segments.insert(2, "Savers".to_owned());
    names.offers.insert("offer_1".to_owned(), "Gold card".to_owned());
    let report = tally(2_000, 0.3).report(&names);
    sound(&report);
    assert!(
        report.html().contains("2 Savers") && report.html().contains("Gold card <span class=\"id\">offer_1")
    );
    assert!(report.text().contains("2 Savers") && report.text().contains("Gold card (offer_1)"));
}

#[test]
fn hostile_names_are_shown_and_do_nothing() {
    let mut tally = Tally::default();
    for at in 0..300 {
        let mut hostile = comparison(at, 0.2);
        hostile.placement = format!("{HOSTILE}{}", at % 3);
        hostile.decision_id = format!("{HOSTILE}{at}");
        hostile.champion_models[0].name = HOSTILE.to_owned();
        match &mut hostile.result {
            Ok(compared) => {
                for offer in &mut compared.offers {
                    offer.offer_id = format!("{HOSTILE}{}", offer.offer_id);
                }
            }
            Err(reason) => *reason = HOSTILE.to_owned(),
        }
        for number in 0..=at % 2 {
            tally.add(&Comparison { shadow: format!("{HOSTILE}{number}"), ..hostile.clone() });
        }
    }
    tally.shed(HOSTILE, 12);
    let mut names = Names::default();
    names.segments.extend((0..4).map(|segment| (segment, HOSTILE.to_owned())));
    names.offers.insert(format!("{HOSTILE}offer_1"), HOSTILE.to_owned());
    let report = tally.report(&names);
    assert_eq!(report.shadows.len(), 3);
    sound(&report);
    assert!(report.html().contains("&lt;script src=") && report.html().contains("<p>From 2026-"));
    assert!(!report.text().lines().any(|line| line.trim_start().starts_with("forged")), "{}", report.text());
    for id in ["overview", "shadow-1", "shadow-3", "method"] {
        assert!(report.html().contains(&format!("<section id=\"{id}\">")), "{id}");
    }
}

#[test]
fn nothing_compared_gives_reports_without_numbers_that_are_none() {
    let nothing = Tally::default().report(&Names::default());
    sound(&nothing);
    assert!(nothing.text().contains("There was nothing to compare."));
    let failed = Comparison { result: Err("no".to_owned()), ..comparison(1, 0.1) };
    for one in [failed, empty(1), comparison(2, 0.1)] {
        let mut tally = Tally::default();
        tally.add(&one);
        sound(&tally.report(&Names::default()));
    }
}

#[test]
fn numbers_that_are_none_are_in_no_statistic() {
    let mut tally = tally(200, 0.1);
    for at in 0..50 {
        let mut odd = comparison(at, 0.1);
        if let Ok(compared) = &mut odd.result {
            for (offer, wrong) in compared.offers.iter_mut().zip([f64::NAN, f64::INFINITY, 1e300, -1.0]) {
                offer.value = wrong;
                offer.shadow = Some(Ranked { rank: u32::MAX, score: wrong, priority: wrong });
            }
            compared.champion_shown.push(u32::MAX);
        }
        tally.add(&odd);
    }
    sound(&tally.report(&Names::default()));
}

#[test]
fn a_shadow_that_is_the_champion_is_said_to_be_the_same() {
    let report = tally(500, 0.0).report(&Names::default());
    sound(&report);
    let lead = "In all 500 decisions, scores, rankings and the offers shown are the same.";
    assert!(report.text().contains(lead) && report.html().contains(lead), "{}", report.text());
    assert!(!report.text().contains("The largest disagreements"));
    let shadow = &report.shadows[0];
    let groups = shadow.placements.iter().map(|one| &one.figures);
    for figures in groups.chain(shadow.cells.iter().map(|one| &one.figures)).chain([&shadow.all]) {
        let shift = figures.score_shift.as_ref().unwrap();
        assert_eq!([shift.psi, shift.ks, shift.ks_at_most].map(f64::to_bits), [0.0_f64.to_bits(); 3]);
    }
}

#[test]
fn a_shorter_slate_is_not_said_to_be_the_same() {
    let mut tally = tally(50, 0.0);
    let mut other = comparison(60, 0.0);
    if let Ok(compared) = &mut other.result {
        compared.shadow_shown.truncate(1);
    }
    tally.add(&other);
    let text = tally.report(&Names::default()).text();
    assert!(!text.contains("are the same."), "{text}");
}

#[test]
fn decisions_without_anything_to_rank_are_said_to_be_such() {
    let mut tally = Tally::default();
    for at in 0..3 {
        let nobody = Comparison { champion_models: Vec::new(), shadow_models: Vec::new(), ..empty(at) };
        tally.add(&nobody);
    }
    let report = tally.report(&Names::default());
    let lead = "In all 3 decisions, neither side ranked or showed an offer.";
    assert!(report.text().contains(lead), "{}", report.text());
    // What no model was asked for is no pair of models.
    (0..20).for_each(|at| tally.add(&comparison(at, 0.1)));
    let text = tally.report(&Names::default()).text();
    assert!(!text.contains("several pairs of models"), "{text}");
    (0..20).for_each(|at| tally.add(&comparison(at, 0.0)));
    let text = tally.report(&Names::default()).text();
    let pairs = "several pairs of models: propensity 7 with propensity 7 (20 decisions)";
    assert!(text.contains(pairs), "{text}");
}

#[test]
fn intervals_are_within_what_is_possible() {
    for count in 1..40 {
        let all = tally(count, 0.05).report(&Names::default()).shadows.remove(0).all;
        for (mean, least) in [(all.overlap, 0.0), (all.rbo, 0.0), (all.tau_b, -1.0)] {
            if let Some([low, high]) = mean.and_then(|mean| mean.interval) {
                assert!(least <= low && low <= high && high <= 1.0, "{count}: {low} to {high}");
            }
        }
        let change = all.score_change.unwrap();
        assert_eq!((change.p1.interval, change.p99.interval), (None, None));
        assert_eq!(change.p50.interval.is_some(), change.decisions >= 6, "{count}");
    }
    let all = tally(500, 0.05).report(&Names::default()).shadows.remove(0).all;
    assert!(all.score_change.unwrap().p1.interval.is_some() && all.shadow_us.unwrap().p99.interval.is_some());
}

#[test]
fn an_example_says_what_differs() {
    let ranked = |rank: u32, score: f64| Some(Ranked { rank, score, priority: 100.0 * score });
    let offer = |id: &str, champion: Option<Ranked>, shadow: Option<Ranked>| crate::ComparedOffer {
        offer_id: id.to_owned(),
        value: 100.0,
        champion,
        shadow,
    };
    let compared = crate::Compared {
        offers: vec![
            offer("gold", ranked(1, 0.5), ranked(2, 0.25)),
            offer("green", ranked(2, 0.125), None),
            offer("blue", None, ranked(1, 0.375)),
        ],
        champion_shown: vec![0, 1],
        shadow_shown: vec![2, 0],
        ..crate::Compared::default()
    };
    let mut tally = Tally::default();
    tally.add(&Comparison { result: Ok(compared), ..comparison(1, 0.1) });
    let mut names = Names::default();
    names.offers.insert("gold".to_owned(), "Gold card".to_owned());
    let report = tally.report(&names);
    let expected = "The champion ranks Gold card first (score 0.500, priority 50.0); for the shadow, it is at place \
                    2 (score 0.250, priority 25.0). The shadow ranks blue first (score 0.375, priority 37.5); the \
                    champion does not rank it. Only the champion shows green. Only the shadow would show blue.";
    assert!(report.text().contains(expected) && report.html().contains(expected), "{}", report.text());
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(json["shadows"][0]["examples"][0]["offers"][0]["offer_id"], "gold");
}

#[test]
fn what_is_counted_together_is_said() {
    let mut tally = Tally::default();
    for at in 0..150 {
        tally.add(&Comparison { release: at, ..comparison(at, 0.0) });
    }
    let text = tally.report(&Names::default()).text();
    assert!(text.contains("99 (1 decision), others (50 decisions)."), "{text}");
}

#[test]
fn nearly_the_same_does_not_read_as_the_same() {
    assert_eq!(
        (super::outline::agreement(0.999_9), super::outline::agreement(1.0)),
        ("> 0.999".into(), "1.000".into())
    );
}

#[test]
fn tables_fit_the_terminal() {
    let report = tally(2_000, 0.2).report(&Names::default());
    for width in [80, 100, 132, 200] {
        for line in text::render(&outline::outline(&report), Some(width)).lines() {
            assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
        }
    }
}
