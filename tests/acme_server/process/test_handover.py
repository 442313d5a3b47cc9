"""What goes through the pipe comes out of it, and nothing else does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_server.config.loader import load_settings
from acme_server.config.settings import Settings
from acme_server.config.values import (
    Endpoint,
    EnvironmentMasterKey,
    FileMasterKey,
    TlsFiles,
)
from acme_server.process.handover import decode_handover, encode_handover
from support.handovers import make_handover


def with_settings(**sections: Mapping[str, Any]) -> Settings:
    """Default settings but for these."""
    settings = Settings()
    for name, values in sections.items():
        section = dataclasses.replace(getattr(settings, name), **values)
        settings = dataclasses.replace(settings, **{name: section})
    return settings


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        load_settings(None, {}),
        with_settings(
            server={
                "tls": TlsFiles(certificate=Path("/a/certificate"), key=Path("/a/key")),
                "listen": Endpoint(ip_address("::1"), 443),
                "trusted_proxies": (ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
                "drain": timedelta(days=1, microseconds=7),
            }
        ),
        with_settings(secrets={"master_key": FileMasterKey(Path("/a/key"))}),
        with_settings(secrets={"master_key": EnvironmentMasterKey("KEY")}),
        with_settings(acme={"denied_names": ("a.example", "ü.example"), "website": None}),
    ],
    ids=["defaults", "lab", "server", "file key", "environment key", "names"],
)
def test_handover_comes_out_as_it_went_in(settings: Settings) -> None:
    handover = make_handover(settings)

    assert decode_handover(encode_handover(handover)) == handover


@given(st.binary(max_size=200), st.text(max_size=50), st.dictionaries(st.text(), st.integers(0, 9)))
def test_any_content_of_files_and_names_comes_out_as_it_went_in(
    content: bytes, name: str, listeners: dict[str, int]
) -> None:
    handover = make_handover()
    assert handover.tls is not None
    tls = dataclasses.replace(handover.tls, certificate=content)
    handover = dataclasses.replace(handover, tls=tls, factory=name, listeners=listeners)

    assert decode_handover(encode_handover(handover)) == handover


@given(st.integers(0, 2000))
def test_half_a_handover_is_none(length: int) -> None:
    document = encode_handover(make_handover())

    with pytest.raises(ValueError, match=r".*"):
        decode_handover(document[: min(length, len(document) - 1)])


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        ["Popen", {"args": ["true"]}],
        ["Settings", {}],
        ["Handover", ["system", {}]],
        ["Path", "/etc/passwd"],
        ["tuple", []],
    ],
)
def test_document_that_is_no_handover_is_refused(document: object) -> None:
    with pytest.raises((ValueError, AttributeError)):
        decode_handover(orjson.dumps(document))


def test_value_that_no_child_could_read_is_refused_by_the_parent() -> None:
    handover = dataclasses.replace(make_handover(), factory={1, 2})  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="set can't be handed over"):
        encode_handover(handover)
