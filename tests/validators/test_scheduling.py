"""Turns: caps, fairness and the bounded queue, in a known order of events."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from policy.model.ids import AccountId
from validators.scheduling import LoadSettings, Turns, ValidatorsBusy

A, B, C = (AccountId(UUID(int=number)) for number in (1, 2, 3))


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


class Crowd:
    """Takes places in tasks and notes who got one, in order."""

    def __init__(self, **settings: int) -> None:
        self.turns = Turns(LoadSettings(**settings))  # type: ignore[arg-type]
        self.running: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, account: AccountId) -> None:
        self.tasks[name] = asyncio.create_task(self._take(name, account))
        await settle()

    async def finish(self, account: AccountId) -> None:
        self.turns.give_back(account)
        await settle()

    async def _take(self, name: str, account: AccountId) -> None:
        await self.turns.take(account)
        self.running.append(name)


async def test_no_more_run_than_there_are_places() -> None:
    crowd = Crowd(concurrency=2, per_account=2)
    for name, account in [("a1", A), ("b1", B), ("c1", C)]:
        await crowd.ask(name, account)
    assert crowd.running == ["a1", "b1"]

    await crowd.finish(A)
    assert crowd.running == ["a1", "b1", "c1"]


async def test_one_account_has_no_more_than_its_share() -> None:
    crowd = Crowd(concurrency=10, per_account=2)
    for name, account in [("a1", A), ("a2", A), ("a3", A), ("b1", B)]:
        await crowd.ask(name, account)

    assert crowd.running == ["a1", "a2", "b1"]


async def test_accounts_take_turns_however_long_their_queues_are() -> None:
    crowd = Crowd(concurrency=1, per_account=1)
    for name, account in [("a1", A), ("a2", A), ("a3", A), ("a4", A), ("b1", B), ("c1", C)]:
        await crowd.ask(name, account)

    for account in (A, A, B, C, A):
        await crowd.finish(account)

    assert crowd.running == ["a1", "a2", "b1", "c1", "a3", "a4"]


async def test_an_account_at_its_share_does_not_hold_up_those_behind() -> None:
    crowd = Crowd(concurrency=2, per_account=1)
    for name, account in [("a1", A), ("b1", B), ("a2", A), ("c1", C)]:
        await crowd.ask(name, account)

    await crowd.finish(B)

    assert crowd.running == ["a1", "b1", "c1"]


async def test_a_full_queue_refuses() -> None:
    crowd = Crowd(concurrency=1, per_account=1, queue=1)
    await crowd.ask("a1", A)
    assert crowd.turns.has_room(B)
    await crowd.ask("a2", A)
    assert not crowd.turns.has_room(B)

    with pytest.raises(ValidatorsBusy):
        await crowd.turns.take(B)
    await crowd.finish(A)

    assert crowd.running == ["a1", "a2"]
    assert crowd.turns.has_room(B)


async def test_a_wait_that_is_too_long_ends_without_a_place() -> None:
    turns = Turns(LoadSettings(concurrency=1, per_account=1, queue_wait=timedelta(milliseconds=20)))
    await turns.take(A)

    with pytest.raises(ValidatorsBusy):
        await turns.take(B)

    turns.give_back(A)
    await turns.take(B)


async def test_who_is_cancelled_leaves_the_queue() -> None:
    crowd = Crowd(concurrency=1, per_account=1)
    for name, account in [("a1", A), ("b1", B), ("c1", C)]:
        await crowd.ask(name, account)

    crowd.tasks["b1"].cancel()
    await settle()
    await crowd.finish(A)

    assert crowd.running == ["a1", "c1"]


async def test_a_place_given_to_one_who_was_just_cancelled_goes_on() -> None:
    crowd = Crowd(concurrency=1, per_account=1)
    for name, account in [("a1", A), ("b1", B), ("c1", C)]:
        await crowd.ask(name, account)

    crowd.turns.give_back(A)
    crowd.tasks["b1"].cancel()
    await settle()
    await crowd.ask("a2", A)

    assert crowd.running == ["a1", "c1"]


async def test_a_place_is_not_given_to_one_who_is_being_cancelled() -> None:
    crowd = Crowd(concurrency=1, per_account=1)
    for name, account in [("a1", A), ("b1", B), ("c1", C)]:
        await crowd.ask(name, account)

    crowd.tasks["b1"].cancel()
    crowd.turns.give_back(A)
    await settle()
    await crowd.ask("a2", A)

    assert crowd.running == ["a1", "c1"]


async def test_all_places_come_back() -> None:
    crowd = Crowd(concurrency=3, per_account=2)
    for number in range(30):
        await crowd.ask(f"{number}", (A, B, C)[number % 3])
    while len(crowd.running) < 30:
        for account in (A, B, C):
            if crowd.turns._running[account]:
                await crowd.finish(account)
    for account in (A, B, C):
        while crowd.turns._running[account]:
            await crowd.finish(account)

    assert crowd.turns._running_count == 0
    assert crowd.turns._waiting == {}
    assert crowd.turns._waiting_count == 0
