"""What settings are made of, beyond numbers, texts and durations."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An address and a port, to listen on or to send to."""

    address: IPv4Address | IPv6Address
    port: int

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"{self.port} is no port")

    @property
    def host(self) -> str:
        """The address as the socket functions take it."""
        return str(self.address)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.address.is_loopback

    def overlaps(self, other: Endpoint) -> bool:
        """Whether both can't be listened on at the same time: ``::`` takes IPv4's ports, too."""
        return self.port == other.port and (
            self.address == other.address
            or self.address.is_unspecified
            or other.address.is_unspecified
        )

    def __str__(self) -> str:
        return (
            f"[{self.address}]:{self.port}"
            if self.address.version == 6
            else f"{self.address}:{self.port}"
        )


@dataclass(frozen=True, slots=True)
class EncryptedResolver:
    """A DNS server that is asked over TLS or, if it has a ``path``, over HTTPS; ``name`` is what
    its certificate must be for, a domain name or the address."""

    endpoint: Endpoint
    name: str
    path: str = ""

    def __str__(self) -> str:
        scheme, port = ("https", 443) if self.path else ("tls", 853)
        address = self.endpoint.address
        host = f"[{address}]" if address.version == 6 else str(address)
        place = host if self.endpoint.port == port else str(self.endpoint)
        fragment = "" if self.name == str(address) else f"#{self.name}"
        return f"{scheme}://{place}{self.path}{fragment}"


Resolver: TypeAlias = Endpoint | EncryptedResolver


class DnssecMode(enum.StrEnum):
    """RESOLVER demands of the resolvers that they vouch for every answer by DNSSEC."""

    OFF = "off"
    RESOLVER = "resolver"


class TlsMode(enum.StrEnum):
    """AUTO: the server's own CA issues its certificate. OFF: plain HTTP, for a proxy in front."""

    AUTO = "auto"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """A certificate (PEM, the server's own first, then its chain) and its unencrypted key (PEM)."""

    certificate: Path
    key: Path


Tls: TypeAlias = TlsMode | TlsFiles


@dataclass(frozen=True, slots=True)
class AutoMasterKey:
    """The 0600 file ``master_key`` in the data directory, made at the first start."""

    def __str__(self) -> str:
        return "auto"


@dataclass(frozen=True, slots=True)
class FileMasterKey:
    """A file that holds the key's text."""

    path: Path

    def __str__(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True, slots=True)
class EnvironmentMasterKey:
    """An environment variable that holds the key's text."""

    name: str

    def __str__(self) -> str:
        return f"env:{self.name}"


MasterKeySource: TypeAlias = AutoMasterKey | FileMasterKey | EnvironmentMasterKey


class MigrateMode(enum.StrEnum):
    """Whether the server migrates the database when it starts, or refuses one that is behind."""

    AUTO = "auto"
    MANUAL = "manual"


class NetworkPolicyMode(enum.StrEnum):
    """INTERNAL lets private addresses be validated, PUBLIC refuses them."""

    INTERNAL = "internal"
    PUBLIC = "public"


class CaaMode(enum.StrEnum):
    """OFF asks for no CAA records, ADVISORY notes what they say, ENFORCE obeys them."""

    OFF = "off"
    ADVISORY = "advisory"
    ENFORCE = "enforce"


class ChallengeType(enum.StrEnum):
    """The ways to prove control that can be served."""

    HTTP_01 = "http-01"
    DNS_01 = "dns-01"
    TLS_ALPN_01 = "tls-alpn-01"
    DNS_ACCOUNT_01 = "dns-account-01"
    DNS_PERSIST_01 = "dns-persist-01"


class KeyType(enum.StrEnum):
    """The keys that a new CA may get."""

    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"


class LogLevel(enum.StrEnum):
    """The least important events that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    """JSON: one object per line. CONSOLE: for eyes."""

    JSON = "json"
    CONSOLE = "console"
