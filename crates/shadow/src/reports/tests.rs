use report::checks::{self_contained, well_formed};

use super::*;
use crate::samples::{comparison, empty};
use crate::{Comparison, Ranked};

/// A name that injects a script unless it is escaped, and sequences that move a terminal's cursor.
const HOSTILE: &str = "<b>&\"'</b>`<script src=\"http://example.com/x.js\">\u{1b}[2J\u{202e}";

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
    assert!(!html.contains("<b>&\"") && !html.contains('\u{1b}'));
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
            "Both begin with the same offer in",
            "rank-biased overlap, p = 0.9",
            "Kendall's tau-b",
            "population stability index",
            "Kolmogorov–Smirnov",
            "By placement",
            "call_center",
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
    let report = tally.report(&names);
    assert_eq!(report.shadows.len(), 3);
    sound(&report);
    assert!(report.html().contains("&lt;script src="));
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
    let lead = "In all 500 decisions, scores, ranking and first offer are the same.";
    assert!(report.text().contains(lead) && report.html().contains(lead), "{}", report.text());
    assert!(!report.text().contains("The largest disagreements"));
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
