"""A server whose processes are real and whose parts are a few lines: no database, no ACME.

``python -m support.standin CONFIG`` runs it. Files in the data directory steer it, since the
children's environment is empty: ``database_away``, ``http_fails``, ``http_hangs``,
``background_fails``, ``background_ends``, ``supervision_fails``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client import Gauge

from acme_server.app.context import ProcessContext
from acme_server.app.preparation import PreparationFailed
from acme_server.config.loader import load_settings
from acme_server.config.settings import Settings
from acme_server.config.values import TlsFiles
from acme_server.process.metrics import ProcessMetrics
from acme_server.process.parent import run
from acme_server.process.program import Program
from acme_server.web.connections import Limits
from acme_server.web.edge import Edge
from acme_server.web.requests import Request
from acme_server.web.responses import Response, json_response, problem_response
from acme_server.web.routes import Route, Routes
from acme_server.web.tls import ReplaceableContext, server_context
from policy.model.errors import DatabaseUnavailable, ServerError

DATABASE_PASSWORD = "a-password-of-the-database"
MASTER_KEY = "a-master-key"
MODULE = "support.standin"
_PAUSE = 0.02


def program(loop: str) -> Program:
    """The parts of this server."""
    return Program(
        prepare=f"{MODULE}:prepare",
        http=f"{MODULE}:build_http",
        background=f"{MODULE}:build_background",
        loop=loop,
    )


class StandInPrepared:
    """A database that is up unless a file says otherwise."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.context = ProcessContext(
            settings=settings,
            database_url=f"postgresql://acme_app:{DATABASE_PASSWORD}@localhost/acme",
            master_key=MASTER_KEY,
            account=settings.database.user if os.geteuid() == 0 else None,
        )

    async def supervise(self) -> None:
        """Fails when a file says so."""
        await _until(lambda: is_set(self._settings, "supervision_fails"))
        raise OSError("the database can't be kept running")

    async def check(self, settings: Settings) -> None:
        """Refuses if a file says so."""
        if is_set(self._settings, "settings_refused"):
            raise PreparationFailed("validation.resolver_ca: it can't be read")

    async def is_database_up(self) -> bool:
        """By the file."""
        return not is_set(self._settings, "database_away")

    async def stop(self) -> None:
        """Leaves a trace."""
        (self._settings.data_dir / "database_stopped").touch()


async def prepare(settings: Settings, progress: Callable[[str], None]) -> StandInPrepared:
    """Waits for the database."""
    if is_set(settings, "database_refuses"):
        raise PreparationFailed("database.url: the database refuses the login")
    if is_set(settings, "database_away"):
        progress("waiting for the database")
        await _until(lambda: not is_set(settings, "database_away"))
    return StandInPrepared(settings)


class StandInHttp:
    """Serves a few resources on the listeners, on that of ACME with TLS if files are named."""

    def __init__(self, context: ProcessContext, recorder: ProcessMetrics) -> None:
        self._settings = context.settings
        self._tls: ReplaceableContext | None = None
        self._edges = [
            Edge(Routes(self, self._routes()), limits=Limits(), recorder=recorder) for _ in range(2)
        ]
        Gauge("standin_workers", "Workers that live.", registry=recorder.registry).set(1)

    async def start(self, listeners: Mapping[str, socket.socket]) -> None:
        """Serve."""
        if isinstance(self._settings.server.tls, TlsFiles):
            self._tls = ReplaceableContext(self._context())
        await self._edges[0].listen(listeners["acme"], self._tls)
        await self._edges[1].listen(listeners["status"])

    async def reload(self) -> None:
        """Read the TLS files again."""
        if self._tls is not None:
            self._tls.replace(self._context())

    async def drain(self, seconds: float) -> None:
        """Stop."""
        await asyncio.gather(*(edge.drain(seconds) for edge in self._edges))

    def _context(self) -> ssl.SSLContext:
        files = self._settings.server.tls
        assert isinstance(files, TlsFiles)
        return server_context(files.certificate.read_bytes(), files.key.read_bytes())

    def _routes(self) -> list[Route]:
        return [
            Route("/who", self, {"GET": self.tell_who}),
            Route("/what", self, {"GET": self.tell_what}),
            Route("/read", self, {"POST": self.read}),
            Route("/die", self, {"POST": self.die}),
        ]

    async def tell_who(self, request: Request) -> Response:
        """Which process this is, and what it was told."""
        drain = self._settings.server.drain.total_seconds()
        return json_response(200, {"pid": os.getpid(), "drain": drain})

    async def tell_what(self, request: Request) -> Response:
        """What this process is and has."""
        return json_response(
            200,
            {
                "pid": os.getpid(),
                "uids": os.getresuid(),
                "gids": os.getresgid(),
                "groups": os.getgroups(),
                "environment": sorted(os.environ),
                "listening": sorted(_listening_ports()),
                "pipes": sorted(_pipes()),
                "loop": type(asyncio.get_running_loop()).__module__,
            },
        )

    async def read(self, request: Request) -> Response:
        """Whether the file that the body names can be read."""
        return json_response(200, {"error": _reading_error(request.body.decode())})

    async def die(self, request: Request) -> Response:
        """The process ends without an answer."""
        os._exit(3)

    def refuse(self, request: Request | None, error: ServerError) -> Response:
        """Any error."""
        return problem_response(400, {"detail": error.detail}, error.kind)

    def complete(self, request: Request | None, response: Response) -> None:
        """Nothing to add."""


async def build_http(context: ProcessContext, recorder: ProcessMetrics) -> StandInHttp:
    """The HTTP part."""
    if is_set(context.settings, "http_fails"):
        raise DatabaseUnavailable("as the test wants it")
    if is_set(context.settings, "http_hangs"):
        await asyncio.Event().wait()
    return StandInHttp(context, recorder)


class StandInBackground:
    """Does nothing, for as long as it is let."""

    def __init__(self, context: ProcessContext) -> None:
        self._settings = context.settings

    async def run(self) -> None:
        """Until cancelled, or a file ends it."""
        try:
            await _until(lambda: is_set(self._settings, "background_ends"))
        finally:
            with (self._settings.data_dir / "background_runs").open("a") as runs:
                runs.write(f"{os.getpid()}\n")


async def build_background(context: ProcessContext) -> StandInBackground:
    """The background part."""
    if is_set(context.settings, "background_fails"):
        raise ValueError("as the test wants it")
    return StandInBackground(context)


def is_set(settings: Settings, name: str) -> bool:
    """Whether the test made the file ``name``."""
    return (settings.data_dir / name).exists()


def _reading_error(path: str) -> str | None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        return error.strerror
    return None


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - files tell nothing by themselves
        await asyncio.sleep(_PAUSE)


def _open_files() -> Iterator[tuple[int, os.stat_result]]:
    """All descriptors, without the one that looks for them."""
    for name in os.listdir("/proc/self/fd"):
        try:
            yield int(name), os.fstat(int(name))
        except OSError:
            continue


def _listening_ports() -> Iterator[int]:
    for descriptor, file in _open_files():
        if stat.S_ISSOCK(file.st_mode):
            with socket.socket(fileno=os.dup(descriptor)) as found:
                if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    yield found.getsockname()[1]


def _pipes() -> Iterator[int]:
    """The inodes of the pipes that this process has an end of."""
    for _, file in _open_files():
        if stat.S_ISFIFO(file.st_mode):
            yield file.st_ino


def main() -> int:
    """Run it with the configuration in the file that the first argument names."""
    path = Path(sys.argv[1])

    def read() -> Settings:
        return load_settings(path, os.environ)

    loop = os.environ.get("STANDIN_LOOP", "uvloop")
    return run(read(), reread=read, program=program(loop))


if __name__ == "__main__":
    sys.exit(main())
