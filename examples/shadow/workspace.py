#!/usr/bin/env python3
"""Makes a workspace with a shadow of the Starbucks offers: a champion, a challenger, and 17,000 customers.

    workspace.py DATA DIRECTORY

DATA has portfolio.json, profile.json and transcript.json.gz of the Starbucks rewards programme (the capstone data set of
Udacity): ten offers, 17,000 customers, and what they did in thirty days, in which offers were assigned at random.
Nothing of it is in this project. DIRECTORY becomes a workspace for `proffer init`:

    features.toml, offers.toml, policy.toml, customers.csv
    propensity/1    the champion: 30 trees of 4 leaves
    propensity/2    the challenger, which the policy compares as a shadow: 200 trees of 15 leaves
    segments/1      three segments of the customers

Both models predict whether an offer that a customer received is completed in time. They know the profile of the customer
and the terms of the offer, and nothing that a customer did. Sums over the transcript, such as how much a customer has
spent, hold the answer: with them the area under the curve would be 0.99, and without them it is 0.88. A model in service
would not have them when it decides.

Customers are split: 70 % for training, 15 % for calibration, 15 % for the figures in the manifests. Seeds are fixed, and
one thread is used. Start reading at `main`.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))

import train  # the sample's own training: it sets the number of threads, so it comes before numpy

import argparse
import collections
import csv
import datetime as dt
import gzip
import json
from importlib.metadata import version

import golden
import graphs
import lightgbm
import numpy as np
from sklearn.cluster import KMeans

SEED = 24
LAST_DAY = dt.date(2018, 7, 26)  # of the youngest membership
MISSING_AGE = 118
CUSTOMER = ["age", "income", "is_female", "is_male", "member_days"]
OFFER = ["reward", "difficulty", "duration", "is_bogo", "is_discount", "by_web", "by_mobile", "by_social"]
BOOLEAN = {"is_female", "is_male", "is_bogo", "is_discount", "by_web", "by_mobile", "by_social"}
# Without a default: these are missing for who has not told them.
GAPS = {"age", "income"}
SEGMENTED = ["age", "income", "member_days"]
# Trees and leaves of each version, and how much each tree counts.
VERSIONS = {1: (30, 4, 0.1), 2: (200, 15, 0.05)}
GOLDEN_ROWS = 20

POLICY = """\
# What members are shown: the offers that are worth the most. Made by examples/shadow/workspace.py.

segmentation = "segments"

[[category]]
id = "bogo"

[[category]]
id = "discount"

[[category]]
id = "informational"

[[placement]]
id = "app_home"
channels = ["app"]
count = 3
strategy = "priority"
model = "propensity"

# Would a larger model show other offers?
[[shadow]]
id = "larger_model"
sample = 1.0
models = { propensity = 2 }
"""


class Programme:
    """The offers, the customers, and which received offers were completed."""

    def __init__(self, data):
        self.offers = [offer_of(line) for line in lines(data / "portfolio.json")]
        self.customers = [customer_of(line) for line in lines(data / "profile.json")]
        place_of_offer = {offer["source"]: at for at, offer in enumerate(self.offers)}
        place_of_customer = {customer["id"]: at for at, customer in enumerate(self.customers)}
        received, completed = [], collections.defaultdict(list)
        for event in lines(data / "transcript.json.gz"):
            if event["event"] not in ("offer received", "offer completed"):
                continue
            value = event["value"]
            offer = place_of_offer[value.get("offer id") or value["offer_id"]]
            customer = place_of_customer[event["person"]]
            if event["event"] == "offer received":
                received.append((customer, offer, event["time"]))
            else:
                completed[customer, offer].append(event["time"])
        self.customer = np.array([customer for customer, _, _ in received])
        self.offer = np.array([offer for _, offer, _ in received])
        self.accepted = np.array([self.is_completed(completed, *one) for one in received])
        part = np.random.Generator(np.random.PCG64(SEED)).random(len(self.customers))[self.customer]
        self.train, self.calibrate, self.measure = part < 0.70, (part >= 0.70) & (part < 0.85), part >= 0.85

    def is_completed(self, completed, customer, offer, hour):
        """Whether an offer was completed within its duration."""
        until = hour + 24 * self.offers[offer]["duration"]
        return any(hour <= at <= until for at in completed[customer, offer])

    def matrix(self):
        """The columns of both models, a row for each offer that was received; NaN where missing."""
        customers = np.array([[customer[name] for name in CUSTOMER] for customer in self.customers], np.float32)
        offers = np.array([[offer[name] for name in OFFER] for offer in self.offers], np.float32)
        return np.column_stack([customers[self.customer], offers[self.offer]])


def lines(path):
    """The objects of a file of JSON lines, some of which are blank."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        return [json.loads(line) for line in file if line.strip()]


def offer_of(line):
    kind, channels = line["offer_type"], line["channels"]
    days, reward, difficulty = int(line["duration"]), line["reward"], line["difficulty"]
    names = {
        "bogo": f"Buy for {difficulty}, get {reward} back ({days} days)",
        "discount": f"Spend {difficulty}, get {reward} off ({days} days)",
        "informational": f"News of {days} days",
    }
    return {
        "id": f"{kind}_{difficulty}_{reward}_{days}",
        "name": names[kind],
        "category": kind,
        "reward": float(reward),
        "difficulty": float(difficulty),
        "duration": float(days),
        "is_bogo": kind == "bogo",
        "is_discount": kind == "discount",
        "by_web": "web" in channels,
        "by_mobile": "mobile" in channels,
        "by_social": "social" in channels,
    } | {"source": line["id"]}


def customer_of(line):
    since = dt.datetime.strptime(str(line["became_member_on"]), "%Y%m%d").date()
    return {
        "id": line["id"],
        "age": np.nan if line["age"] == MISSING_AGE else float(line["age"]),
        "income": np.nan if line["income"] is None else float(line["income"]),
        "is_female": line["gender"] == "F",
        "is_male": line["gender"] == "M",
        "member_days": float((LAST_DAY - since).days),
    }


def train_version(programme, rows, number, directory):
    """Trains, calibrates and writes a version of the model, with golden rows."""
    trees, leaves, rate = VERSIONS[number]
    settings = {
        "objective": "binary",
        "num_leaves": leaves,
        "learning_rate": rate,
        "min_data_in_leaf": 60,
        "seed": SEED,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    accepted, names = programme.accepted, CUSTOMER + OFFER
    dataset = lightgbm.Dataset(rows[programme.train], accepted[programme.train], feature_name=names)
    booster = lightgbm.train(settings, dataset, num_boost_round=trees)
    model = graphs.tree_classifier(booster.dump_model()["tree_info"], len(names))
    scores = train.run(model, {"features": rows})[:, 1]
    train.agree(f"propensity/{number}", scores, booster.predict(rows))
    calibration = train.fit_isotonic(scores[programme.calibrate], accepted[programme.calibrate])
    notes = {
        "algorithm": f"LightGBM, {trees} trees of {leaves} leaves",
        "data": "Starbucks rewards programme, profile and offer columns",
        "script": "examples/shadow/workspace.py",
        "seed": SEED,
        "rows": int(programme.train.sum()),
        "lightgbm": version("lightgbm"),
    }
    measured = train.measured(
        train.apply_isotonic(calibration, scores[programme.measure]), accepted[programme.measure]
    )
    target = directory / f"propensity/{number}"
    train.write_version(
        target,
        {"model.onnx": model},
        head={"kind": "propensity", "layout": "pairwise", "inputs": names, "accepts_missing": True} | train.BUDGET,
        output={"name": "probabilities", "class": 1},
        calibration=calibration,
        training=notes | measured,
    )
    chosen = np.random.Generator(np.random.PCG64(SEED)).choice(len(rows), GOLDEN_ROWS, replace=False)
    texts = [{name: text(name, value) for name, value in zip(names, row)} for row in rows[chosen]]
    golden.write(target, names, texts, {"expected": train.apply_isotonic(calibration, scores[chosen])})


def text(name, value):
    """A value as a CSV has it."""
    if np.isnan(value):
        return ""
    return str(bool(value)).lower() if name in BOOLEAN else f"{value:g}"


def write_segments(programme, directory):
    """k-means on z-scores of age, income and membership; what is missing is the median."""
    raw = np.array([[customer[name] for name in SEGMENTED] for customer in programme.customers])
    medians = np.nanmedian(raw, axis=0)
    known = np.where(np.isnan(raw), medians, raw)
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    fitted = KMeans(n_clusters=3, n_init=10, random_state=SEED).fit((known - mean) / deviation)
    centres = fitted.cluster_centers_ * deviation + mean
    longest = int(centres[:, SEGMENTED.index("member_days")].argmax())
    rest = [at for at in range(3) if at != longest]
    richer = max(rest, key=lambda at: centres[at, SEGMENTED.index("income")])
    names = {longest: "Long-standing members", richer: "Older, higher income"}
    ranges = [[float(low), float(high)] for low, high in zip(known.min(axis=0), known.max(axis=0))]
    artefact = {
        "format_version": 1,
        "features": [
            {"name": name, "impute": float(fill), "log1p": False, "mean": float(m), "deviation": float(d), "range": r}
            for name, fill, m, d, r in zip(SEGMENTED, medians, mean, deviation, ranges)
        ],
        "segments": [
            {
                "id": at,
                "name": names.get(at, "Younger, lower income"),
                "size": int((fitted.labels_ == at).sum()),
                "centroid": [float(value) for value in fitted.cluster_centers_[at]],
            }
            for at in range(3)
        ],
        "inertia": float(fitted.inertia_),
        "training": {"rows": len(raw), "k": 3, "seed": SEED, "n_init": 10},
    }
    target = directory / "segments/1"
    target.mkdir(parents=True, exist_ok=True)
    (target / "segments.json").write_text(json.dumps(artefact, indent=4) + "\n")
    (target / "model.toml").write_text('kind = "segmentation"\n')


def write_files(programme, directory):
    """Schema, offers, policy and customers."""
    features = []
    for entity, names in (("customer", CUSTOMER), ("offer", OFFER)):
        for name in names:
            kind = "bool" if name in BOOLEAN else "float"
            default = "" if name in GAPS else f"default = {'false' if kind == 'bool' else '0.0'}\n"
            features.append(f'[[feature]]\nname = "{name}"\ntype = "{kind}"\nentity = "{entity}"\n{default}')
    (directory / "features.toml").write_text("\n".join(features))
    offers = []
    for offer in programme.offers:
        terms = ", ".join(f"{name} = {train.literal(offer[name])}" for name in OFFER)
        # An acceptance is worth what a customer must spend for it.
        offers.append(
            f'[[offer]]\nid = "{offer["id"]}"\nname = "{offer["name"]}"\ncategory = "{offer["category"]}"\n'
            f'placements = ["app_home"]\nvalue = {offer["difficulty"]}\nfeatures = {{ {terms} }}\n'
        )
    (directory / "offers.toml").write_text("\n".join(offers))
    (directory / "policy.toml").write_text(POLICY)
    with (directory / "customers.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["customer_id", *CUSTOMER])
        for customer in programme.customers:
            writer.writerow([customer["id"], *(text(name, customer[name]) for name in CUSTOMER)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the directory of the data set")
    parser.add_argument("directory", type=Path, help="the workspace to write")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    programme = Programme(options.data)
    rows = programme.matrix()
    print(f"{len(rows):,} offers received by {len(programme.customers):,} customers, {programme.accepted.mean():.1%} completed")
    write_files(programme, options.directory)
    write_segments(programme, options.directory)
    for number in VERSIONS:
        train_version(programme, rows, number, options.directory)
    print(f"make a store of it: proffer init --store STORE --from {options.directory}")


if __name__ == "__main__":
    main()
