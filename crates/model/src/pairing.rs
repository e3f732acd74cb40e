//! One customer with many offers. The offers' part of the trees or layers is kept with the release, and the customer's
//! part is computed once. A pair then costs only what depends on both.
//!
//! The scores are bit-identical to scoring the same rows one by one. Start reading at [`Model::score_pairs`].

use std::cell::RefCell;
use std::time::Instant;

use super::inputs::{Element, Plan};
use super::matrix::InputError;
use super::{Engine, Layout, Model, ModelError};
use feature::{Row, ValueRef};
use native::{CustomerVectors, Factorised, NativeModel, OfferVectors, Scratch, Side};

thread_local! {
    /// Scratch memory for scoring pairs, one per thread.
    static SCRATCH: RefCell<PairScratch> = RefCell::default();
}

#[derive(Debug, Default)]
struct PairScratch {
    row: Vec<f64>,
    customer: CustomerVectors,
    whole: Vec<usize>,
    scores: Vec<f32>,
    scratch: Scratch,
}

/// The offers of a release, prepared for one model.
#[derive(Debug)]
pub struct Pairing {
    factorised: Factorised,
    offers: OfferVectors,
    /// For each offer, the first missing input of the model.
    missing: Vec<Option<MissingInput>>,
}

/// The position of an input without a value, and the error.
type MissingInput = (usize, InputError);

impl Pairing {
    /// Bytes on the heap, without the model's own.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.factorised.memory_bytes() + self.offers.memory_bytes()
    }
}

impl Model {
    /// Prepares `offers`, given as values in the order of the schema. `None` where the model is not pairwise or not
    /// served natively; its rows are then scored one by one.
    #[must_use]
    pub fn pairing(&self, offers: &[Vec<ValueRef<'_>>]) -> Option<Pairing> {
        if self.manifest().layout != Some(Layout::Pairwise) {
            return None;
        }
        let Some(Engine::Native(engine)) = self.engines().next() else { return None };
        let sides: Vec<Side> = self.plan().sides().collect();
        let factorised = engine.split(&sides)?;
        let mut rows = Vec::with_capacity(offers.len() * sides.len());
        let mut row = Vec::new();
        let mut missing = Vec::with_capacity(offers.len());
        for offer in offers {
            let known = Row { customer: &[], context: &[], offer, segment: None };
            missing.push(fill(self.plan(), engine, &known, Side::Offer, &mut row));
            rows.extend_from_slice(&row);
        }
        let offers = factorised.offers(&rows);
        Some(Pairing { factorised, offers, missing })
    }

    /// Passes to `each` the raw score of the customer in `row` with each of `offers`, in order, or the missing value.
    /// `offers` are positions in `pairing`. Offer values in `row` are ignored. Costs one evaluation of the customer,
    /// then a few operations per tree and pair.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a pairing of another model or an unknown offer. `each` was then not called.
    pub fn score_pairs(
        &self,
        pairing: &Pairing,
        row: &Row<'_>,
        offers: &[usize],
        mut each: impl FnMut(Result<f32, InputError>),
    ) -> Result<(), ModelError> {
        let began = Instant::now();
        let refuse = |message: String| ModelError::Input { name: self.name().to_owned(), message };
        if let Some(offer) = offers.iter().find(|offer| **offer >= pairing.missing.len()) {
            return Err(refuse(format!("there is no offer {offer} among {}", pairing.missing.len())));
        }
        SCRATCH.with_borrow_mut(|pair_scratch| {
            let PairScratch { row: values, customer, whole, scores, scratch } = pair_scratch;
            let lacks = fill(self.plan(), pairing.factorised.model(), row, Side::Customer, values);
            whole.clear();
            if lacks.is_none() {
                whole.extend(offers.iter().copied().filter(|offer| pairing.missing[*offer].is_none()));
                pairing.factorised.customer(values, customer);
            }
            scores.clear();
            scores.resize(whole.len(), f32::NAN);
            if !whole.is_empty() {
                let (none, offers): (&[f64], _) = (&[], &pairing.offers);
                let scored = pairing.factorised.score_pairs(customer, offers, whole, none, scratch, scores);
                scored.map_err(|misfit| refuse(misfit.to_string()))?;
            }
            let mut scores = scores.iter();
            for offer in offers {
                // If both miss a value, report the one that comes first among the inputs.
                let first = match (&lacks, &pairing.missing[*offer]) {
                    (Some(customer), Some(offer)) => {
                        Some(if customer.0 < offer.0 { customer } else { offer })
                    }
                    (customer, offer) => customer.as_ref().or(offer.as_ref()),
                };
                each(match first {
                    Some((_, error)) => Err(error.clone()),
                    None => Ok(scores.next().copied().unwrap_or(f32::NAN)),
                });
            }
            Ok::<(), ModelError>(())
        })?;
        self.cost().record(offers.len(), began.elapsed());
        Ok(())
    }
}

/// Fills `into` with the values of one side, and NaN for the other. Returns the first missing value that the model
/// requires.
fn fill(
    plan: &Plan,
    engine: &NativeModel,
    row: &Row<'_>,
    wanted: Side,
    into: &mut Vec<f64>,
) -> Option<MissingInput> {
    into.clear();
    let mut missing = None;
    for tensor in &plan.tensors {
        for input in &tensor.columns {
            if input.source.side() != wanted {
                into.push(f64::NAN);
                continue;
            }
            let value = input.source.value(row);
            let number = match (tensor.element, value) {
                (Element::String, ValueRef::String(text)) => Ok(engine.text(into.len(), text)),
                _ => input.number(tensor.element, value, plan.accepts_missing),
            };
            into.push(number.unwrap_or_else(|error| {
                missing.get_or_insert((into.len(), error));
                f64::NAN
            }));
        }
    }
    missing
}

#[cfg(test)]
mod tests;
