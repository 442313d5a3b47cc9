"""A child process: ``python -m acme_server.process.child ROLE CHANNEL PARENT NAME=FD…``.

It reads who it is from the channel's first line's worth of bytes (a pickle that only the parent
can have written: the pair has no other end), gives up root, builds its part of the server, and
serves until it is told to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import pickle
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any

import structlog

from acme_server.app.context import ProcessContext
from acme_server.process.channel import Channel, Message
from acme_server.process.logsetup import set_up_log
from acme_server.process.metrics import ChildMetrics
from acme_server.process.privileges import become, die_with_parent

HTTP = "http"
BACKGROUND = "background"
_LENGTH = 4
_METRICS_SECONDS = 1.0
# Imported while root can still read them: what libraries import when they first need it.
_IMPORTED_LATE = (
    "encodings.idna",
    "asyncpg",
    "uvloop",
    "dns.asyncresolver",
    "dns.rdtypes.ANY",
    "dns.rdtypes.IN",
)
_RECORD_TYPES = ("A", "AAAA", "CNAME", "TXT", "SOA", "NS", "CAA", "OPT", "DNAME", "RRSIG")


def main(arguments: list[str]) -> int:
    """Run one child; its exit status."""
    role, channel_fd, parent, *named = arguments
    # The terminal's Ctrl-C goes to everybody; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end = socket.socket(fileno=int(channel_fd))
    context = _read_context(end)
    set_up_log(context.settings.logging, role)
    _import_late_modules(role)
    become(context.account)
    die_with_parent(int(parent))
    listeners = {
        name: socket.socket(fileno=int(fd))
        for name, _, fd in (entry.partition("=") for entry in named)
    }
    return _run(_Child(role, context, listeners).run(end))


def send_context(end: socket.socket, context: ProcessContext) -> None:
    """The parent's side of the handover."""
    data = pickle.dumps(context)
    end.sendall(len(data).to_bytes(_LENGTH) + data)


class _Child:
    """The life of one child."""

    def __init__(
        self, role: str, context: ProcessContext, listeners: dict[str, socket.socket]
    ) -> None:
        self._role = role
        self._context = context
        self._listeners = listeners
        self._metrics = ChildMetrics()
        self._is_retiring = False

    async def run(self, end: socket.socket) -> int:
        """Serve until told to stop."""
        channel = await Channel.open(end)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._retire, channel)
        self._metrics.started(self._role)
        reporting = loop.create_task(self._report(channel))
        try:
            serve = self._serve_http if self._role == HTTP else self._work_in_background
            await serve(channel)
        finally:
            reporting.cancel()
            channel.send(Message.METRICS, self._metrics.snapshot())
            await channel.flush()
            channel.close()
        return 0

    async def _serve_http(self, channel: Channel) -> None:
        from acme_server.app.http import build_http_worker

        worker = await build_http_worker(self._context, self._metrics)
        await worker.start(self._listeners)
        channel.send(Message.ACCEPTING)
        while (received := await channel.receive()) is not None:
            if received[0] is Message.RELOAD:
                await worker.reload()
            elif received[0] in (Message.STOP, Message.GO):
                break
        await worker.drain(self._context.settings.server.drain.total_seconds())

    async def _work_in_background(self, channel: Channel) -> None:
        from acme_server.app.background import build_background

        background = await build_background(self._context)
        working = asyncio.get_running_loop().create_task(background.run())
        channel.send(Message.ACCEPTING)
        while (received := await channel.receive()) is not None:
            if received[0] in (Message.STOP, Message.GO):
                break
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working

    async def _report(self, channel: Channel) -> None:
        while True:
            await asyncio.sleep(_METRICS_SECONDS)
            channel.send(Message.METRICS, self._metrics.snapshot())
            await channel.flush()

    def _retire(self, channel: Channel) -> None:
        """An operator's SIGTERM to this process: the replacement comes first."""
        if not self._is_retiring:
            self._is_retiring = True
            structlog.get_logger().info("process_retiring", pid=os.getpid())
            channel.send(Message.RETIRING)


def _read_context(end: socket.socket) -> ProcessContext:
    length = int.from_bytes(_read_exactly(end, _LENGTH))
    context: ProcessContext = pickle.loads(_read_exactly(end, length))  # noqa: S301 - see above
    return context


def _read_exactly(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = end.recv(count - len(data))
        if not chunk:
            raise SystemExit(1)
        data += chunk
    return data


def _import_late_modules(role: str) -> None:
    importlib.import_module(
        "acme_server.app.http" if role == HTTP else "acme_server.app.background"
    )
    for name in _IMPORTED_LATE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for kind in _RECORD_TYPES:
        for family in ("ANY", "IN"):
            with contextlib.suppress(ImportError):
                importlib.import_module(f"dns.rdtypes.{family}.{kind}")


def _run(main_coroutine: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main_coroutine)
    return uvloop.run(main_coroutine)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
