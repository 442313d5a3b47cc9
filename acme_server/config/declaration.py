"""How a setting is declared: its kind, its default, and what the reference says about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from typing import Any

from acme_server.config.kinds import Kind

_METADATA = "setting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What is known of a setting beside its value.

    ``is_live``: a change is taken up on SIGHUP; others need a restart. ``is_secret``: never shown.
    ``derived`` says where the default comes from when it depends on others. ``lab`` is the
    default in lab mode, MISSING where it is the same.
    """

    key: str
    kind: Kind
    text: str
    default: Any
    is_live: bool = False
    is_secret: bool = False
    derived: str | None = None
    lab: Any = MISSING

    @property
    def is_optional(self) -> bool:
        """Whether it may be left empty."""
        return self.default is None


def setting(
    kind: Kind,
    text: str,
    default: Any,
    *,
    live: bool = False,
    secret: bool = False,
    derived: str | None = None,
    lab: Any = MISSING,
) -> Any:
    """A dataclass field that is a setting; ``text`` is its sentence in the reference."""
    declaration = Declaration(
        key="",
        kind=kind,
        text=text,
        default=default,
        is_live=live,
        is_secret=secret,
        derived=derived,
        lab=lab,
    )
    return dataclasses.field(default=default, repr=not secret, metadata={_METADATA: declaration})


def declarations(section: type, prefix: str = "") -> Iterator[Declaration]:
    """The settings of a dataclass in their order, and those of the sections in it."""
    for field in dataclasses.fields(section):
        key = f"{prefix}{field.name}"
        if (declared := field.metadata.get(_METADATA)) is not None:
            yield dataclasses.replace(declared, key=key)
        elif dataclasses.is_dataclass(field.default_factory):
            yield from declarations(field.default_factory, f"{key}.")
