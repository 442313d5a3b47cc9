"""Each resource: whole answers to right requests."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from acme_server.acme.directory import DirectoryMeta
from policy.model.authorizations import AuthorizationStatus, Challenge, ChallengeStatus
from policy.model.errors import ErrorKind, Problem, ServerError
from policy.model.ids import CertificateId
from policy.model.orders import OrderStatus
from support.acme import (
    EXTERNAL_URL,
    LATER,
    any_authorization,
    any_id,
    any_order,
    encoded,
    serve_acme,
)
from support.edge import Reply
from support.jose import ALGORITHMS, b64

INDEX = '<https://acme.example/directory>;rel="index"'


def common(reply: Reply) -> dict[str, str]:
    """What all answers to signed requests have, checked; the headers that are this one's own."""
    headers = dict(reply.headers)
    assert len(headers.pop("replay-nonce")) > 20
    assert headers.pop("cache-control") == "no-store"
    assert headers.pop("access-control-allow-origin") == "*"
    exposed = headers.pop("access-control-expose-headers")
    assert exposed == "Link, Location, Replay-Nonce, Retry-After"
    assert headers.pop("x-content-type-options") == "nosniff"
    del headers["date"], headers["content-length"]
    return headers


async def test_the_directory_lists_what_is_served() -> None:
    meta = DirectoryMeta(
        terms_of_service="https://acme.example/terms",
        website="https://example.com/",
        caa_identities=("example.com",),
        external_account_required=True,
        profiles={"tls_server": "TLS servers.", "mine": "https://example.com/profiles#mine"},
    )
    async with serve_acme(meta) as served:
        client = await served.client()
        reply = await client.request("GET", "/directory")
        served_urls = [url for url in json.loads(reply.body).values() if isinstance(url, str)]
        statuses = {
            (await client.request("OPTIONS", url.removeprefix(EXTERNAL_URL))).status
            for url in served_urls
        }

    assert reply.headers["content-type"] == "application/json"
    assert "replay-nonce" not in reply.headers
    assert "link" not in reply.headers
    assert json.loads(reply.body) == {
        "newNonce": "https://acme.example/acme/new-nonce",
        "newAccount": "https://acme.example/acme/new-account",
        "newOrder": "https://acme.example/acme/new-order",
        "newAuthz": "https://acme.example/acme/new-authorization",
        "revokeCert": "https://acme.example/acme/revoke-certificate",
        "keyChange": "https://acme.example/acme/key-change",
        "meta": {
            "termsOfService": "https://acme.example/terms",
            "website": "https://example.com/",
            "caaIdentities": ["example.com"],
            "externalAccountRequired": True,
            "profiles": {
                "tls_server": "TLS servers.",
                "mine": "https://example.com/profiles#mine",
            },
        },
    }
    assert statuses == {204}


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204)])
async def test_a_nonce_costs_nothing_but_the_asking(method: str, status: int) -> None:
    async with serve_acme() as served:
        client = await served.client()
        first = await client.request(method, "/acme/new-nonce")
        second = await client.request(method, "/acme/new-nonce")

    assert (first.status, first.body) == (status, b"")
    assert first.headers["replay-nonce"] != second.headers["replay-nonce"]
    assert first.headers["cache-control"] == "no-store"
    assert first.headers["link"] == INDEX


async def test_directory_and_new_nonce_can_be_read_by_post() -> None:
    async with serve_acme() as served:
        client = await served.registered()
        directory = await client.read(served.urls.directory)
        nonce = await client.read(served.urls.new_nonce)
        get = await client.request("GET", "/directory")

    assert (directory.status, directory.body) == (200, get.body)
    assert common(directory) == {"content-type": "application/json"}
    assert (nonce.status, nonce.body) == (204, b"")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_an_account_is_made_and_found_again(algorithm: str) -> None:
    async with serve_acme() as served:
        client = await served.client(algorithm)
        payload = {"contact": ["mailto:a@example.org"], "termsOfServiceAgreed": True, "new": 1}
        made = await client.post(served.urls.new_account, payload)
        found = await client.post(served.urls.new_account, {"onlyReturnExisting": True})
        account_url = made.headers["location"]

    assert (made.status, found.status) == (201, 200)
    assert (
        common(made)
        == common(found)
        == {
            "content-type": "application/json",
            "location": account_url,
            "link": INDEX,
        }
    )
    assert (
        json.loads(made.body)
        == json.loads(found.body)
        == {
            "status": "valid",
            "contact": ["mailto:a@example.org"],
            "termsOfServiceAgreed": True,
            "orders": account_url + "/orders",
        }
    )
    first, second = served.fakes.accounts.requests
    assert b64(first.thumbprint) == client.key.thumbprint
    assert json.loads(first.jwk) == client.key.jwk
    assert first.contacts == ("mailto:a@example.org",)
    assert (first.terms_agreed, first.only_return_existing, first.address) == (
        True,
        False,
        "127.0.0.1",
    )
    assert (second.terms_agreed, second.only_return_existing) == (False, True)


async def test_terms_to_agree_to_are_pointed_to() -> None:
    terms = "https://acme.example/terms"
    async with serve_acme(DirectoryMeta(terms_of_service=terms)) as served:
        client = await served.client()
        refusal = ServerError(ErrorKind.USER_ACTION_REQUIRED, "Agree first.")
        served.fakes.accounts.refusal = refusal
        reply = await client.post(served.urls.new_account, {})

    assert reply.status == 403
    assert reply.problem() == {
        "type": "urn:ietf:params:acme:error:userActionRequired",
        "detail": "Agree first.",
        "status": 403,
        "instance": terms,
    }
    assert reply.links == [f'<{terms}>;rel="terms-of-service"', INDEX]


async def test_a_key_that_is_taken_points_to_its_account() -> None:
    id_ = any_id()
    async with serve_acme() as served:
        client = await served.client()
        served.fakes.accounts.refusal = ServerError(
            ErrorKind.CONFLICT, "Taken.", location=encoded(id_)
        )
        reply = await client.post(served.urls.new_account, {})

    assert (reply.status, reply.headers["location"]) == (409, served.urls.account(id_))


async def test_who_is_too_fast_is_told_when_to_come_back() -> None:
    async with serve_acme() as served:
        client = await served.client()
        served.fakes.accounts.refusal = ServerError(
            ErrorKind.RATE_LIMITED, "Too many.", retry_after=90
        )
        reply = await client.post(served.urls.new_account, {})

    assert (reply.status, reply.headers["retry-after"]) == (429, "90")


async def test_an_account_is_read_updated_and_deactivated() -> None:
    async with serve_acme() as served:
        client = await served.registered()
        assert client.kid is not None
        read = await client.read(client.kid)
        nothing = await client.post(client.kid, {"status": "valid", "orders": "https://x"})
        updated = await client.post(client.kid, {"contact": ["mailto:b@example.org"]})
        emptied = await client.post(client.kid, {"contact": []})
        ended = await client.post(client.kid, {"status": "deactivated"})
        refused = await client.read(client.kid)

    assert json.loads(read.body) == json.loads(nothing.body)
    assert json.loads(updated.body)["contact"] == ["mailto:b@example.org"]
    assert "contact" not in json.loads(emptied.body)
    assert json.loads(ended.body)["status"] == "deactivated"
    assert [reply.status for reply in (read, nothing, updated, emptied, ended)] == [200] * 5
    assert refused.status == 401
    assert refused.problem()["type"] == "urn:ietf:params:acme:error:unauthorized"


async def test_another_account_is_not_found() -> None:
    async with serve_acme() as served:
        client, other = await served.registered(), await served.registered()
        assert other.kid is not None
        foreign = await client.post(other.kid, {"status": "deactivated"})
        missing = await client.read(served.urls.account(any_id()))

    assert (foreign.status, foreign.body) == (404, missing.body)
    assert {account.status for account in served.fakes.accounts.accounts.values()} == {"valid"}


async def test_a_new_order_is_created() -> None:
    async with serve_acme() as served:
        client = await served.registered()
        reply = await client.post(
            served.urls.new_order,
            {
                "identifiers": [{"type": "dns", "value": "*.A.example", "more": 1}],
                "notBefore": "2026-12-01T01:30:00+01:30",
                "notAfter": "2026-12-02t00:00:00.5z",
                "profile": "tls",
            },
        )
        order = served.fakes.orders.order

    url = f"https://acme.example/acme/order/{encoded(order.id)}"
    assert reply.status == 201
    assert common(reply) == {
        "content-type": "application/json",
        "location": url,
        "link": INDEX,
        "retry-after": "1",
    }
    assert json.loads(reply.body) == {
        "status": "pending",
        "expires": "2026-12-24T18:00:00Z",
        "identifiers": [{"type": "dns", "value": "*.a.example"}],
        "profile": "default",
        "authorizations": [
            f"https://acme.example/acme/authorization/{encoded(order.authorization_ids[0])}"
        ],
        "finalize": url + "/finalize",
    }
    (request,) = served.fakes.orders.requests
    assert request.unverified_identifiers == [("dns", "*.A.example")]
    assert request.not_before == datetime(2026, 12, 1, tzinfo=UTC)
    assert request.not_after == datetime(2026, 12, 2, 0, 0, 0, 500_000, tzinfo=UTC)
    assert request.profile == "tls"


@pytest.mark.parametrize(
    ("status", "is_worth_waiting"),
    [
        (OrderStatus.PENDING, True),
        (OrderStatus.READY, False),
        (OrderStatus.PROCESSING, True),
        (OrderStatus.VALID, False),
        (OrderStatus.INVALID, False),
    ],
)
async def test_an_order_is_read(status: OrderStatus, is_worth_waiting: bool) -> None:
    certificate_id = CertificateId(any_id())
    order = any_order(
        status=status,
        not_before=LATER,
        not_after=LATER,
        certificate_id=certificate_id,
        error=Problem(kind=ErrorKind.CAA, detail="Forbidden.") if status == "invalid" else None,
    )
    async with serve_acme() as served:
        served.fakes.orders.order = order
        client = await served.registered()
        reply = await client.read(served.urls.order(order.id))

    document = json.loads(reply.body)
    assert (reply.status, document["status"]) == (200, status)
    assert document["notBefore"] == document["notAfter"] == "2026-12-24T18:00:00Z"
    assert ("retry-after" in reply.headers) == is_worth_waiting
    if status is OrderStatus.VALID:
        url = f"https://acme.example/acme/certificate/{encoded(certificate_id)}"
        assert document["certificate"] == url
    else:
        assert "certificate" not in document
    if status is OrderStatus.INVALID:
        assert document["error"] == {
            "type": "urn:ietf:params:acme:error:caa",
            "detail": "Forbidden.",
            "status": 403,
        }


@pytest.mark.parametrize("status", [OrderStatus.PROCESSING, OrderStatus.VALID])
async def test_an_order_is_finalized(status: OrderStatus) -> None:
    async with serve_acme() as served:
        served.fakes.orders.order = any_order(status=status)
        client = await served.registered()
        url = served.urls.order(served.fakes.orders.order.id)
        reply = await client.post(url + "/finalize", {"csr": b64(b"\x30\x00")})

    assert (reply.status, json.loads(reply.body)["status"]) == (200, status)
    assert reply.headers["location"] == url
    assert ("retry-after" in reply.headers) == (status is OrderStatus.PROCESSING)
    assert served.fakes.orders.csrs == [b"\x30\x00"]


async def test_an_authorization_is_read_and_deactivated() -> None:
    async with serve_acme() as served:
        authorization = served.fakes.authorizations.authorization
        client = await served.registered()
        url = served.urls.authorization(authorization.id)
        read = await client.read(url)
        ended = await client.post(url, {"status": "deactivated"})
        refused = await client.post(url, {"status": "valid"})

    challenge = f"https://acme.example/acme/challenge/{encoded(authorization.id)}"
    assert (read.status, common(read)) == (
        200,
        {"content-type": "application/json", "link": INDEX, "retry-after": "1"},
    )
    assert json.loads(read.body) == {
        "status": "pending",
        "expires": "2026-12-24T18:00:00Z",
        "identifier": {"type": "dns", "value": "a.example"},
        "challenges": [
            {
                "type": kind,
                "url": f"{challenge}/{kind}",
                "status": "pending",
                "token": "token",
            }
            for kind in ("http-01", "dns-01")
        ],
    }
    assert json.loads(ended.body)["status"] == "deactivated"
    assert (refused.status, served.fakes.authorizations.deactivations) == (400, 1)


async def test_a_wildcard_authorization_says_so() -> None:
    async with serve_acme() as served:
        served.fakes.authorizations.authorization = any_authorization(wildcard=True)
        client = await served.registered()
        id_ = served.fakes.authorizations.authorization.id
        reply = await client.read(served.urls.authorization(id_))

    assert json.loads(reply.body)["wildcard"] is True


FAILED = Challenge(
    type="dns-01",
    status=ChallengeStatus.INVALID,
    token="token",
    error=Problem(kind=ErrorKind.DNS, detail="NXDOMAIN.", cause="no-such-name"),
)
VALIDATED = Challenge(
    type="http-01", status=ChallengeStatus.VALID, token="token", validated_at=LATER
)
OPEN = Challenge(type="tls-alpn-01", status=ChallengeStatus.PENDING, token="token")


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (AuthorizationStatus.VALID, ["http-01"]),
        (AuthorizationStatus.INVALID, ["dns-01"]),
        (AuthorizationStatus.PENDING, ["http-01", "dns-01", "tls-alpn-01"]),
        (AuthorizationStatus.EXPIRED, ["http-01", "dns-01", "tls-alpn-01"]),
    ],
)
async def test_a_decided_authorization_shows_what_decided(
    status: AuthorizationStatus, shown: list[str]
) -> None:
    async with serve_acme() as served:
        authorization = any_authorization(status=status, challenges=(VALIDATED, FAILED, OPEN))
        served.fakes.authorizations.authorization = authorization
        client = await served.registered()
        reply = await client.read(served.urls.authorization(authorization.id))

    challenges = json.loads(reply.body)["challenges"]
    assert [challenge["type"] for challenge in challenges] == shown
    for challenge in challenges:
        if challenge["type"] == "http-01":
            assert challenge["validated"] == "2026-12-24T18:00:00Z"
        if challenge["type"] == "dns-01":
            assert challenge["error"] == {
                "type": "urn:ietf:params:acme:error:dns",
                "detail": "NXDOMAIN.",
                "status": 400,
            }


async def test_a_challenge_is_read_without_being_answered() -> None:
    async with serve_acme() as served:
        id_ = served.fakes.authorizations.authorization.id
        client = await served.registered()
        reply = await client.read(served.urls.challenge(id_, "dns-01"))

    assert reply.status == 200
    assert json.loads(reply.body)["type"] == "dns-01"
    assert served.fakes.authorizations.answers == []


@pytest.mark.parametrize("payload", [{}, {"keyAuthorization": "x"}, {"anything": [1]}])
async def test_a_challenge_is_answered(payload: object) -> None:
    async with serve_acme() as served:
        authorization = served.fakes.authorizations.authorization
        processing = tuple(
            replace(challenge, status=ChallengeStatus.PROCESSING)
            for challenge in authorization.challenges
        )
        served.fakes.authorizations.authorization = replace(authorization, challenges=processing)
        client = await served.registered()
        wire_url = served.urls.challenge(authorization.id, "http-01")
        reply = await client.post(wire_url, payload)
        read = await client.read(served.urls.authorization(authorization.id))

    up = f'<https://acme.example/acme/authorization/{encoded(authorization.id)}>;rel="up"'
    assert reply.status == 200
    assert json.loads(reply.body)["status"] == "processing"
    assert served.fakes.authorizations.answers == ["http-01"]
    assert int(reply.headers["retry-after"]) > 0
    assert int(read.headers["retry-after"]) > 0
    assert reply.links == [up, INDEX]


async def test_a_certificate_is_its_chain_in_pem() -> None:
    async with serve_acme() as served:
        client = await served.registered()
        reply = await client.read(served.urls.certificate(served.fakes.certificates.id))

    assert reply.status == 200
    assert common(reply) == {
        "content-type": "application/pem-certificate-chain",
        "link": INDEX,
    }
    assert reply.body.decode() == "".join(
        f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
        for text in ("bGVhZg==", "aXNzdWluZw==", "Y3Jvc3M=")
    )


@pytest.mark.parametrize(
    "path",
    [
        "/acme/order/{missing}",
        "/acme/order/x",
        "/acme/order/{order}A",
        "/acme/order/{order}=",
        "/acme/order/%2e%2e",
        "/acme/authorization/{missing}",
        "/acme/authorization/{order}",
        "/acme/challenge/{missing}/http-01",
        "/acme/challenge/{authorization}/tls-alpn-01",
        "/acme/challenge/{authorization}/HTTP-01",
        "/acme/certificate/{missing}",
        "/acme/certificate/x",
    ],
)
async def test_what_is_not_there_is_not_found(path: str) -> None:
    async with serve_acme() as served:
        fakes = served.fakes
        names = {
            "missing": encoded(any_id()),
            "order": encoded(fakes.orders.order.id),
            "authorization": encoded(fakes.authorizations.authorization.id),
        }
        client = await served.registered()
        reply = await client.read(EXTERNAL_URL + path.format(**names))

    assert reply.status == 404
    assert reply.problem()["type"] == "urn:ietf:params:acme:error:malformed"
    assert common(reply) == {"content-type": "application/problem+json", "link": INDEX}


async def test_reading_is_only_by_an_empty_payload() -> None:
    async with serve_acme() as served:
        client = await served.registered()
        urls = [
            served.urls.order(served.fakes.orders.order.id),
            served.urls.certificate(served.fakes.certificates.id),
            served.urls.directory,
            served.urls.new_nonce,
        ]
        replies = [await client.post(url, {}) for url in urls]

    assert [reply.status for reply in replies] == [400] * 4


@pytest.mark.parametrize("path", ["/acme/new-account", "/acme/new-order", "/acme/order/x"])
async def test_resources_cannot_be_got(path: str) -> None:
    async with serve_acme() as served:
        client = await served.client()
        reply = await client.request("GET", path)

    assert (reply.status, reply.headers["allow"]) == (405, "OPTIONS, POST")
    assert reply.problem()["type"] == "urn:ietf:params:acme:error:malformed"


async def test_browsers_may_ask_before_they_post() -> None:
    async with serve_acme() as served:
        client = await served.client()
        reply = await client.request("OPTIONS", "/acme/new-order", b"", {"Origin": "https://x"})

    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-allow-methods"] == "POST, OPTIONS"
    assert reply.headers["access-control-allow-headers"] == "Content-Type"
    assert "access-control-allow-credentials" not in reply.headers


@pytest.mark.parametrize(("is_deactivated", "status"), [(True, 401), (False, 403)])
async def test_an_account_that_changed_meanwhile_is_read_anew(
    is_deactivated: bool, status: int
) -> None:
    async with serve_acme() as served:
        client = await served.registered()
        served.fakes.make_stale(is_deactivated=is_deactivated)
        order = {"identifiers": [{"type": "dns", "value": "a.example"}]}
        reply = await client.post(served.urls.new_order, order)

    assert reply.status == status
    assert reply.problem()["type"] == "urn:ietf:params:acme:error:unauthorized"
    assert [encoded(id_) for id_ in served.fakes.accounts.forgotten] == [client.account_id]


async def test_an_external_url_may_have_a_path() -> None:
    async with serve_acme(external_url="https://acme.example/pki") as served:
        client = await served.registered()
        order = {"identifiers": [{"type": "dns", "value": "a.example"}]}
        reply = await client.post(served.urls.new_order, order)
        outside = await client.request("GET", "/directory")

    assert reply.status == 201
    assert reply.headers["location"].startswith("https://acme.example/pki/acme/order/")
    assert outside.status == 404
