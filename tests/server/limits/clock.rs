//! Calendar periods in the time zone of the policy, and a clock that is set ahead and back.

use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveTime, SecondsFormat, TimeZone, Utc};

use super::bank::{Bank, offer, shown, withheld};

const HOUR: i64 = 3_600;

/// A moment in Tokyo, which has no summer time.
fn in_tokyo(day: NaiveDate, time: NaiveTime) -> DateTime<Utc> {
    tokyo().from_local_datetime(&day.and_time(time)).unwrap().to_utc()
}

fn tokyo() -> FixedOffset {
    FixedOffset::east_opt(9 * HOUR as i32).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_that_of_the_time_zone_and_a_clock_that_is_set_back_frees_nothing() {
    let limits = "time_zone = \"Asia/Tokyo\"\n[[contact_limit]]\nid = \"daily\"\nlimit = 1\nper = \"day\"\n\
                  count = \"decision\"\n";
    let bank = Bank::new(&offer("gold", ""), limits);
    let Some(bank) = bank.with_clock() else { return };
    // Half past eleven in the evening in Tokyo, where it is not midnight in UTC.
    let now = Utc::now();
    let today = now.with_timezone(&tokyo()).date_naive();
    let base = (in_tokyo(today, NaiveTime::from_hms_opt(23, 30, 0).unwrap()) - now).num_seconds();
    bank.set_clock(base);
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.shows("home", "anna").await, ["gold"]);
    let full = live.one("home", "anna").await;
    assert_eq!(shown(&full), Vec::<&str>::new());
    let (reason, detail) = withheld(&full, "gold");
    assert_eq!(reason, "CONTACT_LIMIT");
    let midnight = in_tokyo(today + Days::new(1), NaiveTime::MIN);
    let frees = format!("at {}", midnight.to_rfc3339_opts(SecondsFormat::Secs, true));
    assert!(detail.starts_with("daily: frees in ") && detail.ends_with(&frees), "{detail}");
    // An hour later it is another day, as it says.
    bank.set_clock(base + HOUR);
    for customer in ["anna", "bert"] {
        assert_eq!(live.shows("home", customer).await, ["gold"]);
    }
    // Back in the evening before, and earlier: what happened in the meantime counts, until it frees.
    for ahead in [base, base - HOUR] {
        bank.set_clock(ahead);
        for customer in ["anna", "bert"] {
            assert_eq!(live.shows("home", customer).await, Vec::<String>::new());
        }
    }
    // A restart in between changes nothing.
    live.kill();
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.shows("home", "bert").await, Vec::<String>::new());
    bank.set_clock(base + HOUR);
    assert_eq!(live.shows("home", "bert").await, Vec::<String>::new());
    assert_eq!(live.shows("home", "carl").await, ["gold"]);
    bank.set_clock(base + 25 * HOUR);
    assert_eq!(live.shows("home", "anna").await, ["gold"]);
}
