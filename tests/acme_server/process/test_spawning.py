"""A child process by itself, where no supervisor helps it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acme_server.config.settings import Settings
from acme_server.process.channel import Message
from acme_server.process.program import Role
from acme_server.process.spawning import Orders, Spawned, Spawner, wait_for_exit
from support.checkout import ROOT
from support.handovers import make_handover
from support.standin import program

LOOP = os.environ.get("ACME_SERVER_TEST_LOOP") or "uvloop"


@pytest.fixture(autouse=True)
def own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find the modules of the tests."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """A Python process."""
    return subprocess.Popen([sys.executable, *arguments], **options)


async def spawn_background(data_dir: Path) -> Spawned:
    """A child that works, and leaves its traces in that directory."""
    settings = dataclasses.replace(Settings(), data_dir=data_dir)
    context = dataclasses.replace(make_handover(settings).context, account=None)
    orders = Orders(context=context, tls=None)
    spawned = await Spawner(program(LOOP), {}).spawn(Role.BACKGROUND, orders)
    async with asyncio.timeout(40):
        assert await spawned.channel.receive() == (Message.ACCEPTING, None)
    return spawned


async def test_child_that_its_parent_does_not_listen_to_any_more_ends_by_itself(
    tmp_path: Path,
) -> None:
    spawned = await spawn_background(tmp_path)

    await spawned.channel.close()

    async with asyncio.timeout(40):
        assert await wait_for_exit(spawned.process) == 1


async def test_child_ends_in_good_order_when_told_to_go(tmp_path: Path) -> None:
    spawned = await spawn_background(tmp_path)

    spawned.channel.send(Message.GO)

    async with asyncio.timeout(40):
        heard = []
        while (received := await spawned.channel.receive()) is not None:
            heard.append(received[0])
        assert await wait_for_exit(spawned.process) == 0
    assert heard[-1] is Message.METRICS
    await spawned.channel.close()


async def test_child_asked_to_retire_says_so_once_and_goes_on(tmp_path: Path) -> None:
    spawned = await spawn_background(tmp_path)

    for _ in range(2):
        spawned.process.terminate()
    heard = []
    async with asyncio.timeout(40):
        # Samples come every second, so two of them are behind whatever both signals caused.
        while heard.count(Message.METRICS) < 2 or Message.RETIRING not in heard:
            received = await spawned.channel.receive()
            assert received is not None
            heard.append(received[0])

    assert heard.count(Message.RETIRING) == 1
    assert spawned.process.poll() is None
    await spawned.channel.close()
    assert await wait_for_exit(spawned.process) == 1


async def test_two_children_have_serials_of_their_own() -> None:
    spawner = Spawner(program(LOOP), {})
    orders = Orders(context=make_handover().context, tls=None)

    spawned = [await spawner.spawn(Role.BACKGROUND, orders) for _ in range(2)]

    assert len({child.serial for child in spawned}) == 2
    for child in spawned:
        child.process.kill()
        assert await wait_for_exit(child.process) == -9
        await child.channel.close()


@pytest.mark.parametrize("error", [None, OSError(38, "Function not implemented")])
async def test_exit_is_noticed_on_any_system(
    error: OSError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int) -> int:
        assert error is not None
        raise error

    if error is not None:
        monkeypatch.setattr(os, "pidfd_open", refuse)
    process = start("-c", "raise SystemExit(7)")

    async with asyncio.timeout(40):
        assert await wait_for_exit(process) == 7


async def test_process_that_ended_before_anyone_waited_is_noticed() -> None:
    process = start("-c", "")
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    async with asyncio.timeout(40):
        assert await wait_for_exit(process) == 0


async def test_child_of_a_document_that_is_cut_off_does_not_start() -> None:
    process = start(
        *("-P", "-m", "acme_server.process.worker"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    _, said = await asyncio.to_thread(process.communicate, b'["Handover", {')

    assert process.returncode == 1
    assert b"Error" in said
