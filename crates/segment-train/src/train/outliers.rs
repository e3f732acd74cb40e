//! Segments of a few customers far from all others: errors in the data, or people for whom no offer is made.
//!
//! k-means weighs a distant customer with the square of the distance, so one wrong value can become a segment.
//! Such a segment is useless for future customers.

use std::fmt;

use super::study::{STABLE_JACCARD, SegmentProfile};
use document::plural;

/// A segment of fewer customers may consist of outliers.
const LEAST_CUSTOMERS: u64 = 5;

/// It does if it is smaller than the mean size of the segments by at least this factor.
const SMALLER_THAN_MEAN: u64 = 10;

/// A segment with a smaller share of all customers consists of outliers if resamples do not find it again.
const LEAST_SHARE: f64 = 0.005;

/// Segments that should not be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", Shown(self))]
pub struct Outliers {
    /// At least one.
    segments: Vec<FewCustomers>,
    /// All customers of the table.
    customers: u64,
}

/// A segment of few customers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FewCustomers {
    id: u32,
    name: String,
    size: u64,
    /// Those nearest to its centroid.
    customers: Vec<String>,
}

/// Whether a segment of `size` customers consists of outliers, given all customers and `k` segments.
pub(super) fn are_outliers(size: u64, customers: u64, k: u64) -> bool {
    k > 1 && size < LEAST_CUSTOMERS && size.saturating_mul(k).saturating_mul(SMALLER_THAN_MEAN) <= customers
}

/// The segments of a training that consist of outliers. `customers`: their total number.
pub(super) fn outliers(segments: &[SegmentProfile], customers: u64) -> Option<Outliers> {
    let k = segments.len() as u64;
    let found = segments.iter().filter(|segment| {
        let lost = segment.share < LEAST_SHARE && segment.jaccard < STABLE_JACCARD;
        are_outliers(segment.size, customers, k) || (k > 1 && lost)
    });
    let segments: Vec<FewCustomers> = found
        .map(|segment| FewCustomers {
            id: segment.id,
            name: segment.name.clone(),
            size: segment.size,
            customers: segment.nearest.iter().take(LEAST_CUSTOMERS as usize).cloned().collect(),
        })
        .collect();
    (!segments.is_empty()).then_some(Outliers { segments, customers })
}

/// The segments and what to do, on one line.
struct Shown<'o>(&'o Outliers);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.segments.iter().enumerate() {
            let FewCustomers { id, name, size, customers } = segment;
            let (separator, few) = (if index == 0 { "" } else { "; " }, plural(*size, "customer"));
            write!(f, "{separator}segment {id} `{name}` has {few} of {}", self.0.customers)?;
            if !customers.is_empty() {
                write!(
                    f,
                    " ({}{})",
                    customers.join(", "),
                    if customers.len() < *size as usize { ", …" } else { "" }
                )?;
            }
        }
        write!(
            f,
            ": extreme values form a segment of their own; clamp them with --winsorise 0.01,0.99, correct or remove \
             these customers, or choose another number of segments with --k"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_customers_are_outliers_unless_the_other_segments_are_small_too() {
        for (size, customers, k, expected) in [
            (1, 300, 4, true),
            (4, 300, 4, true),
            (5, 300, 4, false),
            (1, 30, 3, true),
            (1, 12, 3, false),
            (4, 24, 3, false),
            (1, 300, 1, false),
        ] {
            assert_eq!(are_outliers(size, customers, k), expected, "{size} of {customers} in {k}");
        }
    }
}
