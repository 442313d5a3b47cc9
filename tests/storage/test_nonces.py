"""A nonce is accepted once, whatever happens to the database."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import timedelta

import pytest

from acme_server.workflow.nonces import NonceSeal, NonceUseCases
from policy.model.errors import DatabaseUnavailable, ErrorKind, ServerError
from storage.nonces import NonceLedger
from storage.pool import Database
from support.postgres import PostgresCluster

KEY = os.urandom(32)
HOUR = timedelta(hours=1)


async def use_cases(database: Database) -> NonceUseCases:
    """A worker's nonces."""
    nonces = NonceUseCases(NonceLedger(database, lifetime=HOUR), NonceSeal(KEY))
    await nonces.start()
    return nonces


async def refusal_of(nonces: NonceUseCases, nonce: str) -> ErrorKind | None:
    """How redeeming ends; None for acceptance."""
    try:
        await nonces.redeem(nonce)
    except ServerError as error:
        return error.kind
    return None


async def test_two_hundred_redemptions_of_one_nonce_accept_it_once(database: Database) -> None:
    workers = [await use_cases(database) for _ in range(4)]
    nonce = workers[0].issue()

    ends = await asyncio.gather(*(refusal_of(workers[i % 4], nonce) for i in range(200)))

    assert ends.count(None) == 1
    assert ends.count(ErrorKind.BAD_NONCE) == 199


async def test_redemptions_that_arrive_together_share_a_statement(database: Database) -> None:
    nonces = await use_cases(database)
    issued = [nonces.issue() for _ in range(100)]
    before = database.statements

    ends = await asyncio.gather(*(refusal_of(nonces, nonce) for nonce in issued))

    assert ends == [None] * 100
    assert database.statements - before <= 2


@pytest.mark.parametrize("second", [-3601, -100_000, 120, 10**9])
async def test_too_old_and_future_nonces_are_refused(database: Database, second: int) -> None:
    nonces = await use_cases(database)
    sealed = NonceSeal(KEY).seal(nonces._epoch, int(time.time()) + second)

    assert await refusal_of(nonces, sealed) is ErrorKind.BAD_NONCE


async def test_nonce_of_another_installation_is_refused(database: Database) -> None:
    nonces = await use_cases(database)
    foreign = NonceSeal(os.urandom(32)).seal(nonces._epoch, int(time.time()))

    assert await refusal_of(nonces, foreign) is ErrorKind.BAD_NONCE
    assert await refusal_of(nonces, foreign[:-1] + "!") is ErrorKind.BAD_NONCE
    assert await refusal_of(nonces, "") is ErrorKind.BAD_NONCE


async def test_used_nonce_stays_used_after_a_crash_and_one_retry_suffices(
    postgres_cluster: PostgresCluster, database_url: str
) -> None:
    database = await Database.open(database_url)
    nonces = await use_cases(database)
    used, unused = nonces.issue(), nonces.issue()
    await nonces.redeem(used)
    backend = await database.fetchval("SELECT pg_backend_pid()")

    # The server ends all sessions and recovers: unlogged tables are empty afterwards.
    os.kill(backend, signal.SIGKILL)
    async with asyncio.timeout(30):
        while True:
            try:
                end = await refusal_of(nonces, used)
                break
            except DatabaseUnavailable:
                await asyncio.sleep(0.05)

    assert end is ErrorKind.BAD_NONCE
    assert await refusal_of(nonces, unused) is ErrorKind.BAD_NONCE
    assert await refusal_of(nonces, nonces.issue()) is None
    await database.close()


async def test_table_out_of_use_is_emptied_and_what_is_valid_stays(database: Database) -> None:
    ledger = NonceLedger(database, lifetime=timedelta(seconds=20))
    now = int(await database.fetchval("SELECT extract(epoch FROM clock_timestamp())::bigint"))
    period = now // 40
    active, idle = ("nonces_a", "nonces_b") if period % 2 == 0 else ("nonces_b", "nonces_a")
    await database.execute(f"INSERT INTO {active} VALUES ('\\x01')")
    await database.execute(f"INSERT INTO {idle} VALUES ('\\x02')")

    is_second_half = now % 40 >= 20
    emptied = await ledger.truncate_old()

    # The clock may cross into the next phase between the two looks.
    if emptied == is_second_half:
        assert await database.fetchval(f"SELECT count(*) FROM {active}") == 1
        assert await database.fetchval(f"SELECT count(*) FROM {idle}") == (not emptied)
