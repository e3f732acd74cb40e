//! Clauses: the ways in which a part of a rule can have a wanted result.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::interval::{Amount, EXACT};
use super::text::Text;
use super::value_set::{Orders, Span};
use super::{Declared, OfferView, ValueSet};
use crate::rule::number::{Number, TO_NUMBER};
use crate::rule::scope;
use crate::rule::scope::{Operand, Slot, Source};
use crate::rule::shown::show;
use feature::{FeatureType, Row};

/// A rule with more clauses than this is treated as one that excludes nothing.
const MAX_CLAUSES: usize = 32;

/// The relative tolerance of comparing a calculated amount with a number.
const TOLERANCE: f64 = 1e-4;

/// The subject of a condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Key {
    /// Whether the value is present.
    Presence(Source),
    Value(Source),
    /// A condition that the analysis does not know, as text.
    Condition(String),
    /// A calculated amount, as text.
    Amount(String),
    /// The order of two amounts, as text.
    Order(String, String),
}

/// A conjunction of conditions, one per key.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Clause(Vec<(Key, ValueSet)>);

/// Splits a rule into clauses, for one offer.
pub(super) struct Clauses<'a> {
    pub(super) slots: &'a [Slot],
    pub(super) declared: Option<Declared<'a>>,
    pub(super) offer: &'a OfferView<'a>,
}

impl Clause {
    /// Always true, or never.
    pub(super) fn constant(holds: bool) -> Vec<Self> {
        if holds { vec![Self::default()] } else { Vec::new() }
    }

    /// One condition, if it can be met.
    pub(super) fn one(key: Key, set: ValueSet) -> Vec<Self> {
        if set.is_empty() { Vec::new() } else { vec![Self(vec![(key, set)])] }
    }

    /// The conjunction of both; `None` if their conditions exclude each other.
    fn and(&self, other: &Self) -> Option<Self> {
        let mut both = self.clone();
        for (key, set) in &other.0 {
            if let Some((_, known)) = both.0.iter_mut().find(|(known, _)| known == key) {
                *known = known.intersect(set);
                if known.is_empty() {
                    return None;
                }
            } else {
                both.0.push((key.clone(), set.clone()));
            }
        }
        Some(both)
    }

    /// Merges `other` into this clause if they differ in at most one condition. Returns whether it did.
    fn absorb(&mut self, other: &Self) -> bool {
        if self.0.len() != other.0.len() {
            return false;
        }
        let mut differs = None;
        for (place, (key, set)) in self.0.iter().enumerate() {
            match other.0.iter().find(|(known, _)| known == key) {
                Some((_, known)) if known == set => {}
                Some((_, known)) if differs.is_none() => differs = Some((place, known.clone())),
                _ => return false,
            }
        }
        if let Some((place, set)) = differs {
            let united = self.0[place].1.clone().unite(set);
            self.0[place].1 = united;
        }
        true
    }
}

fn any_of(mut left: Vec<Clause>, right: Vec<Clause>) -> Vec<Clause> {
    for clause in right {
        if !left.iter_mut().any(|known| known.absorb(&clause)) {
            left.push(clause);
        }
    }
    if left.len() > MAX_CLAUSES { Clause::constant(true) } else { left }
}

fn all_of(left: &[Clause], right: &[Clause]) -> Vec<Clause> {
    let pairs = left.iter().flat_map(|one| right.iter().filter_map(|other| one.and(other)));
    pairs.fold(Vec::new(), |known, clause| any_of(known, vec![clause]))
}

impl<'a> Clauses<'a> {
    /// The ways in which the condition `node` can become `wanted`; empty if it cannot.
    pub(super) fn of(&self, node: &IdedExpr, wanted: bool) -> Vec<Clause> {
        match &node.expr {
            Expr::Literal(LiteralValue::Boolean(truth)) => Clause::constant(*truth.inner() == wanted),
            Expr::Ident(slot) => self.variable(slot, node, wanted),
            Expr::Call(call) => self.call(call, node, wanted),
            _ => self.opaque(node, wanted),
        }
    }

    fn variable(&self, slot: &str, node: &IdedExpr, wanted: bool) -> Vec<Clause> {
        match scope::find(self.slots, slot) {
            Some(Slot::Value { source, .. }) if source.is_of_offer() => match self.of_offer(*source) {
                Operand::Bool(truth) => Clause::constant(truth == wanted),
                _ => Vec::new(),
            },
            Some(Slot::Value { source, .. }) => {
                self.known(&Clause::one(Key::Value(*source), ValueSet::truth(wanted)), node)
            }
            Some(Slot::Presence { source, .. }) if source.is_of_offer() => {
                Clause::constant((self.of_offer(*source) != Operand::Missing) == wanted)
            }
            Some(Slot::Presence { source, .. }) => {
                Clause::one(Key::Presence(*source), ValueSet::truth(wanted))
            }
            Some(Slot::Pattern(_)) | None => self.opaque(node, wanted),
        }
    }

    fn call(&self, call: &CallExpr, node: &IdedExpr, wanted: bool) -> Vec<Clause> {
        match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
            (operators::LOGICAL_NOT, None, [inner]) => self.of(inner, !wanted),
            (name @ (operators::LOGICAL_AND | operators::LOGICAL_OR), None, [left, right]) => {
                let (left, right) = (self.of(left, wanted), self.of(right, wanted));
                if wanted == (name == operators::LOGICAL_AND) {
                    all_of(&left, &right)
                } else {
                    any_of(left, right)
                }
            }
            (operators::CONDITIONAL, None, [condition, yes, no]) => any_of(
                all_of(&self.of(condition, true), &self.of(yes, wanted)),
                all_of(&self.of(condition, false), &self.of(no, wanted)),
            ),
            (operators::IN, None, [item, list]) => self.membership(item, list, node, wanted),
            (name, None, [left, right]) if let Some(orders) = orders(name) => {
                let orders = if wanted { orders } else { orders.negated() };
                self.comparison(orders, left, right, node, wanted)
            }
            (name, Some(text), [part]) => {
                let tests = self.text_tests(name, &self.text(text), &self.text(part), wanted);
                self.known(&tests.unwrap_or_else(|| self.opaque(node, wanted)), node)
            }
            _ => self.opaque(node, wanted),
        }
    }

    fn comparison(
        &self,
        orders: Orders,
        left: &IdedExpr,
        right: &IdedExpr,
        node: &IdedExpr,
        wanted: bool,
    ) -> Vec<Clause> {
        match self.kind(left) {
            // Conditions are compared by `==` and `!=` only.
            Some(FeatureType::Bool) => {
                let same = orders.equal;
                any_of(
                    all_of(&self.of(left, true), &self.of(right, same)),
                    all_of(&self.of(left, false), &self.of(right, !same)),
                )
            }
            Some(FeatureType::String) => {
                let clauses = self.texts(orders, &self.text(left), &self.text(right));
                self.known(&clauses.unwrap_or_else(|| self.opaque(node, wanted)), node)
            }
            Some(FeatureType::Int | FeatureType::Float) => {
                self.known(&self.amounts(orders, left, right), node)
            }
            None => self.opaque(node, wanted),
        }
    }

    fn amounts(&self, orders: Orders, left: &IdedExpr, right: &IdedExpr) -> Vec<Clause> {
        let (one, other) = (self.amount(left), self.amount(right));
        match (one, other) {
            (Amount::Fails, _) | (_, Amount::Fails) => Vec::new(),
            (Amount::Whole(one), Amount::Whole(other)) => Clause::constant(orders.hold(one.cmp(&other))),
            (Amount::Read(source, is_whole), constant)
                if let Some(set) = compared(orders, is_whole, constant) =>
            {
                self.of_value(source, &set)
            }
            (constant, Amount::Read(source, is_whole))
                if let Some(set) = compared(orders.exchanged(), is_whole, constant) =>
            {
                self.of_value(source, &set)
            }
            _ => match (constant(one), constant(other)) {
                (Some(one), Some(other)) => match one.order(other) {
                    Some(order) => Clause::constant(orders.hold(order)),
                    // The order of NaN is left to the evaluation.
                    None => Clause::constant(true),
                },
                _ => self.calculated(orders, (left, one), (right, other)),
            },
        }
    }

    /// Amounts that include a calculated one, or two inputs.
    fn calculated(
        &self,
        orders: Orders,
        (left, one): (&IdedExpr, Amount),
        (right, other): (&IdedExpr, Amount),
    ) -> Vec<Clause> {
        let (left, right) = (show(left, self.slots), show(right, self.slots));
        let mut possible = orders;
        let intervals = (self.interval(one), self.interval(other));
        if let (Some(one), Some(other)) = intervals {
            let is_same = left == right;
            let apart = Orders {
                less: !is_same && one.low < other.high,
                equal: is_same || one.low <= other.high && other.low <= one.high,
                greater: !is_same && one.high > other.low,
            };
            possible = possible.and(apart);
        }
        let mut clauses = Clause::constant(true);
        for (name, interval, orders, constant) in [
            (&left, intervals.0, possible, constant(other)),
            (&right, intervals.1, possible.exchanged(), constant(one)),
        ] {
            if let (Some(interval), Some(number)) = (interval, constant) {
                let (value, reach) = number.approximate();
                let tolerance =
                    reach + TOLERANCE * (value.abs() + interval.low.abs().max(interval.high.abs()));
                let set = ValueSet::of_numbers(orders, value - tolerance, value + tolerance);
                clauses = all_of(&clauses, &Clause::one(Key::Amount(name.clone()), set));
            }
        }
        let (key, possible) = if left <= right {
            (Key::Order(left, right), possible)
        } else {
            (Key::Order(right, left), possible.exchanged())
        };
        all_of(&clauses, &Clause::one(key, ValueSet::of_orders(possible)))
    }

    fn membership(&self, item: &IdedExpr, list: &IdedExpr, node: &IdedExpr, wanted: bool) -> Vec<Clause> {
        if let Expr::Ident(slot) = &list.expr
            && let Some(Slot::Pattern(pattern)) = scope::find(self.slots, slot)
        {
            let clauses = match self.text(item) {
                Text::Fails => Some(Vec::new()),
                Text::Known(text) => Some(Clause::constant(pattern.0.is_match(&text) == wanted)),
                Text::Read(source) => self.tested(source, |text| pattern.0.is_match(text) == wanted),
                Text::Other => None,
            };
            return self.known(&clauses.unwrap_or_else(|| self.opaque(node, wanted)), node);
        }
        let Expr::List(list) = &list.expr else { return self.opaque(node, wanted) };
        if self.kind(item) == Some(FeatureType::String) {
            let words: Vec<Text> = list.elements.iter().map(|element| self.text(element)).collect();
            let clauses = self.among(&self.text(item), &words, wanted);
            return self.known(&clauses.unwrap_or_else(|| self.opaque(node, wanted)), node);
        }
        let orders = if wanted { Orders::EQUAL } else { Orders::EQUAL.negated() };
        let each = list.elements.iter().map(|element| self.comparison(orders, item, element, node, wanted));
        let clauses = if wanted {
            each.fold(Vec::new(), any_of)
        } else {
            each.fold(Clause::constant(true), |known, one| all_of(&known, &one))
        };
        self.known(&clauses, node)
    }

    /// A condition that excludes only its negation.
    fn opaque(&self, node: &IdedExpr, wanted: bool) -> Vec<Clause> {
        self.known(&Clause::one(Key::Condition(show(node, self.slots)), ValueSet::truth(wanted)), node)
    }

    /// Adds to the clauses that all inputs of the part are present.
    fn known(&self, clauses: &[Clause], node: &IdedExpr) -> Vec<Clause> {
        let mut needed = Clause::default();
        self.each_needed(node, &mut |source| {
            let key = Key::Presence(source);
            if !needed.0.iter().any(|(known, _)| *known == key) {
                needed.0.push((key, ValueSet::truth(true)));
            }
        });
        all_of(clauses, &[needed])
    }

    fn each_needed(&self, node: &IdedExpr, visit: &mut dyn FnMut(Source)) {
        match &node.expr {
            Expr::Ident(slot) => {
                if let Some(Slot::Value { source, .. }) = scope::find(self.slots, slot)
                    && !source.is_of_offer()
                {
                    visit(*source);
                }
            }
            Expr::Call(call) => {
                const LAZY: [&str; 3] =
                    [operators::LOGICAL_AND, operators::LOGICAL_OR, operators::CONDITIONAL];
                if !LAZY.contains(&call.func_name.as_str()) {
                    call.target.iter().for_each(|target| self.each_needed(target, visit));
                    call.args.iter().for_each(|argument| self.each_needed(argument, visit));
                }
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.each_needed(element, visit)),
            _ => {}
        }
    }

    /// A condition on a value, within its declared range.
    fn of_value(&self, source: Source, set: &ValueSet) -> Vec<Clause> {
        let set = match self.range(source) {
            Some((low, high)) => set.intersect(&ValueSet::span(Span::closed(low, high))),
            None => set.intersect(&ValueSet::span(Span::ALL)),
        };
        Clause::one(Key::Value(source), set)
    }

    pub(super) fn of_offer(&self, source: Source) -> Operand<'a> {
        let OfferView { features, fields, .. } = self.offer;
        source.read(&Row { customer: &[], context: &[], offer: features, segment: None }, fields)
    }

    pub(super) fn words(&self, source: Source) -> Option<Vec<&'a str>> {
        self.declared?.words(source)
    }

    pub(super) fn range(&self, source: Source) -> Option<(f64, f64)> {
        self.declared?.range(source)
    }

    /// The type of a part of a checked rule.
    fn kind(&self, node: &IdedExpr) -> Option<FeatureType> {
        match &node.expr {
            Expr::Literal(LiteralValue::Boolean(_)) => Some(FeatureType::Bool),
            Expr::Literal(LiteralValue::Int(_)) => Some(FeatureType::Int),
            Expr::Literal(LiteralValue::Double(_)) => Some(FeatureType::Float),
            Expr::Literal(LiteralValue::String(_)) => Some(FeatureType::String),
            Expr::Ident(slot) => match scope::find(self.slots, slot)? {
                Slot::Value { kind, .. } => Some(*kind),
                Slot::Presence { .. } => Some(FeatureType::Bool),
                Slot::Pattern(_) => None,
            },
            Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                (TO_NUMBER, _) => Some(FeatureType::Float),
                ("size", _) => Some(FeatureType::Int),
                (operators::CONDITIONAL, [_, yes, _]) => self.kind(yes),
                (
                    operators::NEGATE
                    | operators::ADD
                    | operators::SUBSTRACT
                    | operators::MULTIPLY
                    | operators::DIVIDE
                    | operators::MODULO,
                    [first, ..],
                ) => self.kind(first),
                _ => Some(FeatureType::Bool),
            },
            _ => None,
        }
    }
}

/// The values that have one of the orders to a constant number.
fn compared(orders: Orders, is_whole: bool, amount: Amount) -> Option<ValueSet> {
    let number = constant(amount)?;
    let (value, reach) = number.approximate();
    // Infinity and NaN are left to the evaluation.
    if value.abs() >= if is_whole { EXACT } else { f64::MAX } || value.is_nan() {
        return None;
    }
    match number.as_exact() {
        Some(exact) if is_whole => Some(ValueSet::of_wholes(orders, exact)),
        Some(exact) => Some(ValueSet::of_numbers(orders, exact, exact)),
        None => Some(ValueSet::of_numbers(orders, value - 2.0 * reach, value + 2.0 * reach)),
    }
}

fn constant(amount: Amount) -> Option<Number> {
    match amount {
        Amount::Known(number) => Some(number),
        Amount::Whole(number) => Some(Number::of_whole(number)),
        Amount::Fails | Amount::Read(..) | Amount::Calculated(_) => None,
    }
}

/// The orders for which a comparison holds.
fn orders(name: &str) -> Option<Orders> {
    let (less, equal, greater) = match name {
        operators::EQUALS => (false, true, false),
        operators::NOT_EQUALS => (true, false, true),
        operators::LESS => (true, false, false),
        operators::LESS_EQUALS => (true, true, false),
        operators::GREATER => (false, false, true),
        operators::GREATER_EQUALS => (false, true, true),
        _ => return None,
    };
    Some(Orders { less, equal, greater })
}
