//! Counted events appear in the exposition.

use super::*;
use crate::labels::SERIES_LIMIT;

fn lines(metrics: &Metrics) -> Vec<String> {
    metrics.encode(Format::OpenMetrics).lines().map(str::to_owned).collect()
}

fn assert_has(metrics: &Metrics, expected: &str) {
    let lines = lines(metrics);
    assert!(lines.iter().any(|line| line == expected), "{expected} is not in\n{}", lines.join("\n"));
}

#[test]
fn calls_are_counted_by_rpc_and_status() {
    let metrics = Metrics::new();
    let rank = metrics.rpc("Rank");
    rank.begin(Instant::now()).finish(0);
    rank.begin(Instant::now()).finish(3);
    rank.begin(Instant::now()).finish(99);
    drop(rank.begin(Instant::now()));
    let _open = rank.begin(Instant::now());
    for code in ["OK", "INVALID_ARGUMENT", "UNKNOWN", "CANCELLED"] {
        assert_has(&metrics, &format!("proffer_requests_total{{rpc=\"Rank\",code=\"{code}\"}} 1"));
    }
    assert_has(&metrics, "proffer_requests_in_flight{rpc=\"Rank\"} 1");
    assert_has(&metrics, "proffer_request_seconds_count{rpc=\"Rank\"} 4");
}

#[test]
fn only_the_models_of_the_serving_release_are_named() {
    let metrics = Metrics::new();
    metrics.release_published(
        1,
        [("propensity", 1), ("affinity", 4)],
        [("propensity", 1, "native", "verified")],
    );
    metrics.release_published(
        2,
        [("propensity", 2), ("affinity", 4)],
        [("propensity", 2, "onnxruntime", "disagreement")],
    );
    assert_has(&metrics, "proffer_release 2");
    assert_has(&metrics, "proffer_snapshots_published_total 2");
    assert_has(&metrics, "proffer_release_info{release=\"2\"} 1");
    assert_has(&metrics, "proffer_release_model_info{model=\"affinity\",version=\"4\"} 1");
    let text = metrics.encode(Format::OpenMetrics);
    assert!(!text.contains("release=\"1\"") && !text.contains("version=\"1\""), "{text}");
}

#[test]
fn the_arms_of_experiments_that_the_release_lacks_make_room_for_others() {
    let metrics = Metrics::new();
    for variant in 0..SERIES_LIMIT {
        metrics.arm("former", &format!("v{variant}")).inc();
    }
    metrics.experiment_errors("former").inc();
    metrics.experiment_errors("order").inc();
    metrics.arm("order", "a").inc();
    assert_has(&metrics, "proffer_experiment_decisions_total{experiment=\"other\",variant=\"other\"} 1");
    metrics
        .keep_experiments(|experiment, variant| experiment == "order" && variant.is_none_or(|id| id == "a"));
    metrics.arm("order", "a").inc_by(2);
    assert_has(&metrics, "proffer_experiment_decisions_total{experiment=\"order\",variant=\"a\"} 2");
    assert_has(&metrics, "proffer_experiment_rule_errors_total{experiment=\"order\"} 1");
    let text = metrics.encode(Format::OpenMetrics);
    assert!(!text.contains("former"), "{text}");
    // An arm that went from an experiment that stays goes, too.
    metrics.keep_experiments(|_, variant| variant != Some("a"));
    let text = metrics.encode(Format::OpenMetrics);
    assert!(!text.contains("variant=\"a\"") && text.contains("variant=\"other\""), "{text}");
}

#[test]
fn comparisons_with_shadows_are_counted() {
    let metrics = Metrics::new();
    let shadow = metrics.shadow("v8");
    shadow.compared(true, Duration::from_micros(40), Duration::from_micros(400));
    shadow.compared(false, Duration::from_micros(40), Duration::from_micros(400));
    shadow.failed();
    metrics.shadow_shed("v8").inc_by(7);
    for (name, count) in [("compared", 2), ("failed", 1), ("shed", 7), ("first_agrees", 1)] {
        assert_has(&metrics, &format!("proffer_shadow_{name}_total{{shadow=\"v8\"}} {count}"));
    }
    metrics.shadows.unrecorded(Unrecorded::LogSpace).inc_by(3);
    for (reason, count) in [("queue_full", 0), ("log_space", 3), ("log_not_writable", 0), ("log_closed", 0)] {
        assert_has(&metrics, &format!("proffer_shadow_unrecorded_total{{reason=\"{reason}\"}} {count}"));
    }
    for side in ["champion", "shadow"] {
        let count = format!("proffer_shadow_decision_seconds_count{{shadow=\"v8\",side=\"{side}\"}} 2");
        assert_has(&metrics, &count);
    }
}

#[test]
fn outcomes_are_counted_by_type_and_verdict() {
    let metrics = Metrics::new();
    metrics.outcomes("click", "accepted").inc_by(3);
    metrics.outcomes("other", "refused").inc();
    metrics.outcomes.late.inc();
    assert_has(&metrics, "proffer_outcomes_total{outcome=\"click\",verdict=\"accepted\"} 3");
    assert_has(&metrics, "proffer_outcomes_total{outcome=\"other\",verdict=\"refused\"} 1");
    assert_has(&metrics, "proffer_outcomes_late_total 1");
}

#[test]
fn series_of_files_are_bounded() {
    let metrics = Metrics::new();
    for offer in 0..SERIES_LIMIT + 50 {
        metrics.rule_errors(&format!("offer{offer}"), "eligibility").inc();
    }
    metrics.rule_errors("offer3", "eligibility").inc();
    assert_has(&metrics, "proffer_rule_errors_total{offer=\"offer3\",rule=\"eligibility\"} 2");
    assert_has(&metrics, "proffer_rule_errors_total{offer=\"other\",rule=\"other\"} 50");
    metrics.model("propensity", 1).scored(40, Duration::from_micros(30));
    metrics.model("propensity", 1).unavailable(2);
    assert_has(&metrics, "proffer_model_rows_total{model=\"propensity\",version=\"1\"} 40");
    assert_has(&metrics, "proffer_model_unavailable_total{model=\"propensity\"} 2");
    metrics.model("propensity", 1).clamped(3);
    assert_has(&metrics, "proffer_propensities_clamped_total{model=\"propensity\"} 3");
}

#[test]
fn every_metric_has_help_and_a_unique_name() {
    let metrics = Metrics::new();
    let lines = lines(&metrics);
    let described: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    let mut names: Vec<&str> = described.iter().filter_map(|line| line.split(' ').next()).collect();
    assert!(described.iter().all(|line| line.split(' ').count() > 2), "{described:?}");
    let declared = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), declared);
    assert!(names.iter().all(|name| name.starts_with("proffer_") || name.starts_with("process_")));
    assert_eq!(lines.last().map(String::as_str), Some("# EOF"));
}

#[test]
fn gauges_that_are_sampled_are_current_when_read() {
    let metrics = Metrics::new();
    metrics.sample(|metrics| {
        metrics.queue.depth.set(7);
    });
    metrics.customers_loaded(2_000, 300_000);
    assert_has(&metrics, "proffer_queue_depth 7");
    assert_has(&metrics, "proffer_customers 2000");
    assert_has(&metrics, "proffer_customer_store_bytes 300000");
    assert_has(&metrics, concat!("proffer_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"));
}

#[test]
fn events_are_counted_from_the_queue_to_the_sealed_file() {
    let metrics = Metrics::new();
    let events = &metrics.events;
    events.appended.inc_by(3);
    events.dropped.inc();
    events.lost.inc_by(2);
    events.sealed.inc_by(4);
    events.sealing_failures.inc();
    events.queue_bytes.set(5);
    events.log_writable.set(1);
    events.oldest_unsealed.set(7.5);
    events.synced(Duration::from_millis(3));
    for line in [
        "proffer_events_appended_total 3",
        "proffer_events_dropped_total 1",
        "proffer_events_lost_total 2",
        "proffer_sealed_events_total 4",
        "proffer_sealing_failures_total 1",
        "proffer_event_queue_bytes 5",
        "proffer_event_log_writable 1",
        "proffer_oldest_unsealed_event_seconds 7.5",
        "proffer_event_log_sync_seconds_bucket{le=\"0.005\"} 1",
    ] {
        assert_has(&metrics, line);
    }
}
