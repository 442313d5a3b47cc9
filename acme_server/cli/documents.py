"""The objects of the database as the documents that ``--json`` prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from acme_server.workflow.reports import AuditEvent, IssuerReport, RecordedValidation, der_of
from policy.model.accounts import Account
from policy.model.authorizations import Authorization
from policy.model.certificates import Certificate
from policy.model.errors import Problem
from policy.model.ids import encode_id
from policy.model.orders import Order

Document = dict[str, Any]


def account_document(account: Account) -> Document:
    """An account; the key by its thumbprint (RFC 7638) and its public JWK."""
    import base64

    bound_to = account.external_account_id
    thumbprint = base64.urlsafe_b64encode(account.thumbprint).rstrip(b"=").decode("ascii")
    return {
        "id": encode_id(account.id),
        "uuid": str(account.id),
        "status": account.status,
        "contacts": list(account.contacts),
        "terms_agreed": account.terms_agreed,
        "external_account": None if bound_to is None else encode_id(bound_to),
        "created_at": account.created_at,
        "thumbprint": thumbprint,
        "jwk": json.loads(account.jwk),
    }


def order_document(order: Order) -> Document:
    """An order, as its owner and the audit trail call it."""
    return {
        "id": encode_id(order.id),
        "uuid": str(order.id),
        "account": encode_id(order.account_id),
        "status": order.status,
        "identifiers": [identifier.value for identifier in order.identifiers],
        "profile": order.profile,
        "profile_version": order.profile_version,
        "not_before": order.not_before,
        "not_after": order.not_after,
        "created_at": order.created_at,
        "expires_at": order.expires_at,
        "error": problem_document(order.error),
    }


def authorization_document(authorization: Authorization) -> Document:
    """An authorization without what was done to validate it."""
    return {
        "id": encode_id(authorization.id),
        "uuid": str(authorization.id),
        "identifier": authorization.identifier.value,
        "wildcard": authorization.wildcard,
        "status": authorization.status,
        "expires_at": authorization.expires_at,
        "challenges": [
            {"type": challenge.type, "status": challenge.status, "token": challenge.token}
            for challenge in authorization.challenges
        ],
    }


def validation_document(validation: RecordedValidation) -> Document:
    """What was done to validate a challenge, and what was seen."""
    return {
        "type": validation.type,
        "status": validation.status,
        "attempt": validation.attempt,
        "owner": validation.owner,
        "answered_at": validation.answered_at,
        "ended_at": validation.ended_at,
        "error": problem_document(validation.problem),
        "evidence": validation.evidence,
    }


def certificate_document(certificate: Certificate) -> Document:
    """A certificate on record; ``fingerprint`` is the SHA-256 of what was issued."""
    import hashlib

    signed = der_of(certificate)
    account, order = certificate.account_id, certificate.order_id
    reason = certificate.revocation_reason
    return {
        "serial": certificate.serial.hex(),
        "id": encode_id(certificate.id),
        "uuid": str(certificate.id),
        "status": certificate.status,
        "identifiers": [identifier.value for identifier in certificate.identifiers],
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "issuer": certificate.issuer,
        "shard": certificate.shard,
        "profile": certificate.profile,
        "account": None if account is None else encode_id(account),
        "order": None if order is None else encode_id(order),
        "revoked_at": certificate.revoked_at,
        "revocation_reason": None if reason is None else reason.word,
        "fingerprint": None if signed is None else hashlib.sha256(signed).hexdigest(),
    }


def issuer_document(report: IssuerReport) -> Document:
    """A CA of this installation."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    issuer = report.issuer
    certificate = x509.load_der_x509_certificate(issuer.certificate)
    return {
        "name": issuer.name,
        "subject": certificate.subject.rfc4514_string(),
        "parent": issuer.parent,
        "active": issuer.is_active,
        "serial": f"{certificate.serial_number:x}",
        "not_before": certificate.not_valid_before_utc,
        "not_after": certificate.not_valid_after_utc,
        "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
        "shards": issuer.shards,
        "crls": report.crls,
        "crl_next_update": report.crl_next_update,
    }


def event_document(event: AuditEvent) -> Document:
    """An entry of the audit trail."""
    return {
        "at": event.at,
        "actor": event.actor,
        "action": event.action,
        "subject": event.subject,
        "detail": None if event.detail is None else json.loads(event.detail),
    }


def problem_document(problem: Problem | None) -> Mapping[str, object] | None:
    """A failure that is kept with an object."""
    if problem is None:
        return None
    return {
        "kind": problem.kind,
        "detail": problem.detail,
        "cause": problem.cause,
        "identifier": None if problem.identifier is None else problem.identifier.value,
    }
