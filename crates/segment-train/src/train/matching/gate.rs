//! Whether newly trained segments may replace the previous ones.

use std::fmt;

use super::share;
use crate::train::study::{Migration, STABLE_JACCARD, Stability};
use report::percent::{percent, percent_near};

/// The limits for a replacement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::train) struct Gate {
    /// The share of customers that may change segment, 0..=1.
    pub(in crate::train) max_moved: f64,
    /// The lowest mean Jaccard similarity over resamples that each segment needs, 0..=1.
    pub(in crate::train) min_jaccard: f64,
}

/// The new segments may replace the previous ones only with `--force`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}; pass --force to write the segments anyway", Listed(.causes))]
pub struct RetrainRefusal {
    /// At least one.
    pub causes: Vec<Cause>,
}

/// A limit that the new segments exceed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Cause {
    /// Too many customers would change segment.
    #[error(
        "{moved} of {customers} customers ({}) would change segment compared with {previous}, but at most {} may",
        percent_near(share(*.moved, *.customers), *.limit),
        percent(*.limit)
    )]
    Moved {
        /// Customers who would change segment.
        moved: u64,
        /// All customers.
        customers: u64,
        /// The share that may change segment.
        limit: f64,
        /// The name of the previous version.
        previous: String,
    },
    /// Segments are not stable.
    #[error(
        "not every segment is found again in resamples with a Jaccard similarity of at least {least}: {}",
        Listed(.segments)
    )]
    Unstable {
        /// The unstable segments.
        segments: Vec<Unstable>,
        /// The required similarity.
        least: f64,
    },
    /// There were no resamples.
    #[error("the stability of the segments was not measured; request resamples")]
    NotMeasured,
}

/// An unstable segment.
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
    fn default() -> Self {
        Self { max_moved: 0.2, min_jaccard: STABLE_JACCARD }
    }
}

impl Gate {
    /// Checks the new segments. `stability`, `names`: by their final ids.
    ///
    /// # Errors
    /// Every limit that is exceeded, with the figures.
    pub(in crate::train) fn check(
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
        // Without resamples no segment can fail, which is no evidence of stability.
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

/// The items on one line, separated by semicolons.
struct Listed<'l, T>(&'l [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
