"""JSON from strangers (RFC 8259): one meaning or none.

The standard decoder takes the last of repeated members, accepts NaN, any number and any depth;
what it lets through would be read differently by the next program, or break the database.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from policy.model.errors import ErrorKind, ServerError

MAX_DEPTH = 32
_MAX_ELEMENTS = 5000
_MAX_CONTAINERS = 2000
_MAX_MEMBERS = 64
_MAX_NUMBER_LENGTH = 20
_BRACKET = re.compile(r"[\[\]{}]")


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """The JSON object in ``raw``; ``what`` names it in messages.

    Raises ServerError(MALFORMED) for anything else: other types and encodings, repeated members,
    a depth over 32, numbers that don't fit 64 bits, and strings with control characters or
    halves of surrogate pairs (NUL breaks PostgreSQL's text, the others break logs).
    """
    try:
        text = raw.decode("utf-8")
        _check_size(text)
        document = _decode(text)
    except _Refused as error:
        raise _malformed(f"{what} {error}.") from error
    except (ValueError, RecursionError) as error:
        raise _malformed(f"{what} is not well-formed JSON in UTF-8.") from error
    if not isinstance(document, dict):
        raise _malformed(f"{what} must be a JSON object.")
    # Only an escape or a character beyond ASCII can bring in what a string must not hold.
    if not ("\\" not in text and text.isascii() and "\x7f" not in text):
        _check_strings(document, what)
    return document


class _Refused(Exception):
    """Why a well-formed document isn't accepted, as the rest of a sentence."""


def _decode(text: str) -> object:
    """As ``JSONDecoder.decode``, which looks for whitespace with regular expressions."""
    text = text.strip(" \t\r\n")
    document, end = _decoder.raw_decode(text)
    if end != len(text):
        raise _Refused("has text behind its end")
    return document


def _check_size(text: str) -> None:
    opened = text.count("[") + text.count("{")
    if text.count(",") > _MAX_ELEMENTS or opened > _MAX_CONTAINERS:
        raise _Refused("has too many elements")
    if opened > MAX_DEPTH and _is_too_deep(text):
        raise _Refused(f"is nested deeper than {MAX_DEPTH} levels")


def _is_too_deep(text: str) -> bool:
    """Counted without recursion, before the decoder recurses; brackets in strings count too,
    which at worst refuses a document with a great many of them in a row."""
    depth = 0
    for bracket in _BRACKET.findall(text):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _take_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MAX_MEMBERS:
        raise _Refused("has an object with too many members")
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Refused("has a repeated member")
    return members


def _take_integer(digits: str) -> int:
    if len(digits) > _MAX_NUMBER_LENGTH:
        raise _Refused("has a number that is too large")
    return int(digits)


def _take_float(digits: str) -> float:
    number = float(digits) if len(digits) <= 2 * _MAX_NUMBER_LENGTH else math.inf
    if not math.isfinite(number):
        raise _Refused("has a number that is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused(f"has {name}, which is not JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_take_members,
    parse_int=_take_integer,
    parse_float=_take_float,
    parse_constant=_refuse_constant,
)


def _check_strings(value: object, what: str) -> None:
    """Recursion is bounded by the depth already checked."""
    if isinstance(value, str):
        if not _is_plain(value):
            raise _malformed(f"{what} has a control character or half a surrogate in a string.")
    elif isinstance(value, list):
        for element in value:
            _check_strings(element, what)
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_strings(name, what)
            _check_strings(member, what)


def _is_plain(text: str) -> bool:
    return text.isprintable() or not any(
        character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff"
        for character in text
    )


def _malformed(detail: str) -> ServerError:
    return ServerError(ErrorKind.MALFORMED, detail)
