//! Where nodes stand, and what each of them needs.

use std::collections::HashMap;
use std::hash::Hash;

use super::RuleSet;
use super::node::{AnyId, Choice, Float, Id, Text, Truth, Whole};

/// The nodes of one type; what a node needs stands before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table<N> {
    entries: Vec<Entry<N>>,
    shared: u32,
}

/// A node and the cell of the memo that keeps its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry<N> {
    pub(super) node: N,
    /// Beyond the memo where nothing is kept.
    pub(super) cell: u32,
}

impl<N> Default for Table<N> {
    fn default() -> Self {
        Self { entries: Vec::new(), shared: 0 }
    }
}

impl<N: Copy> Table<N> {
    #[inline]
    pub(super) fn get(&self, id: Id<N>) -> &Entry<N> {
        &self.entries[id.place()]
    }

    /// How many cells of the memo the table needs.
    pub(super) fn shared(&self) -> usize {
        self.shared as usize
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Gives the node a cell of the memo.
    pub(super) fn share(&mut self, id: Id<N>) {
        self.entries[id.place()].cell = self.shared;
        self.shared += 1;
    }
}

impl<N: Copy + Eq + Hash> Table<N> {
    /// The place of the node, which it shares with all that are equal; `found` knows the places of the table.
    pub(super) fn place(&mut self, found: &mut HashMap<N, Id<N>>, node: N) -> Id<N> {
        *found.entry(node).or_insert_with(|| {
            self.entries.push(Entry { node, cell: u32::MAX });
            Id::new(self.entries.len() - 1)
        })
    }
}

impl Truth {
    /// Visits what the node needs, in the order in which it is evaluated.
    pub(super) fn each_need(self, set: &RuleSet, visit: &mut dyn FnMut(AnyId)) {
        match self {
            Self::Known(_)
            | Self::Read(_)
            | Self::Has(_)
            | Self::WholeAgainst(..)
            | Self::FloatAgainst(..) => {}
            Self::Not(inner) => visit(AnyId::Truth(inner)),
            Self::All(members) | Self::Any(members) => {
                set.members(members).iter().for_each(|member| visit(AnyId::Truth(*member)));
            }
            Self::Choice(choice) => choice.each_need(AnyId::Truth, visit),
            Self::Same(left, right) => [left, right].map(AnyId::Truth).into_iter().for_each(visit),
            Self::Wholes(_, left, right) => [left, right].map(AnyId::Whole).into_iter().for_each(visit),
            Self::Floats(_, left, right) => [left, right].map(AnyId::Float).into_iter().for_each(visit),
            Self::Texts(_, left, right) => [left, right].map(AnyId::Text).into_iter().for_each(visit),
            Self::Part(_, text, tested) => [tested, text].map(AnyId::Text).into_iter().for_each(visit),
            Self::Matches(text, _) => visit(AnyId::Text(text)),
        }
    }
}

impl Whole {
    /// See [`Truth::each_need`].
    pub(super) fn each_need(self, visit: &mut dyn FnMut(AnyId)) {
        match self {
            Self::Known(_) | Self::Read(_) => {}
            Self::Negated(inner) => visit(AnyId::Whole(inner)),
            Self::Calculated(_, left, right) => [left, right].map(AnyId::Whole).into_iter().for_each(visit),
            Self::Size(text) => visit(AnyId::Text(text)),
            Self::Choice(choice) => choice.each_need(AnyId::Whole, visit),
        }
    }
}

impl Float {
    /// See [`Truth::each_need`].
    pub(super) fn each_need(self, visit: &mut dyn FnMut(AnyId)) {
        match self {
            Self::Known(_) | Self::Read(_) => {}
            Self::Of(whole) => visit(AnyId::Whole(whole)),
            Self::Negated(inner) => visit(AnyId::Float(inner)),
            Self::Calculated(_, left, right) => [left, right].map(AnyId::Float).into_iter().for_each(visit),
            Self::Choice(choice) => choice.each_need(AnyId::Float, visit),
        }
    }
}

impl Text {
    /// See [`Truth::each_need`].
    pub(super) fn each_need(self, visit: &mut dyn FnMut(AnyId)) {
        match self {
            Self::Known(_) | Self::Read(_) => {}
            Self::Choice(choice) => choice.each_need(AnyId::Text, visit),
        }
    }
}

impl<N> Choice<N> {
    fn each_need(self, any: fn(Id<N>) -> AnyId, visit: &mut dyn FnMut(AnyId)) {
        visit(AnyId::Truth(self.condition));
        visit(any(self.yes));
        visit(any(self.no));
    }
}
