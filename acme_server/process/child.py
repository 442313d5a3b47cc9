"""The life of a child, whatever its role: it is told everything, gives root up, works, ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from acme_server.app.context import ProcessContext
from acme_server.process.channel import Channel, Message
from acme_server.process.handover import Handover, decode_handover
from acme_server.process.logsetup import set_up_log
from acme_server.process.metrics import ProcessMetrics
from acme_server.process.privileges import become, die_with_parent
from acme_server.process.program import Role, load
from acme_server.process.tlsfiles import TlsCopies, TlsPem
from policy.model.errors import DatabaseUnavailable
from policy.registereddomains import read_list

_METRICS_SECONDS = 1.0
# What libraries import when they first need it: imported while root can still read it.
_IMPORTED_LATE = ("asyncpg", "uvloop", "aiohttp", "traceback", "linecache")
_ENCODINGS = (
    "ascii",
    "idna",
    "latin_1",
    "punycode",
    "unicode_escape",
    "utf_8",
    "utf_8_sig",
    "utf_16",
)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What a child's work is made from."""

    context: ProcessContext
    factory: Callable[..., Any]
    listeners: Mapping[str, socket.socket]
    metrics: ProcessMetrics


class Work(Protocol):
    """What a child does, by role."""

    async def start(self) -> None:
        """Returns once it works. Raises DatabaseUnavailable."""
        ...

    async def work(self) -> None:
        """Cancelled when the child is to go; an earlier return or error ends the child."""
        ...

    async def reload(self) -> None:
        """Take up the TLS files, which may have changed."""
        ...

    async def finish(self) -> None:
        """End in good order what ``start`` began."""
        ...


def main(role: Role, make: Callable[[Equipment], Work]) -> int:
    """Run this process as a child of ``role``; its exit status.

    Standard input holds the handover. Signals: SIGTERM is an operator's wish to have this very
    process replaced, SIGHUP and SIGINT are meant for the parent.
    """
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    handover = _receive_handover()
    set_up_log(handover.context.settings.logging, role)
    factory = load(handover.factory)
    _import_late_modules()
    become(handover.context.account)
    die_with_parent(handover.parent)
    copies = None if handover.tls is None else TlsCopies(handover.tls)
    equipment = _equip(role, handover, factory, copies)
    end = _inherited(handover.channel)
    return _run(handover.loop, _live(equipment, make(equipment), copies, end))


async def _live(
    equipment: Equipment, work: Work, copies: TlsCopies | None, end: socket.socket
) -> int:
    life = _Life(equipment, work, copies, await Channel.open(end))
    return await life.run()


class _Life:
    """From the start of the event loop to the end of the process."""

    def __init__(
        self, equipment: Equipment, work: Work, copies: TlsCopies | None, channel: Channel
    ) -> None:
        self._metrics = equipment.metrics
        self._work = work
        self._copies = copies
        self._channel = channel
        self._is_retiring = False

    async def run(self) -> int:
        """Work until told to go; the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._retire)
        listening = loop.create_task(self._listen())
        reporting = loop.create_task(self._report())
        reporting.add_done_callback(_note_failure)
        try:
            return await self._work_until_told(listening)
        except DatabaseUnavailable as error:
            _log.warning("process_gave_up", reason=str(error))
            return 1
        except Exception:  # noqa: BLE001 - the outermost frame: whatever it is goes to the log
            _log.exception("process_failed")
            return 1
        finally:
            listening.cancel()
            reporting.cancel()
            self._channel.send(Message.METRICS, self._metrics.snapshot())
            await self._channel.close()

    async def _work_until_told(self, told: asyncio.Task[None]) -> int:
        if await _was_done_first(told, self._work.start()):
            return 0
        self._channel.send(Message.ACCEPTING)
        if not await _was_done_first(told, self._work.work()):
            _log.error("process_stopped_working")
            return 1
        await self._work.finish()
        return 0

    async def _listen(self) -> None:
        """Returns when the parent said GO."""
        while (received := await self._channel.receive()) is not None:
            kind, content = received
            if kind is Message.GO:
                return
            if kind is Message.RELOAD:
                await self._reload(content)
        # The parent is dead. Where the kernel does not end us we do: its successor needs the ports.
        os._exit(1)

    async def _reload(self, files: Mapping[str, str] | None) -> None:
        if files is not None and self._copies is not None:
            pem = {name: text.encode("latin-1") for name, text in files.items()}
            self._copies.replace(TlsPem(**pem))
        await self._work.reload()
        self._channel.send(Message.RELOADED)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_METRICS_SECONDS)
            self._channel.send(Message.METRICS, self._metrics.snapshot())
            await self._channel.flush()

    def _retire(self) -> None:
        """An operator's SIGTERM to this process: the replacement comes first."""
        if not self._is_retiring:
            self._is_retiring = True
            _log.info("retirement_requested")
            self._channel.send(Message.RETIRING)


def _note_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("reporting_failed", exc_info=error)


async def _was_done_first(awaited: asyncio.Task[None], doing: Coroutine[Any, Any, None]) -> bool:
    """Whether ``awaited`` was done before ``doing``, which is cancelled then."""
    task = asyncio.ensure_future(doing)
    await asyncio.wait({task, awaited}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
        return False
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    awaited.result()
    return True


def _receive_handover() -> Handover:
    document = sys.stdin.buffer.read()
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return decode_handover(document)


def _equip(
    role: Role, handover: Handover, factory: Callable[..., Any], copies: TlsCopies | None
) -> Equipment:
    context = handover.context
    if copies is not None:
        context = dataclasses.replace(context, settings=copies.settings(context.settings))
    return Equipment(
        context=context,
        factory=factory,
        listeners={name: _inherited(fd) for name, fd in handover.listeners.items()},
        metrics=ProcessMetrics(role),
    )


def _inherited(descriptor: int) -> socket.socket:
    """An inherited socket, not to be inherited any further."""
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


def _import_late_modules() -> None:
    """And the data of libraries."""
    encodings = [f"encodings.{name}" for name in _ENCODINGS]
    for name in (*_IMPORTED_LATE, *encodings):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    read_list()


def _run(loop: str, life: Coroutine[Any, Any, int]) -> int:
    if loop != "uvloop":
        return asyncio.run(life)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(life)
    return uvloop.run(life)
