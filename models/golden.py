"""Writes golden.csv for each model of the sample workspace: rows, and the outputs that the server must return for them.

    python models/golden.py [--models DIRECTORY]

runs every version of each model with Python's onnxruntime (numpy for the segments) and applies the manifest's
calibration. It lists the file in the manifest's [checksums]. Run it after train.py and segments.py, whose manifests do
not contain it. Rows are sample customers, missing values included, with a random context. The gates of a pushed version
compare the server with these files; crates/release/src/gates/golden.rs documents the layout.

Start reading at `main`.
"""

import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
sys.dont_write_bytecode = True

import argparse
import csv
import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime

import simulate

SEED, ROWS = 2027, 20
OFFERS_EACH = 6  # offers of a model with a score per offer, so that the file stays readable
KINDS = {"float": np.float32, "int": np.int64, "bool": np.bool_, "string": object}


class Sample:
    """Customers, contexts and offers as text, as in a CSV; a missing value is empty."""

    def __init__(self, directory):
        with (directory / "customers.csv").open(newline="") as file:
            self.customers = list(csv.DictReader(file))
        self.schema = {feature["name"]: feature for feature in simulate.schema()}
        self.offers = simulate.offers()
        self.rng = np.random.Generator(np.random.PCG64(SEED))

    def rows(self, count, pairs):
        """`count` customers with a random context, half of them with missing values; with an offer if `pairs`."""
        gaps = [customer for customer in self.customers if "" in customer.values()]
        chosen = [*self.rng.choice(gaps, count // 2, replace=False), *self.rng.choice(self.customers, count - count // 2)]
        for customer in chosen:
            row = dict(customer)
            row |= {"month": str(self.rng.integers(1, 13)), "hour": str(self.rng.integers(24))}
            row |= {"page": str(self.rng.choice(simulate.PAGES)), "days_since_login": str(self.rng.integers(60))}
            if pairs:
                offer = self.offers[self.rng.integers(len(self.offers))]
                own = {name: str(value).lower() for name, value in offer.get("features", {}).items()}
                row |= {name: own.get(name, "") for name, feature in self.schema.items() if feature["entity"] == "offer"}
            yield row

    def value(self, row, name):
        """The value of a feature as a model gets it: the default if it is missing, or None without a default."""
        feature, text = self.schema[name], row[name]
        if text == "":
            return feature.get("default")
        match feature["type"]:
            case "bool":
                return text == "true"
            case "int":
                return int(text)
            case "float":
                return float(text)
        return text


def answers(directory, manifest, sample, rows):
    """A propensity per row and column, and the names of the columns. Rows without a required value are dropped."""
    per_feature, layout = manifest.get("inputs_layout") == "per_feature", manifest["layout"]
    files = {path.stem: path for path in sorted(directory.glob("*.onnx"))}
    if layout == "per_offer":
        files = {offer: files[offer] for offer in list(files)[:: max(1, len(files) // OFFERS_EACH)]}
    names = [tensor.name for tensor in session(next(iter(files.values()))).get_inputs()]
    features = names if per_feature else manifest["inputs"]
    values = [[sample.value(row, name) for name in features] for row in rows]
    if not manifest["accepts_missing"]:
        whole = [None not in row for row in values]
        rows = [row for row, keep in zip(rows, whole) if keep]
        values = [row for row, keep in zip(values, whole) if keep]
    if per_feature:
        kinds = [KINDS[sample.schema[name]["type"]] for name in features]
        columns = [np.array([row[at] for row in values], kind).reshape(-1, 1) for at, kind in enumerate(kinds)]
        feed = dict(zip(features, columns))
    else:
        known = [[np.nan if value is None else float(value) for value in row] for row in values]
        feed = {names[0]: np.array(known, np.float32)}
    output, label = manifest["output"]["name"], manifest["output"].get("class")
    found = {}
    for stem, path in files.items():
        raw = session(path).run([output], feed)[0]
        if layout == "multi_offer":
            offers = manifest["offers"]
            chosen = offers[:: max(1, len(offers) // OFFERS_EACH)]
            found |= {f"expected:{offer}": raw[:, offers.index(offer)] for offer in chosen}
        elif layout == "per_offer":
            found[f"expected:{stem}"] = np.array([row[label] for row in raw])
        else:
            found["expected"] = raw[:, label]
    return features, rows, {name: calibrated(manifest["calibration"], scores) for name, scores in found.items()}


def session(path):
    """A session with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def calibrated(calibration, scores):
    """Propensities as 64-bit floats."""
    scores = scores.astype(np.float64)
    if calibration["method"] == "platt":
        return 1 / (1 + np.exp(-(calibration["a"] * scores + calibration["b"])))
    return np.interp(scores, calibration["x"], calibration["y"])


def segments(directory, rows):
    """The nearest centroid of each row, from the raw values, with missing ones imputed as in training."""
    artefact = json.loads((directory / "segments.json").read_text())
    features = [feature["name"] for feature in artefact["features"]]
    raw = np.array([[float(row[name] or "nan") for name in features] for row in rows], np.float32).astype(np.float64)
    for at, feature in enumerate(artefact["features"]):
        column = np.where(np.isnan(raw[:, at]), feature["impute"], raw[:, at])
        column = np.log1p(np.maximum(column, 0)) if feature["log1p"] else column
        raw[:, at] = (column - feature["mean"]) / feature["deviation"]
    centroids = np.array([segment["centroid"] for segment in artefact["segments"]])
    nearest = ((raw[:, None, :] - centroids) ** 2).sum(axis=2).argmin(axis=1)
    return features, rows, {"expected": nearest}


def write(directory, features, rows, expected):
    """Writes golden.csv and lists it in the manifest, sorted by name."""
    lines = [[*features, *expected]]
    for at, row in enumerate(rows):
        lines.append([row[name] for name in features] + [f"{column[at]:.9g}" for column in expected.values()])
    content = "".join(",".join(line) + "\n" for line in lines)
    (directory / "golden.csv").write_text(content)
    manifest = (directory / "model.toml").read_text()
    head, rest = manifest.split("[checksums]\n")
    listed, *tail = rest.split("\n\n", 1)
    sums = [line for line in listed.splitlines() if not line.startswith('"golden.csv"')]
    sums.append(f'"golden.csv" = "{hashlib.sha256(content.encode()).hexdigest()}"')
    after = "\n\n".join(["\n".join(sorted(sums)), *tail])
    (directory / "model.toml").write_text(f"{head}[checksums]\n{after}")
    print(f"{directory}: {len(rows)} rows, {len(expected)} expected each")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=simulate.HERE, help="the workspace (default: the directory of this script)")
    directory = parser.parse_args().models
    sample = Sample(directory)
    for name in ("propensity", "network", "affinity", "segments"):
        versions = sorted((path.parent for path in (directory / name).glob("*/model.toml")), key=lambda path: int(path.name))
        manifests = [tomllib.loads((version / "model.toml").read_text()) for version in versions]
        # All versions of a model are asked for the same rows, so that a further version changes no other file.
        rows = list(sample.rows(ROWS, pairs=manifests[0].get("layout") == "pairwise"))
        for version, manifest in zip(versions, manifests):
            if manifest["kind"] == "segmentation":
                write(version, *segments(version, rows))
            else:
                write(version, *answers(version, manifest, sample, rows))


if __name__ == "__main__":
    main()
