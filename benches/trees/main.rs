//! Trees and an MLP, evaluated by ONNX Runtime and by the native engine, in one run on one thread.
//!
//! `cargo bench --bench trees`
//!
//! Models have features of the customer and the offer, and are generated with fixed seeds. They are an ensemble of
//! trees, with thresholds and depths like those of boosting, and an MLP. Consecutive rows differ; a repeated row would
//! teach the branch predictor the trees. `PROFFER_TEST_TREE_MODEL` names a model to measure instead (one input of
//! [`FEATURES`] features, the score last). Start reading at [`main`].

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up should stop")]

mod grown;
mod layered;
mod onnx;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use model::onnx::{OnnxModel, OnnxRuntime, Outputs, Tensor, TensorData, disable_telemetry};
use native::{CustomerVectors, InputPart, NativeModel, Scratch, Side};
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use work::Worker;

const CUSTOMER: usize = 24;
const OFFER: usize = 8;
const FEATURES: usize = CUSTOMER + OFFER;
const OFFERS: usize = 100;
const CUSTOMERS: usize = 64;

fn main() {
    // `cargo test --all-targets` runs benches, too, without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("this bench contains no tests; run `cargo bench --bench trees`");
        return;
    }
    disable_telemetry().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let runtime = OnnxRuntime::load().unwrap();
    let mut criterion = Criterion::default().configure_from_args();
    if let Some(path) = std::env::var_os("PROFFER_TEST_TREE_MODEL") {
        measure(
            &mut criterion,
            "model",
            &OnnxModel::load(&runtime, path.as_ref(), 1).unwrap(),
            &std::fs::read(&path).unwrap(),
        );
        return;
    }
    let models =
        [("trees", grown::model(500, 31, FEATURES, 7)), ("mlp", layered::model(FEATURES, &[64, 32, 1], 7))];
    for (name, bytes) in models {
        let path = directory.path().join(name).with_extension("onnx");
        std::fs::write(&path, &bytes).unwrap();
        measure(&mut criterion, name, &OnnxModel::load(&runtime, &path, 1).unwrap(), &bytes);
    }
}

/// Measures a model with both engines, and prints their ratios.
fn measure(criterion: &mut Criterion, title: &str, onnx: &OnnxModel, bytes: &[u8]) {
    let input = onnx.signature().inputs[0].name.clone();
    let output = onnx.signature().outputs.len() - 1;
    let parts = [InputPart { name: &input, columns: FEATURES }];
    let started = Instant::now();
    let model = NativeModel::read(bytes, &onnx.signature().outputs[output].name, &parts).unwrap();
    let loaded = started.elapsed();
    let last = model.width() - 1;
    let model = Arc::new(model.only(last).unwrap());
    let sides: Vec<Side> =
        (0..FEATURES).map(|at| if at < CUSTOMER { Side::Customer } else { Side::Offer }).collect();
    let factorised = model.split(&sides).unwrap();

    let customers = rows(CUSTOMERS, 1);
    let offers = rows(OFFERS, 2);
    let vectors = factorised.offers(&offers);
    let all_offers: Vec<usize> = (0..OFFERS).collect();
    let whole: Vec<Vec<f32>> =
        customers.chunks_exact(FEATURES).map(|customer| pairs(customer, &offers)).collect();
    let thousand = rows(1000, 3);
    println!(
        "{title}: {} trees, read in {:.1} ms, {} KiB, and {} KiB for {OFFERS} offers",
        model.trees(),
        loaded.as_secs_f64() * 1e3,
        (model.memory_bytes() + factorised.memory_bytes()) / 1024,
        vectors.memory_bytes() / 1024,
    );

    let worker = &Worker::tokens(1)[0];
    let reference = |rows: &[f32]| {
        let shape = vec![(rows.len() / FEATURES) as i64, FEATURES as i64];
        let tensor = Tensor { name: input.as_str().into(), shape, data: TensorData::Float32(rows.into()) };
        black_box(onnx.run(worker, &[tensor], Outputs::Only(&[output])).unwrap());
    };
    let mut scratch = Scratch::default();
    let mut out = vec![0.0; 1000];
    let mut mine = CustomerVectors::default();
    let mut next = (0..CUSTOMERS).cycle();
    let mut next = move || next.next().unwrap_or(0);

    let mut times = Vec::new();
    let mut bench = |name: &str, work: &mut dyn FnMut()| {
        let mut best = Duration::MAX;
        criterion.bench_function(&format!("{title}: {name}"), |bencher| {
            bencher.iter_custom(|times| {
                let started = Instant::now();
                (0..times).for_each(|_| work());
                let elapsed = started.elapsed();
                best = best.min(elapsed / times as u32);
                elapsed
            });
        });
        times.push(best);
    };
    bench("100 rows, ONNX Runtime", &mut || reference(&whole[next()]));
    bench("100 rows, engine", &mut || model.score(&whole[next()], &mut scratch, &mut out[..OFFERS]));
    bench("1 customer, vectors", &mut || {
        factorised.customer(&customers[next() * FEATURES..][..FEATURES], &mut mine);
    });
    let mut mine = CustomerVectors::default();
    let none: [f32; 0] = [];
    bench("1 customer × 100 offers, factorised", &mut || {
        factorised.customer(&customers[next() * FEATURES..][..FEATURES], &mut mine);
        factorised
            .score_pairs(&mine, &vectors, &all_offers, &none, &mut scratch, &mut out[..OFFERS])
            .unwrap();
    });
    bench("1000 rows, ONNX Runtime", &mut || reference(&thousand));
    bench("1000 rows, engine", &mut || model.score(&thousand, &mut scratch, &mut out));
    bench("1 row, engine", &mut || {
        model.score(&whole[next()][..FEATURES], &mut scratch, &mut out[..1]);
    });
    let [hundred, plain, _, ranked, thousand, thousand_plain, _] = times[..] else { return };
    let ratio = |slow: Duration, fast: Duration| slow.as_secs_f64() / fast.as_secs_f64();
    let goal = |goal: &'static str| if title == "trees" { goal } else { "" };
    println!(
        "{title}: ONNX Runtime's time, by the minimum of each: 100 rows {:.1} × the engine's",
        ratio(hundred, plain)
    );
    println!(
        "  100 offers {:.1} × the factorised engine's{}",
        ratio(hundred, ranked),
        goal(" (to reach 20, aim 50)")
    );
    println!(
        "  1000 rows {:.1} × the engine's{}",
        ratio(thousand, thousand_plain),
        goal(" (to reach 5, aim 10)")
    );
    println!("  and the engine's own time for 100 rows {:.1} × the factorised one's", ratio(plain, ranked));
}

/// Rows of [`FEATURES`] values between 0 and 1.
fn rows(count: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::seed_from_u64(seed);
    (0..count * FEATURES).map(|_| random.next_u32() as f32 / u32::MAX as f32).collect()
}

/// A customer paired with each offer, as rows.
fn pairs(customer: &[f32], offers: &[f32]) -> Vec<f32> {
    let row = |offer: &[f32]| [&customer[..CUSTOMER], &offer[CUSTOMER..]].concat();
    offers.chunks_exact(FEATURES).flat_map(row).collect()
}
