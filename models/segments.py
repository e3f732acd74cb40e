"""Trains the segments of the sample workspace on CC GENERAL with `proffer segment train`, and names them.

    python models/segments.py [--proffer target/release/proffer] [--models DIRECTORY]

reads `cc_general/CC_GENERAL.csv` or `.csv.gz` below PROFFER_DATA (default: `../shared/data` next to the checkout) and
writes segments/1. This is segments.json as written by the trainer except for the names, and model.toml. The data set
itself is not copied; the files contain only statistics of it.

Start reading at `NAMES`, which defines the names of the segments.
"""

import argparse
import csv
import gzip
import hashlib
import json
import math
import os
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
K = 6

# Name, deciding feature, and its minimum or maximum: in this order, each name goes to the segment with that extreme
# among those without a name. The remaining segment gets the last name.
NAMES = [
    ("Rarely used", "balance_frequency", min),
    ("Cash users", "purchases_frequency", min),
    ("Big spenders", "purchases", max),
    ("Instalment buyers", "purchases_installments_frequency", max),
    ("Cash and purchases", "cash_advance", max),
    ("Occasional shoppers", None, None),
]


def read_source():
    """CC GENERAL as text, with the lower-case header of the feature schema."""
    folder = Path(os.environ.get("PROFFER_DATA", HERE.parent.parent / "shared/data")) / "cc_general"
    for name, read in (("CC_GENERAL.csv", Path.read_bytes), ("CC_GENERAL.csv.gz", decompressed)):
        if (folder / name).exists():
            header, rows = read(folder / name).decode().split("\n", 1)
            return header.lower() + "\n" + rows
    raise SystemExit(f"no CC_GENERAL.csv or CC_GENERAL.csv.gz in {folder}; point PROFFER_DATA at the data")


def decompressed(path):
    """The content of a gzip file."""
    return gzip.decompress(path.read_bytes())


def train(proffer, source):
    """Runs the trainer; returns the text of segments.json."""
    with tempfile.TemporaryDirectory() as directory:
        table, output = Path(directory) / "customers.csv", Path(directory) / "segments"
        table.write_text(source)
        command = [proffer, "segment", "train", "--input", table, "--output", output, "--k", str(K), "--id", "cust_id"]
        # Only this number of segments. The same command without these options reports on the choice and its stability.
        command += ["--k-min", str(K), "--k-max", str(K), "--resamples", "2", "--no-report"]
        subprocess.run([str(word) for word in command], check=True)
        return (output / "segments.json").read_text()


def typical(artefact, segment, feature):
    """The centre of a segment in the unit of a feature."""
    position = [entry["name"] for entry in artefact["features"]].index(feature)
    entry = artefact["features"][position]
    value = segment["centroid"][position] * entry["deviation"] + entry["mean"]
    return math.expm1(value) if entry["log1p"] else value


def named(text):
    """The artefact with plain names for the segments; everything else is unchanged."""
    artefact = json.loads(text)
    unnamed = list(artefact["segments"])
    for name, feature, end in NAMES:
        chosen = end(unnamed, key=lambda segment: typical(artefact, segment, feature)) if feature else unnamed[0]
        unnamed.remove(chosen)
        was, now = (f'"name": {json.dumps(value)}' for value in (chosen["name"], name))
        if text.count(was) != 1:
            raise SystemExit(f"segments.json holds {was} {text.count(was)} times; expected once")
        text = text.replace(was, now)
    return text


def manifest(text, source):
    """model.toml of the segmentation."""
    artefact = json.loads(text)
    rows = len(list(csv.reader(source.splitlines()))) - 1
    notes = {
        "data": "CC GENERAL (Kaggle), real card holders; statistics only",
        "script": "models/segments.py",
        "algorithm": "k-means on standardised features, by proffer segment train",
        "rows": rows,
        "k": K,
        "seed": artefact["training"]["seed"],
        "inertia": round(artefact["inertia"], 3),
    }
    lines = ['kind = "segmentation"', "latency_budget_ms = 50", "", "[gates]", 'golden = "required"', "", "[checksums]"]
    lines += [f'"segments.json" = "{hashlib.sha256(text.encode()).hexdigest()}"', "", "[training]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in notes.items()]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--proffer", type=Path, default=HERE.parent / "target/release/proffer", help="the binary")
    parser.add_argument("--models", type=Path, default=HERE, help="where to write (default: the directory of this script)")
    arguments = parser.parse_args()
    if not arguments.proffer.exists():
        raise SystemExit(f"no {arguments.proffer}; build it with: cargo build --release")
    source = read_source()
    text = named(train(arguments.proffer.resolve(), source))
    directory = arguments.models / "segments/1"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "segments.json").write_text(text)
    (directory / "golden.csv").unlink(missing_ok=True)
    (directory / "model.toml").write_text(manifest(text, source))
    artefact = json.loads(text)
    shown = ["balance", "purchases", "cash_advance", "credit_limit", "prc_full_payment"]
    print(f"{'':4}{'segment':22}{'customers':>10}" + "".join(f"{name:>18}" for name in shown))
    for segment in artefact["segments"]:
        values = "".join(f"{typical(artefact, segment, name):18,.2f}" for name in shown)
        print(f"{segment['id']:<4}{segment['name']:22}{segment['size']:>10,}{values}")


if __name__ == "__main__":
    main()
