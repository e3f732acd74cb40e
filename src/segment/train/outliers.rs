//! Segments that are a few customers far from all others: an error of the data, or a person whom no offer is made for.
//!
//! K-means pays for every customer far away with the square of the distance, so one wrong value can take a segment for
//! itself. Such a segment says nothing of the next customers.

use std::fmt;

use super::study::{STABLE_JACCARD, SegmentProfile};

/// A segment of fewer customers …
const LEAST_CUSTOMERS: u64 = 5;

/// … that has less than this part of what each would have if all were alike is made of outliers.
const PART_OF_EVEN: u64 = 10;

/// So is one of a smaller share of all customers that is not found again in resamples.
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
    /// Those nearest to its middle.
    customers: Vec<String>,
}

/// Whether so few of all customers are no segment, where there are `k`.
pub(super) fn are_few(size: u64, customers: u64, k: u64) -> bool {
    k > 1 && size < LEAST_CUSTOMERS && size.saturating_mul(k).saturating_mul(PART_OF_EVEN) <= customers
}

/// The segments of a training that are made of outliers; `customers`: all of them.
pub(super) fn outliers(segments: &[SegmentProfile], customers: u64) -> Option<Outliers> {
    let k = segments.len() as u64;
    let found = segments.iter().filter(|segment| {
        let lost = segment.share < LEAST_SHARE && segment.jaccard < STABLE_JACCARD;
        are_few(segment.size, customers, k) || (k > 1 && lost)
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

/// What they are and what to do, on one line.
struct Shown<'o>(&'o Outliers);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.segments.iter().enumerate() {
            let FewCustomers { id, name, size, customers } = segment;
            let (separator, noun) =
                (if index == 0 { "" } else { "; " }, if *size == 1 { "customer" } else { "customers" });
            write!(f, "{separator}segment {id} `{name}` has {size} {noun} of {}", self.0.customers)?;
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
            ": values far from all others make a segment of their own; bound them with --winsorise 0.01,0.99, correct or \
             remove these customers, or take another number of segments with --k"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_alone_is_no_segment_unless_there_are_hardly_more() {
        for (size, customers, k, few) in [
            (1, 300, 4, true),
            (4, 300, 4, true),
            (5, 300, 4, false),
            (1, 30, 3, true),
            (1, 12, 3, false),
            (4, 24, 3, false),
            (1, 300, 1, false),
        ] {
            assert_eq!(are_few(size, customers, k), few, "{size} of {customers} in {k}");
        }
    }
}
