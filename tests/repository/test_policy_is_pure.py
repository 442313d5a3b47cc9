"""What the import rules can't see: policy reads no clock and doesn't wait."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.checkout import ROOT

_CLOCKS = frozenset({"now", "utcnow", "today"})


def impurities(source: str) -> Iterator[str]:
    """Calls of a clock, and coroutines outside of protocols."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in _CLOCKS
        ):
            yield f"line {node.lineno} reads a clock"
        if isinstance(node, ast.Await):
            yield f"line {node.lineno} waits"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "policy").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_policy_reads_no_clock_and_does_not_wait(path: Path) -> None:
    assert list(impurities(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime, UTC\nx = datetime.now(UTC)\n",
        "import datetime\nx = datetime.date.today()\n",
        "async def f(g):\n    await g()\n",
    ],
)
def test_an_impurity_is_found(source: str) -> None:
    assert len(list(impurities(source))) == 1
