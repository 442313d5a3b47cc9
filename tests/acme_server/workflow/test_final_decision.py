"""Policy decides on the final template: what changed since the order was placed counts."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acme_server.workflow.accounts import NewAccountRequest
from acme_server.workflow.issuance import IssuanceUseCases
from acme_server.workflow.orders import NewOrderRequest
from policy.csr import jwk_thumbprint
from policy.keys import parse_certificate_key
from policy.model.errors import ErrorKind, ServerError
from policy.model.orders import OrderStatus
from policy.names import NameRules
from policy.profiles import TLS_SERVER, Profile
from storage.issuances import Issuances
from storage.pool import Database
from support.workflow import House, build_house, csr_for


@pytest.fixture
async def house(database: Database) -> House:
    return await build_house(database)


def _issuance(
    house: House, *, names: NameRules | None = None, profiles: Mapping[str, Profile] | None = None
) -> IssuanceUseCases:
    """The issuance core of a process with other rules than those of the house's orders."""
    return IssuanceUseCases(
        Issuances(house.database),
        house.authority,
        house.issuance._clock,
        profiles or {TLS_SERVER.name: TLS_SERVER},
        names=names or NameRules(),
        owner="other",
    )


async def test_a_name_denied_since_the_order_is_refused_and_leaves_the_order_ready(
    house: House,
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")
    issuance = _issuance(house, names=NameRules(denied=frozenset({"example.com"})))

    with pytest.raises(ServerError, match="denied") as refusal:
        await issuance.finalize(caller, order.id, csr_for("www.example.com"))

    assert refusal.value.kind is ErrorKind.REJECTED_IDENTIFIER
    assert (await house.orders.get(caller, order.id)).status is OrderStatus.READY
    assert await house.database.fetchval("SELECT count(*) FROM serials") == 0
    done = await house.issuance.finalize(caller, order.id, csr_for("www.example.com"))
    assert done.status is OrderStatus.VALID


async def test_a_proof_by_a_method_that_the_profile_does_not_accept_is_no_proof(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")
    profile = replace(TLS_SERVER, challenge_types=frozenset({"tls-alpn-01"}))
    # The version is pinned on the order; this is about a process that would overlook it.
    monkeypatch.setattr(type(profile), "version", TLS_SERVER.version)

    with pytest.raises(ServerError, match="not proven") as refusal:
        await _issuance(house, profiles={profile.name: profile}).finalize(
            caller, order.id, csr_for("www.example.com")
        )

    assert refusal.value.kind is ErrorKind.UNAUTHORIZED
    assert (await house.orders.get(caller, order.id)).status is OrderStatus.READY


async def test_an_end_after_the_issuers_own_is_refused_at_new_order(house: House) -> None:
    caller = await house.caller()
    rules = replace(house.orders._rules, issuer_not_after=datetime.now(UTC) + timedelta(days=5))
    house.orders._rules = rules
    request = NewOrderRequest(
        unverified_identifiers=[("dns", "www.example.com")],
        not_before=None,
        not_after=datetime.now(UTC) + timedelta(days=6),
        profile=None,
    )

    with pytest.raises(ServerError, match="CA itself ends earlier") as refusal:
        await house.orders.create(caller, request)

    assert refusal.value.kind is ErrorKind.MALFORMED


async def test_a_wildcard_without_a_dns_challenge_on_offer_is_refused_at_new_order(
    house: House,
) -> None:
    caller = await house.caller()
    house.orders._rules = replace(house.orders._rules, challenge_types=("http-01", "tls-alpn-01"))

    with pytest.raises(ServerError, match="can't be proven here") as refusal:
        await house.order(caller, "*.example.com")

    assert refusal.value.kind is ErrorKind.REJECTED_IDENTIFIER


async def test_only_challenge_types_that_the_profile_accepts_are_offered(house: House) -> None:
    caller = await house.caller()
    profile = replace(TLS_SERVER, challenge_types=frozenset({"dns-01"}))
    house.orders._rules = replace(house.orders._rules, profiles={profile.name: profile})

    order = await house.order(caller, "www.example.com")

    authorization = await house.authorizations.get(caller, order.authorization_ids[0])
    assert [challenge.type for challenge in authorization.challenges] == ["dns-01"]


class KeyTakenMeanwhile:
    """In the place of the CAA check, which takes its time: ``take`` happens meanwhile."""

    def __init__(self, take: Callable[[], Awaitable[object]]) -> None:
        self._take = take

    async def check(self, *_: object) -> None:
        """Permits, late."""
        await self._take()

    async def drain(self, grace: float) -> None:
        """Nothing is under way."""


@pytest.mark.parametrize("use", ["account", "blocked"])
async def test_a_key_that_is_taken_between_reading_and_claiming_gets_no_certificate(
    house: House, use: str
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")
    key = ec.generate_private_key(ec.SECP256R1())
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    thumbprint = jwk_thumbprint(parse_certificate_key(spki))

    async def become_an_account() -> None:
        request = NewAccountRequest(
            jwk=b"{}",
            thumbprint=thumbprint,
            spki_sha256=hashlib.sha256(spki).digest(),
            contacts=(),
            terms_agreed=True,
            only_return_existing=False,
            address="192.0.2.1",
        )
        await house.accounts.register(request)

    async def become_blocked() -> None:
        # As the role that serves may; by whom does not matter here.
        await house.database.execute(
            "INSERT INTO blocked_keys (thumbprint, certificate_id, blocked_by) "
            "VALUES ($1, new_id(), 'operator:test')",
            thumbprint,
        )

    issuance = _issuance(house)
    take = become_an_account if use == "account" else become_blocked
    issuance._caa = KeyTakenMeanwhile(take)  # type: ignore[assignment]

    with pytest.raises(ServerError, match="The CSR's key") as refusal:
        await issuance.finalize(caller, order.id, csr_for("www.example.com", key=key))

    assert refusal.value.kind is ErrorKind.BAD_CSR
    assert (await house.orders.get(caller, order.id)).status is OrderStatus.READY
    assert await house.database.fetchval("SELECT count(*) FROM serials") == 0
