"""certbot proves control by dns-01; a real DNS server on loopback answers."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.lab import LabServer
from support.certbot import Certbot, Lineage
from support.dns import DnsServer, Question, records
from support.inspection import names_in, serial_of, verify_chain


@dataclass(frozen=True)
class Zone:
    """Names whose TXT records are the lines of files that certbot's hooks write and remove."""

    dns: DnsServer
    folder: Path

    def serve(self, name: str) -> None:
        """Answer for the challenge of ``name`` with what its file has at that moment."""

        def handle(question: Question) -> Sequence[bytes] | None:
            file = self.folder / name
            lines = file.read_text("ascii").split() if file.exists() else []
            owner = f"_acme-challenge.{name}."
            return records(*(f"{owner} TXT {line}" for line in lines))(question)

        self.dns.script(f"_acme-challenge.{name}", "TXT", handle)

    @property
    def options(self) -> list[str]:
        """certbot's options for the manual plugin with hooks that write the zone."""
        file = f"{shlex.quote(str(self.folder))}/$CERTBOT_DOMAIN"
        return [
            *("--manual", "--preferred-challenges", "dns"),
            *("--manual-auth-hook", f'echo "$CERTBOT_VALIDATION" >> {file}'),
            *("--manual-cleanup-hook", f"rm -f {file}"),
        ]


@pytest.fixture
async def zone(tmp_path: Path) -> AsyncIterator[Zone]:
    folder = tmp_path / "zone"
    folder.mkdir()
    async with DnsServer() as dns:
        yield Zone(dns, folder)


@pytest.fixture
async def resolving_server(zone: Zone) -> AsyncIterator[LabServer]:
    """A server that asks the zone's DNS server."""
    endpoint = zone.dns.endpoint
    settings = {"ACME_SERVER__VALIDATION__RESOLVERS": f'["{endpoint}"]'}
    server = LabServer(settings)
    await asyncio.to_thread(server.__enter__)
    yield server
    await asyncio.to_thread(server.__exit__, None, None, None)


@pytest.fixture
def dns_certbot(certbot_command: Path, resolving_server: LabServer, tmp_path: Path) -> Certbot:
    """certbot with an account and folders of its own."""
    roots = resolving_server.roots
    return Certbot(certbot_command, resolving_server.directory_url, roots, tmp_path / "certbot")


async def test_wildcard_and_its_base_are_certified_and_renewed(
    zone: Zone, dns_certbot: Certbot
) -> None:
    zone.serve("example.test")
    names = ("-d", "example.test", "-d", "*.example.test")

    lineage: Lineage = await asyncio.to_thread(
        dns_certbot.certonly, *zone.options, *names, name="wild"
    )

    verify_chain(lineage.certificate, lineage.chain, dns_certbot.roots)
    assert names_in(lineage.certificate) == ["*.example.test", "example.test"]
    first = serial_of(lineage.certificate)
    renewal = await asyncio.to_thread(
        dns_certbot.run, "renew", "--force-renewal", "--no-random-sleep-on-renew"
    )
    assert renewal.returncode == 0, renewal.stdout
    assert serial_of(lineage.certificate) != first


async def test_wrong_record_is_refused_with_its_reason(zone: Zone, dns_certbot: Certbot) -> None:
    zone.serve("example.test")
    (zone.folder / "example.test").write_text("wrong\n", "ascii")

    result = await asyncio.to_thread(
        dns_certbot.run,
        "certonly",
        "--agree-tos",
        "--register-unsafely-without-email",
        *("--manual", "--preferred-challenges", "dns", "--manual-auth-hook", "true"),
        *("-d", "example.test"),
    )

    assert result.returncode != 0
    assert "_acme-challenge.example.test" in result.stdout
