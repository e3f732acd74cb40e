#!/usr/bin/env python3
"""Fetches the ONNX Runtime library that Proffer loads, from the official Python wheel.

The wheel is pinned by version and SHA-256 and chosen by the platform of this machine; the Python that runs this script
only calls `pip download`. Only the shared library is kept, by default in var/onnxruntime/ of the checkout. If it
already exists, nothing is fetched.

Usage: python3 scripts/fetch_onnxruntime.py [--to DIR]
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple, NoReturn

VERSION = "1.31.1"
CHECKOUT = Path(__file__).resolve().parent.parent


class Wheel(NamedTuple):
    """The official wheel for a platform, and its library."""

    pip_platform: str
    sha256: str
    library: str


LINUX_LIBRARY = f"libonnxruntime.so.{VERSION}"
MACOS_LIBRARY = f"libonnxruntime.{VERSION}.dylib"

# Since 1.24 there are no wheels for Macs with Intel processors.
WHEELS = {
    ("Linux", "x86_64"): Wheel(
        "manylinux_2_28_x86_64",
        "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
        LINUX_LIBRARY,
    ),
    ("Linux", "aarch64"): Wheel(
        "manylinux_2_28_aarch64",
        "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
        LINUX_LIBRARY,
    ),
    ("Darwin", "arm64"): Wheel(
        "macosx_14_0_arm64",
        "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c",
        MACOS_LIBRARY,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetches the ONNX Runtime library that Proffer loads.")
    parser.add_argument("--to", type=Path, default=CHECKOUT / "var" / "onnxruntime", metavar="DIR",
                        help="where the library goes (default: var/onnxruntime of the checkout)")
    folder = parser.parse_args().to
    wheel = wheel_for(platform.system(), platform.machine())
    library = folder / wheel.library
    if library.is_file():
        print(f"ONNX Runtime {VERSION} is at {library}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    # Next to the target, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as work:
        archive = download(wheel, Path(work))
        check(archive, wheel)
        extract(archive, wheel, Path(work) / wheel.library)
        os.replace(Path(work) / wheel.library, library)
    print(f"ONNX Runtime {VERSION} fetched to {library}")


def wheel_for(system: str, machine: str) -> Wheel:
    machine = {"AMD64": "x86_64", "amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    if system == "Darwin" and machine == "aarch64":
        machine = "arm64"
    wheel = WHEELS.get((system, machine))
    if wheel is None:
        known = ", ".join(f"{system} {machine}" for system, machine in WHEELS)
        fail(f"there is no official wheel of ONNX Runtime {VERSION} for {system} {machine} (only for {known}); "
             "build the library from source and point ORT_DYLIB_PATH at it")
    return wheel


def download(wheel: Wheel, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode != 0:
        fail(f"{sys.executable} has no pip; install it (`python3 -m ensurepip`, or the package python3-pip)")
    # The wheels for Python 3.12, regardless of this Python's version: their library is the same.
    fetched = subprocess.run(
        [*pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
         "--platform", wheel.pip_platform, "--python-version", "3.12", "--implementation", "cp", "--abi", "cp312",
         "--dest", str(folder), f"onnxruntime=={VERSION}"],
        capture_output=True, text=True, check=False)
    archives = list(folder.glob("onnxruntime-*.whl"))
    if fetched.returncode != 0 or len(archives) != 1:
        error = "\n  ".join(line for line in fetched.stderr.strip().splitlines()[-3:])
        fail(f"pip could not download onnxruntime {VERSION}; is the package index reachable? pip said:\n  {error}")
    return archives[0]


def check(archive: Path, wheel: Wheel) -> None:
    digest = hashlib.sha256()
    with archive.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != wheel.sha256:
        fail(f"{archive.name} is not the official wheel: its SHA-256 is {digest.hexdigest()}, not {wheel.sha256}; "
             "nothing was installed")


def extract(archive: Path, wheel: Wheel, target: Path) -> None:
    with zipfile.ZipFile(archive) as files, target.open("wb") as copy:
        with files.open(f"onnxruntime/capi/{wheel.library}") as original:
            shutil.copyfileobj(original, copy, 1 << 20)
        copy.flush()
        os.fsync(copy.fileno())
    target.chmod(0o755)


def fail(message: str) -> NoReturn:
    print(f"fetch_onnxruntime: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
