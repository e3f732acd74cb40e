"""Trains the models of the sample workspace on simulated responses.

    python models/train.py [--models DIRECTORY]

writes four versions, each with a manifest:

    propensity/1    LightGBM, a row per customer and offer
    network/1       an MLP with a column per offer
    network/2       a smaller one, which policy.toml compares as a shadow
    affinity/1      a logistic regression per offer of the call centre

One run takes about a minute. With the versions of requirements.txt, on the same kind of processor, its output is
reproducible to the byte.

The training customers are drawn with another seed than those of customers.csv. They are split by customer into
training, calibration and the hold-out for the figures in the manifests (see `Impressions`). Start reading at `main`.
"""

import os
import sys

# This must come before numpy is loaded: the number of threads affects the last bits of sums.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
sys.dont_write_bytecode = True

import argparse
import hashlib
import platform
import tomllib
from importlib.metadata import version
from pathlib import Path

import lightgbm
import numpy as np
import onnxruntime
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

import graphs
import simulate

SEED, CUSTOMERS, SHOWN_EACH = 77, 30_000, 8
TREES, LEAVES = 200, 31
BUDGET = {"latency_budget_ms": 50}  # far more than needed: the gate should catch mistakes, not a busy machine
AGREEMENT = 1e-5  # the largest allowed difference between a model and its ONNX graph

PROPENSITY_CUSTOMER = [
    "balance", "balance_frequency", "purchases", "oneoff_purchases", "installments_purchases", "cash_advance",
    "purchases_frequency", "oneoff_purchases_frequency", "purchases_installments_frequency", "cash_advance_frequency",
    "cash_advance_trx", "purchases_trx", "credit_limit", "payments", "minimum_payments", "prc_full_payment", "tenure",
    "age", "months_since_last_offer", "has_travel_card", "has_insurance", "digital_active", "foreign_spend_share",
    "late_payments_12m",
]  # fmt: skip
PROPENSITY_CONTEXT = ["month"]
PROPENSITY_OFFER = [
    "annual_fee", "reward_rate", "welcome_bonus", "promo_apr", "promo_months", "travel_benefit", "protection_level",
    "digital_only",
]  # fmt: skip

# The hidden layers of each version of the network.
NETWORKS = {1: (48, 24), 2: (16,)}
# The network accepts no missing values, so it reads only features with a default.
NETWORK_AMOUNTS = [
    "balance", "purchases", "oneoff_purchases", "installments_purchases", "cash_advance", "payments",
    "cash_advance_trx", "purchases_trx",
]  # fmt: skip
NETWORK_OTHERS = [
    "balance_frequency", "purchases_frequency", "oneoff_purchases_frequency", "purchases_installments_frequency",
    "cash_advance_frequency", "prc_full_payment", "tenure", "has_travel_card", "has_insurance", "digital_active",
    "late_payments_12m", "month", "days_since_login",
]  # fmt: skip

# The regressions need the age: they do not score customers without one (MODEL_UNAVAILABLE).
AFFINITY_AMOUNTS = ["balance", "purchases", "cash_advance"]
AFFINITY_NUMBERS = {
    "prc_full_payment": "float", "purchases_frequency": "float", "late_payments_12m": "int", "age": "int",
    "has_travel_card": "bool", "has_insurance": "bool", "digital_active": "bool",
}  # fmt: skip
AFFINITY_TEXTS = {
    "income_band": simulate.INCOME_BANDS + ["unknown"],
    "home_channel": simulate.CHANNELS,
    "page": simulate.PAGES,
}


class Impressions:
    """Simulated responses, with a row per impression, and columns as the server would resolve them."""

    def __init__(self):
        who, customer, self.offer, when, self.accepted = simulate.responses(CUSTOMERS, SHOWN_EACH, SEED)
        self.library = simulate.offers()
        self.columns = {name: column[customer] for name, column in who.items() if not name.startswith("_")} | when
        self.columns |= {name: column[self.offer] for name, column in simulate.offer_columns(self.library).items()}
        for feature in simulate.schema():
            self.columns[feature["name"]] = resolved(feature, self.columns[feature["name"]])
        share = customer / CUSTOMERS  # the order of customers is random, so any range is a sample
        self.train, self.calibrate, self.measure = share < 0.70, (share >= 0.70) & (share < 0.85), share >= 0.85

    def matrix(self, names):
        """The columns as float32, NaN where missing."""
        return np.column_stack([self.columns[name] for name in names]).astype(np.float32)


def resolved(feature, column):
    """Replaces missing values by the schema's default or, without one, by NaN."""
    if feature["type"] == "string":
        return np.where(column == "", feature["default"], column) if "default" in feature else column
    column = column.astype(np.float64)
    if feature["type"] in ("int", "bool") and feature["entity"] == "customer":
        column = np.where(column < 0, np.nan, column)
    return np.where(np.isnan(column), feature["default"], column) if "default" in feature else column


def train_propensity(data, directory):
    """A LightGBM classifier of customer, context and offer; isotonic calibration."""
    names = PROPENSITY_CUSTOMER + PROPENSITY_CONTEXT + PROPENSITY_OFFER
    rows = data.matrix(names)
    settings = {
        "objective": "binary",
        "num_leaves": LEAVES,
        "learning_rate": 0.05,
        "min_data_in_leaf": 60,
        "feature_fraction": 0.8,
        "lambda_l2": 5.0,
        "seed": SEED,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    train = lightgbm.Dataset(rows[data.train], data.accepted[data.train], feature_name=names)
    booster = lightgbm.train(settings, train, num_boost_round=TREES)
    model = graphs.tree_classifier(booster.dump_model()["tree_info"], len(names))
    scores = run(model, {"features": rows})[:, 1]
    agree("propensity", scores, booster.predict(rows))
    holes = np.where(
        np.random.Generator(np.random.PCG64(SEED)).random(rows[:20_000].shape) < 0.2, np.nan, rows[:20_000]
    )
    holes = holes.astype(np.float32)
    agree("propensity with holes", run(model, {"features": holes})[:, 1], booster.predict(holes))
    calibration = fit_isotonic(scores[data.calibrate], data.accepted[data.calibrate])
    notes = measured(apply_isotonic(calibration, scores[data.measure]), data.accepted[data.measure])
    write_version(
        directory / "propensity/1",
        {"model.onnx": model},
        head={"kind": "propensity", "layout": "pairwise", "inputs": names, "accepts_missing": True} | BUDGET,
        output={"name": "probabilities", "class": 1},
        calibration=calibration,
        training={"algorithm": f"LightGBM, {TREES} trees of {LEAVES} leaves"} | common_notes(data) | notes,
    )


def train_networks(data, directory):
    """MLPs with a column of log-odds per offer; Platt calibration."""
    names = NETWORK_AMOUNTS + NETWORK_OTHERS
    rows = data.matrix(names)
    amounts = len(NETWORK_AMOUNTS)
    columns = rows.astype(np.float64)
    columns[:, :amounts] = np.log1p(columns[:, :amounts])
    mean, deviation = columns[data.train].mean(axis=0), columns[data.train].std(axis=0)
    scaled = (columns - mean) / deviation
    for version_number, hidden in NETWORKS.items():
        shown = (scaled[data.train], data.offer[data.train], data.accepted[data.train])
        layers = fit_network(*shown, len(data.library), hidden)
        model = graphs.network(range(amounts), range(amounts, len(names)), mean, deviation, layers)
        every = run(model, {"features": rows})
        agree(f"network/{version_number}", every, forward(layers, scaled)[-1])
        scores = every[np.arange(len(rows)), data.offer]
        calibration = fit_platt(scores[data.calibrate], data.accepted[data.calibrate])
        notes = measured(apply_platt(calibration, scores[data.measure]), data.accepted[data.measure])
        head = {"kind": "recommendation", "layout": "multi_offer", "inputs": names, "accepts_missing": False} | BUDGET
        head["offers"] = [offer["id"] for offer in data.library]
        sizes = "-".join(str(size) for size in (len(names), *hidden, len(data.library)))
        write_version(
            directory / f"network/{version_number}",
            {"model.onnx": model},
            head=head,
            output={"name": "scores"},
            calibration=calibration,
            training={"algorithm": f"MLP {sizes}, log-odds"} | common_notes(data) | notes,
        )


def fit_network(rows, offer, accepted, offers, hidden, epochs=6, batch=512, rate=2e-3, decay=1e-4):
    """Fits with Adam on the log-loss of the offer shown; returns (weights, bias) per layer.

    `rows`: (n, features) standardised; `offer`, `accepted`: (n,); `hidden`: the sizes of the hidden layers.
    """
    rng = np.random.Generator(np.random.PCG64(SEED))
    sizes = [rows.shape[1], *hidden, offers]
    layers = [[rng.normal(0, np.sqrt(2 / a), (a, b)), np.zeros(b)] for a, b in zip(sizes, sizes[1:])]
    layers[-1][0] *= 0.1
    shown = np.bincount(offer, minlength=offers)
    taken = np.bincount(offer, accepted, minlength=offers)
    layers[-1][1] += np.log((taken + 1) / (shown - taken + 1))
    first = [[np.zeros_like(part) for part in layer] for layer in layers]
    second = [[np.zeros_like(part) for part in layer] for layer in layers]
    step = 0
    for epoch in range(epochs):
        order = rng.permutation(len(rows))
        speed = rate * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        for start in range(0, len(rows), batch):
            chosen = order[start : start + batch]
            values = forward(layers, rows[chosen])
            own = values[-1][np.arange(len(chosen)), offer[chosen]]
            slope = np.zeros_like(values[-1])
            error = 1 / (1 + np.exp(-own)) - accepted[chosen]
            slope[np.arange(len(chosen)), offer[chosen]] = error / len(chosen)
            step += 1
            for index in reversed(range(len(layers))):
                weights, _ = layers[index]
                slopes = [values[index].T @ slope + decay * weights, slope.sum(axis=0)]
                slope = (slope @ weights.T) * (values[index] > 0)
                for part in range(2):
                    first[index][part] = 0.9 * first[index][part] + 0.1 * slopes[part]
                    second[index][part] = 0.999 * second[index][part] + 0.001 * slopes[part] ** 2
                    ahead = first[index][part] / (1 - 0.9**step)
                    spread = np.sqrt(second[index][part] / (1 - 0.999**step)) + 1e-8
                    layers[index][part] = layers[index][part] - speed * ahead / spread
    return layers


def forward(layers, rows):
    """The activations of every layer, from the rows to the scores."""
    values = [rows]
    for index, (weights, bias) in enumerate(layers):
        linear = values[-1] @ weights + bias
        values.append(linear if index == len(layers) - 1 else np.maximum(linear, 0))
    return values


def train_affinity(data, directory):
    """A logistic regression per offer of the call centre, with one input per feature; one isotonic calibration for
    all."""
    numeric = data.matrix(AFFINITY_AMOUNTS + list(AFFINITY_NUMBERS)).astype(np.float64)
    numeric[:, : len(AFFINITY_AMOUNTS)] = np.log1p(numeric[:, : len(AFFINITY_AMOUNTS)])
    one_hot = np.column_stack(
        [data.columns[name] == category for name, categories in AFFINITY_TEXTS.items() for category in categories]
    )
    known = ~np.isnan(numeric).any(axis=1)
    mean, deviation = numeric[data.train & known].mean(axis=0), numeric[data.train & known].std(axis=0)
    rows = np.column_stack([(numeric - mean) / deviation, one_hot])
    files, scores = {}, np.full(len(rows), np.nan, np.float32)
    for position, offer in enumerate(data.library):
        if "call_center" not in offer["placements"]:
            continue
        mine = known & (data.offer == position)
        fitted = LogisticRegression(C=0.05, max_iter=500).fit(rows[mine & data.train], data.accepted[mine & data.train])
        model = graphs.linear_classifier(
            AFFINITY_AMOUNTS, AFFINITY_NUMBERS, AFFINITY_TEXTS, mean, deviation, fitted.coef_[0], fitted.intercept_[0]
        )
        answers = run(model, {name: affinity_input(data, name, mine) for name in affinity_names()})
        scores[mine] = [answer["accepted"] for answer in answers]
        agree(f"affinity {offer['id']}", scores[mine], fitted.predict_proba(rows[mine])[:, 1])
        files[f"{offer['id']}.onnx"] = model
    scored = ~np.isnan(scores)
    calibrate, measure = scored & data.calibrate, scored & data.measure
    calibration = fit_isotonic(scores[calibrate], data.accepted[calibrate])
    notes = measured(apply_isotonic(calibration, scores[measure]), data.accepted[measure])
    write_version(
        directory / "affinity/1",
        files,
        head={"kind": "propensity", "layout": "per_offer", "inputs_layout": "per_feature", "accepts_missing": False}
        | BUDGET,
        output={"name": "probabilities", "class": "accepted"},
        calibration=calibration,
        training={"algorithm": "logistic regression per offer"} | common_notes(data) | notes,
    )


def affinity_names():
    """The inputs of the regressions, in order."""
    return AFFINITY_AMOUNTS + list(AFFINITY_NUMBERS) + list(AFFINITY_TEXTS)


def affinity_input(data, name, rows):
    """The input tensor `name` of the regressions, (rows, 1), with the type of the feature."""
    kinds = {"float": np.float32, "int": np.int64, "bool": np.bool_}
    column = data.columns[name][rows].reshape(-1, 1)
    return (
        column.astype(object) if name in AFFINITY_TEXTS else column.astype(kinds[AFFINITY_NUMBERS.get(name, "float")])
    )


def run(model, inputs):
    """Runs a model with ONNX Runtime; returns the last output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[-1]


def agree(what, graph, own):
    """Exits if the outputs of a graph differ from those of its model."""
    difference = float(np.max(np.abs(graph - own) / np.maximum(1, np.abs(own))))
    print(f"{what}: ONNX Runtime differs by at most {difference:.1e}")
    if not difference <= AGREEMENT:
        raise SystemExit(f"{what}: the outputs of the ONNX graph differ from the model's")


def fit_isotonic(scores, accepted, bins=40):
    """Knots of a non-decreasing curve from score to propensity, anchored at (0, 0) and (1, 1).

    The scores are divided into bins of equal count, and adjacent violators are pooled (Barlow et al., 1972). Each pool
    becomes one knot at its mean, so the curve rises between knots, and equal propensities are rare.
    """
    order = np.argsort(scores, kind="stable")
    groups = np.array_split(order, bins)
    x = np.array([scores[group].astype(np.float64).mean() for group in groups])
    y = np.array([accepted[group].mean() for group in groups])
    weight = np.array([len(group) for group in groups])
    level = IsotonicRegression().fit_transform(x, y, sample_weight=weight)
    knots_x, knots_y = [0.0], [0.0]
    for pool in np.split(np.arange(bins), np.flatnonzero(np.diff(level) > 0) + 1):
        knots_x.append(round(float(np.average(x[pool], weights=weight[pool])), 6))
        knots_y.append(round(float(level[pool[0]]), 6))
    return {"method": "isotonic", "x": knots_x + [1.0], "y": knots_y + [1.0]}


def apply_isotonic(calibration, scores):
    """Linear between knots, constant outside."""
    return np.interp(scores.astype(np.float64), calibration["x"], calibration["y"])


def fit_platt(scores, accepted):
    """The a and b of 1 / (1 + exp(-(a s + b))) by maximum likelihood (Platt, 1999)."""
    fitted = LogisticRegression(C=1e9).fit(scores.astype(np.float64).reshape(-1, 1), accepted)
    return {"method": "platt", "a": round(float(fitted.coef_[0, 0]), 6), "b": round(float(fitted.intercept_[0]), 6)}


def apply_platt(calibration, scores):
    """The propensities of `fit_platt`."""
    return 1 / (1 + np.exp(-(calibration["a"] * scores.astype(np.float64) + calibration["b"])))


def measured(propensity, accepted, bins=10):
    """The hold-out figures for the manifest; the calibration error is the mean gap over bins of equal count."""
    groups = np.array_split(np.argsort(propensity, kind="stable"), bins)
    gaps = [abs(propensity[group].mean() - accepted[group].mean()) for group in groups]
    return {
        "holdout_rows": len(accepted),
        "holdout_accept_rate": round(float(accepted.mean()), 5),
        "holdout_auc": round(float(roc_auc_score(accepted, propensity)), 4),
        "holdout_log_loss": round(float(log_loss(accepted, propensity)), 5),
        "holdout_calibration_error": round(float(np.mean(gaps)), 5),
    }


def common_notes(data):
    """The notes that all models share."""
    return {
        "data": "simulated customers and responses, models/simulate.py",
        "script": "models/train.py",
        "seed": SEED,
        "rows": int(data.train.sum()),
        "calibration_rows": int(data.calibrate.sum()),
        "python": ".".join(platform.python_version_tuple()[:2]),
    } | {name.replace("-", "_"): version(name) for name in ("numpy", "scikit-learn", "lightgbm", "onnx")}


def write_version(directory, files, head, output, calibration, training):
    """Writes the files of a model version and its manifest."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in [*directory.glob("*.onnx"), *directory.glob("golden.csv")]:
        old.unlink()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    tables = {"output": output, "calibration": calibration, "gates": {"golden": "required"}, "checksums": sums, "training": training}
    lines = [f"{key} = {literal(value)}" for key, value in head.items()]
    for title, table in tables.items():
        lines += ["", f"[{title}]"]
        lines += [f"{quoted(key)} = {literal(value)}" for key, value in table.items()]
    manifest = "\n".join(lines) + "\n"
    tomllib.loads(manifest)
    (directory / "model.toml").write_text(manifest)
    print(f"{directory}: {sum(map(len, files.values())):,} bytes; {training}")


def quoted(key):
    """A key of a TOML table."""
    return f'"{key}"' if "." in key else key


def literal(value):
    """A TOML value; long arrays have one element per line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        elements = [literal(element) for element in value]
        wide = len(", ".join(elements)) > 90
        return (
            "[\n" + "".join(f"    {element},\n" for element in elements) + "]" if wide else f"[{', '.join(elements)}]"
        )
    return repr(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=simulate.HERE, help="where to write (default: the directory of this script)")
    directory = parser.parse_args().models
    data = Impressions()
    print(f"{len(data.accepted):,} impressions, {data.accepted.mean():.1%} accepted")
    train_propensity(data, directory)
    train_networks(data, directory)
    train_affinity(data, directory)


if __name__ == "__main__":
    main()
