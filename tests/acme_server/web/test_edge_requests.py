"""Forms of requests: what is read, what is refused, and that nothing is read in two ways."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

import pytest
from structlog.testing import capture_logs

from acme_server.web.addresses import ClientAddresses
from acme_server.web.connections import Limits
from policy.model.errors import DatabaseUnavailable
from support.edge import serve

HOST = b"Host: localhost\r\n"
GET = b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n"


def post(body: bytes, *headers: bytes, path: bytes = b"/echo") -> bytes:
    """A well-formed POST."""
    length = b"Content-Length: %d\r\n" % len(body)
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + length + lines + b"\r\n" + body


def chunked(body: bytes, *headers: bytes) -> bytes:
    """A POST with the given raw chunks."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return (
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n" + lines + b"\r\n"
    ) + body


async def test_an_answer_has_what_every_answer_carries_and_no_banner() -> None:
    async with serve() as served:
        reply, _ = await served.send_once(post(b"hello"))

    assert reply is not None
    assert (reply.status, reply.body) == (200, b"hello")
    assert reply.headers.keys() == {
        "date",
        "content-length",
        "content-type",
        "x-completed",
        "x-content-type-options",
    }
    assert reply.headers["x-content-type-options"] == "nosniff"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()
        wire.send(b"".join(post(b"%d" % number) for number in range(100)))

        bodies = [(await wire.reply()).body for _ in range(100)]

    assert bodies == [b"%d" % number for number in range(100)]


async def test_a_chunked_body_is_put_together() -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()
        first = await wire.ask(chunked(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"))
        second = await wire.ask(post(b"next"))

    assert (first.body, second.body) == (b"hello world", b"next")


@pytest.mark.parametrize(("size", "status"), [(4096, 200), (4097, 413), (1_000_000, 413)])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_may_be_as_long_as_the_limit(size: int, status: int, is_chunked: bool) -> None:
    body = b"a" * size
    request = chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)) if is_chunked else post(body)
    async with serve() as served:
        reply, _ = await served.send_once(request)

    assert reply is not None
    assert reply.status == status
    if status == 413:
        assert reply.problem()["type"] == "urn:ietf:params:acme:error:malformed"
        assert "4096" in str(reply.problem()["detail"])


async def test_a_body_announced_too_long_is_refused_before_it_is_sent() -> None:
    request = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5000\r\n"
    async with serve() as served:
        reply, rest = await served.send_once(request + b"Expect: 100-continue\r\n\r\n")

    assert reply is not None
    assert (reply.status, reply.headers["connection"], rest) == (413, "close", b"")


async def test_a_client_that_waits_for_permission_gets_it() -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()
        wire.send(post(b"", b"Expect: 100-continue").replace(b"Length: 0", b"Length: 5"))
        interim = await wire.reader.readuntil(b"\r\n\r\n")
        reply = await wire.ask(b"hello")

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (reply.status, reply.body) == (200, b"hello")


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()
        wire.send(GET.replace(b"GET", b"HEAD"))
        head = await wire.reply(to_head=True)
        reply = await wire.ask(GET)

    assert (head.status, head.headers) == (reply.status, reply.headers)


async def test_http_1_0_is_answered_and_closed() -> None:
    async with serve() as served:
        reply, rest = await served.send_once(b"GET /echo HTTP/1.0\r\n\r\n")

    assert reply is not None
    assert (reply.status, reply.headers["connection"], rest) == (200, "close", b"")


async def test_a_client_that_asks_to_close_is_obeyed() -> None:
    async with serve() as served:
        reply, rest = await served.send_once(post(b"x", b"Connection: close"))

    assert reply is not None
    assert (reply.status, reply.headers["connection"], rest) == (200, "close", b"")


async def test_a_client_that_closes_its_half_still_gets_the_answer() -> None:
    async with serve() as served:
        wire = await served.connect()
        wire.send(post(b"x", path=b"/held"))
        await served.front_end.started.acquire()
        wire.writer.write_eof()
        served.front_end.may_end.set()
        reply = await wire.reply()

    assert (reply.status, reply.body) == (200, b"x")


async def test_a_client_that_sends_all_it_has_at_once_gets_the_answers() -> None:
    async with serve() as served:
        wire = await served.connect()
        wire.send(GET + post(b"x"))
        wire.writer.write_eof()
        replies = [await wire.reply(), await wire.reply()]

        assert [reply.status for reply in replies] == [200, 200]
        assert await wire.rest() == b""


REFUSED_HEADS = {
    "http-0.9": (b"GET /echo\r\n\r\n", 400),
    "absolute-form": (b"GET http://localhost/echo HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "absolute-form-elsewhere": (b"GET http://evil/echo HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "host-with-user": (b"GET /echo HTTP/1.1\r\nHost: u@evil/x\r\n\r\n", 400),
    "host-with-space": (b"GET /echo HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "put": (b"PUT /echo HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "delete": (b"DELETE /echo HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "patch": (b"PATCH /echo HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "trace": (b"TRACE /echo HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "trace-elsewhere": (b"TRACE /nowhere HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "connect": (b"CONNECT localhost:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "connect-with-path": (b"CONNECT /echo HTTP/1.1\r\n" + HOST + b"\r\n", 405),
}


@pytest.mark.parametrize(("request_", "status"), REFUSED_HEADS.values(), ids=REFUSED_HEADS)
async def test_a_head_that_is_refused_ends_the_connection(request_: bytes, status: int) -> None:
    async with serve() as served:
        reply, rest = await served.send_once(request_ + post(b"smuggled"))

    assert reply is not None
    assert reply.status == status
    assert reply.headers["connection"] == "close"
    assert reply.problem()["type"] == "urn:ietf:params:acme:error:malformed"
    assert rest == b""
    assert served.front_end.seen == []
    if status == 405:
        assert reply.headers["allow"] == "GET, HEAD, POST"


UNREADABLE = {
    "garbage": b"\x00\x01\x02garbage\r\n\r\n",
    "tls-on-a-plain-port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http-3.1": b"GET /echo HTTP/3.1\r\n" + HOST + b"\r\n",
    "no-host": b"GET /echo HTTP/1.1\r\n\r\n",
    "two-hosts": b"GET /echo HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "length-and-chunked": post(b"5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"),
    "two-lengths": post(b"hello", b"Content-Length: 5"),
    "two-different-lengths": post(b"hello", b"Content-Length: 6"),
    "length-with-sign": post(b"hello").replace(b": 5\r\n", b": +5\r\n"),
    "negative-length": post(b"hello").replace(b": 5\r\n", b": -1\r\n"),
    "length-with-underscore": post(b"hello").replace(b": 5\r\n", b": 1_0\r\n"),
    "hexadecimal-length": post(b"hello").replace(b": 5\r\n", b": 0x5\r\n"),
    "length-list": post(b"hello").replace(b": 5\r\n", b": 5, 5\r\n"),
    "huge-length": post(b"hello").replace(b": 5\r\n", b": 99999999999999999999\r\n"),
    "xchunked": chunked(b"").replace(b"chunked", b"xchunked"),
    "chunked-identity": chunked(b"0\r\n\r\n").replace(b"chunked", b"chunked, identity"),
    "chunked-twice": chunked(b"0\r\n\r\n", b"Transfer-Encoding: chunked"),
    "bad-chunk-size": chunked(b"5\r\nhello\r\nzz\r\n"),
    "negative-chunk-size": chunked(b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk-without-end": chunked(b"5\r\nhelloX0\r\n\r\n"),
    "nul-in-value": b"GET /echo HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
    "cr-in-value": b"GET /echo HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n",
    "bare-lf": b"GET /echo HTTP/1.1\nHost: localhost\n\n",
    "folded-line": b"GET /echo HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "space-before-colon": b"GET /echo HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "no-colon": b"GET /echo HTTP/1.1\r\n" + HOST + b"X\r\n\r\n",
    "nul-in-target": b"GET /ec\x00ho HTTP/1.1\r\n" + HOST + b"\r\n",
    "two-content-types": post(b"x", b"Content-Type: a/b", b"Content-Type: c/d"),
    "long-header": b"GET /echo HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    "long-target": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "many-headers": b"GET /echo HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 10_000 + b"\r\n",
    "endless-head": b"GET /echo HTTP/1.1\r\n" + HOST + (b"X: " + b"a" * 8000 + b"\r\n") * 60,
}


@pytest.mark.parametrize("request_", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_is_no_request_gets_a_problem_and_the_end(request_: bytes) -> None:
    with capture_logs() as events:
        async with serve() as served:
            reply, rest = await served.send_once(request_ + post(b"smuggled"))

    assert reply is not None
    assert reply.problem() == {
        "type": "urn:ietf:params:acme:error:malformed",
        "detail": "This is not a well-formed HTTP/1.1 request.",
        "status": 400,
    }
    assert reply.headers["connection"] == "close"
    assert "server" not in reply.headers
    assert rest == b""
    assert served.front_end.seen == []
    assert [event for event in events if event["log_level"] not in ("info", "debug")] == []


async def test_a_flood_of_garbage_is_one_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as events:
        async with serve(Limits(first_byte=0.2)) as served:
            loop = asyncio.get_running_loop()
            begun = loop.time()
            for _ in range(20):
                await asyncio.gather(*(served.send_once(b"garbage\r\n\r\n") for _ in range(25)))
            took = loop.time() - begun

    lines = [event for event in events if event["event"] == "unreadable_requests_refused"]
    assert len(lines) <= took + 2
    assert len(events) == len(lines)
    assert caplog.records == []


async def test_a_body_that_turns_out_broken_is_refused_at_once() -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()
        wire.send(chunked(b"5\r\nhel", b"Expect: 100-continue"))
        # The handler waits for the body by now.
        await wire.reader.readuntil(b"\r\n\r\n")
        reply = await wire.ask(b"lo\r\nzz\r\n")
        rest = await wire.rest()

    assert (reply.status, reply.headers["connection"], rest) == (400, "close", b"")


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"zstd", b"gzip, gzip", b"identity"])
async def test_content_codings_are_refused_not_undone(coding: bytes) -> None:
    body = bytes.fromhex("1f8b08000000000000034b4c4a06002ea43e3703000000")
    async with serve(Limits()) as served:
        wire = await served.connect()
        reply = await wire.ask(post(body, b"Content-Encoding: " + coding))
        following = await wire.ask(post(b"next"))

    assert reply.status == 415
    assert reply.problem()["type"] == "urn:ietf:params:acme:error:malformed"
    assert following.body == b"next"


@pytest.mark.parametrize(
    "path", [b"/nowhere", b"/", b"//echo", b"/echo/", b"/%65cho", b"/Echo", b"/./echo", b"/echo;x"]
)
async def test_only_the_exact_path_is_served(path: bytes) -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()
        reply = await wire.ask(post(b"x", path=path))

    assert reply.status == 404
    assert reply.problem()["type"] == "urn:ietf:params:acme:error:malformed"
    assert reply.headers["x-completed"] == "yes"
    assert served.front_end.seen == []


async def test_a_defect_is_logged_with_its_traceback_and_not_told() -> None:
    with capture_logs() as events:
        async with serve(Limits()) as served:
            served.front_end.failure = RuntimeError("SECRET")
            wire = await served.connect()
            reply = await wire.ask(post(b"BODY", path=b"/fails"))
            following = await wire.ask(GET)

    problem = reply.problem()
    assert problem["type"] == "urn:ietf:params:acme:error:serverInternal"
    assert reply.status == 500
    assert b"SECRET" not in reply.body
    event = next(event for event in events if event.get("status") == 500)
    assert event["exc_info"] is served.front_end.failure
    assert event["request"] in str(problem["detail"])
    assert "BODY" not in repr(event)
    assert following.status == 200


async def test_a_front_end_that_cannot_even_refuse_is_a_defect_too() -> None:
    failure = RuntimeError("SECRET")
    with capture_logs() as events:
        async with serve(Limits()) as served:
            served.front_end.completion_failure = failure
            reply, rest = await served.send_once(GET)

    assert reply is not None
    assert (reply.status, reply.body, rest) == (500, b"", b"")
    assert [event["exc_info"] for event in events] == [failure]


async def test_a_missing_database_is_503_with_a_time_to_come_back() -> None:
    with capture_logs() as events:
        async with serve(Limits()) as served:
            served.front_end.failure = DatabaseUnavailable("10.0.0.7 refused")
            wire = await served.connect()
            reply = await wire.ask(post(b"", path=b"/fails"))

    assert reply.status == 503
    assert int(reply.headers["retry-after"]) > 0
    assert b"10.0.0.7" not in reply.body
    event = next(event for event in events if event.get("status") == 503)
    assert (event["log_level"], event["reason"]) == ("warning", "10.0.0.7 refused")
    assert "exc_info" not in event


async def test_a_handler_ends_though_its_client_is_gone() -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()
        wire.send(post(b"x", path=b"/held"))
        await served.front_end.started.acquire()
        wire.reset()
        await served.until_connections(0)
        served.front_end.may_end.set()

        async with asyncio.timeout(5):
            await served.front_end.ended.acquire()


async def test_each_request_is_one_event() -> None:
    with capture_logs() as events:
        async with serve(Limits()) as served:
            wire = await served.connect()
            await wire.ask(post(b"x", path=b"/echo/some-id"))
            await wire.ask(post(b"x", path=b"/%0d%0a%1b[2J"))

    first, second = events
    assert first.pop("duration_ms") >= 0
    assert first.pop("request") != second["request"]
    assert first == {
        "event": "request_ended",
        "log_level": "info",
        "method": "POST",
        "path": "/echo/some-id",
        "status": 200,
        "peer": "127.0.0.1",
    }
    assert second["status"] == 404
    assert second["path"] == "/%0d%0a%1b[2J"


async def test_who_asks_is_the_peer_unless_a_trusted_proxy_says_otherwise() -> None:
    forwarded = post(b"", b"X-Forwarded-For: 203.0.113.7, 198.51.100.9")
    async with serve(Limits()) as served:
        wire = await served.connect()
        await wire.ask(forwarded)
    trusting = ClientAddresses([ip_network("127.0.0.0/8")])
    async with serve(Limits(), addresses=trusting) as behind_proxy:
        wire = await behind_proxy.connect()
        await wire.ask(forwarded)

    assert [request.address for request in served.front_end.seen] == ["127.0.0.1"]
    assert [request.address for request in behind_proxy.front_end.seen] == ["198.51.100.9"]
