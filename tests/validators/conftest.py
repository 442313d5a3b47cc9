"""A DNS server and validators that ask it, on both event loops."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from support.dns import DnsServer
from support.validation import NAME, Lab

_LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops, unless CI chooses one: they differ in the errors of broken connections."""
    name = os.environ.get("ACME_SERVER_TEST_LOOP")
    return {name: _LOOPS[name]} if name else _LOOPS


@pytest.fixture
async def dns_server() -> AsyncIterator[DnsServer]:
    """A DNS server that knows the usual target's address."""
    async with DnsServer() as server:
        server.add(NAME, "A", "127.0.0.2")
        yield server


@pytest.fixture
def lab(dns_server: DnsServer) -> Lab:
    """Validators that ask ``dns_server``."""
    return Lab(dns=(dns_server.endpoint,))
