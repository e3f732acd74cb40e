//! A bounded in-memory sample of the customer × offer pairs that models scored recently.
//!
//! The distribution gate scores the sample with the serving model and with the candidate. A row keeps the schema it
//! was recorded under, but no other part of its release. A later schema can thus read it by name, and an old release
//! can be dropped. Recording never blocks a request: when two threads collide, one row is skipped.
//!
//! Start reading at [`RecentRows::record`], then [`RecentRow::under`].

mod packed;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use self::packed::PackedRows;
use super::{Entity, Feature, FeatureSchema, FeatureType, Row, SegmentRef, Value, ValueRef};

/// One in this many offered rows is sampled once the reservoir is full. With the default capacity a row then stays for
/// 65,536 offered rows on average, minutes on a busy server. A row that is not sampled costs one addition.
const SAMPLING_INTERVAL: u64 = 16;

/// Salts that derive three random numbers from one counter. The counter never reaches these bits.
const ROW_SALT: u64 = 1 << 63;
const SLOT_SALT: u64 = 1 << 62;

/// The most bytes of text in a kept row. Callers may send long texts, and memory is bounded.
const MAX_TEXT_BYTES: usize = 4096;

/// A biased reservoir of [`RecentRow`]s. Once it is full, each sampled row replaces a random one, so the chance that
/// a row remains falls exponentially with its age. Source: Aggarwal, "On Biased Reservoir Sampling in the Presence of
/// Stream Evolution" (VLDB 2006), algorithm 2.1, with an insertion probability of 1 / [`SAMPLING_INTERVAL`].
#[derive(Debug)]
pub struct RecentRows {
    capacity: usize,
    /// How many rows were offered. Also the counter that all random numbers derive from.
    offered: AtomicU64,
    rows: Mutex<Vec<RecentRow>>,
}

/// One customer × offer pair as a model saw it, with defaults for missing values. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RecentRow(Arc<RowData>);

#[derive(Debug)]
struct RowData {
    schema: Arc<FeatureSchema>,
    customer: Vec<Option<Value>>,
    context: Vec<Option<Value>>,
    offer: Vec<Option<Value>>,
    offer_id: Arc<str>,
    segment: Option<(i64, Arc<str>)>,
}

/// A [`RecentRow`] in the order of another schema.
#[derive(Debug)]
pub struct RereadRow<'a> {
    customer: Vec<ValueRef<'a>>,
    context: Vec<ValueRef<'a>>,
    offer: Vec<ValueRef<'a>>,
    segment: Option<SegmentRef<'a>>,
}

impl Default for RecentRows {
    /// About 4 MB for rows of forty features, and enough rows for every decile of a distribution.
    fn default() -> Self {
        Self::new(4096)
    }
}

impl RecentRows {
    /// An empty reservoir for at most `capacity` rows.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, offered: AtomicU64::new(0), rows: Mutex::default() }
    }

    /// Offers `candidates` rows. At most one of them, chosen uniformly, is kept, and only that one is made. Never
    /// blocks: if another thread holds the lock, no row is kept.
    pub fn record(&self, candidates: usize, make: impl FnOnce(usize) -> RecentRow) {
        if candidates == 0 || self.capacity == 0 {
            return;
        }
        let offered = self.offered.fetch_add(1, Ordering::Relaxed);
        let filling = offered < self.capacity as u64;
        // Random, not every sixteenth: a caller that alternates between two placements would otherwise fill it with
        // one.
        if !filling && !splitmix64(offered).is_multiple_of(SAMPLING_INTERVAL) {
            return;
        }
        let row = make(below(splitmix64(offered ^ ROW_SALT), candidates));
        if row.text_bytes() > MAX_TEXT_BYTES {
            return;
        }
        let Ok(mut rows) = self.rows.try_lock() else { return };
        let replaced = if rows.len() < self.capacity {
            rows.push(row);
            None
        } else {
            let slot = below(splitmix64(offered ^ SLOT_SALT), rows.len());
            rows.get_mut(slot).map(|kept| std::mem::replace(kept, row))
        };
        // Freed after the lock is released.
        drop(rows);
        drop(replaced);
    }

    /// The rows that are kept now, in arbitrary order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<RecentRow> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl RecentRow {
    /// Keeps `row`, with its values in the order of `schema`, and the id of its offer.
    #[must_use]
    pub fn new(schema: &Arc<FeatureSchema>, offer_id: &Arc<str>, row: &Row<'_>) -> Self {
        let owned = |values: &[ValueRef<'_>]| values.iter().map(ValueRef::to_value).collect();
        Self(Arc::new(RowData {
            schema: Arc::clone(schema),
            customer: owned(row.customer),
            context: owned(row.context),
            offer: owned(row.offer),
            offer_id: Arc::clone(offer_id),
            segment: row.segment.map(|segment| (segment.id, segment.name.into())),
        }))
    }

    /// The bytes of its texts.
    fn text_bytes(&self) -> usize {
        let values = self.0.customer.iter().chain(&self.0.context).chain(&self.0.offer);
        let texts = values.map(|value| match value {
            Some(Value::String(text)) => text.len(),
            Some(Value::Float(_) | Value::Int(_) | Value::Bool(_)) | None => 0,
        });
        texts.sum()
    }

    /// The id of its offer.
    #[must_use]
    pub fn offer_id(&self) -> &str {
        &self.0.offer_id
    }

    /// The row in the order of `schema`, with values matched by name. Ints become floats if the schema now wants
    /// floats. The schema's default replaces a value that is missing or of another type.
    #[must_use]
    pub fn under<'a>(&'a self, schema: &'a FeatureSchema) -> RereadRow<'a> {
        let of = |entity| schema.of(entity).iter().map(|feature| self.value(feature)).collect();
        RereadRow {
            customer: of(Entity::Customer),
            context: of(Entity::Context),
            offer: of(Entity::Offer),
            segment: self.0.segment.as_ref().map(|(id, name)| SegmentRef { id: *id, name }),
        }
    }

    fn value<'a>(&'a self, feature: &'a Feature) -> ValueRef<'a> {
        let known = self.0.schema.find(&feature.name).and_then(|(entity, index)| {
            let values = match entity {
                Entity::Customer => &self.0.customer,
                Entity::Context => &self.0.context,
                Entity::Offer => &self.0.offer,
            };
            values.get(index)?.as_ref()
        });
        let value = match (known, feature.feature_type) {
            (Some(Value::Int(whole)), FeatureType::Float) => ValueRef::Float(*whole as f32),
            (Some(value), wanted) if value.as_ref().feature_type() == Some(wanted) => value.as_ref(),
            _ => ValueRef::Missing,
        };
        value.or(feature.default_ref())
    }
}

impl RereadRow<'_> {
    /// The row as models take it.
    #[must_use]
    pub fn row(&self) -> Row<'_> {
        Row { customer: &self.customer, context: &self.context, offer: &self.offer, segment: self.segment }
    }
}

/// A pseudo-random number derived from `number`. Source: the output function of `SplitMix64`, Steele, Lea and Flood
/// (OOPSLA 2014).
fn splitmix64(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number below `bound`; nearly uniform for bounds far below 2⁶⁴.
fn below(random: u64, bound: usize) -> usize {
    (random % bound as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(features: &[(&str, FeatureType, Entity)]) -> Arc<FeatureSchema> {
        Arc::new(FeatureSchema::from_features(features.iter().map(|(name, feature_type, entity)| Feature {
            default: (*feature_type == FeatureType::Float).then_some(Value::Float(0.5)),
            ..Feature::new(*name, *feature_type, *entity)
        })))
    }

    /// A row with its number as the only value.
    fn numbered(schema: &Arc<FeatureSchema>, number: i64) -> RecentRow {
        let customer = [ValueRef::Int(number)];
        let row = Row { customer: &customer, context: &[], offer: &[], segment: None };
        RecentRow::new(schema, &"gold".into(), &row)
    }

    fn number(row: &RecentRow, schema: &FeatureSchema) -> i64 {
        match row.under(schema).row().customer {
            [ValueRef::Int(number)] => *number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_rows_are_kept_until_it_is_full_and_then_late_rows_displace_early_ones() {
        let schema = schema(&[("number", FeatureType::Int, Entity::Customer)]);
        let rows = RecentRows::new(100);
        for at in 0..100 {
            rows.record(1, |_| numbered(&schema, at));
        }
        let mut kept: Vec<i64> = rows.snapshot().iter().map(|row| number(row, &schema)).collect();
        kept.sort_unstable();
        assert!(kept.into_iter().eq(0..100));
        // A share of exp(-offered / (16 × 100)) of the first hundred remains: 2 % after 6,400 more.
        let mut made = 0;
        for at in 100..6500 {
            rows.record(1, |_| {
                made += 1;
                numbered(&schema, at)
            });
        }
        let kept = rows.snapshot();
        assert_eq!(kept.len(), 100);
        let early = kept.iter().filter(|row| number(row, &schema) < 100).count();
        assert!(early <= 12, "{early} of the first rows are left");
        assert!((320..480).contains(&made), "{made} of 6,400 rows were made, near 400 expected");
    }

    #[test]
    fn of_several_rows_each_has_its_chance() {
        let schema = schema(&[("number", FeatureType::Int, Entity::Customer)]);
        let rows = RecentRows::new(1000);
        for _ in 0..1000 {
            rows.record(4, |at| numbered(&schema, at as i64));
        }
        for expected in 0..4 {
            let count = rows.snapshot().iter().filter(|row| number(row, &schema) == expected).count();
            assert!((180..320).contains(&count), "row {expected} was chosen {count} times of 1,000");
        }
        rows.record(0, |_| unreachable!("there is nothing to choose from"));
    }

    #[test]
    fn a_row_is_skipped_instead_of_waiting_for_the_lock() {
        let schema = schema(&[("number", FeatureType::Int, Entity::Customer)]);
        let rows = RecentRows::new(10);
        let held = rows.rows.lock().unwrap();
        rows.record(1, |_| numbered(&schema, 1));
        drop(held);
        assert!(rows.snapshot().is_empty());
    }

    #[test]
    fn a_later_schema_reads_a_row_by_name() {
        let old = schema(&[
            ("age", FeatureType::Int, Entity::Customer),
            ("income_band", FeatureType::String, Entity::Customer),
            ("month", FeatureType::Int, Entity::Context),
            ("fee", FeatureType::Float, Entity::Offer),
        ]);
        let customer = [ValueRef::Int(41), ValueRef::String("high")];
        let row = Row {
            customer: &customer,
            context: &[ValueRef::Missing],
            offer: &[ValueRef::Float(9.0)],
            segment: Some(SegmentRef { id: 3, name: "savers" }),
        };
        let kept = RecentRow::new(&old, &"gold".into(), &row);
        assert_eq!(kept.offer_id(), "gold");
        assert_eq!(kept.under(&old).row().customer, customer);
        // In another order, with one more feature, one of another type, and one that has become a float.
        let new = schema(&[
            ("fee", FeatureType::Float, Entity::Offer),
            ("income_band", FeatureType::Bool, Entity::Customer),
            ("visits", FeatureType::Float, Entity::Customer),
            ("age", FeatureType::Float, Entity::Customer),
            ("month", FeatureType::Int, Entity::Context),
        ]);
        let reread = kept.under(&new);
        let row = reread.row();
        assert_eq!(row.customer, [ValueRef::Missing, ValueRef::Float(0.5), ValueRef::Float(41.0)]);
        assert_eq!((row.context, row.offer), (&[ValueRef::Missing][..], &[ValueRef::Float(9.0)][..]));
        assert_eq!(row.segment, Some(SegmentRef { id: 3, name: "savers" }));
    }
}
