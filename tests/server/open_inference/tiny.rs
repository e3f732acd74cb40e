//! Tiny ONNX models of one node, written field by field, so that a test knows the exact inputs and outputs.

use prost::Message;

/// ONNX's number of each element type, with the protocol's name and the size of an element in bytes.
pub(super) const ELEMENT_TYPES: [(i32, &str, usize); 14] = [
    (9, "BOOL", 1),
    (2, "UINT8", 1),
    (4, "UINT16", 2),
    (12, "UINT32", 4),
    (13, "UINT64", 8),
    (3, "INT8", 1),
    (5, "INT16", 2),
    (6, "INT32", 4),
    (7, "INT64", 8),
    (10, "FP16", 2),
    (16, "BF16", 2),
    (1, "FP32", 4),
    (11, "FP64", 8),
    (8, "BYTES", 0),
];

/// ONNX's number for float32.
pub(super) const FLOAT: i32 = 1;

/// A dimension of a declared shape.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Any,
    Exactly(i64),
}

/// A model whose output `y` is its input `x`.
pub(super) fn identity(element: i32, shape: &[Size]) -> Vec<u8> {
    model("Identity", &[("x", element, shape)], ("y", element, shape))
}

/// A model whose output `y` is `a + b`, broadcast: incompatible shapes fail at run time.
pub(super) fn sum() -> Vec<u8> {
    let any = [Size::Any];
    model("Add", &[("a", FLOAT, &any), ("b", FLOAT, &any)], ("y", FLOAT, &any))
}

/// A model that expands `x` to `shape`, so that a small request has a large answer.
pub(super) fn expand() -> Vec<u8> {
    const INT64: i32 = 7;
    model("Expand", &[("x", FLOAT, &[Size::Any]), ("shape", INT64, &[Size::Any])], ("y", FLOAT, &[Size::Any]))
}

type Port<'a> = (&'a str, i32, &'a [Size]);

fn model(operator: &str, inputs: &[Port<'_>], output: Port<'_>) -> Vec<u8> {
    let node = Node {
        inputs: inputs.iter().map(|(name, ..)| (*name).to_owned()).collect(),
        outputs: vec![output.0.to_owned()],
        operator: operator.to_owned(),
    };
    let graph = Graph {
        nodes: vec![node],
        name: operator.to_owned(),
        inputs: inputs.iter().map(Value::of).collect(),
        outputs: vec![Value::of(&output)],
    };
    Model { ir_version: 8, graph: Some(graph), opsets: vec![Opset { version: 17 }] }.encode_to_vec()
}

// The part of `onnx.proto` that a model of one node needs, with ONNX's tags.

#[derive(Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opsets: Vec<Opset>,
}

#[derive(Message)]
struct Opset {
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    outputs: Vec<Value>,
}

#[derive(Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    outputs: Vec<String>,
    #[prost(string, tag = "4")]
    operator: String,
}

#[derive(Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Kind>,
}

#[derive(Message)]
struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorKind>,
}

#[derive(Message)]
struct TensorKind {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dimensions: Vec<Dimension>,
}

#[derive(Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    size: Option<i64>,
}

impl Value {
    fn of((name, element, shape): &Port<'_>) -> Self {
        let dimension = |size: &Size| Dimension {
            size: match size {
                Size::Any => None,
                Size::Exactly(size) => Some(*size),
            },
        };
        let shape = Shape { dimensions: shape.iter().map(dimension).collect() };
        let tensor = TensorKind { element: *element, shape: Some(shape) };
        Self { name: (*name).to_owned(), kind: Some(Kind { tensor: Some(tensor) }) }
    }
}
