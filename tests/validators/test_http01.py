"""http-01 against real targets: what proves control, and every other answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.model.errors import ErrorKind
from support.targets import (
    OK,
    Behaviour,
    BlackHole,
    Target,
    closed_port,
    closing,
    flooding,
    paths,
    resetting,
    responding,
    response,
    silent,
)
from support.validation import (
    KEY_AUTHORIZATION,
    NAME,
    PATH,
    SHORT,
    THUMBPRINT,
    TOKEN,
    Lab,
    make_task,
)
from validators.keyauth import key_authorization


async def test_the_key_authorization_at_the_path_proves_control(lab: Lab) -> None:
    seen: list[bytes] = []
    async with Target(paths({PATH: response(KEY_AUTHORIZATION)}, seen)) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())

    assert verdict.is_valid, verdict.problem
    assert lab.dialled() == [target.endpoint]
    assert seen == [
        (
            f"GET {PATH} HTTP/1.1\r\nHost: {NAME}:{target.port}\r\n"
            "User-Agent: acme-server (http-01 validation)\r\nAccept: */*\r\n"
            "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
        ).encode()
    ]


async def test_the_evidence_tells_each_step(lab: Lab) -> None:
    async with Target(responding(response(KEY_AUTHORIZATION))) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())

    steps = verdict.evidence.facts["attempts"][0]
    assert [step["step"] for step in steps] == ["query", "query", "connect", "request"]
    assert steps[1]["records"] == [f"{NAME}. A 127.0.0.2"]
    assert steps[2]["endpoint"] == str(target.endpoint)
    assert steps[3]["status"] == 200
    assert steps[3]["body"] == KEY_AUTHORIZATION.decode()
    assert verdict.evidence.method == "http-01"
    assert verdict.evidence.started_at <= verdict.evidence.finished_at


VALID: dict[str, tuple[bytes, ...]] = {
    "trailing white space": (response(KEY_AUTHORIZATION + b"\n\r\t "),),
    "no content length": (response(KEY_AUTHORIZATION, has_length=False),),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n" + KEY_AUTHORIZATION,),
    "no reason phrase": (b"HTTP/1.1 200\r\n\r\n" + KEY_AUTHORIZATION,),
    "line feeds only": (b"HTTP/1.1 200 OK\nServer: sh\n\n" + KEY_AUTHORIZATION,),
    "octet by octet": tuple(bytes([octet]) for octet in response(KEY_AUTHORIZATION)),
    "interim responses": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
        response(KEY_AUTHORIZATION),
    ),
    "chunks": (
        OK + b"Transfer-Encoding: Chunked\r\n\r\n28;x=y\r\n" + KEY_AUTHORIZATION[:40] + b"\r\n",
        b"%X\r\n%s\r\n0\r\nTrailer: x\r\n\r\n"
        % (len(KEY_AUTHORIZATION) - 40, KEY_AUTHORIZATION[40:]),
    ),
    "more than the content length": (response(KEY_AUTHORIZATION) + b"more",),
    "a refresh header, which is not followed": (
        response(KEY_AUTHORIZATION, fields=["Refresh: 0; url=http://127.0.0.1/"]),
    ),
    "a header of nearly 16 KiB": (response(KEY_AUTHORIZATION, fields=["X: " + "y" * 16200]),),
}


@pytest.mark.parametrize("parts", VALID.values(), ids=VALID)
async def test_answers_that_are_unusual_but_right_prove_control(
    lab: Lab, parts: tuple[bytes, ...]
) -> None:
    async with Target(responding(*parts)) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())

    assert verdict.is_valid, (verdict.problem, verdict.evidence.facts)


INCORRECT, CONNECTION = ErrorKind.INCORRECT_RESPONSE, ErrorKind.CONNECTION
MALFORMED = (CONNECTION, "http_malformed")
INVALID: dict[str, tuple[bytes, tuple[ErrorKind, str]]] = {
    "the token only": (response(TOKEN.encode()), (INCORRECT, "http_token_only")),
    "another account's": (
        response(key_authorization(TOKEN, bytes(32)).encode()),
        (INCORRECT, "http_other_account"),
    ),
    "another token's": (
        response(key_authorization("x" * 43, THUMBPRINT).encode()),
        (INCORRECT, "http_differs"),
    ),
    "other case": (response(KEY_AUTHORIZATION.swapcase()), (INCORRECT, "http_differs")),
    "leading space": (response(b" " + KEY_AUTHORIZATION), (INCORRECT, "http_differs")),
    "twice": (response(KEY_AUTHORIZATION * 2), (INCORRECT, "http_other_account")),
    "byte order mark": (
        response(b"\xef\xbb\xbf" + KEY_AUTHORIZATION),
        (INCORRECT, "http_differs"),
    ),
    "quotes": (response(b'"' + KEY_AUTHORIZATION + b'"'), (INCORRECT, "http_differs")),
    "an empty body": (response(b""), (INCORRECT, "http_differs")),
    "a meta refresh": (
        response(b'<meta http-equiv="refresh" content="0; url=/x">'),
        (INCORRECT, "http_differs"),
    ),
    "a long body": (response(b"x" * 1000), (INCORRECT, "http_too_long")),
    "much white space": (
        response(KEY_AUTHORIZATION + b" " * 1000, has_length=False),
        (INCORRECT, "http_too_long"),
    ),
    "404": (response(status="404 Not Found"), (INCORRECT, "http_status")),
    "the right body with 404": (
        response(KEY_AUTHORIZATION, status="404 Not Found"),
        (INCORRECT, "http_status"),
    ),
    "the right body with 203": (
        response(KEY_AUTHORIZATION, status="203 x"),
        (INCORRECT, "http_status"),
    ),
    "206": (response(KEY_AUTHORIZATION, status="206 x"), (INCORRECT, "http_status")),
    "300": (
        response(status="300 x", fields=["Location: http://127.0.0.2/"]),
        (INCORRECT, "http_status"),
    ),
    "303": (
        response(status="303 x", fields=["Location: http://127.0.0.2/"]),
        (INCORRECT, "http_status"),
    ),
    "304": (
        response(status="304 x", fields=["Location: http://127.0.0.2/"]),
        (INCORRECT, "http_status"),
    ),
    "401": (
        response(status="401 x", fields=["WWW-Authenticate: Negotiate", "WWW-Authenticate: NTLM"]),
        (INCORRECT, "http_status"),
    ),
    "101": (
        b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
        + response(KEY_AUTHORIZATION),
        MALFORMED,
    ),
    "HTTP/0.9": (KEY_AUTHORIZATION, MALFORMED),
    "ICY": (b"ICY 200 OK\r\n\r\n" + KEY_AUTHORIZATION, MALFORMED),
    "HTTP/2": (b"HTTP/2 200 OK\r\n\r\n" + KEY_AUTHORIZATION, MALFORMED),
    "HTTP/1.2": (b"HTTP/1.2 200 OK\r\n\r\n" + KEY_AUTHORIZATION, MALFORMED),
    "an SSH banner": (b"SSH-2.0-OpenSSH_9.2p1\r\n", MALFORMED),
    "a status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n" + KEY_AUTHORIZATION, MALFORMED),
    "Arabic digits": ("HTTP/1.1 ٢٠٠ OK\r\n\r\n".encode() + KEY_AUTHORIZATION, MALFORMED),
    "a large field": (response(KEY_AUTHORIZATION, fields=["X: " + "y" * 100_000]), MALFORMED),
    "many fields": (response(KEY_AUTHORIZATION, fields=["X: y"] * 10_000), MALFORMED),
    "200 fields": (response(KEY_AUTHORIZATION, fields=["X: y"] * 200), MALFORMED),
    "a NUL in a field": (response(KEY_AUTHORIZATION, fields=["X: \0"]), MALFORMED),
    "a bare CR": (response(KEY_AUTHORIZATION, fields=["X: a\rY: b"]), MALFORMED),
    "a folded field": (response(KEY_AUTHORIZATION, fields=["X: a", " b"]), MALFORMED),
    "a field without a name": (response(KEY_AUTHORIZATION, fields=[": a"]), MALFORMED),
    "space before the colon": (response(KEY_AUTHORIZATION, fields=["X : a"]), MALFORMED),
    "length and chunks": (
        response(KEY_AUTHORIZATION, fields=["Transfer-Encoding: chunked"]),
        MALFORMED,
    ),
    "two lengths": (response(KEY_AUTHORIZATION, fields=["Content-Length: 87"]), MALFORMED),
    "a signed length": (OK + b"Content-Length: +87\r\n\r\n" + KEY_AUTHORIZATION, MALFORMED),
    "a list of lengths": (OK + b"Content-Length: 87, 87\r\n\r\n" + KEY_AUTHORIZATION, MALFORMED),
    "gzip as transfer encoding": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", MALFORMED),
    "chunks in HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        MALFORMED,
    ),
    "a negative chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", MALFORMED),
    "a huge chunk size": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"F" * 17 + b"\r\n",
        MALFORMED,
    ),
    "a long chunk line": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 300,
        MALFORMED,
    ),
    "a chunk that is longer": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        MALFORMED,
    ),
    "nine interim responses": (
        b"HTTP/1.1 100 x\r\n\r\n" * 9 + response(KEY_AUTHORIZATION),
        MALFORMED,
    ),
    "nothing": (b"", (CONNECTION, "http_closed")),
    "half a status line": (b"HTTP/1.1 2", (CONNECTION, "http_closed")),
    "half a body": (OK + b"Content-Length: 87\r\n\r\nabc", (CONNECTION, "http_closed")),
    "half a chunk": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        (CONNECTION, "http_closed"),
    ),
    "chunks without an end": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n57\r\n" + KEY_AUTHORIZATION + b"\r\n",
        (CONNECTION, "http_closed"),
    ),
}


@pytest.mark.parametrize(("sent", "expected"), INVALID.values(), ids=INVALID)
async def test_any_other_answer_fails_with_its_cause(
    lab: Lab, sent: bytes, expected: tuple[ErrorKind, str]
) -> None:
    async with Target(responding(sent)) as target:
        lab.http_port = target.port
        problem = await lab.failure(make_task())

    assert (problem.kind, problem.cause) == expected
    assert len(problem.detail) <= 1000
    assert lab.dialled() == [target.endpoint]


async def test_the_body_is_in_the_evidence_and_not_in_the_problem(lab: Lab) -> None:
    async with Target(responding(response(b"root:x:0:0:\x1b[2J"))) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())

    assert verdict.problem is not None
    assert "root" not in verdict.problem.detail
    assert KEY_AUTHORIZATION.decode() in verdict.problem.detail
    assert verdict.evidence.facts["attempts"][0][-1]["body"] == r"root:x:0:0:\x1b[2J"


ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "a body": (OK + b"\r\n", b"x" * 1024),
    "the key authorization and white space": (OK + b"\r\n" + KEY_AUTHORIZATION, b" " * 1024),
    "chunks of one octet": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "chunk extensions": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        b"1;" + b"x" * 200 + b"\r\nx\r\n",
    ),
    "a field": (OK + b"X: ", b"y" * 1024),
    "fields": (OK, b"X: y\r\n"),
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "white space before the response": (b"", b"\r\n"),
}


@pytest.mark.parametrize(("start", "repeated"), ENDLESS.values(), ids=ENDLESS)
async def test_an_endless_answer_is_left_early(lab: Lab, start: bytes, repeated: bytes) -> None:
    sent: list[int] = []
    async with Target(flooding(start, repeated, sent)) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())

    assert verdict.problem is not None
    assert verdict.problem.kind in (CONNECTION, INCORRECT)
    assert verdict.evidence.facts["attempts"][0][-1]["bytes_received"] <= 32 * 1024


async def test_a_closed_port_is_told_at_once(lab: Lab) -> None:
    lab.attempts = 3
    lab.http_port = closed_port().port

    problem = await lab.failure(make_task())

    assert (problem.kind, problem.cause) == (CONNECTION, "connection_refused")
    assert f"127.0.0.2:{lab.http_port} refused" in problem.detail
    assert len(lab.dialled()) == 1


async def test_a_target_that_drops_packets_ends_with_the_connect_timeout(lab: Lab) -> None:
    lab.connect_timeout = SHORT
    with BlackHole() as endpoint:
        lab.http_port = endpoint.port
        problem = await lab.failure(make_task())

    assert (problem.kind, problem.cause) == (CONNECTION, "connection_timeout")


@pytest.mark.parametrize("start", [b"", OK, OK + b"Content-Length: 87\r\n\r\nabc"])
async def test_a_target_that_stops_answering_ends_with_the_response_timeout(
    lab: Lab, start: bytes
) -> None:
    async def behave(reader, writer) -> None:  # type: ignore[no-untyped-def]
        writer.write(start)
        await silent(reader, writer)

    lab.response_timeout = lab.body_timeout = SHORT
    async with Target(behave) as target:
        lab.http_port = target.port
        problem = await lab.failure(make_task())

    assert (problem.kind, problem.cause) == (CONNECTION, "http_timeout")
    assert "0.15 s" in problem.detail


async def test_the_body_has_a_timeout_of_its_own(lab: Lab) -> None:
    async def behave(reader, writer) -> None:  # type: ignore[no-untyped-def]
        writer.write(OK + b"\r\n")
        await silent(reader, writer)

    lab.body_timeout = timedelta(milliseconds=50)
    async with Target(behave) as target:
        lab.http_port = target.port
        problem = await lab.failure(make_task())

    assert "0.05 s" in problem.detail


@pytest.mark.parametrize(
    ("behave", "causes"),
    [(closing, {"http_closed"}), (resetting, {"connection_reset"})],
    ids=["closing", "resetting"],
)
async def test_a_broken_connection_is_tried_again(
    lab: Lab, behave: Behaviour, causes: set[str]
) -> None:
    lab.attempts = 3
    async with Target(behave) as target:
        lab.http_port = target.port
        problem = await lab.failure(make_task())

    assert problem.kind is CONNECTION
    assert problem.cause in causes
    assert target.connections == 3


async def test_a_wildcard_is_never_proven_by_http(lab: Lab) -> None:
    problem = await lab.failure(make_task(wildcard=True))

    assert problem.cause == "wildcard_needs_dns"
    assert lab.contacts == []


async def test_an_address_is_contacted_without_dns(lab: Lab) -> None:
    seen: list[bytes] = []
    async with Target(paths({PATH: response(KEY_AUTHORIZATION)}, seen)) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task("ip:127.0.0.2"))

    assert verdict.is_valid
    assert f"\r\nHost: 127.0.0.2:{target.port}\r\n".encode() in seen[0]
    assert lab.contacts == [("tcp", target.endpoint)]


async def test_proxies_and_the_hosts_file_are_ignored(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.3:1/")
    async with Target(responding(response(KEY_AUTHORIZATION))) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())
        # In every hosts file, and not in this DNS.
        problem = await lab.failure(make_task("localhost"))

    assert verdict.is_valid
    assert problem.cause == "dns_name_missing"
    assert lab.dialled() == [target.endpoint]


@given(sent=st.lists(st.binary(max_size=200), max_size=4))
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_whatever_a_target_sends_ends_in_a_verdict(lab: Lab, sent: list[bytes]) -> None:
    async with Target(responding(*sent)) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())

    assert verdict.problem is not None
    assert verdict.problem.cause != "internal", verdict.evidence.facts
