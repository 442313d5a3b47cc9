"""What a child is told before it does anything: a document through a pipe.

The master key and the database's password are in it, so it is never an argument, an environment
variable or a file. It is JSON: reading it can make values of the classes below, and nothing else.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import orjson

from acme_server.app.context import ProcessContext
from acme_server.process.tlsfiles import TlsPem

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """Everything that a child starts from.

    ``factory`` names what it runs (``program``), ``loop`` its event loop, ``parent`` the process
    that it must not survive. ``channel`` and ``listeners`` are inherited descriptors. ``tls`` is
    what the files of ``server.tls`` held, which the child's account may not be able to read.
    """

    context: ProcessContext
    factory: str
    loop: str
    parent: int
    channel: int
    listeners: Mapping[str, int] = field(default_factory=dict)
    tls: TlsPem | None = None


def encode_handover(handover: Handover) -> bytes:
    """The document."""
    return orjson.dumps(_plain(handover))


def decode_handover(document: bytes) -> Handover:
    """The handover in a document. Raises ValueError for what is none, such as half of one."""
    handover = _value(orjson.loads(document))
    if not isinstance(handover, Handover):
        raise ValueError("this is no handover")
    return handover


# Besides JSON's own scalars each value is a pair: the name of its type, and its content.
def _plain(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, tuple):
        return ["tuple", [_plain(item) for item in value]]
    if isinstance(value, Mapping):
        return ["dict", {key: _plain(item) for key, item in value.items()}]
    if isinstance(value, enum.Enum):
        return [type(value).__name__, value.value]
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return [type(value).__name__, {f.name: _plain(getattr(value, f.name)) for f in fields}]
    for name, (kind, to_plain, _) in _LEAVES.items():
        if isinstance(value, kind):
            return [name, to_plain(value)]
    raise TypeError(f"{type(value).__name__} can't be handed over")


def _value(plain: Any) -> Any:
    if not isinstance(plain, list):
        return plain
    name, content = plain
    if name == "tuple":
        return tuple(_value(item) for item in content)
    if name == "dict":
        return {key: _value(item) for key, item in content.items()}
    if name in _LEAVES:
        return _LEAVES[name][2](content)
    if name not in _CLASSES:
        raise ValueError(f"{name} is nothing that is handed over")
    kind = _CLASSES[name]
    if issubclass(kind, enum.Enum):
        return kind(content)
    return kind(**{key: _value(item) for key, item in content.items()})


def _classes_in(hint: Any) -> Iterator[type]:
    """The dataclasses and enumerations that a value of this type may be made of."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is not None:
        for argument in typing.get_args(hint):
            yield from _classes_in(argument)
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        yield hint
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
        for member in typing.get_type_hints(hint).values():
            yield from _classes_in(member)


_Leaf = tuple[type, Callable[[Any], Any], Callable[[Any], Any]]
_LEAVES: Mapping[str, _Leaf] = {
    "bytes": (bytes, lambda value: b64encode(value).decode(), b64decode),
    "Path": (Path, str, Path),
    "timedelta": (timedelta, lambda value: value // _MICROSECOND, lambda n: n * _MICROSECOND),
    **{
        kind.__name__: (kind, str, kind)
        for kind in (IPv4Address, IPv6Address, IPv4Network, IPv6Network)
    },
}
_CLASSES: Mapping[str, type] = {kind.__name__: kind for kind in _classes_in(Handover)}
