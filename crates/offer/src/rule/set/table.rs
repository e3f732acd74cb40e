//! Tables of nodes, and the inputs of each node.

use std::collections::HashMap;
use std::hash::Hash;

use super::RuleSet;
use super::node::{AnyId, Bool, Choice, Float, Id, Int, Text};

/// The nodes of one type. A node comes after its inputs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table<N> {
    entries: Vec<Entry<N>>,
    shared: u32,
}

/// A node and its memo cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry<N> {
    pub(super) node: N,
    /// Out of range if the node has no cell.
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

    /// The number of memo cells of the table.
    pub(super) fn shared(&self) -> usize {
        self.shared as usize
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Gives the node a memo cell.
    pub(super) fn share(&mut self, id: Id<N>) {
        self.entries[id.place()].cell = self.shared;
        self.shared += 1;
    }
}

impl<N: Copy + Eq + Hash> Table<N> {
    /// The index of the node, shared by all equal nodes. `found` maps the nodes of the table to their indices.
    pub(super) fn place(&mut self, found: &mut HashMap<N, Id<N>>, node: N) -> Id<N> {
        *found.entry(node).or_insert_with(|| {
            self.entries.push(Entry { node, cell: u32::MAX });
            Id::new(self.entries.len() - 1)
        })
    }
}

impl Bool {
    /// Visits the inputs of the node in evaluation order.
    pub(super) fn each_need(self, set: &RuleSet, visit: &mut dyn FnMut(AnyId)) {
        match self {
            Self::Known(_)
            | Self::Read(_)
            | Self::Has(_)
            | Self::IntVsConstant(..)
            | Self::FloatVsConstant(..) => {}
            Self::Not(inner) => visit(AnyId::Bool(inner)),
            Self::All(members) | Self::Any(members) => {
                set.members(members).iter().for_each(|member| visit(AnyId::Bool(*member)));
            }
            Self::Choice(choice) => choice.each_need(AnyId::Bool, visit),
            Self::Same(left, right) => [left, right].map(AnyId::Bool).into_iter().for_each(visit),
            Self::Ints(_, left, right) => [left, right].map(AnyId::Int).into_iter().for_each(visit),
            Self::Floats(_, left, right) => [left, right].map(AnyId::Float).into_iter().for_each(visit),
            Self::Texts(_, left, right) => [left, right].map(AnyId::Text).into_iter().for_each(visit),
            Self::TextTest(_, text, tested) => [tested, text].map(AnyId::Text).into_iter().for_each(visit),
            Self::Matches(text, _) => visit(AnyId::Text(text)),
        }
    }
}

impl Int {
    /// See [`Bool::each_need`].
    pub(super) fn each_need(self, visit: &mut dyn FnMut(AnyId)) {
        match self {
            Self::Known(_) | Self::Read(_) => {}
            Self::Negated(inner) => visit(AnyId::Int(inner)),
            Self::Calculated(_, left, right) => [left, right].map(AnyId::Int).into_iter().for_each(visit),
            Self::Size(text) => visit(AnyId::Text(text)),
            Self::Choice(choice) => choice.each_need(AnyId::Int, visit),
        }
    }
}

impl Float {
    /// See [`Bool::each_need`].
    pub(super) fn each_need(self, visit: &mut dyn FnMut(AnyId)) {
        match self {
            Self::Known(_) | Self::Read(_) => {}
            Self::Of(whole) => visit(AnyId::Int(whole)),
            Self::Negated(inner) => visit(AnyId::Float(inner)),
            Self::Calculated(_, left, right) => [left, right].map(AnyId::Float).into_iter().for_each(visit),
            Self::Choice(choice) => choice.each_need(AnyId::Float, visit),
        }
    }
}

impl Text {
    /// See [`Bool::each_need`].
    pub(super) fn each_need(self, visit: &mut dyn FnMut(AnyId)) {
        match self {
            Self::Known(_) | Self::Read(_) => {}
            Self::Choice(choice) => choice.each_need(AnyId::Text, visit),
        }
    }
}

impl<N> Choice<N> {
    fn each_need(self, any: fn(Id<N>) -> AnyId, visit: &mut dyn FnMut(AnyId)) {
        visit(AnyId::Bool(self.condition));
        visit(any(self.yes));
        visit(any(self.no));
    }
}
