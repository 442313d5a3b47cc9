"""Unbound as the resolver: three transports, and DNSSEC as a real validator sees it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import dns.dnssec
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from support.encrypteddns import NAME, Authority
from support.environments import system_command
from support.records import closed_port
from validators.addresses import Endpoint
from validators.dnserrors import Bogus, DnsError, NameMissing, NoRecords, NotAuthentic
from validators.nameservers import (
    HttpsServer,
    ResolverTrust,
    Server,
    TlsServer,
    resolver_trust,
)
from validators.resolver import DnsSettings, Resolver
from validators.sockets import Sockets
from validators.trace import Trace

pytestmark = pytest.mark.full

_ZONE = """
@ 300 SOA ns h 1 3600 600 86400 300
@ 300 NS ns
@ 300 CAA 0 issue "ca.example"
ns 300 A 127.0.0.1
a 300 TXT "good"
"""
_CONFIG = """
server:
  interface: 127.0.0.1@{plain}
  interface: 127.0.0.1@{tls}
  interface: 127.0.0.1@{https}
  tls-port: {tls}
  https-port: {https}
  tls-service-key: "{folder}/key.pem"
  tls-service-pem: "{folder}/certificate.pem"
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/pid"
  use-syslog: no
  do-daemonize: no
  verbosity: 1
  ede: yes
  module-config: "validator iterator"
  trust-anchor-file: "{folder}/anchors"
  local-zone: "unsigned.example." static
  local-data: 'a.unsigned.example. TXT "good"'
"""
_AUTH_ZONE = """
auth-zone:
  name: "{name}."
  zonefile: "{folder}/{name}.zone"
  for-downstream: no
  for-upstream: yes
  fallback-enabled: no
"""


@dataclass(frozen=True)
class Unbound:
    """A running resolver, by the ways in which it can be asked."""

    servers: dict[str, Server]
    trust: ResolverTrust

    def resolver(self, transport: str) -> Resolver:
        """Asks it, and demands DNSSEC."""
        settings = DnsSettings(
            servers=(self.servers[transport],), trust=self.trust, demands_authentic=True
        )
        return Resolver(settings, Sockets())


def sign(folder: Path, name: str, expires: timedelta) -> str:
    """Write a signed zone; its trust anchor."""
    zone = dns.zone.from_text(_ZONE, origin=f"{name}.", relativize=False)
    key = ec.generate_private_key(ec.SECP256R1())
    dnskey = dns.dnssec.make_dnskey(key.public_key(), "ECDSAP256SHA256", flags=257)
    now = datetime.now(UTC)
    dns.dnssec.sign_zone(
        zone, keys=[(key, dnskey)], inception=now - timedelta(days=30), expiration=now + expires
    )
    zone.to_file(str(folder / f"{name}.zone"), relativize=False)
    return f"{name}. IN DNSKEY {dnskey.to_text()}\n"


@pytest.fixture(scope="module")
def unbound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unbound]:
    """Unbound with a signed zone, one whose signatures have expired, and an unsigned one."""
    command = system_command("unbound", package="unbound")
    folder = tmp_path_factory.mktemp("unbound")
    authority = Authority(folder)
    certificate = authority.ca.issue_cert(NAME)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (folder / "certificate.pem").write_bytes(chain)
    zones = {"signed.example": timedelta(days=10), "expired.example": timedelta(days=-10)}
    anchors = "".join(sign(folder, name, expires) for name, expires in zones.items())
    (folder / "anchors").write_text(anchors)
    ports = {transport: closed_port() for transport in ("plain", "tls", "https")}
    config = _CONFIG.format(folder=folder, **ports)
    config += "".join(_AUTH_ZONE.format(folder=folder, name=name) for name in zones)
    (folder / "unbound.conf").write_text(config)
    at = {name: Endpoint(ip_address("127.0.0.1"), port) for name, port in ports.items()}
    servers: dict[str, Server] = {
        "plain": at["plain"],
        "tls": TlsServer(at["tls"], NAME),
        "https": HttpsServer(at["https"], NAME, "/dns-query"),
    }
    words = [command, "-d", "-c", folder / "unbound.conf"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "start of service" in line:
                break
        assert process.poll() is None, said
        yield Unbound(servers, resolver_trust(authority.path))
        process.terminate()


transports = pytest.mark.parametrize("transport", ["plain", "tls", "https"])


@transports
async def test_records_of_a_signed_zone_are_found(unbound: Unbound, transport: str) -> None:
    resolver = unbound.resolver(transport)

    text = await resolver.txt("a.signed.example", Trace())
    caa = await resolver.caa("signed.example", Trace())

    assert text.values == (b"good",)
    assert [str(record) for record in caa.values] == ['0 issue "ca.example"']


@transports
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("a.signed.example", NoRecords),
        ("missing.signed.example", NameMissing),
        ("expired.example", Bogus),
        ("a.unsigned.example", NotAuthentic),
    ],
)
async def test_absence_is_authenticated_and_the_rest_is_no_answer(
    unbound: Unbound, transport: str, name: str, error: type[DnsError]
) -> None:
    with pytest.raises(DnsError) as raised:
        await unbound.resolver(transport).caa(name, Trace())

    assert type(raised.value) is error
