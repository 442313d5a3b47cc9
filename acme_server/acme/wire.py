"""ACME's JSON objects: what clients send, and what they are sent (RFC 8555, section 7.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from acme_server.acme import base64url
from acme_server.acme.binding import render_binding
from acme_server.acme.problems import render_problem
from acme_server.web.strictjson import parse_object
from acme_server.web.urls import Urls
from acme_server.workflow.orders import NewOrderRequest
from policy.model.accounts import Account
from policy.model.authorizations import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
)
from policy.model.errors import ErrorKind, ServerError
from policy.model.identifiers import Identifier
from policy.model.orders import Order, OrderStatus

_PAYLOAD = "The payload"
# Stricter than fromisoformat, which knows more of ISO 8601: basic formats, weeks, decimal commas.
_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,20})?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccountPayload:
    """What a newAccount payload asks for (RFC 8555, section 7.3)."""

    contacts: tuple[str, ...]
    terms_agreed: bool
    only_return_existing: bool
    unverified_binding: object | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountUpdate:
    """What an update of an account asks for; None leaves the contacts as they are."""

    contacts: tuple[str, ...] | None
    agrees_to_terms: bool
    deactivate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationPayload:
    """What a revokeCert payload asks for: DER, and the code of a reason if one is given."""

    unverified_certificate: bytes
    reason: int | None


def parse_new_account(payload: bytes) -> NewAccountPayload:
    """Raises ServerError(MALFORMED); members that aren't known are ignored, as in all payloads."""
    members = parse_object(payload, _PAYLOAD)
    return NewAccountPayload(
        contacts=_contacts(members) or (),
        terms_agreed=_flag(members, "termsOfServiceAgreed"),
        only_return_existing=_flag(members, "onlyReturnExisting"),
        unverified_binding=members.get("externalAccountBinding"),
    )


def parse_account_update(payload: bytes) -> AccountUpdate:
    """RFC 8555, sections 7.3.2, 7.3.3 and 7.3.6. Raises ServerError(MALFORMED).

    Clients send whole account objects back: what can't be changed is ignored.
    """
    members = parse_object(payload, _PAYLOAD)
    return AccountUpdate(
        contacts=_contacts(members),
        agrees_to_terms=members.get("termsOfServiceAgreed") is True,
        deactivate=_deactivates(members),
    )


def parse_authorization_update(payload: bytes) -> None:
    """The one update of an authorization is to deactivate it (RFC 8555, section 7.5.2).

    Raises ServerError(MALFORMED) for anything else.
    """
    if not _deactivates(parse_object(payload, _PAYLOAD)):
        raise _malformed('An authorization is updated with {"status": "deactivated"} only.')


def parse_new_authorization(payload: bytes) -> tuple[str, str]:
    """The type and value of the identifier, not checked (RFC 8555, section 7.4.1).

    Raises ServerError(MALFORMED).
    """
    return _identifier(parse_object(payload, _PAYLOAD).get("identifier"))


def parse_challenge_answer(payload: bytes) -> None:
    """The challenges offered have no response fields (RFC 8555, section 7.5.1); whatever a
    client sends besides is ignored. Raises ServerError(MALFORMED) for what is no JSON object."""
    parse_object(payload, _PAYLOAD)


def parse_new_order(payload: bytes) -> NewOrderRequest:
    """RFC 8555, section 7.4. Raises ServerError(MALFORMED); the names are not checked here."""
    members = parse_object(payload, _PAYLOAD)
    identifiers = members.get("identifiers")
    if not isinstance(identifiers, list) or not identifiers:
        raise _malformed('An order needs "identifiers", a list of at least one.')
    profile = members.get("profile")
    if profile is not None and not isinstance(profile, str):
        raise _malformed('"profile" must be a string.')
    return NewOrderRequest(
        unverified_identifiers=[_identifier(identifier) for identifier in identifiers],
        not_before=_time(members, "notBefore"),
        not_after=_time(members, "notAfter"),
        profile=profile,
    )


def parse_revocation(payload: bytes) -> RevocationPayload:
    """RFC 8555, section 7.6; the certificate's octets are not looked at.

    Raises ServerError(MALFORMED).
    """
    members = parse_object(payload, _PAYLOAD)
    certificate, reason = members.get("certificate"), members.get("reason")
    if not isinstance(certificate, str):
        raise _malformed('"certificate" must be a string.')
    if "reason" in members and (not isinstance(reason, int) or isinstance(reason, bool)):
        raise _malformed('"reason" must be the number of a reason, or left out.')
    try:
        octets = base64url.decode(certificate)
    except ValueError as error:
        raise _malformed(
            "The certificate must be DER in base64url without padding, not PEM."
        ) from error
    return RevocationPayload(unverified_certificate=octets, reason=reason)


def parse_finalize(payload: bytes) -> bytes:
    """The CSR's octets, which are not looked at (RFC 8555, section 7.4).

    Raises ServerError: MALFORMED, BAD_CSR where the encoding is the mistake.
    """
    csr = parse_object(payload, _PAYLOAD).get("csr")
    if not isinstance(csr, str):
        raise _malformed('"csr" must be a string.')
    try:
        return base64url.decode(csr)
    except ValueError as error:
        raise ServerError(
            ErrorKind.BAD_CSR, "The CSR must be DER in base64url without padding, not PEM."
        ) from error


def render_account(account: Account, urls: Urls, terms: str | None) -> dict[str, Any]:
    """RFC 8555, section 7.1.2. An agreement to other terms than ``terms`` is none any more."""
    document: dict[str, Any] = {"status": account.status.value}
    if account.contacts:
        document["contact"] = account.contacts
    if account.terms_agreed is not None and account.has_agreed_to(terms):
        document["termsOfServiceAgreed"] = True
    if account.external_account_binding is not None:
        document["externalAccountBinding"] = render_binding(account.external_account_binding)
    document["orders"] = urls.account_orders(account.id)
    return document


def render_order(order: Order, urls: Urls) -> dict[str, Any]:
    """RFC 8555, section 7.1.3, and the profile of draft-ietf-acme-profiles."""
    document: dict[str, Any] = {
        "status": order.status.value,
        "expires": render_time(order.expires_at),
        "identifiers": [_render_identifier(identifier) for identifier in order.identifiers],
        "profile": order.profile,
        "authorizations": [urls.authorization(id_) for id_ in order.authorization_ids],
        "finalize": urls.finalize(order.id),
    }
    if order.not_before is not None:
        document["notBefore"] = render_time(order.not_before)
    if order.not_after is not None:
        document["notAfter"] = render_time(order.not_after)
    if order.error is not None:
        document["error"] = render_problem(order.error)
    if order.certificate_id is not None and order.status is OrderStatus.VALID:
        document["certificate"] = urls.certificate(order.certificate_id)
    return document


def render_authorization(
    authorization: Authorization, urls: Urls, issuer_names: Sequence[str]
) -> dict[str, Any]:
    """RFC 8555, section 7.1.4. Once one challenge has decided, it is the only one shown."""
    document: dict[str, Any] = {
        "status": authorization.status.value,
        "expires": render_time(authorization.expires_at),
        "identifier": _render_identifier(authorization.identifier),
        "challenges": [
            render_challenge(authorization, challenge, urls, issuer_names)
            for challenge in _shown(authorization)
        ],
    }
    if authorization.wildcard:
        document["wildcard"] = True
    return document


def render_challenge(
    authorization: Authorization, challenge: Challenge, urls: Urls, issuer_names: Sequence[str]
) -> dict[str, Any]:
    """RFC 8555, section 8. ``issuer_names`` are for dns-persist-01, which has no token
    (draft-ietf-acme-dns-persist, "Challenge Object")."""
    document: dict[str, Any] = {
        "type": challenge.type,
        "url": urls.challenge(authorization.id, challenge.type),
        "status": challenge.status.value,
    }
    if challenge.type == "dns-persist-01":
        document["issuer-domain-names"] = issuer_names
    else:
        document["token"] = challenge.token
    if challenge.validated_at is not None:
        document["validated"] = render_time(challenge.validated_at)
    if challenge.error is not None:
        document["error"] = render_problem(challenge.error)
    return document


def render_time(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")[:19] + "Z"


_DECIDED = {
    AuthorizationStatus.VALID: ChallengeStatus.VALID,
    AuthorizationStatus.INVALID: ChallengeStatus.INVALID,
}


def _shown(authorization: Authorization) -> Sequence[Challenge]:
    decided = _DECIDED.get(authorization.status)
    if decided is None:
        return authorization.challenges
    deciding = [challenge for challenge in authorization.challenges if challenge.status is decided]
    return deciding or authorization.challenges


def _render_identifier(identifier: Identifier) -> dict[str, str]:
    return {"type": identifier.type.value, "value": identifier.value}


def _identifier(value: object) -> tuple[str, str]:
    if isinstance(value, dict):
        kind, name = value.get("type"), value.get("value")
        if isinstance(kind, str) and isinstance(name, str):
            return kind, name
    raise _malformed('An identifier must be an object with the strings "type" and "value".')


def _contacts(members: dict[str, Any]) -> tuple[str, ...] | None:
    if "contact" not in members:
        return None
    contacts = members["contact"]
    if not isinstance(contacts, list) or not all(isinstance(url, str) for url in contacts):
        raise _malformed('"contact" must be a list of URLs.')
    return tuple(contacts)


def _deactivates(members: dict[str, Any]) -> bool:
    status: object = members.get("status", "valid")
    if status not in ("valid", "deactivated"):
        raise _malformed('The one "status" that a client may ask for is "deactivated".')
    return status == "deactivated"


def _flag(members: dict[str, Any], name: str) -> bool:
    flag: object = members.get(name, False)
    if not isinstance(flag, bool):
        raise _malformed(f'"{name}" must be true or false.')
    return flag


def _time(members: dict[str, Any], name: str) -> datetime | None:
    text = members.get(name)
    if text is None:
        return None
    try:
        return _parse_time(text)
    except (TypeError, ValueError, OverflowError) as error:
        raise _malformed(f'"{name}" must be a time as 2026-01-31T23:59:59Z (RFC 3339).') from error


def _parse_time(text: str) -> datetime:
    """RFC 3339, section 5.6. Raises ValueError, and OverflowError at the ends of time."""
    if not _RFC3339.fullmatch(text):
        raise ValueError("not RFC 3339")
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def _malformed(detail: str) -> ServerError:
    return ServerError(ErrorKind.MALFORMED, detail)
