"""YAML read into a tree that remembers places, with nothing interpreted yet.

The tree is bounded in bytes, nodes and depth before anything walks it, so that anchors can't make
a small file large; keys given twice, tags and merges are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import yaml

from acme_server.config.problems import ConfigurationError, Place, Problem

MAX_BYTES = 1024 * 1024
MAX_NODES = 10_000
MAX_DEPTH = 16
_TAG = "tag:yaml.org,2002:"
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


@dataclass(frozen=True, slots=True)
class RawScalar:
    """A word. ``tag`` is what YAML takes it for (``str``, ``int``, ``bool``, ``null`` …);
    ``is_quoted`` tells whether it stood in quotes."""

    place: Place
    text: str
    tag: str = "str"
    is_quoted: bool = False

    @property
    def is_null(self) -> bool:
        """Whether there is no value."""
        return self.tag == "null"


@dataclass(frozen=True, slots=True)
class RawList:
    """A sequence."""

    place: Place
    items: tuple[RawNode, ...]


@dataclass(slots=True)
class RawMapping:
    """A mapping; each key has the place where it stands."""

    place: Place
    entries: dict[str, tuple[Place, RawNode]] = field(default_factory=dict)


RawNode: TypeAlias = RawScalar | RawList | RawMapping


def read_file(path: Path) -> str:
    """The text of a configuration file. Raises ConfigurationError."""
    whole = Place(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refusal(whole, f"can't be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise _refusal(whole, f"is larger than {MAX_BYTES // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before) - (before.rfind(b"\n") + 1) + 1
        raise _refusal(
            Place(str(path), line, column), f"byte 0x{content[error.start]:02x} is not UTF-8"
        ) from None


def parse_document(text: str, source: str) -> tuple[RawNode | None, list[Problem]]:
    """The tree of ``text`` and what is wrong with it; None for a document without content.

    Raises ConfigurationError where there is no tree to go on with.
    """
    try:
        _check_depth(text, source)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _refusal(_place(source, error.problem_mark), _explain(error)) from None
    except yaml.reader.ReaderError as error:
        raise _refusal(
            _place_of_offset(source, text, error.position),
            f"the character U+{ord(error.character):04X} is not allowed in YAML"
            if isinstance(error.character, str)
            else "is not valid YAML",
        ) from None
    if node is None:
        return None, []
    reader = _TreeReader(source)
    return reader.read(node, 0), reader.problems


def _check_depth(text: str, source: str) -> None:
    """PyYAML's time grows with the square of the depth, and its stack with the depth."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, _OPENING):
            depth += 1
        elif isinstance(token, _CLOSING):
            depth -= 1
        if depth > MAX_DEPTH:
            place = _place(source, token.start_mark)
            raise _refusal(place, f"is nested deeper than {MAX_DEPTH} levels")


class _TreeReader:
    """Turns PyYAML's graph, in which aliases share nodes, into our tree."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._count = 0
        self.problems: list[Problem] = []

    def read(self, node: yaml.Node, depth: int) -> RawNode:
        """The tree below ``node``. Raises ConfigurationError for one without bounds."""
        place = _place(self._source, node.start_mark)
        self._count += 1
        # A node that contains itself by an alias is endlessly deep.
        if depth > MAX_DEPTH:
            raise _refusal(place, f"is nested deeper than {MAX_DEPTH} levels")
        if self._count > MAX_NODES:
            raise _refusal(place, f"has more than {MAX_NODES} values, aliases resolved")
        if not node.tag.startswith(_TAG):
            self.problems.append(Problem(place, None, f"the tag {node.tag} is not allowed"))
        if isinstance(node, yaml.MappingNode):
            return RawMapping(place, dict(self._read_entries(node, depth)))
        if isinstance(node, yaml.SequenceNode):
            return RawList(place, tuple(self.read(item, depth + 1) for item in node.value))
        assert isinstance(node, yaml.ScalarNode)
        is_quoted = node.style is not None
        return RawScalar(place, node.value, node.tag.removeprefix(_TAG), is_quoted=is_quoted)

    def _read_entries(
        self, node: yaml.MappingNode, depth: int
    ) -> Iterator[tuple[str, tuple[Place, RawNode]]]:
        seen: dict[str, Place] = {}
        for key_node, value_node in node.value:
            place = _place(self._source, key_node.start_mark)
            value = self.read(value_node, depth + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(place, None, "a key must be a single word"))
            elif key_node.value in seen:
                first = seen[key_node.value]
                self.problems.append(
                    Problem(place, key_node.value, f"given twice, first in line {first.line}")
                )
            else:
                seen[key_node.value] = place
                yield key_node.value, (place, value)


def _place(source: str, mark: yaml.Mark | None) -> Place:
    return Place(source) if mark is None else Place(source, mark.line + 1, mark.column + 1)


def _place_of_offset(source: str, text: str, offset: int) -> Place:
    before = text[:offset]
    return Place(source, before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def _explain(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    text = f"is not valid YAML: {', '.join(parts)}"
    if error.problem and "'\\t'" in error.problem:
        text += " (indent with spaces, not with tabs)"
    if error.context == "while parsing a flow node":
        text += ' (write what begins with a bracket in quotes: "[::1]:14000")'
    return text


def _refusal(place: Place, message: str) -> ConfigurationError:
    return ConfigurationError([Problem(place, None, message)])
