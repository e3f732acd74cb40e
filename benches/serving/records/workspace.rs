//! A workspace of 40 candidates and 25 features that are recorded, none of them sensitive: 22 of the customer, 3 of the
//! context. The offers have a rule of three terms each, and most candidates pass theirs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, Utc};
use decision::{ContextValue, Customer, Explain, RankRequest};
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use uuid::Uuid;

use crate::grown;
use crate::server::BINARY;

/// Customers of the store, each with other values.
pub(crate) const CUSTOMERS: usize = 100_000;

/// The only placement.
pub(crate) const PLACEMENT: &str = "home";

const OFFERS: usize = 40;
const SHARES: usize = 14;
const COUNTS: usize = 4;
const TRUTHS: usize = 3;
const OFFER_FEATURES: usize = 8;
const PAGES: [&str; 5] = ["home", "statement", "travel", "card", "support"];
const BANDS: [&str; 5] = ["low", "middle", "upper", "high", "unknown"];
const SEED: u64 = 21;

/// Trees and leaves of the model, as in the sample workspace.
const TREES: (usize, usize) = (200, 31);

/// Which offers a workspace has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offers {
    First,
    /// One in four has another value and another rule.
    Changed,
}

/// Writes a workspace, without customers.
pub(crate) fn write(directory: &Path, which: Offers) {
    let mut random = SplitMix64::seed_from_u64(SEED);
    fs::create_dir_all(directory.join("trees/1")).unwrap();
    fs::create_dir_all(directory.join("segments/1")).unwrap();
    let put = |file: &str, text: String| fs::write(directory.join(file), text).unwrap();
    put("features.toml", features());
    put("offers.toml", offers(&mut random, which));
    put("policy.toml", policy());
    put("segments/1/segments.json", segments(&mut random));
    put("segments/1/model.toml", "kind = \"segmentation\"\n".to_owned());
    let inputs: Vec<String> = numbers().chain(offer_features()).map(|name| format!("\"{name}\"")).collect();
    put(
        "trees/1/model.toml",
        format!(
            "kind = \"propensity\"\nlayout = \"pairwise\"\ninputs = [{}]\n\
             [output]\nname = \"probabilities\"\nclass = 1\n",
            inputs.join(", ")
        ),
    );
    let model = grown::model(TREES.0, TREES.1, inputs.len(), SEED);
    fs::write(directory.join("trees/1/model.onnx"), model).unwrap();
}

/// Makes a release of a workspace in a store, which does not serve.
pub(crate) fn release(store: &Path, workspace: &Path) {
    let mut create = Command::new(BINARY);
    let made = create.args(["release", "create"]).arg(workspace).arg("--store").arg(store).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The call of this number: a customer in another context each time.
pub(crate) fn request(number: usize) -> RankRequest {
    // A large prime: neighbours have little in common, and every customer has a turn.
    let customer = number * 48_271 % CUSTOMERS;
    let visit = number / CUSTOMERS;
    let mixed = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let context = [
        ("month", ContextValue::Int(1 + (mixed % 12) as i64)),
        ("hour", ContextValue::Int((mixed / 12 % 24) as i64)),
        ("page", ContextValue::String(PAGES[(mixed / 288 % 5) as usize].into())),
    ];
    RankRequest {
        placement: PLACEMENT.to_owned(),
        channel: if mixed.is_multiple_of(3) { "web" } else { "app" }.to_owned(),
        customers: vec![Customer { id: id(customer), consents: Vec::new() }],
        context: context.map(|(name, value)| (name.to_owned(), Some(value))).into(),
        count: visit % 3 + 2,
        explain: Explain::Winners,
        request_id: Uuid::now_v7().to_string(),
        ..RankRequest::default()
    }
}

/// The moment of a simulation.
pub(crate) fn moment() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::from_secs(1_792_000_000)
}

/// Ids look like card numbers: sixteen digits in random order.
fn id(number: usize) -> String {
    format!("{:016}", (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) % 10_000_000_000_000_000)
}

/// The features that the model reads.
fn numbers() -> impl Iterator<Item = String> {
    (0..SHARES).map(|at| format!("share_{at}"))
}

fn counts() -> impl Iterator<Item = String> {
    (0..COUNTS).map(|at| format!("count_{at}"))
}

fn truths() -> impl Iterator<Item = String> {
    (0..TRUTHS).map(|at| format!("truth_{at}"))
}

fn offer_features() -> impl Iterator<Item = String> {
    (0..OFFER_FEATURES).map(|at| format!("terms_{at}"))
}

fn features() -> String {
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, entity: &str, rest: &str| {
        writeln!(text, "[[feature]]\nname = \"{name}\"\ntype = \"{kind}\"\nentity = \"{entity}\"\n{rest}")
            .unwrap();
    };
    numbers().for_each(|name| add(&name, "float", "customer", "range = [0.0, 1.0]"));
    counts().for_each(|name| add(&name, "int", "customer", "range = [0, 400]"));
    truths().for_each(|name| add(&name, "bool", "customer", ""));
    add("band", "string", "customer", "default = \"unknown\"");
    add("month", "int", "context", "default = 6");
    add("hour", "int", "context", "default = 12");
    add("page", "string", "context", "default = \"home\"");
    offer_features().for_each(|name| add(&name, "float", "offer", "range = [0.0, 1.0]"));
    text
}

fn offers(random: &mut SplitMix64, which: Offers) -> String {
    let mut text = String::new();
    for at in 0..OFFERS {
        let terms: Vec<String> =
            offer_features().map(|name| format!("{name} = {:.3}", unit(random))).collect();
        let (mut value, cost) = (20 + below(random, 100), 1.5 * unit(random));
        let (one, other, count) = (below(random, SHARES), below(random, SHARES), below(random, COUNTS));
        let (low, mut high, most) = (0.2 * unit(random), 1.0 - 0.2 * unit(random), 300 + below(random, 100));
        let month = 1 + below(random, 12);
        if which == Offers::Changed && at.is_multiple_of(4) {
            (value, high) = (value * 2, high - 0.1);
        }
        writeln!(
            text,
            "[[offer]]\nid = \"offer_{at:02}\"\nname = \"Offer {at}\"\ncategory = \"k{}\"\n\
             placements = [\"{PLACEMENT}\"]\nvalue = {value}.0\ncost = {cost:.2}\n\
             eligibility = \"customer.share_{one} > {low:.3} && customer.share_{other} < {high:.3} && \
             context.month != {month}\"\nfeatures = {{ {} }}",
            at % 4,
            terms.join(", "),
        )
        .unwrap();
        if at.is_multiple_of(5) {
            writeln!(
                text,
                "exclusion = \"customer.truth_{} && customer.count_{count} > {most}\"",
                at % TRUTHS
            )
            .unwrap();
        }
        if at % 5 == 2 {
            writeln!(text, "suitability = 'customer.band != \"{}\"'", BANDS[at % BANDS.len()]).unwrap();
        }
    }
    text
}

fn policy() -> String {
    let categories: String =
        ["k0", "k1", "k2", "k3"].map(|id| format!("[[category]]\nid = \"{id}\"\n")).concat();
    format!(
        "segmentation = \"segments\"\n{categories}[[placement]]\nid = \"{PLACEMENT}\"\nchannels = [\"app\", \"web\"]\n\
         count = 3\nmodel = \"trees\"\nmax_per_category = 2\n"
    )
}

fn segments(random: &mut SplitMix64) -> String {
    let features: Vec<String> = numbers()
        .take(6)
        .map(|name| {
            format!(
                "{{ \"name\": \"{name}\", \"impute\": 0.5, \"log1p\": false, \"mean\": 0.5, \"deviation\": 0.29, \
                 \"range\": [0, 1] }}"
            )
        })
        .collect();
    let mut centroid =
        || (0..6).map(|_| format!("{:.4}", 3.0 * unit(random) - 1.5)).collect::<Vec<_>>().join(", ");
    let segments: Vec<String> = (0..6)
        .map(|id| {
            let centroid = centroid();
            format!("{{ \"id\": {id}, \"name\": \"Segment {id}\", \"size\": 1, \"centroid\": [{centroid}] }}")
        })
        .collect();
    format!(
        "{{ \"format_version\": 1, \"features\": [{}], \"segments\": [{}], \"inertia\": 0.0, \
         \"training\": {{ \"rows\": 6, \"k\": 6, \"seed\": 42, \"n_init\": 10 }} }}",
        features.join(", "),
        segments.join(", ")
    )
}

/// Writes the customers of a workspace.
pub(crate) fn write_customers(directory: &Path) {
    let mut random = SplitMix64::seed_from_u64(SEED + 1);
    let mut file = BufWriter::new(File::create(directory.join("customers.csv")).unwrap());
    let names: Vec<String> = numbers().chain(counts()).chain(truths()).collect();
    writeln!(file, "customer_id,{},band", names.join(",")).unwrap();
    let mut line = String::new();
    for number in 0..CUSTOMERS {
        line.clear();
        line.push_str(&id(number));
        // As many digits as 32 bits have: they pack worst.
        (0..SHARES).for_each(|_| write!(line, ",{:.7}", unit(&mut random)).unwrap());
        (0..COUNTS).for_each(|_| write!(line, ",{}", below(&mut random, 400)).unwrap());
        (0..TRUTHS).for_each(|_| write!(line, ",{}", random.next_u32().is_multiple_of(2)).unwrap());
        writeln!(file, "{line},{}", BANDS[below(&mut random, BANDS.len())]).unwrap();
    }
    file.flush().unwrap();
}

fn below(random: &mut SplitMix64, limit: usize) -> usize {
    (random.next_u64() % limit as u64) as usize
}

fn unit(random: &mut SplitMix64) -> f64 {
    f64::from(random.next_u32()) / f64::from(u32::MAX)
}
