"""Months later, the server's own certificate and its CRLs are fresh."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from acme_server.workflow.issuance import IssuanceUseCases
from acme_server.workflow.publication import PublicationUseCases
from acme_server.workflow.revocation import OperatorRevocations
from acme_server.workflow.service_certificate import ServiceCertificateUseCases
from policy.model.certificates import RevocationReason
from policy.names import NameRules
from policy.profiles import SERVICE
from storage.certificates import Certificates
from storage.crls import Crls
from storage.issuances import Issuances
from storage.leases import Leases
from storage.pool import Database
from storage.revocations import Revocations
from storage.secrets import SealedSecrets
from support.workflow import House, build_house


class FakeClock:
    """A fake clock, ``ahead`` of the machine's."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        """The moment it is made to show."""
        return datetime.now(UTC) + self.ahead


@pytest.fixture
async def house(database: Database) -> House:
    return await build_house(database)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def certificate(house: House, clock: FakeClock) -> ServiceCertificateUseCases:
    issuance = IssuanceUseCases(
        Issuances(house.database), house.authority, clock, {}, names=NameRules(), owner="test"
    )
    return ServiceCertificateUseCases(
        issuance,
        house.authority,
        SealedSecrets(house.database),
        house.master_key,
        Certificates(house.database),
        clock,
        SERVICE,
        host="localhost",
    )


@pytest.fixture
def publication(house: House, clock: FakeClock) -> PublicationUseCases:
    return PublicationUseCases(
        Crls(house.database),
        Certificates(house.database),
        Leases(house.database),
        house.authority,
        clock,
        owner="test",
        lifetime=timedelta(days=7),
        interval=timedelta(days=1),
    )


async def test_own_certificate_is_renewed_when_due_and_only_then(
    certificate: ServiceCertificateUseCases, clock: FakeClock
) -> None:
    assert await certificate.renew_if_due()
    assert not await certificate.renew_if_due()
    first = await certificate.current()

    clock.ahead = timedelta(days=120)

    assert await certificate.renew_if_due()
    second = await certificate.current()
    assert first is not None
    assert second is not None
    assert second.version != first.version
    assert second.not_before < clock.now() < second.not_after - timedelta(days=20)
    assert second.names == {"localhost", "127.0.0.1", "::1"}


async def test_own_certificate_is_replaced_once_it_was_revoked(
    house: House, certificate: ServiceCertificateUseCases
) -> None:
    await certificate.renew_if_due()
    first = await certificate.current()
    assert first is not None
    revocations = OperatorRevocations(Revocations(house.database), Certificates(house.database))

    await revocations.revoke(first.serial, RevocationReason.SUPERSEDED, "operator:test")

    assert await certificate.renew_if_due()
    second = await certificate.current()
    assert second is not None
    assert second.serial != first.serial
    assert not await certificate.renew_if_due()


async def test_crls_are_made_anew_when_due_and_only_then(
    publication: PublicationUseCases, clock: FakeClock
) -> None:
    # The root's, and the four shards of the issuing CA.
    assert await publication.publish_due() == 5
    assert await publication.publish_due() == 0

    clock.ahead = timedelta(days=120)

    assert await publication.publish_due() == 5
    crl = await publication.find_crl("ca", 0)
    assert crl is not None
    parsed = x509.load_der_x509_crl(crl.der)
    assert crl.number == 2
    assert parsed.next_update_utc is not None
    assert parsed.last_update_utc < clock.now() < parsed.next_update_utc


async def test_clock_set_back_does_not_stop_publication(
    publication: PublicationUseCases, clock: FakeClock
) -> None:
    clock.ahead = timedelta(days=120)
    await publication.publish_due()

    clock.ahead = timedelta(0)

    assert await publication.publish_due() == 5


async def test_revocation_makes_its_shard_due_at_once(
    house: House, publication: PublicationUseCases, certificate: ServiceCertificateUseCases
) -> None:
    await certificate.renew_if_due()
    await publication.publish_due()
    serial = await house.database.fetchval(
        "UPDATE certificates SET revoked_at = date_trunc('second', now()), revocation_reason = 1"
        " RETURNING serial"
    )

    assert await publication.publish_due() == 1
    shard = house.authority.active.facts.shard_of(serial)
    crl = await publication.find_crl("ca", shard)
    assert crl is not None
    listed = x509.load_der_x509_crl(crl.der)
    assert listed.get_revoked_certificate_by_serial_number(int.from_bytes(serial)) is not None


async def test_revocation_that_is_committed_while_a_crl_is_made_is_not_lost(
    house: House, publication: PublicationUseCases, certificate: ServiceCertificateUseCases
) -> None:
    """Its time is before that of the CRL, which could not see it yet."""
    await certificate.renew_if_due()
    await publication.publish_due()
    async with house.database.transaction() as connection:
        serial = await connection.fetchval(
            "UPDATE certificates"
            " SET revoked_at = date_trunc('second', now() - interval '1 minute'),"
            " revocation_reason = 1 RETURNING serial"
        )
        shard = house.authority.active.facts.shard_of(serial)
        await house.database.execute(
            "INSERT INTO crl_requests (issuer, shard) VALUES ('ca', $1)", shard
        )
        assert await publication.publish_due() == 1
        before = await _listed(publication, shard)

    assert await publication.publish_due() == 1
    assert before == set()
    assert await _listed(publication, shard) == {int.from_bytes(serial)}
    assert await publication.publish_due() == 0


async def test_another_process_publishes_at_once_what_was_asked_for(
    house: House, clock: FakeClock, publication: PublicationUseCases
) -> None:
    """Whoever published last keeps no lease."""
    await publication.publish_due()
    other = PublicationUseCases(
        Crls(house.database),
        Certificates(house.database),
        Leases(house.database),
        house.authority,
        clock,
        owner="other",
        lifetime=timedelta(days=7),
        interval=timedelta(days=1),
    )
    await house.database.execute("INSERT INTO crl_requests (issuer, shard) VALUES ('ca', 3)")

    published = await asyncio.gather(other.publish_due(), publication.publish_due())

    assert sum(published) == 1
    assert await house.database.fetchval("SELECT count(*) FROM crl_requests") == 0


async def test_looking_for_what_is_due_writes_nothing(
    publication: PublicationUseCases, house: House
) -> None:
    await publication.publish_due()
    before = house.database.statements

    assert await publication.publish_due() == 0
    assert house.database.statements - before == 1


async def _listed(publication: PublicationUseCases, shard: int) -> set[int]:
    crl = await publication.find_crl("ca", shard)
    assert crl is not None
    return {entry.serial_number for entry in x509.load_der_x509_crl(crl.der)}
