use chrono::TimeDelta;
use feature::FeatureSchema;

use super::*;

fn catalog(offer: &str, policy: &str) -> Catalog {
    let offers = format!(
        "[[offer]]\nid = \"a\"\nname = \"a\"\ncategory = \"cards\"\nplacements = [\"home\"]\nvalue = 9.0\ncost = 1.5\n{offer}\n"
    );
    let policy = format!(
        "[[category]]\nid = \"cards\"\n[[placement]]\nid = \"home\"\nchannels = [\"app\", \"web\"]\ncount = 1\n\
         model = \"m\"\n{policy}"
    );
    offer::read(&FeatureSchema::default(), ("offers.toml", &offers), ("policy.toml", &policy))
        .unwrap_or_else(|invalid| panic!("{}", invalid.problems))
}

fn reaches(offer: &str, policy: &str) -> (Reach, Reach) {
    let Reaches { decisions, outcomes } = Reaches::of(&catalog(offer, policy), TimeDelta::days(30));
    (decisions, outcomes)
}

#[test]
fn events_are_read_as_far_back_as_limits_look() {
    let days = |days| Reach::Back(TimeDelta::days(days));
    assert_eq!(reaches("", ""), (Reach::Nothing, days(30)));
    let weekly = |count: &str| {
        format!("[[contact_limit]]\nid = \"l\"\nlimit = 1\nper = \"7d\"\ncount = \"{count}\"\n")
    };
    assert_eq!(reaches("", &weekly("decision")), (days(7), days(30)));
    assert_eq!(reaches("", &weekly("impression")), (Reach::Nothing, days(30)));
    let suppression = "[[suppression]]\nid = \"s\"\nafter = { outcome = \"dismiss\", times = 1, within = \"30d\" }\n\
                       pause = \"60d\"\nscope = \"all\"\n";
    assert_eq!(reaches("", suppression), (Reach::Nothing, days(90)));
    let cap = "cap_customer = { limit = 1, per = \"40d\", count = \"decision\" }";
    assert_eq!(reaches(cap, &weekly("decision")), (days(40), days(30)));
    let cap = "cap_total = { limit = 9, per = \"all\", count = \"accept\", reserve = \"2h\" }";
    assert_eq!(reaches(cap, ""), (Reach::Back(TimeDelta::hours(2)), Reach::Everything));
    let cap = "cap_total = { limit = 9, per = \"all\", count = \"decision\" }";
    assert_eq!(reaches(cap, ""), (Reach::Everything, days(30)));
}

#[test]
fn the_impressions_of_new_offers_are_of_every_decision() {
    let days = |days| Reach::Back(TimeDelta::days(days));
    assert!(!has_limits(&catalog("", "")));
    for new in
        ["prior = { propensity = 0.1, evidence = 50.0 }", "maturity = { max_share = 0.2, impressions = 90 }"]
    {
        assert_eq!(reaches(new, ""), (Reach::Everything, days(30)), "{new}");
        assert!(has_limits(&catalog(new, "")), "{new}");
    }
}

#[test]
fn a_record_is_completed_from_the_release_that_serves() {
    let catalog = catalog("", "");
    let offer =
        |id: &str| RecordedOffer { offer_id: id.to_owned(), fallback: true, ..RecordedOffer::default() };
    let record = DecisionRecord {
        placement: "home".to_owned(),
        offers: vec![offer("a"), offer("gone")],
        decided_at: -1,
        ..DecisionRecord::default()
    };
    let known = known_decision(&record, &catalog);
    assert_eq!((&*known.placement, &*known.channel), ("home", "app"));
    assert_eq!(known.shown[0].1, Spend { cost_micros: 1_500_000, value_micros: 9_000_000 });
    assert_eq!(known.shown[1].1, Spend::default());
    assert_eq!(known.decided_at.timestamp_micros(), -1);
    let web = DecisionRecord { channel: "web".to_owned(), ..record.clone() };
    assert_eq!(&*known_decision(&web, &catalog).channel, "web");
    let elsewhere = DecisionRecord { placement: "gone".to_owned(), ..record };
    assert_eq!(&*known_decision(&elsewhere, &catalog).channel, "");
}

#[test]
fn a_record_completes_itself() {
    let catalog = catalog("", "");
    let terms = event::proto::RecordedTerms { cost: 0.5, value: 0.0 };
    let fallback = RecordedOffer {
        offer_id: "a".to_owned(),
        fallback: true,
        terms: Some(terms),
        ..RecordedOffer::default()
    };
    let record = DecisionRecord {
        placement: "home".to_owned(),
        default_channel: "web".to_owned(),
        offers: vec![fallback],
        ..DecisionRecord::default()
    };
    let known = known_decision(&record, &catalog);
    // The release that serves has another default channel and other terms by now.
    assert_eq!(&*known.channel, "web");
    assert_eq!(known.shown[0].1, Spend { cost_micros: 500_000, value_micros: 0 });
}

#[test]
fn reservations_are_read_as_they_were_recorded() {
    let decided_at = DateTime::from_timestamp_micros(1_796_040_000_123_456).unwrap();
    let until = |millis: i64| DateTime::from_timestamp_millis(1_796_040_000_123 + millis).unwrap();
    let reservation =
        |limit, outcome: &str, millis| Reservation { limit, outcome: outcome.into(), until: until(millis) };
    let cap = || reservation(TotalLimit::Cap, "accept", 1_800_000);
    let budget = || reservation(TotalLimit::Budget, "convert", 1);
    for reservations in [vec![], vec![cap()], vec![budget()], vec![cap(), budget()]] {
        let shown = ShownOffer { offer: "a".into(), spend: Spend::default(), reservations };
        let [cap_total, budget] = recorded_reservations(&shown, decided_at);
        let offer = RecordedOffer {
            offer_id: "a".to_owned(),
            factors: Some(event::proto::RecordedFactors::default()),
            cap_total,
            budget,
            ..RecordedOffer::default()
        };
        let record = DecisionRecord {
            decided_at: decided_at.timestamp_micros(),
            offers: vec![offer],
            ..DecisionRecord::default()
        };
        assert_eq!(shown_offers(&record, &known_decision(&record, &catalog("", ""))), [shown]);
    }
}

#[test]
fn money_is_the_same_in_millionths_and_back() {
    for amount in [0, 1, 12_345_678, 999_999_999_999, 1_000_000_000_000_001] {
        assert_eq!(micros(money(amount)), amount);
    }
}
