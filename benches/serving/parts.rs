//! The parts of one `Rank` and their times, each repeated alone on the calling thread, where short decisions are made.
//!
//! The parts do what the decision does, through the same public functions, for the same customers, offers and rows. The
//! remainder of the whole cannot be measured from outside. Each part processes all customers before the next one
//! begins, so that it does not find its rows in the cache. The figure of a part is the mean over the customers of the
//! median of the sweeps: medians remove disturbances, and means are additive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use decision::{Explain, Stage};
use feature::store::RowIndex;
use feature::{Entity, Row, Value, ValueRef};
use offer::{CustomerRules, Offer, OfferIndex, RuleMemo};
use work::{Call, Needs};

use crate::PLACEMENTS;
use crate::in_process::Engine;
use crate::measure::{Watch, micros, print_heading};
use crate::sample::Visit;
use crate::server::Process;

/// How often each part processes all customers.
const SWEEPS: usize = 5;

/// The parts of a decision, in order; the rest is the difference from the whole.
const PARTS: [&str; 5] = [
    "the customer's values from the store",
    "the segment",
    "rules of the offers",
    "the model, for the customer with these offers",
    "rules of the context weights",
];

/// A customer's visit, and the candidates that remain after the gates.
struct Case {
    visit: Visit,
    row: RowIndex,
    context: Vec<Option<Value>>,
    /// Offers whose rules are evaluated.
    ruled: Vec<OfferIndex>,
    /// Offers that the model scores.
    scored: Vec<OfferIndex>,
}

/// Counts of the work of a decision.
#[derive(Default)]
struct Counts {
    rules: usize,
    context_rules: usize,
}

/// Measures the parts and prints them with their shares.
pub(crate) async fn run(engine: Arc<Engine>, visits: Arc<[Visit]>) {
    let engine = &engine;
    let (placement, models) = PLACEMENTS[0];
    let mut cases = Vec::with_capacity(visits.len());
    for visit in visits.iter() {
        cases.push(Arc::new(case(engine, visit, placement).await));
    }
    let candidates: Vec<OfferIndex> = candidates(engine, placement);
    let watch = Watch::new([Process::this()]);
    let mut whole = Sweeps::<1>::new(cases.len());
    let mut taken = Sweeps::<{ PARTS.len() }>::new(cases.len());
    let mut ungated = Sweeps::<1>::new(cases.len());
    let mut handed_over = Sweeps::<1>::new(cases.len());
    // The measurements alternate, so that variations of the machine affect all of them.
    for _ in 0..SWEEPS {
        sweep_whole(engine, &cases, placement, &mut whole).await;
        taken.sweep(&cases, |case| parts_of(engine, case).0);
        ungated.sweep(&cases, |case| {
            let began = Instant::now();
            score(engine, case, &candidates);
            [began.elapsed()]
        });
        sweep_hand_over(engine, cases.len(), &mut handed_over).await;
    }

    let others = watch.others();
    print_heading(&format!(
        "Parts of Rank {placement} ({models}); mean of {} customers, {SWEEPS} sweeps",
        cases.len()
    ));
    let [whole] = whole.means();
    let mut rest = whole;
    for (name, micros) in PARTS.into_iter().zip(taken.means()) {
        print_share(name, micros, whole);
        rest -= micros;
    }
    print_share("the rest: plan, notes, arbitration, explanation, ids, metrics", rest, whole);
    print_share("whole", whole, whole);
    print_counts(engine, &cases, candidates.len());
    println!(
        "without gates the model would score all {} rows: {:.1} µs, input included",
        candidates.len(),
        ungated.means()[0]
    );
    println!(
        "handing over to a worker would add {:.1} µs; other programs used {others} of the CPU time",
        handed_over.means()[0]
    );
}

fn print_share(name: &str, micros: f64, whole: f64) {
    println!("{name:<62}{micros:>10.1} µs{:>8.1} %", 100.0 * micros / whole);
}

fn print_counts(engine: &Engine, cases: &[Arc<Case>], candidates: usize) {
    let mut sums = Counts::default();
    for case in cases {
        let (_, counts) = parts_of(engine, case);
        sums.rules += counts.rules;
        sums.context_rules += counts.context_rules;
    }
    let scored: usize = cases.iter().map(|case| case.scored.len()).sum();
    let mean = |sum: usize| sum as f64 / cases.len() as f64;
    println!(
        "per customer: {candidates} candidates, {:.1} rules evaluated, {:.1} rows scored, {:.1} context rules evaluated",
        mean(sums.rules),
        mean(scored),
        mean(sums.context_rules),
    );
}

fn candidates(engine: &Engine, placement: &str) -> Vec<OfferIndex> {
    let policy = &engine.snapshot.release.catalog().policy;
    let placement = policy.placement(policy.find_placement(placement).unwrap());
    placement.candidates.iter().map(|candidate| candidate.offer).collect()
}

/// Asks the decider which offers are withheld, and at which stage.
async fn case(engine: &Engine, visit: &Visit, placement: &str) -> Case {
    let request = visit.request(placement, Explain::All);
    let (_, results) = engine.decider.rank(request, &Call::default()).await.unwrap();
    let library = &engine.snapshot.release.catalog().library;
    let withheld_at = |offer: OfferIndex| {
        let id = &library.get(offer).id;
        let withheld = results[0].withheld.iter().find(|withheld| withheld.offer_id == *id);
        withheld.map(|withheld| withheld.stage)
    };
    let after = |stage: Stage| {
        candidates(engine, placement)
            .into_iter()
            .filter(|offer| withheld_at(*offer).is_none_or(|at| at > stage))
            .collect()
    };
    Case {
        row: engine.snapshot.customers.find(&visit.customer).unwrap(),
        context: visit.context(&engine.snapshot),
        ruled: after(Stage::Channel),
        scored: after(Stage::Suitability),
        visit: visit.clone(),
    }
}

/// Times a whole decision for each customer.
async fn sweep_whole(engine: &Engine, cases: &[Arc<Case>], placement: &str, times: &mut Sweeps<1>) {
    for (index, case) in cases.iter().enumerate() {
        let request = case.visit.request(placement, Explain::Winners);
        let began = Instant::now();
        let (_, results) = engine.decider.rank(request, &Call::default()).await.unwrap();
        times.add(index, [began.elapsed()]);
        assert!(results[0].error.is_none());
    }
}

/// Times the hand-over of an empty job to a worker.
async fn sweep_hand_over(engine: &Engine, times: usize, sweeps: &mut Sweeps<1>) {
    for index in 0..times {
        let began = Instant::now();
        engine.workers.run(&Call::default(), Needs::session(), |_| ()).await.unwrap();
        sweeps.add(index, [began.elapsed()]);
    }
}

/// Performs the parts of a decision one after another, and times each.
fn parts_of(engine: &Engine, case: &Case) -> ([Duration; PARTS.len()], Counts) {
    let (release, customers) = (&engine.snapshot.release, &engine.snapshot.customers);
    let catalog = release.catalog();
    let context: Vec<ValueRef<'_>> = case.context.iter().map(ValueRef::from).collect();
    let mut counts = Counts::default();
    let mut last = Instant::now();
    let mut lap = || {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut last, now))
    };

    let row = customers.find(&case.visit.customer).unwrap();
    let features = release.schema().of(Entity::Customer).iter().enumerate();
    let values: Vec<ValueRef<'_>> = features
        .map(|(index, feature)| {
            let value = customers.value(row, index);
            if value.is_missing() { feature.default_ref() } else { value }
        })
        .collect();
    let store = lap();
    let segment = release.segmentation().map(|known| known.assign(|index| customers.value(row, index)));
    let assign = lap();
    let segment = segment.as_ref().map(release::AssignedSegment::as_ref);
    let known = Row { customer: &values, context: &context, offer: &[], segment };
    let mut memo = RuleMemo::default();
    let mut survivors = Vec::with_capacity(case.ruled.len());
    let customer_rules = catalog.rules_for(known, &mut memo);
    for offer in case.ruled.iter().copied() {
        if passes(catalog.library.get(offer), offer, &customer_rules, &mut counts) {
            survivors.push(offer);
        }
    }
    let rules = lap();
    assert_eq!(survivors, case.scored, "the rules were not evaluated as in the decision");
    lap();
    let scored = score_offers(engine, &known, &survivors);
    let scoring = lap();
    assert_eq!(scored, survivors.len());
    lap();
    let customer_rules = catalog.rules_for(known, &mut memo);
    for offer in survivors {
        let weights = catalog.policy.context_weights.iter();
        for weight in weights.filter(|weight| weight.offers.binary_search(&offer).is_ok()) {
            counts.context_rules += 1;
            std::hint::black_box(customer_rules.holds(&weight.when, offer).unwrap_or(false));
        }
    }
    let weights = lap();
    ([store, assign, rules, scoring, weights], counts)
}

/// Whether the offer passes its rules, evaluated like the gates up to the first that fails.
fn passes(terms: &Offer, offer: OfferIndex, customer_rules: &CustomerRules<'_>, counts: &mut Counts) -> bool {
    let rules = [
        (&terms.exclusion, false),
        (&terms.eligibility, true),
        (&terms.applicability, true),
        (&terms.suitability, true),
    ];
    rules.into_iter().filter_map(|(rule, expected)| Some((rule.as_ref()?, expected))).all(
        |(rule, expected)| {
            counts.rules += 1;
            customer_rules.holds(rule, offer) == Ok(expected)
        },
    )
}

/// Scores a customer with these offers as the decision does; returns the number of scores.
fn score_offers(engine: &Engine, customer: &Row<'_>, offers: &[OfferIndex]) -> usize {
    let release = &engine.snapshot.release;
    let placement = release.catalog().policy.find_placement(PLACEMENTS[0].0).unwrap();
    let Some(first) = offers.first() else { return 0 };
    let model = release.scorer(placement, *first).unwrap().model;
    let pairing = release.pairing(model).unwrap();
    let offers: Vec<usize> = offers.iter().map(|offer| offer.get()).collect();
    let mut scored = 0;
    let each = |answer: Result<f32, _>| scored += usize::from(std::hint::black_box(answer).is_ok());
    release.model(model).score_pairs(pairing, customer, &offers, each).unwrap();
    scored
}

/// Scores these offers for the customer, regardless of the gates.
fn score(engine: &Engine, case: &Case, offers: &[OfferIndex]) {
    let mut customer = Vec::new();
    engine.snapshot.customers.read_row(case.row, &mut customer);
    let context: Vec<ValueRef<'_>> = case.context.iter().map(ValueRef::from).collect();
    let row = Row { customer: &customer, context: &context, offer: &[], segment: None };
    assert_eq!(score_offers(engine, &row, offers), offers.len());
}

/// Times of `N` parts by customer, one per sweep.
pub(crate) struct Sweeps<const N: usize>(Vec<Vec<[Duration; N]>>);

impl<const N: usize> Sweeps<N> {
    pub(crate) fn new(customers: usize) -> Self {
        Self(vec![Vec::with_capacity(SWEEPS); customers])
    }

    /// Times `work` for each customer.
    fn sweep(&mut self, cases: &[Arc<Case>], work: impl Fn(&Case) -> [Duration; N]) {
        for (index, case) in cases.iter().enumerate() {
            self.add(index, work(case));
        }
    }

    pub(crate) fn add(&mut self, customer: usize, times: [Duration; N]) {
        self.0[customer].push(times);
    }

    /// The mean over the customers of the median of the sweeps, in µs.
    pub(crate) fn means(&self) -> [f64; N] {
        std::array::from_fn(|part| {
            let median = |sweeps: &Vec<[Duration; N]>| {
                let mut times: Vec<Duration> = sweeps.iter().map(|times| times[part]).collect();
                times.sort_unstable();
                micros(times[times.len() / 2])
            };
            self.0.iter().map(median).sum::<f64>() / self.0.len() as f64
        })
    }
}
