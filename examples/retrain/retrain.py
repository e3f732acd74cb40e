#!/usr/bin/env python3
"""Retrains the sample's `propensity` model on new responses and brings it live on a running Proffer.

    retrain.py                 train, export, push, check the verdict, release, promote, compare the scores
    retrain.py --train-only    train and export; push by hand or with `proffer model push`
    retrain.py --rollback      roll back to the release before, in one call

Exits with 0 if the new version serves. It exits with 1 if a gate failed (the table says which and why), or if the
server's scores differ from the model's. It exits with 2 if the server rejected a step or was unreachable. Start reading
at `main`.
"""

import argparse
import csv
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "models"
sys.path.insert(0, str(MODELS))

import train  # the sample's own training; it must be imported before numpy, as explained there
import graphs
import grpc
import lightgbm
import numpy as np
import simulate
from proffer_client import Proffer, gate_table

NAME = "propensity"
INPUTS = train.PROPENSITY_CUSTOMER + train.PROPENSITY_CONTEXT + train.PROPENSITY_OFFER  # what the served version reads
SHOWN_EACH = 8  # offers shown to a customer
TREES, LEAVES = 200, 31
GOLDEN_ROWS = 20
TOLERANCE = 1e-5  # the largest allowed difference between a propensity of the server and ours


@dataclass
class Data:
    """New responses: a row per offer shown, split by customer into training, calibration and hold-out."""

    rows: np.ndarray  # (impressions, inputs) float32, NaN where missing
    accepted: np.ndarray  # (impressions,) 0 or 1
    train: np.ndarray  # (impressions,) bool: 70 % of the customers
    calibrate: np.ndarray  # 15 %
    holdout: np.ndarray  # 15 %


def new_data(customers: int, seed: int, drift: float) -> Data:
    """The responses since the last training. Yours come from a warehouse; these are simulated like the sample's.

    Customers have changed since the sample's version was trained. With `drift` 1, cash back attracts users of the app
    but not others, and young customers are interested in protection, too. With 0 they are unchanged.
    """
    who, customer, shown, when, _ = simulate.responses(customers, SHOWN_EACH, seed)
    who = {name: column[customer] for name, column in who.items()}
    offer = {name: column[shown] for name, column in simulate.offer_columns(simulate.offers()).items()}
    change = 0.6 * offer["reward_rate"] * (who["digital_active"] - 0.6)
    change -= 0.05 * offer["protection_level"] * (who["_age"] - 43)
    log_odds = simulate.utility(who, offer, when) + drift * change
    draws = np.random.Generator(np.random.PCG64([seed, 2])).random(len(customer))
    columns = who | offer | when
    schema = {feature["name"]: feature for feature in simulate.schema()}
    resolved = [train.resolved(schema[name], columns[name]) for name in INPUTS]  # defaults as the server sets them
    share = customer / customers  # the order of customers is random
    return Data(
        rows=np.column_stack(resolved).astype(np.float32),
        accepted=(draws < 1 / (1 + np.exp(-log_odds))).astype(np.int8),
        train=share < 0.70,
        calibrate=(share >= 0.70) & (share < 0.85),
        holdout=share >= 0.85,
    )


def retrain(data: Data, seed: int, directory: Path) -> np.ndarray:
    """Trains, calibrates and writes the version; returns LightGBM's propensities for the hold-out."""
    settings = {
        "objective": "binary",
        "num_leaves": LEAVES,
        "learning_rate": 0.05,
        "min_data_in_leaf": 60,
        "feature_fraction": 0.8,
        "lambda_l2": 5.0,
        "seed": seed,
        "deterministic": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    rows = lightgbm.Dataset(data.rows[data.train], data.accepted[data.train], feature_name=INPUTS)
    booster = lightgbm.train(settings, rows, num_boost_round=TREES)
    # Calibrated on rows that the trees have not seen: on the training rows they are overconfident.
    calibration = train.fit_isotonic(booster.predict(data.rows[data.calibrate]), data.accepted[data.calibrate])
    ours = train.apply_isotonic(calibration, booster.predict(data.rows[data.holdout]))

    graph = graphs.tree_classifier(booster.dump_model()["tree_info"], len(INPUTS))
    scores = train.run(graph, {"features": data.rows[data.holdout]})[:, 1]
    train.agree(NAME, train.apply_isotonic(calibration, scores), ours)
    train.write_version(
        directory,
        {"model.onnx": graph, "golden.csv": golden(data.rows[data.holdout], ours)},
        head={"kind": "propensity", "layout": "pairwise", "inputs": INPUTS, "accepts_missing": True},
        output={"name": "probabilities", "class": 1},
        calibration=calibration,
        training={
            "algorithm": f"LightGBM, {TREES} trees of {LEAVES} leaves",
            "data": "simulated customers and responses, examples/retrain/retrain.py",
            "seed": seed,
            "rows": int(data.train.sum()),
            "calibration_rows": int(data.calibrate.sum()),
        }
        | train.measured(ours, data.accepted[data.holdout]),
    )
    return ours


def golden(rows: np.ndarray, expected: np.ndarray) -> bytes:
    """golden.csv: rows from the least to the most likely to accept, with the propensities that the server must
    return."""
    chosen = np.argsort(expected, kind="stable")[np.linspace(0, len(rows) - 1, GOLDEN_ROWS).astype(int)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*INPUTS, "expected", "tolerance"])
    for row in chosen:
        features = ["" if np.isnan(value) else shortest(value) for value in rows[row]]
        writer.writerow([*features, shortest(np.float32(expected[row])), TOLERANCE])
    return text.getvalue().encode()


def shortest(value: np.float32) -> str:
    """The shortest text that parses to the same float32; integers and bools without a decimal point."""
    return np.format_float_positional(value, trim="-")


def quality(propensities: np.ndarray, accepted: np.ndarray) -> dict[str, float]:
    """The quality of a version on the hold-out. `lift` is the acceptance in the best-scored tenth, relative to that in
    all."""
    best = np.argsort(-propensities, kind="stable")[: len(accepted) // 10]
    notes = train.measured(propensities, accepted)
    return {
        "auc": notes["holdout_auc"],
        "log_loss": notes["holdout_log_loss"],
        "calibration_error": notes["holdout_calibration_error"],
        "lift": round(float(accepted[best].mean() / accepted.mean()), 3),
    }


def bring_live(proffer: Proffer, data: Data, ours: np.ndarray, directory: Path, author: str) -> dict:
    """Pushes, releases, promotes and compares. Returns the report; `live` says whether the new version serves."""
    rows, accepted = data.rows[data.holdout], data.accepted[data.holdout]
    pushed = proffer.push(NAME, directory)
    report = {"model": NAME, "version": pushed.version, "passed": pushed.verdict.passed, "live": False}
    print(f"\n{NAME} version {pushed.version}\n{gate_table(pushed.verdict)}\n")
    if not pushed.verdict.passed:
        print(f"version {pushed.version} failed a gate: it is kept, but no release can pin it")
        return report

    # The base release of this run must still be current at the promotion.
    base = proffer.current_release()
    before, old = proffer.score(NAME, INPUTS, rows)
    note = f"{NAME} {pushed.version}: retrained on {int(data.train.sum())} new responses"
    release = proffer.create_release(base, {NAME: pushed.version}, author, note)
    promotion = proffer.promote(release, base, author, note)
    print(f"release {release} serves; it was {base}" + (" (loaded already)" if promotion.warm else ""))

    after, new = proffer.score(NAME, INPUTS, rows)
    difference = float(np.max(np.abs(new - ours)))
    print(f"the server and LightGBM differ by at most {difference:.1e} on {len(rows):,} held-out rows")
    report |= {"base": base, "release": release, "rows": len(rows), "largest_difference": difference}
    # `not <=`, so that a NaN is a disagreement, too.
    if (after.release, after.version) != (release, pushed.version) or not difference <= TOLERANCE:
        print(f"these are not the scores of version {pushed.version}: back to release {base}")
        proffer.promote(base, release, author, f"release {release} does not score as {NAME} {pushed.version} should")
        return report

    report |= {"live": True, "old_version": before.version}
    report |= {"old": quality(old, accepted), "new": quality(new, accepted)}
    print(f"\n{'':20}{f'version {before.version}':>12}{f'version {after.version}':>12}")
    for key, value in report["old"].items():
        print(f"{key.replace('_', ' '):20}{value:12.4f}{report['new'][key]:12.4f}")
    return report


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:50051", metavar="ADDR", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "var/retrain", metavar="DIR",
                        help="where the version is written (default: var/retrain)")  # fmt: skip
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the results as JSON")
    parser.add_argument("--author", default="retrain.py", help="author noted in the release (default: %(default)s)")
    parser.add_argument("--customers", type=int, default=30_000, help="number of simulated customers (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=2027, help="seed of simulation and training (default: %(default)s)")
    parser.add_argument("--drift", type=float, default=1.0,
                        help="how much customers have changed; 0: not at all (default: %(default)s)")  # fmt: skip
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--train-only", action="store_true", help="write the version and stop")
    mode.add_argument("--rollback", action="store_true", help="roll back to the release before, without training")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.report:
        options.report.unlink(missing_ok=True)  # the report of an earlier run would be mistaken for this one's
    with Proffer(options.server) as proffer:
        try:
            if options.rollback:
                current = proffer.roll_back(options.author, "retrain.py --rollback").current
                print(f"release {current.release} serves")
                return 0
            data = new_data(options.customers, options.seed, options.drift)
            print(f"{len(data.accepted):,} impressions, {data.accepted.mean():.1%} accepted")
            ours = retrain(data, options.seed, options.out)
            if options.train_only:
                return 0
            report = bring_live(proffer, data, ours, options.out, options.author)
        except grpc.RpcError as error:
            print(f"{options.server}: {error.code().name}: {error.details()}", file=sys.stderr)
            return 2
    if options.report:
        options.report.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if report["live"] else 1


if __name__ == "__main__":
    sys.exit(main())
