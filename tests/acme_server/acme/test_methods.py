"""Which methods each resource answers, and what every answer carries (RFC 8555, 6.3, 6.5, 7.1)."""

from __future__ import annotations

import json

import pytest

from acme_server.web import urls as paths
from support.acme import any_id, encoded, serve_acme
from support.edge import Reply

INDEX = '<https://acme.example/directory>;rel="index"'
READABLE = {
    paths.DIRECTORY: "GET, HEAD, OPTIONS, POST",
    paths.NEW_NONCE: "GET, HEAD, OPTIONS, POST",
}
SIGNED_ONLY = [
    paths.NEW_ACCOUNT,
    paths.NEW_ORDER,
    paths.NEW_AUTHORIZATION,
    paths.KEY_CHANGE,
    paths.REVOKE_CERTIFICATE,
    paths.ACCOUNT,
    paths.ACCOUNT_ORDERS,
    paths.ORDER,
    paths.FINALIZE,
    paths.AUTHORIZATION,
    paths.CHALLENGE,
    paths.CERTIFICATE,
    paths.CERTIFICATE_ALTERNATE,
]


def target(path: str) -> str:
    """A request target of the resource."""
    return path.format(id=encoded(any_id()), type="http-01", number=1)


def check_refusal(reply: Reply, allowed: str) -> None:
    """405 as a problem that says what would do."""
    assert (reply.status, reply.headers["allow"]) == (405, allowed)
    assert reply.problem() == {
        "type": "urn:ietf:params:acme:error:malformed",
        "status": 405,
        "detail": f"The methods allowed here are {allowed}.",
    }


@pytest.mark.parametrize("path", SIGNED_ONLY)
async def test_what_is_signed_is_never_got(path: str) -> None:
    async with serve_acme() as served:
        replies = [
            await (await served.client()).request(method, target(path))
            for method in ("GET", "PUT", "DELETE", "PATCH")
        ]

    for reply in replies:
        check_refusal(reply, "OPTIONS, POST")
        assert INDEX in reply.links


@pytest.mark.parametrize("path", READABLE)
async def test_what_may_be_got_is_not_written(path: str) -> None:
    async with serve_acme() as served:
        got = await (await served.client()).request("GET", path)
        replies = [
            await (await served.client()).request(method, path)
            for method in ("PUT", "DELETE", "PATCH")
        ]

    assert got.status in (200, 204)
    for reply in replies:
        check_refusal(reply, READABLE[path])


@pytest.mark.parametrize("method", ["HEAD", "GET", "POST"])
async def test_answers_with_a_nonce_are_not_stored(method: str) -> None:
    async with serve_acme() as served:
        client = await served.registered()
        if method == "POST":
            reply = await client.read(served.urls.new_nonce)
        else:
            reply = await client.request(method, paths.NEW_NONCE)

    assert reply.headers["cache-control"] == "no-store"
    assert len(reply.headers["replay-nonce"]) > 20
    assert reply.links == [INDEX]


async def test_the_directory_alone_does_not_point_to_itself() -> None:
    async with serve_acme() as served:
        client = await served.registered()
        directory = [
            await client.request("GET", paths.DIRECTORY),
            await client.read(served.urls.directory),
        ]
        others = [
            await client.read(served.urls.account(any_id())),
            await client.post(served.urls.new_order, {}),
            await client.request("GET", "/nothing"),
            await client.read(served.urls.order(served.fakes.orders.order.id)),
        ]

    assert [reply.links for reply in directory] == [[], []]
    assert all(reply.links == [INDEX] for reply in others)


@pytest.mark.parametrize("is_new", [True, False])
async def test_new_authorization_answers_as_the_rfc_says(is_new: bool) -> None:
    async with serve_acme() as served:
        client = await served.registered()
        served.fakes.authorizations.is_new = is_new
        payload = {"identifier": {"type": "dns", "value": "A.example", "more": 1}, "more": 2}
        reply = await client.post(served.urls.new_authorization, payload)
        id_ = served.fakes.authorizations.authorization.id
        read = await client.read(served.urls.authorization(id_))

    assert reply.status == (201 if is_new else 200)
    assert reply.headers["location"] == served.urls.authorization(id_)
    assert json.loads(reply.body) == json.loads(read.body)
    assert served.fakes.authorizations.requests == [("dns", "A.example")]
