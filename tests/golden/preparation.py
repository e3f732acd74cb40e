"""Fits the preparation of a table with numpy, scipy and scikit-learn, and writes preparation.json.

    pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
    python tests/golden/preparation.py

The file has a table of 200 rows (32-bit floats, missing values as null) and, for each preparation, its statistics and
the prepared rows. The tests of `crates/segment-train/src/train/learn` compare Rust with it.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.stats import skew
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, StandardScaler

PINNED = {"numpy": "2.4.6", "scipy": "1.17.1", "scikit-learn": "1.9.1"}
HERE = Path(__file__).parent
COLUMNS = ["balance", "limit", "share", "signed", "payments"]


def table():
    """(200, 5) float32: two skewed, correlated amounts, a share, a signed value, a count; 8 % are missing."""
    rng = np.random.default_rng(7)
    balance = rng.lognormal(6.0, 1.2, 200)
    limit = balance * rng.uniform(1.8, 2.2, 200)
    share = rng.beta(0.4, 0.8, 200)
    signed = rng.normal(3.0, 40.0, 200)
    payments = rng.negative_binomial(1, 0.08, 200).astype(float)
    values = np.stack([balance, limit, share, signed, payments], axis=1).astype(np.float32)
    values[rng.random(values.shape) < 0.08] = np.nan
    return values.astype(np.float64)


def prepared(values, impute="median", constant=0.0, winsorise=None, log1p=(), scale="z-score", share=None):
    """The preparation by scikit-learn, step by step; `log1p` has the positions of columns."""
    strategy = {"median": "median", "mean": "mean", "constant": "constant"}[impute]
    imputer = SimpleImputer(strategy=strategy, fill_value=constant).fit(values)
    rows = imputer.transform(values)
    found = {"impute": imputer.statistics_.tolist()}
    if winsorise:
        low, high = np.nanquantile(values, winsorise, axis=0)
        found["winsor"] = np.stack([low, high], axis=1).tolist()
        rows = np.clip(rows, low, high)
    rows[:, list(log1p)] = np.log1p(np.maximum(rows[:, list(log1p)], 0.0))
    if scale == "z-score":
        scaler = StandardScaler().fit(rows)
        found["mean"], found["deviation"] = scaler.mean_.tolist(), scaler.scale_.tolist()
    else:
        scaler = MinMaxScaler().fit(rows)
        found["mean"], found["deviation"] = scaler.data_min_.tolist(), scaler.data_range_.tolist()
    rows = scaler.transform(rows)
    found["correlation"] = np.corrcoef(rows, rowvar=False).tolist()
    if share:
        pca = PCA(n_components=share, svd_solver="full").fit(rows)
        found["pca"] = pca.components_.tolist()
        found["variance_kept"] = float(pca.explained_variance_ratio_.sum())
        # Not centred before the projection, as segments.json defines it.
        rows = rows @ pca.components_.T
    found["points"] = rows[:20].tolist()
    return found


def reference(column):
    """Edges and counts of the known values, as segments.json defines them."""
    known = np.sort(column[~np.isnan(column)])
    edges = known[[decile * len(known) // 10 for decile in range(1, 10)]]
    above = known[known > known[0]][0]
    edges = np.unique(np.where(edges == known[0], above, edges))
    counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "counts": counts.tolist(), "missing": int(np.isnan(column).sum())}


def main():
    for name, expected in PINNED.items():
        if version(name) != expected:
            raise SystemExit(f"{name} {version(name)} is installed, but preparation.json needs {expected}")
    values = table()
    known = [column[~np.isnan(column)] for column in values.T]
    auto = [i for i, c in enumerate(known) if c.min() >= 0 and skew(c) > 1 and np.quantile(c, 0.99) > 1]
    result = {
        "versions": PINNED,
        "names": COLUMNS,
        "rows": [[None if np.isnan(value) else value for value in row] for row in values.tolist()],
        "log1p": [COLUMNS[i] for i in auto],
        "skewness": [float(skew(column)) for column in known],
        "means": [float(column.mean()) for column in known],
        "reference": [reference(column) for column in values.T],
        "default": prepared(values, log1p=auto),
        "mean": prepared(values, impute="mean"),
        "constant": prepared(values, impute="constant", constant=12.5, log1p=[0]),
        "winsorised": prepared(values, winsorise=[0.05, 0.9], log1p=auto),
        "min_max": prepared(values, log1p=auto, scale="min-max"),
        "components": prepared(values, log1p=auto, share=0.85),
        "components_of_min_max": prepared(values, winsorise=[0.01, 0.99], scale="min-max", share=0.9),
    }
    (HERE / "preparation.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
