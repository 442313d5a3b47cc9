"""``config check`` and ``config show``."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import click

from acme_server.cli.invocation import Invocation, operator_command
from acme_server.cli.output import render_facts, render_table

if TYPE_CHECKING:
    from acme_server.config.declaration import Declaration
    from acme_server.config.settings import Settings


@click.group("config")
def config_group() -> None:
    """Check and show the configuration."""


@config_group.command("check")
@operator_command
def check(invocation: Invocation) -> None:
    """Read the configuration as run does, and tell everything that is wrong with it."""
    settings = invocation.settings()
    mode = "lab mode" if settings.lab else "no lab mode"
    source = invocation.config or "the environment"
    invocation.answer(
        {"problems": [], "lab": settings.lab},
        lambda: f"{source}: no problems ({mode}, {settings.server.external_url}/directory)\n",
    )


@config_group.command("show")
@operator_command
def show(invocation: Invocation) -> None:
    """Show every setting in force and where it comes from; passwords are left out."""
    from acme_server.config.loader import DECLARED

    configuration = invocation.configuration()
    settings = configuration.settings
    shown = {
        key: (_shown(declared, settings), str(configuration.places.get(key, "default")))
        for key, declared in DECLARED.items()
    }
    shown |= {
        declared.key: (declared.kind.plain(value), str(configuration.places[declared.key]))
        for declared, value in _given_to_profiles(settings)
    }
    rows = [
        (key, "" if value is None else _word(value), source)
        for key, (value, source) in shown.items()
    ]
    invocation.answer(
        {
            "lab": settings.lab,
            "settings": {
                key: {"value": value, "source": source} for key, (value, source) in shown.items()
            },
        },
        lambda: (
            render_facts({"lab mode": settings.lab})
            + render_table(("setting", "value", "source"), rows)
        ),
    )


def _given_to_profiles(settings: Settings) -> Iterator[tuple[Declaration, Any]]:
    """The settings of profiles that were given, since the others are as in the base."""
    from acme_server.config.profilesettings import declarations_of

    for name, own in settings.profiles:
        for declared in declarations_of(name):
            value = getattr(own, declared.key.rpartition(".")[2])
            if value is not None:
                yield declared, value


def _shown(declared: Declaration, settings: Settings) -> object:
    from acme_server.config.addresses import redact_url

    value = attrgetter(declared.key)(settings)
    if value is None:
        return None
    if declared.is_secret:
        return redact_url(value)
    return declared.kind.plain(value)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return str(value)
