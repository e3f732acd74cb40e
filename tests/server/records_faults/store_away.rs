//! The store is away and comes back: records stay in the log up to its limit, and are sealed afterwards.

use super::scene::{Load, Scene, metric, until, until_sealed};
use crate::s3::S3;

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_answer_fills_the_log_and_gets_it_all_later() {
    let Some(s3) = S3::start() else { return };
    let scene = Scene::in_bucket(&s3);
    let server = scene.serve("data", &[("sync", "always"), ("log_limit", "256KiB")]);
    let load = Load::on(&server).await;
    until("something is sealed", async || metric(&server, "proffer_sealed_events_total") > 0).await;
    s3.hold();
    // Nothing is dropped before the log is full.
    until("the log is full", async || metric(&server, "proffer_event_log_writable") == 0).await;
    let bytes = metric(&server, "proffer_event_log_bytes");
    assert!((128 * 1024..=256 * 1024).contains(&bytes), "{bytes}");
    until("decisions are dropped", async || metric(&server, "proffer_events_dropped_total") > 0).await;
    until("sealing fails", async || metric(&server, "proffer_sealing_failures_total") > 0).await;
    assert!(metric(&server, "proffer_oldest_unsealed_event_seconds") > 0);
    load.more(50).await;

    s3.release();
    until("the log is written again", async || metric(&server, "proffer_event_log_writable") == 1).await;
    load.more(50).await;
    let answered = load.stop().await;
    until_sealed(&server).await;
    assert_eq!(metric(&server, "proffer_events_lost_total"), 0);
    assert_eq!(metric(&server, "proffer_events_dropped_total"), answered.not_recorded.len() as u64);
    assert!(server.terminate().success());
    scene.assert_whole(&[]);
    let found = scene.recorded(&[]);
    assert!(answered.recorded.is_subset(&found), "a decision that was told to be recorded is not");
    assert_eq!(scene.replayed(), found.len());
}
