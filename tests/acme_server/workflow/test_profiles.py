"""Orders with a profile, from newOrder to the certificate; and keys that are on a list."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from acme_server.workflow.authority import AuthorityError
from acme_server.workflow.blockedkeys import BlockedKeys, BlocklistRefused
from acme_server.workflow.issuance import IssuanceUseCases
from acme_server.workflow.orders import NewOrderRequest
from policy.blocklists import modulus_hash, spki_hash
from policy.extraextensions import ExtraExtension
from policy.model.accounts import Caller
from policy.model.errors import ErrorKind, ServerError
from policy.model.identifiers import IdentifierType
from policy.model.orders import Order, OrderStatus
from policy.names import NameRules
from policy.profiles import TLS_SERVER, CommonName, Profile, SubjectPattern
from policy.shippedprofiles import SHIPPED
from storage.issuances import Issuances
from storage.pool import Database
from support.acme import serve_house
from support.csrs import ec_key, rsa_key
from support.workflow import House, build_house, csr_for

PLACED = replace(
    SHIPPED["webserver"],
    subject=SubjectPattern(country="DE", organization="Example GmbH"),
    extensions=(ExtraExtension("1.3.6.1.4.1.99999.1", b"\x05\x00"),),
)
APPROVED = replace(TLS_SERVER, name="approved", needs_approval=True)
PROFILES = (TLS_SERVER, PLACED, SHIPPED["tls_short"], SHIPPED["public_tls"], APPROVED)


@pytest.fixture
async def house(database: Database) -> House:
    return await build_house(database, profiles=PROFILES)


def _issuance(house: House, *profiles: Profile) -> IssuanceUseCases:
    """The issuance core of a process with other profiles."""
    return IssuanceUseCases(
        Issuances(house.database),
        house.authority,
        house.issuance._clock,
        {profile.name: profile for profile in profiles},
        names=NameRules(),
        owner="other",
    )


async def _leaf(house: House, caller: Caller, order: Order) -> x509.Certificate:
    assert order.certificate_id is not None
    chain = await house.certificates.get(caller, order.certificate_id)
    return x509.load_der_x509_certificate(chain.certificate)


async def _refusal(
    house: House, names: Sequence[tuple[str, str]], profile: str | None
) -> ServerError:
    caller = await house.caller()
    request = NewOrderRequest(
        unverified_identifiers=names, not_before=None, not_after=None, profile=profile
    )
    with pytest.raises(ServerError) as refusal:
        await house.orders.create(caller, request)
    assert await house.database.fetchval("SELECT count(*) FROM orders") == 0
    return refusal.value


async def test_certificate_is_of_the_profile_that_the_order_named(
    house: House, tmp_path: Path
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com", profile="webserver")

    done = await house.issuance.finalize(caller, order.id, csr_for("www.example.com"))

    assert done.profile == order.profile == "webserver"
    leaf = await _leaf(house, caller, done)
    assert [(part.oid, part.value) for part in leaf.subject] == [
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.ORGANIZATION_NAME, "Example GmbH"),
        (NameOID.COMMON_NAME, "www.example.com"),
    ]
    oids = [extension.oid.dotted_string for extension in leaf.extensions]
    assert oids[-1] == "1.3.6.1.4.1.99999.1"
    row = await house.database.fetchrow("SELECT profile, profile_version FROM certificates")
    assert row is not None
    assert tuple(row) == ("webserver", PLACED.version)
    await _verify_with_openssl(house, leaf, tmp_path)


async def _verify_with_openssl(house: House, leaf: x509.Certificate, folder: Path) -> None:
    issuing = house.authority.active.issuer.certificate
    root, chain, certificate = (folder / name for name in ("root", "issuing", "leaf"))
    root.write_text(ssl.DER_cert_to_PEM_cert(house.authority.root()))
    chain.write_text(ssl.DER_cert_to_PEM_cert(issuing))
    certificate.write_text(ssl.DER_cert_to_PEM_cert(leaf.public_bytes(Encoding.DER)))
    command = ["openssl", "verify", "-x509_strict", "-CAfile", root, "-untrusted", chain]
    await asyncio.to_thread(
        subprocess.run, [*command, certificate], check=True, stdout=subprocess.DEVNULL
    )


async def test_order_that_names_no_profile_has_the_default(house: House) -> None:
    caller = await house.caller()

    order = await house.order(caller, "www.example.com")

    assert order.profile == "tls_server"


@pytest.mark.parametrize("name", ["", "TLS_SERVER", "client_auth", "service", "x" * 1000, "a\x00"])
async def test_profile_that_is_not_offered_is_refused(house: House, name: str) -> None:
    refusal = await _refusal(house, [("dns", "www.example.com")], name)

    assert refusal.kind is ErrorKind.INVALID_PROFILE
    assert refusal.detail == (
        "There is no such profile; there are: tls_server, webserver, tls_short, public_tls, "
        "approved."
    )


UNFIT: Mapping[str, tuple[Sequence[tuple[str, str]], str]] = {
    "an address for public TLS": ([("ip", "192.0.2.1")], "of other types: dns"),
    "an address beside a name": (
        [("dns", "www.example.com"), ("ip", "192.0.2.1")],
        "of other types: dns",
    ),
    "a type that nobody knows": ([("email", "a@example.com")], "of other types: dns"),
    "more names than it has": (
        [("dns", f"a{number}.example.com") for number in range(101)],
        "have at most 100 names",
    ),
}


@pytest.mark.parametrize(("names", "text"), UNFIT.values(), ids=UNFIT)
async def test_profile_that_does_not_go_with_the_names_is_refused(
    house: House, names: Sequence[tuple[str, str]], text: str
) -> None:
    refusal = await _refusal(house, names, "public_tls")

    assert refusal.kind is ErrorKind.INVALID_PROFILE
    assert text in refusal.detail


async def test_names_that_do_not_go_with_the_default_are_refused_as_names(house: House) -> None:
    dns_only = replace(TLS_SERVER, identifier_types=frozenset({IdentifierType.DNS}))
    house.orders._rules = replace(house.orders._rules, profiles={dns_only.name: dns_only})

    refusal = await _refusal(house, [("ip", "192.0.2.1")], None)

    assert refusal.kind is not ErrorKind.INVALID_PROFILE


async def test_profile_that_needs_an_approval_says_that_there_are_none_yet(house: House) -> None:
    refusal = await _refusal(house, [("dns", "www.example.com")], "approved")

    assert refusal.kind is ErrorKind.UNAUTHORIZED
    assert "approvals are not available in this version" in refusal.detail


async def test_order_made_before_approvals_were_needed_is_refused_at_finalize(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")
    profile = replace(TLS_SERVER, needs_approval=True)
    # The version is pinned on the order; this is about a process that would overlook it.
    monkeypatch.setattr(type(profile), "version", order.profile_version)

    with pytest.raises(ServerError, match="need an approval") as refusal:
        await _issuance(house, profile).finalize(caller, order.id, csr_for("www.example.com"))

    assert refusal.value.kind is ErrorKind.UNAUTHORIZED
    assert await house.database.fetchval("SELECT count(*) FROM serials") == 0


CHANGED = {
    "gone": ((), "is no longer offered since the order was placed; place a new order"),
    "changed": (
        (replace(PLACED, common_name=CommonName.NONE),),
        "changed since the order was placed; place a new order",
    ),
}


@pytest.mark.parametrize(("profiles", "text"), CHANGED.values(), ids=CHANGED)
async def test_profile_that_changed_since_the_order_is_refused_at_finalize(
    house: House, profiles: tuple[Profile, ...], text: str
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com", profile="webserver")
    issuance = _issuance(house, TLS_SERVER, *profiles)

    with pytest.raises(ServerError, match=text) as refusal:
        await issuance.finalize(caller, order.id, csr_for("www.example.com"))

    assert refusal.value.kind is ErrorKind.INVALID_PROFILE
    assert (await house.orders.get(caller, order.id)).status is OrderStatus.READY
    assert await house.database.fetchval("SELECT count(*) FROM serials") == 0
    done = await house.issuance.finalize(caller, order.id, csr_for("www.example.com"))
    assert done.status is OrderStatus.VALID


async def test_description_may_change_between_order_and_certificate(house: House) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com", profile="webserver")

    done = await _issuance(house, replace(PLACED, description="new")).finalize(
        caller, order.id, csr_for("www.example.com")
    )

    assert done.status is OrderStatus.VALID


async def test_public_order_takes_no_valid_authorization_that_may_be_too_old(house: House) -> None:
    caller = await house.caller()
    await house.ready_order(caller, "www.example.com")
    house.orders._rules = replace(house.orders._rules, authorization_lifetime=timedelta(days=398))

    private = await house.order(caller, "www.example.com")
    public = await house.order(caller, "www.example.com", profile="public_tls")
    house.orders._rules = replace(house.orders._rules, authorization_lifetime=timedelta(days=10))
    again = await house.order(caller, "www.example.com", profile="public_tls")

    assert private.status is OrderStatus.READY
    assert public.status is OrderStatus.PENDING
    assert again.status is OrderStatus.READY


async def test_old_proof_is_none_for_a_public_certificate(house: House) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com", profile="public_tls")
    await house.database.execute("UPDATE validations SET ended_at = now() - interval '399 days'")

    with pytest.raises(ServerError, match="not proven within the last") as refusal:
        await house.issuance.finalize(caller, order.id, csr_for("www.example.com"))

    assert refusal.value.kind is ErrorKind.UNAUTHORIZED
    assert (await house.orders.get(caller, order.id)).status is OrderStatus.READY


async def test_certificate_comes_from_the_issuer_of_its_profile(database: Database) -> None:
    named = replace(TLS_SERVER, issuer="ca")
    house = await build_house(database, profiles=(named,))
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")

    done = await house.issuance.finalize(caller, order.id, csr_for("www.example.com"))

    assert done.status is OrderStatus.VALID
    assert await database.fetchval("SELECT issuer FROM certificates") == "ca"
    house.authority.check_profiles([named, TLS_SERVER])


@pytest.mark.parametrize("issuer", ["ca-root", "other", ""])
async def test_issuer_that_certificates_do_not_come_from_is_told_at_the_start(
    house: House, issuer: str
) -> None:
    profile = replace(TLS_SERVER, issuer=issuer)

    with pytest.raises(AuthorityError, match=f'no issuing CA "{issuer}", only ca'):
        house.authority.check_profiles([TLS_SERVER, profile])


@pytest.fixture
def lists(tmp_path: Path) -> tuple[Path, Path]:
    """The files of blocked keys and of weak moduli, empty."""
    paths = (tmp_path / "blocked", tmp_path / "weak")
    for path in paths:
        path.write_text("# nothing yet\n")
    return paths


def _blocked_keys(lists: tuple[Path, Path]) -> BlockedKeys:
    blocked = BlockedKeys(keys=[lists[0]], weak_keys=[lists[1]])
    blocked.reload()
    return blocked


async def test_blocked_key_gets_no_certificate_and_another_one_does(
    database: Database, lists: tuple[Path, Path]
) -> None:
    lists[0].write_text(f"{spki_hash(ec_key('blocked').public_key()).hex()}\n")
    house = await build_house(database, blocked_keys=_blocked_keys(lists))
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com")
    csr = csr_for("www.example.com", key=ec_key("blocked"))

    with pytest.raises(ServerError, match="list of compromised keys") as refusal:
        await house.issuance.finalize(caller, order.id, csr)

    assert refusal.value.kind is ErrorKind.BAD_CSR
    assert (await house.orders.get(caller, order.id)).status is OrderStatus.READY
    done = await house.issuance.finalize(caller, order.id, csr_for("www.example.com"))
    assert done.status is OrderStatus.VALID


async def test_lists_are_read_again_and_kept_where_they_can_not_be(
    lists: tuple[Path, Path],
) -> None:
    blocked = _blocked_keys(lists)
    key, weak = ec_key().public_key(), rsa_key().public_key()
    blocked.check_account_key(key)
    lists[0].write_text(spki_hash(key).hex())
    lists[1].write_text(modulus_hash(weak.public_numbers().n).hex())
    blocked.check_account_key(key)

    blocked.reload()

    for refused in (key, weak):
        with pytest.raises(ServerError, match="make a new one") as refusal:
            blocked.check_account_key(refused)
        assert refusal.value.kind is ErrorKind.BAD_PUBLIC_KEY
    lists[0].write_text("no hash\n")
    with pytest.raises(BlocklistRefused, match=r"policy\.blocked_keys: .*line 1 is not 64 hex"):
        blocked.reload()
    with pytest.raises(ServerError):
        blocked.check_account_key(key)


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"00\n"])
def test_list_that_can_not_be_used_is_told_with_its_setting(
    lists: tuple[Path, Path], position: int, content: bytes | None
) -> None:
    lists[position].unlink()
    if content is not None:
        lists[position].write_bytes(content)
    setting = ("policy.blocked_keys", "policy.weak_keys")[position]

    with pytest.raises(BlocklistRefused, match=f"{setting}: .*{lists[position]}"):
        _blocked_keys(lists)


async def test_client_orders_by_profile_and_reads_it_in_the_order(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        asked = {
            "identifiers": [{"type": "dns", "value": "www.example.com"}],
            "profile": "tls_short",
        }
        created = await client.post(served.urls.new_order, asked)
        read = await client.read(created.headers["location"])
        unknown = await client.post(served.urls.new_order, {**asked, "profile": "other"})

    assert created.status == 201
    assert json.loads(created.body)["profile"] == json.loads(read.body)["profile"] == "tls_short"
    assert unknown.status == 400
    assert json.loads(unknown.body) == {
        "type": "urn:ietf:params:acme:error:invalidProfile",
        "status": 400,
        "detail": (
            "There is no such profile; there are: tls_server, webserver, tls_short, public_tls, "
            "approved."
        ),
    }


async def test_short_profile_lasts_six_days(house: House) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.com", profile="tls_short")

    done = await house.issuance.finalize(caller, order.id, csr_for("www.example.com"))

    leaf = await _leaf(house, caller, done)
    span = leaf.not_valid_after_utc - leaf.not_valid_before_utc + timedelta(seconds=1)
    assert span == timedelta(days=6)
    assert leaf.not_valid_before_utc <= datetime.now(UTC)
