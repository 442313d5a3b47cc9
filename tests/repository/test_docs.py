"""What the pages say about the code is still there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.checkout import ROOT

_PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|sh|txt|yaml|service|md))(?:::([\w.]+))?`")


def references(page: Path) -> Iterator[tuple[str, str]]:
    """The files of the tree, and the names in them, that a page mentions as code."""
    for path, name in _FILE.findall(page.read_text()):
        if not path.startswith(("acme-server-data/", "secrets/")):
            yield path, name


def defines(tree: ast.AST, name: str) -> bool:
    """Whether a module defines ``name``, dotted for what is inside a class."""
    first, _, rest = name.partition(".")
    for node in ast.iter_child_nodes(tree):
        if (
            isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name == first
        ):
            return not rest or defines(node, rest)
    return False


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_that_a_page_names_exists(page: Path) -> None:
    missing = [
        f"{path}::{name}" if name else path
        for path, name in references(page)
        if not (ROOT / path).exists()
        or (name and not defines(ast.parse((ROOT / path).read_text()), name))
    ]

    assert missing == []


def test_missing_names_are_noticed() -> None:
    tree = ast.parse("class A:\n    def f(self): ...\ndef g(): ...\n")

    assert defines(tree, "A.f")
    assert defines(tree, "g")
    assert not defines(tree, "A.g")
    assert not defines(tree, "f")


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs/index.md").read_text()

    for page in ROOT.glob("docs/**/*.md"):
        if page.name != "index.md":
            assert f"({page.relative_to(ROOT / 'docs')})" in index


def test_changelog_names_the_version() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert version is not None
    assert f"\n## {version[1]} " in (ROOT / "CHANGELOG.md").read_text()
