"""docs/acme-conformance.md leaves no row open; test_docs sees that what it names exists."""

from __future__ import annotations

import re

import pytest

from support.checkout import ROOT

PAGE = (ROOT / "docs/acme-conformance.md").read_text("utf-8")
STATES = {"yes", "part", "not yet", "not taken"}
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_SOURCE = re.compile(r"`((?:acme_server|policy|validators|storage)/[\w/.]+)`")


def rows() -> list[tuple[str, ...]]:
    """The cells of each row about RFC 8555."""
    page, _, _ = PAGE.partition("## Extensions")
    _, _, tables = page.partition("\n## ")
    lines = [line for line in tables.splitlines() if line.startswith("| ")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    return [row for row in cells if row[0] != "§"]


def test_the_page_goes_through_the_rfc() -> None:
    sections = {row[0].partition(".")[0] for row in rows()}

    assert len(rows()) > 100
    assert sections == {"5", "6", "7", "8", "9", "10", "11"}


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]} {row[2]}")
def test_a_row_says_what_where_and_by_which_test(row: tuple[str, ...]) -> None:
    assert len(row) == 6
    assert all(row)
    section, _, _, state, where, test = row
    assert re.fullmatch(r"\d+(\.\d+)*", section)
    assert state in STATES
    if state == "yes":
        assert _SOURCE.search(where), "what is done has its place"
        assert _TEST.search(test), "and its test"
    else:
        assert where != "-", "what is missing is told"
