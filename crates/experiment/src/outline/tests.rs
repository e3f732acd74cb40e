use std::time::Duration;

use super::*;
use crate::tests::sample::{POLICY, experiments};

#[test]
fn it_says_what_the_reader_reads() {
    let (outlined, read) = (outline(POLICY).unwrap(), experiments(POLICY));
    assert_eq!(outlined.len(), read.all.len());
    for (outlined, read) in outlined.iter().zip(&read.all) {
        assert_eq!((&outlined.id, outlined.state, &outlined.steps), (&read.id, read.state, &read.steps));
        assert!((outlined.coverage - read.coverage).abs() < f64::EPSILON);
        assert_eq!(outlined.next_step(), read.next_step());
        let ids: Vec<&str> = read.variants.iter().map(|variant| variant.id.as_str()).collect();
        assert_eq!(outlined.variants.iter().map(|variant| variant.id.as_str()).collect::<Vec<_>>(), ids);
    }
    let first = outlined.iter().find(|outline| outline.id == "propensity_v7").unwrap();
    assert_eq!((first.placements.as_slice(), first.when.as_str()), (&["app_home".to_owned()][..], "tenure"));
    assert_eq!(first.variants[1].changes, ["models = { propensity = 7 }"]);
    assert_eq!(first.steps[0].after, Duration::from_hours(48));
}

#[test]
fn it_says_whether_there_are_guardrails() {
    let has = |metric: &str| {
        let policy = POLICY.replacen("when = \"tenure\"", &format!("when = \"tenure\"\n{metric}"), 1);
        outline(&policy).unwrap().iter().map(|outline| outline.has_guardrails).collect::<Vec<_>>()
    };
    let guardrail = "{ metric = \"opt_out_rate\", tolerate = 0.002 }";
    let with = has(&format!("metric = {{ primary = \"conversion\", guardrails = [{guardrail}] }}"));
    assert_eq!(with.iter().filter(|has| **has).count(), 1);
    for metric in [
        "",
        "metric = { primary = \"conversion\" }",
        "metric = { primary = \"conversion\", guardrails = [] }",
    ] {
        assert!(has(metric).iter().all(|has| !has), "{metric}");
    }
}

#[test]
fn a_digest_is_of_what_is_drawn_and_not_of_the_schedule_or_the_testers() {
    let digest = |text: &str| outline(text).unwrap()[1].definition;
    let before = digest(POLICY);
    let same =
        [("after = \"2d\"", "after = \"3d\""), ("tester-1", "tester-2"), ("[holdout]", "# x\n[holdout]")];
    for (from, to) in same {
        assert_eq!(digest(&POLICY.replacen(from, to, 1)), before, "{to}");
    }
    let other = [
        ("coverage = 0.2", "coverage = 0.3"),
        ("propensity = 7", "propensity = 8"),
        ("\"tenure\"", "\"age\""),
        // A schedule goes on by its guardrails: whoever changes them lets it go on.
        ("when = \"tenure\"", "when = \"tenure\"\nmetric = { primary = \"conversion\" }"),
    ];
    for (from, to) in other {
        assert_ne!(digest(&POLICY.replacen(from, to, 1)), before, "{to}");
    }
    let draft = POLICY.replacen("coverage = 0.2", "coverage = 0.2\nstate = \"draft\"", 1);
    assert_ne!(digest(&draft), before);
}

#[test]
fn a_text_that_no_reader_took_is_no_panic() {
    for text in ["[[experiment]]\n", "[[experiment]]\nid = 'e'\ncoverage = 'x'\n", "experiment = ["] {
        assert!(outline(text).is_err(), "{text}");
    }
    for text in ["", "experiment = 1", "experiment = [1, 'x']"] {
        assert_eq!(outline(text), Ok(vec![]), "{text}");
    }
}
