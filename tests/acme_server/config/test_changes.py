"""What a reload can take up, and what it can't."""

from __future__ import annotations

from acme_server.config.changes import Change, changes_between
from acme_server.config.loader import build_settings


def test_equal_settings_have_no_changes() -> None:
    assert (
        list(changes_between(build_settings({}, is_lab=True), build_settings({}, is_lab=True)))
        == []
    )


def test_changes_tell_whether_a_restart_is_needed() -> None:
    old = build_settings({}, is_lab=False)
    new = build_settings(
        {"database.url": "postgresql://h/d", "validation.http_port": 81}, is_lab=False
    )

    assert list(changes_between(old, new)) == [
        Change("database.url", is_live=False),
        Change("validation.http_port", is_live=True),
    ]
