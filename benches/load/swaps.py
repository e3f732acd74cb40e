"""Releases that are made and promoted while a load runs.

A swap that loads nothing would show nothing: models that serve, or are kept warm, are shared with a new release that pins
the same versions. So every model of the workspace is pushed as a few more versions before the load begins. They compute
the same, but their bytes differ by a note, and the swaps rotate over them.

Start reading at `Swaps`.
"""

import json
import re
import shutil
import tempfile
import threading
import time
from pathlib import Path

from report import NotJudged
from server import command_line

# With a release that serves and one that is kept warm, the third is never in memory.
SETS = 3
# What follows a swap, in seconds, still belongs to it: the release before the last is retired.
AFTERWARDS = 0.5
NOTE = "load test"


class Swaps:
    """Swaps one after the other, on a thread of its own, through `proffer` as a pipeline does."""

    def __init__(self, options, address):
        self.options, self.address = options, address
        self.made, self.failed, self.sets = [], [], []
        self.stop, self.thread = threading.Event(), threading.Thread(target=self.rotate, daemon=True)
        self.before = None

    def ask(self, *words):
        """What `proffer` answers, as JSON."""
        return json.loads(command_line(self.options, *words, "--json", "--server", self.address))

    def prepare(self):
        """Pushes the versions that the swaps rotate over; each must pass its gates."""
        for number in range(1, SETS + 1):
            pinned = {}
            with tempfile.TemporaryDirectory(prefix="proffer-load-") as scratch:
                for model in sorted({path.parent.parent for path in self.options.MODELS.glob("*/*/model.toml")}):
                    directory = marked(model, Path(scratch) / model.name, number)
                    pinned[model.name] = self.ask("model", "push", model.name, directory)["version"]
            self.sets.append(pinned)

    def start(self):
        """Begins: the first swap comes after the warm-up."""
        self.thread.start()

    def rotate(self):
        """Makes and promotes a release every EVERY seconds, until `finish`."""
        wait, turn = self.options.WARMUP + self.options.EVERY, 0
        while not self.stop.wait(wait):
            began = time.time()
            try:
                self.once(self.sets[turn % SETS])
            except (NotJudged, ValueError, KeyError) as error:
                self.failed.append(str(error))
            turn += 1
            wait = max(0, began + self.options.EVERY - time.time())

    def once(self, pinned):
        """One swap."""
        words = [word for name, version in pinned.items() for word in ("--model", f"{name}={version}")]
        release = self.ask("release", "create", *words, "--note", NOTE)["number"]
        began = time.time()
        current = self.ask("release", "promote", release, "--reason", NOTE)["current"]
        self.before = self.before or current["previous"]
        self.made.append((began, time.time()))

    def finish(self):
        """Ends; a server that was there before goes back to the release that it served."""
        self.stop.set()
        if self.thread.ident:
            self.thread.join()
        if self.options.ADDRESS and self.before:
            self.ask("release", "promote", self.before, "--reason", f"{NOTE}: back to what served before")

    def apart(self, calls):
        """The calls that were under way around a swap, and the others."""
        spans, parts = [(begin, end + AFTERWARDS) for begin, end in self.made], ([], [])
        for call in calls:
            parts[not any(call.due <= end and begin <= call.due + call.latency for begin, end in spans)].append(call)
        return parts


def marked(model, target, number):
    """A copy of the highest version of a model whose every artefact has other bytes; returns its directory."""
    version = max((path for path in model.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
    shutil.copytree(version, target)
    for path in target.rglob("*"):
        if path.suffix == ".onnx":
            # The field `doc_string` of a ModelProto once more: of a field that comes twice, the last one counts.
            note = f"{NOTE} {number}".encode()
            path.write_bytes(path.read_bytes() + bytes([0x32, len(note)]) + note)
        elif path.suffix == ".json":
            path.write_bytes(path.read_bytes() + b"\n" * number)
    manifest = target / "model.toml"
    manifest.write_text(re.sub(r"^\[checksums\]\n(?:[^\[\n].*\n|\n)*", "", manifest.read_text(), flags=re.MULTILINE))
    return target
