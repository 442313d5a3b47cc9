"""An HTTP worker: ``python -m acme_server.process.worker``, started by the parent only."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import Mapping
from typing import Protocol

from acme_server.process import child
from acme_server.process.program import Role


class HttpPart(Protocol):
    """What the factory of ``program.Program.http`` builds."""

    async def start(self, listeners: Mapping[str, socket.socket]) -> None:
        """Serve the listeners, by name."""
        ...

    async def reload(self) -> None:
        """Read the TLS files of the settings again; unusable ones change nothing."""
        ...

    async def drain(self, seconds: float) -> None:
        """Accept nothing new, answer what is there, keep idle connections for ``seconds``, stop."""
        ...


class HttpWork:
    """Serves until it is told to go."""

    def __init__(self, equipment: child.Equipment) -> None:
        self._equipment = equipment
        self._part: HttpPart | None = None

    async def start(self) -> None:
        """Build everything, then accept."""
        self._part = part = await self._equipment.factory(
            self._equipment.context, self._equipment.metrics
        )
        # What is there now stays: the collector needs not look at it again and again.
        gc.collect()
        gc.freeze()
        await part.start(self._equipment.listeners)

    async def work(self) -> None:
        """The event loop does it."""
        await asyncio.Event().wait()

    async def reload(self) -> None:
        """Before anything is built there is nothing to tell: it will read the files then."""
        if self._part is not None:
            await self._part.reload()

    async def finish(self) -> None:
        """Drain."""
        assert self._part is not None
        await self._part.drain(self._equipment.context.settings.server.drain.total_seconds())


if __name__ == "__main__":
    sys.exit(child.main(Role.HTTP, HttpWork))
