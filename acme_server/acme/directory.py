"""The directory and newNonce (RFC 8555, sections 7.1.1 and 7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

from acme_server.acme.gate import Gate
from acme_server.web.requests import Request
from acme_server.web.responses import Response
from acme_server.web.urls import Urls


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryMeta:
    """What the directory says about the service; None and empty are left out. ``profiles`` are
    descriptions by name (draft-ietf-acme-profiles)."""

    terms_of_service: str | None = None
    website: str | None = None
    caa_identities: tuple[str, ...] = ()
    external_account_required: bool = False
    profiles: Mapping[str, str] = field(default_factory=dict)


class DirectoryResources:
    """Where clients start."""

    def __init__(self, gate: Gate, urls: Urls, meta: DirectoryMeta) -> None:
        self._gate = gate
        self._body = orjson.dumps(_directory(urls, meta))

    async def directory(self, request: Request) -> Response:
        """GET: nobody has to say who they are."""
        return Response(HTTPStatus.OK, self._body, "application/json")

    async def read_directory(self, request: Request) -> Response:
        """POST-as-GET (RFC 8555, section 6.3)."""
        await self._gate.read_only(request)
        return await self.directory(request)

    async def head_nonce(self, request: Request) -> Response:
        """HEAD: the nonce is in the headers, as in every answer that may carry one."""
        return Response(HTTPStatus.OK)

    async def nonce(self, request: Request) -> Response:
        """GET: the same without a body to speak of."""
        return Response(HTTPStatus.NO_CONTENT)

    async def read_nonce(self, request: Request) -> Response:
        """POST-as-GET (RFC 8555, section 6.3)."""
        await self._gate.read_only(request)
        return Response(HTTPStatus.NO_CONTENT)


def _directory(urls: Urls, meta: DirectoryMeta) -> dict[str, Any]:
    """Only what is served: a client takes a missing member as a missing feature."""
    document: dict[str, Any] = {
        "newNonce": urls.new_nonce,
        "newAccount": urls.new_account,
        "newOrder": urls.new_order,
        "newAuthz": urls.new_authorization,
        "revokeCert": urls.revoke_certificate,
        "keyChange": urls.key_change,
    }
    about = {
        "termsOfService": meta.terms_of_service,
        "website": meta.website,
        "caaIdentities": meta.caa_identities,
        "externalAccountRequired": meta.external_account_required,
        "profiles": dict(meta.profiles),
    }
    document["meta"] = {name: value for name, value in about.items() if value}
    return document
