"""Checks the documents: links and paths must exist, pages must be short, and generated pages must be current.

    python3 scripts/check_docs.py

Prints `file:line: what, what to do` for each problem, and exits with 1 if there is any.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The most lines of a page.
LINES = {"README.md": 150, "ARCHITECTURE.md": 200}
COLUMNS = 120

# Pages in which files in backticks must exist, because they guide readers through the code.
MAPS = ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/")

# Pages with paragraphs instead of one sentence per line.
PARAGRAPHS = ("CHANGELOG.md",)

# Directories of generated or downloaded files, which are not in a checkout.
GENERATED = ("target/", "var/", "report/", "build/")

LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
# A full stop, question mark or exclamation mark, closing characters, and the beginning of another sentence.
ANOTHER = re.compile(r"(?<![.\d])[.?!][)\"”*`]*\s+(?=[\"“(*`]*[A-Z])")
# Abbreviations whose full stop does not end a sentence.
SHORT = re.compile(r"\b(?:e\.g|i\.e|vs|cf|approx|St|No)\.$")


class Page:
    """A Markdown file with its classified lines."""

    def __init__(self, root, name):
        self.name = name
        self.path = root / name
        self.lines = self.path.read_text(encoding="utf-8").splitlines()
        self.prose = []  # (number, line), code blocks left out
        self.consoles = []  # (number, first line) of each block of commands with their output
        fence = None
        for number, line in enumerate(self.lines, 1):
            mark = re.match(r"\s*(`{3,}|~{3,})", line)
            if fence is None and mark:
                fence = mark[1]
                if line.strip() == f"{fence}console":
                    self.consoles.append((number + 1, self.lines[number] if number < len(self.lines) else ""))
            elif fence is not None and mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = None
            elif fence is None:
                self.prose.append((number, line))

    def anchors(self):
        """The anchors of its headings, as GitHub and mdBook make them."""
        found, seen = set(), {}
        for _, line in self.prose:
            heading = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
            if heading:
                text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
                anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
                count = seen.get(anchor, 0)
                seen[anchor] = count + 1
                found.add(f"{anchor}-{count}" if count else anchor)
            found.update(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", line))
        return found


def tracked(root):
    """The files of the checkout, including untracked ones."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted({name for name in names if (root / name).exists()})


def links(page, pages, root):
    """Broken links, and links out of the book."""
    for number, line in page.prose:
        for target in LINK.findall(re.sub(r"`[^`]*`", "", line)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            place = (page.path.parent / path).resolve() if path else page.path
            if not place.exists():
                yield number, f"the link to {target} leads nowhere, name a file that exists"
                continue
            name = place.relative_to(root).as_posix() if place.is_relative_to(root) else None
            if page.name.startswith("docs/") and (name is None or not name.startswith("docs/")):
                yield number, f"the link to {target} leads out of the book, name the file in backticks"
            if anchor and (name not in pages or anchor not in pages[name].anchors()):
                yield number, f"there is no heading for the anchor #{anchor}, name one that exists"


def places(mention):
    """The possible paths of a mention: `release/store.rs` is crates/release/src/store.rs, `grpc/rpc.rs` is
    src/grpc/rpc.rs."""
    first, _, rest = mention.partition("/")
    return (mention, f"crates/{first}/src/{rest}", f"src/{mention}")


def mentions(page, files):
    """Files in backticks that do not exist."""
    names = {file.rsplit("/", 1)[-1] for file in files}
    folders = {file.rsplit("/", depth)[0] for file in files for depth in range(1, file.count("/") + 1)}
    for number, line in page.prose:
        for quoted in re.findall(r"`([^`]+)`", line):
            mention = re.sub(r":\d+$", "", quoted)
            if not re.fullmatch(r"[\w.\-]+(?:/[\w.\-]+)*/?", mention) or mention.startswith(GENERATED):
                continue
            if mention.endswith(".rs") and "/" not in mention:
                if mention not in names:
                    yield number, f"no file is called {mention}, name one that exists"
            elif mention.endswith(".rs") or mention.startswith(("crates/", "src/", "tests/", "benches/", "scripts/", "deploy/")):
                known = (place.rstrip("/") for place in places(mention))
                if not any(place in files or place in folders for place in known):
                    yield number, f"there is no {mention}, name a file that exists"


def tests(page, functions):
    """Tests in backticks that do not exist, such as `peers::tests::a_peer_makes_room`."""
    for number, line in enumerate(page.lines, 1):
        for quoted in re.findall(r"`([\w:]+)`", line):
            module, _, name = quoted.rpartition("::")
            # The names of tests are sentences.
            if module and name.count("_") >= 3 and name not in functions:
                yield number, f"there is no test {quoted}, name one that exists"


def is_prose(line):
    return bool(line.strip()) and not line.lstrip().startswith(("|", "#", "<", "!["))


def shape(page):
    """Lines that are too long, and lines with more than one sentence."""
    most = LINES.get(page.name)
    if most and len(page.lines) > most:
        yield most + 1, f"{len(page.lines)} lines, of at most {most}: move something to a page of docs/"
    if page.name in PARAGRAPHS:
        return
    for number, line in page.prose:
        if not is_prose(line):
            continue
        shown = re.sub(r"\]\([^)\s]+\)", "]", line)
        shown = re.sub(r"https?://\S+", "", shown)
        if len(shown) > COLUMNS:
            yield number, f"{len(shown)} columns, of at most {COLUMNS}: break the line, or make the sentence shorter"
        text = re.sub(r"`[^`]*`", "`x`", re.sub(r"^\s*(?:[-*+]|\d+\.)\s+", "", shown))
        for end in ANOTHER.finditer(text):
            if not SHORT.search(text[:end.start() + 1]):
                yield number, "more than one sentence, begin a line with each"
                break


def consoles(page):
    """Console blocks that do not begin with a command."""
    for number, line in page.consoles:
        if not line.startswith("$ "):
            yield number, "a console block must begin with its command: write `$ ` before it, or mark the block as text"


def summary(pages):
    """Pages of the book that are not in its summary."""
    if "docs/SUMMARY.md" not in pages:
        return
    listed = {target for _, line in pages["docs/SUMMARY.md"].prose for target in LINK.findall(line)}
    for name in pages:
        inside = name.removeprefix("docs/")
        if name.startswith("docs/") and inside != "SUMMARY.md" and inside not in listed:
            yield name, 1, "docs/SUMMARY.md does not list this page, add it there"


def problems(root):
    """All problems as (file, line, message)."""
    files = tracked(root)
    pages = {name: Page(root, name) for name in files if name.endswith(".md")}
    code = "\n".join((root / name).read_text() for name in files if name.endswith(".rs"))
    functions = set(re.findall(r"fn (\w+)", code))
    found = []
    for page in pages.values():
        found += [(page.name, *problem) for problem in tests(page, functions)]
        found += [(page.name, *problem) for problem in links(page, pages, root)]
        found += [(page.name, *problem) for problem in shape(page)]
        found += [(page.name, *problem) for problem in consoles(page)]
        if page.name.startswith(MAPS):
            found += [(page.name, *problem) for problem in mentions(page, set(files))]
    return sorted([*found, *summary(pages)])


def main():
    lines = [f"{file}:{line}: {message}" for file, line, message in problems(ROOT)]
    reference = [sys.executable, "-B", str(ROOT / "scripts/reference.py"), "--check"]
    generated = subprocess.run(reference, capture_output=True, text=True, check=False)
    if generated.returncode:
        lines.append(generated.stderr.strip())
    print("\n".join(lines) or "the documents are sound")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
