//! Building a set: nodes that are equal become one, and what is the same for every customer is computed here.

use std::collections::HashMap;

use super::evaluate::{Evaluation, Node, RuleMemo};
use super::node::{AnyId, Bits, Choice, Comparison, Fault, Float, Id, Members, Read, Text, Truth, Whole};
use super::{Compiled, OfferSeen, RuleSet, lower};
use crate::feature::Row;
use crate::offer::rule::scope::{Pattern, Source};
use crate::offer::rule::{Rule, RuleError};

/// A row that knows nothing: constants need none.
const NOTHING: Row<'_> = Row { customer: &[], context: &[], offer: &[], segment: None };

/// A set in the making.
pub(in crate::offer) struct RuleSetBuilder {
    set: RuleSet,
    truths: HashMap<Truth, Id<Truth>>,
    wholes: HashMap<Whole, Id<Whole>>,
    floats: HashMap<Float, Id<Float>>,
    texts: HashMap<Text, Id<Text>>,
    members: HashMap<Vec<Id<Truth>>, Members>,
    written: HashMap<Box<str>, u32>,
    /// What the rules are, once for each offer that asks.
    roots: Vec<Id<Truth>>,
}

impl RuleSetBuilder {
    pub(in crate::offer) fn new() -> Self {
        let reasons = [RuleError::DIVISION, RuleError::OVERFLOW, RuleError::UNORDERED];
        let faults = reasons.map(RuleError::calculation).to_vec();
        Self {
            set: RuleSet { faults, ..RuleSet::default() },
            truths: HashMap::new(),
            wholes: HashMap::new(),
            floats: HashMap::new(),
            texts: HashMap::new(),
            members: HashMap::new(),
            written: HashMap::new(),
            roots: Vec::new(),
        }
    }

    /// Compiles a rule that these offers ask. A rule with a part that has no compiled form is left to the interpreter.
    pub(in crate::offer) fn add(&mut self, rule: &mut Rule, offers: &[OfferSeen<'_>]) {
        let roots = self.roots.len();
        let compiled = if rule.reads_offer() {
            let root = |offer: &OfferSeen<'_>| Some((offer.index, lower::rule(self, rule, offer)?));
            offers.iter().map(root).collect::<Option<Vec<_>>>().map(|mut by_offer| {
                by_offer.sort_unstable_by_key(|(offer, _)| *offer);
                self.roots.extend(by_offer.iter().map(|(_, root)| *root));
                Compiled::ByOffer(by_offer.into())
            })
        } else {
            lower::rule(self, rule, &OfferSeen::NONE).map(|root| {
                self.roots.extend(offers.iter().map(|_| root));
                Compiled::Same(root)
            })
        };
        if compiled.is_none() {
            self.roots.truncate(roots);
        }
        rule.compiled = compiled.unwrap_or_default();
    }

    /// The set, in which what several rules need has a cell of the memo.
    pub(in crate::offer) fn finish(mut self) -> RuleSet {
        let mut uses: HashMap<AnyId, usize> = HashMap::new();
        let mut open: Vec<AnyId> = self.roots.iter().copied().map(AnyId::Truth).collect();
        while let Some(id) = open.pop() {
            let count = uses.entry(id).or_default();
            *count += 1;
            if *count > 1 {
                continue;
            }
            let visit = &mut |need| open.push(need);
            match id {
                AnyId::Truth(id) => self.set.truths.get(id).node.each_need(&self.set, visit),
                AnyId::Whole(id) => self.set.wholes.get(id).node.each_need(visit),
                AnyId::Float(id) => self.set.floats.get(id).node.each_need(visit),
                AnyId::Text(id) => self.set.texts.get(id).node.each_need(visit),
            }
        }
        let shared = |id: AnyId| uses.get(&id).is_some_and(|count| *count > 1);
        for id in (0..self.set.truths.len()).map(Id::new).filter(|id| shared(AnyId::Truth(*id))) {
            // What is as quickly computed as found again is not kept.
            if !matches!(self.set.truths.get(id).node, Truth::Known(_) | Truth::Read(_) | Truth::Has(_)) {
                self.set.truths.share(id);
            }
        }
        for id in (0..self.set.wholes.len()).map(Id::new).filter(|id| shared(AnyId::Whole(*id))) {
            if !matches!(self.set.wholes.get(id).node, Whole::Known(_) | Whole::Read(_)) {
                self.set.wholes.share(id);
            }
        }
        for id in (0..self.set.floats.len()).map(Id::new).filter(|id| shared(AnyId::Float(*id))) {
            if !matches!(self.set.floats.get(id).node, Float::Known(_)) {
                self.set.floats.share(id);
            }
        }
        self.set
    }

    pub(super) fn truth(&mut self, node: Truth) -> Id<Truth> {
        let mut needs = Needs::default();
        node.each_need(&self.set, &mut |need| needs.add(self.is_known(need)));
        let node = if needs.are_known() { Truth::Known(self.compute(node)) } else { node };
        self.set.truths.place(&mut self.truths, node)
    }

    pub(super) fn whole(&mut self, node: Whole) -> Id<Whole> {
        let mut needs = Needs::default();
        node.each_need(&mut |need| needs.add(self.is_known(need)));
        let node = if needs.are_known() { Whole::Known(self.compute(node)) } else { node };
        self.set.wholes.place(&mut self.wholes, node)
    }

    pub(super) fn float(&mut self, node: Float) -> Id<Float> {
        let mut needs = Needs::default();
        node.each_need(&mut |need| needs.add(self.is_known(need)));
        let node = if needs.are_known() { Float::Known(self.compute(node).map(Bits::of)) } else { node };
        self.set.floats.place(&mut self.floats, node)
    }

    pub(super) fn text(&mut self, node: Text) -> Id<Text> {
        self.set.texts.place(&mut self.texts, node)
    }

    /// A text that is the same for every customer.
    pub(super) fn written(&mut self, text: &str) -> Id<Text> {
        let next = self.set.written.len() as u32;
        let place = *self.written.entry(text.into()).or_insert(next);
        if place == next {
            self.set.written.push(text.into());
        }
        self.text(Text::Known(Ok(place)))
    }

    /// Whether the text matches the pattern.
    pub(super) fn matches(&mut self, text: Id<Text>, pattern: &Pattern) -> Id<Truth> {
        let patterns = &mut self.set.patterns;
        let place = patterns.iter().position(|known| known == pattern).unwrap_or_else(|| {
            patterns.push(pattern.clone());
            patterns.len() - 1
        });
        self.truth(Truth::Matches(text, place as u32))
    }

    /// The value of a variable.
    pub(super) fn read(&mut self, source: Source, name: &str) -> Read {
        Read { source, missing: self.missing(name) }
    }

    /// The error of a variable without a value.
    pub(super) fn missing(&mut self, name: &str) -> Fault {
        let faults = &mut self.set.faults;
        let is_it = |known: &RuleError| matches!(known, RuleError::Missing { feature } if **feature == *name);
        let place = faults.iter().position(is_it).unwrap_or_else(|| {
            faults.push(RuleError::Missing { feature: name.into() });
            faults.len() - 1
        });
        Fault(place as u32)
    }

    pub(super) fn not(&mut self, inner: Id<Truth>) -> Id<Truth> {
        self.truth(Truth::Not(inner))
    }

    /// `&&` (`decisive` is false) or `||` (it is true). Members that are connected alike are taken apart: brackets do not
    /// change what all come to.
    pub(super) fn connect(&mut self, decisive: bool, members: &[Id<Truth>]) -> Id<Truth> {
        let mut flat = Vec::with_capacity(members.len());
        for member in members {
            let node = self.set.truths.get(*member).node;
            if let Truth::Known(Ok(value)) = node {
                if value == decisive {
                    return *member;
                }
            } else if let Truth::All(inner) = node
                && !decisive
            {
                flat.extend_from_slice(self.set.members(inner));
            } else if let Truth::Any(inner) = node
                && decisive
            {
                flat.extend_from_slice(self.set.members(inner));
            } else {
                flat.push(*member);
            }
        }
        match *flat {
            [] => self.truth(Truth::Known(Ok(!decisive))),
            [only] => only,
            _ => {
                let members = self.members(flat);
                self.truth(if decisive { Truth::Any(members) } else { Truth::All(members) })
            }
        }
    }

    fn members(&mut self, members: Vec<Id<Truth>>) -> Members {
        let all = &mut self.set.members;
        *self.members.entry(members).or_insert_with_key(|members| {
            let start = all.len() as u32;
            all.extend_from_slice(members);
            Members { start, count: members.len() as u32 }
        })
    }

    /// A choice, or what it comes to where the condition is the same for every customer.
    pub(super) fn choice<N>(
        &mut self,
        choice: Choice<N>,
        open: fn(Choice<N>) -> N,
        failed: fn(Fault) -> N,
        place: fn(&mut Self, N) -> Id<N>,
    ) -> Id<N> {
        let Truth::Known(condition) = self.set.truths.get(choice.condition).node else {
            return place(self, open(choice));
        };
        match condition {
            Ok(true) => choice.yes,
            Ok(false) => choice.no,
            Err(fault) => place(self, failed(fault)),
        }
    }

    pub(super) fn compare_wholes(
        &mut self,
        comparison: Comparison,
        left: Id<Whole>,
        right: Id<Whole>,
    ) -> Id<Truth> {
        let node = match (self.set.wholes.get(left).node, self.set.wholes.get(right).node) {
            (Whole::Read(read), Whole::Known(Ok(number))) => Truth::WholeAgainst(comparison, read, number),
            (Whole::Known(Ok(number)), Whole::Read(read)) => {
                Truth::WholeAgainst(comparison.exchanged(), read, number)
            }
            _ => Truth::Wholes(comparison, left, right),
        };
        self.truth(node)
    }

    pub(super) fn compare_floats(
        &mut self,
        comparison: Comparison,
        left: Id<Float>,
        right: Id<Float>,
    ) -> Id<Truth> {
        let against = |comparison: Comparison, read, bits: Bits| {
            let (comparison, nearest) = comparison.of_feature(bits.value().as_exact()?);
            Some(Truth::FloatAgainst(comparison, read, nearest))
        };
        let node = match (self.set.floats.get(left).node, self.set.floats.get(right).node) {
            (Float::Read(read), Float::Known(Ok(number))) => against(comparison, read, number),
            (Float::Known(Ok(number)), Float::Read(read)) => against(comparison.exchanged(), read, number),
            _ => None,
        };
        self.truth(node.unwrap_or(Truth::Floats(comparison, left, right)))
    }

    /// Whether the node is a value, not an error, that is the same for every customer.
    pub(super) fn is_value(&self, id: AnyId) -> bool {
        match id {
            AnyId::Truth(id) => matches!(self.set.truths.get(id).node, Truth::Known(Ok(_))),
            AnyId::Whole(id) => matches!(self.set.wholes.get(id).node, Whole::Known(Ok(_))),
            AnyId::Float(id) => matches!(self.set.floats.get(id).node, Float::Known(Ok(_))),
            AnyId::Text(id) => matches!(self.set.texts.get(id).node, Text::Known(Ok(_))),
        }
    }

    fn is_known(&self, id: AnyId) -> bool {
        match id {
            AnyId::Truth(id) => matches!(self.set.truths.get(id).node, Truth::Known(_)),
            AnyId::Whole(id) => matches!(self.set.wholes.get(id).node, Whole::Known(_)),
            AnyId::Float(id) => matches!(self.set.floats.get(id).node, Float::Known(_)),
            AnyId::Text(id) => matches!(self.set.texts.get(id).node, Text::Known(_)),
        }
    }

    fn compute<N: Node>(&self, node: N) -> Result<N::Value, Fault> {
        node.compute(&Evaluation { set: &self.set, memo: &RuleMemo::default(), row: &NOTHING })
    }
}

/// Whether there are needs, and all of them are known.
#[derive(Default)]
struct Needs {
    known: usize,
    unknown: usize,
}

impl Needs {
    fn add(&mut self, is_known: bool) {
        *(if is_known { &mut self.known } else { &mut self.unknown }) += 1;
    }

    fn are_known(&self) -> bool {
        self.known > 0 && self.unknown == 0
    }
}
