"""Settings that name a place: endpoints, networks, URLs, paths, domain names."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from acme_server.config.kinds import Scalar
from acme_server.config.values import (
    AutoMasterKey,
    EncryptedResolver,
    Endpoint,
    EnvironmentMasterKey,
    FileMasterKey,
    MasterKeySource,
    Network,
    Resolver,
)

EMBEDDED = "embedded"
ENVIRONMENT_PREFIX = "ACME_SERVER__"
_DNS_PORT = 53
_ENCRYPTED_PORTS = {"tls": 853, "https": 443}
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


class EndpointText(Scalar[Endpoint]):
    """``127.0.0.1:14000`` or ``[::1]:14000``; names are refused, since they mean several."""

    form = "address:port"

    def parse(self, text: str) -> Endpoint:
        """The endpoint."""
        host, colon, port = text.rpartition(":")
        if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
            raise ValueError(f'"{text}" must end with a port, such as 127.0.0.1:14000')
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f'write an IPv6 address in brackets: "[{host}]:{port}"')
        if host in ("", "*"):
            raise ValueError(f'name the address: 0.0.0.0:{port}, or "[::]:{port}" for IPv6 as well')
        if host == "localhost":
            raise ValueError(f"write the address that is meant: 127.0.0.1:{port}")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f'"{host}" is no IP address') from None
        if getattr(address, "scope_id", None):
            raise ValueError("leave the zone of the address (%…) out")
        return Endpoint(address, int(port))


class ResolverText(Scalar[Resolver]):
    """A DNS server: ``10.0.0.53``, ``10.0.0.53:5353``, ``tls://9.9.9.9#dns.quad9.net`` or
    ``https://9.9.9.9/dns-query#dns.quad9.net``. What follows ``#`` is the name that its
    certificate must be for. Names are no addresses: they would have to be looked up first."""

    form = "address[:port] | tls://address[:port][#name] | https://address[:port]/path[#name]"

    def parse(self, text: str) -> Resolver:
        """The server."""
        if "://" in text:
            return _parse_encrypted(text)
        try:
            alone = ipaddress.ip_address(text)
        except ValueError:
            return EndpointText().parse(text)
        return EndpointText().parse(str(Endpoint(alone, _DNS_PORT)))


class NetworkText(Scalar[Network]):
    """``10.0.0.0/8``; a single address is a network of its own."""

    form = "network, such as 10.0.0.0/8"

    def parse(self, text: str) -> Network:
        """The network; bits beyond its prefix are refused, since they hide a mistake."""
        try:
            return ipaddress.ip_network(text)
        except ValueError:
            pass
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f'"{text}" is no network, such as 10.0.0.0/8 or fd00::/8') from None
        raise ValueError(f'"{text}" has bits set beyond its prefix, did you mean "{network}"?')


class OriginText(Scalar[str]):
    """``https://acme.example.org``: a URL with nothing after the host and the port."""

    def __init__(self, *schemes: str) -> None:
        self._schemes = schemes
        self.form = f"{' or '.join(schemes)} URL without a path"

    def parse(self, text: str) -> str:
        """The origin in lower case, without a slash at its end and without a default port."""
        parts = _split(text)
        if parts.scheme not in self._schemes:
            raise ValueError(f'"{text}" must start with {" or ".join(map(_scheme, self._schemes))}')
        if parts.username is not None or parts.password is not None:
            raise ValueError("must not contain a user or a password")
        if parts.path.strip("/") or parts.query or parts.fragment or text.endswith(("?", "#")):
            raise ValueError(
                f"must end after the host and the port: {parts.scheme}://{parts.netloc}"
            )
        host = _check_host(parts)
        port = parts.port
        if port == 0:
            raise ValueError("0 is no port")
        is_default = port in (None, {"http": 80, "https": 443}[parts.scheme])
        return f"{parts.scheme}://{host}" + ("" if is_default else f":{port}")


class PageUrl(Scalar[str]):
    """The URL of a page for people."""

    form = "http or https URL"

    def parse(self, text: str) -> str:
        """The URL as it is written."""
        parts = _split(text)
        if parts.scheme not in ("http", "https") or not text.isascii() or " " in text:
            raise ValueError(f'"{text}" must be an http:// or https:// URL in ASCII')
        _check_host(parts)
        return text


class DatabaseUrl(Scalar[str]):
    """A libpq-style URL of PostgreSQL. Messages never repeat it: it holds a password."""

    def __init__(self, *, or_embedded: bool) -> None:
        self._or_embedded = or_embedded
        url = "postgresql://user:password@host:5432/database"
        self.form = f"{EMBEDDED} | {url}" if or_embedded else url

    def parse(self, text: str) -> str:
        """The URL as it is written."""
        if self._or_embedded and text == EMBEDDED:
            return text
        try:
            parts = _split(text)
        except ValueError:
            raise ValueError(f"is no URL such as {self.form}") from None
        if parts.scheme not in ("postgresql", "postgres"):
            raise ValueError(f"must be {self.form}")
        if not unquote(parts.path).strip("/"):
            raise ValueError("must name the database after the host: postgresql://host/database")
        if not parts.hostname and "host" not in parse_qs(parts.query):
            raise ValueError("must name the host: postgresql://host/database")
        if parts.fragment:
            raise ValueError("has a # in it; in a user or password, write it as %23")
        return text


class PathText(Scalar[Path]):
    """The path of a file or directory; a relative one starts where the command is run."""

    form = "path"

    def parse(self, text: str) -> Path:
        """The path."""
        if not text or not text.isprintable():
            raise ValueError("must be a path")
        return Path(text)


class DomainName(Scalar[str]):
    """A DNS name in ASCII, of any number of labels."""

    form = "DNS name"

    def parse(self, text: str) -> str:
        """The name in lower case."""
        name = text.lower()
        if name.startswith("*."):
            raise ValueError(f'leave the "*." out: "{name[2:]}" covers all names below it')
        if len(name) > 253 or not all(map(_LABEL.fullmatch, name.split("."))):
            raise ValueError(f'"{text}" is no DNS name in ASCII, such as corp.example.org')
        return name


class MasterKeyText(Scalar[MasterKeySource]):
    """Where the master key is."""

    form = "auto | file:PATH | env:NAME"

    def parse(self, text: str) -> MasterKeySource:
        """The source; a key in place of a source is refused without being repeated."""
        kind, colon, rest = text.partition(":")
        if text == "auto":
            return AutoMasterKey()
        if colon and kind == "vault":
            raise ValueError("vault: is not available in this version; use file:PATH or env:NAME")
        if colon and kind == "file":
            if not rest:
                raise ValueError("must name the file: file:/etc/acme-server/master_key")
            return FileMasterKey(Path(rest))
        if colon and kind == "env":
            if not _VARIABLE.fullmatch(rest) or rest.startswith(ENVIRONMENT_PREFIX):
                raise ValueError(
                    "must name an environment variable that is no setting: env:MASTER_KEY"
                )
            return EnvironmentMasterKey(rest)
        raise ValueError(f"must be {self.form}; the key itself must not stand in the configuration")


def _parse_encrypted(text: str) -> EncryptedResolver:
    parts = _split(text)
    if parts.scheme not in _ENCRYPTED_PORTS:
        raise ValueError(f'"{text}" must be {ResolverText.form}')
    if parts.username is not None or parts.password is not None or parts.query:
        raise ValueError("must not contain a user, a password or a query")
    is_https = parts.scheme == "https"
    if is_https != (parts.path not in ("", "/")):
        raise ValueError(
            "must name the path: https://9.9.9.9/dns-query" if is_https else "must have no path"
        )
    if not re.fullmatch(r"[!-~]*", parts.path):
        raise ValueError("must have a path in ASCII, without blanks")
    try:
        address = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        raise ValueError(
            f"name the address, and the name after it: {parts.scheme}://9.9.9.9#{parts.hostname}, "
            "since a name would have to be looked up first"
        ) from None
    if getattr(address, "scope_id", None):
        raise ValueError("leave the zone of the address (%…) out")
    name = DomainName().parse(parts.fragment) if parts.fragment else str(address)
    port = _ENCRYPTED_PORTS[parts.scheme] if parts.port is None else parts.port
    if port == 0:
        raise ValueError("0 is no port")
    return EncryptedResolver(Endpoint(address, port), name, parts.path if is_https else "")


def host_of(origin: str) -> str:
    """The host of an origin, an IPv6 address without its brackets."""
    return urlsplit(origin).hostname or ""


def is_local(host: str) -> bool:
    """Whether the host is this machine for whoever uses it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def redact_url(url: str) -> str:
    """A database's URL without its password, wherever that stands."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    netloc = parts.netloc
    credentials, at, place = netloc.rpartition("@")
    if at and ":" in credentials:
        netloc = f"{credentials.partition(':')[0]}:***@{place}"
    query = re.sub(r"((?:^|&)(?:password|passfile|sslpassword)=)[^&]*", r"\1***", parts.query)
    return parts._replace(netloc=netloc, query=query).geturl()


def _split(text: str) -> SplitResult:
    """Like urlsplit, but control characters and bad ports are errors instead of being dropped."""
    if not text.isprintable():
        raise ValueError("must be a URL without control characters")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"is no URL: {error}") from None
    return parts


def _check_host(parts: SplitResult) -> str:
    """The host as it stands in a URL."""
    host = parts.hostname or ""
    if parts.netloc.rpartition("@")[2].startswith("["):
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f'"{host}" is no IPv6 address') from None
        if address.scope_id is not None:
            raise ValueError("leave the zone of the address (%…) out")
        return f"[{address}]"
    if not host or len(host) > 253 or not all(map(_LABEL.fullmatch, host.split("."))):
        raise ValueError(f'"{host}" is no host name in ASCII')
    return host


def _scheme(name: str) -> str:
    return f"{name}://"
