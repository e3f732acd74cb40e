//! What models saw lately: a bounded sample of the customer × offer pairs of recent requests, in memory.
//!
//! The distribution gate scores them with the model that serves and with the one that wants to. A row remembers the schema
//! that it was made under and nothing else of its release, so that a later schema can read it by name and an old release can
//! go. Nothing here ever makes a request wait: where two threads meet, one row is not kept.
//!
//! Start reading at [`RecentRows::record`], then [`RecentRow::under`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Entity, Feature, FeatureSchema, FeatureType, Row, SegmentRef, Value, ValueRef};

/// One in so many is sampled once the reservoir is full: with the default capacity a row is kept for 65,536 offered ones on
/// average, minutes at the rate of a busy server, and the rest cost one addition each.
const THINNING: u64 = 16;

/// Make three chances of one number; offered rows are never that many.
const WHICH_ROW: u64 = 1 << 63;
const WHICH_SLOT: u64 = 1 << 62;

/// A row whose texts are longer, in bytes, is not kept: callers may send long ones, and memory is bounded.
const MOST_TEXT: usize = 4096;

/// A biased reservoir of [`RecentRow`]s: once it is full, each sampled row replaces a random one, so that the chance of a row
/// to be still there falls exponentially with its age. Source: Aggarwal, "On Biased Reservoir Sampling in the Presence of
/// Stream Evolution" (VLDB 2006), algorithm 2.1, with an insertion probability of 1 / 16.
#[derive(Debug)]
pub struct RecentRows {
    capacity: usize,
    /// How many rows were offered; numbers them, which is all the chance that is needed.
    offered: AtomicU64,
    rows: Mutex<Vec<RecentRow>>,
}

/// One customer × offer pair as a model saw it: defaults stand in for what nobody knew. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RecentRow(Arc<Seen>);

#[derive(Debug)]
struct Seen {
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
    /// 4,096 rows: about 4 MB where a row has forty features, and enough for every decile of a distribution.
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

    /// Offers `among` rows, of which one, chosen evenly, may be kept: only then is it made. Never waits; where another thread
    /// is at it, nothing is kept.
    pub fn record(&self, among: usize, make: impl FnOnce(usize) -> RecentRow) {
        if among == 0 || self.capacity == 0 {
            return;
        }
        let offered = self.offered.fetch_add(1, Ordering::Relaxed);
        let filling = offered < self.capacity as u64;
        // By chance and not every sixteenth, which would see one placement only where callers ask for two in turns.
        if !filling && !mix(offered).is_multiple_of(THINNING) {
            return;
        }
        let row = make(below(mix(offered ^ WHICH_ROW), among));
        if row.text_bytes() > MOST_TEXT {
            return;
        }
        let Ok(mut rows) = self.rows.try_lock() else { return };
        let replaced = if rows.len() < self.capacity {
            rows.push(row);
            None
        } else {
            let slot = below(mix(offered ^ WHICH_SLOT), rows.len());
            rows.get_mut(slot).map(|kept| std::mem::replace(kept, row))
        };
        // Freed without the lock.
        drop(rows);
        drop(replaced);
    }

    /// The rows that are kept now, in no order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<RecentRow> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl RecentRow {
    /// Keeps `row`, whose values are in the order of `schema`, with the id of its offer.
    #[must_use]
    pub fn new(schema: &Arc<FeatureSchema>, offer_id: &Arc<str>, row: &Row<'_>) -> Self {
        let owned = |values: &[ValueRef<'_>]| values.iter().map(ValueRef::to_value).collect();
        Self(Arc::new(Seen {
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

    /// The row as `schema` has it: values by name, whole numbers as floats where the schema has come to want that, and the
    /// default of the schema where the row has no value of the type.
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

/// A number that looks like chance, of one that does not. Source: the output function of `SplitMix64`, Steele, Lea and Flood
/// (OOPSLA 2014).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// One of the numbers below `bound`, near enough to evenly for bounds that are far below 2⁶⁴.
fn below(random: u64, bound: usize) -> usize {
    (random % bound as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(features: &[(&str, FeatureType, Entity)]) -> Arc<FeatureSchema> {
        Arc::new(FeatureSchema::from_features(features.iter().map(|(name, feature_type, entity)| Feature {
            name: (*name).to_owned(),
            feature_type: *feature_type,
            entity: *entity,
            default: (*feature_type == FeatureType::Float).then_some(Value::Float(0.5)),
            range: None,
            values: Vec::new(),
            description: String::new(),
        })))
    }

    /// A row whose only value is its number.
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
    fn everything_is_kept_until_it_is_full_and_then_late_rows_displace_early_ones() {
        let schema = schema(&[("number", FeatureType::Int, Entity::Customer)]);
        let rows = RecentRows::new(100);
        for at in 0..100 {
            rows.record(1, |_| numbered(&schema, at));
        }
        let mut kept: Vec<i64> = rows.snapshot().iter().map(|row| number(row, &schema)).collect();
        kept.sort_unstable();
        assert!(kept.into_iter().eq(0..100));
        // Of the first hundred, a share of exp(-offered / (16 × 100)) is left: 2 % after 6,400 more.
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
    fn a_row_is_skipped_where_it_would_have_to_wait() {
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
        // In another order, with a feature more, one of another type, and one that has become a float.
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
