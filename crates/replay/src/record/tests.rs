use std::fmt::Write;

use decision::{ContextValue, Customer, RankRequest};

use crate::samples::{Models, Texts, rank};

/// Files with so many more offers at home.
fn with_offers(offers: usize) -> Texts {
    let mut texts = Texts::sample(60);
    for number in 0..offers {
        writeln!(
            texts.offers,
            "[[offer]]\nid = \"more_{number}\"\nname = \"m\"\ncategory = \"points\"\nplacements = [\"home\"]\nvalue = 1.0"
        )
        .unwrap();
    }
    texts.with(|texts| &mut texts.policy, "max_per_category = 1\n", "")
}

#[test]
fn what_records_take_is_reserved_before_they_are_made() {
    let snapshot = Models::new().load(3, &with_offers(900));
    let ids = |number: usize| (0..number).map(|at| format!("{at:0>200}")).collect::<Vec<_>>();
    let customer = |number| Customer { id: format!("c{number:05}"), ..Customer::default() };
    let request = || RankRequest {
        placement: "home".to_owned(),
        customers: (0..40).map(customer).collect(),
        ..RankRequest::default()
    };
    let page = ("page".to_owned(), Some(ContextValue::String("x".repeat(60_000))));
    let requests = [
        request(),
        RankRequest { count: 100, ..request() },
        RankRequest { exclude_offer_ids: ids(1_000), ..request() },
        RankRequest { candidate_offer_ids: ids(500), context: vec![page], ..request() },
    ];
    // The recorder of the samples compares the bytes.
    let (results, records) = rank(&snapshot, requests);
    assert_eq!((results.len(), records.len()), (160, 160));
    let candidates = records.iter().filter_map(|record| record.candidates.as_ref());
    assert!(candidates.map(|all| all.stages.len()).max() > Some(900));
    assert!(records.iter().any(|record| record.offers.len() == 100));
}
