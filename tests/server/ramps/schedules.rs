//! Schedules: their steps are taken when they are due, once, and never past what a person did.

use std::net::SocketAddr;
use std::path::Path;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use proffer::app::App;
use release::{Change, Order, PromotionRequest, Ramps, Schedule, Store};
use work::Call;

use super::super::binary::command;
use super::super::harness::{admin_get, make_store};
use super::super::replicas::OnS3;
use super::super::s3::S3;
use super::*;

const SCHEDULE: &str = "state = \"draft\"\n[[experiment.step]]\ncoverage = 0.25\nafter = \"30m\"\n\
                        [[experiment.step]]\ncoverage = 1.0\nafter = \"2h\"";

/// A store in a directory with a scheduled draft, and what works on it without a server.
struct Offline {
    directory: tempfile::TempDir,
}

impl Offline {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        make_store(&directory.path().join("store"), workspace(SCHEDULE).path()).unwrap();
        Self { directory }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("store")
    }

    fn store(&self) -> Store {
        Store::open(self.path().to_str().unwrap(), None).unwrap()
    }

    /// As another process would have it: it knows nothing but what the store has.
    fn ramps(&self) -> Ramps {
        App::offline(self.store()).unwrap().2
    }

    fn order(&self, order: Order) {
        let [experiment, author, reason] = ["margins", "a person", "a test"].map(str::to_owned);
        self.ramps().change(&Change { experiment, order, author, reason }, &Call::default()).unwrap();
    }

    /// What another process does so many minutes from now; returns the coverage then.
    fn poll_in(&self, minutes: i64) -> f64 {
        self.ramps().advance(Utc::now() + TimeDelta::minutes(minutes));
        self.ramps().get("margins").unwrap().experiment.coverage
    }

    fn schedule(&self) -> Option<Schedule> {
        self.ramps().get("margins").unwrap().experiment.schedule
    }

    fn halted(&self) -> String {
        self.schedule().unwrap().halted
    }
}

/// Moves the last promotion so many minutes back.
fn backdate(store: &Path, minutes: i64) {
    let path = store.join("CURRENT");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|line| line.starts_with("time = ")).unwrap();
    let time = DateTime::parse_from_rfc3339(line[7..].trim_matches('"')).unwrap().to_utc()
        - TimeDelta::minutes(minutes);
    let moved = format!("time = \"{}\"", time.to_rfc3339_opts(SecondsFormat::Secs, true));
    std::fs::write(&path, text.replace(line, &moved)).unwrap();
}

#[test]
fn steps_are_taken_when_they_are_due_and_end_at_the_last() {
    let offline = Offline::new();
    // A draft has no schedule.
    assert_eq!((offline.schedule(), offline.poll_in(10_000)), (None, 0.05));
    offline.order(Order::Start);
    let next = offline.schedule().unwrap();
    assert_eq!((next.coverage, next.halted.as_str()), (0.25, ""));
    let left = DateTime::parse_from_rfc3339(&next.at).unwrap().to_utc() - Utc::now();
    assert!((29..=30).contains(&left.num_minutes()), "{left}");
    assert_eq!(offline.poll_in(28), 0.05);
    assert_eq!(offline.poll_in(31), 0.25);
    // The next one counts from the promotion of this one.
    assert_eq!(offline.poll_in(31), 0.25);
    assert_eq!(offline.poll_in(118), 0.25);
    assert_eq!(offline.poll_in(121), 1.0);
    assert_eq!((offline.schedule(), offline.poll_in(10_000)), (None, 1.0));
    let steps = offline.ramps().get("margins").unwrap().steps;
    let told: Vec<_> =
        steps.iter().map(|step| (step.action.word(), step.scheduled, step.author.as_str())).collect();
    assert_eq!(told, [("ramp", true, "schedule"), ("ramp", true, "schedule"), ("start", false, "a person")]);
    assert_eq!(offline.store().current().unwrap().current.sequence, 4);
}

#[test]
fn a_schedule_halts_where_a_person_has_changed_the_experiment_and_a_start_lets_it_go_on() {
    let offline = Offline::new();
    offline.order(Order::Start);
    offline.order(Order::Ramp { coverage: 0.1 });
    assert_eq!(offline.halted(), "a person did this: ramp, in release 3");
    assert_eq!(offline.poll_in(10_000), 0.1);
    offline.order(Order::Start);
    assert_eq!(offline.halted(), "");
    assert_eq!(offline.poll_in(31), 0.25);
    for order in [Order::Pause, Order::Start] {
        offline.order(order);
        assert_eq!(offline.schedule().is_none(), order == Order::Pause);
    }
    assert_eq!(offline.poll_in(121), 1.0);
    offline.order(Order::Stop);
    assert_eq!(offline.schedule(), None);
}

#[test]
fn releases_of_persons_reset_nothing_unless_they_change_the_experiment() {
    let offline = Offline::new();
    offline.order(Order::Start);
    let before = offline.schedule().unwrap();
    let (registry, deployer, _) = App::offline(offline.store()).unwrap();
    let promote = |from: &str, to: &str| {
        let policy = registry.release(0).unwrap().policy;
        assert!(policy.contains(from), "no {from:?} in {policy}");
        let policy = Some(policy.replacen(from, to, 1));
        let author = "a person".to_owned();
        let draft = release::ReleaseDraft { policy, author, ..Default::default() };
        let release = registry.create_release(&draft, &Call::default()).unwrap().record.number;
        let request =
            PromotionRequest { release, author: "another".to_owned(), ..PromotionRequest::default() };
        deployer.promote(&request, &Call::default()).unwrap();
    };
    promote("count = 3", "count = 2");
    assert_eq!(offline.schedule().unwrap(), before);
    // The schedule itself is a person's to change.
    promote("after = \"30m\"", "after = \"20m\"");
    assert!(offline.halted().is_empty() && offline.schedule().unwrap().at < before.at);
    promote("coverage = 0.05", "coverage = 0.1");
    assert_eq!(offline.halted(), "a person has changed it in release 5");
    assert_eq!(offline.poll_in(10_000), 0.1);
    // A rollback, too, is what a person wants.
    offline.order(Order::Start);
    assert_eq!(offline.poll_in(21), 0.25);
    deployer.rollback("a person", "", &Call::default()).unwrap();
    assert_eq!(offline.halted(), "release 5 was promoted again");
    assert_eq!(offline.poll_in(10_000), 0.1);
}

#[test]
fn a_start_that_is_promoted_again_halts_the_schedule_that_had_gone_on() {
    let offline = Offline::new();
    offline.order(Order::Start);
    assert_eq!(offline.poll_in(31), 0.25);
    let promote = |release: u64| {
        let request =
            PromotionRequest { release, author: "another".to_owned(), ..PromotionRequest::default() };
        App::offline(offline.store()).unwrap().1.promote(&request, &Call::default()).unwrap();
    };
    promote(2);
    assert_eq!(offline.halted(), "release 2 was promoted again");
    assert_eq!(offline.poll_in(10_000), 0.05);
    offline.order(Order::Start);
    assert_eq!((offline.halted().as_str(), offline.poll_in(31)), ("", 0.25));
    // Over a release that has the experiment just so, it is no change.
    offline.order(Order::Pause);
    offline.order(Order::Start);
    let (start, next) = (offline.store().current().unwrap().current.release, offline.schedule());
    let (registry, _, _) = App::offline(offline.store()).unwrap();
    let policy = Some(registry.release(0).unwrap().policy.replacen("count = 3", "count = 2", 1));
    let draft = release::ReleaseDraft { policy, author: "a person".to_owned(), ..Default::default() };
    promote(registry.create_release(&draft, &Call::default()).unwrap().record.number);
    promote(start);
    assert_eq!(offline.schedule(), next);
}

#[test]
fn a_schedule_halts_if_what_began_it_is_too_far_back() {
    let offline = Offline::new();
    offline.order(Order::Start);
    let (path, next) = (offline.path(), offline.schedule());
    let current = std::fs::read_to_string(path.join("CURRENT")).unwrap();
    assert!(current.contains("sequence = 2\n"), "{current}");
    // Release 2 again and again.
    let promote_until = |last: u64| {
        for sequence in 3..=last {
            let text = current.replace("sequence = 2\n", &format!("sequence = {sequence}\n"));
            std::fs::write(path.join(format!("promotions/{sequence}.toml")), &text).unwrap();
            std::fs::write(path.join("CURRENT"), &text).unwrap();
        }
    };
    promote_until(513);
    assert_eq!(offline.schedule(), next);
    promote_until(514);
    assert_eq!(offline.halted(), "what began it is not among the last 512 promotions");
    assert_eq!(offline.poll_in(10_000), 0.05);
    offline.order(Order::Start);
    assert_eq!((offline.halted().as_str(), offline.poll_in(31)), ("", 0.25));
}

#[test]
fn a_damaged_copy_of_a_promotion_halts_a_schedule_and_no_stop() {
    let offline = Offline::new();
    offline.order(Order::Start);
    std::fs::write(offline.path().join("promotions/1.toml"), "not a promotion").unwrap();
    let expected = "a promotion before it, or its release, cannot be read; the log names the file to repair";
    assert_eq!(offline.halted(), expected);
    assert_eq!(offline.poll_in(10_000), 0.05);
    let state = || offline.ramps().list().unwrap().experiments[0].state.name();
    offline.order(Order::Pause);
    assert_eq!(state(), "paused");
    offline.order(Order::Stop);
    assert_eq!(state(), "stopped");
}

#[test]
fn a_release_is_promoted_again_only_if_it_was_promoted_before() {
    let offline = Offline::new();
    let (registry, deployer, _) = App::offline(offline.store()).unwrap();
    let make = |from: &str, to: &str| {
        let policy = Some(registry.release(0).unwrap().policy.replacen(from, to, 1));
        let draft = release::ReleaseDraft { policy, author: "a person".to_owned(), ..Default::default() };
        registry.create_release(&draft, &Call::default()).unwrap().record.number
    };
    let promote = |release: u64| {
        let request =
            PromotionRequest { release, author: "another".to_owned(), ..PromotionRequest::default() };
        deployer.promote(&request, &Call::default()).unwrap();
    };
    // One is made before another, and promoted after it.
    let begins = make("state = \"draft\"", "state = \"running\"");
    let other = make("count = 3", "count = 2");
    promote(other);
    promote(begins);
    assert_eq!(offline.halted(), "");
    promote(other);
    promote(begins);
    assert_eq!(offline.halted(), format!("release {begins} was promoted again"));
    // So is a step of the schedule, also over the release that it was made from.
    offline.order(Order::Start);
    let start = offline.store().current().unwrap().current.release;
    assert_eq!(offline.poll_in(31), 0.25);
    let step = offline.store().current().unwrap().current.release;
    promote(start);
    assert_eq!(offline.halted(), format!("release {start} was promoted again"));
    promote(step);
    assert_eq!(offline.halted(), format!("release {step} was promoted again"));
    assert_eq!(offline.poll_in(10_000), 0.25);
}

#[test]
fn what_promotions_said_is_read_once() {
    let offline = Offline::new();
    offline.order(Order::Start);
    let ramps = offline.ramps();
    let told = |ramps: &Ramps| {
        let told = ramps.get("margins").unwrap();
        (told.steps.len(), told.store_error)
    };
    assert_eq!(told(&ramps), (1, String::new()));
    std::fs::write(offline.path().join("promotions/1.toml"), "not a promotion").unwrap();
    std::fs::write(offline.path().join("promotions/2.toml"), "not a promotion").unwrap();
    offline.order(Order::Ramp { coverage: 0.1 });
    assert_eq!(told(&ramps), (2, String::new()));
    let schedule = ramps.get("margins").unwrap().experiment.schedule.unwrap();
    assert_eq!(schedule.halted, "a person did this: ramp, in release 3");
    // Who reads them for the first time finds them damaged.
    let (steps, store_error) = told(&offline.ramps());
    assert!(steps == 0 && store_error.contains("promotions/"), "{store_error}");
}

#[test]
fn a_schedule_takes_no_step_beside_a_pending_stop() {
    let offline = Offline::new();
    offline.order(Order::Start);
    let ramps = offline.ramps();
    let coverage = || ramps.get("margins").unwrap().experiment.coverage;
    assert_eq!(coverage(), 0.05);
    let away = offline.path().with_extension("away");
    std::fs::rename(offline.path(), &away).unwrap();
    let [experiment, author, reason] = ["margins", "a person", "a test"].map(str::to_owned);
    let stop = Change { experiment, order: Order::Stop, author, reason };
    let pending = ramps.change(&stop, &Call::default()).unwrap_err().to_string();
    assert!(pending.ends_with("tries again until it is done, withdrawn, or the server ends"), "{pending}");
    std::fs::rename(&away, offline.path()).unwrap();
    let due = Utc::now() + TimeDelta::minutes(31);
    ramps.advance(due);
    assert_eq!(coverage(), 0.05);
    assert!(!ramps.withdraw_stop("margins", "a person").unwrap().may_be_stopped);
    ramps.advance(due);
    assert_eq!(coverage(), 0.25);
}

#[test]
fn a_change_that_cannot_be_promoted_makes_no_release() {
    let offline = Offline::new();
    offline.order(Order::Start);
    let model = offline.path().join("models/propensity/1/model.onnx");
    let whole = std::fs::read(&model).unwrap();
    std::fs::write(&model, "damaged").unwrap();
    let ramps = offline.ramps();
    for order in [Order::Ramp { coverage: 0.5 }, Order::Pause, Order::Stop] {
        let [experiment, author, reason] = ["margins", "a person", "a test"].map(str::to_owned);
        let change = Change { experiment, order, author, reason };
        let refused = ramps.change(&change, &Call::default()).unwrap_err();
        assert!(refused.to_string().contains("propensity/1/model.onnx"), "{refused}");
    }
    assert_eq!(offline.poll_in(31), 0.05);
    assert_eq!(offline.store().releases().unwrap(), [1, 2]);
    std::fs::write(&model, whole).unwrap();
    offline.order(Order::Stop);
    assert_eq!(offline.store().releases().unwrap(), [1, 2, 3]);
}

/// By how many of these servers the schedule has taken a step, and one alone.
fn scheduled_steps(admins: &[SocketAddr]) -> usize {
    let line = "proffer_experiment_steps_total{action=\"ramp\",by=\"schedule\"} 1";
    admins.iter().filter(|admin| admin_get(**admin, "/metrics").unwrap().contains(line)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_taken_by_exactly_one_of_two_servers_and_by_none_while_it_is_the_turn_of_another() {
    let offline = Offline::new();
    offline.order(Order::Start);
    backdate(&offline.path(), 31);
    let turn = offline.store().take_turn("a test", Utc::now()).unwrap().unwrap();
    let (one, other) = (Server::over(&offline.path(), &[]), Server::over(&offline.path(), &[]));
    let (mut experiments, mut management) = clients(&one).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(experiments.standing("margins").await, (ExperimentState::Running, 0.05));
    drop(turn);
    until("the step is taken", async || experiments.standing("margins").await.1 == 0.25).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(scheduled_steps(&[one.admin, other.admin]), 1);
    let listed = management.list().await;
    assert_eq!((listed.current.unwrap().sequence, listed.releases.len()), (3, 3));
    let next = experiments.schedule("margins").await.unwrap();
    assert_eq!((next.coverage, next.halted.as_str()), (1.0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_bucket_two_servers_take_turns_at_a_schedule() {
    let Some(s3) = S3::shared() else { return };
    let (location, workspace) = (s3.new_location(), workspace(SCHEDULE));
    let run = |arguments: &[&str]| {
        let done =
            command().envs(s3.variables()).args(arguments).args(["--store", &location]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    run(&["init", "--from", workspace.path().to_str().unwrap()]);
    run(&["experiment", "start", "margins"]);
    backdate(&s3.directory(&location), 31);
    let store = Store::open_with(&location, None, s3.variables()).unwrap();
    let turn = store.take_turn("a test", Utc::now()).unwrap().unwrap();
    let (one, other) = (OnS3::start(s3, &location), OnS3::start(s3, &location));
    let channel = channel(one.server.address).await;
    let (mut experiments, mut management) = (Experiments::over(channel.clone()), Management::over(channel));
    // Longer than a few polls.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(experiments.standing("margins").await, (ExperimentState::Running, 0.05));
    drop(turn);
    until("the step is taken", async || experiments.standing("margins").await.1 == 0.25).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(scheduled_steps(&[one.server.admin, other.server.admin]), 1);
    let listed = management.list().await;
    assert_eq!((listed.current.unwrap().sequence, listed.releases.len()), (3, 3));
    // Its turn is over, so that another one may have it.
    assert!(store.take_turn("a test", Utc::now()).unwrap().is_some());
    assert!(one.server.terminate().success() && other.server.terminate().success());
}

#[test]
fn in_a_bucket_a_turn_ends_by_itself_long_after_its_server() {
    let Some(s3) = S3::shared() else { return };
    let location = s3.new_location();
    let store = Store::create_with(&location, None, s3.variables()).unwrap();
    let now = Utc::now();
    let first = store.take_turn("one", now).unwrap().unwrap();
    assert!(store.take_turn("other", now).unwrap().is_none());
    assert!(store.take_turn("other", now + TimeDelta::minutes(10)).unwrap().is_none());
    let second = store.take_turn("other", now + TimeDelta::minutes(12)).unwrap().unwrap();
    // The first ends late, and leaves the turn of the second alone.
    drop(first);
    assert!(store.take_turn("third", now + TimeDelta::minutes(13)).unwrap().is_none());
    drop(second);
    // This one's clock goes a day ahead, and its process is killed.
    let ahead = store.take_turn("third", now + TimeDelta::days(1)).unwrap().unwrap();
    std::mem::forget(ahead);
    assert!(store.take_turn("fourth", now + TimeDelta::minutes(13)).unwrap().is_some());
}
