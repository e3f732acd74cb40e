"""Compares segments with scikit-learn: `KMeans.predict` on the centroids of an artefact.

    python tests/golden/segments.py --artefact models/segments/1/segments.json --data CC_GENERAL.csv.gz --write ids.csv
    python tests/golden/segments.py --artefact … --data … --compare assignments.csv

numpy applies the preparation of the artefact (imputation, bounds, logarithm, z-scores, components) to the 32-bit floats
that a server receives; scikit-learn predicts. `--write` writes `id,segment` per customer. `--compare` reads such a file
(columns `id` or `cust_id`, and `segment`), in any order. It fails if a customer is missing, unknown or in another
segment. Customers whose distances to two centroids are equal within rounding are counted and may be in either; CC
GENERAL has none.
"""

import os

# One thread is enough for nine thousand rows, and gives the same sums on every machine.
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import csv
import gzip
import json
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

NEAR = 1e-9  # the relative difference of two squared distances below which rounding decides


def read_table(path, features):
    """Ids, and raw values (customers, features) as float32, with NaN for missing ones; the header may have any case."""
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    rows = [{name.lower(): value for name, value in row.items()} for row in csv.DictReader(text.splitlines())]
    raw = [[float(row[feature["name"]] or "nan") for feature in features] for row in rows]
    return [row["cust_id"] for row in rows], np.array(raw, np.float32)


def points(artefact, raw):
    """Coordinates (customers, dimensions) by the preparation of the artefact, in 64 bits."""
    columns = []
    for feature, column in zip(artefact["features"], raw.astype(np.float64).T):
        column = np.where(np.isnan(column), feature["impute"], column)
        if feature.get("winsor") is not None:
            column = np.clip(column, *feature["winsor"])
        if feature["log1p"]:
            column = np.log1p(np.maximum(column, 0.0))
        columns.append((column - feature["mean"]) / feature["deviation"])
    prepared = np.column_stack(columns)
    return prepared if artefact.get("pca") is None else prepared @ np.array(artefact["pca"]).T


def predict(artefact, prepared):
    """The segments by scikit-learn, which customers lie between two segments, and the inertia."""
    centroids = np.array([segment["centroid"] for segment in artefact["segments"]])
    model = KMeans(n_clusters=len(centroids), init=centroids, n_init=1, max_iter=1).fit(centroids)
    model.cluster_centers_ = centroids
    squared = ((prepared[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2)
    nearest = np.sort(squared, axis=1)[:, :2]
    between = nearest[:, 1] - nearest[:, 0] <= NEAR * nearest[:, 1]
    return model.predict(prepared), between, float(squared.min(axis=1).sum())


def compare(ids, segments, between, path):
    """Fails if there are differences, after printing their number and some customers by kind."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    key = "id" if "id" in rows[0] else "cust_id"
    theirs = {row[key]: int(row["segment"]) for row in rows}
    ours = dict(zip(ids, (int(segment) for segment in segments)))
    near = {customer for customer, is_between in zip(ids, between) if is_between}
    missing, unknown = [id for id in ours if id not in theirs], [id for id in theirs if id not in ours]
    moved = [id for id in ours if id in theirs and theirs[id] != ours[id] and id not in near]
    for what, customers in (("missing", missing), ("unknown", unknown), ("in another segment", moved)):
        if customers:
            print(f"{len(customers)} customers {what}: {', '.join(customers[:5])}")
    if missing or unknown or moved or len(rows) != len(theirs):
        raise SystemExit(f"{path} does not agree with scikit-learn")
    print(f"{len(ours)} customers, all in the segment that scikit-learn predicts; {len(near)} between two")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artefact", type=Path, required=True, help="segments.json")
    parser.add_argument("--data", type=Path, required=True, help="CC_GENERAL.csv or .csv.gz")
    parser.add_argument("--write", type=Path, help="write id,segment to this file")
    parser.add_argument("--compare", type=Path, help="compare with this file")
    arguments = parser.parse_args()
    artefact = json.loads(arguments.artefact.read_text())
    ids, raw = read_table(arguments.data, artefact["features"])
    segments, between, inertia = predict(artefact, points(artefact, raw))
    print(f"inertia {inertia:.6f}, the artefact says {artefact['inertia']:.6f}")
    if arguments.write:
        lines = ["id,segment"] + [f"{id},{segment}" for id, segment in zip(ids, segments)]
        arguments.write.write_text("\n".join(lines) + "\n")
    if arguments.compare:
        compare(ids, segments, between, arguments.compare)


if __name__ == "__main__":
    main()
