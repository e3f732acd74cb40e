//! The plan that maps features to the tensors of a graph, made when a version is loaded.
//!
//! It finds every mismatch between manifest, schema and graph. Afterwards a row either fits or lacks a value, and no
//! request looks anything up by name.

use super::onnx::{ElementType, Signature, TensorSpec, ValueKind};
use super::sizes::{MAX_BATCH, MAX_BATCH_VALUES};
use super::{Inputs, Layout, Manifest};
use document::{Problems, suggestion};
use feature::{Entity, FeatureSchema, FeatureType, Row, Value, ValueRef};
use native::Side;

/// The name of the input that takes the customer's segment.
const SEGMENT: &str = "segment";

/// How rows become tensors.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the order of the graph's inputs.
    pub(super) tensors: Vec<TensorPlan>,
    /// The number of rows per run, where the graph fixes it.
    pub(super) batch: Option<usize>,
    /// Whether a missing number may reach the graph as NaN.
    pub(super) accepts_missing: bool,
}

/// One tensor of the graph.
#[derive(Debug)]
pub(super) struct TensorPlan {
    /// The graph's name for it.
    pub(super) name: String,
    /// The type of its elements.
    pub(super) element: Element,
    /// Whether the graph takes `[rows]` instead of `[rows, columns]`.
    pub(super) flat: bool,
    /// One per column.
    pub(super) columns: Vec<Input>,
}

/// The element types that features can fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Float32,
    Float64,
    Int64,
    Int32,
    Bool,
    String,
}

/// One feature as an input.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// The feature, or `segment`.
    pub(super) feature: String,
    /// Where a row holds it.
    pub(super) source: Source,
    /// A value of its type for warm-up: the default, the first listed text, or missing.
    pub(super) stand_in: Value,
    feature_type: FeatureType,
}

/// Where a [`Row`] holds a value: an entity and the position within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Customer(usize),
    Context(usize),
    Offer(usize),
    Segment,
}

impl Source {
    /// The side that a value belongs to. No feature depends on a pair yet.
    pub(super) fn side(self) -> Side {
        match self {
            Self::Customer(_) | Self::Context(_) | Self::Segment => Side::Customer,
            Self::Offer(_) => Side::Offer,
        }
    }

    pub(super) fn value<'r>(self, row: &Row<'r>) -> ValueRef<'r> {
        let (values, index) = match self {
            Self::Customer(index) => (row.customer, index),
            Self::Context(index) => (row.context, index),
            Self::Offer(index) => (row.offer, index),
            Self::Segment => {
                return row.segment.map_or(ValueRef::Missing, |segment| ValueRef::Int(segment.id));
            }
        };
        values.get(index).copied().unwrap_or(ValueRef::Missing)
    }
}

impl TensorPlan {
    /// The dimensions for `rows` rows.
    pub(super) fn shape(&self, rows: usize) -> Vec<i64> {
        if self.flat { vec![rows as i64] } else { vec![rows as i64, self.columns.len() as i64] }
    }
}

impl Element {
    fn of(spec: &TensorSpec) -> Option<Self> {
        let ValueKind::Tensor(element) = &spec.kind else { return None };
        match element {
            ElementType::Float32 => Some(Self::Float32),
            ElementType::Float64 => Some(Self::Float64),
            ElementType::Int64 => Some(Self::Int64),
            ElementType::Int32 => Some(Self::Int32),
            ElementType::Bool => Some(Self::Bool),
            ElementType::String => Some(Self::String),
            ElementType::Uint8
            | ElementType::Uint16
            | ElementType::Uint32
            | ElementType::Uint64
            | ElementType::Int8
            | ElementType::Int16
            | ElementType::Float16
            | ElementType::Bfloat16 => None,
        }
    }

    /// Whether every value of the feature type converts to the element without loss.
    fn takes(self, feature: FeatureType) -> bool {
        match self {
            Self::Float32 | Self::Float64 => feature.is_numeric(),
            Self::Int64 | Self::Int32 => matches!(feature, FeatureType::Int | FeatureType::Bool),
            Self::Bool => feature == FeatureType::Bool,
            Self::String => feature == FeatureType::String,
        }
    }
}

impl Plan {
    /// The parts of the plan that an engine's answers depend on, as text to compare. Feature names and schema positions
    /// are not among them.
    pub(super) fn description(&self) -> String {
        let tensor = |tensor: &TensorPlan| {
            let sides: Vec<Side> = tensor.columns.iter().map(|input| input.source.side()).collect();
            format!("{:?} {:?} {} {sides:?}", tensor.name, tensor.element, tensor.flat)
        };
        let tensors: Vec<String> = self.tensors.iter().map(tensor).collect();
        format!("{} {:?}", tensors.join(", "), self.batch)
    }

    /// Matches a manifest with the schema and, where the graph was loaded, with its inputs. Problems call the manifest
    /// `file`.
    pub(super) fn resolve(
        manifest: &Manifest,
        schema: &FeatureSchema,
        graph: Option<&Signature>,
        file: &str,
    ) -> Result<Self, Problems> {
        let mut resolver = Resolver { manifest, schema, file, problems: Problems::new(), batch: None };
        let tensors = match &manifest.inputs {
            Inputs::Dense(names) => resolver.dense(names, graph),
            Inputs::PerFeature(names) => resolver.per_feature(names, graph),
        };
        let (batch, accepts_missing) = (resolver.batch, manifest.accepts_missing);
        let plan = Self { tensors, batch, accepts_missing };
        resolver.problems.into_result(plan)
    }

    /// The side of each value of a row.
    pub(super) fn sides(&self) -> impl Iterator<Item = Side> {
        self.tensors.iter().flat_map(|tensor| &tensor.columns).map(|input| input.source.side())
    }

    /// Whether the plan needs the customer's segment.
    pub(super) fn uses_segment(&self) -> bool {
        let mut columns = self.tensors.iter().flat_map(|tensor| &tensor.columns);
        columns.any(|input| input.source == Source::Segment)
    }
}

struct Resolver<'a> {
    manifest: &'a Manifest,
    schema: &'a FeatureSchema,
    file: &'a str,
    problems: Problems,
    batch: Option<usize>,
}

impl Resolver<'_> {
    fn dense(&mut self, names: &[String], graph: Option<&Signature>) -> Vec<TensorPlan> {
        let columns: Vec<Input> = names.iter().filter_map(|name| self.input(name)).collect();
        let Some(graph) = graph else { return Vec::new() };
        let [spec] = graph.inputs.as_slice() else {
            let inputs: Vec<&str> = graph.inputs.iter().map(|spec| spec.name.as_str()).collect();
            self.report(format!(
                "`inputs` fills one tensor, but the graph takes {} ({}); say inputs_layout = \"per_feature\" if each is a \
                 feature",
                inputs.len(),
                inputs.join(", "),
            ));
            return Vec::new();
        };
        self.tensor(spec, columns, names.len()).into_iter().collect()
    }

    fn per_feature(&mut self, names: &[String], graph: Option<&Signature>) -> Vec<TensorPlan> {
        let Some(graph) = graph else {
            // Check at least the listed names against the schema.
            for name in names {
                self.input(name);
            }
            return Vec::new();
        };
        if graph.inputs.is_empty() {
            self.report("the graph takes no inputs, so no feature could make a difference".to_owned());
        }
        let taken: Vec<&str> = graph.inputs.iter().map(|spec| spec.name.as_str()).collect();
        for name in names.iter().filter(|name| !taken.contains(&name.as_str())) {
            let hint = suggestion(name, taken.iter().copied());
            self.report(format!("the graph has no input `{name}`{hint}"));
        }
        let mut tensors = Vec::with_capacity(taken.len());
        for spec in &graph.inputs {
            if !names.is_empty() && !names.contains(&spec.name) {
                self.report(format!("`inputs` lacks `{}`, which the graph takes", spec.name));
            }
            let columns: Vec<Input> = self.input(&spec.name).into_iter().collect();
            tensors.extend(self.tensor(spec, columns, 1));
        }
        tensors
    }

    /// The input for a feature, if rows of this layout have it.
    fn input(&mut self, name: &str) -> Option<Input> {
        if name == SEGMENT {
            let (feature_type, stand_in) = (FeatureType::Int, Value::Int(0));
            return Some(Input { feature: name.to_owned(), source: Source::Segment, stand_in, feature_type });
        }
        let (Some((entity, index)), Some(feature)) = (self.schema.find(name), self.schema.get(name)) else {
            let entities = [Entity::Customer, Entity::Context, Entity::Offer];
            let known = entities.iter().flat_map(|entity| self.schema.of(*entity));
            let hint = suggestion(name, known.map(|feature| feature.name.as_str()).chain([SEGMENT]));
            self.report(format!("the schema has no feature `{name}`{hint}"));
            return None;
        };
        let source = match entity {
            Entity::Customer => Source::Customer(index),
            Entity::Context => Source::Context(index),
            Entity::Offer => Source::Offer(index),
        };
        if entity == Entity::Offer && self.manifest.layout != Some(Layout::Pairwise) {
            self.report(format!(
                "`{name}` is a feature of the offer, and only rows of a pairwise model have one"
            ));
            return None;
        }
        let stand_in = feature.default.clone().unwrap_or_else(|| match feature.feature_type {
            FeatureType::Float => Value::Float(0.0),
            FeatureType::Int => Value::Int(0),
            FeatureType::Bool => Value::Bool(false),
            // A graph may fail on a text that it was not trained on.
            FeatureType::String => Value::String(feature.values.first().cloned().unwrap_or_default()),
        });
        let feature_type = feature.feature_type;
        Some(Input { feature: name.to_owned(), source, stand_in, feature_type })
    }

    /// The plan of one tensor. `width` counts its columns, including those that were reported and are not in `columns`.
    fn tensor(&mut self, spec: &TensorSpec, columns: Vec<Input>, width: usize) -> Option<TensorPlan> {
        let name = &spec.name;
        let Some(element) = Element::of(spec) else {
            let kind = &spec.kind;
            self.report(format!(
                "the graph's input `{name}` is a {kind}; features can fill tensors of float, double, int64, int32, bool \
                 and string"
            ));
            return None;
        };
        for input in columns.iter().filter(|input| !element.takes(input.feature_type)) {
            let (feature, feature_type, kind) = (&input.feature, input.feature_type, &spec.kind);
            self.report(format!(
                "feature `{feature}` is of type {feature_type} and cannot go into the graph's input `{name}`, a {kind}"
            ));
        }
        let flat = match spec.shape[..] {
            [_] if width == 1 => true,
            [_, found] if found < 0 || found == width as i64 => false,
            [_, found] => {
                let message = match self.manifest.inputs {
                    Inputs::Dense(_) => format!(
                        "`inputs` names {width} features, but the graph's input `{name}` has {found} columns"
                    ),
                    Inputs::PerFeature(_) => {
                        format!("the graph's input `{name}` has {found} columns, but a feature fills one")
                    }
                };
                self.report(message);
                false
            }
            _ => {
                let shape = &spec.shape;
                self.report(format!(
                    "the graph's input `{name}` has the shape {shape:?}; it must be [rows, {width}]"
                ));
                false
            }
        };
        let batch = spec.shape.first().and_then(|rows| usize::try_from(*rows).ok()).filter(|rows| *rows > 0);
        let batch = batch.filter(|rows| {
            let fits = *rows <= MAX_BATCH && rows.saturating_mul(width.max(1)) <= MAX_BATCH_VALUES;
            if !fits {
                self.report(format!(
                    "the graph takes {rows} rows at once in its input `{name}`, and at most {MAX_BATCH} rows, of {MAX_BATCH_VALUES} \
                     values, can be; export it with an open first dimension"
                ));
            }
            fits
        });
        if let (Some(one), Some(other)) = (self.batch, batch)
            && one != other
        {
            self.report(format!("the graph takes {one} rows at once, but {other} in its input `{name}`"));
        }
        self.batch = self.batch.or(batch);
        Some(TensorPlan { name: name.clone(), element, flat, columns })
    }

    fn report(&mut self, message: String) {
        self.problems.push(self.file, Some(self.manifest.lines.inputs), message);
    }
}
