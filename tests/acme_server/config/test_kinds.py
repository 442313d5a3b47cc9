"""How each kind of setting is written, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import MISSING
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_server.config.addresses import (
    DatabaseUrl,
    DomainName,
    EndpointText,
    MasterKeyText,
    NetworkText,
    OriginText,
    PageUrl,
    PathText,
    ResolverText,
    is_local,
    redact_url,
)
from acme_server.config.declaration import Declaration, declarations
from acme_server.config.kinds import (
    Duration,
    Keyed,
    Listed,
    Mapped,
    Size,
    Text,
    parse_duration,
    render_duration,
)
from acme_server.config.settings import Settings
from acme_server.config.values import EncryptedResolver, Endpoint

_ORIGIN = OriginText("https", "http")
_DATABASE = DatabaseUrl(or_embedded=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0s", timedelta(0)),
        ("250ms", timedelta(milliseconds=250)),
        ("10s", timedelta(seconds=10)),
        ("5m", timedelta(minutes=5)),
        ("8h", timedelta(hours=8)),
        ("90d", timedelta(days=90)),
    ],
)
def test_duration_is_a_number_and_a_unit(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "10", "s", "1.5h", "-1s", "+1s", "1 s", " 1s", "1S", "1w", "1y", "1h30m", "1e3s", "٣s",
     "1s\n", "9" * 13 + "d", "999999999999d", "0x1s", "∞"],
)  # fmt: skip
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["999ms", "11s"])
def test_duration_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be 1s to 10s"):
        Duration("1s", "10s").parse(text)


@given(st.integers(min_value=0, max_value=10**11))
def test_rendered_duration_is_read_as_the_same(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)

    assert parse_duration(render_duration(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"), [("8192B", 8192), ("64KiB", 65_536), ("1MiB", 1_048_576)]
)
def test_size_is_a_number_and_a_unit(text: str, expected: int) -> None:
    assert Size("8KiB", "1MiB").parse(text) == expected


@pytest.mark.parametrize("text", ["65536", "64KB", "64kib", "64k", "64 KiB", "0.5MiB", "", "1GiB"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        Size("8KiB", "1MiB").parse(text)


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("127.0.0.1:14000", "127.0.0.1", 14000),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("[::1]:65535", "::1", 65535),
        ("[2001:DB8::0:1]:80", "2001:db8::1", 80),
    ],
)
def test_endpoint_is_an_address_and_a_port(text: str, address: str, port: int) -> None:
    endpoint = EndpointText().parse(text)

    assert (endpoint.host, endpoint.port) == (address, port)
    assert EndpointText().parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("127.0.0.1", "must end with a port"),
        ("127.0.0.1:", "must end with a port"),
        ("127.0.0.1:0", "must end with a port"),
        ("127.0.0.1:080", "must end with a port"),
        ("127.0.0.1:65536", "must end with a port"),
        ("127.0.0.1:http", "must end with a port"),
        ("127.0.0.1:８０", "must end with a port"),
        (":14000", "name the address: 0.0.0.0:14000"),
        ("*:14000", "name the address: 0.0.0.0:14000"),
        ("localhost:14000", "write the address that is meant: 127.0.0.1:14000"),
        ("acme.example.org:1", "is no IP address"),
        ("127.1:1", "is no IP address"),
        ("0127.0.0.1:1", "is no IP address"),
        ("::1:14000", 'in brackets: "[::1]:14000"'),
        ("[127.0.0.1]:1:2", "in brackets"),
        ("[fe80::1%eth0]:1", "leave the zone"),
        ("https://127.0.0.1:1", "in brackets"),
        ("", "must end with a port"),
    ],
)
def test_other_endpoints_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        EndpointText().parse(text)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("127.0.0.1:1", "127.0.0.1:2", False),
        ("127.0.0.1:1", "127.0.0.2:1", False),
        ("0.0.0.0:1", "10.0.0.1:1", True),
        ("[::]:1", "10.0.0.1:1", True),
        ("0.0.0.0:1", "[::]:1", True),
        ("0.0.0.0:1", "[::]:2", False),
    ],
)
def test_endpoints_overlap(one: str, other: str, overlap: bool) -> None:
    first, second = EndpointText().parse(one), EndpointText().parse(other)

    assert first.overlaps(second) is second.overlaps(first) is overlap


@pytest.mark.parametrize("port", [-1, 65536])
def test_endpoint_refuses_a_port_that_is_none(port: int) -> None:
    with pytest.raises(ValueError, match="is no port"):
        Endpoint(EndpointText().parse("127.0.0.1:1").address, port)


@pytest.mark.parametrize(
    "text", ["10.0.0.0/8", "10.0.0.1", "fd00::/8", "::1", "0.0.0.0/0", "10.0.0.0/255.0.0.0"]
)
def test_network_is_read(text: str) -> None:
    assert NetworkText().parse(text).num_addresses >= 1


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "corp", "::/129", "/8"]
)
def test_other_networks_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no network|did you mean"):
        NetworkText().parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://acme.example.org", "https://acme.example.org"),
        ("https://ACME.Example.org/", "https://acme.example.org"),
        ("HTTPS://a.example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("https://a.example:8443", "https://a.example:8443"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("https://localhost:14000", "https://localhost:14000"),
    ],
)
def test_origin_is_canonical(text: str, expected: str) -> None:
    assert _ORIGIN.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "acme.example.org", "ftp://a.example", "//a.example", "https://", "https:///x",
     "https://a.example/acme", "https://a.example?x", "https://a.example/?", "https://a.example#",
     "https://a.example/#x", "https://user@a.example", "https://u:p@a.example", "https://a.example:0",
     "https://a.example:99999", "https://a.example:x", "https://a b", "https://a.example\n",
     "https://a..example", "https://-a.example", "https://bücher.example", "https://[::1",
     "https://[x]", "https://[::1%25eth0]", "https://a.example\\@b", "https://a_b.example",
     "https:a.example", "https://" + "a" * 64 + ".example", "https://a.example."],
)  # fmt: skip
def test_other_origins_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        _ORIGIN.parse(text)


def test_status_url_is_plain_http_only() -> None:
    with pytest.raises(ValueError, match="must start with http://"):
        OriginText("http").parse("https://a.example")


@pytest.mark.parametrize("text", ["https://a.example/terms?v=2#top", "http://a.example"])
def test_page_is_a_url(text: str) -> None:
    assert PageUrl().parse(text) == text


@pytest.mark.parametrize(
    "text", ["", "a.example", "javascript:x", "https://a b", "https://é.example"]
)
def test_other_pages_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        PageUrl().parse(text)


@pytest.mark.parametrize(
    "text",
    ["embedded", "postgresql://h/d", "postgres://u:p@h:5432/d", "postgresql://u:p%23@[::1]:1/d",
     "postgresql:///d?host=/run/postgresql", "postgresql://u@h1:1/d?sslmode=verify-full"],
)  # fmt: skip
def test_database_url_is_read(text: str) -> None:
    assert _DATABASE.parse(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "Embedded", "mysql://h/d", "h/d", "postgresql://h", "postgresql://h/", "postgresql:///d",
     "postgresql://h/d#x", "postgresql://h:x/d", "postgresql://[h/d", "postgresql://h/d\n"],
)  # fmt: skip
def test_other_database_urls_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        _DATABASE.parse(text)


def test_embedded_owner_is_refused() -> None:
    with pytest.raises(ValueError, match="must be postgresql://"):
        DatabaseUrl(or_embedded=False).parse("embedded")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("embedded", "embedded"),
        ("postgresql://h/d", "postgresql://h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://u:hunter2@h:1/d", "postgresql://u:***@h:1/d"),
        ("postgresql://u:a:b@c@h/d", "postgresql://u:***@h/d"),
        (
            "postgresql://h/d?user=u&password=hunter2&x=1",
            "postgresql://h/d?user=u&password=***&x=1",
        ),
        ("postgresql://[h/d", "***"),
    ],
)
def test_password_is_left_out_of_a_shown_url(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("auto", "auto"), ("file:/k e y", "file:/k e y"), ("env:KEY_1", "env:KEY_1")],
)
def test_source_of_the_master_key_is_read(text: str, shown: str) -> None:
    assert str(MasterKeyText().parse(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "file:", "file", "env:", "env:1", "env:A-B", "env:ACME_SERVER__X", "vault:secret/x",
     "AUTO", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I"],
)  # fmt: skip
def test_other_sources_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|not available in this version"):
        MasterKeyText().parse(text)


@pytest.mark.parametrize(
    ("text", "name"), [("Corp", "corp"), ("a-1.example.org", "a-1.example.org")]
)
def test_domain_name_is_lower_case(text: str, name: str) -> None:
    assert DomainName().parse(text) == name


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "*.a", "a..b", "-a", "a_b", "é", "a b", "x" * 64, "a." * 127 + "a"],
)
def test_other_domain_names_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no DNS name|leave the"):
        DomainName().parse(text)


@pytest.mark.parametrize("text", ["", "a\nb", "a\x00b", "\x1b[31m"])
def test_texts_and_paths_have_one_printable_line(text: str) -> None:
    for kind in (Text(), PathText()):
        with pytest.raises(ValueError, match="must"):
            kind.parse(text)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("demo.localhost", True),
        ("127.0.0.53", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("notlocalhost", False),
        ("localhost.example", False),
    ],
)
def test_local_hosts_are_known(host: str, local: bool) -> None:
    assert is_local(host) is local


_DECLARED = list(declarations(Settings))


@pytest.mark.parametrize("declared", _DECLARED, ids=lambda declared: declared.key)
def test_every_default_is_a_value_of_its_kind(declared: Declaration) -> None:
    defaults = {declared.default, declared.lab} - {None, MISSING}

    assert [_reread(declared.kind, value) for value in defaults] == list(defaults)


@pytest.mark.parametrize("declared", _DECLARED, ids=lambda declared: declared.key)
def test_every_setting_has_a_sentence_and_a_form(declared: Declaration) -> None:
    assert declared.text.endswith(".")
    assert declared.kind.form


def _reread(kind: Any, value: Any) -> Any:
    plain = kind.plain(value)
    if isinstance(kind, Listed):
        return tuple(kind.item.parse(str(item)) for item in plain)
    if isinstance(kind, Keyed):
        return tuple((kind.key.parse(key), kind.item.parse(items)) for key, items in plain.items())
    return (kind.word if isinstance(kind, Mapped) else kind).parse(_as_text(plain))


def _as_text(plain: object) -> str:
    return str(plain).lower() if isinstance(plain, bool) else str(plain)


_NINE = ip_address("9.9.9.9")
_SIX = ip_address("2001:db8::53")
RESOLVERS = {
    "10.0.0.53": Endpoint(ip_address("10.0.0.53"), 53),
    "10.0.0.53:5353": Endpoint(ip_address("10.0.0.53"), 5353),
    "2001:db8::53": Endpoint(_SIX, 53),
    "[2001:db8::53]:5353": Endpoint(_SIX, 5353),
    "tls://9.9.9.9": EncryptedResolver(Endpoint(_NINE, 853), "9.9.9.9"),
    "tls://9.9.9.9/": EncryptedResolver(Endpoint(_NINE, 853), "9.9.9.9"),
    "tls://9.9.9.9:8853#DNS.example": EncryptedResolver(Endpoint(_NINE, 8853), "dns.example"),
    "tls://[2001:db8::53]": EncryptedResolver(Endpoint(_SIX, 853), "2001:db8::53"),
    "https://9.9.9.9/dns-query": EncryptedResolver(Endpoint(_NINE, 443), "9.9.9.9", "/dns-query"),
    "https://9.9.9.9:8443/q#dns.example": EncryptedResolver(
        Endpoint(_NINE, 8443), "dns.example", "/q"
    ),
}


@pytest.mark.parametrize(("text", "expected"), RESOLVERS.items())
def test_resolver_is_an_address_and_how_to_ask_it(
    text: str, expected: Endpoint | EncryptedResolver
) -> None:
    kind = ResolverText()

    assert kind.parse(text) == expected
    assert kind.parse(str(kind.plain(expected))) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must end with a port"),
        ("dns.example", "must end with a port"),
        ("localhost:53", "write the address that is meant"),
        ("10.0.0.53:0", "must end with a port"),
        ("fe80::1%eth0", "zone"),
        ("udp://10.0.0.53", "must be address[:port] | tls://"),
        ("http://10.0.0.53/dns-query", "must be address[:port] | tls://"),
        ("tls://dns.example", "name the address, and the name after it: tls://9.9.9.9#dns.ex"),
        ("tls://", "name the address"),
        ("tls://9.9.9.9/dns-query", "must have no path"),
        ("tls://9.9.9.9:0", "0 is no port"),
        ("tls://9.9.9.9:99999", "is no URL"),
        ("tls://9.9.9.9#*.example", 'leave the "*." out'),
        ("tls://user@9.9.9.9", "must not contain a user"),
        ("https://9.9.9.9", "must name the path"),
        ("https://9.9.9.9/a b", "must have a path in ASCII"),
        ("https://9.9.9.9/dns-query?dns=x", "must not contain a user"),
        ("https://9.9.9.9/dns\r\nquery", "without control characters"),
        ("https://[fe80::1%25eth0]/q", "zone"),
    ],
)
def test_resolver_that_is_not_clear_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        ResolverText().parse(text)
