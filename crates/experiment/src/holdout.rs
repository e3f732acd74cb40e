//! The universal holdout: customers whom nothing reaches but the fallback.

use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;

use crate::hash::{Fnv, Subject};
use crate::split::first_from;

/// What the holdout is drawn with. An experiment may not have a seed that begins like this.
pub(crate) const SALT: &str = "holdout:";

/// Buckets of a draw.
const BUCKETS: u64 = 10_000;

/// The share of customers that no experiment, lever or mandatory offer reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Holdout {
    /// The share of all customers, 0.0001..=0.5.
    pub share: f64,
    /// When other customers are drawn.
    pub redraw: Redraw,
    /// Months are those of this zone.
    zone: Tz,
    /// The buckets below this are held out.
    end: u64,
}

/// When a holdout is drawn anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redraw {
    /// Always the same customers.
    Never,
    /// At the end of each month, in the time zone of the policy.
    Monthly,
}

/// The draw of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HoldoutDraw {
    seeded: Fnv,
    end: u64,
}

impl Holdout {
    pub(crate) fn new(share: f64, redraw: Redraw, zone: Tz) -> Self {
        Self { share, redraw, zone, end: first_from(share, BUCKETS) }
    }

    /// The draw at `now`: seed `holdout:`, with year and month (`holdout:2026-11`) if it is drawn monthly.
    pub(crate) fn at(&self, now: DateTime<Utc>) -> HoldoutDraw {
        let seeded = Fnv::after(SALT);
        let seeded = match self.redraw {
            Redraw::Never => seeded,
            Redraw::Monthly => {
                let local = now.with_timezone(&self.zone);
                let year = local.year().unsigned_abs();
                seeded.padded(year, 4).text("-").padded(local.month(), 2)
            }
        };
        HoldoutDraw { seeded, end: self.end }
    }
}

impl HoldoutDraw {
    pub(crate) fn has(&self, subject: &Subject<'_>) -> bool {
        u64::from(self.seeded.twice(subject)) % BUCKETS < self.end
    }
}
