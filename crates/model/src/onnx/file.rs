//! A model's file in memory, and the check of its bytes before ONNX Runtime sees them.
//!
//! The check reads the few fields of the ONNX format (`onnx.proto3`, IR version 13) that decide whether a file is a
//! model. It finds the operators and the location of the weights. Everything else is skipped in place, weights
//! included.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use prost::Message;

use super::known::Digest;
use crate::sizes::{MAX_GRAPH_BYTES, MAX_TENSOR_BYTES, read_from};
use crate::{ModelError, hex};

/// The first bytes of a Git LFS pointer.
const GIT_LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The domains of operators that ONNX Runtime may have. It decides itself whether it has one.
const KNOWN_DOMAINS: [&str; 9] = [
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.preview",
    "ai.onnx.preview.training",
    "ai.onnx.training",
    "com.microsoft",
    "com.microsoft.nchwc",
    "com.ms.internal.nhwc",
];

/// A file that was read once, for all users of its bytes or hash during a load.
#[derive(Debug)]
pub(crate) struct OnnxFile {
    pub(super) path: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
}

/// The identity of a file, for any path that leads to it. A replaced file has another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    device: u64,
    number: u64,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            number: metadata.ino(),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

impl OnnxFile {
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn read(path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        let bytes = read_from(file, metadata.len(), MAX_GRAPH_BYTES)?;
        let digest = Digest::of(&bytes);
        Ok(Self { path, identity: Identity::of(&metadata), bytes: bytes.into(), digest })
    }

    /// Its SHA-256 in lower-case hexadecimal.
    pub(crate) fn sha256(&self) -> String {
        hex(&self.digest.0)
    }

    /// The directory of the file and of the model's other files.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

/// Refuses a file that is no model, has no outputs, needs custom operators, or has weights outside `directory`. Returns
/// whether the bytes are the whole model, without weights in other files.
///
/// # Errors
/// The first problem, with its cause.
pub(super) fn check(bytes: &[u8], directory: &Path) -> Result<bool, ModelError> {
    if bytes.is_empty() {
        return Err(ModelError::EmptyFile);
    }
    if bytes.starts_with(GIT_LFS) {
        return Err(ModelError::GitLfsPointer);
    }
    let model =
        ModelProto::decode(bytes).map_err(|error| ModelError::NotOnnx { detail: error.to_string() })?;
    let Some(graph) = &model.graph else {
        return Err(ModelError::NotOnnx { detail: "it has no graph".to_owned() });
    };
    if graph.output.is_empty() {
        return Err(ModelError::NoOutputs);
    }
    for value in graph.input.iter().chain(&graph.output) {
        if let Some(kind) = value.kind.as_ref().and_then(TypeProto::unreadable) {
            return Err(ModelError::UnsupportedType { name: value.name.clone(), kind: kind.to_owned() });
        }
    }
    let mut contents = Contents::default();
    contents.graph(graph);
    model.functions.iter().flat_map(|function| &function.node).for_each(|node| contents.node(node));
    let local = model.functions.iter().map(|function| function.domain.as_str());
    let known: HashSet<&str> = KNOWN_DOMAINS.into_iter().chain(local).collect();
    if let Some((domain, operator)) = contents.operators.iter().find(|(domain, _)| !known.contains(domain)) {
        let (domain, operator) = ((*domain).to_owned(), (*operator).to_owned());
        return Err(ModelError::CustomOperator { operator, domain });
    }
    if let Some((name, bytes)) = contents.too_large {
        let what = format!("the tensor `{name}`, in bytes as it says,");
        return Err(ModelError::TooLarge { what, found: bytes, most: MAX_TENSOR_BYTES });
    }
    contents.locations.iter().try_for_each(|location| check_location(location, directory))?;
    Ok(contents.locations.is_empty())
}

/// Whether the weights at `location` are a regular file inside `directory`, symbolic links followed.
fn check_location(location: &str, directory: &Path) -> Result<(), ModelError> {
    let refuse = |reason| Err(ModelError::ExternalData { location: location.to_owned(), reason });
    // In ONNX Runtime such names mean an address in memory instead of a file.
    if location.contains("_ORT_") {
        return refuse("the name is reserved by ONNX Runtime");
    }
    let path = Path::new(location);
    if location.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return refuse("it must be a relative path without `.` and `..`");
    }
    let (Ok(directory), Ok(file)) = (directory.canonicalize(), directory.join(path).canonicalize()) else {
        return refuse("there is no such file beside the model");
    };
    if !file.starts_with(&directory) {
        return refuse("it leads out of the model's directory");
    }
    if !file.is_file() {
        return refuse("it is not a file");
    }
    Ok(())
}

/// What a model refers to, collected from its graph, subgraphs and functions.
#[derive(Default)]
struct Contents<'m> {
    operators: HashSet<(&'m str, &'m str)>,
    locations: HashSet<&'m str>,
    /// A tensor that declares more bytes than allowed, and how many.
    too_large: Option<(&'m str, u64)>,
}

impl<'m> Contents<'m> {
    fn graph(&mut self, graph: &'m GraphProto) {
        graph.node.iter().for_each(|node| self.node(node));
        graph.initializer.iter().for_each(|tensor| self.tensor(tensor));
        graph.sparse_initializer.iter().for_each(|tensor| self.sparse(tensor));
    }

    fn node(&mut self, node: &'m NodeProto) {
        self.operators.insert((&node.domain, &node.op_type));
        for attribute in &node.attribute {
            attribute.t.iter().chain(&attribute.tensors).for_each(|tensor| self.tensor(tensor));
            attribute.g.iter().chain(&attribute.graphs).for_each(|graph| self.graph(graph));
            let sparse = attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors);
            sparse.for_each(|tensor| self.sparse(tensor));
        }
    }

    fn sparse(&mut self, tensor: &'m SparseTensorProto) {
        tensor.values.iter().chain(&tensor.indices).for_each(|tensor| self.tensor(tensor));
    }

    fn tensor(&mut self, tensor: &'m TensorProto) {
        let location = tensor.external_data.iter().filter(|entry| entry.key == "location");
        self.locations.extend(location.map(|entry| entry.value.as_str()));
        let bytes = tensor.declared_bytes();
        if bytes > MAX_TENSOR_BYTES {
            self.too_large = Some((&tensor.name, bytes));
        }
    }
}

impl TensorProto {
    /// The bytes that its declared elements would take. Invalid sizes count as the maximum.
    fn declared_bytes(&self) -> u64 {
        // `TensorProto.DataType`. Texts count with their least size.
        let element: u64 = match self.data_type {
            2 | 3 | 9 | 17..=24 => 1,
            4 | 5 | 10 | 16 => 2,
            7 | 11 | 13 | 14 => 8,
            15 => 16,
            _ => 4,
        };
        let size = |bytes: u64, size: &i64| bytes.checked_mul(u64::try_from(*size).ok()?);
        self.dims.iter().try_fold(element, size).unwrap_or(u64::MAX)
    }
}

impl TypeProto {
    /// What is wrong with a type that `ort` cannot parse, if anything.
    fn unreadable(&self) -> Option<&'static str> {
        if self.opaque.is_some() {
            return Some("an opaque value");
        }
        if self.sparse_tensor.is_some() {
            return Some("a sparse tensor");
        }
        if let Some(map) = &self.map {
            let tensors = map.value.as_ref().is_some_and(|value| value.tensor.is_some());
            return (!tensors).then_some("a map of something other than tensors");
        }
        if let Some(optional) = &self.optional {
            return optional.element.as_ref().and_then(|element| element.unreadable());
        }
        let element = self.sequence.as_ref()?.element.as_ref();
        match element {
            Some(element) if element.tensor.is_some() => None,
            Some(element) if element.map.is_some() => element.unreadable(),
            _ => Some("a sequence of something other than tensors and maps"),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<FunctionProto>,
}

#[derive(Clone, PartialEq, Message)]
struct FunctionProto {
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "10")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializer: Vec<SparseTensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(message, optional, tag = "5")]
    t: Option<TensorProto>,
    #[prost(message, optional, tag = "6")]
    g: Option<GraphProto>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<GraphProto>,
    #[prost(message, optional, tag = "22")]
    sparse_tensor: Option<SparseTensorProto>,
    #[prost(message, repeated, tag = "23")]
    sparse_tensors: Vec<SparseTensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct SparseTensorProto {
    #[prost(message, optional, tag = "1")]
    values: Option<TensorProto>,
    #[prost(message, optional, tag = "2")]
    indices: Option<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<TypeProto>,
}

/// A `oneof` in the format. Independent fields here, which decode the same.
#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor: Option<Skipped>,
    #[prost(message, optional, boxed, tag = "4")]
    sequence: Option<Box<ElementProto>>,
    #[prost(message, optional, boxed, tag = "5")]
    map: Option<Box<MapProto>>,
    #[prost(message, optional, tag = "7")]
    opaque: Option<Skipped>,
    #[prost(message, optional, tag = "8")]
    sparse_tensor: Option<Skipped>,
    #[prost(message, optional, boxed, tag = "9")]
    optional: Option<Box<ElementProto>>,
}

#[derive(Clone, PartialEq, Message)]
struct ElementProto {
    #[prost(message, optional, boxed, tag = "1")]
    element: Option<Box<TypeProto>>,
}

#[derive(Clone, PartialEq, Message)]
struct MapProto {
    #[prost(message, optional, boxed, tag = "2")]
    value: Option<Box<TypeProto>>,
}

/// A message of which only the presence matters.
#[derive(Clone, PartialEq, Message)]
struct Skipped {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_weights_in(location: &str) -> Vec<u8> {
        let entry = StringStringEntryProto { key: "location".to_owned(), value: location.to_owned() };
        let tensor = TensorProto { external_data: vec![entry], ..TensorProto::default() };
        // In the body of a loop, where only a walk through the subgraphs finds it.
        let body = GraphProto { initializer: vec![tensor], ..GraphProto::default() };
        let attribute = AttributeProto { g: Some(body), ..AttributeProto::default() };
        let node =
            NodeProto { op_type: "Loop".to_owned(), attribute: vec![attribute], domain: String::new() };
        model(vec![node])
    }

    fn model(node: Vec<NodeProto>) -> Vec<u8> {
        let output = vec![ValueInfoProto { name: "y".to_owned(), kind: None }];
        let graph = GraphProto { node, output, ..GraphProto::default() };
        ModelProto { graph: Some(graph), functions: Vec::new() }.encode_to_vec()
    }

    #[test]
    fn weights_must_lie_inside_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("model");
        std::fs::create_dir_all(inside.join("deeper")).unwrap();
        for file in ["secret", "model/weights", "model/deeper/weights"] {
            std::fs::write(folder.path().join(file), [0; 16]).unwrap();
        }
        std::os::unix::fs::symlink(folder.path().join("secret"), inside.join("link")).unwrap();
        std::os::unix::fs::symlink(inside.join("weights"), inside.join("own")).unwrap();
        let verdict = |location: &str| check(&with_weights_in(location), &inside);
        for accepted in ["weights", "deeper/weights", "own"] {
            assert!(verdict(accepted).is_ok(), "{accepted}");
        }
        let absolute = folder.path().join("secret");
        for refused in
            ["../secret", "link", "deeper/../../secret", absolute.to_str().unwrap(), "none", "", "deeper"]
        {
            let error = verdict(refused).unwrap_err();
            assert!(matches!(error, ModelError::ExternalData { .. }), "{refused}: {error}");
        }
        assert!(verdict("*/_ORT_MEM_ADDR_/*").unwrap_err().to_string().contains("reserved"));
    }

    #[test]
    fn a_tensor_that_declares_a_huge_size_is_refused_anywhere() {
        let verdict = |dims: &[i64], data_type: i32| {
            let tensor = TensorProto {
                dims: dims.to_vec(),
                data_type,
                name: "w".to_owned(),
                ..TensorProto::default()
            };
            let attribute = AttributeProto { t: Some(tensor), ..AttributeProto::default() };
            let node = NodeProto { attribute: vec![attribute], ..NodeProto::default() };
            check(&model(vec![node]), Path::new("."))
        };
        assert!(verdict(&[1 << 14, 1 << 14], 1).is_ok());
        for (dims, data_type) in
            [(&[1 << 40][..], 2), (&[1 << 32, 1 << 32, 1 << 32], 1), (&[-1], 1), (&[1 << 29], 1)]
        {
            let error = verdict(dims, data_type).unwrap_err();
            assert!(error.to_string().starts_with("the tensor `w`, in bytes as it says, is"), "{error}");
        }
    }

    #[test]
    fn kinds_of_invalid_files_are_distinguished() {
        let verdict = |bytes: &[u8]| check(bytes, Path::new(".")).unwrap_err();
        assert!(matches!(verdict(b""), ModelError::EmptyFile));
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
        assert!(matches!(verdict(pointer), ModelError::GitLfsPointer));
        assert!(matches!(verdict(b"<!DOCTYPE html>"), ModelError::NotOnnx { .. }));
        let whole = with_weights_in("weights");
        assert!(matches!(verdict(&whole[..whole.len() - 1]), ModelError::NotOnnx { .. }));
        let function = FunctionProto { domain: "acme".to_owned(), ..FunctionProto::default() };
        let no_graph = ModelProto { graph: None, functions: vec![function] }.encode_to_vec();
        assert!(verdict(&no_graph).to_string().contains("no graph"));
    }

    #[test]
    fn an_operator_of_an_unknown_domain_is_custom() {
        let node = |domain: &str| NodeProto {
            op_type: "Magic".to_owned(),
            attribute: Vec::new(),
            domain: domain.to_owned(),
        };
        assert!(check(&model(vec![node("ai.onnx.ml")]), Path::new(".")).is_ok());
        let error = check(&model(vec![node("acme")]), Path::new(".")).unwrap_err();
        assert!(error.to_string().contains("`Magic` of the domain `acme` is a custom operator"), "{error}");
        let mut local = ModelProto::decode(model(vec![node("acme")]).as_slice()).unwrap();
        local.functions.push(FunctionProto { node: Vec::new(), domain: "acme".to_owned() });
        assert!(check(&local.encode_to_vec(), Path::new(".")).is_ok());
    }

    #[test]
    fn types_that_cannot_be_described_are_refused() {
        let sequence = |element: Option<TypeProto>| TypeProto {
            sequence: Some(Box::new(ElementProto { element: element.map(Box::new) })),
            ..TypeProto::default()
        };
        let tensor = TypeProto { tensor: Some(Skipped {}), ..TypeProto::default() };
        let map = TypeProto {
            map: Some(Box::new(MapProto { value: Some(Box::new(tensor.clone())) })),
            ..TypeProto::default()
        };
        assert_eq!(sequence(Some(tensor.clone())).unreadable(), None);
        assert_eq!(sequence(Some(map)).unreadable(), None);
        assert!(sequence(Some(sequence(Some(tensor)))).unreadable().is_some());
        assert!(sequence(None).unreadable().is_some());
        let sparse = TypeProto { sparse_tensor: Some(Skipped {}), ..TypeProto::default() };
        assert_eq!(sparse.unreadable(), Some("a sparse tensor"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_check_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = check(&bytes, Path::new("."));
        }

        #[test]
        fn no_damage_to_a_model_makes_the_check_panic(at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
            let mut bytes = with_weights_in("weights");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if cut {
                bytes.truncate(at);
            }
            let _ = check(&bytes, Path::new("."));
        }
    }
}
