//! Rules for one customer after another, interpreted and compiled. Prints one table and asserts nothing about speed;
//! takes a few seconds.
//!
//! `cargo bench --bench rules`
//!
//! The customers are those of the sample workspace in a shuffled order, so that branch prediction cannot learn a
//! repeated row. Both ways take turns, sweep by sweep. A figure is the median of the sweeps, with the minimum and
//! maximum in brackets.

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up should stop")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use feature::store::CustomerTable;
use feature::{Entity, FeatureSchema, Row, SegmentRef, ValueRef};
use offer::{Catalog, OfferFields, OfferIndex, Rule, RuleMemo, feature_rows, read};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

const SEED: u64 = 20_261_014;
const RULES: usize = 100;
const TERMS: usize = 3;
const SWEEPS: usize = 21;

/// Terms of rules, with a placeholder for a number.
const TEMPLATES: [&str; 12] = [
    "customer.balance >= {}",
    "customer.purchases > {}",
    "customer.late_payments_12m <= {}",
    "customer.credit_limit >= {}",
    "customer.age >= {}",
    "has(customer.age) && customer.age < {}",
    "customer.prc_full_payment * 100.0 < {}",
    "customer.purchases_trx >= {}",
    "customer.income_band in [\"upper\", \"high\", \"band {}\"]",
    "context.days_since_login <= {}",
    "customer.cash_advance <= {}",
    "(!customer.has_insurance || segment.id != {})",
];

/// A customer with all values that rules read.
struct Visit<'a> {
    customer: Vec<ValueRef<'a>>,
    context: [ValueRef<'a>; 4],
    segment: SegmentRef<'a>,
}

impl Visit<'_> {
    fn row(&self) -> Row<'_> {
        Row { customer: &self.customer, context: &self.context, offer: &[], segment: Some(self.segment) }
    }
}

fn main() {
    // `cargo test --all-targets` runs benches, too, without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("this bench contains no tests; run `cargo bench --bench rules`");
        return;
    }
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let text = |file: &str| std::fs::read_to_string(models.join(file)).unwrap();
    let schema = FeatureSchema::parse("features.toml", &text("features.toml")).unwrap();
    let (customers, _) = CustomerTable::load(&models.join("customers.csv"), &schema).unwrap();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let visits = visits(&customers, &schema, &mut random);
    println!("µs per customer, {} customers, {SWEEPS} sweeps, one thread\n", visits.len());
    println!("{:<44}{:>24}{:>24}{:>8}", "", "interpreter", "compiled", "ratio");
    for (name, numbers) in [
        ("100 rules of 3 terms, hardly any alike", 10_000),
        ("100 rules of 3 terms out of 120", 10),
        ("100 rules of 3 terms out of 36", 3),
    ] {
        let offers = offers(numbers, &mut random);
        let policy = "[[category]]\nid = \"all\"\n[[placement]]\nid = \"here\"\nchannels = [\"app\"]\ncount = 1\nmodel = \"m\"\n";
        let policy = format!("segmentation = \"s\"\n{policy}");
        let catalog = read(&schema, ("offers.toml", &offers), ("policy.toml", &policy)).unwrap();
        compare(name, &catalog, &visits);
    }
    let (offers, policy) = (text("offers.toml"), text("policy.toml"));
    let catalog = read(&schema, ("offers.toml", &offers), ("policy.toml", &policy)).unwrap();
    compare("every rule of the sample's offers", &catalog, &visits);
}

/// Offers with a rule each; the numbers in the rules are below `numbers`.
fn offers(numbers: u64, random: &mut Xoshiro256PlusPlus) -> String {
    let mut below = |limit: u64| random.next_u64() % limit;
    let mut offers = String::new();
    for offer in 0..RULES {
        let mut term = |_| {
            let number = below(numbers);
            let term = TEMPLATES[below(TEMPLATES.len() as u64) as usize];
            term.replace("{}", &number.to_string())
        };
        let terms: Vec<String> = (0..TERMS).map(&mut term).collect();
        let rule = terms.join(if offer % 4 == 0 { " || " } else { " && " });
        write!(
            offers,
            "[[offer]]\nid = \"o{offer}\"\nname = \"\"\ncategory = \"all\"\nplacements = [\"here\"]\nvalue = 1.0\n\
             eligibility = '{rule}'\n"
        )
        .unwrap();
    }
    offers
}

fn visits<'a>(
    customers: &'a CustomerTable,
    schema: &'a FeatureSchema,
    random: &mut Xoshiro256PlusPlus,
) -> Vec<Visit<'a>> {
    const PAGES: [&str; 5] = ["home", "statement", "travel", "card", "support"];
    let mut below = |limit: usize| (random.next_u64() % limit as u64) as usize;
    let mut visits: Vec<Visit<'_>> = customers
        .rows()
        .map(|row| {
            let mut customer = Vec::new();
            customers.read_row(row, &mut customer);
            for (value, feature) in customer.iter_mut().zip(schema.of(Entity::Customer)) {
                *value = value.or(feature.default_ref());
            }
            let mut int = |limit: usize| ValueRef::Int(below(limit) as i64);
            let (month, hour, days) = (int(12), int(24), int(90));
            let context = [month, hour, ValueRef::String(PAGES[below(PAGES.len())]), days];
            let segment = SegmentRef { id: below(7) as i64, name: "some" };
            Visit { customer, context, segment }
        })
        .collect();
    for last in (1..visits.len()).rev() {
        visits.swap(last, below(last + 1));
    }
    visits
}

/// Evaluates every rule of the offers for every customer, both ways.
fn compare(name: &str, catalog: &Catalog, visits: &[Visit<'_>]) {
    let rows = feature_rows(catalog.library.offers());
    let rules_of_offers: Vec<(&Rule, OfferIndex, OfferFields<'_>)> = catalog
        .library
        .indexed()
        .flat_map(|(index, offer)| {
            let rules = [&offer.exclusion, &offer.eligibility, &offer.applicability, &offer.suitability];
            rules.into_iter().flatten().map(move |rule| (rule, index, catalog.fields(offer)))
        })
        .collect();
    let mut memo = RuleMemo::default();
    let (mut interpreted, mut compiled) = (Vec::new(), Vec::new());
    for _ in 0..SWEEPS {
        let began = Instant::now();
        let mut held = 0;
        for visit in visits {
            for (rule, offer, fields) in &rules_of_offers {
                let row = Row { offer: &rows[offer.get()], ..visit.row() };
                held += usize::from(black_box(rule.interpret(&row, fields)) == Ok(true));
            }
        }
        interpreted.push(began.elapsed().as_secs_f64() * 1e6 / visits.len() as f64);
        let began = Instant::now();
        for visit in visits {
            let rules = catalog.rules_for(visit.row(), &mut memo);
            for (rule, offer, _) in &rules_of_offers {
                held -= usize::from(black_box(rules.holds(rule, *offer)) == Ok(true));
            }
        }
        compiled.push(began.elapsed().as_secs_f64() * 1e6 / visits.len() as f64);
        assert_eq!(held, 0, "both ways agree");
    }
    let [interpreted, compiled] = [interpreted, compiled].map(|mut sweeps| {
        sweeps.sort_unstable_by(f64::total_cmp);
        (
            sweeps[SWEEPS / 2],
            format!("{:.2} [{:.2} {:.2}]", sweeps[SWEEPS / 2], sweeps[0], sweeps[SWEEPS - 1]),
        )
    });
    let ratio = interpreted.0 / compiled.0;
    let name = format!("{name} ({})", rules_of_offers.len());
    println!("{name:<44}{:>24}{:>24}{ratio:>8.1}", interpreted.1, compiled.1);
}
