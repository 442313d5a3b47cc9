"""revokeCert over the real use cases: who may, what is refused and how, and the CRL after it."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from storage.pool import Database
from support.acme import AcmeClient, AcmeServed, serve_house
from support.edge import Reply
from support.jose import ClientKey, b64
from support.workflow import House, build_house, csr_for


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


def kind_of(reply: Reply) -> str:
    """The type of a problem, without its namespace."""
    return str(reply.problem()["type"]).removeprefix("urn:ietf:params:acme:error:")


async def prove(client: AcmeClient, *names: str) -> dict[str, Any]:
    """A ready order of the client."""
    identifiers = [{"type": "dns", "value": name} for name in names]
    placed = await client.post(client.urls.new_order, {"identifiers": identifiers})
    order: dict[str, Any] = json.loads(placed.body)
    for url in order["authorizations"]:
        challenge = json.loads((await client.read(url)).body)["challenges"][0]
        await client.post(challenge["url"], {})
    return order


async def issue(client: AcmeClient, *names: str, key: ClientKey | None = None) -> bytes:
    """A new certificate of the client, in DER."""
    order = await prove(client, *names)
    private = None if key is None else key.private
    assert private is None or isinstance(private, ec.EllipticCurvePrivateKey)
    csr = b64(csr_for(*names, key=private))
    done = json.loads((await client.post(order["finalize"], {"csr": csr})).body)
    chain = await client.read(done["certificate"])
    return x509.load_pem_x509_certificates(chain.body)[0].public_bytes(Encoding.DER)


async def revoke(client: AcmeClient, certificate: bytes, **members: object) -> Reply:
    """Ask for the revocation of a certificate."""
    payload = {"certificate": b64(certificate), **members}
    return await client.post(client.urls.revoke_certificate, payload)


async def with_key(served: AcmeServed, key: ClientKey) -> AcmeClient:
    """A client that signs with a key and has no account."""
    client = await served.client()
    client.key = key
    return client


async def published(house: House, certificate: bytes) -> x509.RevokedCertificate | None:
    """The entry of a certificate on the CRL that it points to, after the publisher has run."""
    await house.publication.publish_due()
    leaf = x509.load_der_x509_certificate(certificate)
    points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    names = points[0].full_name
    assert names is not None
    issuer, _, shard = (
        str(names[0].value).removesuffix(".crl").rpartition("/crl/")[2].partition("/")
    )
    crl = await house.publication.find_crl(issuer, int(shard))
    assert crl is not None
    listed = x509.load_der_x509_crl(crl.der)
    return listed.get_revoked_certificate_by_serial_number(leaf.serial_number)


def reason_in(entry: x509.RevokedCertificate) -> x509.ReasonFlags:
    """The reason that a CRL gives."""
    return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason


async def test_account_revokes_its_certificate_and_the_crl_lists_it(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        certificate = await issue(client, "a.example")
        before = await published(house, certificate)
        done = await revoke(client, certificate, reason=4)
        again = await revoke(client, certificate, reason=4)

    assert (done.status, done.body) == (200, b"")
    assert "replay-nonce" in done.headers
    assert (again.status, kind_of(again)) == (400, "alreadyRevoked")
    assert before is None
    entry = await published(house, certificate)
    assert entry is not None
    assert reason_in(entry) is x509.ReasonFlags.superseded


@pytest.mark.parametrize("members", [{}, {"reason": 0}])
async def test_unspecified_reason_is_not_said_on_the_crl(
    house: House, members: dict[str, int]
) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        certificate = await issue(client, "a.example")
        assert (await revoke(client, certificate, **members)).status == 200

    entry = await published(house, certificate)
    assert entry is not None
    assert len(entry.extensions) == 0


@pytest.mark.parametrize("algorithm", ["ES256", "ES384"])
async def test_r009_key_of_the_certificate_revokes_it_without_an_account(
    house: House, algorithm: str
) -> None:
    async with serve_house(house) as served:
        key = ClientKey.generate(algorithm)
        certificate = await issue(await served.registered(), "a.example", key=key)
        stranger = await served.client()
        refused = await revoke(stranger, certificate, reason=1)
        done = await revoke(await with_key(served, key), certificate, reason=1)

    assert (refused.status, kind_of(refused)) == (403, "unauthorized")
    assert done.status == 200
    entry = await published(house, certificate)
    assert entry is not None
    assert reason_in(entry) is x509.ReasonFlags.key_compromise


async def test_i15_key_of_one_certificate_revokes_no_other(house: House) -> None:
    async with serve_house(house) as served:
        key, client = ClientKey.generate(), await served.registered()
        await issue(client, "a.example", key=key)
        other = await issue(client, "b.example")
        refused = await revoke(await with_key(served, key), other)

    assert (refused.status, kind_of(refused)) == (403, "unauthorized")
    assert await published(house, other) is None


async def test_r005_account_with_all_authorizations_may_and_others_learn_nothing(
    house: House,
) -> None:
    async with serve_house(house) as served:
        owner, holder, stranger = [await served.registered() for _ in range(3)]
        certificate = await issue(owner, "a.example", "*.a.example")
        await prove(stranger, "a.example")
        await prove(holder, "a.example", "*.a.example")
        unknown = await issue_elsewhere()
        foreign = await revoke(stranger, certificate)
        missing = await revoke(stranger, unknown)
        done = await revoke(holder, certificate)
        afterwards = await revoke(stranger, certificate)

    assert (foreign.status, kind_of(foreign)) == (403, "unauthorized")
    assert foreign.body == missing.body == afterwards.body
    assert foreign.headers.keys() == missing.headers.keys()
    assert done.status == 200


async def issue_elsewhere() -> bytes:
    """A certificate that this CA never saw: signed by itself."""
    key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


async def test_r003_known_serial_with_other_content_is_unknown(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        certificate = await issue(client, "a.example")
        place = certificate.index(b"a.example")
        forged = certificate[:place] + b"b" + certificate[place + 1 :]
        signed_anew = certificate[:-1] + bytes((certificate[-1] ^ 1,))
        replies = [await revoke(client, other) for other in (forged, signed_anew)]

    assert {(reply.status, kind_of(reply)) for reply in replies} == {(403, "unauthorized")}
    assert await published(house, certificate) is None


@pytest.mark.parametrize(
    "form",
    [
        lambda der: b64(der) + "=",
        lambda der: base64.b64encode(der).decode() + "==",
        lambda der: x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode(),
        lambda der: b64(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)),
        lambda der: b64(b64(der).encode()),
        lambda der: b64(der + b"\0"),
        lambda der: b64(der[:-1]),
        lambda der: b64(der[:4]),
        lambda der: b64(b"\x30\x80" + der[4:] + b"\0\0"),
        lambda der: b64(b"\x30\x83\0" + der[2:]),
        lambda der: "",
        lambda der: b64(b"\x30\0"),
        lambda der: [b64(der)],
        lambda der: None,
    ],
)
async def test_r001_what_is_no_certificate_in_der_is_malformed(house: House, form: Any) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        certificate = await issue(client, "a.example")
        payload = {"certificate": form(certificate)}
        reply = await client.post(client.urls.revoke_certificate, payload)
        empty = await client.post(client.urls.revoke_certificate, {})

    assert (reply.status, kind_of(reply)) == (400, "malformed")
    assert (empty.status, kind_of(empty)) == (400, "malformed")
    assert await published(house, certificate) is None


@pytest.mark.parametrize("code", [7, -1, 2, 6, 8, 9, 10, 11, 99, 2**63 - 1])
async def test_r011_reasons_that_clients_may_not_give_are_refused_with_those_they_may(
    house: House, code: int
) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        certificate = await issue(client, "a.example")
        reply = await revoke(client, certificate, reason=code)

    assert (reply.status, kind_of(reply)) == (400, "badRevocationReason")
    assert "1 (keyCompromise)" in str(reply.problem()["detail"])
    assert await published(house, certificate) is None


@pytest.mark.parametrize("code", ["1", 1.5, None, True, [1], {}])
async def test_r011_reason_that_is_no_number_is_malformed(house: House, code: object) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        reply = await revoke(client, await issue_elsewhere(), reason=code)

    assert (reply.status, kind_of(reply)) == (400, "malformed")


async def test_r015_expired_certificate_is_refused(house: House) -> None:
    async with serve_house(house) as served:
        client, stranger = await served.registered(), await served.registered()
        certificate = await issue(client, "a.example")
        await house.database.execute("UPDATE certificates SET not_after = now() - interval '1 s'")
        own = await revoke(client, certificate)
        foreign = await revoke(stranger, certificate)

    assert (own.status, kind_of(own)) == (403, "unauthorized")
    assert "expired" in str(own.problem()["detail"])
    assert "expired" not in str(foreign.problem()["detail"])


async def test_deactivated_account_revokes_nothing(house: House) -> None:
    async with serve_house(house) as one, serve_house(house) as other:
        client = await one.registered()
        elsewhere = await other.connection_of(client)
        certificate = await issue(elsewhere, "a.example")
        assert client.kid is not None
        await client.post(client.kid, {"status": "deactivated"})
        replies = [await revoke(each, certificate) for each in (client, elsewhere)]

    assert {(reply.status, kind_of(reply)) for reply in replies} == {(401, "unauthorized")}
    assert await published(house, certificate) is None


async def test_revocations_at_once_have_one_winner(house: House) -> None:
    async with serve_house(house) as one, serve_house(house) as other:
        client = await one.registered()
        certificate = await issue(client, "a.example")
        clients = [await served.connection_of(client) for served in (one, other) for _ in range(10)]
        replies = await asyncio.gather(*(revoke(each, certificate) for each in clients))

    assert sorted(reply.status for reply in replies) == [200] + [400] * 19
    assert {kind_of(reply) for reply in replies if reply.status == 400} == {"alreadyRevoked"}


async def test_revocation_costs_one_statement_and_the_nonces(house: House) -> None:
    async with serve_house(house) as served:
        key, client = ClientKey.generate(), await served.registered()
        certificate = await issue(client, "a.example", key=key)
        before = house.database.statements
        await revoke(client, certificate)
        by_account = house.database.statements - before
        await revoke(await with_key(served, key), certificate)

    assert by_account == 2
    assert house.database.statements - before == 4
