"""``acme-server run``: the parent process."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import Any

import structlog

from acme_server.app.preparation import PreparationFailed, Prepared, prepare
from acme_server.config.problems import ConfigurationError
from acme_server.config.settings import Settings
from acme_server.process.banner import ready_banner
from acme_server.process.channel import Message
from acme_server.process.child import BACKGROUND, HTTP
from acme_server.process.children import Children
from acme_server.process.logsetup import set_up_log
from acme_server.process.metrics import Totals
from acme_server.process.notify import notify
from acme_server.process.ops import OpsFrontEnd
from acme_server.process.sockets import ListenFailed, bind_listeners, open_listeners
from acme_server.web.connections import Limits
from acme_server.web.edge import Edge
from acme_server.web.routes import Routes

_FAILED = 1
# Beyond the drain: the time for the last answers, and for processes to end.
_STOP_MARGIN_SECONDS = 10.0
_log = structlog.get_logger()


def run(settings: Settings) -> int:
    """Run the server until SIGINT or SIGTERM; the exit status. Errors are printed, each with its
    setting and remedy."""
    set_up_log(settings.logging, "parent")
    try:
        return asyncio.run(_Parent(settings).run())
    except (PreparationFailed, ListenFailed, ConfigurationError) as error:
        print(f"acme-server: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


class _Parent:
    """The life of the parent."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._totals = Totals()
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Bind, prepare, serve, stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        # Until there are children to pass it on to, there is nothing to reload.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        listeners = bind_listeners(self._settings)
        prepared = await self._prepare()
        if prepared is None:
            return 0
        supervising = loop.create_task(prepared.supervise())
        try:
            ops = listeners.pop("ops")
            open_listeners({**listeners, "ops": ops})
            children = Children(prepared.context, listeners, self._totals)
            await self._serve_ops(ops, prepared, children)
            await self._serve(children)
        finally:
            supervising.cancel()
            await prepared.stop()
        return 0

    async def _prepare(self) -> Prepared | None:
        """None if the server is stopped before it was ready."""
        preparing = asyncio.ensure_future(prepare(self._settings, _print_progress))
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({preparing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if preparing.done():
            return preparing.result()
        preparing.cancel()
        await asyncio.wait({preparing})
        return None

    async def _serve(self, children: Children) -> None:
        stopping = asyncio.ensure_future(self._stop.wait())
        ready = [children.keep(HTTP) for _ in range(self._settings.server.workers)]
        ready.append(children.keep(BACKGROUND))
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGHUP, children.tell_all, Message.RELOAD
        )
        all_ready = asyncio.gather(*ready)
        waits: set[asyncio.Future[Any]] = {all_ready, stopping}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if all_ready.done():
            print(ready_banner(self._settings), flush=True)
            _log.info("server_ready", url=self._settings.server.external_url)
            notify("READY=1")
            await stopping
        notify("STOPPING=1")
        _log.info("server_stopping")
        all_ready.cancel()
        drain = self._settings.server.drain.total_seconds()
        await children.stop(drain + _STOP_MARGIN_SECONDS)

    async def _serve_ops(
        self, listener: socket.socket, prepared: Prepared, children: Children
    ) -> None:
        async def why_not_ready() -> str | None:
            if self._stop.is_set():
                return "stopping"
            if not children.accepting:
                return "no worker accepts connections"
            if not await prepared.is_database_up():
                return "the database does not answer"
            return None

        front_end = OpsFrontEnd(self._totals, why_not_ready)
        edge = Edge(Routes(front_end, front_end.routes()), limits=Limits(max_connections=100))
        await edge.listen(listener)


def _print_progress(message: str) -> None:
    print(f"acme-server: {message}", file=sys.stderr, flush=True)
