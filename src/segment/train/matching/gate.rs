//! Whether segments that were trained again may replace those that serve.

use std::fmt;

use super::share;
use crate::segment::percent::{beside, percent};
use crate::segment::train::study::{Migration, Stability};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// The share of customers that may change segment, 0..=1.
    pub max_moved: f64,
    /// The least Jaccard similarity with which each segment must be found again on resamples, 0..=1.
    pub min_jaccard: f64,
}

/// The new segments may not replace those before, unless somebody says so.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}; pass --force to write it all the same", Listed(.causes))]
pub struct RetrainRefusal {
    /// Each thing that does not hold; at least one.
    pub causes: Vec<Cause>,
}

/// A thing that does not hold.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Cause {
    /// Too many customers would change segment.
    #[error(
        "{moved} of {customers} customers ({}) would change segment against {previous}, but at most {} may",
        beside(share(*.moved, *.customers), *.limit),
        percent(*.limit)
    )]
    Moved {
        /// Customers who would.
        moved: u64,
        /// Of so many.
        customers: u64,
        /// The share that may.
        limit: f64,
        /// The version before.
        previous: String,
    },
    /// Segments that chance has made.
    #[error(
        "not every segment is found again on resamples with a Jaccard similarity of at least {least}: {}",
        Listed(.segments)
    )]
    Unstable {
        /// Those that are not.
        segments: Vec<Unstable>,
        /// What is asked for.
        least: f64,
    },
    /// Nobody looked whether they are stable.
    #[error("the stability of the segments was not measured; ask for resamples")]
    NotMeasured,
}

/// A segment that is not found again.
#[derive(Debug, Clone, PartialEq)]
pub struct Unstable {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Mean similarity to the most similar segment of a resample.
    pub jaccard: f64,
}

impl Default for Gate {
    /// A fifth of the customers; 0.75 as Hennig, "Cluster-wise assessment of cluster stability" (2007), has it for a valid,
    /// stable cluster.
    fn default() -> Self {
        Self { max_moved: 0.2, min_jaccard: 0.75 }
    }
}

impl Gate {
    /// `stability`, `names`: of the new segments, by their final ids.
    ///
    /// # Errors
    /// Everything that does not hold, with the figures.
    pub fn check(
        &self,
        migration: &Migration,
        stability: &Stability,
        names: &[String],
    ) -> Result<(), RetrainRefusal> {
        let mut causes = Vec::new();
        if migration.moved > self.max_moved {
            causes.push(Cause::Moved {
                moved: migration.customers_moved(),
                customers: migration.customers(),
                limit: self.max_moved,
                previous: migration.previous.clone(),
            });
        }
        let by_id = (0..).zip(stability.jaccard.iter().zip(names));
        let segments: Vec<Unstable> = by_id
            .filter(|(_, (jaccard, _))| **jaccard < self.min_jaccard)
            .map(|(id, (jaccard, name))| Unstable { id, name: name.clone(), jaccard: *jaccard })
            .collect();
        if !segments.is_empty() {
            causes.push(Cause::Unstable { segments, least: self.min_jaccard });
        }
        // Without resamples there is nothing that could fail, which must not pass for evidence.
        if stability.resamples == 0 && self.min_jaccard > 0.0 {
            causes.push(Cause::NotMeasured);
        }
        if causes.is_empty() { Ok(()) } else { Err(RetrainRefusal { causes }) }
    }
}

impl fmt::Display for Unstable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} `{}` ({:.2})", self.id, self.name, self.jaccard)
    }
}

/// One after the other, on one line.
struct Listed<'l, T>(&'l [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
