//! What records cost a call, and how fast they are read and decided again: the table of `make bench-records`.
//!
//! `cargo bench --bench serving -- records` prints each figure with its goal, and ends with an error where a goal is
//! missed. `PROFFER_TEST_EVENTS=10000000` adds reading back that many events; they need about twelve gigabytes of disk.
//!
//! Two workspaces are used. Calls are measured with the sample workspace, as all other calls are. Records are written,
//! read and decided again with a workspace of 40 candidates and 25 features, none of them sensitive
//! (`records/workspace.rs`): each of its customers is another one, so that nothing packs better than it would in
//! production. Start reading at [`run`].

mod archive;
mod read;
mod replayed;
mod request;
mod servers;
mod size;
mod workspace;

use std::path::Path;
use std::sync::Arc;

use archive::Archive;
use workspace::Offers;

use crate::goals::Goals;
use crate::in_process::Engine;
use crate::sample;

/// How many events are read back, in ascending order.
const EVENTS: [usize; 2] = [100_000, 1_000_000];

/// Measures everything and prints the table; whether all goals are reached.
pub(crate) fn run() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let mut goals = Goals::default();
    let sample = place("sample");
    crate::make_store(&sample, &crate::workspace(directory.path()));
    of_calls(&sample, directory.path(), &mut goals);

    let (store, first, changed) = (place("store"), place("first"), place("changed"));
    workspace::write(&first, Offers::First);
    workspace::write_customers(&first);
    workspace::write(&changed, Offers::Changed);
    crate::make_store(&store, &first);
    workspace::release(&store, &changed);
    of_records(&store, &mut goals);
    goals.print();
    goals.are_reached()
}

/// What calls pay for their records.
fn of_calls(store: &Path, scratch: &Path, goals: &mut Goals) {
    let engine = Engine::load(store);
    let visits: Arc<[sample::Visit]> = sample::visits(&engine.snapshot.customers).into();
    // As in `proffer serve`.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (engine, in_process) = (Arc::new(engine), Arc::clone(&visits));
    let data = scratch.join("request");
    let asked = runtime.spawn(async move { request::run(&engine, &in_process, &data).await });
    goals.at_most("a record on the thread of the request", "µs", runtime.block_on(asked).unwrap(), 3.0, 1.5);
    drop(runtime);
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    client.block_on(servers::run(store, scratch, &visits, goals));
}

/// What can be done with records.
fn of_records(store: &Path, goals: &mut Goals) {
    let engine = Engine::load(store);
    let mut sizes = EVENTS.to_vec();
    sizes.extend(std::env::var("PROFFER_TEST_EVENTS").map(|events| events.parse::<usize>().unwrap()));
    let mut times = Vec::new();
    for events in sizes {
        let archive = Archive::record(&engine, events);
        times.push(read::measure(&archive));
        if times.len() == 1 {
            size::print(&archive, goals);
            replayed::run(&archive, store, goals);
        }
    }
    read::report(&times, goals);
}
