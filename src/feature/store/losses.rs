//! What is lost when one file of customers takes the place of another.

use std::fmt;

use super::{CustomerTable, LoadReport, RowIndex};
use crate::document::Problems;
use crate::feature::{Entity, FeatureSchema, FeatureType, ValueRef};

/// The share of customers, or of those who gave or refused a consent, that a load may lose unasked. A day's customers who left
/// are far fewer; a file that was cut or filtered has lost far more.
pub const MOST_LOST: f64 = 0.1;

/// A bool feature of the customer called so is a consent.
const CONSENT_PREFIX: &str = "consent_";

/// A file that was read.
pub(super) struct Read {
    pub table: CustomerTable,
    pub report: LoadReport,
}

/// Something that is lost, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Loss {
    /// The new file has no customer at all.
    Everyone { before: usize },
    /// Customers that the new file does not have.
    Customers { lost: usize, before: usize },
    /// A feature that the new file has no column for.
    Column { feature: String, known: usize },
    /// A consent that was given and would be missing or refused.
    Consent { feature: String, lost: usize, before: usize },
    /// An opt-out that would be missing, as if they had never been asked.
    OptOut { feature: String, lost: usize, before: usize },
}

/// Refuses `new` in the place of `present` where it loses too much; `file` is its name.
///
/// # Errors
/// A line for each loss, and how it can be loaded all the same.
pub(super) fn refuse(
    file: &str,
    present: Option<&Read>,
    new: &Read,
    schema: &FeatureSchema,
) -> Result<(), Problems> {
    let losses = losses(present, new, schema);
    if losses.is_empty() {
        return Ok(());
    }
    let mut problems = Problems::new();
    for loss in losses {
        problems.push(file, None, loss.to_string());
    }
    let limit = MOST_LOST * 100.0;
    let message = format!(
        "more than {limit} % would be lost, so nothing was changed; if it is meant, load it with --force"
    );
    // After the losses: problems are sorted.
    problems.into_result(()).map_err(|mut problems| {
        problems.push(file, None, message);
        problems
    })
}

fn losses(present: Option<&Read>, new: &Read, schema: &FeatureSchema) -> Vec<Loss> {
    let before = present.map_or(0, |present| present.table.len());
    if new.table.is_empty() {
        return vec![Loss::Everyone { before }];
    }
    let Some(present) = present else { return Vec::new() };
    let mut losses = Vec::new();
    // The same customer in both.
    let pairs: Vec<(RowIndex, RowIndex)> =
        present.table.rows().filter_map(|row| Some((row, new.table.find(present.table.id(row)?)?))).collect();
    let lost = before - pairs.len();
    if is_too_much(lost, before) {
        losses.push(Loss::Customers { lost, before });
    }
    for (position, feature) in schema.of(Entity::Customer).iter().enumerate() {
        let absent = |report: &LoadReport| report.absent_features.contains(&feature.name);
        if absent(&new.report) && !absent(&present.report) {
            let known = |row: &RowIndex| present.table.value(*row, position) != ValueRef::Missing;
            let known = present.table.rows().filter(known).count();
            losses.push(Loss::Column { feature: feature.name.clone(), known });
        } else if feature.feature_type == FeatureType::Bool && feature.name.starts_with(CONSENT_PREFIX) {
            let values = |(old, now): &(RowIndex, RowIndex)| {
                (present.table.value(*old, position), new.table.value(*now, position))
            };
            let of =
                |value: bool| pairs.iter().map(values).filter(move |(old, _)| *old == ValueRef::Bool(value));
            let before = of(true).count();
            let lost = of(true).filter(|(_, now)| *now != ValueRef::Bool(true)).count();
            if is_too_much(lost, before) {
                losses.push(Loss::Consent { feature: feature.name.clone(), lost, before });
            }
            let before = of(false).count();
            let lost = of(false).filter(|(_, now)| *now == ValueRef::Missing).count();
            if is_too_much(lost, before) {
                losses.push(Loss::OptOut { feature: feature.name.clone(), lost, before });
            }
        }
    }
    losses
}

fn is_too_much(lost: usize, before: usize) -> bool {
    lost as f64 > MOST_LOST * before as f64
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |lost: usize, before: usize| lost as f64 * 100.0 / before as f64;
        match self {
            Self::Everyone { before: 0 } => f.write_str("the file has a header and no customers"),
            Self::Everyone { before } => {
                write!(f, "the file has a header and no customers: all {before} would be lost")
            }
            Self::Customers { lost, before } => {
                write!(f, "{lost} of {before} customers ({:.1} %) would be lost", share(*lost, *before))
            }
            Self::Column { feature, known } => write!(
                f,
                "the column `{feature}` is missing: what is known of {known} customers would be lost"
            ),
            Self::Consent { feature, lost, before } => write!(
                f,
                "`{feature}` would be taken away from {lost} of the {before} customers who gave it ({:.1} %)",
                share(*lost, *before)
            ),
            Self::OptOut { feature, lost, before } => write!(
                f,
                "`{feature}` would be forgotten of {lost} of the {before} customers who refused it ({:.1} %)",
                share(*lost, *before)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::format_collect)]

    use proptest::prelude::*;

    use super::*;

    const SCHEMA: &str = "[[feature]]\nname = 'x'\ntype = 'int'\nentity = 'customer'\n\
        [[feature]]\nname = 'consent_m'\ntype = 'bool'\nentity = 'customer'\n";

    fn schema() -> FeatureSchema {
        FeatureSchema::parse("features.toml", SCHEMA).unwrap()
    }

    fn read(text: &str) -> Read {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("customers.csv");
        std::fs::write(&path, text).unwrap();
        let (table, report) = CustomerTable::load(&path, &schema()).unwrap();
        Read { table, report }
    }

    /// Ten customers.
    fn present() -> Read {
        let consent = |customer| if customer < 5 { "true" } else { "false" };
        let rows = (0..10).map(|customer| format!("{customer},{customer},{}\n", consent(customer)));
        read(&format!("customer_id,x,consent_m\n{}", rows.collect::<String>()))
    }

    fn said(present: Option<&Read>, text: &str) -> String {
        refuse("new.csv", present, &read(text), &schema())
            .map_or_else(|found| found.to_string(), |()| String::new())
    }

    #[test]
    fn every_kind_of_loss_is_said_in_numbers() {
        let present = present();
        let empty = said(Some(&present), "customer_id,x,consent_m\n");
        assert!(
            empty.starts_with("new.csv: the file has a header and no customers: all 10 would be lost"),
            "{empty}"
        );
        assert!(empty.ends_with("load it with --force"), "{empty}");
        assert!(said(None, "customer_id,x,consent_m\n").contains("no customers"));
        let one = said(Some(&present), "customer_id,consent_m\n0,true\n");
        assert!(one.contains("9 of 10 customers (90.0 %) would be lost"), "{one}");
        assert!(one.contains("the column `x` is missing: what is known of 10 customers"), "{one}");
        let ids: String = (0..10).map(|customer| format!("{customer}\n")).collect();
        let bare = said(Some(&present), &format!("customer_id\n{ids}"));
        assert!(bare.contains("the column `consent_m` is missing"), "{bare}");
        let blank: String = (0..10).map(|customer| format!("{customer},1,\n")).collect();
        let blank = said(Some(&present), &format!("customer_id,x,consent_m\n{blank}"));
        assert!(blank.contains("taken away from 5 of the 5 customers who gave it (100.0 %)"), "{blank}");
        assert!(blank.contains("forgotten of 5 of the 5 customers who refused it"), "{blank}");
    }

    #[test]
    fn a_tenth_may_go_and_new_customers_may_come() {
        let present = present();
        let text: String = (1..30)
            .map(|customer| format!("{customer},7,{}\n", if customer < 5 { "true" } else { "false" }))
            .collect();
        assert_eq!(said(Some(&present), &format!("customer_id,x,consent_m\n{text}")), "");
        assert_eq!(said(None, "customer_id\nA\n"), "");
    }

    proptest! {
        #[test]
        fn a_file_is_refused_exactly_where_more_than_the_share_of_customers_goes(kept in 1_usize..40) {
            let rows = |count| (0..count).map(|id| format!("{id},1\n")).collect::<String>();
            let present = read(&format!("customer_id,x\n{}", rows(40)));
            let refused = !said(Some(&present), &format!("customer_id,x\n{}", rows(kept))).is_empty();
            prop_assert_eq!(refused, kept < 36);
        }
    }
}
