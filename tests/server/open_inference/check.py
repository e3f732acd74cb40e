#!/usr/bin/env python3
"""Runs recorded ONNX models on a live server through Triton's own Python client.

The folder of recorded models contains the ONNX files and REFERENCE_RUNS.json: inputs, and the outputs that Python's
onnxruntime computed for them. Models with recorded outputs must give these outputs: the same names, types and shapes,
the same integers and texts, floats within 1e-5 x max(1, |recorded|). The model with bfloat16 inputs has no recorded
outputs, because the recorder could not build them; its answer must match its metadata. The other models must be
rejected with FAILED_PRECONDITION and a reason that names the cause.

Usage:
    check.py install RECORDED MODELS       copy the models to MODELS/<name>/1/model.onnx, for a server
    check.py run RECORDED HOST:PORT        call the server, print a table, exit with 1 if anything differs
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

TOLERANCE = 1e-5
REFERENCE = "REFERENCE_RUNS.json"
BFLOAT16 = "runtime_edge/example_several_inputs_and_outputs.onnx"
REFUSED = {
    "negative/git_lfs_pointer_not_a_model.onnx": "Git LFS pointer",
    "runtime_edge/custom_op_test.onnx": "custom operator",
    "sklearn/bad_graph_no_outputs.onnx": "no outputs",
}
# How long a server may take to notice and load the models.
PATIENCE_SECONDS = 30.0


class Difference(Exception):
    """A difference from the recording."""


def served_name(file: str) -> str:
    """The name under which a file is served: `sklearn/a.onnx` as `sklearn.a`."""
    return file.removesuffix(".onnx").replace("/", ".")


def read_reference(recorded: Path) -> dict[str, Any]:
    """The recordings by file."""
    return json.loads((recorded / REFERENCE).read_text())["models"]


def install(recorded: Path, models: Path) -> None:
    """Copies each model, with its weights if they are in another file, to version 1 for a server."""
    for file in read_reference(recorded):
        version = models / served_name(file) / "1"
        version.mkdir(parents=True, exist_ok=True)
        # The weights come first, so that a server that polls meanwhile finds a complete model.
        weights = recorded / f"{file}.data"
        if weights.is_file():
            shutil.copyfile(weights, version / "model.onnx.data")
        shutil.copyfile(recorded / file, version / "model.onnx")


def require(holds: bool, message: str) -> None:
    """Raises a Difference with `message` unless `holds`."""
    if not holds:
        raise Difference(message)


def array(tensor: dict[str, Any]) -> np.ndarray:
    """A recorded tensor."""
    dtype = np.object_ if tensor["dtype"] == "object" else np.dtype(tensor["dtype"])
    return np.array(tensor["data"], dtype=dtype).reshape(tensor["shape"])


def infer(client: triton.InferenceServerClient, file: str, inputs: dict[str, np.ndarray]) -> triton.InferResult:
    """One call."""
    tensors = []
    for name, values in inputs.items():
        tensor = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
        tensors.append(tensor.set_data_from_numpy(values))
    return client.infer(served_name(file), tensors, model_version="1", request_id=file)


def compare(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    """Compares an output with its recording."""
    require(found.shape == expected.shape, f"{name}: shape {found.shape}, recorded {expected.shape}")
    if expected.dtype == np.object_:
        texts = [text.decode() for text in found.ravel()]
        require(texts == expected.ravel().tolist(), f"{name}: {texts}, recorded {expected.ravel().tolist()}")
        return
    require(found.dtype == expected.dtype, f"{name}: {found.dtype}, recorded {expected.dtype}")
    if not np.issubdtype(expected.dtype, np.floating):
        require(np.array_equal(found, expected), f"{name}: {found.tolist()}, recorded {expected.tolist()}")
        return
    allowed = TOLERANCE * np.maximum(1.0, np.abs(expected.astype(np.float64)))
    worst = np.max(np.abs(found.astype(np.float64) - expected) / allowed, initial=0.0)
    require(bool(worst <= 1.0), f"{name}: differs from the recording by {worst:.1f} times the tolerance")


def zip_map(result: triton.InferResult, name: str, rows: list[dict[str, float]]) -> np.ndarray:
    """The recorded rows of a ZipMap as a matrix, in the order of the labels in the answer."""
    labels = json.loads(result.get_output(name).parameters["labels"].string_param)
    keys = [str(label) for label in labels]
    for row in rows:
        require(sorted(row) == sorted(keys), f"{name}: labels {keys}, recorded {sorted(row)}")
    return np.array([[row[key] for key in keys] for row in rows], dtype=np.float32)


def check_recorded(client: triton.InferenceServerClient, file: str, run: dict[str, Any]) -> None:
    """Checks one recorded run."""
    result = infer(client, file, {name: array(tensor) for name, tensor in run["inputs"].items()})
    response = result.get_response()
    require(response.id == file, f"the id {response.id!r} is not the request's")
    names = [output.name for output in response.outputs]
    require(sorted(names) == sorted(run["outputs"]), f"outputs {names}, recorded {list(run['outputs'])}")
    for name, recorded in run["outputs"].items():
        expected = zip_map(result, name, recorded) if isinstance(recorded, list) else array(recorded)
        compare(name, result.as_numpy(name), expected)


def check_bfloat16(client: triton.InferenceServerClient, file: str) -> None:
    """Checks that a run on ones matches the metadata."""
    metadata = client.get_model_metadata(served_name(file))
    inputs = {
        tensor.name: np.ones(tuple(tensor.shape), dtype=triton_to_np_dtype(tensor.datatype))
        for tensor in metadata.inputs
    }
    require("BF16" in {tensor.datatype for tensor in metadata.inputs}, "no input is BF16")
    result = infer(client, file, inputs)
    for tensor in metadata.outputs:
        values = result.as_numpy(tensor.name)
        require(values is not None, f"no output {tensor.name}")
        declared = (tuple(tensor.shape), np.dtype(triton_to_np_dtype(tensor.datatype)))
        require((values.shape, values.dtype) == declared, f"{tensor.name}: {values.dtype} {values.shape}")


def check_refused(client: triton.InferenceServerClient, file: str, reason: str) -> None:
    """Checks that a model is rejected, with the status and the reason."""
    require(not client.is_model_ready(served_name(file)), "it is reported as ready")
    try:
        infer(client, file, {"x": np.ones((1, 1), dtype=np.float32)})
    except InferenceServerException as error:
        require(error.status() == "StatusCode.FAILED_PRECONDITION", f"{error.status()}: {error.message()}")
        require(reason in error.message(), f"no {reason!r} in: {error.message()}")
        return
    raise Difference("it answered")


def checks(client: triton.InferenceServerClient, recorded: Path) -> Iterator[tuple[str, str, Callable[[], None]]]:
    """Every check, with its file and its subject."""
    for file, model in read_reference(recorded).items():
        runs = {name: run for name, run in model.get("runs", {}).items() if "error" not in run}
        if file in REFUSED:
            yield file, "refused", lambda file=file: check_refused(client, file, REFUSED[file])
        elif file == BFLOAT16:
            yield file, "bfloat16", lambda file=file: check_bfloat16(client, file)
        elif not runs:
            yield file, "recording", lambda: require(False, "it has no recording and is not among those to be rejected")
        for name, run in runs.items():
            yield file, name, lambda file=file, run=run: check_recorded(client, file, run)


def wait_for_models(client: triton.InferenceServerClient, recorded: Path) -> None:
    """Waits until all models are ready that should be, at most PATIENCE_SECONDS: the checks report those missing."""
    wanted = [served_name(file) for file in read_reference(recorded) if file not in REFUSED]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and not all(client.is_model_ready(name) for name in wanted):
        time.sleep(0.1)


def run(recorded: Path, address: str) -> int:
    """Runs all checks; returns the exit code."""
    rows = []
    with triton.InferenceServerClient(address) as client:
        wait_for_models(client, recorded)
        for file, about, check in checks(client, recorded):
            try:
                check()
                rows.append((file, about, "ok"))
            except (Difference, InferenceServerException) as error:
                rows.append((file, about, f"FAILED: {error}"))
    failed = [row for row in rows if row[2] != "ok"]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for file, about, verdict in rows:
        print(f"{file:<{widths[0]}}  {about:<{widths[1]}}  {verdict}")
    print(f"{len(rows) - len(failed)} of {len(rows)} checks passed, {len({row[0] for row in rows})} models")
    return 1 if failed else 0


def main() -> int:
    """Runs a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    installing = commands.add_parser("install", help="copy the models for a server")
    installing.add_argument("recorded", type=Path, help=f"the folder with {REFERENCE}")
    installing.add_argument("models", type=Path, help="the server's directory of models")
    running = commands.add_parser("run", help="call a server")
    running.add_argument("recorded", type=Path, help=f"the folder with {REFERENCE}")
    running.add_argument("address", help="HOST:PORT of the server")
    arguments = parser.parse_args()
    if arguments.command == "install":
        install(arguments.recorded, arguments.models)
        return 0
    return run(arguments.recorded, arguments.address)


if __name__ == "__main__":
    sys.exit(main())
