//! Records decided again from sealed files on all cores: with the release that decided, with another one; and all
//! customers of the store with both.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use event::proto::DecisionRecord;
use event::{Query, SealedError};
use proffer::app::App;
use release::Store;
use replay::identity::{self, replay};
use replay::{Named, Options, Releases, SimulatedHistory, Simulation, simulate, what_if, without_customers};

use super::archive::Archive;
use super::workspace::{CUSTOMERS, moment};
use crate::goals::Goals;
use crate::measure::{Spread, print_heading, print_row};

/// How often each is measured, after once to warm up.
const ROUNDS: usize = 5;

/// Measures decisions per second.
pub(crate) fn run(archive: &Archive, store: &Path, goals: &mut Goals) {
    let events = archive.events as u64;
    let (_, deployer, _) = App::offline(Store::open(store.to_str().unwrap(), None).unwrap()).unwrap();
    let [first, second] = [1, 2].map(|number| deployer.release(number).unwrap());
    let with_customers = |release, name: &str| Named {
        snapshot: deployer.with_customers_of_store(release).unwrap(),
        name: name.to_owned(),
    };
    let other = Named { snapshot: without_customers(second.clone()), name: "release 2".to_owned() };
    let simulation = Simulation {
        before: with_customers(first, "release 1"),
        after: with_customers(second, "release 2"),
        placements: Vec::new(),
        now: moment(),
        history: SimulatedHistory::default(),
        options: Options::default(),
    };
    let releases = Releases::new(move |number| deployer.release(number).map_err(|error| error.to_string()));
    let source = |emit: &mut dyn FnMut(DecisionRecord) -> ControlFlow<()>| -> Result<(), SealedError> {
        archive.reader().scan(&Query::default(), emit)
    };

    let identity = per_second(events, || {
        let found = replay(source, &releases, identity::Options::default(), |_| {}).unwrap();
        assert_eq!((found.identical, found.records()), (events, events));
    });
    let rescored = per_second(events, || {
        let options = identity::Options { rescore: true, ..identity::Options::default() };
        assert!(replay(source, &releases, options, |_| {}).unwrap().is_identical());
    });
    let changed = per_second(events, || {
        let base = |number| releases.get(number);
        let found = what_if(source, base, &other, Options::default(), |_| {}).unwrap();
        assert_eq!((found.effect.all.decisions, found.excluded.failed), (events, 0));
        assert!(found.effect.all.first_changes > 0, "the other release changes nothing");
    });
    let simulated = per_second(CUSTOMERS as u64, || {
        let found = simulate(&simulation, |_| {}).unwrap();
        assert_eq!((found.effect.all.decisions, found.excluded.failed), (CUSTOMERS as u64, 0));
        assert!(found.effect.all.first_changes > 0, "the other release changes nothing");
    });

    print_heading(&format!(
        "Decided again: {events} decisions of {CUSTOMERS} customers, decisions/s on all cores"
    ));
    for (work, rate) in [
        ("replay", identity),
        ("replay with --rescore", rescored),
        ("what if another release had decided", changed),
        ("simulation of a release, both sides of a decision", simulated),
    ] {
        print_row(work, [rate]);
    }
    for (work, rate) in [("replay", identity), ("what if", changed), ("simulation", simulated)] {
        goals.at_least(&format!("{work}, decisions/s on all cores"), "", rate.median, 50_000.0, 120_000.0);
    }
}

/// How many of `items` a second takes.
fn per_second(items: u64, work: impl Fn()) -> Spread {
    work();
    let round = |_| {
        let began = Instant::now();
        work();
        items as f64 / began.elapsed().as_secs_f64()
    };
    Spread::of((0..ROUNDS).map(round))
}
