"""Compares the segments of Proffer with scikit-learn on the same points and prints the ratios.

    python benches/segment/peers.py [--rows 1000000] [--rounds 3]

`make bench-segment` installs benches/segment/requirements.txt into a virtual environment and runs this. PROFFER_DATA
(default: `../shared/data` next to the checkout) has the points of CC GENERAL; without them that part is skipped. Both
sides alternate, so that load on the machine affects both equally, and their medians are compared.
"""

import argparse
import gzip
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Two threads per side, and the kernels that BLAS selects by default.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "2"
for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)

import numpy as np
import pandas as pd
import sklearn
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

CHECKOUT = Path(__file__).resolve().parents[2]
THREADS = 2
N_INIT = 10
KS = range(2, 13)
LOGGED = [
    "BALANCE", "PURCHASES", "ONEOFF_PURCHASES", "INSTALLMENTS_PURCHASES", "CASH_ADVANCE", "CASH_ADVANCE_TRX",
    "PURCHASES_TRX", "CREDIT_LIMIT", "PAYMENTS", "MINIMUM_PAYMENTS",
]  # fmt: skip


def cc_general():
    """8,950 × 17: median imputation, log1p of the ten skewed columns, z-scores; None without the data."""
    data = Path(os.environ.get("PROFFER_DATA", CHECKOUT.parent / "shared/data")) / "cc_general/CC_GENERAL.csv.gz"
    if not data.exists():
        return None
    table = pd.read_csv(io.BytesIO(gzip.decompress(data.read_bytes()))).drop(columns="CUST_ID")
    table = table.astype(np.float32).astype(np.float64)
    table = table.fillna(table.median())
    table[LOGGED] = np.log1p(table[LOGGED])
    return np.ascontiguousarray(StandardScaler().fit_transform(table))


def mixture(rows):
    """Generates rows × 17 in eight overlapping groups of unequal size."""
    random = np.random.default_rng(7)
    centres = random.normal(0, 1.5, (8, 17))
    groups = random.choice(8, rows, p=np.array([8, 7, 6, 5, 4, 3, 2, 1]) / 36)
    return centres[groups] + random.normal(0, 1, (rows, 17))


def ours(command, case, points, *numbers):
    """Runs Proffer's side on a file with the points."""
    with tempfile.NamedTemporaryFile(suffix=".f64") as file:
        points.astype("<f8").tofile(file.name)
        arguments = [case, file.name, points.shape[1], 1 if case == "assign" else THREADS, *numbers]
        done = subprocess.run([*command, *map(str, arguments)], check=True, capture_output=True, text=True)
        return json.loads(done.stdout.strip().splitlines()[-1])


def sweep_of_sklearn(points):
    began = time.perf_counter()
    found = {"inertia": [], "silhouette": []}
    for k in KS:
        fit = KMeans(k, n_init=N_INIT, random_state=42).fit(points)
        found["inertia"].append(fit.inertia_)
        found["silhouette"].append(silhouette_score(points, fit.labels_))
    return {"seconds": time.perf_counter() - began, **found}


def k_means_of_sklearn(points, k, n_init):
    began = time.perf_counter()
    fit = KMeans(k, n_init=n_init, random_state=42).fit(points)
    return {"seconds": time.perf_counter() - began, "inertia": [fit.inertia_]}


def compare(name, rounds, mine, theirs):
    """Alternates both sides; prints the medians, their ratio and the difference of the inertias."""
    taken = [(mine(), theirs()) for _ in range(rounds)]
    seconds = [statistics.median(side["seconds"] for side in sides) for sides in zip(*taken)]
    worst = max(a / b - 1 for a, b in zip(taken[0][0]["inertia"], taken[0][1]["inertia"]))
    print(f"{name:<58}{seconds[0]:>9.2f}{seconds[1]:>14.2f}{seconds[1] / seconds[0]:>9.1f}{100 * worst:>+16.3f} %")
    return taken[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the large table")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side")
    parser.add_argument("--binary", help="the built benchmark of Proffer's side")
    options = parser.parse_args()
    cargo = [os.environ.get("CARGO", "cargo"), "bench", "--quiet", "--locked", "--bench", "segment", "--"]
    command = [options.binary] if options.binary else cargo
    kernels = sorted({str(info.get("architecture")) for info in threadpool_info() if info["user_api"] == "blas"})
    versions = f"scikit-learn {sklearn.__version__}, numpy {np.__version__}, BLAS for {', '.join(kernels)}"
    print(f"{versions}; {THREADS} threads each")
    median = f"median of {options.rounds}, seconds"
    print(f"{median:<58}{'ours':>9}{'scikit-learn':>14}{'ratio':>9}{'worst inertia':>18}")

    points = cc_general()
    if points is None:
        print("skipped the sweep: no CC GENERAL in PROFFER_DATA")
    else:
        name = f"k = {KS[0]} to {KS[-1]}, n_init {N_INIT}, exact silhouettes, 8,950 × 17"
        mine, theirs = compare(
            name,
            options.rounds,
            lambda: ours(command, "sweep", points, KS[0], KS[-1], N_INIT),
            lambda: sweep_of_sklearn(points),
        )
        off = max(abs(a - b) for a, b in zip(mine["silhouette"], theirs["silhouette"]))
        print(f"  largest difference of a silhouette {off:.5f}; k-means is {mine['clustering']:.2f} s of ours")
        print("  k  inertia: ours, scikit-learn        silhouette: ours, scikit-learn")
        for row in zip(KS, mine["inertia"], theirs["inertia"], mine["silhouette"], theirs["silhouette"]):
            print("  {:<3}{:>12.1f}{:>12.1f}{:>22.4f}{:>10.4f}".format(*row))

    large = mixture(options.rows)
    mine, _ = compare(
        f"k-means, k = 8, n_init 3, {options.rows:,} × 17",
        options.rounds,
        lambda: ours(command, "k-means", large, 8, 3),
        lambda: k_means_of_sklearn(large, 8, 3),
    )
    if mine["peak_bytes"]:
        peak = mine["peak_bytes"]
        print(f"  peak memory of our process {peak / 1e6:.0f} MB = {peak / large.nbytes:.2f} × the data")
    rate = ours(command, "assign", large, 6)["rows_per_second"] / 1e6
    print(f"assignment, {options.rows:,} × 17 × 6 segments, one core: {rate:.1f} million rows/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
