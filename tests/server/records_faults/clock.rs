//! The clock of a server jumps an hour ahead and back: ids follow it, the order of the log does not depend on it, and
//! each decision is sealed under the date that it was made at.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use uuid::Uuid;

use super::scene::{Scene, client, until_sealed};
use crate::binary::Process;
use crate::harness::rank_request;

const HOUR: i64 = 3_600;

/// The wall clock of a server.
pub(crate) struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// A clock in a directory, or `None` and a message.
    pub(crate) fn new(directory: &Path) -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/records_faults/clock.c");
        let (library, file) = (directory.join("clock.so"), directory.join("clock"));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
        match cc.output() {
            Ok(made) if made.status.success() => {}
            Ok(made) => panic!("{}", String::from_utf8_lossy(&made.stderr)),
            Err(error) => {
                eprintln!("skipped: cc cannot be run: {error}");
                return None;
            }
        }
        fs::write(&file, 0_i64.to_ne_bytes()).unwrap();
        Some(Self { library, file })
    }

    /// Has a command be run with this clock.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("PROFFER_TEST_CLOCK", &self.file);
    }

    /// Sets it ahead of that of this machine, or back.
    pub(crate) fn set(&self, seconds: i64) {
        let file = fs::File::options().write(true).open(&self.file).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

/// Decides once, and returns the id.
async fn decide(server: &Process) -> Uuid {
    let mut client = client(server.address).await;
    let response = client.rank(rank_request("app_home", &["C000007"])).await.unwrap().into_inner();
    response.results[0].decision_id.parse().unwrap()
}

/// The time in an id.
fn time_of(id: Uuid) -> DateTime<Utc> {
    let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
    DateTime::from_timestamp(seconds as i64, nanos).unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn ids_order_and_dates_hold_while_the_clock_jumps() {
    let scene = Scene::in_directory();
    let Some(clock) = Clock::new(&scene.path("")) else { return };
    // Half past eleven in the evening, so that an hour ahead is another day.
    let late = NaiveTime::from_hms_opt(23, 30, 0).unwrap();
    let base = (Utc::now().date_naive().and_time(late).and_utc() - Utc::now()).num_seconds();
    let mut serve = scene.server("data", &[("sync", "always")]);
    clock.apply(&mut serve);
    clock.set(base);
    let server = scene.start(serve);
    let mut decided = Vec::new();
    for ahead in [0, HOUR, 0, -HOUR, 0] {
        clock.set(base + ahead);
        let ids = [decide(&server).await, decide(&server).await];
        for id in ids {
            let wrong = time_of(id) - Utc::now() - TimeDelta::seconds(base + ahead);
            assert!(wrong.abs() < TimeDelta::minutes(10), "{id} is {wrong} off");
        }
        decided.extend(ids);
        // Files are closed by an age that no jump changes. The first has decisions of two days.
        if ahead != 0 {
            until_sealed(&server).await;
        }
    }
    assert!(server.terminate().success());
    scene.seal("data");
    scene.assert_whole(&[]);

    // The log has them in the order in which they were made.
    let mut entries = Vec::new();
    scene.read(&[], |position, record| entries.push((position, record)));
    entries.sort_by_key(|(position, _)| *position);
    let positions: Vec<u64> = entries.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, (1..=decided.len() as u64).collect::<Vec<_>>());
    let today = time_of(decided[0]).date_naive();
    for (turn, ((_, record), id)) in entries.iter().zip(&decided).enumerate() {
        assert_eq!(record.decision_id, id.to_string());
        let moment = DateTime::from_timestamp_micros(record.decided_at).unwrap();
        assert!((moment - time_of(*id)).abs() < TimeDelta::minutes(1));
        let expected = if turn / 2 == 1 { today.succ_opt().unwrap() } else { today };
        assert_eq!(moment.date_naive(), expected);
    }
    let mut days: Vec<String> = fs::read_dir(scene.path("store/events/decision"))
        .unwrap()
        .map(|day| day.unwrap().file_name().into_string().unwrap())
        .collect();
    days.sort();
    let expected = [today, today.succ_opt().unwrap()].map(|day| format!("date={day}"));
    assert_eq!(days, expected);
    // Each is found by its id, in which the wrong time is.
    for id in &decided {
        let shown = scene.run(&["decision", "show", &id.to_string()]);
        assert!(shown.stdout.contains("decided again: the same answer"), "{shown:?}");
    }
    assert_eq!(scene.replayed(), decided.len());
}
