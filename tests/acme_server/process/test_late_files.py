"""What a process needs from the installation's files is read before root is given up."""

from __future__ import annotations

import builtins
from typing import NoReturn

import pytest

from acme_server.process import child
from policy import registereddomains


def test_the_public_suffix_list_is_read_while_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError("root was given up")

    registereddomains._suffixes.cache_clear()
    child._import_late_modules()
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refuse)
        domain = registereddomains.registered_domain("a.b.example.co.uk")

    assert domain == "example.co.uk"
