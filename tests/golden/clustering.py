"""Figures of clusterings by scikit-learn, kneed and SciPy, for tests of the crate segment-train (choose, compare).

    pip install -r tests/golden/requirements-clustering.txt
    python tests/golden/clustering.py

Writes clustering.json next to this file: small data sets from a fixed seed, with the figures that Python computes for
each. No code or random numbers are shared with the project. Random sets that a figure depends on (the references of the
gap statistic) are in the file.
"""

import os

# With one thread, sums are the same on every machine.
os.environ["OMP_NUM_THREADS"] = "1"

import json
from pathlib import Path

import numpy as np
from kneed import KneeLocator
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import DBSCAN, KMeans
from sklearn.metrics import (
    adjusted_rand_score,
    calinski_harabasz_score,
    davies_bouldin_score,
    silhouette_score,
)
from sklearn.neighbors import NearestNeighbors


def blobs(random, sizes, centres, deviation):
    """Rows (sum of sizes, dimensions) around centres, rounded to 1/64 to keep the file short, and the blob of each."""
    parts = [random.normal(centre, deviation, (size, len(centre))) for size, centre in zip(sizes, centres)]
    return np.round(np.concatenate(parts) * 64) / 64, np.repeat(range(len(sizes)), sizes)


def jaccard(one, other):
    """For each cluster of `one`, the largest Jaccard similarity to a cluster of `other` (Hennig 2007)."""
    found = []
    for cluster in range(one.max() + 1):
        rows = set(np.flatnonzero(one == cluster))
        pieces = [set(np.flatnonzero(other == piece)) for piece in range(other.max() + 1)]
        found.append(max(len(rows & piece) / len(rows | piece) if rows | piece else 0.0 for piece in pieces))
    return found


def agreement(random):
    cases = []
    for rows, ones, others, alike in [(40, 3, 3, 0.9), (200, 5, 4, 0.7), (60, 4, 4, 0.0), (12, 1, 1, 0.0), (30, 2, 6, 0.5)]:
        one = random.integers(0, ones, rows)
        other = np.where(random.random(rows) < alike, one % others, random.integers(0, others, rows))
        cases.append(
            {
                "one": one.tolist(),
                "other": other.tolist(),
                "adjusted_rand": adjusted_rand_score(one, other),
                "jaccard": jaccard(one, other),
            }
        )
    return cases


def indices(random):
    cases = []
    for sizes, centres, deviation in [
        ([20, 12, 8], [(0, 0), (4, 1), (1, 5)], 0.8),
        ([30, 5], [(0, 0, 0), (2, 2, 2)], 1.5),
        ([6, 9, 7, 11], [(0, 0, 1, 0), (3, 0, 0, 0), (0, 3, 0, 1), (0, 0, 3, 3)], 0.7),
    ]:
        points, labels = blobs(random, sizes, centres, deviation)
        cases.append(
            {
                "points": points.tolist(),
                "labels": labels.tolist(),
                "clusters": len(sizes),
                "calinski_harabasz": calinski_harabasz_score(points, labels),
                "davies_bouldin": davies_bouldin_score(points, labels),
                "smallest_share": min(sizes) / sum(sizes),
            }
        )
    return cases


def knees(random):
    x = np.arange(3, 13)
    curves = [
        # Inertia of KMeans(k, n_init=10) on CC GENERAL: z-scores after log1p, and without log1p.
        (x, [95644.7, 86547.0, 77933.1, 71656.4, 67972.6, 64555.5, 61499.9, 58828.2, 56764.5, 55075.8]),
        (x, [111975.0, 99061.9, 91490.5, 84826.6, 79856.2, 74484.9, 69828.7, 66466.4, 63615.0, 61334.7]),
        (x, 1000.0 / x),
        (x, 1000.0 / x**3),
        (x, 100.0 - 3.0 * x),
        (x, 100.0 - 0.1 * x**2),
        (np.array([2, 4, 8, 16, 32]), [50.0, 20.0, 9.0, 8.0, 7.0]),
        (np.array([2, 3]), [5.0, 4.0]),
        (np.array([2, 3, 4]), [9.0, 2.0, 1.0]),
        (np.array([3, 4, 5, 6, 7, 8]), [100.0, 50.0, 50.0, 50.0, 10.0, 0.0]),
    ]
    for noise in (0.0, 5.0, 20.0, 60.0):
        for _ in range(4):
            curves.append((x, np.round(600.0 / (x - 1.5) + noise * random.random(len(x)), 3)))
    cases = []
    for x, y in curves:
        knee = KneeLocator(x, y, S=1.0, curve="convex", direction="decreasing", online=False).knee
        cases.append({"x": [float(v) for v in x], "y": [float(v) for v in y], "knee": None if knee is None else float(knee)})
    return cases


def log_w(points, k):
    """ln W as defined by Tibshirani, Walther & Hastie: from the distances of all pairs within a cluster."""
    labels = KMeans(k, n_init=100, random_state=0, tol=0.0).fit(points).labels_
    total = 0.0
    for cluster in range(k):
        rows = points[labels == cluster]
        squared = ((rows[:, None, :] - rows[None, :, :]) ** 2).sum()
        total += squared / (2 * len(rows))
    return float(np.log(total))


def gap(random):
    points, _ = blobs(random, [14, 10, 12], [(0, 0), (6, 0), (3, 6)], 0.7)
    low, high = points.min(axis=0), points.max(axis=0)
    references = [np.round(random.uniform(low, high, points.shape) * 1024) / 1024 for _ in range(4)]
    ks = [1, 2, 3, 4]
    logs = np.array([[log_w(reference, k) for k in ks] for reference in references])
    own = np.array([log_w(points, k) for k in ks])
    return {
        "points": points.tolist(),
        "references": [reference.tolist() for reference in references],
        "ks": ks,
        "log_w": own.tolist(),
        "log_w_references": logs.tolist(),
        "gap": (logs.mean(axis=0) - own).tolist(),
        "error": (logs.std(axis=0) * np.sqrt(1 + 1 / len(references))).tolist(),
    }


def other_methods(random):
    """Ward and DBSCAN, with eps where the sorted distances to the n-th neighbour lie farthest below their chord."""
    points, labels = blobs(random, [30, 24, 18], [(0, 0), (3, 0.5), (1, 4)], 0.6)
    points = np.concatenate([points, [[9.0, 9.0], [-6.0, 5.0], [8.0, -4.0]]])
    labels = np.concatenate([labels, [0, 1, 2]])
    min_points = 2 * points.shape[1]
    # The row itself counts, as in scikit-learn's `min_samples`.
    distances, _ = NearestNeighbors(n_neighbors=min_points).fit(points).kneighbors(points)
    descending = np.sort(distances[:, -1])[::-1]
    x = np.arange(len(descending)) / (len(descending) - 1)
    y = (descending - descending.min()) / (descending.max() - descending.min())
    eps = float(descending[np.argmax(1 - y - x)])
    dbscan = DBSCAN(eps=eps * (1 + 1e-12), min_samples=min_points).fit(points).labels_
    ward = fcluster(linkage(points, "ward"), 3, criterion="maxclust") - 1
    return {
        "points": points.tolist(),
        "labels": labels.tolist(),
        "clusters": 3,
        "ward": ward.tolist(),
        "ward_adjusted_rand": adjusted_rand_score(labels, ward),
        "ward_silhouette": silhouette_score(points, ward),
        "min_points": min_points,
        "eps": eps,
        "dbscan": dbscan.tolist(),
        "dbscan_adjusted_rand": adjusted_rand_score(labels, dbscan),
        "dbscan_silhouette": silhouette_score(points[dbscan >= 0], dbscan[dbscan >= 0]),
    }


def main():
    random = np.random.default_rng(20_000)
    golden = {
        "agreement": agreement(random),
        "indices": indices(random),
        "knees": knees(random),
        "gap": gap(random),
        "other_methods": other_methods(random),
    }
    path = Path(__file__).with_name("clustering.json")
    path.write_text(json.dumps(golden, separators=(",", ":")).replace("},{", "},\n{") + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
