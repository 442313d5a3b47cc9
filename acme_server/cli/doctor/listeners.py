"""Checks of the listeners: whether they can be had, and who reaches them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path

from acme_server.cli.doctor.findings import Finding, error, info, ok, warning
from acme_server.cli.doctor.http import Unreachable, fetch
from acme_server.cli.doctor.ports import find_listener, is_free, reachable
from acme_server.cli.doctor.site import Site
from acme_server.config.values import Endpoint, NetworkPolicyMode, TlsMode

_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_STATUS = Path("/proc/self/status")
_CAP_NET_BIND_SERVICE = 10
_GUARDED = tuple(
    ip_network(text) for text in ("127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10")
)


def check_ports(site: Site) -> Iterator[Finding]:
    """Each port is free, or it is this server that listens there."""
    running = is_running(site)
    for name, endpoint in _listeners(site).items():
        try:
            taken = not is_free(endpoint)
        except PermissionError:
            continue  # check_privileged_ports says more
        except OSError as failure:
            yield error(
                f"{name}: can't listen on {endpoint}: {failure.strerror}",
                f"Set {name} to an address of this machine.",
            )
            continue
        if not taken:
            yield ok(f"{name}: {endpoint} is free")
        elif running:
            yield ok(f"{name}: {endpoint} is in use, by this server")
        else:
            yield error(
                f"{name}: {endpoint} is taken{_by_whom(endpoint)}", f"Stop it, or set {name}."
            )


def check_privileged_ports(site: Site) -> Iterator[Finding]:
    """We may listen on ports below 1024 where that is asked for."""
    first = int(_UNPRIVILEGED.read_text(encoding="ascii"))
    low = {name: place for name, place in _listeners(site).items() if place.port < first}
    if not low:
        yield ok("no listener needs a privileged port")
    elif os.geteuid() == 0 or _has_capability():
        yield ok(f"{', '.join(low)} may use a privileged port")
    else:
        for name, endpoint in low.items():
            yield error(
                f"{name}: port {endpoint.port} is privileged, and this account may not use it",
                "Give the service AmbientCapabilities=CAP_NET_BIND_SERVICE, use a port from "
                f"{first} up behind a proxy, or run the doctor as the server's account.",
            )


def check_exposure(site: Site) -> Iterator[Finding]:
    """What is not meant for the public is not open to it."""
    server = site.settings.server
    is_quiet = True
    if not server.ops_listen.is_loopback:
        is_quiet = False
        yield info(
            f"server.ops_listen ({server.ops_listen}) is reached from other machines",
            "Keep its port closed to the public: metrics tell what you issue.",
        )
    if server.tls is TlsMode.OFF and not server.listen.is_loopback:
        is_quiet = False
        yield warning(
            f"server.listen ({server.listen}) is plain HTTP and reached from other machines",
            "Let only the proxy reach it (127.0.0.1, or a firewall), or set server.tls to auto.",
        )
    if server.tls is TlsMode.OFF and not server.trusted_proxies:
        is_quiet = False
        yield info(
            "server.tls is off, and no proxy is trusted: all clients seem to come from the proxy",
            "Name its network in server.trusted_proxies.",
        )
    if is_quiet:
        yield ok("nothing is open that should not be")


def check_allowed_networks(site: Site) -> Iterator[Finding]:
    """Validation can't be led to where it has no business."""
    settings = site.settings
    opened = [
        str(network)
        for network in settings.validation.allowed_networks
        if any(
            network.version == guarded.version and network.subnet_of(guarded)  # type: ignore[arg-type]
            for guarded in _GUARDED
        )
    ]
    if opened and not settings.lab:
        yield warning(
            f"validation.allowed_networks opens {', '.join(opened)}: an applicant can have this "
            "machine's own services contacted",
            "Remove it outside of laboratories.",
        )
    elif opened:
        yield ok(f"lab mode: {', '.join(opened)} may be validated")
    elif settings.validation.network_policy is NetworkPolicyMode.INTERNAL:
        yield ok("private addresses may be validated, loopback and link-local ones not")
    else:
        yield ok("only public addresses and validation.allowed_networks may be validated")


def is_running(site: Site) -> bool:
    """Whether the server runs here: its ops listener answers as ours does."""
    place = reachable(site.settings.server.ops_listen)
    try:
        return fetch(f"http://{place}/healthz", site.seconds).status == 200
    except Unreachable:
        return False


def _listeners(site: Site) -> Mapping[str, Endpoint]:
    server = site.settings.server
    return {
        "server.listen": server.listen,
        "server.status_listen": server.status_listen,
        "server.ops_listen": server.ops_listen,
    }


def _by_whom(endpoint: Endpoint) -> str:
    found = find_listener(endpoint.port)
    return "" if found is None else f" by process {found[0]} ({found[1]})"


def _has_capability() -> bool:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_BIND_SERVICE & 1)
    return False
