"""URLs of http-01: the first one, and those that redirects lead to (RFC 3986, strictly)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from validators.addresses import Address

MAX_TARGET = 2000
MAX_NAME = 253
DEFAULT_PORTS = {"http": 80, "https": 443}

_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_PARTS = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(?:#.*)?")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
# A last label like this makes the host an IPv4 address to many programs (WHATWG URL, 3.5).
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


class UrlRefused(Exception):
    """A redirect's location that is not followed; the text says why, without quoting it."""


class SlashMissing(UrlRefused):
    """The host name runs into the path, as in ``http://example.org.well-known/``."""

    def __init__(self, host: str) -> None:
        super().__init__("its host ends in the start of the path")
        self.host = host


@dataclass(frozen=True, slots=True)
class Url:
    """An http or https URL. ``target`` is the path and the query, as in a request line."""

    scheme: str
    host: str | Address
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port as in a Host header: without the scheme's default port."""
        host = f"[{self.host}]" if isinstance(self.host, IPv6Address) else str(self.host)
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def resolve_location(base: Url, location: bytes) -> Url:
    """Where a redirect from ``base`` leads. Raises UrlRefused.

    A fragment is dropped. User information, other schemes, characters that no URL has, hosts
    that are neither a name nor an address in its usual form, and long paths are refused.
    """
    scheme, authority, path, query = _split(location)
    if authority is None:
        if scheme is not None:
            raise UrlRefused("it has no host")
        return Url(base.scheme, base.host, base.port, _join(base.target, path, query))
    scheme = (scheme or base.scheme).lower()
    if scheme not in DEFAULT_PORTS:
        raise UrlRefused("its scheme is neither http nor https")
    host, port = _parse_authority(authority, DEFAULT_PORTS[scheme])
    return Url(scheme, host, port, _join("/", path or "/", query))


def parse_host(text: str) -> str | Address:
    """A host name in lower case without the final dot, or an address. Raises UrlRefused."""
    if text.startswith("["):
        return _parse_ipv6(text)
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            return IPv4Address(name)
        except AddressValueError:
            raise UrlRefused("its host is an address in an unusual form") from None
    if labels[-1] == "well-known":
        raise SlashMissing(name[:MAX_NAME])
    if len(name) > MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused("its host is not a valid name")
    return name


def _split(location: bytes) -> tuple[str | None, str | None, str, str | None]:
    """Scheme, authority, path, and query with its question mark."""
    text = location.decode("latin-1")
    if not text:
        raise UrlRefused("it is empty")
    if not _CHARACTERS.fullmatch(text):
        raise UrlRefused("it has characters that a URL can't have")
    parts = _PARTS.fullmatch(text)
    assert parts is not None, "the pattern matches every line"
    return parts[1], parts[2], parts[3], parts[4]


def _parse_authority(authority: str, default_port: int) -> tuple[str | Address, int]:
    if "@" in authority:
        raise UrlRefused("it has user information")
    if authority.startswith("["):
        host, bracket, rest = authority.partition("]")
        host += bracket
        if rest and not rest.startswith(":"):
            raise UrlRefused("its host is not a valid address")
    else:
        host, colon, rest = authority.partition(":")
        rest = colon + rest
    port = rest[1:]
    if not host:
        raise UrlRefused("it has no host")
    if port and not (_PORT.fullmatch(port) and 0 < int(port) < 65536):
        raise UrlRefused("its port is not valid")
    return parse_host(host), int(port) if port else default_port


def _parse_ipv6(text: str) -> IPv6Address:
    try:
        if not text.endswith("]") or "%" in text:
            raise AddressValueError
        return IPv6Address(text[1:-1])
    except AddressValueError:
        raise UrlRefused("its host is not a valid address") from None


def _join(base_target: str, path: str, query: str | None) -> str:
    """The target of a reference (RFC 3986, section 5.2.2) without scheme and authority."""
    base_path, mark, base_query = base_target.partition("?")
    if not path:
        path, query = base_path, mark + base_query if query is None else query
    elif not path.startswith("/"):
        path = base_path[: base_path.rindex("/") + 1] + path
    target = _without_dots(path) + (query or "")
    if len(target) > MAX_TARGET:
        raise UrlRefused(f"its path is longer than {MAX_TARGET} characters")
    return target


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4; ``path`` begins with a slash."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
