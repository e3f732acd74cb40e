"""Writes trained models as ONNX graphs, node by node with `onnx.helper`.

A converter library would also work, but its output depends on its version and on generated names. Here the bytes depend
only on the model. Every function returns a serialised model whose batch dimension is `N`.
"""

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
IR_VERSION = 8  # of ONNX 1.12: old enough for every runtime still in use


def tree_classifier(trees, width):
    """A binary LightGBM classifier: one float tensor `features` in, `label` and `probabilities` out.

    `trees`: the `tree_info` of `Booster.dump_model()`; `width`: the number of columns.

    LightGBM compares in float64 and goes left where `value <= threshold`. A float32 value is at most a float64
    threshold exactly if it is at most the largest float32 that does not exceed it. So thresholds are rounded down, and
    both always take the same branch.
    """
    nodes = {key: [] for key in ("treeids", "nodeids", "featureids", "modes", "values")}
    nodes |= {key: [] for key in ("truenodeids", "falsenodeids", "missing_value_tracks_true")}
    leaves = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}

    def add(tree, node, next_id):
        """Adds `node` with the id `next_id`, then its descendants; returns the next free id."""
        row = len(nodes["treeids"])
        for key in nodes:
            nodes[key].append(0)
        nodes["treeids"][row], nodes["nodeids"][row] = tree, next_id
        if "leaf_value" in node:
            nodes["modes"][row], nodes["values"][row] = "LEAF", 0.0
            leaves["treeids"].append(tree)
            leaves["nodeids"].append(next_id)
            leaves["ids"].append(0)
            leaves["weights"].append(float(np.float32(node["leaf_value"])))
            return next_id + 1
        if node["decision_type"] != "<=" or node["missing_type"] == "Zero":
            raise ValueError(f"unsupported decision {node['decision_type']} with missing {node['missing_type']}")
        nodes["modes"][row], nodes["values"][row] = "BRANCH_LEQ", round_down(node["threshold"])
        nodes["featureids"][row] = node["split_feature"]
        # For a column without missing values in training the type is `None`: LightGBM then reads a missing value as
        # zero.
        goes_left = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0.0
        nodes["missing_value_tracks_true"][row] = int(goes_left)
        nodes["truenodeids"][row] = next_id + 1
        nodes["falsenodeids"][row] = add(tree, node["left_child"], next_id + 1)
        return add(tree, node["right_child"], nodes["falsenodeids"][row])

    for tree, info in enumerate(trees):
        add(tree, info["tree_structure"], 0)
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["features"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_int64s=[0, 1],
        post_transform="LOGISTIC",
        **{f"nodes_{key}": values for key, values in nodes.items()},
        **{f"class_{key}": values for key, values in leaves.items()},
    )
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2]),
    ]
    return serialised("propensity", [node], [dense_input(width)], outputs, [])


def round_down(threshold):
    """The largest float32 that does not exceed `threshold`.

    A split of missing from known values has a threshold near the largest float64, which becomes the largest float32.
    """
    rounded = np.float32(min(threshold, float(np.finfo(np.float32).max)))
    if float(rounded) > threshold:
        rounded = np.nextafter(rounded, np.float32(-np.inf))
    return float(rounded)


def network(amounts, others, mean, deviation, layers):
    """An MLP: one float tensor `features` in, `scores` (log-odds, a column per offer) out.

    `amounts`, `others`: positions of the columns that are transformed by ln(1 + x), and of the others. `mean`,
    `deviation`: of the columns in that order. `layers`: (weights, bias) of each layer, with ReLU between them.
    """
    initializers = [
        constant("amounts", np.array(amounts, np.int64)),
        constant("others", np.array(others, np.int64)),
        constant("one", np.float32(1)),
        constant("mean", mean.astype(np.float32)),
        constant("scale", (1 / deviation).astype(np.float32)),
    ]
    nodes = [
        helper.make_node("Gather", ["features", "amounts"], ["amount"], axis=1),
        helper.make_node("Relu", ["amount"], ["positive"]),
        helper.make_node("Add", ["positive", "one"], ["shifted"]),
        helper.make_node("Log", ["shifted"], ["logged"]),
        helper.make_node("Gather", ["features", "others"], ["plain"], axis=1),
        helper.make_node("Concat", ["logged", "plain"], ["columns"], axis=1),
        helper.make_node("Sub", ["columns", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["hidden_0"]),
    ]
    last = len(layers) - 1
    for index, (weights, bias) in enumerate(layers):
        initializers.append(constant(f"weights_{index}", weights.astype(np.float32)))
        initializers.append(constant(f"bias_{index}", bias.astype(np.float32)))
        result = "scores" if index == last else f"linear_{index}"
        nodes.append(helper.make_node("Gemm", [f"hidden_{index}", f"weights_{index}", f"bias_{index}"], [result]))
        if index != last:
            nodes.append(helper.make_node("Relu", [result], [f"hidden_{index + 1}"]))
    columns = layers[-1][1].shape[0]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", columns])]
    return serialised("network", nodes, [dense_input(len(mean))], outputs, initializers)


def linear_classifier(amounts, numbers, texts, mean, deviation, weights, bias):
    """A binary logistic regression with one input per feature and a ZipMap: `probabilities` maps "declined" and
    "accepted" to their probabilities.

    `amounts`: names of float inputs that are transformed by ln(1 + x). `numbers`: name → "float", "int" or "bool".
    `texts`: name → categories, one-hot encoded, with all zeros for an unknown string. `mean` and `deviation` are of
    amounts, then numbers; `weights` are of those, then of the categories.
    """
    types = {"float": TensorProto.FLOAT, "int": TensorProto.INT64, "bool": TensorProto.BOOL}
    typed = [(name, TensorProto.FLOAT) for name in amounts]
    typed += [(name, types[kind]) for name, kind in numbers.items()]
    typed += [(name, TensorProto.STRING) for name in texts]
    inputs = [helper.make_tensor_value_info(name, kind, ["N", 1]) for name, kind in typed]
    initializers = [constant("one", np.float32(1))]
    nodes = [
        helper.make_node("Concat", list(amounts), ["amount"], axis=1),
        helper.make_node("Relu", ["amount"], ["positive"]),
        helper.make_node("Add", ["positive", "one"], ["shifted"]),
        helper.make_node("Log", ["shifted"], ["logged"]),
    ]
    columns = ["logged"]
    for name, kind in numbers.items():
        columns.append(name if kind == "float" else f"{name}_float")
        if kind != "float":
            nodes.append(helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Concat", columns, ["numeric"], axis=1))
    nodes.append(
        helper.make_node(
            "Scaler",
            ["numeric"],
            ["scaled"],
            domain="ai.onnx.ml",
            offset=[float(value) for value in mean.astype(np.float32)],
            scale=[float(value) for value in (1 / deviation).astype(np.float32)],
        )
    )
    parts = ["scaled"]
    for name, categories in texts.items():
        initializers.append(constant(f"{name}_shape", np.array([-1, len(categories)], np.int64)))
        nodes.append(
            helper.make_node(
                "OneHotEncoder", [name], [f"{name}_cube"], domain="ai.onnx.ml", cats_strings=categories, zeros=1
            )
        )
        nodes.append(helper.make_node("Reshape", [f"{name}_cube", f"{name}_shape"], [f"{name}_one_hot"]))
        parts.append(f"{name}_one_hot")
    nodes.append(helper.make_node("Concat", parts, ["row"], axis=1))
    weights, bias = weights.astype(np.float32), np.float32(bias)
    labels = ["declined", "accepted"]
    nodes.append(
        helper.make_node(
            "LinearClassifier",
            ["row"],
            ["label", "both"],
            domain="ai.onnx.ml",
            classlabels_strings=labels,
            coefficients=[float(value) for value in np.concatenate([-weights, weights])],
            intercepts=[float(-bias), float(bias)],
            multi_class=1,
            post_transform="LOGISTIC",
        )
    )
    nodes.append(
        helper.make_node("ZipMap", ["both"], ["probabilities"], domain="ai.onnx.ml", classlabels_strings=labels)
    )
    score = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.STRING, score))
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, ["N"]),
        helper.make_value_info("probabilities", maps),
    ]
    return serialised("affinity", nodes, inputs, outputs, initializers)


def dense_input(width):
    """The only input of a dense model."""
    return helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", width])


def constant(name, values):
    """A named constant of a graph."""
    return numpy_helper.from_array(np.asarray(values), name)


def serialised(name, nodes, inputs, outputs, initializers):
    """The checked bytes of a graph."""
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=IR_VERSION, producer_name="proffer sample")
    checker.check_model(model)
    return model.SerializeToString(deterministic=True)
