"""The children of the parent: kept, replaced, reloaded, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterable
from typing import Any

import structlog

from acme_server.process.channel import Gibberish, Message
from acme_server.process.metrics import ParentMetrics, Totals, read_snapshot
from acme_server.process.program import Role
from acme_server.process.spawning import Orders, Spawned, Spawner, wait_for_exit
from acme_server.process.tlsfiles import TlsPem

# A child that lived this long was not in a crash loop.
_STABLE_SECONDS = 30.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
# From the start of a process to the moment when it serves.
_START_SECONDS = 60.0
# Beyond the drain: the time for the last answers, and for the process to end.
STOP_MARGIN_SECONDS = 10.0
_RELOAD_SECONDS = 10.0
# A worker that serves says something every second. Ticks are counted and not time, so that a
# machine that slept is no reason.
_TICK_SECONDS = 1.0
_SILENT_TICKS = 60
_log = structlog.get_logger()


class Child:
    """A running child. Its events: ``settled`` once it serves or has ended, ``leaving`` once it
    is to be replaced or has ended, ``replaced`` once its successor serves, ``reloaded``."""

    def __init__(self, role: Role, spawned: Spawned, generation: int) -> None:
        self.role = role
        self.serial = spawned.serial
        self.generation = generation
        self.channel = spawned.channel
        self.process = spawned.process
        self.settled = asyncio.Event()
        self.leaving = asyncio.Event()
        self.replaced = asyncio.Event()
        self.reloaded = asyncio.Event()
        self.ended = asyncio.Event()
        self.is_accepting = False
        self.is_dismissed = False
        self.silent_ticks = 0
        self._started_at = time.monotonic()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def is_serving(self) -> bool:
        """Whether it takes requests."""
        return self.is_accepting and not self.is_dismissed and not self.ended.is_set()

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._started_at

    def kill(self, reason: str) -> None:
        """End it now."""
        if not self.ended.is_set():
            _log.error("process_killed", child_role=self.role, child=self.pid, reason=reason)
            self.process.kill()


class Backoff:
    """Pauses in seconds before a start: after each early end twice the one before."""

    def __init__(self) -> None:
        self._failures = 0

    def pause_after(self, age: float) -> float:
        """The pause after the end of a child of that age."""
        if age >= _STABLE_SECONDS:
            self._failures = 0
        self._failures += 1
        return min(_FIRST_PAUSE * float(2 ** (self._failures - 1)), _LONGEST_PAUSE)


class Children:
    """Keeps ``workers`` HTTP children and one in the background.

    A child that dies is replaced, after a pause that grows while they keep dying. One that shall
    go is replaced first, so that somebody accepts at any moment. All is done by tasks of
    ``tasks``.
    """

    def __init__(
        self,
        spawner: Spawner,
        orders: Orders,
        totals: Totals,
        metrics: ParentMetrics,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.orders = orders
        self._spawner = spawner
        self._totals = totals
        self._metrics = metrics
        self._tasks = tasks
        self._places: list[Place] = []
        self._alive: set[Child] = set()
        self._watchman: asyncio.Task[None] | None = None

    @property
    def serving(self) -> int:
        """How many HTTP children take requests now."""
        return sum(child.role is Role.HTTP and child.is_serving for child in self._alive)

    @property
    def _drain(self) -> float:
        return self.orders.context.settings.server.drain.total_seconds()

    async def start(self, workers: int) -> None:
        """Start all; returns when all serve. To be called once."""
        self._watchman = self._tasks.create_task(self._watch())
        self._add(Role.BACKGROUND)
        self.resize(workers)
        for place in list(self._places):
            await place.filled.wait()

    def resize(self, workers: int) -> None:
        """Have as many HTTP children from now on."""
        http = [place for place in self._places if place.role is Role.HTTP]
        for _ in range(workers - len(http)):
            self._add(Role.HTTP)
        for place in http[workers:]:
            self._places.remove(place)
            place.close()

    async def renew(self) -> None:
        """Replace what was started with older ``orders``, one after another; returns when done."""
        for place in list(self._places):
            await place.renew(self.orders)

    async def reload(self, tls: TlsPem | None) -> None:
        """Have the HTTP children take up their TLS files; returns when they did."""
        files = None
        if tls is not None:
            files = {name: getattr(tls, name).decode("latin-1") for name in ("certificate", "key")}
        told = [child for child in self._alive if child.role is Role.HTTP]
        for child in told:
            child.reloaded.clear()
            child.channel.send(Message.RELOAD, files)
        await _all_within(_RELOAD_SECONDS, (child.reloaded for child in told))

    async def stop(self, hurry: asyncio.Event) -> None:
        """Let all end in good order; what has not ended in time, or when ``hurry`` is set, is
        killed."""
        if self._watchman is not None:
            self._watchman.cancel()
        for place in self._places:
            place.close()
        for child in self._alive:
            self.dismiss(child)
        ends = asyncio.ensure_future(_all_within(None, (child.ended for child in self._alive)))
        hurried = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({ends, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        for child in self._alive:
            child.kill("told to hurry")
        await ends

    async def start_child(self, role: Role) -> Child | None:
        """A child that serves; None if it failed to, or if there was no room for it."""
        orders = self.orders
        try:
            spawned = await self._spawner.spawn(role, orders)
        except OSError as error:
            _log.error("process_not_started", child_role=role, reason=str(error))
            return None
        child = Child(role, spawned, orders.generation)
        self._alive.add(child)
        self._tasks.create_task(self._follow(child))
        try:
            await _all_within(_START_SECONDS, [child.settled])
        except asyncio.CancelledError:
            self.dismiss(child)
            raise
        if not child.settled.is_set():
            child.kill("it did not come to serve")
            await child.ended.wait()
        return child if child.is_serving else None

    def dismiss(self, child: Child) -> None:
        """Let a child end in good order, within the time for that."""
        if not child.is_dismissed:
            child.is_dismissed = True
            child.channel.send(Message.GO)
            self._tasks.create_task(self._see_off(child, self._drain + STOP_MARGIN_SECONDS))

    def _add(self, role: Role) -> None:
        place = Place(role, self)
        place.keeper = self._tasks.create_task(place.keep())
        self._places.append(place)

    async def _see_off(self, child: Child, seconds: float) -> None:
        await _all_within(seconds, [child.ended])
        child.kill("it did not end in time")

    async def _follow(self, child: Child) -> None:
        """Listen to a child until its end, and note that."""
        try:
            while (received := await child.channel.receive()) is not None:
                self._hear(child, *received)
        except (Gibberish, ValueError, TypeError) as error:
            child.kill(f"it does not talk sense: {error}")
        ending = asyncio.ensure_future(wait_for_exit(child.process))
        await asyncio.wait({ending}, timeout=STOP_MARGIN_SECONDS)
        if not ending.done():
            child.kill("it stopped talking")
        self._note_end(child, await ending)
        await child.channel.close()

    async def _watch(self) -> None:
        """Kill workers whose event loop stands still: their connections wait in vain."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            for child in self._alive:
                child.silent_ticks += 1
                if (
                    child.role is Role.HTTP
                    and child.is_serving
                    and child.silent_ticks > _SILENT_TICKS
                ):
                    child.kill("it stands still")

    def _hear(self, child: Child, kind: Message, content: Any) -> None:
        child.silent_ticks = 0
        if kind is Message.METRICS:
            self._totals.update(child.serial, read_snapshot(content))
        elif kind is Message.ACCEPTING:
            child.is_accepting = True
            child.settled.set()
            _log.info("process_started", child_role=child.role, child=child.pid)
        elif kind is Message.RELOADED:
            child.reloaded.set()
        elif kind is Message.RETIRING:
            child.leaving.set()

    def _note_end(self, child: Child, status: int) -> None:
        self._alive.discard(child)
        self._totals.retire(child.serial)
        for event in (child.ended, child.settled, child.leaving, child.reloaded):
            event.set()
        ended: dict[str, object] = {
            "child_role": child.role,
            "child": child.pid,
            "age": round(child.age, 3),
        }
        if status < 0:
            with contextlib.suppress(ValueError):
                ended["signal"] = signal.Signals(-status).name
        if child.is_dismissed and status == 0:
            _log.info("process_ended", status=status, **ended)
            return
        _log.error("process_died", status=status, **ended)
        if not child.is_dismissed:
            self._metrics.child_died(child.role)


class Place:
    """Where a child must be at any time. ``filled`` once the first one served."""

    def __init__(self, role: Role, children: Children) -> None:
        self.role = role
        self.filled = asyncio.Event()
        self.keeper: asyncio.Task[None] | None = None
        self._children = children
        self._child: Child | None = None
        self._backoff = Backoff()

    async def keep(self) -> None:
        """Keep a child there, until cancelled."""
        while True:
            successor = await self._start()
            self.filled.set()
            predecessor, self._child = self._child, successor
            if predecessor is not None:
                predecessor.replaced.set()
                self._children.dismiss(predecessor)
            await successor.leaving.wait()
            if successor.ended.is_set():
                await self._pause(successor.age)

    async def renew(self, orders: Orders) -> None:
        """Replace a child that was started with other orders; returns when the new one serves."""
        await self.filled.wait()
        while (child := self._child) is not None and child.generation != orders.generation:
            child.leaving.set()
            await child.replaced.wait()

    def close(self) -> None:
        """Keep no child any more."""
        if self.keeper is not None:
            self.keeper.cancel()
        if self._child is not None:
            self._child.replaced.set()
            self._children.dismiss(self._child)

    async def _start(self) -> Child:
        while (child := await self._children.start_child(self.role)) is None:
            await self._pause(age=0.0)
        return child

    async def _pause(self, age: float) -> None:
        seconds = self._backoff.pause_after(age)
        _log.warning("restart_postponed", child_role=self.role, seconds=seconds)
        await asyncio.sleep(seconds)


async def _all_within(seconds: float | None, events: Iterable[asyncio.Event]) -> None:
    """Wait for all events, at most that long."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)
    finally:
        for wait in waiting:
            wait.cancel()
