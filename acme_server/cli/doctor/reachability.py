"""Checks of what others see of us, and we of them: URLs, certificates, CRLs, resolvers."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import struct
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from acme_server.cli.doctor.certificates import fault_of_certificate
from acme_server.cli.doctor.findings import Finding, error, info, ok, warning
from acme_server.cli.doctor.http import Answer, Unreachable, fetch
from acme_server.cli.doctor.listeners import is_running
from acme_server.cli.doctor.site import Site
from acme_server.config.addresses import host_of, is_local
from acme_server.config.values import EncryptedResolver, Endpoint, Resolver

_RESOLV_CONF = Path("/etc/resolv.conf")
_DNS_PORT = 53
# Service certificates are renewed long before this is left of them.
_LEAST_LEFT = timedelta(days=3)


def check_external_url(site: Site) -> Iterator[Finding]:
    """Clients reach us under the external URL, and it is us whom they reach."""
    server = site.settings.server
    url = server.external_url
    if is_local(host_of(url)) and not server.listen.is_loopback and not site.settings.lab:
        yield warning(
            f"server.external_url ({url}) is this machine's own name for itself, and others reach "
            f"server.listen ({server.listen})",
            "Set server.external_url to the URL that clients use.",
        )
    try:
        answer = fetch(f"{url}/directory", site.seconds)
    except Unreachable as failure:
        yield _unreachable(site, f"{url}/directory: {failure}", "server.external_url")
        return
    directory = _parse_object(answer)
    named = directory.get("newNonce")
    if answer.status != 200 or not isinstance(named, str):
        yield error(
            f"{url}/directory answers {answer.status}, and no ACME directory",
            "See that the name and the proxy lead to server.listen of this server.",
        )
    elif not named.startswith(f"{url}/"):
        yield error(
            f"{url}/directory is answered by another server, which calls itself {named}",
            "Set server.external_url alike on all replicas, and see where the name leads.",
        )
    else:
        yield ok(f"{url}/directory is ours")
    if answer.certificate is not None:
        yield from _check_certificate(site, answer.certificate)


def check_status_url(site: Site) -> Iterator[Finding]:
    """Everyone reaches CRLs and CA certificates under the URL that certificates carry."""
    url = f"{site.settings.server.status_url}/roots.pem"
    try:
        answer = fetch(url, site.seconds)
    except Unreachable as failure:
        yield _unreachable(site, f"{url}: {failure}", "server.status_url")
        return
    if answer.status != 200 or b"BEGIN CERTIFICATE" not in answer.body:
        yield error(
            f"{url} answers {answer.status}, and no certificates",
            "See that the name and the proxy lead to server.status_listen of this server.",
        )
    elif site.database is not None and not _holds(answer.body, site.database.roots):
        yield error(
            f"{url} serves the roots of another CA",
            "See where the name leads: certificates send everyone there.",
        )
    else:
        yield ok(f"{url} serves our roots")


def check_published_crls(site: Site) -> Iterator[Finding]:
    """The CRLs that others get are fresh."""
    from cryptography import x509

    stale = []
    crls = site.get_database().crls
    for crl in crls:
        url = f"{site.settings.server.status_url}/crl/{crl.issuer}/{crl.shard}.crl"
        try:
            answer = fetch(url, site.seconds)
        except Unreachable:
            return  # check_status_url says more
        try:
            published = x509.load_der_x509_crl(answer.body)
        except ValueError:
            stale.append(f"{url} answers {answer.status}, and no CRL")
            continue
        next_update = published.next_update_utc
        if next_update is None or next_update <= site.now():
            stale.append(f"{url} is out of date")
    for text in stale:
        yield error(text, "See whether a cache on the way keeps it for too long.")
    if crls and not stale:
        yield ok(f"{len(crls)} CRLs are served, and fresh")


def check_resolvers(site: Site) -> Iterator[Finding]:
    """The DNS servers that validation asks do answer."""
    validation = site.settings.validation
    configured = validation.resolvers
    servers: tuple[Resolver, ...] = configured or tuple(_system_servers())
    origin = "validation.resolvers" if configured else str(_RESOLV_CONF)
    yield from _check_servers(site, servers, origin)
    for zone, own in validation.zone_resolvers:
        yield from _check_servers(site, own, f"validation.zone_resolvers, {zone}")


def _check_servers(site: Site, servers: tuple[Resolver, ...], origin: str) -> Iterator[Finding]:
    ca = site.settings.validation.resolver_ca
    silent = [server for server in servers if not _answers(server, ca, site.seconds)]
    for server in silent:
        judge = error if len(silent) == len(servers) else warning
        yield judge(
            f"the DNS server {server} ({origin}) does not answer",
            "Name servers that do in validation.resolvers.",
        )
    if not silent:
        yield ok(f"{', '.join(map(str, servers))} answer")


def _check_certificate(site: Site, der: bytes) -> Iterator[Finding]:
    from cryptography import x509

    host = host_of(site.settings.server.external_url)
    certificate = x509.load_der_x509_certificate(der)
    left = certificate.not_valid_after_utc - site.now()
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    if (fault := fault_of_certificate(certificate, host, site.now())) is not None:
        yield error(f"the certificate at {host} {fault}", "Renew it; clients refuse it.")
    elif left < _LEAST_LEFT:
        yield warning(
            f"the certificate at {host} expires on {until}",
            "It should have been renewed: see job_failed in the log, or renew the files.",
        )
    else:
        yield ok(f"the certificate at {host} is valid until {until}")


def _unreachable(site: Site, text: str, key: str) -> Finding:
    """A stopped server can't answer; that is no fault of the URL."""
    if not is_running(site):
        return info(f"{text} (the server does not run here)")
    return error(text, f"Correct {key}, or the name, the proxy or the firewall before it.")


def _parse_object(answer: Answer) -> dict[str, Any]:
    try:
        document = json.loads(answer.body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _holds(pem: bytes, roots: tuple[bytes, ...]) -> bool:
    """Whether the PEM text has all of ``roots``, given as DER."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    served = {item.public_bytes(Encoding.DER) for item in x509.load_pem_x509_certificates(pem)}
    return served.issuperset(roots)


def _system_servers() -> Iterator[Endpoint]:
    import ipaddress

    for line in _RESOLV_CONF.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            try:
                yield Endpoint(ipaddress.ip_address(words[1].partition("%")[0]), _DNS_PORT)
            except ValueError:
                continue


def _answers(server: Resolver, ca: Path | None, seconds: float) -> bool:
    """Whether ``server`` answers a question for the name servers of the root, in any way; of one
    that is asked over TLS, whether it proves who it is."""
    if isinstance(server, EncryptedResolver):
        return _is_trusted(server, ca, seconds)
    number = secrets.randbits(16)
    query = struct.pack(">HHHHHHBHH", number, 0x0100, 1, 0, 0, 0, 0, 2, 1)
    family = socket.AF_INET6 if server.address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as channel:
            channel.settimeout(seconds)
            channel.connect((server.host, server.port))
            channel.send(query)
            answer = channel.recv(4096)
    except OSError:
        return False
    return len(answer) >= 12 and answer[:2] == query[:2]


def _is_trusted(server: EncryptedResolver, ca: Path | None, seconds: float) -> bool:
    place = (server.endpoint.host, server.endpoint.port)
    try:
        context = ssl.create_default_context(cafile=ca)
        with (
            socket.create_connection(place, timeout=seconds) as channel,
            context.wrap_socket(channel, server_hostname=server.name),
        ):
            return True
    except OSError:
        return False
