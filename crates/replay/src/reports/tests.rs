use std::collections::BTreeMap;
use std::sync::Arc;

use report::checks::{self_contained, well_formed};

use super::*;
use crate::comparison::{Customers, Excluded, Options, Records, Subject};
use crate::effect::{Effect, Shown, Side, Tally};
use crate::identity::{Differing, Failed};
use crate::samples::{Models, Texts, moment, named};
use crate::{Difference, Rescored, Scores, SimulatedHistory, Simulation, simulate};

/// A name that injects a script unless it is escaped, and sequences that move a terminal's cursor.
const HOSTILE: &str = "<b>&\"'</b>`<script src=\"http://example.com/x.js\">\u{1b}[2J\u{202e}";

/// An effect with hostile names and `offers` offers.
fn effect(offers: u32, decisions: usize) -> Effect {
    let mut tally = Tally::default();
    let ids: Vec<u32> = (0..offers)
        .map(|offer| {
            tally.offer(&Arc::from(format!("{HOSTILE}{offer:04}")), &format!("{HOSTILE} {offer}"), 1)
        })
        .collect();
    let placements = [tally.placement(HOSTILE), tally.placement("home")];
    let segments = [tally.segment(0, &Arc::from(HOSTILE)), tally.segment(1, &Arc::from(""))];
    for at in 0..decisions {
        let side = |shift: usize| {
            let offer = |place: usize| ids[(at * 7 + shift * at + place) % ids.len()];
            let shown =
                (0..at % 4).map(|place| Shown::new(offer(place), place == 2, Some((12.5, 11.0)))).collect();
            let code =
                crate::effect::Code::of_record(1 + ((at + shift) % 10) as u8, 1 + (at % 14) as u8).unwrap();
            let segment = (!at.is_multiple_of(5)).then(|| (segments[at % 2], (at % 2) as i64));
            Side { shown, withheld: vec![(offer(5), code)], segment }
        };
        let (before, after) = (side(0), side(1));
        tally.add(placements[at % 2], &before, &after);
    }
    tally.finish()
}

fn comparison(subject: Subject, effect: Effect) -> Comparison {
    let mut excluded = Excluded { without_decision: 3, ..Excluded::default() };
    excluded.gone_placements.insert(HOSTILE.to_owned(), 12);
    excluded.new_placements.insert("new".to_owned(), 1);
    for failure in 0..150 {
        excluded.fail(&format!("{HOSTILE}{failure}"), HOSTILE.to_owned());
    }
    Comparison { assumptions: subject.assumptions(), subject, effect, excluded }
}

fn customers() -> Subject {
    Subject::Customers(Customers {
        before: HOSTILE.to_owned(),
        base: 7,
        after: format!("release 8 with {HOSTILE}"),
        release: 8,
        as_of: "2026-11-30T10:00:00Z".to_owned(),
        placements: vec![HOSTILE.to_owned(), "home".to_owned()],
        customers: 8950,
        first_changes: 3120,
        slate_changes: 4000,
    })
}

fn records() -> Subject {
    Subject::Records(Records {
        before: None,
        after: "release 8".to_owned(),
        release: 8,
        releases: BTreeMap::from([(5, 10), (6, 1), (7, 600)]),
        records: 611,
        first: Some("2026-11-29T10:00:00Z".to_owned()),
        last: Some("2026-11-30T10:00:00.123456Z".to_owned()),
        not_known: BTreeMap::from([
            (format!("contact limit `{HOSTILE}`"), 12),
            ("`budget` of `a`".to_owned(), 600),
        ]),
    })
}

fn replayed() -> Replayed {
    let field = |field: &str| Difference {
        field: field.to_owned(),
        recorded: HOSTILE.to_owned(),
        replayed: "none".to_owned(),
    };
    let scores = Scores { engine: "native".to_owned(), equal: 12_345, close: 0, beyond: 2, largest: 1e-7 };
    Replayed {
        identical: 12_000,
        without_decision: 4,
        differing: 2,
        failed: 1,
        differences: vec![
            Differing {
                decision_id: "0190-a".to_owned(),
                release: 7,
                fields: vec![field("segment"), field(HOSTILE)],
            },
            Differing { decision_id: "0190-b".to_owned(), release: 8, fields: vec![field("degraded")] },
        ],
        failures: vec![Failed { decision_id: "0190-c".to_owned(), reason: HOSTILE.to_owned() }],
        releases: BTreeMap::from([(7, 12_000), (8, 3)]),
        rescored: Some(Rescored { models: BTreeMap::from([("propensity/3".to_owned(), scores)]) }),
    }
}

/// No script, nothing from elsewhere, no number that is none, and no character that a terminal or a reader stumbles
/// over.
fn sound(html: &str, text: &str, json: &str) {
    assert_eq!(well_formed(html), Ok(()));
    assert_eq!(self_contained(html), Ok(()));
    for report in [html, text, json] {
        for wrong in ["NaN", "inf ", "inf%", "-0.00", "−0.00"] {
            assert!(!report.contains(wrong), "{wrong}: {report}");
        }
    }
    assert!(!html.contains("<b>&\"") && !html.contains('\u{1b}'));
    assert!(text.chars().all(|letter| letter == '\n' || telemetry::foreign::is_shown(letter)), "{text:?}");
    serde_json::from_str::<serde_json::Value>(json).unwrap();
}

fn check(comparison: &Comparison) {
    sound(&comparison.html(), &comparison.text(), &comparison.json().unwrap());
}

#[test]
fn hostile_names_are_shown_and_do_nothing() {
    for subject in [customers(), records()] {
        for offers in [1, 7, 250] {
            check(&comparison(subject.clone(), effect(offers, 600)));
        }
    }
    let replayed = replayed();
    sound(&replayed.html(), &replayed.text(), &replayed.json().unwrap());
    assert!(replayed.html().contains("&lt;script src="));
}

#[test]
fn the_page_of_a_decision_shows_hostile_names_and_does_nothing() {
    let hostile = || HOSTILE.to_owned();
    let limit = |frees_at: Option<String>| crate::ViewedLimit {
        offer_id: hostile(),
        limit: hostile(),
        frees_at,
        frees: "frees in 3 d 4 h".to_owned(),
    };
    let mut view = DecisionView::of_record(&event::proto::DecisionRecord::default());
    (view.customer_id, view.placement, view.default_channel, view.unexplained) =
        (hostile(), hostile(), hostile(), hostile());
    view.withheld.push(crate::ViewedWithheld {
        offer_id: hostile(),
        stage: "limits".to_owned(),
        reason: "BUDGET".to_owned(),
        rule: String::new(),
        detail: hostile(),
    });
    view.refusals.push(crate::ViewedRefusal { round: Some(0), reason: hostile(), limit: limit(None) });
    let event = crate::ViewedEvent {
        at: "2026-11-30T10:00:00.000Z".to_owned(),
        event_type: hostile(),
        offer: hostile(),
        placement: hostile(),
        channel: hostile(),
        same_decision: false,
        many: true,
    };
    let full = vec![limit(Some("2026-12-03T14:00:00.000Z".to_owned()))];
    view.history = Some(crate::ViewedHistory { opted_out: true, events: vec![event], full });
    view.degraded.push(hostile());
    let html = view.html();
    sound(&html, "", &serde_json::to_string(&view).unwrap());
    for words in
        ["What limits looked at", "opted out", "frees in 3 d 4 h, at 2026-12-03T14:00:00.000Z", "round 1"]
    {
        assert!(html.contains(words), "{words}: {html}");
    }
}

#[test]
fn nothing_compared_gives_reports_without_numbers_that_are_none() {
    let nobody = Subject::Customers(Customers { after: "release 8".to_owned(), ..Customers::default() });
    let nothing = Subject::Records(Records { after: "release 8".to_owned(), ..Records::default() });
    for subject in [nobody, nothing] {
        let assumptions = subject.assumptions();
        let comparison =
            Comparison { subject, effect: Effect::default(), excluded: Excluded::default(), assumptions };
        check(&comparison);
        assert!(comparison.text().contains("There was nothing to "), "{}", comparison.text());
    }
    let none = Replayed::default();
    sound(&none.html(), &none.text(), &none.json().unwrap());
    assert!(none.text().contains("There were no records to replay."), "{}", none.text());
}

#[test]
fn every_report_has_the_headline_numbers_and_the_assumptions() {
    let comparison = comparison(customers(), effect(7, 600));
    let (html, text, json) = (comparison.html(), comparison.text(), comparison.json().unwrap());
    for report in [&html, &text] {
        assert!(report.contains("3,120 of 8,950 customers (34.9 %) get another first offer"), "{report}");
        for word in ["By placement", "By segment", "How often each offer is shown", "What is not compared"] {
            assert!(report.contains(word), "{word}");
        }
    }
    for assumption in [
        "Limits look at what was recorded by 2026-11-30T10:00:00Z",
        "Nothing is reserved",
        "Exploration is off",
        "2026-11-30T10:00:00Z",
        "order of their ids",
    ] {
        for report in [&html, &text, &json] {
            assert!(report.contains(assumption), "{assumption}");
        }
    }
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["subject"]["kind"], "customers");
    assert_eq!(json["subject"]["first_changes"], 3120);
    assert_eq!(json["effect"]["all"]["decisions"], 600);
    assert_eq!(json["effect"]["placements"][0]["decisions"], 300);
    assert!(json["effect"]["all"]["expected_value"]["after"].is_number());
    assert_eq!(json["excluded"]["failures"].as_array().unwrap().len(), 100);
    assert_eq!(json["assumptions"].as_array().unwrap().len(), comparison.assumptions.len());
}

#[test]
fn what_records_do_not_say_is_said() {
    let comparison = comparison(records(), effect(7, 600));
    for report in [comparison.html(), comparison.text()] {
        assert!(
            report.contains("2 limits of release 8 look at more than was recorded, in up to 600 decisions")
        );
        assert!(report.contains("What the records do not say"), "{report}");
    }
    let json: serde_json::Value = serde_json::from_str(&comparison.json().unwrap()).unwrap();
    assert_eq!(json["subject"]["not_known"]["`budget` of `a`"], 600);
}

#[test]
fn an_unchanged_release_is_said_to_change_nothing() {
    let models = Models::new();
    let snapshot = models.load(7, &Texts::sample(50));
    let simulation = Simulation {
        before: named(&snapshot),
        after: named(&snapshot),
        placements: Vec::new(),
        now: moment(),
        history: SimulatedHistory::default(),
        options: Options::default(),
    };
    let comparison = simulate(&simulation, |_| {}).unwrap();
    check(&comparison);
    let text = comparison.text();
    assert!(
        text.contains("With release 7, every customer gets the same offers in the same order."),
        "{text}"
    );
    assert!(!text.contains("The most frequent changes"), "{text}");
}

#[test]
fn tables_fit_the_terminal() {
    let outlines = [
        compared::outline(&comparison(customers(), effect(40, 600))),
        compared::outline(&comparison(records(), effect(3, 100))),
        identity::outline(&replayed(), identity::Order::DifferencesLast),
    ];
    for width in [80, 100, 132, 200] {
        for outline in &outlines {
            for line in text::render(outline, Some(width)).lines() {
                assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
            }
        }
    }
}

#[test]
fn a_replay_ends_with_what_it_found() {
    let mut replayed = replayed();
    let text = replayed.text();
    let end = text.rfind("What differs").unwrap();
    assert!(text[end..].contains("0190-b") && !text[end..].contains("Assumptions"), "{text}");
    replayed.differing = 0;
    replayed.failed = 0;
    replayed.differences.clear();
    replayed.failures.clear();
    replayed.rescored = None;
    assert!(replayed.text().ends_with("\n12,000 identical"), "{}", replayed.text());
    assert!(!replayed.html().contains("What differs"));
}

#[test]
fn only_what_was_decided_again_is_said_to_be_the_same() {
    let lead = |identical, without_decision, differing, failed| {
        let replayed = Replayed { identical, without_decision, differing, failed, ..Replayed::default() };
        let text = replayed.text();
        (text.lines().nth(1).unwrap().to_owned(), text.ends_with(" identical"))
    };
    let cases = [
        ((257, 5, 0, 0), "All 257 answers are the same, byte for byte. 5 records have an error", true),
        (
            (1, 1, 0, 0),
            "The answer is the same, byte for byte. 1 record has an error instead of an answer.",
            true,
        ),
        ((0, 3, 0, 0), "There was no answer to work out again. 3 records have an error", false),
        ((0, 0, 1, 0), "The answer is another one.", false),
        ((0, 0, 0, 1), "The answer could not be worked out again.", false),
        (
            (1, 0, 1, 1),
            "Of 3 answers, 1 is the same, byte for byte; 1 differs, and 1 could not be worked out again.",
            false,
        ),
        ((0, 0, 2, 0), "Of 2 answers, 0 are the same, byte for byte; 2 differ, and 0 could not", false),
    ];
    for ((identical, without_decision, differing, failed), expected, is_identical) in cases {
        let (text, ends) = lead(identical, without_decision, differing, failed);
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(ends, is_identical, "{text}");
    }
}
