"""Authorizations from first to last: answers to challenges, and deactivation (RFC 8555, 7.5)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from storage.pool import Database
from support.acme import AcmeClient, any_id, serve_house
from support.edge import Reply
from support.jose import b64
from support.workflow import REFUSED, House, build_house, csr_for

DEACTIVATED = {"status": "deactivated"}


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


def parsed(reply: Reply) -> dict[str, Any]:
    """The object in an answer."""
    document: dict[str, Any] = json.loads(reply.body)
    return document


def refusal(reply: Reply) -> tuple[int, str, str]:
    """Status, type and detail of a problem."""
    problem = reply.problem()
    kind = str(problem["type"]).removeprefix("urn:ietf:params:acme:error:")
    return reply.status, kind, str(problem["detail"])


async def order(client: AcmeClient, *names: str) -> dict[str, Any]:
    """A new order's object and URL."""
    identifiers = [{"type": "dns", "value": name} for name in names]
    reply = await client.post(client.urls.new_order, {"identifiers": identifiers})
    return {"url": reply.headers["location"], **parsed(reply)}


async def challenge_url(client: AcmeClient, authorization: str, kind: str = "http-01") -> str:
    """The URL of one of an authorization's challenges."""
    challenges = parsed(await client.read(authorization))["challenges"]
    return next(str(entry["url"]) for entry in challenges if entry["type"] == kind)


# ---- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [{}, {"keyAuthorization": "x"}, {"status": "valid", "n": [1]}])
async def test_an_answer_is_any_object(house: House, payload: object) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        (authorization,) = (await order(client, "a.example"))["authorizations"]
        reply = await client.post(await challenge_url(client, authorization), payload)

    assert (reply.status, parsed(reply)["status"]) == (200, "valid")
    assert reply.links[0] == f'<{authorization}>;rel="up"'
    (task,) = house.validators.tasks
    assert task.type == "http-01"


@pytest.mark.parametrize("payload", [b"[]", b"null", b'"x"', b"1", b"{", b'{"a":1,"a":2}'])
async def test_an_answer_that_is_no_object_starts_nothing(house: House, payload: bytes) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        (authorization,) = (await order(client, "a.example"))["authorizations"]
        url = await challenge_url(client, authorization)
        reply = await client.post(url, payload)
        after = parsed(await client.read(url))

    assert refusal(reply)[:2] == (400, "malformed")
    assert after["status"] == "pending"
    assert house.validators.tasks == []


async def test_what_may_change_says_when_to_look_again(house: House) -> None:
    house.validators.gate.clear()
    async with serve_house(house) as served:
        client = await served.registered()
        placed = await order(client, "a.example")
        (authorization,) = placed["authorizations"]
        url = await challenge_url(client, authorization)
        read = [placed["url"], authorization, url]
        pending = [await client.read(each) for each in read]
        answered = await client.post(url, {})
        processing = [await client.read(each) for each in read]
        house.validators.gate.set()
        await house.worker.stop(10.0)
        decided = [await client.read(each) for each in read]

    assert parsed(answered)["status"] == "processing"
    for reply in (*pending, answered, *processing):
        assert int(reply.headers["retry-after"]) > 0
    assert [parsed(reply)["status"] for reply in decided] == ["ready", "valid", "valid"]
    assert not any("retry-after" in reply.headers for reply in decided)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_second_answer_changes_nothing(house: House, fails: bool) -> None:
    house.validators.problem = REFUSED if fails else None
    async with serve_house(house) as served:
        client = await served.registered()
        (authorization,) = (await order(client, "a.example"))["authorizations"]
        url = await challenge_url(client, authorization)
        first = await client.post(url, {})
        before = parsed(await client.read(authorization))
        again = await client.post(url, {})
        after = parsed(await client.read(authorization))

    assert parsed(first)["status"] == ("invalid" if fails else "valid")
    assert (again.status, parsed(again)) == (200, parsed(first))
    assert before == after
    assert len(house.validators.tasks) == 1


async def test_other_challenges_of_a_valid_authorization_need_no_answer(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        (authorization,) = (await order(client, "a.example"))["authorizations"]
        other = await challenge_url(client, authorization, "dns-01")
        await client.post(await challenge_url(client, authorization), {})
        reply = await client.post(other, {})
        after = parsed(await client.read(authorization))

    assert (reply.status, parsed(reply)["status"]) == (200, "pending")
    assert "retry-after" not in reply.headers
    assert after["status"] == "valid"
    assert len(house.validators.tasks) == 1


@pytest.mark.parametrize("end", ["invalid", "deactivated", "expired"])
async def test_challenges_of_an_ended_authorization_are_refused(house: House, end: str) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        (authorization,) = (await order(client, "a.example"))["authorizations"]
        other = await challenge_url(client, authorization, "dns-01")
        if end == "invalid":
            house.validators.problem = REFUSED
            await client.post(await challenge_url(client, authorization), {})
        elif end == "deactivated":
            await client.post(authorization, DEACTIVATED)
        else:
            await house.database.execute(
                "UPDATE authorizations SET expires_at = now() - interval '1 s'"
            )
        tasks = len(house.validators.tasks)
        reply = await client.post(other, {})

    status, kind, detail = refusal(reply)
    assert (status, kind) == (400, "malformed")
    assert f"is {end}" in detail
    assert len(house.validators.tasks) == tasks


async def test_names_and_authorizations_of_an_order_never_change(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        first = await order(client, "b.example", "*.a.example", "a.example")
        seen = [first]
        for authorization in first["authorizations"]:
            await client.post(await challenge_url(client, authorization, "dns-01"), {})
            seen.append(parsed(await client.read(first["url"])))
        csr = {"csr": b64(csr_for("a.example", "*.a.example", "b.example"))}
        seen.append(parsed(await client.post(first["finalize"], csr)))
        await client.post(first["authorizations"][0], DEACTIVATED)
        seen.append(parsed(await client.read(first["url"])))

    statuses = [document["status"] for document in seen]
    assert statuses == ["pending", "pending", "pending", "ready", "valid", "valid"]
    names = [identifier["value"] for identifier in first["identifiers"]]
    assert names == ["b.example", "*.a.example", "a.example"]
    for document in seen:
        assert document["identifiers"] == first["identifiers"]
        assert document["authorizations"] == first["authorizations"]


# ---- deactivation -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_proven", [False, True])
async def test_a_deactivated_authorization_ends_its_order(house: House, is_proven: bool) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        placed = await order(client, "a.example", "b.example")
        first, second = placed["authorizations"]
        for authorization in (first, second) if is_proven else ():
            await client.post(await challenge_url(client, authorization), {})
        before = parsed(await client.read(placed["url"]))
        reply = await client.post(first, {**DEACTIVATED, "more": 1})
        after = parsed(await client.read(placed["url"]))
        other = parsed(await client.read(second))
        csr = {"csr": b64(csr_for("a.example", "b.example"))}
        finalized = await client.post(placed["finalize"], csr)

    assert before["status"] == ("ready" if is_proven else "pending")
    assert (reply.status, parsed(reply)["status"]) == (200, "deactivated")
    assert after["status"] == "invalid"
    assert after["error"]["type"] == "urn:ietf:params:acme:error:unauthorized"
    assert other["status"] == ("valid" if is_proven else "pending")
    assert refusal(finalized)[:2] == (403, "orderNotReady")


async def test_a_deactivated_proof_is_not_reused(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        (authorization,) = (await order(client, "a.example"))["authorizations"]
        await client.post(await challenge_url(client, authorization), {})
        await client.post(authorization, DEACTIVATED)
        anew = await order(client, "a.example")

    assert anew["status"] == "pending"
    assert anew["authorizations"] != [authorization]


async def test_an_issued_certificate_survives_its_authorization(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        placed = await order(client, "a.example")
        (authorization,) = placed["authorizations"]
        await client.post(await challenge_url(client, authorization), {})
        await client.post(placed["finalize"], {"csr": b64(csr_for("a.example"))})
        reply = await client.post(authorization, DEACTIVATED)
        after = parsed(await client.read(placed["url"]))
        certificate = await client.read(after["certificate"])

    assert parsed(reply)["status"] == "deactivated"
    assert (after["status"], certificate.status) == ("valid", 200)


async def test_a_validation_under_way_does_not_revive_it(house: House) -> None:
    house.validators.gate.clear()
    async with serve_house(house) as served:
        client = await served.registered()
        (authorization,) = (await order(client, "a.example"))["authorizations"]
        await client.post(await challenge_url(client, authorization), {})
        await client.post(authorization, DEACTIVATED)
        house.validators.gate.set()
        await house.worker.stop(10.0)
        after = parsed(await client.read(authorization))

    assert after["status"] == "deactivated"


@pytest.mark.parametrize("end", ["deactivated", "invalid", "expired"])
async def test_what_has_ended_cannot_be_deactivated(house: House, end: str) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        (authorization,) = (await order(client, "a.example"))["authorizations"]
        if end == "deactivated":
            await client.post(authorization, DEACTIVATED)
        elif end == "invalid":
            house.validators.problem = REFUSED
            await client.post(await challenge_url(client, authorization), {})
        else:
            await house.database.execute(
                "UPDATE authorizations SET expires_at = now() - interval '1 s'"
            )
        events = "SELECT count(*) FROM audit_events"
        before = await house.database.fetchval(events)
        reply = await client.post(authorization, DEACTIVATED)
        after = parsed(await client.read(authorization))

    status, kind, detail = refusal(reply)
    assert (status, kind) == (400, "malformed")
    assert f"is {end}" in detail
    assert after["status"] == end
    assert await house.database.fetchval(events) == before


@pytest.mark.parametrize(
    "payload", [{}, {"status": "valid"}, {"status": "revoked"}, {"status": 1}, b"[]", b"x"]
)
async def test_no_other_update_is_accepted(house: House, payload: object) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        (authorization,) = (await order(client, "a.example"))["authorizations"]
        reply = await client.post(authorization, payload)
        after = parsed(await client.read(authorization))

    assert refusal(reply)[:2] == (400, "malformed")
    assert after["status"] == "pending"


async def test_deactivated_many_times_at_once_it_is_once(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        (authorization,) = (await order(client, "a.example"))["authorizations"]
        clients = [await served.connection_of(client) for _ in range(10)]
        replies = await asyncio.gather(*(each.post(authorization, DEACTIVATED) for each in clients))

    assert sorted(reply.status for reply in replies) == [200] + [400] * 9
    events = "SELECT count(*) FROM audit_events WHERE action = 'authorization_deactivated'"
    assert await house.database.fetchval(events) == 1


async def test_only_its_owner_deactivates_it(house: House) -> None:
    async with serve_house(house) as served:
        owner, stranger = await served.registered(), await served.registered()
        (authorization,) = (await order(owner, "a.example"))["authorizations"]
        foreign = await stranger.post(authorization, DEACTIVATED)
        missing = await stranger.post(served.urls.authorization(any_id()), DEACTIVATED)
        after = parsed(await owner.read(authorization))

    assert (foreign.status, foreign.body) == (404, missing.body)
    assert after["status"] == "pending"
