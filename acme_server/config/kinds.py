"""The kinds of settings: how each is written, and what is refused.

``parse`` raises ValueError with what is wrong, in words that follow "server.listen: ".
"""

from __future__ import annotations

import enum
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

T = TypeVar("T")
E = TypeVar("E", bound=enum.StrEnum)

_DURATION_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_SIZE_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_QUANTITY = re.compile(r"([0-9]{1,12})([A-Za-z]*)", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,11}", re.ASCII)


class Scalar(ABC, Generic[T]):
    """A setting of one word. ``form`` describes it in the reference."""

    form: str
    # What a plain YAML scalar may be taken for; anything in quotes is a text.
    is_text = True

    @abstractmethod
    def parse(self, text: str) -> T:
        """The value that ``text`` stands for; raises ValueError."""

    def plain(self, value: T) -> object:
        """The value as it is written, ready for YAML and JSON."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """A list of ``item``, without repetition; ``is_filled`` refuses an empty one."""

    item: Scalar[T]
    is_filled: bool = False

    @property
    def form(self) -> str:
        """A description for the reference."""
        return f"list: {self.item.form}"

    def plain(self, values: tuple[T, ...]) -> object:
        """The values as they are written."""
        return [self.item.plain(value) for value in values]


@dataclass(frozen=True, slots=True)
class Mapped(Generic[T]):
    """A word of ``word``, or a mapping of ``members``, all of them needed, for ``build``."""

    word: Scalar[Any]
    members: dict[str, Scalar[Any]]
    build: Callable[..., T]

    @property
    def form(self) -> str:
        """A description for the reference."""
        return f"{self.word.form}, or {{{', '.join(f'{name}: …' for name in self.members)}}}"

    def plain(self, value: Any) -> object:
        """The value as it is written."""
        if isinstance(value, enum.StrEnum):
            return self.word.plain(value)
        return {name: kind.plain(getattr(value, name)) for name, kind in self.members.items()}


@dataclass(frozen=True, slots=True)
class Keyed(Generic[T]):
    """A mapping from words of ``key`` to lists or mappings of ``item``; as a value, pairs in
    their order."""

    key: Scalar[Any]
    item: Listed[T] | Mapped[T]

    @property
    def form(self) -> str:
        """A description for the reference."""
        return f"mapping: {self.key.form} to {self.item.form}"

    def plain(self, pairs: tuple[tuple[Any, Any], ...]) -> object:
        """The mapping as it is written."""
        return {str(self.key.plain(key)): self.item.plain(values) for key, values in pairs}


Kind = Scalar[Any] | Listed[Any] | Mapped[Any] | Keyed[Any]


class Text(Scalar[str]):
    """Any text of one line. ``pattern`` and ``expected`` narrow it down."""

    def __init__(
        self, form: str = "text", *, pattern: str = r".+", expected: str = "must not be empty"
    ) -> None:
        self.form = form
        self._pattern = re.compile(pattern, re.ASCII)
        self._expected = expected

    def parse(self, text: str) -> str:
        """The text itself."""
        if not text.isprintable():
            raise ValueError("must be one line without control characters")
        if not self._pattern.fullmatch(text):
            raise ValueError(self._expected)
        return text


class Word(Scalar[E]):
    """One word of an enumeration."""

    is_text = False

    def __init__(self, words: type[E]) -> None:
        self._words = words
        self.form = " | ".join(words)

    def parse(self, text: str) -> E:
        """The member that ``text`` names."""
        try:
            return self._words(text)
        except ValueError:
            near = get_close_matches(text, list(self._words), n=1)
            hint = f', did you mean "{near[0]}"?' if near else ""
            raise ValueError(f'"{text}" is not one of {", ".join(self._words)}{hint}') from None


class Boolean(Scalar[bool]):
    """``true`` or ``false``; YAML's yes, no, on and off are refused."""

    is_text = False
    form = "true | false"

    def parse(self, text: str) -> bool:
        """The truth value."""
        if text not in ("true", "false"):
            raise ValueError("must be true or false")
        return text == "true"

    def plain(self, value: bool) -> object:
        """The truth value itself."""
        return value


class Integer(Scalar[int]):
    """A whole number within bounds."""

    is_text = False

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most
        self.form = f"number, {least} to {most}"

    def parse(self, text: str) -> int:
        """The number."""
        if not _NUMBER.fullmatch(text):
            raise ValueError("must be a whole number, in decimal digits")
        value = int(text)
        if not self._least <= value <= self._most:
            raise ValueError(f"must be {self._least} to {self._most}")
        return value

    def plain(self, value: int) -> object:
        """The number itself."""
        return value


class Duration(Scalar[timedelta]):
    """A duration with its unit, ``10s``; in whole seconds where certificates say it."""

    is_text = False

    def __init__(self, least: str, most: str, *, is_whole: bool = False) -> None:
        self._is_whole = is_whole
        self.form = f"duration, {least} to {most}"
        self._bounds = least, most
        self._least, self._most = parse_duration(least), parse_duration(most)

    def parse(self, text: str) -> timedelta:
        """The duration."""
        value = parse_duration(text)
        if not self._least <= value <= self._most:
            raise ValueError(f"must be {self._bounds[0]} to {self._bounds[1]}")
        if self._is_whole and value.microseconds:
            raise ValueError("must be in whole seconds")
        return value

    def plain(self, value: timedelta) -> object:
        """The duration in the largest unit that divides it."""
        return render_duration(value)


class Size(Scalar[int]):
    """A number of bytes with its unit, ``64KiB``."""

    is_text = False

    def __init__(self, least: str, most: str) -> None:
        self.form = f"size, {least} to {most}"
        self._bounds = least, most
        self._least, self._most = parse_size(least), parse_size(most)

    def parse(self, text: str) -> int:
        """The number of bytes."""
        value = parse_size(text)
        if not self._least <= value <= self._most:
            raise ValueError(f"must be {self._bounds[0]} to {self._bounds[1]}")
        return value

    def plain(self, value: int) -> object:
        """The size in the largest unit that divides it."""
        unit = next(name for name, factor in reversed(_SIZE_UNITS.items()) if value % factor == 0)
        return f"{value // _SIZE_UNITS[unit]}{unit}"


def parse_duration(text: str) -> timedelta:
    """``90d`` as a duration; one number, one unit. Raises ValueError."""
    shape = _QUANTITY.fullmatch(text)
    if shape is None or shape[2] not in _DURATION_UNITS:
        raise ValueError(
            "must be a duration: a whole number and one of the units "
            f"{', '.join(_DURATION_UNITS)}, such as 10s or 90d"
        )
    try:
        return int(shape[1]) * _DURATION_UNITS[shape[2]]
    except OverflowError:
        raise ValueError("is too long a duration") from None


def render_duration(value: timedelta) -> str:
    """The duration in the largest unit that divides it."""
    unit = next(name for name, length in reversed(_DURATION_UNITS.items()) if not value % length)
    return f"{value // _DURATION_UNITS[unit]}{unit}"


def parse_size(text: str) -> int:
    """``64KiB`` as a number of bytes. Raises ValueError."""
    shape = _QUANTITY.fullmatch(text)
    if shape is None or shape[2] not in _SIZE_UNITS:
        raise ValueError(
            "must be a size: a whole number and one of the units "
            f"{', '.join(_SIZE_UNITS)}, such as 64KiB"
        )
    return int(shape[1]) * _SIZE_UNITS[shape[2]]
