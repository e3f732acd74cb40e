"""Profiles of segments by pandas: the expected figures for crates/segment-train/src/train/profile.

    pip install numpy==2.3.5 pandas==2.3.3
    python tests/golden/profile.py > tests/golden/profile.json

The table is simulated, with three groups of customers. It has an amount with a long tail (transformed by ln(1 + x)), a
signed balance, a limit with missing values (imputed with the median) and a yes/no column.
"""

import json

import numpy as np
import pandas as pd

rng = np.random.default_rng(20_240_611)
labels = np.repeat([0, 1, 2], [48, 27, 14])
rng.shuffle(labels)
rows = len(labels)
raw = pd.DataFrame(
    {
        "amount": np.round(rng.lognormal(np.choose(labels, [2.0, 5.0, 3.5]), 0.7), 2),
        "balance": np.round(rng.normal(np.choose(labels, [0.0, -40.0, 90.0]), 30.0), 2),
        "limit": np.round(rng.normal(np.choose(labels, [1000.0, 1100.0, 2500.0]), 300.0), 1),
        "mobile": (rng.random(rows) < np.choose(labels, [0.2, 0.9, 0.5])).astype(float),
    }
).astype(np.float32)
raw.loc[rng.choice(rows, 7, replace=False), "limit"] = np.nan

impute = raw.median().astype(float)
filled = raw.astype(float).fillna(impute)
applied = filled.copy()
applied["amount"] = np.log1p(applied["amount"])
mean, deviation = applied.mean(), applied.std(ddof=0)
z = (applied - mean) / deviation
centroids = z.groupby(labels).mean()


def cohen(inside, outside):
    pooled = ((len(inside) - 1) * inside.var(ddof=1) + (len(outside) - 1) * outside.var(ddof=1)) / (rows - 2)
    return float((inside.mean() - outside.mean()) / np.sqrt(pooled))


def feature(name, segment):
    inside = labels == segment
    return {
        "mean": filled[name][inside].mean(),
        "median": filled[name][inside].median(),
        "z": z[name][inside].mean(),
        "lift": filled[name][inside].mean() / filled[name].mean() if filled[name].min() >= 0 else None,
        "difference": cohen(z[name][inside], z[name][~inside]),
    }


def explained(name):
    groups = [z[name][labels == segment] for segment in range(3)]
    within = sum(((group - group.mean()) ** 2).sum() for group in groups)
    return float(1 - within / ((z[name] - z[name].mean()) ** 2).sum())


segments = []
for segment in range(3):
    features = [feature(name, segment) for name in raw.columns]
    distances = ((z[labels == segment] - centroids.loc[segment]) ** 2).sum(axis=1)
    segments.append(
        {
            "size": int((labels == segment).sum()),
            "share": float((labels == segment).mean()),
            "centroid": centroids.loc[segment].tolist(),
            "features": features,
            "distinguishing": sorted(range(4), key=lambda index: -abs(features[index]["difference"])),
            "nearest": [f"row {row + 1}" for row in distances.sort_values(kind="stable").index[:5]],
        }
    )

golden = {
    "rows": [[None if np.isnan(value) else float(value) for value in row] for row in raw.to_numpy()],
    "labels": labels.tolist(),
    "preparation": [
        {
            "name": name,
            "impute": impute[name],
            "log1p": name == "amount",
            "mean": mean[name],
            "deviation": deviation[name],
            "range": [float(raw[name].min()), float(raw[name].max())],
        }
        for name in raw.columns
    ],
    "population": [
        {
            "name": name,
            "mean": filled[name].mean(),
            "median": filled[name].median(),
            "deviation": filled[name].std(ddof=0),
            "explained": explained(name),
        }
        for name in raw.columns
    ],
    "segments": segments,
    "correlation": z.corr().to_numpy().tolist(),
}
text = json.dumps(golden, separators=(",", ":"))
for key in ["labels", "preparation", "population", "segments", "correlation"]:
    text = text.replace(f'"{key}"', f'\n"{key}"', 1)
print(text)
