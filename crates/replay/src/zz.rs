//! temporary
#![allow(missing_docs)]
use std::sync::Arc;
use std::time::Instant;
use release::{Release, ReleaseSource, Snapshot, Workspace};
use feature::store::CustomerTable;
use model::GraphCache;
use model::onnx::{OnnxRuntime, disable_telemetry};
use crate::comparison::*;
use crate::{simulate, Simulation, what_if};
use decision::{RankRequest, Customer};

fn load(number: u64, change: bool) -> Arc<Snapshot> {
    disable_telemetry().unwrap();
    let workspace = Workspace::open(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models"))).unwrap();
    let cache = GraphCache::new(OnnxRuntime::load().unwrap(), 1);
    let mut source = ReleaseSource::of_workspace(&workspace);
    source.number = number;
    let mut offers = workspace.offers.clone();
    let mut policy = workspace.policy.clone();
    if change {
        offers = offers.replace("value = 80.0", "value = 40.0").replace("customer.late_payments_12m <= 1", "customer.late_payments_12m == 0");
        policy = policy.replace("id = \"cashback\"\nweight = 10.0", "id = \"cashback\"\nweight = 60.0");
    }
    source.offers = &offers;
    source.policy = &policy;
    let release = Arc::new(Release::load(&source, &cache).unwrap_or_else(|e| panic!("{e}")));
    let (customers, _) = CustomerTable::load(workspace.customers.as_deref().unwrap(), release.schema()).unwrap();
    Arc::new(Snapshot { release, customers: Arc::new(customers) })
}

#[test]
fn zz_speed() {
    let (a, b) = (load(7, false), load(8, true));
    let sim = Simulation { before: crate::samples::named(&a), after: crate::samples::named(&b), placements: vec![], now: chrono::Utc::now(), options: Options::default() };
    let t = Instant::now();
    let c = simulate(&sim, |_| {}).unwrap();
    let n = c.effect.all.decisions;
    println!("simulate {n} decisions (x2) in {:?}: {:.0}/s comparisons", t.elapsed(), n as f64 / t.elapsed().as_secs_f64());
    std::fs::write("/tmp/x.html", c.html()).unwrap();
    std::fs::write("/tmp/x.txt", c.text()).unwrap();
    std::fs::write("/tmp/x80.txt", crate::reports::text_at(&c, 100)).unwrap();
    std::fs::write("/tmp/x.json", c.json().unwrap()).unwrap();
    let ids: Vec<String> = a.customers.rows().map(|row| a.customers.id(row).unwrap().to_owned()).collect();
    let requests: Vec<RankRequest> = ids.iter().enumerate().map(|(i, id)| RankRequest { placement: ["app_home","email_monthly","call_center"][i % 3].into(), customers: vec![Customer { id: id.clone(), ..Customer::default() }], ..RankRequest::default() }).collect();
    let (_, mut records) = crate::samples::rank(&a, requests);
    let one = records.clone();
    while records.len() < 40_000 { records.extend(one.clone()); }
    let n = records.len();
    let t = Instant::now();
    let c = what_if(crate::samples::source(&records), |_| Ok(Arc::clone(&a)), &crate::samples::named(&b), Options::default(), |_| {}).unwrap();
    println!("what_if {n} records in {:?}: {:.0}/s", t.elapsed(), n as f64 / t.elapsed().as_secs_f64());
    std::fs::write("/tmp/w.html", c.html()).unwrap();
    std::fs::write("/tmp/w.txt", c.text()).unwrap();
    let releases = crate::Releases::new({ let a = Arc::clone(&a); move |_| Ok(Arc::clone(&a.release)) });
    let t = Instant::now();
    let mut bad = one.clone();
    bad[3].offers.pop();
    bad[5].segment = None;
    bad[9].format = 99;
    let r = crate::identity::replay(crate::samples::source(&bad), &releases, crate::identity::Options { rescore: true, threads: 0 }, |_| {}).unwrap();
    println!("replay {} in {:?}", bad.len(), t.elapsed());
    std::fs::write("/tmp/r.html", r.html()).unwrap();
    std::fs::write("/tmp/r.txt", r.text()).unwrap();
}
