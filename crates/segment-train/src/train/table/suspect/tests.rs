use proptest::prelude::*;

use super::names::is_placeholder;
use super::*;

/// The verdict on a column with these numbers.
fn verdict(name: &str, numbers: &[f64]) -> Verdict {
    let mut suspect = Suspect::new(hints(name));
    let mut distinct = HashSet::new();
    for (row, number) in (0..).zip(numbers) {
        suspect.observe(row, *number);
        distinct.insert(number.to_bits());
    }
    let known =
        ColumnCounts { numbers: numbers.len() as u64, missing: 0, distinct: distinct.len(), may_be_id: true };
    suspect.verdict(name, known)
}

/// 60 distinct whole numbers, unordered.
fn ids() -> Vec<f64> {
    (0..60).map(|row| f64::from(708_082_083 + row * 7_919 % 6_007)).collect()
}

/// 60 whole numbers, some of them repeated.
fn codes() -> Vec<f64> {
    (0..60).map(|row| f64::from(8_000 + row * 37 % 11)).collect()
}

fn zeros_and_ones() -> Vec<f64> {
    (0..60).map(|row| f64::from(row * 7 % 5 % 2)).collect()
}

#[test]
fn ids_of_real_tables_are_refused() {
    let names = [
        "id",
        "ID",
        "Id",
        "cust_id",
        "CustomerID",
        "customerid",
        "customer_id",
        "Customer Id",
        "CLIENTNUM",
        "CustomerId",
        "SK_ID_CURR",
        "account_number",
        "AccountNumber",
        "acct_no",
        "account",
        "Account No.",
        "Kundennummer",
        "kunden_nr",
        "Vertragsnummer",
        "id_cliente",
        "num_client",
        "PassengerId",
        "Loan_ID",
        "LoanID",
        "user_id",
        "UserId",
        "member.id",
        "number",
        "no",
        "nr",
        "customer_key",
        "ID_code",
        "msisdn",
        "ssn",
        "contract-number",
        "card_num",
        "code",
        "client",
        "household_id",
        "RowID",
        "customer ref",
    ];
    for name in names {
        let Verdict::Refused(message) = verdict(name, &ids()) else { panic!("{name} is no id") };
        assert!(message.contains(&format!("use --id {}", argument(name))), "{name}: {message}");
        assert!(message.contains(&format!("--keep {}", argument(name))), "{name}: {message}");
    }
}

#[test]
fn codes_of_real_tables_are_refused() {
    let names = [
        "zip",
        "ZIP Code",
        "zip_code",
        "Zip5",
        "zipcode",
        "customer_zip_code_prefix",
        "postal_code",
        "postcode",
        "PLZ",
        "Postleitzahl",
        "phone",
        "Phone Number",
        "phone_number",
        "branch",
        "branch_code",
        "BranchID",
        "Branch No",
        "Area code",
        "region_code",
        "district_id",
        "PULocationID",
        "merchant_code",
        "mcc",
        "account_id",
        "store_id",
        "codigo_postal",
        "Pincode",
        "occupation_cd",
        "FIPS",
    ];
    for name in names {
        let Verdict::Refused(message) = verdict(name, &codes()) else { panic!("{name} is no code") };
        assert!(message.contains(&format!("--drop {}", argument(name))), "{name}: {message}");
    }
}

#[test]
fn quantities_of_real_tables_are_features() {
    let names = [
        "BALANCE",
        "BALANCE_FREQUENCY",
        "CASH_ADVANCE_TRX",
        "PURCHASES_TRX",
        "CREDIT_LIMIT",
        "TENURE",
        "Age",
        "Annual Income (k$)",
        "Spending Score (1-100)",
        "NumOfProducts",
        "num_products",
        "no_of_dependents",
        "number_of_transactions",
        "Number vmail messages",
        "nr.employed",
        "Account length",
        "account_balance",
        "customer_age",
        "Customer service calls",
        "Total_Trans_Ct",
        "Total_Trans_Amt",
        "Months_on_book",
        "pdays",
        "campaign",
        "PAY_0",
        "BILL_AMT1",
        "credit_score",
        "CreditScore",
        "Recency",
        "Kidhome",
        "MntWines",
        "NumWebPurchases",
        "paid",
        "humidity",
        "video",
        "code_changes",
        "phone_calls",
        "zip_population",
        "branch_visits",
        "idle_days",
        "account_count",
        "decode",
        "nose",
        "keyword_hits",
        "days_since_id_check",
        "EstimatedSalary",
        "mortgage",
        "Family",
        "education",
    ];
    for name in names {
        for numbers in [ids(), codes(), zeros_and_ones()] {
            assert_eq!(verdict(name, &numbers), Verdict::Fine, "{name}");
        }
    }
}

#[test]
fn flags_with_the_name_of_a_code_are_features() {
    for name in ["phone", "has_phone", "branch", "plan_id"] {
        assert_eq!(verdict(name, &zeros_and_ones()), Verdict::Fine, "{name}");
    }
    // Numbers with fractions are neither ids nor codes.
    let halves: Vec<f64> = ids().iter().map(|id| id + 0.5).collect();
    assert_eq!(verdict("number", &halves), Verdict::Fine);
    assert_eq!(verdict("zip", &halves), Verdict::Fine);
}

#[test]
fn labels_are_warned_of() {
    let of_two = [
        "class",
        "Class",
        "target",
        "TARGET",
        "label",
        "y",
        "churn",
        "Churn",
        "Exited",
        "default",
        "default payment next month",
        "default.payment.next.month",
        "loan_default",
        "Attrition_Flag",
        "isFraud",
        "is_fraud",
        "Response",
        "outcome",
        "SeriousDlqin2yrs",
        "converted",
        "subscribed",
        "loan_status",
        "Churn Value",
        "defaulted",
    ];
    for name in of_two {
        let Verdict::Warned(message) = verdict(name, &zeros_and_ones()) else { panic!("{name} is no label") };
        assert!(message.contains(&format!("--drop {}", argument(name))), "{name}: {message}");
    }
    let clusters: Vec<f64> = (0..60).map(|row| f64::from(row * 7 % 5)).collect();
    for name in ["class", "target", "Cluster", "cluster_label", "kmeans", "y"] {
        assert!(matches!(verdict(name, &clusters), Verdict::Warned(_)), "{name}");
    }
    for name in ["default", "response", "churn", "outcome"] {
        assert_eq!(verdict(name, &codes()), Verdict::Fine, "{name} with many values is a quantity");
    }
}

#[test]
fn row_numbers_are_left_out_for_every_exporter() {
    // Rows that were filtered after they were numbered.
    let gaps: Vec<f64> = (0..60).map(|row| f64::from(row * row)).collect();
    for name in ["Unnamed: 0", "unnamed: 0", "Unnamed: 0.1", "", "__index_level_0__", "...1", "Unnamed: 12"] {
        assert!(matches!(verdict(name, &gaps), Verdict::LeftOut(_)), "{name:?}");
        assert!(matches!(verdict(name, &codes()), Verdict::LeftOut(_)), "{name:?}");
        assert!(matches!(verdict(name, &[0.5, 1.5]), Verdict::Refused(_)), "{name:?}");
        assert!(matches!(verdict(name, &[]), Verdict::LeftOut(_)), "{name:?}");
    }
    assert_eq!(verdict("unnamed_fee", &codes()), Verdict::Fine);
    let counted = |from: u32, rows: u32| (from..from + rows).map(f64::from).collect::<Vec<_>>();
    for name in ["index", "X", "row_number", "level_0", "V1", "rownum", "Sr No"] {
        assert!(matches!(verdict(name, &counted(1, 5)), Verdict::LeftOut(_)), "{name}");
    }
    assert!(matches!(verdict("customers_sorted", &counted(0, 60)), Verdict::LeftOut(_)));
    assert_eq!(verdict("children", &counted(0, 4)), Verdict::Fine);
    let indexed = NameHints { pandas_index: true, ..hints("branch_rank") };
    let known = ColumnCounts { numbers: 3, missing: 0, distinct: 3, may_be_id: true };
    assert!(matches!(Suspect::new(indexed).verdict("branch_rank", known), Verdict::LeftOut(_)));
}

#[test]
fn long_ids_differ_in_their_last_digits() {
    let long: Vec<f64> = (0..60).map(|row| 4_000_000_000_000_000.0 + f64::from(row * 7 % 61)).collect();
    assert!(matches!(verdict("card_number", &long), Verdict::Refused(_)));
}

proptest! {
    #[test]
    fn consecutive_numbers_are_never_a_feature(
        rows in 20_u32..3_000, from in 0_u32..2, name in "[A-Za-z_ ]{0,12}",
    ) {
        let numbers: Vec<f64> = (from..from + rows).map(f64::from).collect();
        prop_assert!(matches!(verdict(&name, &numbers), Verdict::LeftOut(_) | Verdict::Refused(_)));
    }

    #[test]
    fn fractions_are_neither_refused_nor_left_out(
        name in "[A-Za-z_ ]{1,12}", parts in proptest::collection::vec(0.1_f64..0.9, 2..50),
    ) {
        let name = name.trim();
        prop_assume!(!is_placeholder(name));
        prop_assert!(matches!(verdict(name, &parts), Verdict::Fine | Verdict::Warned(_)) || name.is_empty());
    }

    #[test]
    fn every_spelling_of_an_id_is_recognised(
        entity in prop_oneof![Just("customer"), Just("account"), Just("client")],
    ) {
        let capital = entity[..1].to_uppercase() + &entity[1..];
        for name in [
            format!("{entity}_id"),
            format!("{capital}Id"),
            format!("{capital}ID"),
            format!("{entity}id"),
            format!("{capital} ID"),
            format!("{entity}.id"),
            format!("id_{entity}"),
        ] {
            prop_assert!(hints(&name).id, "{}", name);
        }
    }
}

#[test]
fn row_numbers_are_detected_in_any_order() {
    let shuffled = |first: u32| (0..60).map(|row| f64::from(first + row * 7 % 60)).collect::<Vec<f64>>();
    for name in ["index", "position", "n_rows", "level_0"] {
        for first in [0, 1] {
            let found = verdict(name, &shuffled(first));
            assert!(
                matches!(&found, Verdict::LeftOut(why) if why.contains("60 in another order")),
                "{name}: {found:?}"
            );
        }
    }
    assert_eq!(verdict("position", &shuffled(2)), Verdict::Fine);
    let mut twice = shuffled(0);
    twice[3] = twice[4];
    assert_eq!(verdict("position", &twice), Verdict::Fine);
    let few: Vec<f64> = (0..10).map(|row| f64::from(row * 7 % 10)).collect();
    assert_eq!(verdict("position", &few), Verdict::Fine);
    // A requested column is kept.
    let mut suspect = Suspect::new(NameHints { trusted: true, ..hints("position") });
    (0..).zip(shuffled(0)).for_each(|(row, number)| suspect.observe(row, number));
    let known = ColumnCounts { numbers: 60, missing: 0, distinct: 60, may_be_id: true };
    assert_eq!(suspect.verdict("position", known), Verdict::Fine);
}

/// The sum of the squares of so many ids with sixteen digits would exceed 128 bits.
#[test]
fn long_ids_overflow_no_sum() {
    let mut sums = Sums::default();
    for row in 0..5_000_000 {
        sums.add(9.0e15 + f64::from(row));
    }
    assert!(!sums.are_row_numbers(5_000_000));
}

proptest! {
    #[test]
    fn only_permutations_of_row_numbers_have_their_sums(numbers in prop::collection::vec(0_u64..40, 20..40)) {
        let mut sums = Sums::default();
        for number in &numbers {
            sums.add(*number as f64);
        }
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let first = sorted[0];
        let all = first <= 1 && sorted.iter().copied().eq(first..first + numbers.len() as u64);
        prop_assert_eq!(sums.are_row_numbers(numbers.len() as u64), all);
    }
}
