"""Compares Proffer with common alternatives: the same model and rows, in one run, as one table with ratios.

    python benches/peers/peers.py [--rounds 5] [--seconds 1.5]

`make bench-peers` installs benches/peers/requirements.txt into a virtual environment (var/venv-peers) and runs this.
The model is trained with LightGBM (workspace.py). Consecutive calls are for different customers. Before the
measurement, the scores of each side are compared with those of ONNX Runtime. The run fails on a larger difference than
TOLERANCE (report.py), on a failed call, or if a server exits. Goals are printed, not enforced.

All sides take turns, round by round, and ratios are taken within a round, so that variations of the machine affect all
sides. Servers are child processes; one client, written in Rust, calls them all, on the same cores. Start reading at
`main`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

# One thread for each library; for training, LightGBM has its own setting.
os.environ["OMP_NUM_THREADS"] = "1"
for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)

import in_process
import over_grpc
import workspace
from report import Report
from servers import BenchError, Watch

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ["onnxruntime", "lightgbm", "lleaves", "llvmlite", "mlserver", "mlserver-lightgbm", "numpy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="turns per side")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of each turn over gRPC")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / "var" / "peers", help="replaced by each run")
    options = parser.parse_args()
    report, folder = Report(), options.folder.resolve()
    try:
        programs, library = build(), onnxruntime_library()
        facts()
        made = workspace.make(folder)
        watch = Watch()
        in_process.measure(made, programs["peers"], library, report, max(options.rounds, 3))
        over_grpc.measure(made, programs, library, report, options.rounds, options.seconds)
        print(f"other programs used {watch.others():.0f} % of the CPU time meanwhile\n")
    except (BenchError, subprocess.CalledProcessError) as trouble:
        report.failures.append(str(trouble))
    print(report.table())
    print(
        "\nratio: speed relative to the first row of the same work, the median of the rounds. CPU: of the server,"
        " per call.\nThe client shares the cores with the server, so rates over gRPC are lower bounds.\n"
    )
    print("\n".join(report.goals))
    for failure in report.failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if report.failures else 0


def build():
    """Builds the Rust side and the server in release mode; returns their paths."""
    cargo = [os.environ.get("CARGO", "cargo"), "bench", "--quiet", "--locked", "--bench", "peers", "--", "where"]
    done = subprocess.run(cargo, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def onnxruntime_library():
    """The library fetched by `make onnxruntime`."""
    if named := os.environ.get("ORT_DYLIB_PATH"):
        return Path(named)
    found = sorted((CHECKOUT / "var" / "onnxruntime").glob("libonnxruntime*.[0-9]*"))
    if not found:
        raise BenchError("ONNX Runtime was not found: run `make onnxruntime`")
    return found[-1].resolve()


def facts():
    """Prints the context without which the figures are meaningless."""
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
