"""notBefore and notAfter are times of RFC 3339 and nothing else (RFC 8555, section 7.4)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from acme_server.acme.wire import parse_new_order
from policy.model.errors import ErrorKind, ServerError

NOON = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)


def payload(text: object) -> bytes:
    """A newOrder with ``text`` as its end."""
    identifiers = [{"type": "dns", "value": "a.example"}]
    return json.dumps({"identifiers": identifiers, "notAfter": text}).encode()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-12-01T12:00:00Z", NOON),
        ("2026-12-01t12:00:00z", NOON),
        ("2026-12-01T13:30:00+01:30", NOON),
        ("2026-12-01T12:00:00-00:00", NOON),
        ("2026-11-30T12:01:00-23:59", NOON),
        ("2026-12-01T12:00:00.5Z", NOON.replace(microsecond=500_000)),
        ("2026-12-01T12:00:00.123456789Z", NOON.replace(microsecond=123_456)),
        (None, None),
    ],
)
def test_times_of_rfc_3339_are_read(text: str | None, moment: datetime | None) -> None:
    assert parse_new_order(payload(text)).not_after == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-12-01",
        "2026-12-01T12:00:00",
        "2026-12-01T12:00Z",
        "2026-12-01 12:00:00Z",
        "20261201T120000Z",
        "2026-12-01T120000+01:00",
        "2026-12-01T12:00:00+0100",
        "2026-12-01T12:00:00+01",
        "2026-12-01T12:00:00+01:00:30",
        "2026-12-01T12:00:00+24:00",
        "2026-12-01T12:00:00+01:60",
        "2026-12-01T12:00:00,5Z",
        "2026-12-01T12:00:00.Z",
        "2026-12-01T12:00:00.5",
        "2026-W49-2T12:00:00Z",
        "2026-335T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-12-01T24:00:00Z",
        "2026-12-01T12:60:00Z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "+2026-12-01T12:00:00Z",
        " 2026-12-01T12:00:00Z",
        "2026-12-01T12:00:00Z ",
        "٢٠٢٦-12-01T12:00:00Z",
        "2026-12-01T12:00:00Zulu",
        "2026-12-01T12:00:00." + "1" * 1000 + "Z",
        1_796_126_400,
        True,
        ["2026-12-01T12:00:00Z"],
    ],
)
def test_everything_else_is_malformed(text: object) -> None:
    with pytest.raises(ServerError) as refusal:
        parse_new_order(payload(text))

    assert refusal.value.kind is ErrorKind.MALFORMED
    assert "RFC 3339" in refusal.value.detail
