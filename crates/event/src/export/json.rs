//! A JSON object per event: the flat columns, and what records hold beside them below `record`.
//!
//! A number that JSON does not have is the text `NaN`, `Infinity` or `-Infinity`, as protobuf writes it. Bytes are
//! lists of numbers where each is an enum, else hexadecimal.

use std::io;

use chrono::{DateTime, SecondsFormat};
use serde::{Serialize, Serializer};

use super::names::{FeatureKind, FeatureName, Names, NamesOfRelease};
use crate::columns::{Entry, POSITION, RECORD, RECORDED_AT, Shown};
use crate::export::time;
use crate::proto::{
    Candidates, DecisionRecord, EncryptedValues, FeatureSource, FeatureValues, RecordedAssignment,
    RecordedFactors, RecordedModel, RecordedOffer, RecordedRefusal, RecordedReservation, RecordedTerms,
    SeenHistory, SeenKind, ShadowRecord,
};
use crate::seen::{FullLimit, NamedKind, Seen, SeenEvent, SeenName};

/// Writes the line of an event. `names` gives those of a release.
pub(crate) fn line(entry: Entry, names: &mut NamesOfRelease<'_>, line: &mut Vec<u8>) -> io::Result<()> {
    let Entry { position, recorded_at, mut record } = entry;
    let mut object = Object { line, opens: b'{' };
    object.member(POSITION, &position)?;
    object.member(RECORDED_AT, &Time(recorded_at))?;
    let mut written = Ok(());
    record.recorded_mut().show(&mut |name, shown| {
        if written.is_ok() {
            written = object.cell(name, shown);
        }
    });
    written?;
    object.name(RECORD)?;
    record.recorded().write_rest(names, object.line)?;
    object.line.extend(b"}\n");
    Ok(())
}

/// A JSON object that is being written.
struct Object<'l> {
    line: &'l mut Vec<u8>,
    /// What stands before the next member.
    opens: u8,
}

impl Object<'_> {
    fn name(&mut self, name: &str) -> io::Result<()> {
        self.line.push(self.opens);
        self.opens = b',';
        serde_json::to_writer(&mut *self.line, name)?;
        self.line.push(b':');
        Ok(())
    }

    fn member(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
        self.name(name)?;
        Ok(serde_json::to_writer(&mut *self.line, value)?)
    }

    fn cell(&mut self, name: &str, shown: Shown<'_>) -> io::Result<()> {
        match shown {
            Shown::Missing => self.member(name, &()),
            Shown::Time(micros) => self.member(name, &Time(micros)),
            Shown::Whole(number) => self.member(name, &number),
            Shown::Count(number) => self.member(name, &number),
            Shown::Number(number) => self.member(name, &Double(number)),
            Shown::Truth(truth) => self.member(name, &truth),
            Shown::Text(text) => self.member(name, text),
            Shown::Texts(texts) => self.member(name, &texts),
            Shown::Numbers(numbers) => {
                let numbers: Vec<Option<Double>> =
                    numbers.into_iter().map(|number| number.map(Double)).collect();
                self.member(name, &numbers)
            }
            Shown::Counts(counts) => self.member(name, &counts),
            Shown::Pairs(pairs) => self.member(name, pairs),
        }
    }
}

/// What the flat columns of a decision lack.
#[derive(Serialize)]
struct Rest<'r> {
    format: u32,
    consents: &'r [String],
    candidate_offer_ids: &'r [String],
    exclude_offer_ids: &'r [String],
    asked_release: u64,
    as_of: Option<Stamp>,
    ignored: &'r [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    default_channel: &'r str,
    customer: Option<Values<'r>>,
    context: Option<Values<'r>>,
    segment: Option<Segment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<History<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    assignments: Vec<Arm<'r>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    held_out: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    newcomers: Vec<Newcomer<'r>>,
    candidates: Option<Withheld<'r>>,
    offers: Vec<Offer<'r>>,
    error_field: Option<&'r str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refusals: Vec<Refusal<'r>>,
}

/// Writes what the flat columns of a decision lack, with the names of its release.
pub(crate) fn decision_rest(
    record: &DecisionRecord,
    names: Option<&dyn Names>,
    line: &mut Vec<u8>,
) -> io::Result<()> {
    Ok(serde_json::to_writer(line, &rest(record, names))?)
}

/// Writes what the flat columns of a comparison with a shadow lack.
pub(crate) fn shadow_rest(record: &ShadowRecord, line: &mut Vec<u8>) -> io::Result<()> {
    let model = |model: &RecordedModel| serde_json::json!({ "name": model.name, "version": model.version });
    let models = |models: &[RecordedModel]| models.iter().map(model).collect::<Vec<_>>();
    let rest = serde_json::json!({
        "format": record.format,
        "champion_models": models(&record.champion_models),
        "shadow_models": models(&record.shadow_models),
    });
    Ok(serde_json::to_writer(line, &rest)?)
}

fn rest<'r>(record: &'r DecisionRecord, names: Option<&'r dyn Names>) -> Rest<'r> {
    Rest {
        format: record.format,
        consents: &record.consents,
        candidate_offer_ids: &record.candidate_offer_ids,
        exclude_offer_ids: &record.exclude_offer_ids,
        asked_release: record.asked_release,
        as_of: record.as_of.map(|time| Stamp(time.seconds, time.nanos)),
        ignored: &record.ignored,
        default_channel: &record.default_channel,
        customer: record.customer.as_ref().map(|found| values(found, names.map(Names::customer_features))),
        context: record.context.as_ref().map(|found| values(found, names.map(Names::context_features))),
        segment: record
            .segment
            .as_ref()
            .map(|segment| Segment { distance: Double(segment.distance), margin: Double(segment.margin) }),
        history: record.history.as_ref().map(|seen| History::new(seen, record.decided_at)),
        assignments: record.assignments.iter().map(Arm::new).collect(),
        held_out: record.held_out,
        newcomers: record
            .newcomers
            .iter()
            .map(|one| Newcomer { offer_id: &one.offer_id, impressions: one.impressions })
            .collect(),
        candidates: record.candidates.as_ref().map(|found| withheld(found, record, names)),
        offers: record.offers.iter().map(Offer::new).collect(),
        error_field: record.error.as_ref().map(|error| &*error.field),
        refusals: record.refusals.iter().map(Refusal::new).collect(),
    }
}

#[derive(Serialize)]
struct Segment {
    distance: Double,
    margin: Double,
}

/// The customer's variant of an experiment, as it is recorded.
#[derive(Serialize)]
struct Arm<'r> {
    experiment: &'r str,
    variant: &'r str,
    how: u32,
    /// Sixteen hexadecimal digits: JSON readers keep 53 bits of a number.
    phase: String,
}

impl<'r> Arm<'r> {
    fn new(assignment: &'r RecordedAssignment) -> Self {
        let RecordedAssignment { experiment, variant, how, phase } = assignment;
        Self { experiment, variant, how: *how, phase: format!("{phase:016x}") }
    }
}

#[derive(Serialize)]
struct Newcomer<'r> {
    offer_id: &'r str,
    impressions: u64,
}

#[derive(Serialize)]
struct Offer<'r> {
    fallback: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    conditional: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mandatory: bool,
    factors: Option<Factors<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cap_total: Option<Reservation<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Reservation<'r>>,
}

#[derive(Serialize)]
struct Terms {
    cost: Double,
    value: Double,
}

#[derive(Serialize)]
struct Reservation<'r> {
    outcome: &'r str,
    lapses_in: u64,
}

/// As it is recorded.
#[derive(Serialize)]
struct Refusal<'r> {
    round: u32,
    fallback: bool,
    offer_id: &'r str,
    reason: u32,
    limit: &'r str,
    frees_in: i64,
}

impl<'r> Refusal<'r> {
    fn new(refusal: &'r RecordedRefusal) -> Self {
        let RecordedRefusal { round, fallback, offer_id, reason, limit, frees_in } = refusal;
        let (round, fallback, reason, frees_in) = (*round, *fallback, *reason, *frees_in);
        Self { round, fallback, offer_id, reason, limit, frees_in }
    }
}

#[derive(Serialize)]
struct Factors<'r> {
    score: Double,
    context_weight: Double,
    value: Double,
    lever: Double,
    cost: Double,
    margin: Double,
    model: &'r str,
    model_version: u64,
}

impl<'r> Offer<'r> {
    fn new(offer: &'r RecordedOffer) -> Self {
        let factors = |factors: &'r RecordedFactors| Factors {
            score: Double(factors.score),
            context_weight: Double(factors.context_weight),
            value: Double(factors.value),
            lever: Double(factors.lever),
            cost: Double(factors.cost),
            margin: Double(factors.margin),
            model: &factors.model,
            model_version: factors.model_version,
        };
        let terms = |terms: RecordedTerms| Terms { cost: Double(terms.cost), value: Double(terms.value) };
        let reservation = |reserved: &'r RecordedReservation| Reservation {
            outcome: &reserved.outcome,
            lapses_in: reserved.lapses_in,
        };
        Self {
            fallback: offer.fallback,
            conditional: offer.conditional,
            mandatory: offer.mandatory,
            factors: offer.factors.as_ref().map(factors),
            terms: offer.terms.map(terms),
            cap_total: offer.cap_total.as_ref().map(reservation),
            budget: offer.budget.as_ref().map(reservation),
        }
    }
}

/// What limits looked at: with its names, or else as it is recorded.
#[derive(Serialize)]
#[serde(untagged)]
enum History<'r> {
    Named {
        opted_out: bool,
        events: Vec<Event<'r>>,
        full: Vec<Full<'r>>,
    },
    Bare {
        opted_out: bool,
        names: &'r [String],
        kinds: Vec<[u32; 5]>,
        events: &'r [u32],
        times: &'r [i64],
        full: &'r [u32],
        frees_in: &'r [u64],
    },
}

#[derive(Serialize)]
struct Event<'r> {
    at: Time,
    r#type: Option<&'r str>,
    offer: Option<&'r str>,
    placement: Option<&'r str>,
    channel: Option<&'r str>,
    same_decision: bool,
    many: bool,
}

#[derive(Serialize)]
struct Full<'r> {
    offer: Option<&'r str>,
    limit: &'static str,
    frees_at: Option<Time>,
}

impl<'r> History<'r> {
    fn new(seen: &'r SeenHistory, decided_at: i64) -> Self {
        let Ok(Seen { kinds, events, full }) = seen.unpacked(decided_at) else { return Self::bare(seen) };
        let name = |name: SeenName<'r>| (name != SeenName::Nothing).then(|| name.text());
        let time = |millis: i64| Time(millis.saturating_mul(1_000));
        let event = |SeenEvent { at, kind, same_decision }: SeenEvent| {
            let NamedKind { offer, placement, channel, event_type, many } = kinds[kind];
            Event {
                at: time(at),
                r#type: name(event_type),
                offer: name(offer),
                placement: name(placement),
                channel: name(channel),
                same_decision,
                many,
            }
        };
        let full_limit = |FullLimit { offer, is_budget, frees_at }: FullLimit<'r>| Full {
            offer: name(offer),
            limit: if is_budget { "budget" } else { "cap_total" },
            frees_at: frees_at.map(time),
        };
        Self::Named {
            opted_out: seen.opted_out,
            events: events.into_iter().map(event).collect(),
            full: full.into_iter().map(full_limit).collect(),
        }
    }

    fn bare(seen: &'r SeenHistory) -> Self {
        let SeenHistory { opted_out, names, kinds, events, times, full, frees_in } = seen;
        let kind =
            |kind: &SeenKind| [kind.offer, kind.placement, kind.channel, kind.r#type, u32::from(kind.many)];
        let (opted_out, kinds) = (*opted_out, kinds.iter().map(kind).collect());
        Self::Bare { opted_out, names, kinds, events, times, full, frees_in }
    }
}

/// Candidates by position, and their ids where they are known.
#[derive(Serialize)]
struct Withheld<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    offer_ids: Option<Vec<String>>,
    stages: &'r [u8],
    reasons: &'r [u8],
    raw_scores: Vec<Single>,
    unscored: &'r [String],
}

fn withheld<'r>(found: &'r Candidates, record: &DecisionRecord, names: Option<&dyn Names>) -> Withheld<'r> {
    let ids = names.and_then(|names| names.candidates(record));
    Withheld {
        // Others would be of another set.
        offer_ids: ids.filter(|ids| ids.len() == found.stages.len()),
        stages: &found.stages,
        reasons: &found.reasons,
        raw_scores: found.raw_scores.iter().copied().map(Single).collect(),
        unscored: &found.unscored,
    }
}

/// The values of features: by name, or else as they are recorded.
#[derive(Serialize)]
struct Values<'r> {
    #[serde(flatten)]
    values: Shape<'r>,
    encrypted: Option<Encrypted<'r>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shape<'r> {
    Named { features: Vec<Named<'r>> },
    Bare { sources: &'r [u8], floats: Vec<Single>, ints: &'r [i64], bools: &'r [u8], strings: &'r [String] },
}

#[derive(Serialize)]
struct Named<'r> {
    name: &'r str,
    source: &'static str,
    value: Option<Value<'r>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Value<'r> {
    Float(Single),
    Int(i64),
    Bool(bool),
    String(&'r str),
}

#[derive(Serialize)]
struct Encrypted<'r> {
    key: &'r str,
    nonce: String,
    ciphertext: String,
}

fn values<'r>(found: &'r FeatureValues, names: Option<&'r [FeatureName]>) -> Values<'r> {
    let named = names.and_then(|names| named(found, names));
    let bare = || Shape::Bare {
        sources: &found.sources,
        floats: found.floats.iter().copied().map(Single).collect(),
        ints: &found.ints,
        bools: &found.bools,
        strings: &found.strings,
    };
    let encrypted = |found: &'r EncryptedValues| Encrypted {
        key: &found.key,
        nonce: hexadecimal(&found.nonce),
        ciphertext: hexadecimal(&found.ciphertext),
    };
    Values {
        values: named.map_or_else(bare, |features| Shape::Named { features }),
        encrypted: found.encrypted.as_ref().map(encrypted),
    }
}

/// Values by name; `None` if they do not fit the names.
fn named<'r>(found: &'r FeatureValues, names: &'r [FeatureName]) -> Option<Vec<Named<'r>>> {
    if names.len() != found.sources.len() {
        return None;
    }
    let (mut floats, mut ints) = (found.floats.iter(), found.ints.iter());
    let (mut bools, mut strings) = (found.bools.iter(), found.strings.iter());
    let mut features = Vec::with_capacity(names.len());
    for (feature, source) in names.iter().zip(&found.sources) {
        let source = FeatureSource::try_from(i32::from(*source)).ok()?;
        let is_listed = matches!(source, FeatureSource::Request | FeatureSource::Store)
            && !(feature.sensitive && found.encrypted.is_some());
        let value = match feature.kind {
            _ if !is_listed => None,
            FeatureKind::Float => Some(Value::Float(Single(*floats.next()?))),
            FeatureKind::Int => Some(Value::Int(*ints.next()?)),
            FeatureKind::Bool => Some(Value::Bool(*bools.next()? != 0)),
            FeatureKind::String => Some(Value::String(strings.next()?)),
        };
        features.push(Named { name: &feature.name, source: source.word(), value });
    }
    let is_rest = floats.len() + ints.len() + bools.len() + strings.len() > 0;
    (!is_rest).then_some(features)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    })
}

/// A time in microseconds since 1970: a text, or the number if no calendar has it.
struct Time(i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match time(self.0) {
            Some(text) => serializer.serialize_str(&text),
            None => serializer.serialize_i64(self.0),
        }
    }
}

/// Seconds since 1970, and nanoseconds: a text, or both if no calendar has them.
struct Stamp(i64, i32);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nanos = u32::try_from(self.1).ok().filter(|nanos| *nanos < 1_000_000_000);
        match nanos.and_then(|nanos| DateTime::from_timestamp(self.0, nanos)) {
            Some(time) => serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Nanos, true)),
            None => (self.0, self.1).serialize(serializer),
        }
    }
}

struct Double(f64);

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match text(self.0) {
            None => serializer.serialize_f64(self.0),
            Some(text) => serializer.serialize_str(text),
        }
    }
}

/// Written with as many digits as 32 bits have.
struct Single(f32);

impl Serialize for Single {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match text(self.0.into()) {
            None => serializer.serialize_f32(self.0),
            Some(text) => serializer.serialize_str(text),
        }
    }
}

/// A number that JSON does not have.
fn text(number: f64) -> Option<&'static str> {
    if number.is_finite() {
        return None;
    }
    Some(match number {
        number if number.is_nan() => "NaN",
        number if number > 0.0 => "Infinity",
        _ => "-Infinity",
    })
}
