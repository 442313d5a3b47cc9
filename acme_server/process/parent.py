"""``acme-server run``: the parent process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from acme_server.app.context import ProcessContext
from acme_server.app.preparation import PreparationFailed
from acme_server.config.problems import ConfigurationError
from acme_server.config.settings import Settings
from acme_server.process import notify
from acme_server.process.banner import ready_banner
from acme_server.process.children import Children
from acme_server.process.logsetup import PARENT, set_up_log
from acme_server.process.metrics import ParentMetrics, Totals
from acme_server.process.ops import OpsFrontEnd, serve_ops
from acme_server.process.privileges import forbid_core_dumps, raise_file_limit
from acme_server.process.program import Program, load
from acme_server.process.reloading import plan_reload
from acme_server.process.sockets import OPS, ListenFailed, bound_listeners, open_listeners
from acme_server.process.spawning import Orders, Spawner
from acme_server.process.tlsfiles import TlsFilesRefused, TlsPem, read_tls_files

SERVER = Program()
_FAILED = 1
_log = structlog.get_logger()


class Prepared(Protocol):
    """A database that can be served, and what keeps it so (``program.Program.prepare``)."""

    context: ProcessContext

    async def supervise(self) -> None:
        """Keep it running, until cancelled."""
        ...

    async def check(self, settings: Settings) -> None:
        """Raises PreparationFailed if children can't be built with ``settings``."""
        ...

    async def is_database_up(self) -> bool:
        """Whether it answers now."""
        ...

    async def stop(self) -> None:
        """Let go of it."""
        ...


def run(
    settings: Settings,
    *,
    reread: Callable[[], Settings] | None = None,
    program: Program = SERVER,
) -> int:
    """Run the server until SIGINT or SIGTERM; the exit status. Main thread only.

    ``reread`` gives the settings as they are configured at a SIGHUP; without it only the TLS files
    are read again. Errors are printed, each with its setting and remedy.
    """
    set_up_log(settings.logging, PARENT)
    forbid_core_dumps()
    raise_file_limit()
    try:
        return asyncio.run(_Parent(settings, reread, program).run())
    except (PreparationFailed, ListenFailed, TlsFilesRefused, ConfigurationError) as error:
        print(f"acme-server: {error}", file=sys.stderr)
        return _FAILED


class _Parent:
    """The life of the parent."""

    def __init__(
        self, settings: Settings, reread: Callable[[], Settings] | None, program: Program
    ) -> None:
        self._settings = settings
        self._reread = reread
        self._program = program
        self._totals = Totals()
        self._metrics = ParentMetrics()
        self._is_on_terminal = sys.stderr.isatty()
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._reload_wanted = asyncio.Event()
        self._status = 0
        self._prepared: Prepared | None = None
        self._children: Children | None = None

    async def run(self) -> int:
        """Bind, prepare, serve, stop; the exit status."""
        self._take_signals()
        with bound_listeners(self._settings) as listeners:
            tls = read_tls_files(self._settings)
            front_end = OpsFrontEnd(self._totals, self._metrics, self._why_not_ready)
            open_listeners({OPS: listeners[OPS]})
            ops = await serve_ops(front_end, listeners.pop(OPS))
            try:
                self._prepared = await self._prepare()
                if self._prepared is not None:
                    await self._serve(self._prepared, listeners, tls)
            finally:
                await ops.drain(0)
                if self._prepared is not None:
                    await self._prepared.stop()
        return self._status

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _hang_up(self) -> None:
        """An operator wants a reload, unless it is the terminal that was closed."""
        if self._is_on_terminal and not sys.stderr.isatty():
            self._stop()
        else:
            self._reload_wanted.set()

    def _stop(self) -> None:
        """The second wish for it is urgent."""
        if self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()

    async def _prepare(self) -> Prepared | None:
        """None if the server is stopped before it was ready."""
        patience = asyncio.ensure_future(notify.ask_for_patience())
        preparing = asyncio.ensure_future(load(self._program.prepare)(self._settings, _tell))
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({preparing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        patience.cancel()
        if not preparing.done():
            preparing.cancel()
        try:
            prepared: Prepared = await preparing
        except asyncio.CancelledError:
            return None
        return prepared

    async def _serve(
        self, prepared: Prepared, listeners: Mapping[str, socket.socket], tls: TlsPem | None
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            children = self._children = Children(
                Spawner(self._program, listeners),
                Orders(context=prepared.context, tls=tls),
                self._totals,
                self._metrics,
                tasks,
            )
            open_listeners(listeners)
            alongside = [
                tasks.create_task(self._supervise(prepared)),
                tasks.create_task(notify.feed_watchdog()),
                tasks.create_task(self._announce(children)),
                tasks.create_task(self._follow_reloads(children)),
            ]
            try:
                await self._stopping.wait()
            finally:
                notify.notify(notify.STOPPING)
                _log.info("server_stopping")
                for task in alongside[1:]:
                    task.cancel()
                # Ours are the last ones then: new connections are refused, not left to wait.
                for listener in listeners.values():
                    listener.close()
                await children.stop(self._hurrying)
                alongside[0].cancel()

    async def _supervise(self, prepared: Prepared) -> None:
        try:
            await prepared.supervise()
        except Exception:  # noqa: BLE001 - a worker loop: without it all must end in good order
            _log.exception("database_supervision_failed")
            self._status = _FAILED
            self._stopping.set()

    async def _announce(self, children: Children) -> None:
        await children.start(self._settings.server.workers)
        with contextlib.suppress(OSError):
            print(ready_banner(self._settings), flush=True)
        _log.info("server_ready", url=self._settings.server.external_url)
        notify.notify(notify.READY)

    async def _follow_reloads(self, children: Children) -> None:
        async with asyncio.TaskGroup() as tasks:
            reloading: asyncio.Task[None] | None = None
            while True:
                await self._reload_wanted.wait()
                self._reload_wanted.clear()
                if reloading is not None:
                    # It may wait for workers that can't start with what was configured then.
                    reloading.cancel()
                reloading = tasks.create_task(self._reload(children))

    async def _reload(self, children: Children) -> None:
        notify.notify(notify.reloading())
        try:
            needs_new_children = await self._take_up_configuration(children)
        except (ConfigurationError, TlsFilesRefused, PreparationFailed) as error:
            _log.error("configuration_refused", reason=str(error))
        else:
            if needs_new_children:
                children.resize(self._settings.server.workers)
                await children.renew()
            else:
                await children.reload(children.orders.tls)
            _log.info("configuration_reloaded")
        notify.notify(notify.READY)

    async def _take_up_configuration(self, children: Children) -> bool:
        """Whether children must be made anew to follow it. Raises ConfigurationError,
        TlsFilesRefused, PreparationFailed; nothing has changed then."""
        orders = children.orders
        plan = plan_reload(self._settings, self._reread() if self._reread else self._settings)
        tls = read_tls_files(plan.settings)
        for key in plan.postponed:
            _log.warning("setting_needs_restart", setting=key)
        if not plan.taken_up:
            children.orders = dataclasses.replace(orders, tls=tls)
            return False
        if self._prepared is not None:
            await self._prepared.check(plan.settings)
        _log.info("settings_changed", settings=plan.taken_up)
        self._settings = plan.settings
        set_up_log(plan.settings.logging, PARENT)
        context = dataclasses.replace(orders.context, settings=plan.settings)
        children.orders = Orders(context=context, tls=tls, generation=orders.generation + 1)
        return True

    async def _why_not_ready(self) -> str | None:
        if self._stopping.is_set():
            return "the server is stopping"
        if self._prepared is None or self._children is None:
            return "the server is starting: the database is not ready"
        if not self._children.serving:
            return "no worker accepts connections"
        if not await self._prepared.is_database_up():
            return "the database does not answer"
        return None


def _tell(message: str) -> None:
    """A line of progress, for eyes and for systemd."""
    with contextlib.suppress(OSError):
        print(f"acme-server: {message}", file=sys.stderr, flush=True)
    notify.notify(f"STATUS={message}")
