"""Profiles: the validity that a client may ask for, and a version that changes with the content."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.extraextensions import ExtraExtension
from policy.keys import KeyRules
from policy.model.errors import ErrorKind, ServerError
from policy.model.identifiers import IdentifierType
from policy.profiles import (
    MAX_BACKDATE,
    MAX_DELAY,
    TLS_SERVER,
    CommonName,
    Profile,
    SubjectPattern,
)

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
MOMENTS = st.none() | st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
)
CHANGES: dict[str, Any] = {
    "name": "other",
    "validity": 60 * DAY,
    "maximum_validity": 100 * DAY,
    "backdate": timedelta(minutes=1),
    "subject": SubjectPattern(organization="Example"),
    "key_usages": {"ec": frozenset({"digital_signature"}), "rsa": frozenset()},
    "extended_key_usages": ("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"),
    "common_name": CommonName.FIRST_NAME,
    "identifier_types": frozenset({IdentifierType.DNS}),
    "maximum_identifiers": 99,
    "policies": ("2.23.140.1.2.1",),
    "keys": KeyRules(min_rsa_bits=3072),
    "challenge_types": frozenset({"dns-01"}),
    "allows_must_staple": True,
    "extensions": (ExtraExtension("1.3.6.1.4.1.99999.1", b"\x05\x00"),),
    "issuer": "other",
    "is_public": True,
    "needs_approval": True,
}


def _validity(
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    issuer_not_after: datetime | None = None,
    now: datetime = NOW,
) -> tuple[datetime, datetime]:
    return TLS_SERVER.validity_of(not_before, not_after, now, issuer_not_after)


def _refusal(*arguments: datetime | None) -> str:
    with pytest.raises(ServerError) as refusal:
        _validity(*arguments)
    assert refusal.value.kind is ErrorKind.MALFORMED
    with pytest.raises(ServerError) as same:
        TLS_SERVER.check_requested_validity(*arguments[:2], NOW, *arguments[2:])
    assert same.value.detail == refusal.value.detail
    return refusal.value.detail


def test_changes_name_every_field() -> None:
    assert {*CHANGES, "description"} == {field.name for field in dataclasses.fields(Profile)}


def test_version_is_the_same_with_another_description() -> None:
    assert dataclasses.replace(TLS_SERVER, description="other").version == TLS_SERVER.version


@pytest.mark.parametrize("field", ["country", "organization", "organizational_unit"])
def test_version_changes_with_each_part_of_the_subject(field: str) -> None:
    versions = {
        dataclasses.replace(TLS_SERVER, subject=SubjectPattern(**{field: value})).version
        for value in ("DE", "FR", None)
    }

    assert len(versions) == 3
    assert TLS_SERVER.version in versions


@pytest.mark.parametrize("field", CHANGES)
def test_version_changes_with_each_field(field: str) -> None:
    changed = dataclasses.replace(TLS_SERVER, **{field: CHANGES[field]})

    assert changed.version != TLS_SERVER.version


def test_version_does_not_depend_on_the_order_of_sets() -> None:
    usages = {kind: TLS_SERVER.key_usages[kind] for kind in ("rsa", "ec")}
    types = frozenset(sorted(TLS_SERVER.challenge_types, reverse=True))

    again = dataclasses.replace(TLS_SERVER, key_usages=usages, challenge_types=types)

    assert again.version == TLS_SERVER.version


def test_tls_server_lasts_90_days_to_the_second() -> None:
    start, end = _validity()

    assert start == NOW - TLS_SERVER.backdate
    assert end + SECOND - start == 90 * DAY


def test_moment_of_issue_is_cut_to_seconds() -> None:
    start, end = _validity(now=NOW.replace(microsecond=999_999))

    assert (start, end) == _validity()


def test_requested_validity_is_honoured() -> None:
    start, end = NOW + timedelta(hours=1), NOW + 10 * DAY

    assert _validity(start, end) == (start, end)
    assert _validity(None, end) == (NOW - TLS_SERVER.backdate, end)
    assert _validity(start, None) == (start, start + 90 * DAY - SECOND)


def test_requested_validity_is_turned_into_utc() -> None:
    zone = timezone(timedelta(hours=-8))

    start, end = _validity((NOW + SECOND).astimezone(zone), (NOW + DAY).astimezone(zone))

    assert (start.isoformat(), end.isoformat()) == (
        "2026-11-25T12:00:01+00:00",
        "2026-11-26T12:00:00+00:00",
    )


def test_longest_validity_is_allowed_and_one_second_more_is_not() -> None:
    start = NOW
    longest = start + 90 * DAY - SECOND

    assert _validity(start, longest) == (start, longest)
    assert "at most 90 days" in _refusal(start, longest + SECOND)


@pytest.mark.parametrize(
    "not_after",
    [NOW, NOW - SECOND, NOW - 365 * DAY, datetime(1, 1, 1, tzinfo=UTC)],
)
def test_end_that_has_passed_is_refused(not_after: datetime) -> None:
    assert "in the future" in _refusal(None, not_after)


def test_end_before_its_start_is_refused() -> None:
    start = NOW + timedelta(hours=2)

    assert "later than notBefore" in _refusal(start, start)
    assert "later than notBefore" in _refusal(start, start - SECOND)
    assert _validity(start, start + SECOND) == (start, start + SECOND)


@pytest.mark.parametrize(
    "not_after", [datetime.max.replace(tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
)
def test_no_well_defined_end_is_refused(not_after: datetime) -> None:
    assert "at most 90 days" in _refusal(None, not_after)


def test_start_is_near_now() -> None:
    earliest, latest = NOW - MAX_BACKDATE, NOW + MAX_DELAY

    assert _validity(earliest)[0] == earliest
    assert _validity(latest)[0] == latest
    assert "ago" in _refusal(earliest - SECOND, None)
    assert "ahead" in _refusal(latest + SECOND, None)
    for year in (1, 9999):
        _refusal(datetime(year, 12, 31, tzinfo=UTC), None)


def test_issuer_ends_what_has_no_requested_end() -> None:
    issuer_not_after = NOW + 10 * DAY

    assert _validity(None, None, issuer_not_after)[1] == issuer_not_after
    assert _validity(None, None, NOW + 900 * DAY) == _validity()


def test_requested_end_beyond_the_issuer_is_refused_not_shortened() -> None:
    issuer_not_after = NOW + 10 * DAY

    assert _validity(None, issuer_not_after, issuer_not_after)[1] == issuer_not_after
    assert "The CA itself ends" in _refusal(None, issuer_not_after + SECOND, issuer_not_after)


@given(not_before=MOMENTS, not_after=MOMENTS, issuer_not_after=MOMENTS)
def test_any_request_is_honoured_within_limits_or_refused(
    not_before: datetime | None, not_after: datetime | None, issuer_not_after: datetime | None
) -> None:
    try:
        start, end = _validity(not_before, not_after, issuer_not_after)
    except ServerError:
        assert not_before is not None or not_after is not None
        return

    assert NOW - MAX_BACKDATE - SECOND < start <= NOW + MAX_DELAY
    assert end + SECOND - start <= TLS_SERVER.maximum_validity
    assert issuer_not_after is None or end <= issuer_not_after
    assert not_before is None or start == not_before.replace(microsecond=0)
    assert not_after is None or end == not_after.replace(microsecond=0)


@given(seconds=st.integers(-7200, 200_000), length=st.integers(-10, 8_000_000))
def test_request_near_now_is_honoured_exactly_when_it_is_within_limits(
    seconds: int, length: int
) -> None:
    start = NOW + timedelta(seconds=seconds)
    end = start + timedelta(seconds=length)
    is_within = (
        -3600 <= seconds <= 86_400 and 0 < length <= 90 * 86_400 - 1 and seconds + length > 0
    )

    if is_within:
        assert _validity(start, end) == (start, end)
    else:
        _refusal(start, end)


def test_profile_may_start_now_or_an_hour_ago() -> None:
    for backdate in (timedelta(0), MAX_BACKDATE):
        profile = dataclasses.replace(TLS_SERVER, backdate=backdate)
        assert profile.validity_of(None, None, NOW)[0] == NOW - backdate


@pytest.mark.parametrize(
    "changes",
    [
        {"validity": timedelta(0)},
        {"validity": -DAY},
        {"validity": 91 * DAY},
        {"backdate": -SECOND},
        {"backdate": MAX_BACKDATE + SECOND},
        {"validity": timedelta(minutes=5)},
    ],
)
def test_profile_with_an_impossible_validity_is_refused(changes: dict[str, timedelta]) -> None:
    with pytest.raises(ValueError, match="profile tls_server"):
        dataclasses.replace(TLS_SERVER, **changes)  # type: ignore[arg-type]
