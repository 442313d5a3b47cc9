"""What differs between two configurations, and whether a restart is needed for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from acme_server.config.declaration import declarations
from acme_server.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that has another value. ``is_live``: it is taken up without a restart."""

    key: str
    is_live: bool


def changes_between(old: Settings, new: Settings) -> Iterator[Change]:
    """Every setting whose value differs, in the order of the reference."""
    for declared in declarations(Settings):
        value = attrgetter(declared.key)
        if value(old) != value(new):
            yield Change(declared.key, declared.is_live)
    if old.profiles != new.profiles:
        yield Change("profiles", is_live=True)
