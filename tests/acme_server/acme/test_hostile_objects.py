"""Hostile payloads over the real use cases, row by row: names of orders, contacts, states.

The ids are those of the table of hostile inputs: O orders and identifiers, A accounts. After each
row the tables are as they were before it, and the nonce of its answer works for the next.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storage.pool import Database
from support.acme import AcmeClient, serve_house
from support.adversary import Chain, fault_of, order_for, outcome, parsed, state_of
from support.jose import b64
from support.workflow import REFUSED, House, build_house, csr_for

MALFORMED = (400, "malformed")
NOT_FOUND = (404, "malformed")
NOT_READY = (403, "orderNotReady")


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


async def refused(
    house: House, chain: Chain, url: str, rows: dict[str, object]
) -> dict[str, tuple[int, str]]:
    """How each payload in ``rows`` ends at ``url``; none may change a row of any table."""
    outcomes: dict[str, tuple[int, str]] = {}
    before = await state_of(house.database)
    for id_, payload in rows.items():
        reply = await chain.post(url, payload)
        assert fault_of(reply) is None, id_
        assert await state_of(house.database) == before, id_
        outcomes[id_] = outcome(reply)
    return outcomes


# ---- O: orders ----------------------------------------------------------------------------------

LABEL = "a" * 63
NAMES: dict[str, tuple[str, ...]] = {
    "O002 empty": ("",),
    "O002 dot": (".",),
    "O002 two dots": ("a..example.com",),
    "O002 leading dot": (".example.com",),
    "O002 hyphen first": ("-a.example.com",),
    "O002 hyphen last": ("a-.example.com",),
    "O002 space": ("a b.example.com",),
    "O002 port": ("example.com:443",),
    "O002 URL": ("http://example.com",),
    "O002 path": ("example.com/x",),
    "O002 address of mail": ("a@example.com",),
    "O002 single label": ("localhost",),
    "O002 254 characters": (".".join([LABEL] * 3 + ["a" * 57, "aa", "a"]),),
    "O009": ("*.example.com", "www.example.com"),
    "O011": ("**",),
    "O011 twice": ("*.*",),
    "O011 below": ("*.*.com",),
    "O011 alone": ("*",),
    "O011 without a name": ("*.",),
    "O013": ("f*.example.com",),
    "O013 inside": ("a.*.example.com",),
    "O013 in one label": ("zombo*com",),
    "O013 wildcard of a single label": ("*.com",),
    "O015": ("example.com.",),
    "O015 wildcard": ("*.example.com.",),
    "O017": (LABEL + "a.example.com",),
    "O019": ("a." * 9 + "example.com",),
    "O021": ("a_b.example.com",),
    "O025": ("bücher.example",),
    "O025 full stop of ideographs": ("example。com",),
    "O025 full width": ("ｅxample.com",),
    "O025 soft hyphen": ("exam\u00adple.com",),
    "O025 sharp s": ("straße.example",),
    "O025 Kelvin sign": ("\u212aelvin.example",),
    "O027": ("xn--a.com",),
    "O027 0": ("xn--0.com",),
    "O027 long": ("xn--zzzzzzzzzz99999.com",),
    "O027 empty": ("xn--.com",),
    "O027 of ASCII": ("xn--abc-.com",),
    "O028 other prefix": ("ab--cd.example.com",),
    "O029": ("xn--109-3veba6djs1bfxlfmx6c9g.xn--f1awi.xn--p1ai",),
    "O035": ("2130706433",),
    "O035 hexadecimal": ("0x7f000001",),
    "O035 short": ("127.1",),
    "O035 octal": ("0177.0.0.1",),
    "O035 plain": ("127.0.0.1",),
    "O035 below a name": ("example.127",),
    "O035 hexadecimal below": ("example.0x7f",),
    "O037": ("fe80::1",),
    "O037 brackets": ("[2001:db8::1]",),
    "O037 port": ("[::1]:443",),
    "O037 mapped": ("::ffff:127.0.0.1",),
    "O045": ("good.example.com", "a_b.example.com", "x..example.com", "also.example.com"),
}


def _in_hours(count: int) -> str:
    return (datetime.now(UTC) + timedelta(hours=count)).isoformat()


ORDERS: dict[str, object] = {
    **{id_: order_for(*names) for id_, names in NAMES.items()},
    "O005": order_for(*(f"n{number}.example.com" for number in range(101))),
    "O007": order_for(*(f"n{n}.{LABEL}.{LABEL}.example.com" for n in range(80))),
    "O057": {**order_for("a.example"), "notAfter": "2099-01-01T00:00:00Z"},
    "O057 before it begins": {
        **order_for("a.example"),
        "notBefore": _in_hours(12),
        "notAfter": _in_hours(6),
    },
    "O057 in the past": {**order_for("a.example"), "notAfter": "2001-01-01T00:00:00Z"},
}
TYPES = ("DNS", "dnsName", "email", "", "IP", "dns ", "permanent-identifier")


async def test_hostile_names_and_times_are_refused(house: House) -> None:
    async with serve_house(house) as served:
        chain = await Chain.of(await served.registered())
        outcomes = await refused(house, chain, served.urls.new_order, ORDERS)

    assert outcomes == dict.fromkeys(ORDERS, MALFORMED)


async def test_o003_types_of_identifiers_are_matched_exactly(house: House) -> None:
    rows: dict[str, object] = {
        kind: {"identifiers": [{"type": kind, "value": "a.example"}]} for kind in TYPES
    }
    async with serve_house(house) as served:
        chain = await Chain.of(await served.registered())
        outcomes = await refused(house, chain, served.urls.new_order, rows)

    assert outcomes == dict.fromkeys(TYPES, (400, "unsupportedIdentifier"))


ACCEPTED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "O005 a hundred": (tuple(f"n{n}.example.com" for n in range(100)),) * 2,
    "O017 63 characters": ((LABEL + ".example.com",),) * 2,
    "O019 ten labels": (("a." * 8 + "example.com",),) * 2,
    "O031": (("XN--BCHER-KVA.de",), ("xn--bcher-kva.de",)),
    "O031 mixed": (("Www.EXAMPLE.com",), ("www.example.com",)),
    "O032 repeated": (("a.example", "A.example", "a.example"), ("a.example",)),
    "O033": (("xn--80ak6aa92e.com",),) * 2,
    "O039": (("example.internal", "host.local", "a.test", "x.invalid", "y.onion"),) * 2,
    "O009 not covered": (("*.example.com", "example.com", "a.b.example.com"),) * 2,
    "O002 253 characters": ((".".join([LABEL] * 3 + ["a" * 56, "aa", "a"]),),) * 2,
}


async def test_what_looks_hostile_and_is_a_name_is_ordered(house: House) -> None:
    async with serve_house(house) as served:
        chain = await Chain.of(await served.registered())
        for id_, (asked, expected) in ACCEPTED.items():
            reply = await chain.post(served.urls.new_order, order_for(*asked))
            assert reply.status == 201, (id_, reply.body)
            echoed = parsed(reply)["identifiers"]

            assert echoed == order_for(*expected)["identifiers"], id_


# ---- O: authorizations and challenges -----------------------------------------------------------


async def placed(client: AcmeClient, *names: str) -> dict[str, Any]:
    """A new order, with its URL in ``url`` and its authorizations' objects in ``proofs``."""
    reply = await client.post(client.urls.new_order, order_for(*names))
    order = parsed(reply)
    proofs = [parsed(await client.read(url)) for url in order["authorizations"]]
    return {**order, "url": reply.headers["location"], "proofs": proofs}


def challenge_of(order: dict[str, Any], kind: str = "http-01") -> str:
    """The URL of a challenge of the order's first authorization."""
    challenges = order["proofs"][0]["challenges"]
    return next(str(each["url"]) for each in challenges if each["type"] == kind)


async def status_of(client: AcmeClient, url: str) -> str:
    """The status of an object."""
    return str(parsed(await client.read(url))["status"])


async def test_o063_what_was_never_offered_is_missing(house: House) -> None:
    """Challenges are named by authorization and type, so none of another one can be meant."""
    async with serve_house(house) as served:
        client = await served.registered()
        plain, wildcard = await placed(client, "a.example"), await placed(client, "*.b.example")
        challenge = challenge_of(plain)
        base, encoded_id = challenge.rsplit("/", 2)[:2]
        urls = (
            f"{base}/{encoded_id}/nosuch-01",
            f"{base}/{encoded_id}/HTTP-01",
            challenge_of(wildcard, "dns-01").replace("dns-01", "http-01"),
            f"{base}/{plain['url'].rpartition('/')[2]}/http-01",
            f"{base}/{client.account_id}/http-01",
            f"{base}/{encoded_id[:-1]}/http-01",
            f"{base}/{'A' * 22}/http-01",
            f"{base}/{'_' * 22}/http-01",
            f"{base}/{encoded_id}/",
            f"{base}/{encoded_id}/http-01/",
            f"{base}/{encoded_id}",
        )
        other_kinds = (
            plain["url"].replace("/order/", "/authorization/"),
            plain["authorizations"][0].replace("/authorization/", "/order/"),
            plain["authorizations"][0].replace("/authorization/", "/certificate/"),
            plain["authorizations"][0].replace("/authorization/", "/account/"),
        )
        chain = await Chain.of(client)
        before = await state_of(house.database)
        payloads: tuple[object, ...] = (b"", {})
        cases = [(url, payload) for url in urls for payload in payloads]
        for url, payload in [*cases, *((url, b"") for url in other_kinds)]:
            reply = await chain.post(url, payload)

            assert (fault_of(reply), outcome(reply)) == (None, NOT_FOUND), url
            assert await state_of(house.database) == before, url


async def test_o063_only_deactivation_can_be_asked_of_an_authorization(house: House) -> None:
    rows: dict[str, object] = {
        "valid": {"status": "valid"},
        "nothing": {},
        "pending": {"status": "pending"},
        "invalid": {"status": "invalid"},
        "null": {"status": None},
        "list": {"status": ["deactivated"]},
        "object": {"status": {"deactivated": True}},
        "capitals": {"status": "Deactivated"},
        "no object": ["deactivated"],
    }
    async with serve_house(house) as served:
        client = await served.registered()
        order = await placed(client, "a.example")
        chain = await Chain.of(client)
        outcomes = await refused(house, chain, order["authorizations"][0], rows)

    assert outcomes == dict.fromkeys(rows, MALFORMED)


async def test_o065_a_decided_challenge_is_answered_unchanged(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        order = await placed(client, "a.example")
        first = await client.post(challenge_of(order), {})
        before = await state_of(house.database)
        again = await client.post(challenge_of(order), {})
        second = await client.post(challenge_of(order, "dns-01"), {})
        after = await state_of(house.database)

    assert parsed(first)["status"] == "valid"
    assert (again.status, again.body) == (200, first.body)
    assert (second.status, parsed(second)["status"]) == (200, "pending")
    assert after == before
    assert len(house.validators.tasks) == 1


async def test_j089_reading_a_challenge_starts_no_validation(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        order = await placed(client, "a.example")
        before = await state_of(house.database)
        reply = await client.read(challenge_of(order))
        after = await state_of(house.database)

    assert (reply.status, parsed(reply)["status"]) == (200, "pending")
    assert after == before
    assert house.validators.tasks == []


async def test_o066_a_failed_authorization_is_not_tried_again(house: House) -> None:
    house.validators.problem = REFUSED
    async with serve_house(house) as served:
        client = await served.registered()
        order = await placed(client, "a.example")
        failed = await client.post(challenge_of(order), {})
        house.validators.problem = None
        again = await client.post(challenge_of(order), {})
        other = await client.post(challenge_of(order, "dns-01"), {})
        statuses = [
            await status_of(client, url) for url in (*order["authorizations"], order["url"])
        ]

    assert parsed(failed)["status"] == "invalid"
    assert again.body == failed.body
    assert other.status == 400
    assert statuses == ["invalid", "invalid"]
    assert len(house.validators.tasks) == 1


async def test_o071_what_was_given_up_is_not_finalized(house: House) -> None:
    csr = {"csr": b64(csr_for("a.example"))}
    async with serve_house(house) as served:
        client = await served.registered()
        order = await placed(client, "a.example")
        await client.post(challenge_of(order), {})
        assert await status_of(client, order["url"]) == "ready"
        ended = await client.post(order["authorizations"][0], {"status": "deactivated"})
        chain = await Chain.of(client)
        outcomes = await refused(house, chain, order["finalize"], {"csr": csr})
        late = await client.post(challenge_of(order), {})
        following = await placed(client, "a.example")

    assert parsed(ended)["status"] == "deactivated"
    assert outcomes == {"csr": NOT_READY}
    assert late.status == 400
    assert following["status"] == "pending"
    assert following["authorizations"] != order["authorizations"]


async def test_d05_a_result_that_comes_after_the_deactivation_is_dropped(house: House) -> None:
    house.validators.gate.clear()
    async with serve_house(house) as served:
        clients = [await served.registered() for _ in range(2)]
        orders = [await placed(client, "a.example") for client in clients]
        for client, order in zip(clients, orders, strict=True):
            await client.post(challenge_of(order), {})
        assert clients[1].kid is not None
        await clients[0].post(orders[0]["authorizations"][0], {"status": "deactivated"})
        await clients[1].post(clients[1].kid, {"status": "deactivated"})
        house.validators.gate.set()
        await asyncio.gather(*house.worker._running)
        statuses = await house.database.fetch("SELECT status FROM authorizations")
        orders_now = await house.database.fetch("SELECT status FROM orders")

    assert {row["status"] for row in statuses} == {"deactivated"}
    assert {row["status"] for row in orders_now} == {"invalid"}
    assert await house.database.fetchval("SELECT count(*) FROM proven_names") == 0


# ---- A: accounts --------------------------------------------------------------------------------

CONTACTS: dict[str, tuple[list[str], str]] = {
    "A003": (["mailto:a@b.example", "tel:+1"], "unsupportedContact"),
    "A003 web": (["https://a.example/"], "unsupportedContact"),
    "A005 query": (["mailto:a@x.org?bcc=b@x.org"], "invalidContact"),
    "A005 two": (["mailto:a@x.org,b@x.org"], "invalidContact"),
    "A005 comma escaped": (["mailto:a@x.org%2Cb@x.org"], "invalidContact"),
    "A007 NUL escaped": (["mailto:a%00@x.org"], "invalidContact"),
    "A007 line escaped": (["mailto:a%0d%0aBcc:b@x.org"], "invalidContact"),
    "A009": (["mailto:ä@x.org"], "invalidContact"),
    "A009 domain": (["mailto:a@bücher.example"], "invalidContact"),
    "A009 fragment": (["mailto:a@x.org#b"], "invalidContact"),
    "A010 empty": (["mailto:"], "invalidContact"),
    "A010 nothing": ([""], "invalidContact"),
    "A010 no scheme": (["a@x.org"], "invalidContact"),
    "A010 no domain": (["mailto:a"], "invalidContact"),
    "A010 no user": (["mailto:@x.org"], "invalidContact"),
    "A010 display name": (["mailto:A <a@x.org>"], "invalidContact"),
    "A010 long": (["mailto:" + "a" * 5000 + "@x.org"], "invalidContact"),
    "A010 many": ([f"mailto:a{n}@x.org" for n in range(100)], "invalidContact"),
}


async def test_hostile_contacts_are_refused(house: House) -> None:
    expected = {id_: (400, kind) for id_, (_, kind) in CONTACTS.items()}
    rows: dict[str, object] = {
        id_: {"termsOfServiceAgreed": True, "contact": contact}
        for id_, (contact, _) in CONTACTS.items()
    }
    async with serve_house(house) as served:
        new = await served.client()
        registering = await refused(house, await Chain.of(new), served.urls.new_account, rows)
        await new.register()
        assert new.kid is not None
        updating = await refused(house, await Chain.of(new), new.kid, rows)

    assert registering == expected
    assert updating == expected


async def test_another_accounts_url_is_missing_to_a_stranger(house: House) -> None:
    async with serve_house(house) as served:
        owner, stranger = await served.registered(), await served.registered()
        assert owner.kid is not None
        rows: dict[str, object] = {
            "read": b"",
            "update": {"contact": []},
            "deactivate": {"status": "deactivated"},
        }
        outcomes = await refused(house, await Chain.of(stranger), owner.kid, rows)

    assert outcomes == dict.fromkeys(rows, NOT_FOUND)
