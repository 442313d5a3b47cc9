"""Limits on a real database: exact for any number of replicas, all or nothing, given back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from policy.limits import Demand, Limit, LimitKind
from storage.limits import Limits, Outcome
from storage.pool import Database

HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
START = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = bytes(32)


def demand(
    key: str = "a",
    burst: int = 3,
    period: timedelta = HOUR,
    *,
    kind: LimitKind = LimitKind.ORDERS_PER_ACCOUNT,
    spends: bool = True,
    spares_renewals: bool = False,
) -> Demand:
    """One of a limit for ``key``."""
    return Demand(
        kind=kind,
        key=key,
        subject=key,
        limit=Limit(burst=burst, period=period),
        spends=spends,
        spares_renewals=spares_renewals,
    )


@pytest.fixture
def limits(database: Database) -> Limits:
    return Limits(database)


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[tuple[Database, Database]]:
    """Two pools of one database, as two replicas have them."""
    pools = await Database.open(database_url), await Database.open(database_url)
    yield pools
    for pool in pools:
        await pool.close()


def waits(outcome: Outcome) -> dict[str, timedelta]:
    """The waits of an outcome by key."""
    return {refusal.demand.key: refusal.wait for refusal in outcome.refused}


async def drain(limits: Limits, one: Demand) -> None:
    """Take all that there is of a demand."""
    for _ in range(one.limit.burst):
        outcome = await limits.take([one])
        assert outcome.taken


async def test_burst_is_admitted_at_once_and_then_one_per_step(limits: Limits) -> None:
    one = demand(burst=3)

    outcomes = [await limits.take([one], at=START) for _ in range(4)]
    early = await limits.take([one], at=START + one.limit.step - MICROSECOND)
    in_time = await limits.take([one], at=START + one.limit.step)
    again = await limits.take([one], at=START + one.limit.step)

    assert [len(outcome.taken) for outcome in outcomes] == [1, 1, 1, 0]
    assert waits(outcomes[3]) == {"a": timedelta(minutes=20)}
    assert waits(early) == {"a": MICROSECOND}
    assert in_time.taken == (one,)
    assert waits(again) == {"a": timedelta(minutes=20)}


async def test_everything_is_given_back_after_the_period(limits: Limits) -> None:
    one = demand(burst=3)
    for _ in range(3):
        await limits.take([one], at=START)

    outcomes = [await limits.take([one], at=START + HOUR) for _ in range(4)]

    assert [len(outcome.taken) for outcome in outcomes] == [1, 1, 1, 0]


@pytest.mark.parametrize("seed", range(4))
async def test_it_agrees_with_a_bucket_that_refills_continuously(limits: Limits, seed: int) -> None:
    choose = random.Random(seed)
    one = demand(burst=choose.randint(1, 7), period=timedelta(seconds=choose.randint(1, 9)))
    step = one.limit.step // MICROSECOND
    tokens, moment = Fraction(one.limit.burst), 0
    for _ in range(150):
        passed = choose.choice((0, 1, step // 3, step - 1, step, 2 * step + 1))
        moment += passed
        tokens = min(Fraction(one.limit.burst), tokens + Fraction(passed, step))
        expected = timedelta(0) if tokens >= 1 else int((1 - tokens) * step) * MICROSECOND

        outcome = await limits.take([one], at=START + moment * MICROSECOND)

        assert waits(outcome).get("a", timedelta(0)) == expected
        tokens -= 0 if outcome.refused else 1


async def test_a_period_that_the_burst_does_not_divide_never_admits_too_many(
    limits: Limits,
) -> None:
    one = demand(burst=7, period=timedelta(microseconds=10))
    for _ in range(7):
        await limits.take([one], at=START)

    outcome = await limits.take([one], at=START + MICROSECOND)

    assert one.limit.step == 2 * MICROSECOND
    assert waits(outcome) == {"a": MICROSECOND}


async def test_two_replicas_with_a_thousand_requests_each_admit_exactly_the_burst(
    replicas: tuple[Database, Database],
) -> None:
    one = demand(burst=137, period=timedelta(days=365))

    outcomes = await asyncio.gather(*(Limits(replicas[i % 2]).take([one]) for i in range(2_000)))

    assert sum(len(outcome.taken) for outcome in outcomes) == 137
    assert all(outcome.taken or outcome.refused for outcome in outcomes)


async def test_requests_that_share_keys_in_any_order_never_deadlock(
    replicas: tuple[Database, Database], limits: Limits
) -> None:
    choose = random.Random(1)
    sets = [
        [demand(key, 50, timedelta(days=365)) for key in choose.sample("abcde", 3)]
        for _ in range(400)
    ]

    outcomes = await asyncio.gather(
        *(take_and_give_back(Limits(replicas[i % 2]), one, i) for i, one in enumerate(sets)),
        *(limits.forget_stale(3) for _ in range(20)),
    )

    kept = [outcome for outcome in outcomes if isinstance(outcome, Outcome)]
    assert any(outcome.refused for outcome in kept)
    assert await standing(replicas[0]) == count(kept)
    # The pool sends a statement again that met a deadlock.
    given_back = len(sets) - len(kept)
    assert sum(pool.statements for pool in replicas) == len(sets) + given_back + 1


async def take_and_give_back(limits: Limits, demands: list[Demand], number: int) -> Outcome | None:
    """Every third is given back, which leaves nothing of it."""
    outcome = await limits.take(demands)
    if number % 3 or not outcome.taken:
        return outcome
    await limits.give_back(outcome.taken)
    return None


def count(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How often each key was taken."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        for taken in outcome.taken:
            counts[taken.key] = counts.get(taken.key, 0) + 1
    return counts


async def standing(database: Database) -> dict[str, int]:
    """How many of 50 a year each key has taken by its state, what came back rounded away."""
    step = demand("", 50, timedelta(days=365)).limit.step
    rows = await database.fetch("SELECT key, given_back_at - now() AS owed FROM rate_limits")
    return {row["key"]: -(-row["owed"] // step) for row in rows if row["owed"] > timedelta(0)}


async def test_one_exhausted_demand_refuses_all_and_nothing_is_taken(limits: Limits) -> None:
    free, exhausted, other = demand("free", 1), demand("gone", 1), demand("out", 2)
    await limits.take([exhausted], at=START)
    for _ in range(2):
        await limits.take([other], at=START)

    refused = await limits.take([free, exhausted, other], at=START)
    afterwards = await limits.take([free], at=START)

    assert refused.taken == ()
    assert waits(refused) == {"gone": HOUR, "out": HOUR / 2}
    assert afterwards.taken == (free,)


async def test_equal_keys_of_different_kinds_are_counted_apart(limits: Limits) -> None:
    await drain(limits, demand(burst=1))

    outcome = await limits.take([demand(burst=1, kind=LimitKind.FAILED_VALIDATIONS)])

    assert not outcome.refused


async def test_a_demand_that_stands_twice_is_a_mistake_of_the_caller(limits: Limits) -> None:
    with pytest.raises(ValueError, match="twice"):
        await limits.take([demand(), demand()])


async def test_what_is_given_back_can_be_taken_once_more(limits: Limits) -> None:
    one = demand(burst=2)
    await limits.take([one], at=START)
    taken = (await limits.take([one], at=START)).taken

    await limits.give_back(taken)
    outcomes = [await limits.take([one], at=START) for _ in range(2)]

    assert [len(outcome.taken) for outcome in outcomes] == [1, 0]


async def test_giving_back_late_does_not_make_the_burst_larger(limits: Limits) -> None:
    one = demand(burst=2)
    taken = (await limits.take([one], at=START)).taken

    await limits.give_back(taken)
    outcomes = [await limits.take([one], at=START + 2 * HOUR) for _ in range(3)]

    assert [len(outcome.taken) for outcome in outcomes] == [1, 1, 0]


async def test_looking_takes_nothing_and_leaves_no_row(limits: Limits, database: Database) -> None:
    look = demand(burst=1, spends=False)

    outcomes = [await limits.take([look]) for _ in range(3)]

    assert all(not outcome.refused and not outcome.taken for outcome in outcomes)
    assert await database.fetchval("SELECT count(*) FROM rate_limits") == 0


async def test_looking_is_refused_while_nothing_is_left(limits: Limits) -> None:
    await limits.take([demand(burst=1)], at=START)

    outcome = await limits.take([demand(burst=1, spends=False), demand("b")], at=START)
    untouched = await limits.take([demand("b", 1)], at=START)

    assert waits(outcome) == {"a": HOUR}
    assert untouched.taken


async def test_counting_goes_on_beyond_the_burst_and_the_wait_stays_bounded(
    limits: Limits,
) -> None:
    one = demand(burst=2)
    for _ in range(10):
        await limits.count(one)

    outcome = await limits.take([demand(burst=2, spends=False)])

    assert HOUR / 2 - timedelta(minutes=1) < waits(outcome)["a"] <= HOUR / 2


async def test_names_that_were_issued_before_are_spared_where_the_limit_says_so(
    limits: Limits,
) -> None:
    sparing, strict = demand(burst=1, spares_renewals=True), demand("b", 1)
    await limits.take([sparing], at=START)
    await limits.record_names(NAMES)

    renewal = await limits.take([sparing, strict], names=NAMES, at=START)
    second = await limits.take([sparing, strict], names=NAMES, at=START)
    other = await limits.take([sparing], names=bytes([1] * 32), at=START)
    unnamed = await limits.take([sparing], at=START)

    assert renewal.taken == (strict,)
    assert set(waits(second)) == {"b"}
    assert set(waits(other)) == set(waits(unnamed)) == {"a"}


async def test_only_states_that_are_as_good_as_none_are_forgotten(
    limits: Limits, database: Database
) -> None:
    await limits.take([demand("old", 1)], at=datetime(2020, 1, 1, tzinfo=UTC))
    await limits.take([demand("older", 1)], at=datetime(2019, 1, 1, tzinfo=UTC))
    await limits.take([demand("now", 1)])
    await limits.record_names(NAMES)
    await database.execute("UPDATE issued_name_sets SET issued_at = now() - interval '431 days'")
    await limits.record_names(bytes([1] * 32))

    forgotten = await limits.forget_stale(1)
    refused = await limits.take([demand("now", 1)])

    assert forgotten == 3
    assert [row[0] for row in await database.fetch("SELECT key FROM rate_limits")] == ["now"]
    assert await database.fetchval("SELECT count(*) FROM issued_name_sets") == 1
    assert set(waits(refused)) == {"now"}
