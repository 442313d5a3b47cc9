"""The Baseline Requirements' limits, to the second at each of their days."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest

from policy.baseline import TABLE, limits_at
from policy.model.errors import ErrorKind, ServerError
from policy.profiles import TLS_SERVER

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
# BR 6.3.2 and 4.2.1, written down once more: the first second, and the days before and from it on.
BOUNDARIES = [
    (datetime(2026, 3, 15, tzinfo=UTC), (398, 398), (200, 200)),
    (datetime(2027, 3, 15, tzinfo=UTC), (200, 200), (100, 100)),
    (datetime(2029, 3, 15, tzinfo=UTC), (100, 100), (47, 10)),
]
PUBLIC = dataclasses.replace(
    TLS_SERVER, is_public=True, validity=398 * DAY, maximum_validity=398 * DAY
)


def _days_at(moment: datetime) -> tuple[int, int]:
    limits = limits_at(moment)
    return limits.validity.days, limits.reuse.days


@pytest.mark.parametrize(("boundary", "before", "after"), BOUNDARIES)
def test_limits_change_at_the_first_second_of_a_day(
    boundary: datetime, before: tuple[int, int], after: tuple[int, int]
) -> None:
    assert _days_at(boundary - SECOND) == before
    assert _days_at(boundary) == _days_at(boundary + SECOND) == after


def test_limits_follow_the_moment_in_any_time_zone() -> None:
    boundary = datetime(2027, 3, 15, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    assert _days_at(boundary - SECOND) == (200, 200)
    assert _days_at(boundary) == (100, 100)


def test_limits_only_shrink_and_the_first_holds_for_all_of_the_past() -> None:
    pairs = list(itertools.pairwise(TABLE))

    assert all(
        earlier.since < later.since
        and earlier.validity > later.validity
        and earlier.reuse > later.reuse
        for earlier, later in pairs
    )
    assert limits_at(datetime(1970, 1, 1, tzinfo=UTC)) is TABLE[0]
    assert limits_at(datetime(2100, 1, 1, tzinfo=UTC)) is TABLE[-1]


@pytest.mark.parametrize(("boundary", "before", "after"), BOUNDARIES)
def test_public_certificate_lasts_as_long_as_its_day_allows(
    boundary: datetime, before: tuple[int, int], after: tuple[int, int]
) -> None:
    for moment, (validity, _) in (
        (boundary - SECOND, before),
        (boundary, after),
        (boundary + SECOND, after),
    ):
        start, end = PUBLIC.validity_of(None, None, moment)
        assert start == moment - PUBLIC.backdate
        assert end + SECOND - start == validity * DAY


@pytest.mark.parametrize(("boundary", "before", "after"), BOUNDARIES)
def test_end_asked_for_is_refused_one_second_above_the_days_limit(
    boundary: datetime, before: tuple[int, int], after: tuple[int, int]
) -> None:
    for moment, (validity, _) in ((boundary - SECOND, before), (boundary, after)):
        longest = moment + validity * DAY - SECOND
        assert PUBLIC.validity_of(moment, longest, moment) == (moment, longest)
        with pytest.raises(ServerError, match=f"at most {validity} days") as refusal:
            PUBLIC.validity_of(moment, longest + SECOND, moment)
        assert refusal.value.kind is ErrorKind.MALFORMED


@pytest.mark.parametrize(("boundary", "before", "after"), BOUNDARIES)
def test_certificate_that_starts_after_the_boundary_has_the_later_limit(
    boundary: datetime, before: tuple[int, int], after: tuple[int, int]
) -> None:
    start, end = PUBLIC.validity_of(boundary, None, boundary - 60 * SECOND)

    assert end + SECOND - start == after[0] * DAY


def test_certificate_issued_after_the_boundary_has_no_longer_limit_by_its_backdated_start() -> None:
    boundary = BOUNDARIES[1][0]

    start, end = PUBLIC.validity_of(boundary - 60 * SECOND, None, boundary + SECOND)

    assert start < boundary
    assert end + SECOND - start == 100 * DAY


def test_shorter_validity_of_the_profile_stays() -> None:
    short = dataclasses.replace(PUBLIC, validity=6 * DAY, maximum_validity=20 * DAY)
    now = datetime(2029, 3, 15, tzinfo=UTC)

    start, end = short.validity_of(None, None, now)

    assert end + SECOND - start == 6 * DAY
    assert short.longest_validity(now) == 20 * DAY


def test_other_profiles_know_no_limits_of_a_day() -> None:
    private = dataclasses.replace(PUBLIC, is_public=False)
    now = datetime(2029, 3, 15, tzinfo=UTC)

    assert private.longest_validity(now) == 398 * DAY
    assert private.oldest_proof(now) is None
    assert PUBLIC.oldest_proof(now) == 10 * DAY
