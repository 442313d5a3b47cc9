"""Text and JSON as commands print them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest


def render_json(document: object) -> str:
    """Indented JSON; times in UTC by RFC 3339."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=_plain)


def render_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the last one isn't padded."""
    lines = [list(headings), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip_longest(*lines, fillvalue="")]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        + "\n"
        for line in lines
    )


def render_facts(facts: Mapping[str, object], indent: str = "") -> str:
    """One ``name  value`` a line, the values in one column; None and empty ones are left out."""
    shown = {name: text for name, value in facts.items() if (text := show(value))}
    width = max(map(len, shown), default=0)
    return "".join(f"{indent}{name.ljust(width)}  {text}\n" for name, text in shown.items())


def show(value: object) -> str:
    """A value as people read it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return _time(value, "%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | frozenset):
        return ", ".join(map(show, value))
    return printable(str(value))


def printable(text: str) -> str:
    """``text`` without anything that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return _time(value, "%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset):
        return sorted(map(str, value))
    return str(value)


def _time(value: datetime, form: str) -> str:
    return value.astimezone(UTC).strftime(form)
