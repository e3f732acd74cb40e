//! Properties of all requests, over the whole path.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::harness::{Copy, Server, rank_request, wire};

fn rank(runtime: &Runtime, server: &Server, request: wire::RankRequest) -> Vec<wire::RankResult> {
    runtime.block_on(async { server.client().await.rank(request).await.unwrap().into_inner().results })
}

/// A result without its decision id, which is always new.
fn timeless(mut result: wire::RankResult) -> wire::RankResult {
    result.decision_id.clear();
    result
}

/// Checks that two results are equal up to rounding. ONNX Runtime adds up a linear model in an order that depends on
/// the number of rows. This may change the last bit of a score.
fn near(one: wire::RankResult, other: wire::RankResult) -> Result<(), TestCaseError> {
    let split = |mut result: wire::RankResult| {
        let mut numbers = Vec::new();
        for offer in &mut result.offers {
            numbers.push(std::mem::take(&mut offer.priority));
            if let Some(factors) = &mut offer.factors {
                let taken = [&mut factors.score, &mut factors.propensity, &mut factors.margin];
                numbers.extend(taken.map(std::mem::take));
            }
        }
        for offer in result.rejected.iter_mut().filter(|offer| offer.reason == "OUTRANKED") {
            offer.detail.clear();
        }
        (timeless(result), numbers)
    };
    let ((one, numbers), (other, others)) = (split(one), split(other));
    prop_assert_eq!(one, other);
    for (number, other) in numbers.into_iter().zip(others) {
        prop_assert!((number - other).abs() <= 1e-5 * number.abs().max(1.0), "{} and {}", number, other);
    }
    Ok(())
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

fn placement() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["app_home", "email_monthly", "call_center"])
}

fn customer() -> impl Strategy<Value = String> {
    (1..2100_u32).prop_map(|number| format!("C{number:06}"))
}

#[test]
fn a_batch_equals_single_calls() {
    let runtime = Runtime::new().unwrap();
    let server = Server::sample();
    let strategy = (placement(), prop::collection::vec(customer(), 1..40));
    runner(20)
        .run(&strategy, |(placement, customers)| {
            let ids: Vec<&str> = customers.iter().map(String::as_str).collect();
            let batch = rank(&runtime, server, rank_request(placement, &ids));
            for (id, result) in ids.iter().zip(batch) {
                let alone = rank(&runtime, server, rank_request(placement, &[id])).remove(0);
                near(result, alone)?;
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_order_of_columns_in_a_request_does_not_matter() {
    let runtime = Runtime::new().unwrap();
    let server = Server::sample();
    let names = ["balance", "purchases", "credit_limit", "prc_full_payment", "age", "tenure"];
    let column = |name: &str, value: u32| {
        use wire::feature_column::Values;
        let values = match name {
            "age" | "tenure" => Values::Int64s(wire::Int64Values { values: vec![i64::from(value % 90)] }),
            "prc_full_payment" => Values::Floats(wire::FloatValues { values: vec![value as f32 / 10_000.0] }),
            _ => Values::Floats(wire::FloatValues { values: vec![value as f32] }),
        };
        wire::FeatureColumn { name: name.to_owned(), values: Some(values), null_rows: vec![] }
    };
    let order = Just(vec![0, 1, 2, 3, 4, 5]).prop_shuffle();
    let strategy = (placement(), customer(), prop::collection::vec(0..10_000_u32, 6), order);
    runner(40)
        .run(&strategy, |(placement, id, values, order)| {
            let ask = |order: &[usize]| {
                let columns = order.iter().map(|index| column(names[*index], values[*index])).collect();
                let mut request = rank_request(placement, &[&id]);
                request.features = Some(wire::FeatureBatch { rows: 1, dense: None, columns });
                timeless(rank(&runtime, server, request).remove(0))
            };
            prop_assert_eq!(ask(&[0, 1, 2, 3, 4, 5]), ask(&order));
            Ok(())
        })
        .unwrap();
}

/// Servers of the sample with its offers in another order, and with one more offer that no customer is eligible for.
fn variants() -> (Server, Server) {
    let text = std::fs::read_to_string(super::harness::sample_workspace().join("offers.toml")).unwrap();
    let blocks: Vec<&str> = text.split("[[offer]]").skip(1).collect();
    let reversed: Vec<&str> = blocks.into_iter().rev().collect();
    let reversed = format!("[[offer]]{}", reversed.join("\n[[offer]]"));
    let shuffled = Copy::new();
    std::fs::write(shuffled.path().join("offers.toml"), reversed).unwrap();
    let extended = Copy::new();
    extended.append(
        "offers.toml",
        "\n[[offer]]\nid = \"never_eligible\"\nname = \"Never eligible\"\ncategory = \"travel\"\n\
         placements = [\"app_home\", \"email_monthly\", \"call_center\"]\nvalue = 100000.0\nweight = 900.0\n\
         eligibility = \"customer.balance < -1.0\"\nconflicts_with = [\"travel_gold\"]\n",
    );
    (Server::start(shuffled.path(), &[]), Server::start(extended.path(), &[]))
}

#[test]
fn the_order_of_offers_and_an_ineligible_offer_change_nothing() {
    let runtime = Runtime::new().unwrap();
    let (shuffled, extended) = variants();
    let strategy = (placement(), customer());
    runner(60)
        .run(&strategy, |(placement, id)| {
            let ask =
                |server: &Server| timeless(rank(&runtime, server, rank_request(placement, &[&id])).remove(0));
            let usual = ask(Server::sample());
            prop_assert_eq!(&usual, &ask(&shuffled));
            let mut with_one_more = ask(&extended);
            let before = with_one_more.rejected.len();
            with_one_more.rejected.retain(|offer| offer.offer_id != "never_eligible");
            prop_assert_eq!(before, with_one_more.rejected.len() + 1);
            prop_assert_eq!(&usual, &with_one_more);
            Ok(())
        })
        .unwrap();
}
