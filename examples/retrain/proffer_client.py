"""The gRPC calls of a retraining pipeline: push, release, promote, roll back, score.

Copy this file into your own pipeline, together with `proto/`. The stubs are generated from the .proto files on import
and not kept, so they are never out of date. Nothing here depends on the sample.
"""

import hashlib
import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import grpc_tools
import numpy as np
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[2] / "proto"
CHUNK = 1 << 20  # bytes per message of an upload; the server takes at most 16 MiB in one
PUSH_SECONDS = 600  # the upload and the gates together
CALL_SECONDS = 120  # any other call; a promotion loads and warms up the models that the release pins


def stubs(*names: str) -> list:
    """The messages and the client of each `proffer/v1/<name>.proto`: `x_pb2`, `x_pb2_grpc`, and so on."""
    with tempfile.TemporaryDirectory() as generated:
        well_known = Path(grpc_tools.__file__).parent / "_proto"
        files = sorted(str(path) for path in (PROTO / "proffer").rglob("*.proto"))
        outputs = [f"--python_out={generated}", f"--grpc_python_out={generated}"]
        if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *outputs, *files]) != 0:
            raise RuntimeError(f"{PROTO}: the .proto files cannot be compiled")
        sys.path.insert(0, generated)
        try:
            modules = [f"proffer.v1.{name}_{part}" for name in names for part in ("pb2", "pb2_grpc")]
            return [importlib.import_module(module) for module in modules]
        finally:
            sys.path.remove(generated)


decision, decision_grpc, model, model_grpc, release, release_grpc = stubs("decision", "model", "release")


class Proffer:
    """A connection to one server. Methods raise `grpc.RpcError` with the server's message if it rejects the call."""

    def __init__(self, address: str):
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
        self._decisions = decision_grpc.DecisionServiceStub(self._channel)
        self._models = model_grpc.ModelServiceStub(self._channel)
        self._releases = release_grpc.ReleaseServiceStub(self._channel)

    def __enter__(self) -> "Proffer":
        return self

    def __exit__(self, *_) -> None:
        self._channel.close()

    def push(self, name: str, directory: Path):
        """Uploads the directory of a version under the next free number.

        Returns the number and the verdict; a version that fails its gates is not an error, but the verdict says so.
        """
        return self._models.PushModelVersion(upload(name, directory), timeout=PUSH_SECONDS)

    def current_release(self) -> int:
        """The number of the current release."""
        return self._releases.ListReleases(release.ListReleasesRequest(count=1), timeout=CALL_SECONDS).current.release

    def create_release(self, base: int, models: dict[str, int], author: str, note: str) -> int:
        """Creates a release from `base` with other model versions; it does not serve yet."""
        request = release.CreateReleaseRequest(base=base, models=models, author=author, note=note)
        return self._releases.CreateRelease(request, timeout=CALL_SECONDS).release.number

    def promote(self, number: int, expected_current: int, author: str, reason: str):
        """Promotes a release; ABORTED if the current release is not `expected_current`."""
        request = release.PromoteReleaseRequest(
            release=number, expected_current=expected_current, author=author, reason=reason
        )
        return self._releases.PromoteRelease(request, timeout=CALL_SECONDS)

    def roll_back(self, author: str, reason: str):
        """Rolls back to the release before the current one."""
        request = release.RollbackReleaseRequest(author=author, reason=reason)
        return self._releases.RollbackRelease(request, timeout=CALL_SECONDS)

    def score(self, name: str, features: list[str], rows: np.ndarray):
        """Scores (rows, features) with the serving model; NaN is a missing value.

        Returns the answer and its propensities as (rows,) float32. The rows contain features of offers, too, so the
        model must be pairwise. The server has a limit of rows per call (docs/operations/limits.md).
        """
        dense = {"names": features, "values": rows.astype(np.float32).ravel()}
        request = decision.ScoreRequest(model={"name": name}, features={"rows": len(rows), "dense": dense})
        answer = self._decisions.Score(request, timeout=CALL_SECONDS)
        return answer, np.array(answer.values, np.float32)


def upload(name: str, directory: Path) -> Iterator:
    """The messages of PushModelVersion: the header, then the bytes of the files in its order."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path != directory / "model.toml")
    header = model.PushHeader(name=name, manifest=(directory / "model.toml").read_text())
    for path in files:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        header.files.add(name=path.relative_to(directory).as_posix(), size=path.stat().st_size, sha256=digest)
    yield model.PushModelVersionRequest(header=header)
    for path in files:
        with path.open("rb") as file:
            while data := file.read(CHUNK):
                yield model.PushModelVersionRequest(chunk=model.FileChunk(data=data))


def gate_table(verdict) -> str:
    """A verdict as a table, with one gate per line."""
    rows = [("gate", "outcome", "measured", "limit", "why")]
    for gate in verdict.gates:
        outcome = model.GateOutcome.Name(gate.outcome).removeprefix("GATE_OUTCOME_").lower()
        rows.append((gate.gate, outcome, gate.measured, gate.limit, gate.why))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[4]]).rstrip() for row in rows]
    return "\n".join(lines)
