//! What experiments cost a call: the table of `make bench-experiments`.
//!
//! The sample workspace without its limits, three times: without experiments, with one experiment of two versions of a
//! model, and with ten experiments. The second version has the same graph under other notes, in a file of its own, so
//! that both arms cost the same and what differs is what the experiment costs. Start reading at [`run`].

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proffer::grpc::proto::proffer::v1 as wire;

use crate::PLACEMENTS;
use crate::goals::Goals;
use crate::in_process::Engine;
use crate::measure::print_row;
use crate::over_grpc::rank_in_turns;
use crate::sample::{self, Visit};
use crate::server::Server;

const CONNECTIONS: usize = 16;

/// The customers of a batch.
const BATCH: usize = 64;

/// The model that the placement of the calls uses.
const MODEL: &str = "propensity";

/// An experiment in which everyone takes part; `challenger` are the lines of its second variant.
fn experiment(id: &str, challenger: &str) -> String {
    format!(
        "\n[[experiment]]\nid = \"{id}\"\ncoverage = 1.0\n[[experiment.variant]]\nid = \"champion\"\nweight = 0.5\n\
         [[experiment.variant]]\nid = \"challenger\"\nweight = 0.5\n{challenger}\n"
    )
}

/// Measures everything and prints the table; whether all goals are reached.
pub(crate) fn run() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let two_models = experiment("two_models", &format!("models = {{ {MODEL} = 2 }}"));
    // The others change nothing, as those whose arms other systems read.
    let ten =
        two_models.clone() + &(1..10).map(|at| experiment(&format!("other_{at}"), "")).collect::<String>();
    let places = [("none", String::new()), ("two_models", two_models), ("ten", ten)].map(|(name, policy)| {
        let place = directory.path().join(name);
        fs::create_dir(&place).unwrap();
        let workspace = crate::workspace(&place);
        if !policy.is_empty() {
            second_version(&workspace);
            let file = workspace.join("policy.toml");
            fs::write(&file, fs::read_to_string(&file).unwrap() + &policy).unwrap();
        }
        crate::make_store(&place.join("store"), &workspace);
        place
    });
    let visits = sample::visits(&Engine::load(&places[0].join("store")).snapshot.customers);
    let mut goals = Goals::default();
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let [none, two_models, ten] = &places;
    client.block_on(async {
        measure([none, two_models], "an experiment of two models", 0.9, &visits, &mut goals).await;
        measure([none, ten], "ten experiments", 0.85, &visits, &mut goals).await;
    });
    goals.print();
    goals.are_reached()
}

async fn measure([without, with]: [&Path; 2], what: &str, least: f64, visits: &[Visit], goals: &mut Goals) {
    let single: Arc<[wire::RankRequest]> = sample::for_each(visits, |visit| visit.message(PLACEMENTS[0].0));
    let batches: Arc<[wire::RankRequest]> =
        visits.chunks_exact(BATCH).map(|some| sample::batch(some, PLACEMENTS[0].0).1).collect();
    for (requests, of) in [(single, "one customer"), (batches, "64 customers")] {
        let servers = [without, with].map(|place| Server::start(&place.join("store"), place, &[]));
        println!(
            "\n{:<62}{:>26}{:>9}{:>9}",
            "Over gRPC on loopback, the client on the same cores", "calls/s", "CPU µs", "others"
        );
        let turns = rank_in_turns([&servers[0], &servers[1]], &requests, CONNECTIONS).await;
        turns.print(&format!("Rank of {of}, {CONNECTIONS} connections, no experiment"), 0);
        turns.print(&format!("Rank of {of}, {CONNECTIONS} connections, {what}"), 1);
        print_row("ratio of a round", [turns.ratio()]);
        let goal = format!("Rank of {of}: {what} to none");
        goals.at_least(&goal, "×", turns.ratio().median, least, 0.97);
    }
}

/// Adds version 2 of the model: the same under other notes.
pub(crate) fn second_version(workspace: &Path) {
    let (first, second) = (workspace.join(MODEL).join("1"), workspace.join(MODEL).join("2"));
    let copied = Command::new("cp").arg("-R").arg(&first).arg(&second).status().unwrap();
    assert!(copied.success(), "the model cannot be copied");
    let manifest = second.join("model.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("[training]", "[training]\ncopy = true", 1)).unwrap();
}
