"""The parent's side of a child: it believes none, waits for none for ever, and slows down."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from acme_server.process import children as module
from acme_server.process.children import Backoff, Children
from acme_server.process.metrics import ParentMetrics, Totals
from acme_server.process.program import MODULES, Program, Role
from acme_server.process.spawning import Orders, Spawner, child_environment
from support.checkout import ROOT
from support.handovers import make_handover


@pytest.fixture(autouse=True)
def own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are strange ones, and find the modules of the tests."""
    monkeypatch.setitem(MODULES, Role.HTTP, "support.strangechild")
    monkeypatch.setitem(MODULES, Role.BACKGROUND, "support.strangechild")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")


class Logged:
    """What the parent logged."""

    def __init__(self, entries: list[dict[str, object]]) -> None:
        self._entries = entries

    def named(self, name: str) -> list[dict[str, object]]:
        """The events of that name."""
        return [dict(entry) for entry in self._entries if entry["event"] == name]

    async def until(self, name: str) -> dict[str, object]:
        """The first event of that name, when it comes."""
        async with asyncio.timeout(40):
            while not self.named(name):  # noqa: ASYNC110 - the log tells nobody
                await asyncio.sleep(0.02)
        return self.named(name)[0]


@contextlib.asynccontextmanager
async def strange_children(how: str) -> AsyncIterator[tuple[Children, Logged]]:
    """Children that misbehave, for the length of a test."""
    program = Program(http=how, background=how)
    orders = Orders(context=make_handover().context, tls=None)
    hurry = asyncio.Event()
    with capture_logs() as entries:
        async with asyncio.TaskGroup() as tasks:
            children = Children(Spawner(program, {}), orders, Totals(), ParentMetrics(), tasks)
            starting = tasks.create_task(children.start(1))
            yield children, Logged(entries)  # type: ignore[arg-type]
            starting.cancel()
            hurry.set()
            await children.stop(hurry)


@pytest.mark.parametrize("how", ["babbles", "invents", "exaggerates"])
async def test_child_that_talks_nonsense_is_killed_and_replaced(how: str) -> None:
    async with strange_children(how) as (_, logged):
        killed = await logged.until("process_killed")
        died = await logged.until("process_died")
        await logged.until("restart_postponed")

    assert str(killed["reason"]).startswith("it does not talk sense")
    assert died["child"] == killed["child"]
    assert died["signal"] == "SIGKILL"


async def test_child_that_hangs_up_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_MARGIN_SECONDS", 0.2)
    async with strange_children("hangs up") as (_, logged):
        killed = await logged.until("process_killed")

    assert killed["reason"] == "it stopped talking"


async def test_child_that_does_not_go_is_killed_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STOP_MARGIN_SECONDS", 0.2)
    settings = make_handover().context.settings
    drain = settings.server.drain.total_seconds()
    assert drain == 10
    async with strange_children("stays") as (children, logged):
        await logged.until("process_started")
        monkeypatch.setattr(Children, "_drain", 0.2)

        await children.stop(asyncio.Event())

        reasons = {entry["reason"] for entry in logged.named("process_killed")}
        assert reasons == {"it did not end in time"}
        assert {entry["signal"] for entry in logged.named("process_died")} == {"SIGKILL"}


async def test_worker_that_stands_still_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TICK_SECONDS", 0.02)
    monkeypatch.setattr(module, "_SILENT_TICKS", 3)
    async with strange_children("stays") as (_, logged):
        killed = await logged.until("process_killed")
        await logged.until("restart_postponed")

        assert killed["reason"] == "it stands still"
        assert {entry["child_role"] for entry in logged.named("process_killed")} == {"http"}


async def test_child_that_does_not_come_to_serve_is_killed_and_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_START_SECONDS", 0.1)
    async with strange_children("stays") as (_, logged):
        killed = await logged.until("process_killed")
        await logged.until("restart_postponed")

    assert killed["reason"] == "it did not come to serve"


async def test_lack_of_room_for_a_process_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0
    spawn = Spawner.spawn

    async def spawn_at_the_third_attempt(self: Spawner, role: Role, orders: Orders) -> object:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await spawn(self, role, orders)

    monkeypatch.setattr(Spawner, "spawn", spawn_at_the_third_attempt)
    async with strange_children("stays") as (_, logged):
        refused = await logged.until("process_not_started")
        await logged.until("process_started")

        assert "Resource temporarily unavailable" in str(refused["reason"])
        assert logged.named("process_died") == []


def test_pauses_double_up_to_a_limit() -> None:
    backoff = Backoff()

    pauses = [backoff.pause_after(age=1) for _ in range(9)]

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]


def test_long_life_is_followed_by_the_shortest_pause() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.pause_after(age=1)

    assert backoff.pause_after(age=3600) == 0.1
    assert backoff.pause_after(age=1) == 0.2


def test_environment_of_a_child_is_a_list_of_harmless_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir("/usr")
    given = {
        "PATH": "/bin",
        "TZ": "UTC",
        "HOME": "/root",
        "ACME_SERVER__SECRETS__MASTER_KEY": "env:KEY",
        "KEY": "secret",
        "PGPASSWORD": "secret",
        "PYTHONPATH": "lib:/opt",
    }

    assert child_environment(given) == {
        "PATH": "/bin",
        "TZ": "UTC",
        "PYTHONPATH": "/usr/lib:/opt",
    }
