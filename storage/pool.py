"""Connections to PostgreSQL: bounded in number and time, with one way to say it is away."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self, TypeAlias, TypeVar

import asyncpg

from policy.model.errors import DatabaseUnavailable

T = TypeVar("T")
# asyncpg has no types; its connections and pool proxies share the four methods used here.
Connection: TypeAlias = Any
Record: TypeAlias = Any

_COLLISION_TRIES = 3
_CONNECT_SECONDS = 5.0
# Whatever tells that the server is away, going away, or out of what a statement needs; a
# statement that met it may be sent again by whoever asked.
_UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InternalClientError,
)
_COLLIDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_ROWS = re.compile(r"(\d+)$")


class LoginRefused(Exception):
    """The database is there, and refuses the role or its password."""


class Database:
    """A pool of connections. Every method raises DatabaseUnavailable when the database can't be
    reached or doesn't answer in time; the pool recovers by itself when it is back.

    ``statements`` counts those sent, so that tests can hold routes to their number.
    """

    def __init__(self, pool: Any, acquire_timeout: float) -> None:
        self._pool = pool
        self._acquire_timeout = acquire_timeout
        # Connections taken from the pool that have nothing to do now. Handing one to the next
        # statement costs a tenth of the pool's own release and acquire.
        self._idle: list[Connection] = []
        self._waiting = 0
        self.statements = 0

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        min_size: int = 1,
        max_size: int = 10,
        statement_timeout: float = 10.0,
        lock_timeout: float = 5.0,
        idle_timeout: float = 30.0,
        acquire_timeout: float = 5.0,
    ) -> Self:
        """Connect to ``url``; times in seconds; never waits long.

        Raises DatabaseUnavailable, LoginRefused.
        """
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=min_size,
                max_size=max_size,
                timeout=_CONNECT_SECONDS,
                # The server's own timeout comes first; this one is for a server that is gone.
                command_timeout=statement_timeout + 5.0,
                max_inactive_connection_lifetime=0,
                # The default reset costs more than most statements; nothing of ours leaves
                # state on a connection.
                reset=_leave_as_it_is,
                server_settings={
                    "application_name": "acme-server",
                    "timezone": "UTC",
                    "statement_timeout": _milliseconds(statement_timeout),
                    "lock_timeout": _milliseconds(lock_timeout),
                    "idle_in_transaction_session_timeout": _milliseconds(idle_timeout),
                    # Plans for these statements don't depend on their values.
                    "plan_cache_mode": "force_generic_plan",
                    # They are made while tables may still be empty and without statistics, and
                    # live as long as the connection: all have an index to go by.
                    "enable_seqscan": "off",
                },
            )
        except _UNAVAILABLE as error:
            raise DatabaseUnavailable(_describe(error)) from error
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise LoginRefused(_describe(error)) from error
        return cls(pool, acquire_timeout)

    async def close(self) -> None:
        """Close all connections, those in use after at most five seconds."""
        while self._idle:
            await self._pool.release(self._idle.pop())
        try:
            await asyncio.wait_for(self._pool.close(), 5.0)
        except TimeoutError:
            self._pool.terminate()

    async def fetch(self, sql: str, *arguments: object) -> list[Record]:
        """All rows of one statement."""
        rows: list[Record] = await self._run(lambda c: c.fetch(sql, *arguments))
        return rows

    async def fetchrow(self, sql: str, *arguments: object) -> Record | None:
        """The first row of one statement; None without rows."""
        return await self._run(lambda c: c.fetchrow(sql, *arguments))

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        """The first value of the first row; None without rows."""
        return await self._run(lambda c: c.fetchval(sql, *arguments))

    async def execute(self, sql: str, *arguments: object) -> int:
        """Run one statement; the number of rows it concerned."""
        status: str = await self._run(lambda c: c.execute(sql, *arguments))
        count = _ROWS.search(status)
        return int(count[1]) if count else 0

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction on a connection of its own, which has asyncpg's methods.

        Don't use the pool while holding one.
        """
        try:
            async with self._connection() as connection, connection.transaction():
                yield connection
        except _UNAVAILABLE as error:
            raise DatabaseUnavailable(_describe(error)) from error

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """A connection for one statement or transaction."""
        connection = await self._take()
        try:
            yield connection
        except BaseException:
            # It may have a statement to be cancelled, or be dead: the pool knows what to do.
            await self._pool.release(connection)
            raise
        if self._waiting or connection.is_closed() or self._pool.is_closing():
            await self._pool.release(connection)
        else:
            self._idle.append(connection)

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            await self._pool.release(connection)
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=self._acquire_timeout)
        finally:
            self._waiting -= 1

    async def _run(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        for attempt in range(1, _COLLISION_TRIES + 1):
            try:
                async with self._connection() as connection:
                    self.statements += 1
                    return await call(connection)
            except _COLLIDED as error:
                # One statement is one transaction: rolled back whole, it can be sent again.
                if attempt == _COLLISION_TRIES:
                    raise DatabaseUnavailable(_describe(error)) from error
                await asyncio.sleep(random.uniform(0.005, 0.05) * attempt)  # noqa: S311 - jitter
            except _UNAVAILABLE as error:
                raise DatabaseUnavailable(_describe(error)) from error
        raise AssertionError("the loop returns or raises")


async def _leave_as_it_is(connection: Connection) -> None:
    """The reset of a released connection: none."""


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _describe(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
