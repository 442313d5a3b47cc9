"""Hostile certificate requests and the wrong moments for right ones, over the real use cases.

The ids are those of the table of hostile inputs, section F. What is wrong with a CSR by itself is
tested octet by octet with the parser; here it is one ready order that stays ready throughout, no
table changes, nothing is signed, and the right CSR still gets the certificate afterwards.
"""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from policy.signing import der
from storage.pool import Database
from support import csrs
from support.acme import AcmeClient, any_id, serve_house
from support.adversary import Chain, fault_of, order_for, outcome, parsed, state_of
from support.csrs import common_name, dns_names, extension, key_usage, names, write_csr
from support.invariants import broken_invariants
from support.jose import b64
from support.workflow import House, build_house

NAME = "www.example.com"
SAN = dns_names(NAME)
GOOD = write_csr(SAN)
BAD_CSR = (400, "badCSR")
NOT_READY = (403, "orderNotReady")
PRIMES = rsa.generate_private_key(65_537, 2048).private_numbers()


def secp256k1_csr() -> bytes:
    """A request whose curve we don't sign."""
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    key = ec.generate_private_key(ec.SECP256K1())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def close_primes() -> int:
    """A modulus that Fermat's method factors at once."""
    return PRIMES.p * (PRIMES.p + 2 * 10**6 + 1 | 1)


CSRS: dict[str, bytes] = {
    "F009 PEM": x509.load_der_x509_csr(GOOD).public_bytes(Encoding.PEM),
    "F011 empty": b"",
    "F011 random": bytes(range(256)) * 4,
    "F011 truncated": GOOD[:-1],
    "F011 trailing": GOOD + b"\x00",
    "F013": b"\x30\x80" + GOOD[der.read(GOOD, 0)[1] :] + b"\x00\x00",
    "F015": write_csr(SAN, version=b"\x02\x01\x01"),
    "F017 SHA-1": write_csr(SAN, digest=hashes.SHA1(), algorithm=csrs.ECDSA_SHA1),
    "F017 MD5": write_csr(SAN, key=csrs.rsa_key(), digest=hashes.MD5(), algorithm=csrs.RSA_MD5),
    "F017 of another key": write_csr(
        SAN, key=csrs.ec_key("other"), spki=csrs.spki_of(csrs.ec_key())
    ),
    "F019": write_csr(
        SAN,
        spki=der.sequence(
            der.sequence(der.object_identifier("2.16.840.1.101.3.4.3.17")),
            der.bit_string(b"x" * 99),
        ),
    ),
    "F021 1024": write_csr(SAN, key=csrs.rsa_key(1024)),
    "F021 2047": write_csr(SAN, spki=csrs.rsa_spki(1 << 2046 | 1)),
    "F021 16384": write_csr(SAN, spki=csrs.rsa_spki(1 << 16_383 | 1)),
    "F021 65536": write_csr(SAN, spki=csrs.rsa_spki(1 << 65_535 | 1)),
    "F021 280000": write_csr(SAN, spki=csrs.rsa_spki(1 << 279_999 | 1)),
    "F023 Fermat": write_csr(SAN, spki=csrs.rsa_spki(close_primes())),
    "F023 small factor": write_csr(SAN, spki=csrs.rsa_spki(PRIMES.p * PRIMES.q * 3)),
    "F023 exponent 3": write_csr(SAN, spki=csrs.rsa_spki(PRIMES.p * PRIMES.q, 3)),
    "F025 curve": secp256k1_csr(),
    "F025 off the curve": write_csr(SAN, spki=csrs.ec_spki(b"\x04" + b"\x01" * 64)),
    "F025 infinity": write_csr(SAN, spki=csrs.ec_spki(b"\x00")),
    "F031 CN": write_csr(SAN, subject=[common_name(b"evil.example.com")]),
    "F031 other CN only": write_csr(subject=[common_name(b"evil.example.com")]),
    "F033 one more": write_csr(dns_names(NAME, "evil.example.com")),
    "F033 another": write_csr(dns_names("evil.example.com")),
    "F033 wildcard": write_csr(dns_names("*.example.com")),
    "F033 parent": write_csr(dns_names("example.com")),
    "F033 address": write_csr(names((csrs.DNS, NAME.encode()), (csrs.IP, bytes((192, 0, 2, 1))))),
    "F035 dot": write_csr(dns_names(NAME + ".")),
    "F035 NUL": write_csr(dns_names(NAME + "\x00.evil.com")),
    "F035 NUL at the end": write_csr(dns_names(NAME + "\x00")),
    "F035 space": write_csr(dns_names(NAME + " ")),
    "F035 line": write_csr(dns_names(NAME + "\n")),
    "F035 octets": write_csr(dns_names("www.ex\xe4mple.com")),
    "F037 empty name": write_csr(dns_names(NAME, "")),
    "F037 no names": write_csr(names()),
    "F037 no SAN": write_csr(),
    "F039 mail": write_csr(names((csrs.DNS, NAME.encode()), (csrs.EMAIL, b"a@example.com"))),
    "F039 URI": write_csr(names((csrs.DNS, NAME.encode()), (csrs.URI, b"https://x/"))),
    "F039 directory": write_csr(
        names((csrs.DNS, NAME.encode()), (csrs.DIRECTORY, der.sequence(common_name(b"x"))))
    ),
    "F039 registered": write_csr(names((csrs.DNS, NAME.encode()), (csrs.REGISTERED_ID, b"\x2a"))),
    "F041": write_csr(names((csrs.DNS, NAME.encode()), (csrs.X400, b"\x30\x00"))),
    "F043 0": write_csr(names((csrs.DNS, NAME.encode()), (csrs.IP, b""))),
    "F043 5": write_csr(names((csrs.DNS, NAME.encode()), (csrs.IP, bytes(5)))),
    "F045": write_csr(dns_names(NAME, "192.0.2.1")),
    "F047": write_csr(SAN, SAN),
    "F049": write_csr(attributes=[csrs.requested(SAN, oid=csrs.MICROSOFT_EXTENSION_REQUEST)]),
    "F051 CA": write_csr(SAN, key_usage(b"\x02\x84")),
    "F051 basic constraints": write_csr(
        SAN, extension("2.5.29.19", der.sequence(der.BOOLEAN_TRUE))
    ),
    "F051 any purpose": write_csr(SAN, csrs.purposes("2.5.29.37.0")),
    "F051 code": write_csr(SAN, csrs.purposes("1.3.6.1.5.5.7.3.3")),
    "F053": write_csr(SAN, extension("1.2.3.4", b"\x05\x00", is_critical=True)),
    "F055": write_csr(SAN, csrs.features(5)),
    "F059": write_csr(SAN, subject=[common_name(b"192.0.2.1")]),
    "F061 NUL": write_csr(SAN, subject=[common_name(NAME.encode() + b"\x00")]),
    "F061 line": write_csr(SAN, subject=[common_name(b"a\r\nSet-Cookie: x=y")]),
    "F061 markup": write_csr(SAN, subject=[common_name(b"<script>alert(1)</script>")]),
    "F061 lookup": write_csr(SAN, subject=[common_name(b"${jndi:ldap://x}")]),
}


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


async def ready(client: AcmeClient, *order_names: str) -> tuple[str, str]:
    """A ready order: its URL, and that to finalize it."""
    made = await client.post(client.urls.new_order, order_for(*order_names))
    for url in parsed(made)["authorizations"]:
        challenge = parsed(await client.read(url))["challenges"][0]["url"]
        assert (await client.post(challenge, {})).status == 200
    return made.headers["location"], parsed(made)["finalize"]


async def test_hostile_csrs_change_nothing_and_the_order_stays_ready(
    house: House, database_url: str
) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        url, finalize = await ready(client, NAME)
        chain = await Chain.of(client)
        before = await state_of(house.database)
        outcomes = {}
        for id_, csr in CSRS.items():
            reply = await chain.post(finalize, {"csr": b64(csr)})
            assert fault_of(reply) is None, id_
            assert await state_of(house.database) == before, id_
            outcomes[id_] = outcome(reply)
        status = parsed(await chain.post(url, b""))["status"]
        good = await chain.post(finalize, {"csr": b64(GOOD)})

    assert outcomes == dict.fromkeys(CSRS, BAD_CSR)
    assert status == "ready"
    assert parsed(good)["status"] == "valid"
    assert await broken_invariants(database_url) == {}
    assert await house.database.fetchval("SELECT count(*) FROM serials") == 1


async def test_what_only_looks_hostile_in_a_csr_is_dropped(house: House) -> None:
    """The certificate has the order's names and nothing else that the CSR asked for."""
    extras = {
        "F057": write_csr(
            SAN,
            subject=[
                csrs.attribute("2.5.4.10", der.tlv(csrs.UTF8, b"Evil Corp")),
                csrs.attribute("2.5.4.6", der.tlv(csrs.PRINTABLE, b"XX")),
                csrs.attribute("2.5.4.5", der.tlv(csrs.PRINTABLE, b"123")),
            ],
        ),
        "F053 not critical": write_csr(SAN, extension("1.2.3.4", b"\x05\x00")),
        "F051 TLS purposes": write_csr(
            SAN, csrs.purposes("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2")
        ),
        "F033 other case": write_csr(dns_names("WWW.Example.COM")),
        "F033 repeated": write_csr(dns_names(NAME, NAME)),
        "F031 CN only": write_csr(subject=[common_name(NAME.encode())]),
        "F063": write_csr(
            SAN, extension("1.2.3.4", der.tlv(der.OCTET_STRING, bytes(30_000))), key=csrs.rsa_key()
        ),
    }
    shapes = set()
    async with serve_house(house) as served:
        client = await served.registered()
        for id_, csr in extras.items():
            _, finalize = await ready(client, NAME)
            reply = await client.post(finalize, {"csr": b64(csr)})
            assert (id_, reply.status) == (id_, 200)
            chain = (await client.read(parsed(reply)["certificate"])).body
            leaf = x509.load_pem_x509_certificates(chain)[0]
            extensions = tuple(each.oid.dotted_string for each in leaf.extensions)
            sans = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            shapes.add((extensions, tuple(sans.get_values_for_type(x509.DNSName))))

            assert b"Evil" not in leaf.subject.public_bytes()

    assert len(shapes) == 1
    assert next(iter(shapes))[1] == (NAME,)


async def test_f063_a_csr_of_45_kb_is_more_than_a_body_may_have(house: House) -> None:
    csr = write_csr(SAN, extension("1.2.3.4", der.tlv(der.OCTET_STRING, bytes(45_000))))
    async with serve_house(house) as served:
        client = await served.registered()
        _, finalize = await ready(client, NAME)
        reply = await client.post(finalize, {"csr": b64(csr)})

    assert outcome(reply) == (413, "malformed")


async def test_f027_no_account_key_gets_a_certificate(house: House) -> None:
    """Neither the requesting account's nor that of any other."""
    async with serve_house(house) as served:
        other, client = await served.registered("RS256"), await served.registered()
        _, finalize = await ready(client, NAME)
        chain = await Chain.of(client)
        outcomes = []
        for key in (client.key.private, other.key.private):
            assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
            reply = await chain.post(finalize, {"csr": b64(write_csr(SAN, key=key))})
            outcomes.append(outcome(reply))

    assert outcomes == [BAD_CSR] * 2


async def test_the_wrong_moments_for_a_right_csr(house: House) -> None:
    csr = {"csr": b64(GOOD)}
    async with serve_house(house) as served:
        client, stranger = await served.registered(), await served.registered()
        moments = {}
        made = parsed(await client.post(served.urls.new_order, order_for(NAME)))
        moments["F001 pending"] = await client.post(made["finalize"], csr)
        moments["F001 bad CSR of a pending order"] = await client.post(
            made["finalize"], {"csr": b64(write_csr(dns_names("evil.example")))}
        )
        _, finalize = await ready(client, NAME)
        moments["F007"] = await stranger.post(finalize, csr)
        moments["F007 missing"] = await client.post(served.urls.finalize(any_id()), csr)
        moments["F067"] = await client.read(served.urls.certificate(any_id()))
        assert (await client.post(finalize, csr)).status == 200
        moments["F003"] = await client.post(finalize, csr)
        moments["F003 other CSR"] = await client.post(
            finalize, {"csr": b64(write_csr(SAN, key=csrs.ec_key("second")))}
        )
        url, expired = await ready(client, "expired.example.com")
        await house.database.execute("UPDATE orders SET expires_at = now() WHERE status = 'ready'")
        moments["F005 expired"] = await client.post(
            expired, {"csr": b64(write_csr(dns_names("expired.example.com")))}
        )
        status = parsed(await client.read(url))["status"]

    assert {id_: outcome(reply) for id_, reply in moments.items()} == {
        "F001 pending": NOT_READY,
        "F001 bad CSR of a pending order": NOT_READY,
        "F007": (404, "malformed"),
        "F007 missing": (404, "malformed"),
        "F067": (404, "malformed"),
        "F003": NOT_READY,
        "F003 other CSR": NOT_READY,
        "F005 expired": NOT_READY,
    }
    assert status == "invalid"


async def test_a_proof_that_ran_out_issues_nothing(house: House) -> None:
    """The order is ready, its authorization is no longer good: looked at again with the claim."""
    async with serve_house(house) as served:
        client = await served.registered()
        _, finalize = await ready(client, NAME)
        await house.database.execute("UPDATE authorizations SET expires_at = now()")
        reply = await client.post(finalize, {"csr": b64(GOOD)})

    assert outcome(reply) == (403, "unauthorized")
    assert await house.database.fetchval("SELECT count(*) FROM certificates") == 0
