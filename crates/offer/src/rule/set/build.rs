//! Builds a set: merges equal nodes and folds constants.

use std::collections::HashMap;

use super::evaluate::{Evaluation, Node, RuleMemo};
use super::node::{AnyId, Bits, Bool, Choice, Comparison, Fault, Float, Id, Int, Members, Read, Text};
use super::{Compiled, OfferView, RuleSet, lower};
use crate::rule::scope::{Pattern, Source};
use crate::rule::{Rule, RuleError};
use feature::Row;

/// An empty row: constants read nothing.
const NOTHING: Row<'_> = Row { customer: &[], context: &[], offer: &[], segment: None };

/// A set under construction.
pub(crate) struct RuleSetBuilder {
    set: RuleSet,
    bools: HashMap<Bool, Id<Bool>>,
    ints: HashMap<Int, Id<Int>>,
    floats: HashMap<Float, Id<Float>>,
    texts: HashMap<Text, Id<Text>>,
    members: HashMap<Vec<Id<Bool>>, Members>,
    written: HashMap<Box<str>, u32>,
    /// The root nodes of the rules, once per offer that has the rule.
    roots: Vec<Id<Bool>>,
}

impl RuleSetBuilder {
    pub(crate) fn new() -> Self {
        let reasons = [RuleError::DIVISION, RuleError::OVERFLOW, RuleError::UNORDERED];
        let faults = reasons.map(RuleError::calculation).to_vec();
        Self {
            set: RuleSet { faults, ..RuleSet::default() },
            bools: HashMap::new(),
            ints: HashMap::new(),
            floats: HashMap::new(),
            texts: HashMap::new(),
            members: HashMap::new(),
            written: HashMap::new(),
            roots: Vec::new(),
        }
    }

    /// Compiles a rule for the offers that have it. A rule with a part that has no compiled form is left to the
    /// interpreter.
    pub(crate) fn add(&mut self, rule: &mut Rule, offers: &[OfferView<'_>]) {
        let roots = self.roots.len();
        let compiled = if rule.reads_offer() {
            let root = |offer: &OfferView<'_>| Some((offer.index, lower::rule(self, rule, offer)?));
            offers.iter().map(root).collect::<Option<Vec<_>>>().map(|mut by_offer| {
                by_offer.sort_unstable_by_key(|(offer, _)| *offer);
                self.roots.extend(by_offer.iter().map(|(_, root)| *root));
                Compiled::ByOffer(by_offer.into())
            })
        } else {
            lower::rule(self, rule, &OfferView::NONE).map(|root| {
                self.roots.extend(offers.iter().map(|_| root));
                Compiled::Same(root)
            })
        };
        if compiled.is_none() {
            self.roots.truncate(roots);
        }
        rule.compiled = compiled.unwrap_or_default();
    }

    /// Finishes the set. Nodes that several rules need get a memo cell.
    pub(crate) fn finish(mut self) -> RuleSet {
        let mut uses: HashMap<AnyId, usize> = HashMap::new();
        let mut open: Vec<AnyId> = self.roots.iter().copied().map(AnyId::Bool).collect();
        while let Some(id) = open.pop() {
            let count = uses.entry(id).or_default();
            *count += 1;
            if *count > 1 {
                continue;
            }
            let visit = &mut |need| open.push(need);
            match id {
                AnyId::Bool(id) => self.set.bools.get(id).node.each_need(&self.set, visit),
                AnyId::Int(id) => self.set.ints.get(id).node.each_need(visit),
                AnyId::Float(id) => self.set.floats.get(id).node.each_need(visit),
                AnyId::Text(id) => self.set.texts.get(id).node.each_need(visit),
            }
        }
        let shared = |id: AnyId| uses.get(&id).is_some_and(|count| *count > 1);
        for id in (0..self.set.bools.len()).map(Id::new).filter(|id| shared(AnyId::Bool(*id))) {
            // A value that is as fast to compute as to look up gets no cell.
            if !matches!(self.set.bools.get(id).node, Bool::Known(_) | Bool::Read(_) | Bool::Has(_)) {
                self.set.bools.share(id);
            }
        }
        for id in (0..self.set.ints.len()).map(Id::new).filter(|id| shared(AnyId::Int(*id))) {
            if !matches!(self.set.ints.get(id).node, Int::Known(_) | Int::Read(_)) {
                self.set.ints.share(id);
            }
        }
        for id in (0..self.set.floats.len()).map(Id::new).filter(|id| shared(AnyId::Float(*id))) {
            if !matches!(self.set.floats.get(id).node, Float::Known(_)) {
                self.set.floats.share(id);
            }
        }
        self.set
    }

    pub(super) fn bool_node(&mut self, node: Bool) -> Id<Bool> {
        let mut needs = Needs::default();
        node.each_need(&self.set, &mut |need| needs.add(self.is_known(need)));
        let node = if needs.are_known() { Bool::Known(self.compute(node)) } else { node };
        self.set.bools.place(&mut self.bools, node)
    }

    pub(super) fn int_node(&mut self, node: Int) -> Id<Int> {
        let mut needs = Needs::default();
        node.each_need(&mut |need| needs.add(self.is_known(need)));
        let node = if needs.are_known() { Int::Known(self.compute(node)) } else { node };
        self.set.ints.place(&mut self.ints, node)
    }

    pub(super) fn float_node(&mut self, node: Float) -> Id<Float> {
        let mut needs = Needs::default();
        node.each_need(&mut |need| needs.add(self.is_known(need)));
        let node = if needs.are_known() { Float::Known(self.compute(node).map(Bits::of)) } else { node };
        self.set.floats.place(&mut self.floats, node)
    }

    pub(super) fn text_node(&mut self, node: Text) -> Id<Text> {
        self.set.texts.place(&mut self.texts, node)
    }

    /// A constant text.
    pub(super) fn written(&mut self, text: &str) -> Id<Text> {
        let next = self.set.written.len() as u32;
        let place = *self.written.entry(text.into()).or_insert(next);
        if place == next {
            self.set.written.push(text.into());
        }
        self.text_node(Text::Known(Ok(place)))
    }

    /// Whether the text matches the pattern.
    pub(super) fn matches(&mut self, text: Id<Text>, pattern: &Pattern) -> Id<Bool> {
        let patterns = &mut self.set.patterns;
        let place = patterns.iter().position(|known| known == pattern).unwrap_or_else(|| {
            patterns.push(pattern.clone());
            patterns.len() - 1
        });
        self.bool_node(Bool::Matches(text, place as u32))
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

    pub(super) fn not(&mut self, inner: Id<Bool>) -> Id<Bool> {
        self.bool_node(Bool::Not(inner))
    }

    /// `&&` (`decisive` is false) or `||` (it is true). Nested members of the same kind are flattened: brackets do
    /// not change the result.
    pub(super) fn connect(&mut self, decisive: bool, members: &[Id<Bool>]) -> Id<Bool> {
        let mut flat = Vec::with_capacity(members.len());
        for member in members {
            let node = self.set.bools.get(*member).node;
            if let Bool::Known(Ok(value)) = node {
                if value == decisive {
                    return *member;
                }
            } else if let Bool::All(inner) = node
                && !decisive
            {
                flat.extend_from_slice(self.set.members(inner));
            } else if let Bool::Any(inner) = node
                && decisive
            {
                flat.extend_from_slice(self.set.members(inner));
            } else {
                flat.push(*member);
            }
        }
        match *flat {
            [] => self.bool_node(Bool::Known(Ok(!decisive))),
            [only] => only,
            _ => {
                let members = self.members(flat);
                self.bool_node(if decisive { Bool::Any(members) } else { Bool::All(members) })
            }
        }
    }

    fn members(&mut self, members: Vec<Id<Bool>>) -> Members {
        let all = &mut self.set.members;
        *self.members.entry(members).or_insert_with_key(|members| {
            let start = all.len() as u32;
            all.extend_from_slice(members);
            Members { start, count: members.len() as u32 }
        })
    }

    /// A choice, or the chosen branch if the condition is constant.
    pub(super) fn choice<N>(
        &mut self,
        choice: Choice<N>,
        open: fn(Choice<N>) -> N,
        failed: fn(Fault) -> N,
        place: fn(&mut Self, N) -> Id<N>,
    ) -> Id<N> {
        let Bool::Known(condition) = self.set.bools.get(choice.condition).node else {
            return place(self, open(choice));
        };
        match condition {
            Ok(true) => choice.yes,
            Ok(false) => choice.no,
            Err(fault) => place(self, failed(fault)),
        }
    }

    pub(super) fn compare_ints(&mut self, comparison: Comparison, left: Id<Int>, right: Id<Int>) -> Id<Bool> {
        let node = match (self.set.ints.get(left).node, self.set.ints.get(right).node) {
            (Int::Read(read), Int::Known(Ok(number))) => Bool::IntVsConstant(comparison, read, number),
            (Int::Known(Ok(number)), Int::Read(read)) => {
                Bool::IntVsConstant(comparison.exchanged(), read, number)
            }
            _ => Bool::Ints(comparison, left, right),
        };
        self.bool_node(node)
    }

    pub(super) fn compare_floats(
        &mut self,
        comparison: Comparison,
        left: Id<Float>,
        right: Id<Float>,
    ) -> Id<Bool> {
        let against = |comparison: Comparison, read, bits: Bits| {
            let (comparison, nearest) = comparison.of_feature(bits.value().as_exact()?);
            Some(Bool::FloatVsConstant(comparison, read, nearest))
        };
        let node = match (self.set.floats.get(left).node, self.set.floats.get(right).node) {
            (Float::Read(read), Float::Known(Ok(number))) => against(comparison, read, number),
            (Float::Known(Ok(number)), Float::Read(read)) => against(comparison.exchanged(), read, number),
            _ => None,
        };
        self.bool_node(node.unwrap_or(Bool::Floats(comparison, left, right)))
    }

    /// Whether the node is a constant that is not an error.
    pub(super) fn is_value(&self, id: AnyId) -> bool {
        match id {
            AnyId::Bool(id) => matches!(self.set.bools.get(id).node, Bool::Known(Ok(_))),
            AnyId::Int(id) => matches!(self.set.ints.get(id).node, Int::Known(Ok(_))),
            AnyId::Float(id) => matches!(self.set.floats.get(id).node, Float::Known(Ok(_))),
            AnyId::Text(id) => matches!(self.set.texts.get(id).node, Text::Known(Ok(_))),
        }
    }

    fn is_known(&self, id: AnyId) -> bool {
        match id {
            AnyId::Bool(id) => matches!(self.set.bools.get(id).node, Bool::Known(_)),
            AnyId::Int(id) => matches!(self.set.ints.get(id).node, Int::Known(_)),
            AnyId::Float(id) => matches!(self.set.floats.get(id).node, Float::Known(_)),
            AnyId::Text(id) => matches!(self.set.texts.get(id).node, Text::Known(_)),
        }
    }

    fn compute<N: Node>(&self, node: N) -> Result<N::Value, Fault> {
        node.compute(&Evaluation { set: &self.set, memo: &RuleMemo::default(), row: &NOTHING })
    }
}

/// Whether a node has inputs, and all of them are constant.
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
