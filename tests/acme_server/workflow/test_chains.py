"""Alternate chains: with the root, and through certificates of other CAs."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from acme_server.workflow.authority import AuthorityError
from acme_server.workflow.chains import Chains
from storage.pool import Database
from support.workflow import House, build_house


@pytest.fixture
async def house(database: Database) -> House:
    return await build_house(database)


class ForeignCa:
    """A CA of somebody else's, with a root and one that signs below it."""

    def __init__(self) -> None:
        self._root_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self._root_name, self._name = (
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
            for name in ("Foreign root", "Foreign CA")
        )
        self.certificate = self._sign(
            self._name, self._key.public_key(), self._root_name, self._root_key
        )

    def cross(self, ours: bytes) -> x509.Certificate:
        """A certificate for name and key of one of ours."""
        certificate = x509.load_der_x509_certificate(ours)
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return self._sign(certificate.subject, key, self._name, self._key)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        issuer: x509.Name,
        signer: ec.EllipticCurvePrivateKey,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        serial = x509.random_serial_number()
        builder = x509.CertificateBuilder(issuer, subject, key, serial).not_valid_before(now)
        builder = builder.not_valid_after(now + timedelta(days=1))
        return builder.sign(signer, hashes.SHA256())


def write(path: Path, *certificates: x509.Certificate) -> Path:
    """A PEM file."""
    path.write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in certificates))
    return path


async def test_only_the_default_chain_without_configuration(house: House) -> None:
    assert Chains(house.authority).of("ca") == (house.authority.chain("ca"),)


async def test_chain_with_the_root_is_an_alternate(house: House) -> None:
    default, whole = Chains(house.authority, with_root=True).of("ca")

    assert whole == (*default, house.authority.root())


async def test_cross_certificate_replaces_what_it_certifies(house: House, tmp_path: Path) -> None:
    foreign, (issuing,) = ForeignCa(), house.authority.chain("ca")
    root_cross, issuing_cross = foreign.cross(house.authority.root()), foreign.cross(issuing)
    files = [
        write(tmp_path / "root.pem", root_cross, foreign.certificate),
        write(tmp_path / "issuing.pem", issuing_cross, foreign.certificate),
    ]

    chains = Chains(house.authority, cross_certificates=files, with_root=True).of("ca")

    above = foreign.certificate.public_bytes(Encoding.DER)
    assert chains == (
        (issuing,),
        (issuing, root_cross.public_bytes(Encoding.DER), above),
        (issuing_cross.public_bytes(Encoding.DER), above),
        (issuing, house.authority.root()),
    )


async def test_certificate_for_another_ca_is_refused_by_name(house: House, tmp_path: Path) -> None:
    path = write(tmp_path / "other.pem", ForeignCa().certificate)

    with pytest.raises(AuthorityError, match=r"ca\.cross_certificates.*other\.pem"):
        Chains(house.authority, cross_certificates=[path])


async def test_file_whose_certificates_are_no_chain_is_refused(
    house: House, tmp_path: Path
) -> None:
    cross = ForeignCa().cross(house.authority.root())
    path = write(tmp_path / "mixed.pem", cross, ForeignCa().certificate)

    with pytest.raises(AuthorityError, match=r"mixed\.pem"):
        Chains(house.authority, cross_certificates=[path])


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n", b"\0\xff"])
async def test_file_without_certificates_is_refused(
    house: House, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "broken.pem"
    path.write_bytes(content)

    with pytest.raises(AuthorityError, match=r"broken\.pem"):
        Chains(house.authority, cross_certificates=[path])


async def test_missing_file_is_refused(house: House, tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match="No such file"):
        Chains(house.authority, cross_certificates=[tmp_path / "absent.pem"])


async def test_der_is_told_from_pem(house: House, tmp_path: Path) -> None:
    path = tmp_path / "root.crt"
    path.write_bytes(ssl.PEM_cert_to_DER_cert(ssl.DER_cert_to_PEM_cert(house.authority.root())))

    with pytest.raises(AuthorityError, match=r"root\.crt"):
        Chains(house.authority, cross_certificates=[path])
