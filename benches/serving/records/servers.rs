//! `Rank` over gRPC with records and without, by two servers that take turns: what else the machine does slows both.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proffer::grpc::proto::proffer::v1 as wire;

use crate::PLACEMENTS;
use crate::goals::Goals;
use crate::measure::print_row;
use crate::over_grpc::rank_in_turns;
use crate::sample::{self, Visit};
use crate::server::Server;

/// A server with records, and what is expected of it beside the one without.
struct Case {
    sync: &'static str,
    connections: usize,
    goal: f64,
    aim: f64,
}

const CASES: [Case; 2] = [
    Case { sync: "interval", connections: 16, goal: 0.9, aim: 0.97 },
    Case { sync: "always", connections: 64, goal: 0.5, aim: 0.7 },
];

/// Measures the rates of both servers, and their ratio, round by round.
pub(crate) async fn run(store: &Path, scratch: &Path, visits: &[Visit], goals: &mut Goals) {
    let requests: Arc<[wire::RankRequest]> = sample::for_each(visits, |visit| visit.message(PLACEMENTS[0].0));
    println!(
        "\n{:<62}{:>26}{:>9}{:>9}",
        "Over gRPC on loopback, the client on the same cores", "calls/s", "CPU µs", "others"
    );
    for Case { sync, connections, goal, aim } in CASES {
        let start = |name: &str, settings: &[(&str, &str)]| {
            let logs = scratch.join(format!("{sync}-{name}"));
            std::fs::create_dir(&logs).unwrap();
            Server::start(store, &logs, settings)
        };
        let without = start("without", &[("PROFFER_RECORDS_RECORD", "false")]);
        let with = start("with", &[("PROFFER_RECORDS_SYNC", sync)]);
        let turns = rank_in_turns([&without, &with], &requests, connections).await;
        let name = format!("Rank, {connections} connections");
        turns.print(&format!("{name}, without records"), 0);
        turns.print(&format!("{name}, records.sync = {sync}"), 1);
        print_row("ratio of a round", [turns.ratio()]);
        // More than the interval after which the last of them are written.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let recorded = with.metric("proffer_events_appended_total") as usize;
        assert_eq!(recorded, turns.calls(1), "not every decision was recorded");
        goals.at_least(
            &format!("{name}: records.sync = {sync} to none"),
            "×",
            turns.ratio().median,
            goal,
            aim,
        );
    }
}
