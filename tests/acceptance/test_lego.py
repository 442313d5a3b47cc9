"""lego proves control in all three ways, renews, and keeps its account."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.clientlab import ClientLab
from support.lego import Lego


def http01(lab: ClientLab) -> tuple[str, ...]:
    """lego's own web server where this server validates."""
    return ("--http", "--http.port", f"127.0.0.1:{lab.server.http_port}")


def dns01(lab: ClientLab) -> tuple[str, ...]:
    """The exec provider; the zone's authoritative servers need not be found first."""
    return ("--dns", "exec", "--dns.resolvers", str(lab.zone.endpoint), "--dns.disable-cp")


def test_http01_certifies_all_names_of_an_order(lego: Lego, lab: ClientLab) -> None:
    names = ("lego.localhost", "www.lego.localhost", "mail.lego.localhost")

    issued = lego.obtain(*http01(lab), names=names)

    issued.check(lab.roots, *names)


def test_tls_alpn01_certifies(lego: Lego, lab: ClientLab) -> None:
    options = ("--tls", "--tls.port", f"127.0.0.1:{lab.server.tls_port}")

    issued = lego.obtain(*options, names=("tls.lego.localhost",))

    issued.check(lab.roots, "tls.lego.localhost")


def test_dns01_certifies_a_wildcard_and_its_base(lego: Lego, lab: ClientLab) -> None:
    names = ("*.lego.test", "lego.test")

    issued = lego.obtain(*dns01(lab), names=names)

    issued.check(lab.roots, *names)


@pytest.mark.parametrize(
    ("key_type", "kind", "size"),
    [
        ("rsa2048", rsa.RSAPublicKey, 2048),
        ("ec256", ec.EllipticCurvePublicKey, 256),
        ("ec384", ec.EllipticCurvePublicKey, 384),
    ],
)
def test_key_types_for_account_and_certificate(
    lego: Lego,
    lab: ClientLab,
    key_type: str,
    kind: type[rsa.RSAPublicKey | ec.EllipticCurvePublicKey],
    size: int,
) -> None:
    name = f"{key_type}.localhost"

    issued = lego.obtain("--key-type", key_type, *http01(lab), names=(name,))

    key = issued.check(lab.roots, name).public_key()
    assert isinstance(key, kind)
    assert key.key_size == size


def test_renewal_gives_another_certificate_by_the_same_account(lego: Lego, lab: ClientLab) -> None:
    issued = lego.obtain(*http01(lab), names=("renewed.lego.localhost",))
    first, (account,) = issued.leaf, lego.folder.rglob("account.json")
    registered = json.loads(account.read_text())["registration"]["uri"]

    lego.obtain(
        *http01(lab), names=("renewed.lego.localhost",), action="renew --days 100 --no-random-sleep"
    )

    assert issued.check(lab.roots, "renewed.lego.localhost").serial_number != first.serial_number
    assert json.loads(account.read_text())["registration"]["uri"] == registered
