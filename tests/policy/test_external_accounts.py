"""What an external account key is good for at a moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from policy.model.external_accounts import ExternalAccount
from policy.model.ids import ExternalAccountId

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KEY = ExternalAccount(id=ExternalAccountId(UUID(int=1)), owner="", created_at=NOW - 9 * SECOND)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "usable"),
        ({"uses": 1}, "used up"),
        ({"uses": 4, "max_uses": 5}, "usable"),
        ({"uses": 5, "max_uses": 5}, "used up"),
        ({"uses": 9**9, "max_uses": None}, "usable"),
        ({"expires_at": NOW + SECOND}, "usable"),
        ({"expires_at": NOW}, "expired"),
        ({"expires_at": NOW, "uses": 1}, "expired"),
        ({"revoked_at": NOW}, "revoked"),
        ({"revoked_at": NOW, "expires_at": NOW, "uses": 1}, "revoked"),
    ],
)
def test_state_is_told_by_the_strongest_reason(changes: dict[str, Any], state: str) -> None:
    assert replace(KEY, **changes).state(NOW) == state


@pytest.mark.parametrize(
    "changes",
    [
        {"owner": "x" * 201},
        {"owner": "a\nb"},
        {"max_uses": 0},
        {"max_uses": -1},
        {"expires_at": KEY.created_at},
    ],
)
def test_key_that_makes_no_sense_is_no_value(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"a key|an owner"):
        replace(KEY, **changes)
