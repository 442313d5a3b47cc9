"""The children of the parent: started, watched, replaced, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping

import structlog

from acme_server.app.context import ProcessContext
from acme_server.process.channel import Channel, Message
from acme_server.process.child import HTTP, send_context
from acme_server.process.metrics import Totals

# What a child may learn from the environment; everything else is in its context.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "ACME_SERVER_FAULTS")
_WATCH_SECONDS = 0.02
# A child that lived this long was not in a crash loop.
_STABLE_SECONDS = 30.0
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0
_log = structlog.get_logger()


class Child:
    """One running child."""

    def __init__(self, role: str, process: subprocess.Popen[bytes], channel: Channel) -> None:
        self.role = role
        self.process = process
        self.channel = channel
        self.accepting = asyncio.Event()
        self.ended = asyncio.Event()
        self.is_retiring = False
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid


class Children:
    """Keeps one child per place: ``http`` × workers and ``background``.

    A child that dies is replaced, after a delay that grows while it keeps dying. One that retires
    is replaced first and then told to go, so that somebody accepts at any moment.
    """

    def __init__(
        self, context: ProcessContext, listeners: Mapping[str, socket.socket], totals: Totals
    ) -> None:
        self._context = context
        self._listeners = listeners
        self._totals = totals
        self._children: set[Child] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    @property
    def accepting(self) -> int:
        """How many HTTP workers serve now."""
        return sum(child.role == HTTP and child.accepting.is_set() for child in self._children)

    def keep(self, role: str) -> asyncio.Task[None]:
        """Keep a child of ``role`` running, for ever; done once its first one serves."""
        ready = asyncio.get_running_loop().create_future()
        task = asyncio.get_running_loop().create_task(self._keep(role, ready))
        self._tasks.add(task)
        return asyncio.ensure_future(_until(ready))

    def tell_all(self, kind: Message) -> None:
        """Say something to every child."""
        for child in self._children:
            child.channel.send(kind)

    async def stop(self, seconds: float) -> None:
        """Stop all; what has not ended after ``seconds`` is killed."""
        self._is_stopping = True
        self.tell_all(Message.STOP)
        waiting = [asyncio.ensure_future(child.ended.wait()) for child in self._children]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)
        for child in list(self._children):
            _log.warning("process_killed", child_role=child.role, pid=child.pid)
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()
        for task in [*waiting, *self._tasks]:
            task.cancel()

    async def _keep(self, role: str, ready: asyncio.Future[None]) -> None:
        delay = _FIRST_DELAY
        child = await self._start(role)
        while True:
            await self._until_accepting_or_ended(child)
            if child.accepting.is_set() and not ready.done():
                ready.set_result(None)
            successor = await self._replace_when_retiring(child)
            if successor is None:
                if self._is_stopping:
                    return
                lived = time.monotonic() - child.started_at
                delay = _FIRST_DELAY if lived > _STABLE_SECONDS else min(2 * delay, _LONGEST_DELAY)
                await asyncio.sleep(delay)
                successor = await self._start(role)
            child = successor

    async def _replace_when_retiring(self, child: Child) -> Child | None:
        """Waits for the child's end; its successor if it retired, None if it just died."""
        while not child.ended.is_set():
            if not child.is_retiring:
                await asyncio.sleep(_WATCH_SECONDS)
                continue
            if self._is_stopping:
                await child.ended.wait()
                return None
            successor = await self._start(child.role)
            await self._until_accepting_or_ended(successor)
            child.channel.send(Message.GO)
            return successor
        return None

    async def _until_accepting_or_ended(self, child: Child) -> None:
        waits = [asyncio.ensure_future(e.wait()) for e in (child.accepting, child.ended)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _start(self, role: str) -> Child:
        ours, theirs = socket.socketpair()
        listeners = self._listeners if role == HTTP else {}
        command = [sys.executable, "-m", "acme_server.process.child", role, str(theirs.fileno())]
        command += [str(os.getpid())]
        command += [f"{name}={listener.fileno()}" for name, listener in listeners.items()]
        process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own program; it returns at once
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), *(s.fileno() for s in listeners.values())],
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        )
        theirs.close()
        ours.settimeout(10)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(send_context, ours, self._context)
        child = Child(role, process, await Channel.open(ours))
        self._children.add(child)
        for job in (self._listen_to(child), self._watch(child)):
            task = asyncio.get_running_loop().create_task(job)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return child

    async def _listen_to(self, child: Child) -> None:
        while (received := await child.channel.receive()) is not None:
            kind, content = received
            if kind is Message.METRICS:
                self._totals.update(child.pid, content)
            elif kind is Message.ACCEPTING:
                child.accepting.set()
                _log.info("process_started", child_role=child.role, pid=child.pid)
            elif kind is Message.RETIRING:
                child.is_retiring = True
        await child.ended.wait()
        # Its last snapshot was read before the end of the channel.
        self._totals.retire(child.pid)
        child.channel.close()

    async def _watch(self, child: Child) -> None:
        # A few looks a second; the alternative, a handler of SIGCHLD, is the event loop's own.
        while (status := child.process.poll()) is None:  # noqa: ASYNC110
            await asyncio.sleep(_WATCH_SECONDS)
        self._children.discard(child)
        child.ended.set()
        is_expected = status == 0 and (self._is_stopping or child.is_retiring)
        log = _log.info if is_expected else _log.error
        log("process_ended", child_role=child.role, pid=child.pid, status=status)


async def _until(ready: asyncio.Future[None]) -> None:
    await ready
