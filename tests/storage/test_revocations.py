"""Revocations: who may, once, and what follows for keys and CRLs."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from policy.csr import jwk_thumbprint
from policy.model.accounts import Caller
from policy.model.certificates import RevocationReason
from policy.model.errors import CallerStale
from policy.revocation import UnverifiedCertificate, parse_certificate
from storage.pool import Database
from storage.revocations import KeyProof, RevocationOutcome, Revocations
from support.workflow import House, build_house, csr_for

REVOKED, REFUSED = RevocationOutcome.REVOKED, RevocationOutcome.REFUSED
ALREADY, EXPIRED = RevocationOutcome.ALREADY_REVOKED, RevocationOutcome.EXPIRED
SUPERSEDED, COMPROMISE = RevocationReason.SUPERSEDED, RevocationReason.KEY_COMPROMISE


@pytest.fixture
async def house(database: Database) -> House:
    return await build_house(database)


@pytest.fixture
def table(database: Database) -> Revocations:
    return Revocations(database)


async def issue(
    house: House, caller: Caller, *names: str, key: ec.EllipticCurvePrivateKey | None = None
) -> UnverifiedCertificate:
    """A new certificate of the account."""
    order = await house.ready_order(caller, *names)
    done = await house.issuance.finalize(caller, order.id, csr_for(*names, key=key))
    assert done.certificate_id is not None
    chain = await house.certificates.get(caller, done.certificate_id)
    return parse_certificate(chain.certificate)


def proof_of(key: ec.EllipticCurvePrivateKey) -> KeyProof:
    """What the front end knows of who signed with the key."""
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return KeyProof(jwk_thumbprint(key.public_key()), hashlib.sha256(spki).digest())


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


async def reasons(database: Database) -> list[int | None]:
    """The reasons of all certificates, in the order of their issuance."""
    rows = await database.fetch("SELECT revocation_reason FROM certificates ORDER BY id")
    return [row[0] for row in rows]


async def events(database: Database) -> list[tuple[str, str]]:
    """Actor and action of what revocations told."""
    rows: list[Any] = await database.fetch(
        "SELECT split_part(actor, ':', 1), action FROM audit_events"
        " WHERE action IN ('certificate_revoked', 'key_blocked') ORDER BY action"
    )
    return [(row[0], row[1]) for row in rows]


async def test_account_revokes_what_was_issued_to_it(house: House, table: Revocations) -> None:
    caller = await house.caller()
    certificate = await issue(house, caller, "a.example")
    other = await issue(house, caller, "b.example")

    assert await table.revoke_for(caller, certificate, SUPERSEDED) is REVOKED

    assert await reasons(house.database) == [SUPERSEDED, None]
    assert await events(house.database) == [("account", "certificate_revoked")]
    assert await table.revoke_for(caller, certificate, SUPERSEDED) is ALREADY
    assert await table.revoke_for(caller, other, COMPROMISE) is REVOKED
    assert await house.database.fetchval("SELECT count(*) FROM blocked_keys") == 0


async def test_account_without_authorizations_is_refused_as_for_an_unknown_certificate(
    house: House, table: Revocations
) -> None:
    owner, stranger = await house.caller(), await house.caller()
    certificate = await issue(house, owner, "a.example")
    unknown = replace(certificate, serial=os.urandom(16))

    assert await table.revoke_for(stranger, certificate, SUPERSEDED) is REFUSED
    assert await table.revoke_for(owner, unknown, SUPERSEDED) is REFUSED
    assert await reasons(house.database) == [None]
    assert await events(house.database) == []


@pytest.mark.parametrize(
    ("held", "is_entitled"),
    [
        (("a.example", "*.a.example"), True),
        (("a.example", "*.a.example", "b.example"), True),
        (("a.example",), False),
        (("*.a.example",), False),
        (("a.example", "*.b.example"), False),
        (("b.example", "*.b.example"), False),
    ],
)
async def test_account_that_holds_authorizations_for_all_names_revokes(
    house: House, table: Revocations, held: tuple[str, ...], is_entitled: bool
) -> None:
    owner, other = await house.caller(), await house.caller()
    certificate = await issue(house, owner, "a.example", "*.a.example")
    await house.ready_order(other, *held)

    outcome = await table.revoke_for(other, certificate, SUPERSEDED)

    assert outcome is (REVOKED if is_entitled else REFUSED)


@pytest.mark.parametrize(
    "ended",
    [
        "UPDATE authorizations SET status = 'deactivated' WHERE account_id = $1",
        "UPDATE authorizations SET status = 'invalid' WHERE account_id = $1",
        "UPDATE authorizations SET expires_at = now() - interval '1 s' WHERE account_id = $1",
    ],
)
async def test_authorization_that_ended_entitles_nobody(
    house: House, table: Revocations, ended: str
) -> None:
    owner, other = await house.caller(), await house.caller()
    certificate = await issue(house, owner, "a.example")
    await house.ready_order(other, "a.example")
    await house.database.execute(ended, other.account_id)

    assert await table.revoke_for(other, certificate, SUPERSEDED) is REFUSED


async def test_deactivated_authorization_entitles_nobody(house: House, table: Revocations) -> None:
    owner, other = await house.caller(), await house.caller()
    certificate = await issue(house, owner, "a.example")
    order = await house.ready_order(other, "a.example")
    await house.authorizations.deactivate(other, order.authorization_ids[0])

    assert await table.revoke_for(other, certificate, SUPERSEDED) is REFUSED


async def test_pending_authorization_entitles_nobody(house: House, table: Revocations) -> None:
    owner, other = await house.caller(), await house.caller()
    certificate = await issue(house, owner, "a.example")
    await house.order(other, "a.example")

    assert await table.revoke_for(other, certificate, SUPERSEDED) is REFUSED


@pytest.mark.parametrize("part", ["tbs", "signature"])
async def test_certificate_with_a_known_serial_and_other_content_is_unknown(
    house: House, table: Revocations, part: str
) -> None:
    caller = await house.caller()
    certificate = await issue(house, caller, "a.example")
    octets = getattr(certificate, part)
    forged = replace(certificate, **{part: octets[:-1] + bytes((octets[-1] ^ 1,))})

    assert await table.revoke_for(caller, forged, SUPERSEDED) is REFUSED


async def test_stale_caller_revokes_nothing(house: House, table: Revocations) -> None:
    caller = await house.caller()
    certificate = await issue(house, caller, "a.example")

    with pytest.raises(CallerStale):
        await table.revoke_for(Caller(caller.account_id, bytes(32)), certificate, SUPERSEDED)
    await house.accounts.deactivate(caller)
    with pytest.raises(CallerStale):
        await table.revoke_for(caller, certificate, SUPERSEDED)

    assert await reasons(house.database) == [None]


async def test_holder_of_the_key_revokes_and_of_another_key_does_not(
    house: House, table: Revocations
) -> None:
    key = new_key()
    certificate = await issue(house, await house.caller(), "a.example", key=key)

    assert await table.revoke_with(proof_of(new_key()), certificate, SUPERSEDED) is REFUSED
    assert await table.revoke_with(proof_of(key), certificate, SUPERSEDED) is REVOKED

    assert await events(house.database) == [("key", "certificate_revoked")]
    assert await house.database.fetchval("SELECT count(*) FROM blocked_keys") == 0


async def test_key_shown_to_be_compromised_is_blocked_and_takes_its_certificates_along(
    house: House, table: Revocations
) -> None:
    key, caller = new_key(), await house.caller()
    certificate = await issue(house, caller, "a.example", key=key)
    superseded = await issue(house, await house.caller(), "b.example", key=key)
    await issue(house, caller, "c.example")
    await table.revoke_with(proof_of(key), superseded, SUPERSEDED)
    revoked_at = await house.database.fetchval(
        "SELECT revoked_at FROM certificates WHERE serial = $1", superseded.serial
    )

    assert await table.revoke_with(proof_of(key), certificate, COMPROMISE) is REVOKED

    assert await reasons(house.database) == [COMPROMISE, COMPROMISE, None]
    assert revoked_at == await house.database.fetchval(
        "SELECT revoked_at FROM certificates WHERE serial = $1", superseded.serial
    )
    blocked = await house.database.fetchval("SELECT thumbprint FROM blocked_keys")
    assert blocked == proof_of(key).thumbprint
    assert await table.revoke_with(proof_of(key), superseded, COMPROMISE) is ALREADY


async def test_compromise_is_taken_down_even_after_another_revocation(
    house: House, table: Revocations
) -> None:
    key, caller = new_key(), await house.caller()
    certificate = await issue(house, caller, "a.example", key=key)
    assert await table.revoke_for(caller, certificate, COMPROMISE) is REVOKED

    assert await table.revoke_with(proof_of(key), certificate, SUPERSEDED) is ALREADY
    assert await table.revoke_with(proof_of(key), certificate, COMPROMISE) is REVOKED
    assert await table.revoke_with(proof_of(key), certificate, COMPROMISE) is ALREADY

    assert await house.database.fetchval("SELECT count(*) FROM blocked_keys") == 1
    assert await reasons(house.database) == [COMPROMISE]


async def test_expired_certificate_is_not_revoked_and_its_key_not_blocked(
    house: House, table: Revocations
) -> None:
    key, caller = new_key(), await house.caller()
    certificate = await issue(house, caller, "a.example", key=key)
    await house.database.execute("UPDATE certificates SET not_after = now() - interval '1 s'")

    assert await table.revoke_for(caller, certificate, SUPERSEDED) is EXPIRED
    assert await table.revoke_with(proof_of(key), certificate, COMPROMISE) is EXPIRED
    assert await table.revoke_for(await house.caller(), certificate, SUPERSEDED) is REFUSED

    assert await reasons(house.database) == [None]
    assert await house.database.fetchval("SELECT count(*) FROM blocked_keys") == 0


async def test_operator_revokes_and_blocks_a_compromised_key(
    house: House, table: Revocations
) -> None:
    key = new_key()
    certificate = await issue(house, await house.caller(), "a.example", key=key)
    thumbprint = proof_of(key).thumbprint

    outcome = await table.revoke_by_operator(certificate, thumbprint, COMPROMISE, "alice")

    assert outcome is REVOKED
    assert await events(house.database) == [
        ("operator", "certificate_revoked"),
        ("operator", "key_blocked"),
    ]


@pytest.mark.parametrize("reason", [SUPERSEDED, COMPROMISE])
async def test_concurrent_revocations_have_one_winner(
    house: House, table: Revocations, reason: RevocationReason
) -> None:
    key, caller = new_key(), await house.caller()
    certificate = await issue(house, caller, "a.example", key=key)
    await issue(house, caller, "b.example", key=key)

    outcomes = await asyncio.gather(
        *(table.revoke_with(proof_of(key), certificate, reason) for _ in range(30))
    )

    assert sorted(outcome is REVOKED for outcome in outcomes) == [False] * 29 + [True]
    assert set(outcomes) == {REVOKED, ALREADY}


async def test_each_revocation_requests_the_crl_of_its_shard(
    house: House, table: Revocations
) -> None:
    caller = await house.caller()
    certificates = [await issue(house, caller, f"n{number}.example") for number in range(6)]

    for certificate in certificates:
        await table.revoke_for(caller, certificate, SUPERSEDED)

    rows = await house.database.fetch("SELECT issuer, shard FROM crl_requests ORDER BY shard")
    shard_of = house.authority.active.facts.shard_of
    shards = sorted(shard_of(certificate.serial) for certificate in certificates)
    assert [tuple(row) for row in rows] == [("ca", shard) for shard in shards]
