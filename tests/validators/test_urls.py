"""Locations of redirects, resolved as RFC 3986 says or refused."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.urls import MAX_TARGET, Url, UrlRefused, resolve_location

BASE = Url("http", "www.example.test", 5002, "/a/b/c?q")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://other.test", "http://other.test/"),
        ("http://other.test?x", "http://other.test/?x"),
        ("HTTP://OTHER.Test.:80/X", "http://other.test/X"),
        ("http://other.test:/x", "http://other.test/x"),
        ("http://other.test:443/x", "http://other.test:443/x"),
        ("https://other.test:443/x", "https://other.test/x"),
        ("https://other.test:80/x", "https://other.test:80/x"),
        ("//other.test/x", "http://other.test/x"),
        ("/x", "http://www.example.test:5002/x"),
        ("x", "http://www.example.test:5002/a/b/x"),
        ("./x", "http://www.example.test:5002/a/b/x"),
        ("../x", "http://www.example.test:5002/a/x"),
        ("../../../../x", "http://www.example.test:5002/x"),
        ("..", "http://www.example.test:5002/a/"),
        (".", "http://www.example.test:5002/a/b/"),
        ("?y", "http://www.example.test:5002/a/b/c?y"),
        ("?", "http://www.example.test:5002/a/b/c?"),
        ("#f", "http://www.example.test:5002/a/b/c?q"),
        ("x#f?g", "http://www.example.test:5002/a/b/x"),
        ("x?y=../z#f", "http://www.example.test:5002/a/b/x?y=../z"),
        ("http://other.test/a/../b/./c/..", "http://other.test/b/"),
        ("http://other.test/%2e%2E/x", "http://other.test/%2e%2E/x"),
        ("http://other.test//x", "http://other.test//x"),
        ("http://my_host-1.test/", "http://my_host-1.test/"),
        ("http://intranet/", "http://intranet/"),
        ("http://xn--bcher-kva.test/", "http://xn--bcher-kva.test/"),
        ("http://192.0.2.1./x", "http://192.0.2.1/x"),
        ("http://[2001:DB8:0::1]:80/x", "http://[2001:db8::1]/x"),
        ("http://other.test/@x:y", "http://other.test/@x:y"),
    ],
)
def test_locations_are_resolved(location: str, expected: str) -> None:
    assert str(resolve_location(BASE, location.encode())) == expected


def test_addresses_become_addresses() -> None:
    url = resolve_location(BASE, b"http://[::ffff:127.0.0.1]/")

    assert url.host == ip_address("::ffff:127.0.0.1")
    assert resolve_location(BASE, b"http://127.0.0.1/").host == ip_address("127.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a" * 64,
        ".".join(["a" * 60] * 5),
        "-a",
        "a-",
        "a.-b",
        "256.1.1.1",
        "1.2.3",
        "1.2.3.4.5",
        "0x7f.1",
        "127.0.0.0x1",
        "a.0x",
        "foo.1",
        "%31.test",
        "a%00.test",
        "a;b",
        "a,b",
        "[v1.x]",
        "[127.0.0.1]",
        "[]",
        "a]",
        "a[",
        "[::1]]",
        "a:80:80",
        "u:p@a",
        "@a",
        "a@",
    ],
)
def test_other_hosts_are_refused(host: str) -> None:
    with pytest.raises(UrlRefused):
        resolve_location(BASE, f"http://{host}/".encode())


def test_a_path_of_two_thousand_characters_is_the_limit() -> None:
    longest = b"/" + b"x" * (MAX_TARGET - 1)

    assert len(resolve_location(BASE, longest).target) == MAX_TARGET
    with pytest.raises(UrlRefused):
        resolve_location(BASE, longest + b"x")


_PIECES = st.sampled_from(
    [
        b"http",
        b"https",
        b":",
        b"//",
        b"/",
        b"@",
        b"[",
        b"]",
        b"::1",
        b"127.0.0.1",
        b"..",
        b".",
        b"?",
        b"#",
        b"%41",
        b"%",
        b"a",
        b"example.test",
        b"0x7f",
        b"\x00",
        b"\xc3\xbc",
        b"80",
        b"-",
        b" ",
    ]
)


@given(st.binary(max_size=60) | st.lists(_PIECES, max_size=12).map(b"".join))
def test_any_location_is_refused_or_gives_a_safe_request_line(location: bytes) -> None:
    try:
        url = resolve_location(BASE, location)
    except UrlRefused:
        return

    line = f"GET {url.target} HTTP/1.1\r\nHost: {url.authority}\r\n"
    assert line.isascii()
    assert line.count(" ") == 3
    assert line.replace("\r\n", "").isprintable()
    assert url.target.startswith("/")
    assert 0 < url.port < 65536
    assert url.scheme in ("http", "https")
    assert resolve_location(BASE, str(url).encode()) == url
