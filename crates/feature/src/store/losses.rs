//! The data that is lost when one customer file replaces another.

use std::fmt;

use super::{CustomerTable, LoadReport, RowIndex};
use crate::{Entity, FeatureSchema, FeatureType, ValueRef};
use document::{Problems, plural};

/// The share of customers, or of given or refused consents, that a load may lose without `--force`. Far fewer
/// customers leave in a day, and a truncated or filtered file loses far more.
pub const MAX_LOST: f64 = 0.1;

/// The share of a feature's known values that a load may make missing without `--force`. Some features come and go; a
/// column that is blank for most customers is a failed join.
pub const MAX_UNKNOWN: f64 = 0.5;

/// A bool feature of the customer with this prefix is a consent.
const CONSENT_PREFIX: &str = "consent_";

/// A file that was read.
pub(super) struct Read {
    pub table: CustomerTable,
    pub report: LoadReport,
}

/// Something that is lost, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Loss {
    /// The end of a truncated file: its last value may be incomplete.
    End,
    /// All customers: the new file has none.
    Everyone { before: usize },
    /// Customers that the new file lacks.
    Customers { lost: usize, before: usize },
    /// A feature without a column in the new file.
    Column { feature: String, known: usize },
    /// Known values of a feature that would become missing.
    Values { feature: String, lost: usize, before: usize },
    /// A consent that was given and would become missing or refused.
    Consent { feature: String, lost: usize, before: usize },
    /// An opt-out that would become missing, as if the customer had never been asked, or a consent.
    OptOut { feature: String, lost: usize, before: usize },
}

/// Refuses to replace `present` by `new` if too much would be lost. `file` is the name of the new file.
///
/// # Errors
/// A line for each loss, and how to load the file anyway.
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
    let message = "this would lose too much, so nothing was changed; if it is intended, load it with --force";
    // Added after the losses, because problems are sorted.
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
    let mut losses = Vec::new();
    if new.report.may_be_truncated {
        losses.push(Loss::End);
    }
    let Some(present) = present else { return losses };
    // The row of each customer that both tables have.
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
            continue;
        }
        let values = || {
            pairs
                .iter()
                .map(|(old, now)| (present.table.value(*old, position), new.table.value(*now, position)))
        };
        if feature.feature_type == FeatureType::Bool && feature.name.starts_with(CONSENT_PREFIX) {
            let of = |value: bool| values().filter(move |(old, _)| *old == ValueRef::Bool(value));
            let before = of(true).count();
            let lost = of(true).filter(|(_, now)| *now != ValueRef::Bool(true)).count();
            if is_too_much(lost, before) {
                losses.push(Loss::Consent { feature: feature.name.clone(), lost, before });
            }
            let before = of(false).count();
            let lost = of(false).filter(|(_, now)| *now != ValueRef::Bool(false)).count();
            if is_too_much(lost, before) {
                losses.push(Loss::OptOut { feature: feature.name.clone(), lost, before });
            }
        } else {
            let known = || values().filter(|(old, _)| *old != ValueRef::Missing);
            let (before, lost) =
                (known().count(), known().filter(|(_, now)| *now == ValueRef::Missing).count());
            if lost as f64 > MAX_UNKNOWN * before as f64 {
                losses.push(Loss::Values { feature: feature.name.clone(), lost, before });
            }
        }
    }
    losses
}

fn is_too_much(lost: usize, before: usize) -> bool {
    lost as f64 > MAX_LOST * before as f64
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |lost: usize, before: usize| lost as f64 * 100.0 / before as f64;
        match self {
            Self::End => f.write_str(
                "the last line has no line end, as in a truncated file, so its last value may be wrong; \
                 if the file is whole, end the line",
            ),
            Self::Everyone { before: 0 } => f.write_str("the file has a header and no customers"),
            Self::Everyone { before } => {
                write!(f, "the file has a header and no customers: all {before} would be lost")
            }
            Self::Customers { lost, before } => {
                write!(f, "{lost} of {before} customers ({:.1} %) would be lost", share(*lost, *before))
            }
            Self::Column { feature, known } => write!(
                f,
                "the column `{feature}` is missing: its values for {} would be lost",
                plural(*known, "customer")
            ),
            Self::Values { feature, lost, before } => write!(
                f,
                "`{feature}` would become missing for {lost} of the {before} customers with a value ({:.1} %)",
                share(*lost, *before)
            ),
            Self::Consent { feature, lost, before } => write!(
                f,
                "`{feature}` would be lost for {lost} of the {before} customers who gave it ({:.1} %)",
                share(*lost, *before)
            ),
            Self::OptOut { feature, lost, before } => write!(
                f,
                "the opt-out from `{feature}` would be lost for {lost} of the {before} customers who refused it \
                 ({:.1} %)",
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

    fn message(present: Option<&Read>, text: &str) -> String {
        refuse("new.csv", present, &read(text), &schema())
            .map_or_else(|found| found.to_string(), |()| String::new())
    }

    #[test]
    fn every_kind_of_loss_is_reported_in_numbers() {
        let present = present();
        let empty = message(Some(&present), "customer_id,x,consent_m\n");
        assert!(
            empty.starts_with("new.csv: the file has a header and no customers: all 10 would be lost"),
            "{empty}"
        );
        assert!(empty.ends_with("load it with --force"), "{empty}");
        assert!(message(None, "customer_id,x,consent_m\n").contains("no customers"));
        let one = message(Some(&present), "customer_id,consent_m\n0,true\n");
        assert!(one.contains("9 of 10 customers (90.0 %) would be lost"), "{one}");
        assert!(one.contains("the column `x` is missing: its values for 10 customers"), "{one}");
        let ids: String = (0..10).map(|customer| format!("{customer}\n")).collect();
        let bare = message(Some(&present), &format!("customer_id\n{ids}"));
        assert!(bare.contains("the column `consent_m` is missing"), "{bare}");
        let blank: String = (0..10).map(|customer| format!("{customer},1,\n")).collect();
        let blank = message(Some(&present), &format!("customer_id,x,consent_m\n{blank}"));
        assert!(
            blank.contains("`consent_m` would be lost for 5 of the 5 customers who gave it (100.0 %)"),
            "{blank}"
        );
        assert!(
            blank.contains("opt-out from `consent_m` would be lost for 5 of the 5 customers who refused it"),
            "{blank}"
        );
    }

    #[test]
    fn an_opt_out_is_lost_in_a_consent_too_and_a_column_in_blanks() {
        let present = present();
        let all = |consent: &str, x: &str| -> String {
            let rows: String = (0..10).map(|customer| format!("{customer},{x},{consent}\n")).collect();
            message(Some(&present), &format!("customer_id,x,consent_m\n{rows}"))
        };
        let consents = all("true", "1");
        assert!(
            consents.contains("opt-out from `consent_m` would be lost for 5 of the 5 customers"),
            "{consents}"
        );
        let blank = all("false", "");
        assert!(
            blank.contains("`x` would become missing for 10 of the 10 customers with a value (100.0 %)"),
            "{blank}"
        );
        let half: String = (0..10)
            .map(|customer| {
                let x = if customer % 2 == 0 { "1" } else { "" };
                format!("{customer},{x},{}\n", customer < 5)
            })
            .collect();
        assert_eq!(message(Some(&present), &format!("customer_id,x,consent_m\n{half}")), "");
    }

    #[test]
    fn a_tenth_may_be_lost_and_new_customers_may_be_added() {
        let present = present();
        let text: String = (1..30)
            .map(|customer| format!("{customer},7,{}\n", if customer < 5 { "true" } else { "false" }))
            .collect();
        assert_eq!(message(Some(&present), &format!("customer_id,x,consent_m\n{text}")), "");
        assert_eq!(message(None, "customer_id\nA\n"), "");
    }

    proptest! {
        /// A file cut within a line is refused. Cut behind a line, it loses customers, which other tests cover.
        #[test]
        fn a_file_that_was_cut_within_a_line_is_refused(cut in 20_usize..200) {
            let rows: String = (0..20).map(|id| format!("{id},{}\n", 1000 + id * 37)).collect();
            let whole = format!("customer_id,x\n{rows}");
            let cut = &whole[..cut.min(whole.len())];
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("cut.csv");
            std::fs::write(&path, cut).unwrap();
            if let Ok((table, report)) = CustomerTable::load(&path, &schema()) {
                let refused = refuse("cut.csv", None, &Read { table, report }, &schema()).is_err();
                prop_assert_eq!(refused, !cut.ends_with('\n'));
            }
        }
    }

    proptest! {
        #[test]
        fn a_file_is_refused_exactly_if_more_than_the_allowed_share_is_lost(kept in 1_usize..40) {
            let rows = |count| (0..count).map(|id| format!("{id},1\n")).collect::<String>();
            let present = read(&format!("customer_id,x\n{}", rows(40)));
            let refused = !message(Some(&present), &format!("customer_id,x\n{}", rows(kept))).is_empty();
            prop_assert_eq!(refused, kept < 36);
        }
    }
}
