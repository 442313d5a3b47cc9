"""Turns for accounts: one that asks for a thousand validations doesn't hold up the others."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from datetime import timedelta

from policy.model.ids import AccountId


class ValidatorsBusy(Exception):
    """No validation can be started in time: the queue is full, the wait was too long, or this
    machine has no sockets left. The target is not to blame, so there is no verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """How many validations run at a time, in all and for one account; how many may wait for
    their turn, and how long."""

    concurrency: int = 100
    per_account: int = 20
    queue: int = 1000
    queue_wait: timedelta = timedelta(seconds=10)


class Turns:
    """Gives out ``concurrency`` places. Where several accounts wait, they take turns, however
    many requests each of them has."""

    def __init__(self, settings: LoadSettings) -> None:
        self._settings = settings
        self._running: Counter[AccountId] = Counter()
        self._running_count = 0
        # The order of the keys is the order of the turns.
        self._waiting: dict[AccountId, deque[asyncio.Future[None]]] = {}
        self._waiting_count = 0

    def has_room(self, account_id: AccountId) -> bool:
        """Whether ``take`` would let this account in, now or after a wait."""
        return self._has_place(account_id) or self._waiting_count < self._settings.queue

    async def take(self, account_id: AccountId) -> None:
        """Take a place, after waiting for it if need be; ``give_back`` must follow.

        Raises ValidatorsBusy, without a place.
        """
        if self._has_place(account_id):
            self._occupy(account_id)
        else:
            await self._wait(account_id)

    def give_back(self, account_id: AccountId) -> None:
        """Give the place back, to those who wait."""
        self._running_count -= 1
        self._running[account_id] -= 1
        if not self._running[account_id]:
            del self._running[account_id]
        if self._waiting:
            self._admit()

    def _has_place(self, account_id: AccountId) -> bool:
        return (
            self._running_count < self._settings.concurrency
            and self._running[account_id] < self._settings.per_account
        )

    def _occupy(self, account_id: AccountId) -> None:
        self._running_count += 1
        self._running[account_id] += 1

    async def _wait(self, account_id: AccountId) -> None:
        """Returns with the place taken."""
        if self._waiting_count >= self._settings.queue:
            raise ValidatorsBusy("the queue is full")
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account_id, deque()).append(turn)
        self._waiting_count += 1
        try:
            async with asyncio.timeout(self._settings.queue_wait.total_seconds()):
                await turn
        except BaseException as error:
            self._leave(account_id, turn)
            if isinstance(error, TimeoutError):
                raise ValidatorsBusy("the wait for a place was too long") from None
            raise

    def _leave(self, account_id: AccountId, turn: asyncio.Future[None]) -> None:
        """Give up waiting; a place that was given in the same moment goes to the next."""
        queue = self._waiting.get(account_id)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self._waiting_count -= 1
            if not queue:
                del self._waiting[account_id]
        elif not turn.cancelled():
            self.give_back(account_id)

    def _admit(self) -> None:
        """Give free places to those who wait: one for each account that may, from the front."""
        admitted = True
        while admitted:
            admitted = False
            for account_id in list(self._waiting):
                if self._has_place(account_id):
                    self._admit_one(account_id)
                    admitted = True

    def _admit_one(self, account_id: AccountId) -> None:
        queue = self._waiting.pop(account_id)
        turn = queue.popleft()
        self._waiting_count -= 1
        if queue:  # back to the end of the order
            self._waiting[account_id] = queue
        if not turn.done():  # cancelled, and its task not there yet
            self._occupy(account_id)
            turn.set_result(None)
