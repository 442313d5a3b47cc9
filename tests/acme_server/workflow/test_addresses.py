"""Certificates for IP addresses (RFC 8738)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from acme_server.workflow.orders import NewOrderRequest
from policy.model.accounts import Caller
from policy.model.errors import ErrorKind, ServerError
from policy.model.orders import Order, OrderStatus
from storage.pool import Database
from support.workflow import House, build_house

IPV4, IPV6 = "192.0.2.7", "2001:db8::7"


@pytest.fixture
async def house(database: Database) -> House:
    return await build_house(database)


async def _order(house: House, caller: Caller, *identifiers: tuple[str, str]) -> Order:
    return await house.orders.create(
        caller,
        NewOrderRequest(
            unverified_identifiers=list(identifiers), not_before=None, not_after=None, profile=None
        ),
    )


async def _ready(house: House, caller: Caller, *identifiers: tuple[str, str]) -> Order:
    order = await _order(house, caller, *identifiers)
    for authorization_id in order.authorization_ids:
        await house.authorizations.answer(caller, authorization_id, "http-01")
    return await house.orders.get(caller, order.id)


def _csr(*names: x509.GeneralName, common_name: str | None = None) -> bytes:
    subject = [] if common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    builder = x509.CertificateSigningRequestBuilder(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    key = ec.generate_private_key(ec.SECP256R1())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


async def test_addresses_and_names_stand_together_in_a_certificate(house: House) -> None:
    caller = await house.caller()
    order = await _ready(house, caller, ("ip", IPV4), ("ip", IPV6), ("dns", "www.example.com"))
    names = (
        x509.DNSName("www.example.com"),
        x509.IPAddress(ip_address(IPV6)),
        x509.IPAddress(ip_address(IPV4)),
    )

    done = await house.issuance.finalize(caller, order.id, _csr(*names))

    assert done.certificate_id is not None
    chain = await house.certificates.get(caller, done.certificate_id)
    leaf = x509.load_der_x509_certificate(chain.certificate)
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["www.example.com"]
    addresses = found.get_values_for_type(x509.IPAddress)
    assert addresses == [ip_address(IPV4), ip_address(IPV6)]


async def test_the_dns_proves_nothing_about_addresses(house: House) -> None:
    caller = await house.caller()

    order = await _order(house, caller, ("ip", IPV4))

    authorization = await house.authorizations.get(caller, order.authorization_ids[0])
    assert [each.type for each in authorization.challenges] == ["http-01", "tls-alpn-01"]


async def test_a_request_with_the_address_as_its_common_name_alone_is_accepted(
    house: House,
) -> None:
    caller = await house.caller()
    order = await _ready(house, caller, ("ip", IPV4))

    done = await house.issuance.finalize(caller, order.id, _csr(common_name=IPV4))

    assert done.status is OrderStatus.VALID


@pytest.mark.parametrize(
    "csr",
    [
        _csr(x509.IPAddress(ip_address("192.0.2.8"))),
        _csr(x509.DNSName(IPV4)),
        _csr(x509.IPAddress(ip_address(IPV4)), x509.IPAddress(ip_address(IPV6))),
        _csr(x509.IPAddress(ip_address(f"::ffff:{IPV4}"))),
        _csr(common_name="192.0.2.8"),
    ],
    ids=["another", "as_a_dns_name", "one_more", "mapped", "other_common_name"],
)
async def test_a_request_for_another_address_is_refused(house: House, csr: bytes) -> None:
    caller = await house.caller()
    order = await _ready(house, caller, ("ip", IPV4))

    with pytest.raises(ServerError) as refusal:
        await house.issuance.finalize(caller, order.id, csr)

    assert refusal.value.kind is ErrorKind.BAD_CSR
    assert (await house.orders.get(caller, order.id)).status is OrderStatus.READY


@pytest.mark.parametrize(
    "value",
    [
        "192.0.2.07",
        "192.0.2.0/24",
        "2001:DB8::7",
        "2001:db8:0::7",
        "fe80::1%eth0",
        "[::1]",
        "7",
        "",
    ],
)
async def test_what_is_no_canonical_address_is_refused(house: House, value: str) -> None:
    caller = await house.caller()

    with pytest.raises(ServerError) as refusal:
        await _order(house, caller, ("ip", value))

    assert refusal.value.kind is ErrorKind.MALFORMED
