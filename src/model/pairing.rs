//! One customer with many offers: what the offers do to a model's trees or sums is kept with the release, what the customer does is found
//! once, and a pair costs what only the two of them together decide.
//!
//! The scores are those of the same rows scored one by one, bit for bit. Start reading at [`Model::score_pairs`].

use std::cell::RefCell;
use std::time::Instant;

use super::inputs::{Element, Plan};
use super::matrix::InputError;
use super::trees::{CustomerVectors, Factorised, OfferVectors, Scratch, Side, TreeModel};
use super::{Engine, Layout, Model, ModelError};
use crate::feature::{Row, ValueRef};

thread_local! {
    /// Room that scoring needs, kept by each worker.
    static ROOM: RefCell<Room> = RefCell::default();
}

#[derive(Debug, Default)]
struct Room {
    row: Vec<f64>,
    customer: CustomerVectors,
    whole: Vec<usize>,
    scores: Vec<f32>,
    scratch: Scratch,
}

/// The offers of a release, made ready for one model.
#[derive(Debug)]
pub struct Pairing {
    factorised: Factorised,
    offers: OfferVectors,
    /// For each offer, the first of the model's inputs that it lacks.
    lacking: Vec<Option<Lacking>>,
}

/// An input without a value, by its position.
type Lacking = (usize, InputError);

impl Pairing {
    /// Bytes on the heap, the model's own not counted.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.factorised.memory_bytes() + self.offers.memory_bytes()
    }
}

impl Model {
    /// `offers` made ready: the values of each, in the order of the schema. `None` where the model has no row per pair, or is not served by
    /// the native engine; its rows are then scored one by one.
    #[must_use]
    pub fn pairing(&self, offers: &[Vec<ValueRef<'_>>]) -> Option<Pairing> {
        if self.manifest().layout != Some(Layout::Pairwise) {
            return None;
        }
        let Some(Engine::Native(trees)) = self.engines().next() else { return None };
        let sides: Vec<Side> = self.plan().sides().collect();
        let factorised = trees.split(&sides)?;
        let mut rows = Vec::with_capacity(offers.len() * sides.len());
        let mut row = Vec::new();
        let mut lacking = Vec::with_capacity(offers.len());
        for offer in offers {
            let known = Row { customer: &[], context: &[], offer, segment: None };
            lacking.push(fill(self.plan(), trees, &known, Side::Offer, &mut row));
            rows.extend_from_slice(&row);
        }
        let offers = factorised.offers(&rows);
        Some(Pairing { factorised, offers, lacking })
    }

    /// Tells `each` the raw score of the customer in `row` with each of `offers` (positions among those of `pairing`), in order, or which
    /// value is missing. What `row` has of an offer is not looked at. Cost: the customer once, then a few operations per tree and pair.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a pairing of another model, or an offer that it does not have; `each` has then been told nothing.
    pub fn score_pairs(
        &self,
        pairing: &Pairing,
        row: &Row<'_>,
        offers: &[usize],
        mut each: impl FnMut(Result<f32, InputError>),
    ) -> Result<(), ModelError> {
        let began = Instant::now();
        let refuse = |message: String| ModelError::Input { name: self.name().to_owned(), message };
        if let Some(offer) = offers.iter().find(|offer| **offer >= pairing.lacking.len()) {
            return Err(refuse(format!("there is no offer {offer} among {}", pairing.lacking.len())));
        }
        ROOM.with_borrow_mut(|room| {
            let Room { row: values, customer, whole, scores, scratch } = room;
            let lacks = fill(self.plan(), pairing.factorised.model(), row, Side::Customer, values);
            whole.clear();
            if lacks.is_none() {
                whole.extend(offers.iter().copied().filter(|offer| pairing.lacking[*offer].is_none()));
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
                // Of two that are missing, the one that comes first among the inputs.
                let first = match (&lacks, &pairing.lacking[*offer]) {
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

/// Fills `into` with the values of one side, NaN in the places of the other; returns the first that is missing where the model needs one.
fn fill(plan: &Plan, trees: &TreeModel, row: &Row<'_>, wanted: Side, into: &mut Vec<f64>) -> Option<Lacking> {
    into.clear();
    let mut lacking = None;
    for tensor in &plan.tensors {
        for input in &tensor.columns {
            if input.source.side() != wanted {
                into.push(f64::NAN);
                continue;
            }
            let value = input.source.value(row);
            let number = match (tensor.element, value) {
                (Element::String, ValueRef::String(text)) => Ok(trees.text(into.len(), text)),
                _ => input.number(tensor.element, value, plan.accepts_missing),
            };
            into.push(number.unwrap_or_else(|error| {
                lacking.get_or_insert((into.len(), error));
                f64::NAN
            }));
        }
    }
    lacking
}

#[cfg(test)]
mod tests;
