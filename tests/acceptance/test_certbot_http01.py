"""certbot proves control by http-01, with its own web server."""

from __future__ import annotations

import re
import shutil
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.certbot import Certbot
from support.clientlab import ClientLab
from support.issued import Issued


@pytest.fixture
def certbot(lab_certbot: Certbot) -> Certbot:
    """certbot with an account and folders of its own, for the shared server."""
    return lab_certbot


def standalone(lab: ClientLab) -> list[str]:
    """Options for certbot's own web server where this server validates."""
    port = str(lab.server.http_port)
    return ["--standalone", "--http-01-address", "127.0.0.1", "--http-01-port", port]


def obtain(certbot: Certbot, lab: ClientLab, *options: str, names: tuple[str, ...]) -> Issued:
    """A certificate for ``names``, kept under the first of them."""
    domains = [word for name in names for word in ("-d", name)]
    lineage = certbot.certonly(*standalone(lab), *options, *domains, name=names[0])
    return Issued(lineage.fullchain, lineage.key)


def test_certificate_is_what_was_asked_for(certbot: Certbot, lab: ClientLab) -> None:
    names = ("shop.localhost", "www.shop.localhost", "static.shop.localhost")

    issued = obtain(certbot, lab, names=names)

    issued.check(lab.roots, *names)


def test_rsa_key_is_certified(certbot: Certbot, lab: ClientLab) -> None:
    issued = obtain(certbot, lab, "--key-type", "rsa", names=("rsa.localhost",))

    key = issued.check(lab.roots, "rsa.localhost").public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048


def test_key_of_another_curve_is_certified(certbot: Certbot, lab: ClientLab) -> None:
    issued = obtain(certbot, lab, "--elliptic-curve", "secp384r1", names=("ec.localhost",))

    key = issued.check(lab.roots, "ec.localhost").public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp384r1"


def test_renewal_gives_another_certificate_for_the_same_names(
    certbot: Certbot, lab: ClientLab
) -> None:
    issued = obtain(certbot, lab, names=("renewed.localhost", "www.renewed.localhost"))
    first = issued.leaf

    result = certbot.run("renew", "--force-renewal", "--no-random-sleep-on-renew")

    assert result.returncode == 0, result.stdout
    second = issued.check(lab.roots, "renewed.localhost", "www.renewed.localhost")
    assert second.serial_number != first.serial_number
    assert second.public_key() != first.public_key()


def test_certificate_gets_further_names(certbot: Certbot, lab: ClientLab) -> None:
    obtain(certbot, lab, names=("growing.localhost",))

    issued = obtain(certbot, lab, "--expand", names=("growing.localhost", "new.growing.localhost"))

    issued.check(lab.roots, "growing.localhost", "new.growing.localhost")


def test_name_that_is_not_allowed_is_refused(certbot: Certbot, lab: ClientLab) -> None:
    result = certbot.run(
        "certonly",
        "--agree-tos",
        "--register-unsafely-without-email",
        *standalone(lab),
        *("-d", "bad_name.localhost"),
    )

    assert result.returncode != 0
    assert "bad_name.localhost" in result.stdout


def test_account_can_be_updated(certbot: Certbot) -> None:
    registered = certbot.run("register", "--agree-tos", "--register-unsafely-without-email")
    updated = certbot.run("update_account", "--email", "operator@example.org")
    shown = certbot.run("show_account")

    assert registered.returncode == 0, registered.stdout
    assert updated.returncode == 0, updated.stdout
    assert "operator@example.org" in shown.stdout


def test_account_that_was_unregistered_gets_nothing_any_more(
    certbot: Certbot, lab: ClientLab
) -> None:
    obtain(certbot, lab, names=("before.localhost",))
    accounts, kept = certbot.folder / "config/accounts", certbot.folder / "kept"
    shutil.copytree(accounts, kept)

    ended = certbot.run("unregister")
    shutil.rmtree(accounts)
    shutil.copytree(kept, accounts)
    result = certbot.run("certonly", *standalone(lab), "-d", "after.localhost")

    assert ended.returncode == 0, ended.stdout
    assert result.returncode != 0
    assert re.search(r"(?i)account.*deactivated", result.stdout, re.DOTALL), result.stdout


def test_address_is_certified(certbot: Certbot, lab: ClientLab) -> None:
    arguments = [*standalone(lab), "--preferred-profile", "tls_server", "--ip-address", "127.0.0.1"]

    lineage = certbot.certonly(*arguments, name="127.0.0.1")

    leaf = Issued(lineage.fullchain, lineage.key).leaf
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.IPAddress(ip_address("127.0.0.1"))]
