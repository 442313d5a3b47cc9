"""Accounts: who may register, who agreed to what, and what a stale cache can't do."""

from __future__ import annotations

import hashlib
import hmac
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from acme_server.workflow.accounts import AccountUseCases, NewAccountRequest
from acme_server.workflow.clock import SystemClock, new_id
from acme_server.workflow.external_accounts import (
    BindingProof,
    ExternalAccountUseCases,
    KeyRefused,
    NewKey,
)
from acme_server.workflow.sealing import MasterKey
from policy.model.accounts import Account, AccountStatus, Caller
from policy.model.errors import CallerStale, ErrorKind, ServerError
from policy.model.ids import encode_id
from storage.accounts import Accounts
from storage.external_accounts import ExternalAccounts
from storage.pool import Database

OLD, NEW = "https://acme.example/terms/1", "https://acme.example/terms/2"


class SetClock:
    """A clock that stands where it was set."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC)

    def now(self) -> datetime:
        """The moment set."""
        return self.moment


@pytest.fixture
def clock() -> SetClock:
    """A clock that stands still."""
    return SetClock()


@pytest.fixture
def keys(database: Database, clock: SetClock) -> ExternalAccountUseCases:
    """External account keys of the database."""
    return ExternalAccountUseCases(ExternalAccounts(database), MasterKey(bytes(32)), clock)


def accounts_of(
    database: Database, keys: ExternalAccountUseCases, **options: Any
) -> AccountUseCases:
    """One server's use cases, with a cache of its own."""
    return AccountUseCases(Accounts(database), SystemClock(), keys, **({"terms": None} | options))


def a_request(**changes: Any) -> NewAccountRequest:
    """A request with a key of its own that agrees to the terms."""
    key = os.urandom(32)
    values = {
        "jwk": key,
        "thumbprint": hashlib.sha256(key).digest(),
        "spki_sha256": os.urandom(32),
        "contacts": (),
        "terms_agreed": True,
        "only_return_existing": False,
        "address": "192.0.2.1",
    }
    return NewAccountRequest(**(values | changes))


def a_proof(key: NewKey, **changes: Any) -> BindingProof:
    """A right proof for a key."""
    values = {
        "key_id": encode_id(key.external_account.id),
        "digest": "sha256",
        "message": b"message",
        "code": hmac.digest(key.secret, b"message", "sha256"),
        "text": "a.b.c",
    }
    return BindingProof(**(values | changes))


def caller_of(account: Account) -> Caller:
    """The account as the caller of its requests."""
    return Caller(account.id, account.thumbprint)


async def make_key(keys: ExternalAccountUseCases, **changes: Any) -> NewKey:
    """A key for one account."""
    values: dict[str, Any] = {"owner": "", "max_uses": 1, "lifetime": None, "actor": "operator:a"}
    return await keys.create(**(values | changes))


# ---- external account keys ----------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
async def test_proof_by_each_hash_holds(keys: ExternalAccountUseCases, digest: str) -> None:
    key = await make_key(keys)
    code = hmac.digest(key.secret, b"message", digest)

    found = await keys.verify(a_proof(key, digest=digest, code=code))

    assert found == key.external_account.id


@pytest.mark.parametrize(
    "changes",
    [
        {"code": b""},
        {"code": bytes(32)},
        {"code": bytes(200)},
        {"message": b"another message"},
        {"digest": "sha512"},
        {"key_id": ""},
        {"key_id": "unknown"},
        {"key_id": "A" * 22},
        {"key_id": "ö\x00'"},
        {"key_id": "A" * 10_000},
    ],
)
async def test_refusal_tells_nothing_apart(
    keys: ExternalAccountUseCases, changes: dict[str, Any]
) -> None:
    key = await make_key(keys)
    with pytest.raises(ServerError) as unknown:
        await keys.verify(a_proof(key, key_id=encode_id(new_id())))

    with pytest.raises(ServerError) as refused:
        await keys.verify(a_proof(key, **changes))

    assert (refused.value.kind, refused.value.detail) == (
        ErrorKind.UNAUTHORIZED,
        unknown.value.detail,
    )


async def test_guess_at_a_key_that_is_over_learns_nothing(keys: ExternalAccountUseCases) -> None:
    key = await make_key(keys)
    await keys.revoke(key.external_account.id, actor="operator:a")

    with pytest.raises(ServerError) as guessed:
        await keys.verify(a_proof(key, code=bytes(32)))
    with pytest.raises(ServerError) as known:
        await keys.verify(a_proof(key))

    assert "revoked" not in guessed.value.detail
    assert "revoked" in known.value.detail


async def test_key_is_good_until_the_moment_it_expires(
    keys: ExternalAccountUseCases, clock: SetClock
) -> None:
    key = await make_key(keys, lifetime=timedelta(minutes=1))
    clock.moment += timedelta(seconds=59)
    assert await keys.verify(a_proof(key)) == key.external_account.id
    clock.moment += timedelta(seconds=1)

    with pytest.raises(ServerError, match="has expired"):
        await keys.verify(a_proof(key))


async def test_key_that_expires_between_check_and_use_makes_no_account(
    database: Database, keys: ExternalAccountUseCases, clock: SetClock
) -> None:
    """This process's clock is behind the database's, which decides."""
    accounts = accounts_of(database, keys)
    key = await make_key(keys, lifetime=timedelta(minutes=1))
    await database.execute("UPDATE external_accounts SET expires_at = now()")
    clock.moment -= timedelta(hours=1)

    with pytest.raises(ServerError) as refused:
        await accounts.register(a_request(binding=a_proof(key)))

    assert refused.value.kind is ErrorKind.UNAUTHORIZED
    assert await database.fetchval("SELECT count(*) FROM accounts") == 0


@pytest.mark.parametrize(
    "changes", [{"owner": "x" * 201}, {"owner": "\n"}, {"lifetime": timedelta(0)}, {"max_uses": 0}]
)
async def test_key_that_makes_no_sense_is_not_made(
    database: Database, keys: ExternalAccountUseCases, changes: dict[str, Any]
) -> None:
    with pytest.raises(KeyRefused):
        await make_key(keys, **changes)

    assert await database.fetchval("SELECT count(*) FROM sealed_secrets") == 0


# ---- registration -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "changes", "kind"),
    [
        ({}, {"only_return_existing": True}, ErrorKind.ACCOUNT_DOES_NOT_EXIST),
        ({"terms": NEW}, {"terms_agreed": False}, ErrorKind.USER_ACTION_REQUIRED),
        ({}, {"contacts": ("tel:1",)}, ErrorKind.UNSUPPORTED_CONTACT),
        ({}, {"contacts": ("mailto:",)}, ErrorKind.INVALID_CONTACT),
        ({"requires_binding": True}, {}, ErrorKind.EXTERNAL_ACCOUNT_REQUIRED),
    ],
)
async def test_who_may_not_register_still_finds_an_account(
    database: Database,
    keys: ExternalAccountUseCases,
    options: dict[str, Any],
    changes: dict[str, Any],
    kind: ErrorKind,
) -> None:
    accounts = accounts_of(database, keys, **options)
    request = a_request()
    with pytest.raises(ServerError) as refused:
        await accounts.register(a_request(**changes))
    made, _ = await accounts_of(database, keys).register(request)

    found = await accounts.register(
        a_request(jwk=request.jwk, thumbprint=request.thumbprint, **changes)
    )

    assert refused.value.kind is kind
    assert found[0].id == made.id
    assert not found[1]


async def test_deactivated_key_never_registers_again(
    database: Database, keys: ExternalAccountUseCases
) -> None:
    accounts = accounts_of(database, keys)
    request = a_request()
    account, _ = await accounts.register(request)
    await accounts.deactivate(caller_of(account))

    for again in (request, a_request(jwk=request.jwk, thumbprint=request.thumbprint)):
        with pytest.raises(ServerError) as refused:
            await accounts.register(again)
        assert refused.value.kind is ErrorKind.ACCOUNT_INACTIVE
    with pytest.raises(CallerStale):
        await accounts.update(caller_of(account), contacts=(), agrees_to_terms=False)


# ---- terms --------------------------------------------------------------------------------------


async def test_terms_that_an_account_agreed_to_are_on_record(
    database: Database, keys: ExternalAccountUseCases
) -> None:
    account, _ = await accounts_of(database, keys, terms=OLD).register(a_request())
    later = accounts_of(database, keys, terms=NEW)

    updated = await later.update(caller_of(account), contacts=None, agrees_to_terms=True)

    assert (account.terms_agreed, updated.terms_agreed) == (OLD, NEW)
    assert updated == await Accounts(database).find(account.id)
    await later.check_terms(updated)


async def test_cached_account_that_agreed_elsewhere_is_read_again(
    database: Database, keys: ExternalAccountUseCases
) -> None:
    account, _ = await accounts_of(database, keys, terms=OLD).register(a_request())
    here, there = (accounts_of(database, keys, terms=NEW) for _ in range(2))
    cached = await here.authenticate(account.id)
    with pytest.raises(ServerError) as refused:
        await here.check_terms(cached)
    await there.update(caller_of(account), contacts=None, agrees_to_terms=True)

    await here.check_terms(cached)

    assert refused.value.kind is ErrorKind.USER_ACTION_REQUIRED
    assert NEW in refused.value.detail
    before = database.statements
    await here.check_terms(await here.authenticate(account.id))
    assert database.statements == before


async def test_account_deactivated_elsewhere_is_not_asked_to_agree(
    database: Database, keys: ExternalAccountUseCases
) -> None:
    account, _ = await accounts_of(database, keys, terms=OLD).register(a_request())
    here, there = (accounts_of(database, keys, terms=NEW) for _ in range(2))
    cached = await here.authenticate(account.id)
    await there.deactivate(caller_of(account))

    with pytest.raises(ServerError) as refused:
        await here.check_terms(cached)

    assert refused.value.kind is ErrorKind.ACCOUNT_INACTIVE


async def test_contacts_and_agreement_without_terms_change_contacts_only(
    database: Database, keys: ExternalAccountUseCases
) -> None:
    account, _ = await accounts_of(database, keys, terms=OLD).register(a_request())
    without = accounts_of(database, keys)

    updated = await without.update(
        caller_of(account), contacts=("mailto:a@example.org",), agrees_to_terms=True
    )

    assert (updated.contacts, updated.terms_agreed) == (("mailto:a@example.org",), OLD)


class Elsewhere(Accounts):
    """The table of accounts, seen while another account of the same client takes the key and
    gives it away again: ``lost`` times the key is found taken, and then found nowhere."""

    def __init__(self, database: Database, lost: int) -> None:
        super().__init__(database)
        self._lost = lost

    async def create(
        self, account: Account, *, spki_sha256: bytes, address: str
    ) -> tuple[Account, bool] | None:
        """Nothing, or the account."""
        self._lost -= 1
        if self._lost >= 0:
            return None
        return await super().create(account, spki_sha256=spki_sha256, address=address)


async def test_a_key_that_moves_from_account_to_account_is_asked_for_again(
    database: Database, keys: ExternalAccountUseCases
) -> None:
    accounts = accounts_of(database, keys)
    accounts._accounts = Elsewhere(database, lost=2)

    account, is_new = await accounts.register(a_request())

    assert is_new
    assert account.status is AccountStatus.VALID


async def test_a_key_that_never_comes_to_rest_is_no_defect_of_the_server(
    database: Database, keys: ExternalAccountUseCases
) -> None:
    accounts = accounts_of(database, keys)
    accounts._accounts = Elsewhere(database, lost=100)

    with pytest.raises(ServerError) as refused:
        await accounts.register(a_request())

    assert refused.value.kind is ErrorKind.UNAVAILABLE
    assert refused.value.retry_after is not None


async def test_signatures_that_do_not_verify_cost_one_reading_in_a_second(
    database: Database, keys: ExternalAccountUseCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is.
    monkeypatch.setattr("acme_server.workflow.accounts._REFRESH_SECONDS", 3600.0)
    accounts = accounts_of(database, keys)
    account, _ = await accounts.register(a_request())
    before = database.statements

    for _ in range(20):
        await accounts.refresh(account.id)

    assert database.statements == before + 1
