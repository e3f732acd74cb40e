//! The output of a graph that is the score, and how it is read.

use super::{Class, Layout, Manifest, ModelError};
use crate::onnx::{ElementType, OutputValue, Signature, TensorData, TensorSpec, ValueKind};
use document::{Problems, suggestion};
use native::Labels;

/// The score among the outputs of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScoreOutput {
    /// The position in the signature.
    pub(super) index: usize,
    /// Its name.
    pub(super) name: String,
    pick: Pick,
}

/// Which columns of the output are scores.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pick {
    /// The last of two, or the only one.
    Usual,
    /// This class.
    Class(Class),
    /// All, and there must be this many: one per offer.
    All(usize),
}

impl ScoreOutput {
    /// Matches a manifest with the outputs of a graph. Problems call the manifest `file`.
    pub(super) fn resolve(manifest: &Manifest, graph: &Signature, file: &str) -> Result<Self, Problems> {
        let lines = manifest.lines;
        let fail = |line: usize, message: String| Err(Problems::one(file, Some(line), message));
        let found = match &manifest.output {
            Some(name) => named(name, graph),
            None => only(graph),
        };
        let (index, spec) = match found {
            Ok(found) => found,
            Err(message) => return fail(lines.output, message),
        };
        let pick = match (manifest.layout, &manifest.class) {
            (Some(Layout::MultiOffer), _) => Pick::All(manifest.offers.len()),
            (_, Some(class)) => Pick::Class(class.clone()),
            (_, None) => Pick::Usual,
        };
        if let Some(message) = misfit(spec, &pick) {
            let line = match pick {
                Pick::All(_) => lines.offers,
                Pick::Class(_) | Pick::Usual => lines.class,
            };
            return fail(line, message);
        }
        Ok(Self { index, name: spec.name.clone(), pick })
    }

    /// The number of scores per row.
    pub(super) fn columns(&self) -> usize {
        match self.pick {
            Pick::All(columns) => columns,
            Pick::Usual | Pick::Class(_) => 1,
        }
    }

    /// The column that is the score, out of `width`, with `labels` for a ZipMap. `None` where all columns are scores.
    ///
    /// # Errors
    /// When the wanted column does not exist.
    pub(super) fn column(&self, labels: Option<&Labels>, width: usize) -> Result<Option<usize>, ModelError> {
        let refuse = |message: String| Err(ModelError::Output { name: self.name.clone(), message });
        match &self.pick {
            Pick::All(columns) if *columns == width => Ok(None),
            Pick::All(columns) => refuse(format!("it has {width} columns for {columns} offers")),
            Pick::Usual if (1..=2).contains(&width) => Ok(Some(width - 1)),
            Pick::Usual => refuse(format!("it has {width} columns; say which by [output] class")),
            Pick::Class(class) => match column(class, labels, width) {
                Some(column) => Ok(Some(column)),
                None => refuse(format!("none of its {width} columns is {class}")),
            },
        }
    }

    /// The scores of the first `kept` of `rows` rows, row-major.
    pub(super) fn read(&self, value: OutputValue, rows: usize, kept: usize) -> Result<Vec<f32>, ModelError> {
        let refuse = |message: String| ModelError::Output { name: self.name.clone(), message };
        let (mut values, width, labels) = match value {
            OutputValue::ZipMap { labels, rows: found, values, .. } => {
                if found != rows {
                    return Err(refuse(format!("{found} rows came back for {rows}")));
                }
                let width = labels.len();
                (values, width, Some(labels))
            }
            OutputValue::Tensor(tensor) => {
                if tensor.shape.first() != Some(&(rows as i64)) {
                    return Err(refuse(format!("the shape {:?} came back for {rows} rows", tensor.shape)));
                }
                let kind = tensor.data.element_type();
                let values =
                    floats(tensor.data).ok_or_else(|| refuse(format!("it is a tensor of {kind}")))?;
                let width = values.len().checked_div(rows).unwrap_or(0);
                (values, width, None)
            }
        };
        let column = self.column(labels.as_ref(), width)?;
        if let Some(column) = column.filter(|_| width > 1) {
            values = values.chunks_exact(width).map(|row| row[column]).collect();
        }
        values.truncate(kept * self.columns());
        Ok(values)
    }
}

/// The position of a class among the columns.
fn column(class: &Class, labels: Option<&Labels>, width: usize) -> Option<usize> {
    match (class, labels) {
        (Class::Int(class), None) => usize::try_from(*class).ok().filter(|column| *column < width),
        (Class::Int(class), Some(Labels::Int64(labels))) => labels.iter().position(|label| label == class),
        (Class::String(class), Some(Labels::String(labels))) => {
            labels.iter().position(|label| label == class)
        }
        (Class::Int(_), Some(Labels::String(_))) | (Class::String(_), None | Some(Labels::Int64(_))) => None,
    }
}

fn named<'g>(name: &str, graph: &'g Signature) -> Result<(usize, &'g TensorSpec), String> {
    let names = || graph.outputs.iter().map(|spec| spec.name.as_str());
    let Some(index) = names().position(|other| other == name) else {
        let hint = suggestion(name, names());
        let all: Vec<&str> = names().collect();
        return Err(format!("the graph has no output `{name}`{hint} (it has {})", all.join(", ")));
    };
    let spec = &graph.outputs[index];
    if can_be_score(spec) {
        return Ok((index, spec));
    }
    Err(format!("the graph's output `{name}` is a {}; a score is a tensor of float or a ZipMap", spec.kind))
}

fn only(graph: &Signature) -> Result<(usize, &TensorSpec), String> {
    let candidates: Vec<_> =
        graph.outputs.iter().enumerate().filter(|(_, spec)| can_be_score(spec)).collect();
    if let [candidate] = candidates[..] {
        return Ok(candidate);
    }
    let names: Vec<&str> = candidates.iter().map(|(_, spec)| spec.name.as_str()).collect();
    Err(match names.len() {
        0 => "the graph has no output that could be a score: a tensor of float or a ZipMap".to_owned(),
        _ => {
            format!("any of the outputs {} could be the score; say which by [output] name", names.join(", "))
        }
    })
}

fn can_be_score(spec: &TensorSpec) -> bool {
    match &spec.kind {
        ValueKind::ZipMap { .. } => true,
        ValueKind::Tensor(element) => matches!(
            element,
            ElementType::Float32 | ElementType::Float64 | ElementType::Float16 | ElementType::Bfloat16
        ),
        ValueKind::Unsupported(_) => false,
    }
}

/// Why this choice does not fit the output, as far as its declaration shows.
fn misfit(spec: &TensorSpec, pick: &Pick) -> Option<String> {
    use super::onnx::LabelKind;
    let name = &spec.name;
    if let ValueKind::ZipMap { labels } = &spec.kind {
        return match (pick, labels) {
            (Pick::All(_), _) => Some(format!(
                "the graph's output `{name}` is a ZipMap; a multi_offer model needs a tensor with a column per offer"
            )),
            (Pick::Usual, LabelKind::String) => Some(format!(
                "the labels of the graph's output `{name}` are text, so their order says nothing; name the class that is \
                 the score by [output] class"
            )),
            (Pick::Class(Class::String(_)), LabelKind::Int64) => {
                Some(format!("the labels of the graph's output `{name}` are numbers; so must `class` be"))
            }
            (Pick::Class(Class::Int(_)), LabelKind::String) => {
                Some(format!("the labels of the graph's output `{name}` are text; so must `class` be"))
            }
            (Pick::Usual | Pick::Class(Class::Int(_)), LabelKind::Int64)
            | (Pick::Class(Class::String(_)), LabelKind::String) => None,
        };
    }
    // One column where the output has only the row dimension; unknown where the graph leaves it open.
    let width = match spec.shape[..] {
        [_] => Some(1),
        [_, width] => usize::try_from(width).ok(),
        _ => None,
    };
    match (pick, width) {
        (Pick::Class(Class::String(_)), _) => Some(format!(
            "the graph's output `{name}` is a tensor, whose classes are its columns, numbered from 0; so must `class` be"
        )),
        (Pick::Class(Class::Int(class)), _) if *class < 0 => Some("`class` must be at least 0".to_owned()),
        (Pick::Class(Class::Int(class)), Some(width)) if *class >= width as i64 => Some(format!(
            "`class` is {class}, but the graph's output `{name}` has {width} columns, numbered from 0"
        )),
        (Pick::All(offers), Some(width)) if *offers != width => Some(format!(
            "`offers` lists {offers} offers, but the graph's output `{name}` has {width} columns"
        )),
        (Pick::Usual, Some(width)) if !(1..=2).contains(&width) => Some(format!(
            "the graph's output `{name}` has {width} columns; say which is the score by [output] class"
        )),
        _ => None,
    }
}

fn floats(data: TensorData<'static>) -> Option<Vec<f32>> {
    match data {
        TensorData::Float32(values) => Some(values.into_owned()),
        TensorData::Float64(values) => Some(values.iter().map(|value| *value as f32).collect()),
        TensorData::Float16(values) => Some(values.iter().map(|value| value.to_f32()).collect()),
        TensorData::Bfloat16(values) => Some(values.iter().map(|value| value.to_f32()).collect()),
        TensorData::Bool(_)
        | TensorData::Uint8(_)
        | TensorData::Uint16(_)
        | TensorData::Uint32(_)
        | TensorData::Uint64(_)
        | TensorData::Int8(_)
        | TensorData::Int16(_)
        | TensorData::Int32(_)
        | TensorData::Int64(_)
        | TensorData::String(_) => None,
    }
}
