"""The dated limits of the CA/Browser Forum's Baseline Requirements for public TLS certificates.

They shrink on known days, so that a server that is not restarted follows them by itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# The reserved identifiers of policies (BR 7.1.6.1), of which a certificate has one (7.1.2.7.9).
DOMAIN_VALIDATED = "2.23.140.1.2.1"
RESERVED_POLICIES = frozenset(
    {
        DOMAIN_VALIDATED,
        "2.23.140.1.2.2",  # organization validated
        "2.23.140.1.2.3",  # individual validated
        "2.23.140.1.1",  # extended validation
    }
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for certificates issued from ``since`` on: the longest validity, and how old a
    proof of control may be at most."""

    since: datetime
    validity: timedelta
    reuse: timedelta


def _since(year: int, month: int, day: int, *, validity: int, reuse: int) -> Limits:
    return Limits(
        datetime(year, month, day, tzinfo=UTC), timedelta(days=validity), timedelta(days=reuse)
    )


# BR 6.3.2 (validity) and 4.2.1 (reuse); the first line is older than this server.
TABLE: Sequence[Limits] = (
    _since(2020, 9, 1, validity=398, reuse=398),
    _since(2026, 3, 15, validity=200, reuse=200),
    _since(2027, 3, 15, validity=100, reuse=100),
    _since(2029, 3, 15, validity=47, reuse=10),
)


def limits_at(moment: datetime) -> Limits:
    """The limits for a certificate issued at ``moment``, which has a time zone."""
    position = bisect_right(TABLE, moment, key=lambda limits: limits.since)
    return TABLE[max(position - 1, 0)]
