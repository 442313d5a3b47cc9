"""Keys that are good by themselves and must not be used: those of certificates as account keys
and the reverse, and those reported as compromised for anything, at every worker at once."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from storage.pool import Database
from support.acme import AcmeClient, AcmeServed, serve_house
from support.adversary import fault_of, order_for, outcome, parsed, state_of
from support.edge import Reply
from support.jose import ClientKey, b64
from support.workflow import House, build_house, csr_for

BAD_KEY = (400, "badPublicKey")
BAD_CSR = (400, "badCSR")
TERMS = {"termsOfServiceAgreed": True}


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


async def ready(client: AcmeClient, name: str) -> str:
    """Where a ready order is finalized."""
    order = parsed(await client.post(client.urls.new_order, order_for(name)))
    for url in order["authorizations"]:
        challenge = parsed(await client.read(url))["challenges"][0]["url"]
        await client.post(challenge, {})
    return str(order["finalize"])


async def finalize(client: AcmeClient, name: str, key: ClientKey) -> Reply:
    """Ask for a certificate with ``key``."""
    assert isinstance(key.private, ec.EllipticCurvePrivateKey)
    csr = b64(csr_for(name, key=key.private))
    return await client.post(await ready(client, name), {"csr": csr})


async def certificate_with(client: AcmeClient, name: str, key: ClientKey) -> bytes:
    """A certificate with ``key``, in DER."""
    done = parsed(await finalize(client, name, key))
    chain = await client.read(done["certificate"])
    return x509.load_pem_x509_certificates(chain.body)[0].public_bytes(Encoding.DER)


async def newcomer(served: AcmeServed, key: ClientKey) -> AcmeClient:
    """Who has ``key`` and no account."""
    client = await served.client()
    client.key = key
    return client


async def revoke_as_compromised(served: AcmeServed, key: ClientKey, der: bytes) -> None:
    """As who holds the key."""
    payload: dict[str, Any] = {"certificate": b64(der), "reason": 1}
    client = await newcomer(served, key)
    assert (await client.post(served.urls.revoke_certificate, payload)).status == 200


async def test_k027_a_certificates_key_makes_no_account(house: House) -> None:
    key = ClientKey.generate()
    async with serve_house(house) as served:
        await certificate_with(await served.registered(), "a.example", key)
        client = await newcomer(served, key)
        before = await state_of(house.database)
        new = await client.post(served.urls.new_account, TERMS)
        existing = await client.post(served.urls.new_account, {"onlyReturnExisting": True})
        after = await state_of(house.database)

    assert (fault_of(new), outcome(new)) == (None, BAD_KEY)
    assert outcome(existing) == (400, "accountDoesNotExist")
    assert after == before


async def test_i11_a_key_reported_as_compromised_is_good_for_nothing(house: House) -> None:
    """Neither for a certificate nor for an account, at the other worker as at this one."""
    key = ClientKey.generate()
    async with serve_house(house) as one, serve_house(house) as other:
        owner = await one.registered()
        stranger = await other.registered()
        der = await certificate_with(owner, "a.example", key)
        await certificate_with(stranger, "b.example", key)
        await revoke_as_compromised(one, key, der)
        again = [
            await finalize(client, "c.example", key)
            for client in (owner, stranger, await other.connection_of(owner))
        ]
        account = await (await newcomer(other, key)).post(other.urls.new_account, TERMS)
        with_another_key = await finalize(owner, "d.example", ClientKey.generate())

    assert [outcome(reply) for reply in again] == [BAD_CSR] * 3
    assert "compromised" in str(again[0].problem()["detail"])
    assert outcome(account) == BAD_KEY
    assert with_another_key.status == 200
    rows = await house.database.fetch("SELECT revoked_at IS NULL AS good FROM certificates")
    assert sorted(row["good"] for row in rows) == [False, False, True]


async def test_a_key_revoked_for_another_reason_stays_good(house: House) -> None:
    key = ClientKey.generate()
    async with serve_house(house) as served:
        client = await served.registered()
        der = await certificate_with(client, "a.example", key)
        payload = {"certificate": b64(der), "reason": 4}
        assert (await client.post(served.urls.revoke_certificate, payload)).status == 200

        assert (await finalize(client, "a.example", key)).status == 200


async def test_a_compromised_key_of_old_still_reads_its_account_only(house: House) -> None:
    """An account that is there is returned, whatever became of its key since."""
    async with serve_house(house) as served:
        client = await served.registered()
        await house.database.execute(
            "INSERT INTO blocked_keys (thumbprint, certificate_id, blocked_by)"
            " SELECT thumbprint, id, 'operator' FROM accounts"
        )
        kid, client.kid = client.kid, None
        reply = await client.post(served.urls.new_account, TERMS)

    assert (reply.status, reply.headers["location"]) == (200, kid)
