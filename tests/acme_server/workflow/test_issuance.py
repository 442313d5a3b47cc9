"""From an order to a certificate on a real database: once, durable, and with its names only."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from acme_server.workflow.issuance import IssuanceUseCases
from policy.model.certificates import CertificateStatus
from policy.model.errors import ErrorKind, ServerError
from policy.model.orders import Order, OrderStatus
from policy.names import NameRules
from policy.profiles import TLS_SERVER
from storage.certificates import Certificates
from storage.issuances import Issuances
from storage.pool import Database
from support.workflow import REFUSED, House, build_house, csr_for


@pytest.fixture
async def house(database: Database) -> House:
    return await build_house(database)


async def test_ready_order_becomes_a_certificate_that_openssl_verifies(
    house: House, tmp_path: Path
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com", "*.example.org")

    done = await house.issuance.finalize(caller, order.id, csr_for(*_names(order)))

    assert done.status is OrderStatus.VALID
    assert await house.orders.get(caller, order.id) == done
    assert done.certificate_id is not None
    chain = await house.certificates.get(caller, done.certificate_id)
    leaf = x509.load_der_x509_certificate(chain.certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == _names(order)
    root, issuing, certificate = (tmp_path / name for name in ("root", "issuing", "leaf"))
    root.write_text(ssl.DER_cert_to_PEM_cert(house.authority.root()))
    issuing.write_text(ssl.DER_cert_to_PEM_cert(chain.issuers[0]))
    certificate.write_text(ssl.DER_cert_to_PEM_cert(chain.certificate))
    command = ["openssl", "verify", "-x509_strict", "-CAfile", root, "-untrusted", issuing]
    await asyncio.to_thread(
        subprocess.run, [*command, certificate], check=True, stdout=subprocess.DEVNULL
    )


async def test_two_hundred_finalize_requests_make_one_certificate(house: House) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")
    csr = csr_for("www.example.com")

    outcomes = await asyncio.gather(
        *(house.issuance.finalize(caller, order.id, csr) for _ in range(200)),
        return_exceptions=True,
    )

    winners = [outcome for outcome in outcomes if isinstance(outcome, Order)]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, ServerError)]
    assert len(winners) == 1
    assert {refusal.kind for refusal in refusals} == {ErrorKind.ORDER_NOT_READY}
    assert len(winners) + len(refusals) == 200
    assert await house.database.fetchval("SELECT count(*) FROM certificates") == 1
    assert await house.database.fetchval("SELECT count(*) FROM serials") == 1


async def test_pending_order_is_not_ready(house: House) -> None:
    caller = await house.caller()
    order = await house.order(caller, "www.example.com")

    await _refused(house, caller, order, csr_for("www.example.com"), ErrorKind.ORDER_NOT_READY)


async def test_failed_validation_makes_the_order_invalid_and_says_why(house: House) -> None:
    caller = await house.caller()
    house.validators.problem = REFUSED

    order = await house.ready_order(caller, "www.example.com")

    assert order.status is OrderStatus.INVALID
    assert order.error is not None
    assert order.error.detail == "www.example.com: refused"
    await _refused(house, caller, order, csr_for("www.example.com"), ErrorKind.ORDER_NOT_READY)


@pytest.mark.parametrize(
    "names",
    [("other.example.com",), ("www.example.com", "other.example.com"), ("example.com",)],
)
async def test_csr_for_other_names_is_refused_and_leaves_the_order_ready(
    house: House, names: tuple[str, ...]
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")

    await _refused(house, caller, order, csr_for(*names), ErrorKind.BAD_CSR)

    assert (await house.orders.get(caller, order.id)).status is OrderStatus.READY
    again = await house.issuance.finalize(caller, order.id, csr_for("www.example.com"))
    assert again.status is OrderStatus.VALID


async def test_foreign_order_does_not_exist(house: House) -> None:
    owner, stranger = await house.caller(), await house.caller()
    order = await house.ready_order(owner, "www.example.com")

    await _refused(house, stranger, order, csr_for("www.example.com"), ErrorKind.NOT_FOUND)
    with pytest.raises(ServerError) as refusal:
        await house.orders.get(stranger, order.id)

    assert refusal.value.kind is ErrorKind.NOT_FOUND


async def test_finalize_takes_three_statements(house: House) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")
    before = house.database.statements

    await house.issuance.finalize(caller, order.id, csr_for("www.example.com"))

    assert house.database.statements - before == 3


async def test_deactivated_authorization_takes_the_order_with_it(house: House) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")

    await house.authorizations.deactivate(caller, order.authorization_ids[0])

    assert (await house.orders.get(caller, order.id)).status is OrderStatus.INVALID
    await _refused(house, caller, order, csr_for("www.example.com"), ErrorKind.ORDER_NOT_READY)


async def test_valid_authorization_is_reused_by_its_account_only(house: House) -> None:
    caller, other = await house.caller(), await house.caller()
    first = await house.ready_order(caller, "www.example.com")

    again = await house.order(caller, "www.example.com")
    foreign = await house.order(other, "www.example.com")
    wildcard = await house.order(caller, "*.www.example.com")

    assert again.status is OrderStatus.READY
    assert again.authorization_ids == first.authorization_ids
    assert foreign.status is OrderStatus.PENDING
    assert wildcard.status is OrderStatus.PENDING


async def test_abandoned_reservation_is_signed_by_recovery_with_the_same_bytes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")
    await _die_after_claim(house, caller, order, monkeypatch)
    tbs = await house.database.fetchval("SELECT tbs FROM certificates")
    await house.database.execute("UPDATE certificates SET lease_until = now()")
    other = IssuanceUseCases(
        Issuances(house.database),
        house.authority,
        house.issuance._clock,
        {TLS_SERVER.name: TLS_SERVER},
        names=NameRules(),
        owner="another",
    )

    recovered = await asyncio.gather(other.recover(), other.recover())

    assert sorted(recovered) == [0, 1]
    done = await house.orders.get(caller, order.id)
    assert done.status is OrderStatus.VALID
    assert done.certificate_id is not None
    chain = await house.certificates.get(caller, done.certificate_id)
    leaf = x509.load_der_x509_certificate(chain.certificate)
    assert leaf.tbs_certificate_bytes == tbs


async def test_reservation_under_lease_is_left_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")
    await _die_after_claim(house, caller, order, monkeypatch)

    assert await house.issuance.recover() == 0
    assert (await house.orders.get(caller, order.id)).status is OrderStatus.PROCESSING


async def test_orphaned_serial_is_revoked_and_on_the_crl(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")
    await _die_after_claim(house, caller, order, monkeypatch)
    row = await house.database.fetchrow("SELECT id, serial, shard FROM certificates")
    assert row is not None

    assert await Issuances(house.database).orphan(row["id"], REFUSED)

    await house.publication.publish_due()
    crl = await house.publication.find_crl("ca", row["shard"])
    assert crl is not None
    listed = x509.load_der_x509_crl(crl.der)
    assert listed.get_revoked_certificate_by_serial_number(int.from_bytes(row["serial"]))
    assert (await house.orders.get(caller, order.id)).status is OrderStatus.INVALID


async def test_every_move_left_its_audit_event(house: House) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")

    await house.issuance.finalize(caller, order.id, csr_for("www.example.com"))

    rows = await house.database.fetch("SELECT action FROM audit_events ORDER BY id")
    assert [row["action"] for row in rows][2:] == [
        "account_created",
        "order_created",
        "challenge_answered",
        "authorization_validated",
        "order_claimed",
        "certificate_issued",
    ]


async def test_key_of_an_account_is_refused_in_a_csr(house: House) -> None:
    from policy.csr import jwk_thumbprint

    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")
    key = ec.generate_private_key(ec.SECP256R1())
    await house.database.execute(
        "UPDATE accounts SET thumbprint = $2 WHERE id = $1",
        (await house.caller()).account_id,
        jwk_thumbprint(key.public_key()),
    )

    await _refused(house, caller, order, csr_for("www.example.com", key=key), ErrorKind.BAD_CSR)


async def test_certificate_record_is_found_by_serial(house: House) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")
    done = await house.issuance.finalize(caller, order.id, csr_for("www.example.com"))
    serial = await house.database.fetchval("SELECT serial FROM certificates")

    found = await Certificates(house.database).find_by_serial(serial)

    assert found is not None
    assert found.id == done.certificate_id
    assert found.status is CertificateStatus.ISSUED
    assert isinstance(found.id, UUID)
    assert found.not_after + timedelta(seconds=1) - found.not_before == timedelta(days=90)


async def _die_after_claim(
    house: House, caller: object, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(tbs: bytes) -> bytes:
        raise RuntimeError("died")

    with monkeypatch.context() as patch:
        patch.setattr(house.authority.active, "sign", die)
        with pytest.raises(RuntimeError, match="died"):
            await house.issuance.finalize(caller, order.id, csr_for("www.example.com"))  # type: ignore[arg-type]


async def _refused(house: House, caller: object, order: Order, csr: bytes, kind: ErrorKind) -> None:
    with pytest.raises(ServerError) as refusal:
        await house.issuance.finalize(caller, order.id, csr)  # type: ignore[arg-type]
    assert refusal.value.kind is kind


def _names(order: Order) -> list[str]:
    return [identifier.value for identifier in order.identifiers]
