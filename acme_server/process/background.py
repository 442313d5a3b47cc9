"""The background process: ``python -m acme_server.process.background``, started by the parent."""

from __future__ import annotations

import sys
from typing import Protocol

from acme_server.process import child
from acme_server.process.program import Role


class BackgroundPart(Protocol):
    """What the factory of ``program.Program.background`` builds."""

    async def run(self) -> None:
        """Work until cancelled; then leave to others what can't be finished in seconds."""
        ...


class BackgroundWork:
    """Runs the jobs until it is told to go."""

    def __init__(self, equipment: child.Equipment) -> None:
        self._equipment = equipment
        self._part: BackgroundPart | None = None

    async def start(self) -> None:
        """Build everything."""
        self._part = await self._equipment.factory(self._equipment.context)

    async def work(self) -> None:
        """Run it."""
        assert self._part is not None
        await self._part.run()

    async def reload(self) -> None:
        """It serves no TLS."""

    async def finish(self) -> None:
        """``work`` ended it already."""


if __name__ == "__main__":
    sys.exit(child.main(Role.BACKGROUND, BackgroundWork))
