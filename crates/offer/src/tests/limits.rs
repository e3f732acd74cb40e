//! Limits and outcomes: what the files say is read, and what is most likely a mistake is warned of.

mod refusals;

use chrono::TimeDelta;

use super::*;

/// Keys of the offer `cash_back`.
const OFFER: &str = r#"
class = "service"
cap_customer = { limit = 3, per = "30d", count = "impression" }
cap_total = { limit = 10_000, per = "all", count = "accept", reserve = "45m" }
budget = { amount = 50_000, per = "month", count = "signed", spends = "value", pacing = "even" }
"#;

const LIMITS: &str = r#"
[[outcome]]
id = "signed"
kind = "positive"

[[contact_limit]]
id = "two_emails_a_week"
channels = ["email"]
limit = 2
per = "7d"
count = "decision"
exempt = ["service"]

[[contact_limit]]
id = "one_trip_a_day"
placements = ["email", "app_home"]
categories = ["travel"]
limit = 1
per = "day"
count = "impression"

[[suppression]]
id = "dismissed"
after = { outcome = "dismiss", times = 3, within = "30d" }
pause = "60d"
scope = "offer"

[attribution]
impression = "1h"
convert = "30d"
"#;

/// The sample files with more keys of the offer `cash_back`, more keys of the placement `email` and more of the policy.
fn texts(offer: &str, placement: &str, policy: &str) -> (String, String) {
    let offers = OFFERS.replacen("value = 40.0", &format!("value = 40.0\n{offer}"), 1);
    let placed =
        POLICY.replacen("channels = [\"email\"]", &format!("channels = [\"email\"]\n{placement}"), 1);
    (offers, format!("{placed}{policy}"))
}

fn with(offer: &str, placement: &str, policy: &str) -> Result<Catalog, Problems> {
    let (offers, policy) = texts(offer, placement, policy);
    catalog(&offers, &policy)
}

/// What is warned of, as `where key: message`.
fn findings(offer: &str, policy: &str) -> Vec<String> {
    let catalog = with(offer, "", policy).unwrap();
    let shown = |LimitFinding { place, key, message }| {
        let place = match place {
            LimitPlace::Offer(index) => catalog.library.get(index).id.to_string(),
            LimitPlace::ContactLimit(index) => catalog.policy.contact_limits[index].id.clone(),
        };
        format!("{place} {key}: {message}")
    };
    catalog.limit_findings().into_iter().map(shown).collect()
}

#[test]
fn limits_of_an_offer_are_read() {
    let Catalog { library, .. } = with(OFFER, "", LIMITS).unwrap();
    let offer = library.get(library.find("cash_back").unwrap());
    assert_eq!(offer.class.as_deref(), Some("service"));
    let outcome = |id: &str| Counted::Outcome(id.to_owned());
    let customer =
        CustomerCap { limit: 3, per: Period::Sliding(TimeDelta::days(30)), count: outcome("impression") };
    assert_eq!(offer.cap_customer, Some(customer));
    let total = TotalCap {
        limit: 10_000,
        per: Period::All,
        count: outcome("accept"),
        reserve: TimeDelta::minutes(45),
    };
    assert_eq!(offer.cap_total, Some(total));
    let budget = Budget {
        amount: 50_000.0,
        per: Period::Month,
        count: outcome("signed"),
        spends: Spending::Value,
        pacing: Pacing::Even,
        reserve: TimeDelta::minutes(30),
    };
    assert_eq!(offer.budget, Some(budget));
    let other = library.get(library.find("tips").unwrap());
    assert_eq!((&other.class, &other.cap_customer, &other.cap_total), (&None, &None, &None));
    assert_eq!(other.budget, None);
}

#[test]
fn a_limit_that_counts_decisions_reserves_nothing_and_a_budget_is_spent_fast_unless_it_says_otherwise() {
    let keys = "cap_total = { limit = 0, per = \"12h\", count = \"decision\" }\n\
                budget = { amount = 0.5, per = \"week\", count = \"decision\", spends = \"cost\" }";
    let library = with(keys, "", "").unwrap().library;
    let offer = library.get(library.find("cash_back").unwrap());
    let (total, budget) = (offer.cap_total.as_ref().unwrap(), offer.budget.as_ref().unwrap());
    assert_eq!((total.limit, total.per), (0, Period::Sliding(TimeDelta::hours(12))));
    assert_eq!((&total.count, total.reserve), (&Counted::Decision, TimeDelta::zero()));
    assert_eq!((&budget.count, budget.reserve), (&Counted::Decision, TimeDelta::zero()));
    assert_eq!((budget.per, budget.spends, budget.pacing), (Period::Week, Spending::Cost, Pacing::Fast));
}

#[test]
fn even_pacing_over_all_time_ends_with_the_offer() {
    let keys = "valid_until = 2027-01-01\n\
                budget = { amount = 9, per = \"all\", count = \"click\", spends = \"cost\", pacing = \"even\" }";
    assert!(with(keys, "", "").is_ok());
}

#[test]
fn limits_of_customers_are_read_in_the_order_of_their_ids() {
    let Catalog { policy, .. } = with(OFFER, "", LIMITS).unwrap();
    let [trip, emails] = policy.contact_limits.as_slice() else { panic!("{:?}", policy.contact_limits) };
    let expected = ContactLimit {
        id: "one_trip_a_day".to_owned(),
        channels: Vec::new(),
        placements: [0, 1].map(PlacementIndex::new).to_vec(),
        offers: Some([2, 3].map(OfferIndex::new).to_vec()),
        limit: 1,
        per: Period::Day,
        count: Counted::Outcome("impression".to_owned()),
    };
    assert_eq!(*trip, expected);
    let expected = ContactLimit {
        id: "two_emails_a_week".to_owned(),
        channels: vec!["email".to_owned()],
        placements: Vec::new(),
        // All but `cash_back`, which is exempt.
        offers: Some([1, 2, 3].map(OfferIndex::new).to_vec()),
        limit: 2,
        per: Period::Sliding(TimeDelta::days(7)),
        count: Counted::Decision,
    };
    assert_eq!(*emails, expected);
    let expected = Suppression {
        id: "dismissed".to_owned(),
        outcome: "dismiss".to_owned(),
        times: 3,
        within: TimeDelta::days(30),
        pause: TimeDelta::days(60),
        scope: SuppressionScope::Offer,
    };
    assert_eq!(policy.suppressions, [expected]);
    assert_eq!(policy.suppressions[0].longest(), TimeDelta::days(90));
}

#[test]
fn a_contact_limit_without_a_scope_holds_for_everything() {
    let policy = "[[contact_limit]]\nid = \"few\"\nlimit = 9\nper = \"month\"\ncount = \"decision\"";
    let limit = with("", "", policy).unwrap().policy.contact_limits.remove(0);
    assert_eq!((limit.channels.len(), limit.placements.len(), limit.offers), (0, 0, None));
}

#[test]
fn exempt_offers_are_left_out_of_the_offers_that_are_named() {
    let policy = "[[contact_limit]]\nid = \"few\"\nlimit = 9\nper = \"week\"\ncount = \"click\"\n\
                  offers = [\"tips\", \"cash_back\"]\nexempt = [\"service\"]";
    let limit = with("class = \"service\"", "", policy).unwrap().policy.contact_limits.remove(0);
    assert_eq!(limit.offers, Some(vec![OfferIndex::new(1)]));
}

#[test]
fn outcomes_are_those_built_in_and_those_declared() {
    let kinds = |policy: Policy| -> Vec<(String, OutcomeKind)> {
        policy.outcomes.into_iter().map(|outcome| (outcome.id, outcome.kind)).collect()
    };
    let mut expected = OUTCOMES.map(|(id, kind)| (id.to_owned(), kind)).to_vec();
    expected.sort_by(|left, right| left.0.cmp(&right.0));
    assert_eq!(kinds(with("", "", "").unwrap().policy), expected);
    expected.push(("signed".to_owned(), OutcomeKind::Positive));
    assert_eq!(kinds(with(OFFER, "", LIMITS).unwrap().policy), expected);
}

#[test]
fn windows_of_a_placement_come_before_those_of_the_policy() {
    let Catalog { policy, .. } =
        with(OFFER, "attribution = { convert = \"14d\", click = \"1d\" }", LIMITS).unwrap();
    let [home, email] = [0, 1].map(PlacementIndex::new);
    let days = |days| Some(TimeDelta::days(days));
    let windows = |outcome| [home, email].map(|placement| policy.attribution.window(placement, outcome));
    assert_eq!(windows("convert"), [days(30), days(14)]);
    assert_eq!(windows("click"), [None, days(1)]);
    assert_eq!(windows("impression"), [Some(TimeDelta::hours(1)); 2]);
    assert_eq!(windows("signed"), [None; 2]);
}

#[test]
fn the_time_zone_is_that_of_calendar_periods() {
    assert_eq!(with("", "", "").unwrap().policy.time_zone, chrono_tz::UTC);
    let policy = format!("time_zone = \"Europe/Berlin\"{POLICY}");
    assert_eq!(catalog(OFFERS, &policy).unwrap().policy.time_zone, chrono_tz::Europe::Berlin);
}

#[test]
fn limits_that_can_be_met_and_missed_are_left_alone() {
    assert_eq!(findings(OFFER, LIMITS), [""; 0]);
}

#[test]
fn an_offer_that_is_never_shown_is_warned_of() {
    for (offer, expected) in [
        (
            "cap_customer = { limit = 0, per = \"day\", count = \"click\" }",
            "cash_back cap_customer: `cap_customer` has the limit 0: the offer is never shown",
        ),
        (
            "cap_total = { limit = 0, per = \"all\", count = \"click\" }",
            "cash_back cap_total: `cap_total` has the limit 0: the offer is never shown",
        ),
        (
            "budget = { amount = 39.5, per = \"all\", count = \"accept\", spends = \"value\" }",
            "cash_back budget: `budget` 39.5 is below `value` 40: the offer is never shown",
        ),
        (
            "cost = 2\nbudget = { amount = 0, per = \"all\", count = \"accept\", spends = \"cost\" }",
            "cash_back budget: `budget` 0 is below `cost` 2: the offer is never shown",
        ),
        (
            "budget = { amount = 9, per = \"all\", count = \"accept\", spends = \"cost\" }",
            "cash_back budget: `budget` spends `cost`, which is 0: it is never used up",
        ),
    ] {
        assert_eq!(findings(offer, ""), [expected], "{offer}");
    }
    let enough = "budget = { amount = 40, per = \"all\", count = \"accept\", spends = \"value\" }";
    assert_eq!(findings(enough, ""), [""; 0]);
}

#[test]
fn a_contact_limit_that_shows_nothing_or_limits_nothing_is_warned_of() {
    let table = "[[contact_limit]]\nid = \"few\"\nper = \"day\"\ncount = \"decision\"\n";
    for (keys, expected) in [
        ("limit = 0", "few limit: `limit` is 0: no offer that it holds for is ever shown"),
        (
            "limit = 1\nchannels = [\"emial\"]",
            "few channels: `channels`: no placement has the channel `emial`; did you mean `email`?",
        ),
        (
            "limit = 1\nchannels = [\"web\"]\nplacements = [\"email\"]",
            "few channels: `channels`: none of its placements has the channel `web`",
        ),
        (
            "limit = 1\noffers = [\"cash_back\"]\nplacements = [\"email\"]",
            "few id: it limits nothing: none of its offers is shown where it holds",
        ),
        // The offer may be shown over app and email, and `app_home` has app and web.
        (
            "limit = 1\noffers = [\"travel_gold\"]\nchannels = [\"web\"]",
            "few id: it limits nothing: none of its offers is shown where it holds",
        ),
        (
            "limit = 1\noffers = [\"cash_back\"]\nexempt = [\"service\"]",
            "few id: it limits nothing: none of its offers is shown where it holds",
        ),
    ] {
        assert_eq!(findings("class = \"service\"", &format!("{table}{keys}")), [expected], "{keys}");
    }
    // A fallback is shown, and counts.
    assert_eq!(findings("", &format!("{table}limit = 1\noffers = [\"tips\"]")), [""; 0]);
}

/// The tables of [`LIMITS`], one text each.
fn tables() -> Vec<String> {
    LIMITS.trim_start().split("\n\n").map(|table| format!("{table}\n")).collect()
}

/// Text that resembles limits.
fn pieces() -> impl Generator<Value = String> {
    let lines: Vec<&'static str> = OFFER.lines().chain(LIMITS.lines()).collect();
    let piece = prop_oneof![
        4 => prop::sample::select(lines).prop_map(str::to_owned),
        1 => "(limit|per|count|after|pause|scope|offers|exempt|kind|click) = \
              (-?[0-9]{1,20}|\"[0-9]{1,12}[dhms]\"|\"(all|day|offer|decision)\"|\\[\\]|\\{\\}|true|nan)",
    ];
    prop::collection::vec(piece, 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn the_order_of_limits_does_not_matter(tables in Just(tables()).prop_shuffle()) {
        let Catalog { library, policy, .. } = with(OFFER, "", &tables.concat()).unwrap();
        let expected = with(OFFER, "", LIMITS).unwrap();
        prop_assert_eq!((library, policy), (expected.library, expected.policy));
    }

    #[test]
    fn no_text_like_limits_makes_the_reader_panic(offer in pieces(), policy in pieces()) {
        let (offers, policy) = texts(&offer, "", &policy);
        if let Ok(catalog) = catalog(&offers, &policy) {
            let _ = catalog.limit_findings();
        }
        let _ = catalog(OFFERS, &policy);
        let _ = catalog(&offers, POLICY);
    }
}
