"""Checks the dependencies against deny.toml: licences, sources, wildcards.

    python3 scripts/check_dependencies.py

`cargo deny check` does the same and also checks advisories, but takes minutes to install. Prints a line for each crate
that deny.toml does not allow, and exits with 1 if there is any.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def holds(expression, allowed):
    """Whether the allowed licences satisfy an SPDX expression; `/` is the old form of OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    position = 0

    def peek():
        return tokens[position] if position < len(tokens) else None

    def take():
        nonlocal position
        position += 1
        return tokens[position - 1]

    def either():
        found = both()
        while peek() == "OR":
            take()
            found = both() or found
        return found

    def both():
        found = one()
        while peek() == "AND":
            take()
            found = one() and found
        return found

    def one():
        token = take()
        if token == "(":
            found = either()
            take()
            return found
        if peek() == "WITH":
            take()
            return f"{token} WITH {take()}" in allowed or token in allowed
        return token in allowed

    try:
        return either() and position == len(tokens)
    except IndexError:
        return False


def problems(metadata, deny):
    """Violations of deny.toml by the packages of `cargo metadata`."""
    allowed = set(deny["licenses"]["allow"])
    members = set(metadata["workspace_members"])
    for package in metadata["packages"]:
        name = f"{package['name']} {package['version']}"
        if not holds(package["license"] or "", allowed):
            yield f"{name}: its licence is {package['license']}: allow it in deny.toml, or remove the crate"
        if package["id"] not in members and package["source"] != CRATES_IO:
            yield f"{name}: it comes from {package['source']}, not from crates.io"
        for dependency in package["dependencies"] if package["id"] in members else []:
            if dependency["req"] == "*" and not dependency.get("path"):
                yield f"{name}: the version of {dependency['name']} is a wildcard: name one"


def main():
    deny = tomllib.loads((ROOT / "deny.toml").read_text())
    command = [os.environ.get("CARGO", "cargo"), "metadata", "--locked", "--format-version", "1"]
    for target in deny["graph"]["targets"]:
        command += ["--filter-platform", target]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    found = sorted(set(problems(metadata, deny)))
    for line in found:
        print(line)
    if not found:
        print(f"{len(metadata['packages'])} packages comply with deny.toml")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
