"""Which parts the processes are made of, by name: a child imports its own part and no other."""

from __future__ import annotations

import enum
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Role(enum.StrEnum):
    """What a child does. HTTP children are given the listeners."""

    HTTP = "http"
    BACKGROUND = "background"


MODULES = {
    Role.HTTP: "acme_server.process.worker",
    Role.BACKGROUND: "acme_server.process.background",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The factories of the parts, each ``module:function``.

    ``prepare(settings, progress) -> Prepared`` runs in the parent, ``http(context, recorder)`` and
    ``background(context)`` build what a child runs; all three are coroutine functions. ``loop``
    is the children's event loop: ``uvloop`` (where it exists) or ``asyncio``.
    """

    prepare: str = "acme_server.app.preparation:prepare"
    http: str = "acme_server.app.http:build_http_worker"
    background: str = "acme_server.app.background:build_background"
    loop: str = "uvloop"

    def factory(self, role: Role) -> str:
        """The name of the factory of a child's part."""
        return self.http if role is Role.HTTP else self.background


def load(factory: str) -> Callable[..., Any]:
    """The function that ``module:function`` names; imports the module."""
    module, _, name = factory.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
