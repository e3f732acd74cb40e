"""Proffer beside what people use today: the same model and rows, in one run, one table, ratios printed.

    python benches/peers/peers.py [--rounds 5] [--seconds 1.5]

`make bench-peers` installs what this needs into a virtual environment (benches/peers/requirements.txt, var/venv-peers) and
runs it.
The model is made by LightGBM: 500 trees of 31 leaves over 24 features of the customer and 8 of the offer. Every call is
about another customer than the one before. Before anything is measured, each side's scores are held against those of ONNX
Runtime; a difference above 1e-4, a call that fails or a server that ends makes the run fail. Goals are printed, not enforced.

All sides take turns, round by round, and ratios are taken within a round, so that a machine that wavers does so for all.
Servers are child processes; one client, written in Rust, calls them all, from the same cores. Start reading at `main`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

# The libraries may have one thread each; LightGBM is told by its own setting where it trains.
os.environ["OMP_NUM_THREADS"] = "1"
for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)

import in_process
import over_grpc
import workspace
from report import Report
from servers import Trouble, Watch

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ["onnxruntime", "lightgbm", "lleaves", "llvmlite", "mlserver", "mlserver-lightgbm", "numpy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each turn over gRPC")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / "var" / "peers", help="made anew by each run")
    options = parser.parse_args()
    report, folder = Report(), options.folder.resolve()
    try:
        programs, library = build(), onnxruntime_library()
        facts()
        made = workspace.make(folder)
        watch = Watch()
        in_process.measure(made, programs["peers"], library, report, max(options.rounds, 3))
        over_grpc.measure(made, programs, library, report, options.rounds, options.seconds)
        print(f"other programs took {watch.others():.0f} % of the machine meanwhile\n")
    except (Trouble, subprocess.CalledProcessError) as trouble:
        report.failures.append(str(trouble))
    print(report.table())
    print(
        "\nratio: how many times as fast as the first row of the same work, the median of the rounds' ratios. CPU: of the server,"
        " per call.\nThe client shares the cores with the server, so rates over gRPC are lower bounds.\n"
    )
    print("\n".join(report.goals))
    for failure in report.failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if report.failures else 0


def build():
    """Builds the Rust side and the server with the options of a release; says where they are."""
    cargo = [os.environ.get("CARGO", "cargo"), "bench", "--quiet", "--locked", "--bench", "peers", "--", "where"]
    done = subprocess.run(cargo, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def onnxruntime_library():
    """What `make onnxruntime` fetched."""
    if named := os.environ.get("ORT_DYLIB_PATH"):
        return Path(named)
    found = sorted((CHECKOUT / "var" / "onnxruntime").glob("libonnxruntime*.[0-9]*"))
    if not found:
        raise Trouble("ONNX Runtime is not there: run `make onnxruntime`")
    return found[-1].resolve()


def facts():
    """What a figure means nothing without."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    load = " ".join(f"{one:.2f}" for one in os.getloadavg())
    name = cpu[0].partition(":")[2].strip() if cpu else platform.machine()
    print(f"machine: {os.cpu_count()} cores, {name}; load average before: {load}")
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=CHECKOUT, capture_output=True, text=True, check=False).stdout.strip()
    print(f"proffer at commit {commit or 'unknown'}; Python {platform.python_version()}, {', '.join(map(version, PACKAGES))}")


def version(package):
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"no {package}"


if __name__ == "__main__":
    sys.exit(main())
