"""Asking the configured recursive resolvers: absolute names, bounded work, typed errors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from validators import causes
from validators.addresses import Address, Endpoint
from validators.causes import Cause, ValidationFailure
from validators.sockets import Sockets
from validators.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSettings:
    """How to ask. Without ``servers``, those of ``resolv_conf`` are used, and nothing else of it.

    Each of ``rounds`` asks every server once and waits ``timeout`` for it; ``lifetime`` bounds
    a whole lookup, aliases included. ``localhost_names``: ``localhost`` and names below it are
    loopback without being asked (RFC 6761, section 6.3). ``randomize_case`` mixes the case of
    names sent over UDP, which a forger must guess too.
    """

    servers: tuple[Endpoint, ...] = ()
    resolv_conf: Path = Path("/etc/resolv.conf")
    timeout: timedelta = timedelta(seconds=2)
    rounds: int = 2
    lifetime: timedelta = timedelta(seconds=8)
    max_chain: int = 10
    localhost_names: bool = False
    randomize_case: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The addresses of a name, in the order of the answer."""

    name: str
    ipv6: tuple[Address, ...]
    ipv4: tuple[Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRecords:
    """The TXT records of a name, each with its strings joined."""

    name: str
    values: tuple[bytes, ...]


class DnsError(Exception):
    """A lookup without a usable answer. ``name`` and ``type`` are those that were asked for."""

    cause: ClassVar[Cause]

    def __init__(self, name: str, record_type: str) -> None:
        super().__init__(f"{record_type} {name}: {self.cause.code}")
        self.name = name
        self.type = record_type

    def as_failure(self) -> ValidationFailure:
        """The failure of a validation that needed the answer."""
        return ValidationFailure(self.cause, name=self.name, type=self.type)


class NameMissing(DnsError):
    """NXDOMAIN: the name, or what it is an alias of, does not exist."""

    cause = causes.DNS_NAME_MISSING


class NoRecords(DnsError):
    """NODATA: the name exists, without records of the type."""

    cause = causes.DNS_NO_ADDRESSES


class Resolver:
    """Looks names up at the configured servers. Names are absolute, whatever they look like."""

    def __init__(self, settings: DnsSettings, sockets: Sockets) -> None:
        self._settings = settings
        self._sockets = sockets

    async def addresses(self, name: str, trace: Trace | None = None) -> Addresses:
        """The A and AAAA records of ``name``, of which one kind may be missing.

        Raises DnsError.
        """
        raise NotImplementedError

    async def txt(self, name: str, trace: Trace | None = None) -> TextRecords:
        """The TXT records of ``name``. Raises DnsError."""
        raise NotImplementedError
