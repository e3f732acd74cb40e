//! The hour of the sample bank in `examples/hour`, played as a new user would. The script's own report is not trusted:
//! the tests also look at what the server recorded.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::binary::proffer_prints;
use super::harness::{Server, limited_workspace};
use super::pipeline::recent_python;

/// Offers that the limit on e-mails exempts.
const SERVICE: [&str; 3] = ["spending_insights", "security_checkup", "card_service_review"];

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_the_bank_meets_every_limit_and_exceeds_none() {
    let Some(python) = recent_python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (data, report) = (directory.path().join("data"), directory.path().join("report.json"));
    let settings = [("data.directory", data.to_str().unwrap()), ("records.sync", "always")];
    let server = Server::start(&limited_workspace(), &settings);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hour/play.py");
    let played = Command::new(python)
        .arg("-B")
        .arg(script)
        .args(["--server", &server.address.to_string(), "--seconds", "0", "--report"])
        .arg(&report)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&played.stdout);
    assert!(played.status.success(), "{printed}{}", String::from_utf8_lossy(&played.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();

    // Each outcome has a verdict, and the server has counted as many.
    let metrics = server.admin_get("/metrics").unwrap();
    for (kind, verdicts) in report["outcomes"].as_object().unwrap() {
        assert!(verdicts.get("REFUSED").is_none(), "{kind}: {verdicts}");
        for (verdict, count) in verdicts.as_object().unwrap() {
            let verdict = verdict.to_lowercase();
            let line =
                format!("proffer_outcomes_total{{outcome=\"{kind}\",verdict=\"{verdict}\"}} {count}\n");
            assert!(metrics.contains(&line), "{line} is not in {metrics}");
        }
    }
    for (kind, verdict) in [("impression", "ACCEPTED"), ("impression", "DUPLICATE"), ("accept", "ACCEPTED")] {
        assert!(report["outcomes"][kind][verdict].as_u64() > Some(0), "no {kind} is {verdict}: {printed}");
    }

    // Limits were met, and say when they free.
    for limit in ["two_emails_a_week", "dismissed", "budget of travel_ski_2027"] {
        let met = &report["limits"][limit];
        assert!(met["offers"].as_u64() > Some(0), "{limit} withheld nothing: {printed}");
        assert!(met["next_frees_at"].is_string(), "{limit} does not free: {printed}");
        assert!(printed.contains(limit), "{limit} is not in {printed}");
    }

    // What was recorded: at most two e-mails with anything but service for each customer.
    let address = server.address.to_string();
    let words =
        ["decision", "list", "--json", "--count", "100000", "--placement", "email_monthly", "--server"];
    let listed = proffer_prints(words.into_iter().chain([address.as_str()]));
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let mut mails = BTreeMap::<&str, usize>::new();
    for decision in &listed {
        let mut offers = decision["offer_ids"].as_array().unwrap().iter().filter_map(Value::as_str);
        if offers.any(|offer| !SERVICE.contains(&offer)) {
            *mails.entry(decision["customer_id"].as_str().unwrap()).or_default() += 1;
        }
    }
    assert_eq!(mails.values().max(), Some(&2), "{mails:?}");
}
