//! The engines in this process, on one thread, one turn at a time: `peers.py` alternates them with the Python
//! libraries.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use native::{CustomerVectors, Factorised, InputPart, NativeModel, OfferVectors, Scratch, Side};
use ort::session::Session;
use serde_json::{Value, json};

use crate::data::{self, CUSTOMER, Data, OFFERS, WIDTH};

/// Customers whose pairs are scored in turn.
pub(crate) const CUSTOMERS: usize = 256;

/// Rows per call of mixed pairs.
const MIXED: usize = 1000;

/// How many answers are checked before the measurement.
pub(crate) const CHECKED: usize = 16;

struct Engines {
    data: Data,
    pairs: Vec<Vec<f32>>,
    session: Session,
    trees: Arc<NativeModel>,
    factorised: Factorised,
    vectors: OfferVectors,
    offers: Vec<usize>,
    customer: CustomerVectors,
    scratch: Scratch,
    out: Vec<f32>,
}

/// Prints scores of each engine for the check; then takes its turns.
pub(crate) fn run(folder: &Path) {
    let mut engines = Engines::load(folder);
    println!("{}", engines.samples());
    take_turns(|engine, rows, call| {
        let asked = Instant::now();
        std::hint::black_box(engines.score(engine, rows, call));
        asked.elapsed()
    });
}

/// Answers each line `<engine> <pairs|mixed> <seconds>` with the median time of a call in µs; `time` makes one call and
/// returns its duration.
pub(crate) fn take_turns(mut time: impl FnMut(&str, &str, usize) -> Duration) {
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let [engine, rows, seconds] = words[..] else { panic!("not a turn: {line}") };
        let (began, seconds) = (Instant::now(), seconds.parse().unwrap());
        let mut times = Vec::with_capacity(1 << 16);
        while times.is_empty() || began.elapsed().as_secs_f64() < seconds {
            times.push(time(engine, rows, times.len()));
        }
        times.sort_unstable();
        let median: Duration = times[times.len() / 2];
        println!("{}", json!({"calls": times.len(), "micros": median.as_secs_f64() * 1e6}));
    }
}

impl Engines {
    fn load(folder: &Path) -> Self {
        let data = Data::read(folder);
        let session = data::sessions(folder, 1).remove(0);
        let bytes = std::fs::read(data::model(folder, "trees")).unwrap();
        let parts = [InputPart { name: "features", columns: WIDTH }];
        let trees = NativeModel::read(&bytes, "probabilities", &parts).unwrap();
        let trees = Arc::new(trees.only(1).unwrap());
        let side = |at| if at < CUSTOMER { Side::Customer } else { Side::Offer };
        let factorised = trees.split(&(0..WIDTH).map(side).collect::<Vec<_>>()).unwrap();
        let pairs: Vec<Vec<f32>> = (0..CUSTOMERS).map(|customer| data.pairs(customer)).collect();
        // Only the features of the offers are read, so the rows of any customer will do.
        let vectors = factorised.offers(&pairs[0]);
        Self {
            data,
            pairs,
            session,
            trees,
            factorised,
            vectors,
            offers: (0..OFFERS).collect(),
            customer: CustomerVectors::default(),
            scratch: Scratch::default(),
            out: vec![0.0; MIXED],
        }
    }

    fn samples(&mut self) -> Value {
        let mut samples = serde_json::Map::new();
        for (engine, rows, calls) in [
            ("ort", "pairs", CHECKED),
            ("plain", "pairs", CHECKED),
            ("factorised", "pairs", CHECKED),
            ("ort", "mixed", 1),
            ("plain", "mixed", 1),
        ] {
            let scored = (0..calls).map(|call| self.score(engine, rows, call).to_vec()).collect::<Vec<_>>();
            samples.insert(format!("{engine} {rows}"), json!(scored));
        }
        Value::Object(samples)
    }

    fn score(&mut self, engine: &str, rows: &str, call: usize) -> &[f32] {
        let customer = call % self.pairs.len();
        let rows = match rows {
            "pairs" => &self.pairs[customer][..],
            _ => {
                let calls = self.data.mixed.len() / (MIXED * WIDTH);
                &self.data.mixed[call % calls * MIXED * WIDTH..][..MIXED * WIDTH]
            }
        };
        let out = &mut self.out[..rows.len() / WIDTH];
        match engine {
            "ort" => out.copy_from_slice(&data::scores(&mut self.session, rows)),
            "plain" => self.trees.score(rows, &mut self.scratch, out),
            "factorised" => {
                let none: [f32; 0] = [];
                self.factorised.customer(&rows[..WIDTH], &mut self.customer);
                let (mine, vectors) = (&self.customer, &self.vectors);
                self.factorised
                    .score_pairs(mine, vectors, &self.offers, &none, &mut self.scratch, out)
                    .unwrap();
            }
            _ => panic!("unknown engine {engine}"),
        }
        out
    }
}
