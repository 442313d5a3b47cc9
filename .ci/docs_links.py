"""Checks the Markdown pages: every relative link and anchor resolves, no path of a machine.

    python .ci/docs_links.py [FOLDER]

Prints ``file:line: what`` for each fault and exits with 1 if there are any.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

_INLINE_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_REFERENCE = re.compile(r"^\s{0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
_EXPLICIT_ANCHOR = re.compile(r'<a\s+(?:id|name)="([^"]+)"')
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
_CODE_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
_MACHINE_PATH = re.compile(r"(?:file://|(?<![\w.~/-])/(?:home|root|Users|work)/)[\w.-]+")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SKIPPED_FOLDERS = frozenset({".git", ".venv", "node_modules", "dist", "build"})


def pages(root: Path) -> Iterator[Path]:
    """All Markdown pages of the tree."""
    for path in sorted(root.rglob("*.md")):
        if not _SKIPPED_FOLDERS.intersection(path.relative_to(root).parts):
            yield path


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a page outside of code blocks."""
    fence: str | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = _FENCE.match(line)
        if fence is None and match:
            fence = match[1]
        elif fence is not None:
            if match and match[1].startswith(fence):
                fence = None
        else:
            yield number, line


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a page, as forges make them from its headings."""
    found: set[str] = set()
    uses: Counter[str] = Counter()
    for _, line in prose(path):
        found.update(_EXPLICIT_ANCHOR.findall(line))
        if heading := _HEADING.match(line):
            slug = _slug(heading[1])
            found.add(f"{slug}-{uses[slug]}" if uses[slug] else slug)
            uses[slug] += 1
    return frozenset(found)


def faults(root: Path) -> Iterator[str]:
    """Every fault of every page, as ``file:line: what``."""
    for page in pages(root):
        name = page.relative_to(root)
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            for path in _MACHINE_PATH.findall(line):
                yield f"{name}:{number}: {path} is a path of one machine"
        for number, line in prose(page):
            for target in _links(line):
                if fault := _fault_of(root, page, target):
                    yield f"{name}:{number}: {fault}"


def _links(line: str) -> list[str]:
    line = _CODE_SPAN.sub("", line)
    return _INLINE_LINK.findall(line) + _REFERENCE.findall(line)


def _fault_of(root: Path, page: Path, target: str) -> str | None:
    if _SCHEME.match(target):
        return None
    path_text, _, anchor = unquote(target).partition("#")
    if path_text.startswith("/"):
        return f"{target} is an absolute path"
    file = (page.parent / path_text).resolve() if path_text else page
    if not file.is_relative_to(root.resolve()) and file != page:
        return f"{target} leads out of the repository"
    if not file.exists():
        return f"{target} leads nowhere"
    if anchor and file.suffix == ".md" and anchor not in anchors(file):
        return f"{target}: no heading makes this anchor"
    return None


def _slug(heading: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[^\w\- ]", "", text.lower())
    return text.replace(" ", "-")


def main(arguments: list[str]) -> int:
    """The exit status: 0 if all is well, 1 otherwise."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    found = list(faults(root))
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
