"""What a changed configuration means to a server that runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from acme_server.config.changes import changes_between
from acme_server.config.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """``settings`` has the changes in ``taken_up``; those in ``postponed`` need a restart."""

    settings: Settings
    taken_up: tuple[str, ...]
    postponed: tuple[str, ...]


def plan_reload(running: Settings, wanted: Settings) -> Reload:
    """The settings to go on with."""
    changes = list(changes_between(running, wanted))
    settings = running
    for change in changes:
        if change.is_live:
            settings = _with(settings, change.key, attrgetter(change.key)(wanted))
    return Reload(
        settings=settings,
        taken_up=tuple(change.key for change in changes if change.is_live),
        postponed=tuple(change.key for change in changes if not change.is_live),
    )


def _with(settings: Settings, key: str, value: Any) -> Settings:
    name, _, rest = key.partition(".")
    if rest:
        value = dataclasses.replace(getattr(settings, name), **{rest: value})
    return dataclasses.replace(settings, **{name: value})
