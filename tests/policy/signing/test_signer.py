"""Signers: the same bytes give the same signature, and none leaves that does not verify."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)

from policy.signing.signer import (
    SigningFailed,
    SoftwareSigner,
    check_determinism,
    check_signature,
    generate_signer,
)
from support.signing import authority

TYPES = ["ec-p256", "ec-p384", "ed25519", "rsa-2048"]
MESSAGE = b"the bytes to be signed"


class FakeSigner:
    """A token that names one key, and signs with whatever it is told to."""

    is_quick = False

    def __init__(self, named: SoftwareSigner, signs: list[bytes], *, deterministic: bool) -> None:
        self.spki = named.spki
        self.algorithm = named.algorithm
        self.is_deterministic = deterministic
        self._signatures = iter(signs)

    def sign(self, message: bytes) -> bytes:
        """The next of its signatures."""
        return next(self._signatures)


def _random_signatures(signer: SoftwareSigner, message: bytes, count: int) -> list[bytes]:
    key = signer._key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return [key.sign(message, ec.ECDSA(hashes.SHA256())) for _ in range(count)]


@pytest.mark.parametrize("key_type", TYPES)
def test_signature_is_the_same_each_time_and_verifies(key_type: str) -> None:
    signer = authority(key_type).signer

    signatures = {signer.sign(MESSAGE) for _ in range(20)}

    assert len(signatures) == 1
    assert signer.is_deterministic
    check_determinism(signer)
    check_signature(signer.spki, signer.algorithm, MESSAGE, signatures.pop())


@pytest.mark.parametrize("key_type", TYPES)
def test_signer_of_the_same_key_signs_the_same(key_type: str) -> None:
    signer = authority(key_type).signer

    again = SoftwareSigner.from_der(signer.to_der())

    assert again.sign(MESSAGE) == signer.sign(MESSAGE)
    assert (again.spki, again.algorithm) == (signer.spki, signer.algorithm)


def test_ecdsa_is_that_of_rfc_6979() -> None:
    """The vector of section A.2.5: P-256, SHA-256, message "sample"."""
    private = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    signer = SoftwareSigner(ec.derive_private_key(private, ec.SECP256R1()))

    r, s = decode_dss_signature(signer.sign(b"sample"))

    assert r == 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
    assert s == 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8


def test_only_rsa_is_slow() -> None:
    assert {kind: authority(kind).signer.is_quick for kind in TYPES} == {
        "ec-p256": True,
        "ec-p384": True,
        "ed25519": True,
        "rsa-2048": False,
    }


@pytest.mark.parametrize(
    ("key_type", "bits"),
    [("ec-p256", 256), ("ec-p384", 384), ("rsa-2048", 2048), ("rsa-3072", 3072)],
)
def test_key_of_the_asked_type_is_made(key_type: str, bits: int) -> None:
    key = load_der_public_key(generate_signer(key_type).spki)

    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    assert key.key_size == bits


@pytest.mark.parametrize("key_type", ["", "rsa", "rsa-1024", "ec-p521", "EC-P256", "dsa"])
def test_unknown_key_type_is_refused(key_type: str) -> None:
    with pytest.raises(ValueError, match="unknown CA key type"):
        generate_signer(key_type)


@pytest.mark.parametrize("curve", [ec.SECP521R1(), ec.SECP256K1(), ec.SECP224R1()])
def test_key_on_another_curve_is_no_signer(curve: ec.EllipticCurve) -> None:
    with pytest.raises(ValueError, match="no CA keys on the curve"):
        SoftwareSigner(ec.generate_private_key(curve))


def test_key_of_another_type_is_no_signer() -> None:
    key = ed448.Ed448PrivateKey.generate()
    encoded = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    for octets in (encoded, b"", b"no key"):
        with pytest.raises(ValueError, match=r"."):
            SoftwareSigner.from_der(octets)


@pytest.mark.parametrize("key_type", TYPES)
def test_signature_that_does_not_verify_never_leaves(
    key_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = SoftwareSigner.from_der(authority(key_type).signer.to_der())
    good = signer.sign(MESSAGE)
    altered = good[:-1] + bytes((good[-1] ^ 1,))

    for wrong in (altered, good[:-1], b"", signer.sign(b"another message")):
        monkeypatch.setattr(signer, "_signature_over", lambda _, wrong=wrong: wrong)
        with pytest.raises(SigningFailed):
            signer.sign(MESSAGE)


@pytest.mark.parametrize(
    "change",
    [
        {"spki": "another key"},
        {"message": MESSAGE + b"."},
        {"algorithm": b"\x30\x05\x06\x03\x2a\x03\x04"},
        {"signature": bytes(range(64))},
        {"signature": b""},
    ],
    ids=str,
)
@pytest.mark.parametrize("key_type", TYPES)
def test_check_refuses_what_is_not_the_issuers(key_type: str, change: dict[str, bytes]) -> None:
    signer = authority(key_type).signer
    good = {
        "spki": signer.spki,
        "algorithm": signer.algorithm,
        "message": MESSAGE,
        "signature": signer.sign(MESSAGE),
    }
    if "spki" in change:
        change = {"spki": authority(key_type).root_signer.spki}

    check_signature(**good)
    with pytest.raises(SigningFailed):
        check_signature(**good | change)


def test_signer_that_only_says_it_is_deterministic_is_found() -> None:
    named = authority().signer
    message = b"acme-server start-up self-test"

    with pytest.raises(SigningFailed, match="should be deterministic"):
        check_determinism(
            FakeSigner(named, _random_signatures(named, message, 2), deterministic=True)
        )
    check_determinism(FakeSigner(named, _random_signatures(named, message, 2), deterministic=False))


@pytest.mark.parametrize("deterministic", [True, False])
def test_signer_with_another_key_than_it_names_is_found(deterministic: bool) -> None:
    message = b"acme-server start-up self-test"
    foreign = authority().root_signer.sign(message)

    with pytest.raises(SigningFailed, match="does not verify"):
        check_determinism(
            FakeSigner(authority().signer, [foreign] * 2, deterministic=deterministic)
        )
