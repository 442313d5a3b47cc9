"""From the raw tree to values: every setting by its kind, every fault noted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from acme_server.config.declaration import Declaration
from acme_server.config.documents import RawList, RawMapping, RawNode, RawScalar
from acme_server.config.kinds import Boolean, Integer, Keyed, Kind, Listed, Mapped, Scalar
from acme_server.config.problems import Place, Problem


class _Refused(Exception):
    """A value that can't be had, and where."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.problem = place, message


@dataclass(slots=True)
class Decoded:
    """What the sources say: values by key with their places, the faults, and the keys that have
    any."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    faulty: set[str] = field(default_factory=set)

    def refuse(self, key: str, place: Place, message: str) -> None:
        """Note a fault of ``key``."""
        self.problems.append(Problem(place, key, message))
        self.faulty.add(key)

    def read(self, root: RawMapping, declared: Mapping[str, Declaration]) -> None:
        """Take in the tree of one source; what is there already gives way."""
        self._read_section(root, "", declared)

    def _read_section(
        self, section: RawMapping, prefix: str, declared: Mapping[str, Declaration]
    ) -> None:
        for name, (place, node) in section.entries.items():
            key = f"{prefix}{name}"
            if key in declared:
                self._read_setting(declared[key], place, node)
            elif not any(known.startswith(f"{key}.") for known in declared):
                self.refuse(key, place, f"unknown key{suggestion(key, declared)}")
            elif isinstance(node, RawMapping):
                self._read_section(node, f"{key}.", declared)
            elif not (isinstance(node, RawScalar) and node.is_null):
                self.refuse(key, node.place, "must be a section, with its settings indented below")

    def _read_setting(self, declared: Declaration, place: Place, node: RawNode) -> None:
        key = declared.key
        self.places[key] = place
        self.values.pop(key, None)
        try:
            self.values[key] = _decode(declared, node)
        except _Refused as refused:
            self.refuse(key, *refused.problem)


def suggestion(key: str, known: Iterable[str]) -> str:
    """``, did you mean "server.listen"?`` for a key like one of ``known``; else an empty text."""
    section, _, name = key.lower().replace("-", "_").rpartition(".")
    keys = list(known)
    candidates = {*keys, *(known_key.partition(".")[0] for known_key in keys if "." in known_key)}
    by_path = {candidate: candidate for candidate in candidates}
    siblings = {
        candidate.rpartition(".")[2]: candidate
        for candidate in candidates
        if candidate.rpartition(".")[0] == section
    }
    strangers = {candidate.rpartition(".")[2]: candidate for candidate in candidates}
    for names, wanted, cutoff in (
        (siblings, name, 0.7),
        (strangers, name, 0.95),
        (by_path, key.lower(), 0.8),
    ):
        if near := get_close_matches(wanted, list(names), n=1, cutoff=cutoff):
            return f', did you mean "{names[near[0]]}"?'
    return ""


def _decode(declared: Declaration, node: RawNode) -> Any:
    if isinstance(node, RawScalar) and node.is_null:
        if declared.is_optional:
            return None
        shown = declared.kind.plain(declared.default)
        raise _Refused(node.place, f"has no value; give one, or remove it (default: {shown})")
    return _decode_as(declared.kind, node)


def _decode_as(kind: Kind, node: RawNode) -> Any:
    if isinstance(kind, Listed):
        return _decode_list(kind, node)
    if isinstance(kind, Keyed):
        return _decode_keyed(kind, node)
    if isinstance(kind, Mapped) and isinstance(node, RawMapping):
        return _decode_mapping(kind, node)
    if not isinstance(node, RawScalar):
        raise _Refused(node.place, f"must be {kind.form}{_hint(node)}")
    return _decode_scalar(kind.word if isinstance(kind, Mapped) else kind, node)


def _decode_list(kind: Listed[Any], node: RawNode) -> tuple[Any, ...]:
    if not isinstance(node, RawList):
        raise _Refused(node.place, "must be a list in brackets, such as [first, second]")
    values: list[Any] = []
    for item in node.items:
        value = _decode_as(kind.item, item)
        if value in values:
            raise _Refused(item.place, f"{kind.item.plain(value)} stands in the list twice")
        values.append(value)
    if kind.is_filled and not values:
        raise _Refused(node.place, "must not be empty")
    return tuple(values)


def _decode_keyed(kind: Keyed[Any], node: RawNode) -> tuple[tuple[Any, Any], ...]:
    if not isinstance(node, RawMapping):
        raise _Refused(node.place, f"must be a {kind.form}")
    pairs: dict[Any, Any] = {}
    for name, (place, below) in node.entries.items():
        try:
            key = kind.key.parse(name)
        except ValueError as error:
            raise _Refused(place, str(error)) from None
        if key in pairs:
            raise _Refused(place, f"{kind.key.plain(key)} is given twice")
        pairs[key] = _decode_as(kind.item, below)
    return tuple(pairs.items())


def _decode_mapping(kind: Mapped[Any], node: RawMapping) -> Any:
    for name, (place, _) in node.entries.items():
        if name not in kind.members:
            known = ", ".join(kind.members)
            raise _Refused(place, f'"{name}" is unknown here, what may stand is {known}')
    missing = [name for name in kind.members if name not in node.entries]
    if missing:
        raise _Refused(node.place, f"needs {' and '.join(missing)} as well")
    return kind.build(
        **{name: _decode_as(member, node.entries[name][1]) for name, member in kind.members.items()}
    )


def _decode_scalar(kind: Scalar[Any], node: RawScalar) -> Any:
    if node.is_null:
        raise _Refused(node.place, "has no value")
    if kind.is_text and not node.is_quoted and node.tag != "str":
        raise _Refused(
            node.place, f'is a text, but YAML takes {node.text} for something else; write "…"'
        )
    if node.is_quoted and isinstance(kind, Boolean):
        raise _Refused(node.place, "must be true or false, without quotes")
    if node.is_quoted and isinstance(kind, Integer):
        raise _Refused(node.place, "must be a number, without quotes")
    try:
        return kind.parse(node.text)
    except ValueError as error:
        raise _Refused(node.place, str(error)) from None


def _hint(node: RawNode) -> str:
    return "; write it in quotes if it begins with a bracket" if isinstance(node, RawList) else ""
