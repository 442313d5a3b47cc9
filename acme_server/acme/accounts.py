"""Accounts (RFC 8555, section 7.3)."""

from __future__ import annotations

from http import HTTPStatus

from acme_server.acme.binding import parse_binding
from acme_server.acme.gate import Gate, Signed
from acme_server.acme.wire import parse_account_update, parse_new_account, render_account
from acme_server.web.requests import Request
from acme_server.web.responses import Response, json_response
from acme_server.web.urls import Urls
from acme_server.workflow.accounts import AccountUseCases, NewAccountRequest
from acme_server.workflow.orders import OrderUseCases
from policy.blocklists import spki_hash
from policy.model.accounts import Account
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import OrderId, encode_id, parse_id

_CURSOR = "?cursor="


class AccountResources:
    """newAccount, and the account of each client. ``terms`` is the URL of the terms of service."""

    def __init__(
        self,
        gate: Gate,
        accounts: AccountUseCases,
        orders: OrderUseCases,
        urls: Urls,
        terms: str | None,
    ) -> None:
        self._gate = gate
        self._accounts = accounts
        self._orders = orders
        self._urls = urls
        self._terms = terms

    async def new_account(self, request: Request) -> Response:
        """RFC 8555, sections 7.3 and 7.3.1."""
        signed = await self._gate.by_key(request)
        payload = parse_new_account(signed.payload)
        binding = payload.unverified_binding
        account, is_new = await self._accounts.register(
            NewAccountRequest(
                jwk=signed.jwk.canonical,
                thumbprint=signed.jwk.thumbprint,
                spki_sha256=spki_hash(signed.jwk.key),
                contacts=payload.contacts,
                terms_agreed=payload.terms_agreed,
                only_return_existing=payload.only_return_existing,
                address=request.address,
                binding=None if binding is None else parse_binding(binding, signed.jwk, signed.url),
            )
        )
        request.account = encode_id(account.id)
        response = self._respond(account, HTTPStatus.CREATED if is_new else HTTPStatus.OK)
        response.headers.append(("Location", self._urls.account(account.id)))
        return response

    async def account(self, request: Request) -> Response:
        """Read, update and deactivate (RFC 8555, sections 7.3.2 and 7.3.6)."""
        signed = await self._gate.by_account(request, regardless_of_terms=True)
        _check_own(request, signed)
        if not signed.payload:
            return self._respond(await self._accounts.get(signed.caller), HTTPStatus.OK)
        update = parse_account_update(signed.payload)
        if update.deactivate:
            account = await self._accounts.deactivate(signed.caller)
        else:
            account = await self._accounts.update(
                signed.caller, contacts=update.contacts, agrees_to_terms=update.agrees_to_terms
            )
        return self._respond(account, HTTPStatus.OK)

    async def orders(self, request: Request) -> Response:
        """The list of the account's orders, page by page (RFC 8555, section 7.1.2.1)."""
        signed = await self._gate.read_only(request)
        _check_own(request, signed)
        page = await self._orders.list_page(signed.caller, _cursor(request))
        response = json_response(
            HTTPStatus.OK, {"orders": [self._urls.order(order.id) for order in page.orders]}
        )
        if page.before is not None:
            url = self._urls.account_orders(signed.account.id)
            link = f'<{url}{_CURSOR}{encode_id(page.before)}>;rel="next"'
            response.headers.append(("Link", link))
        return response

    def _respond(self, account: Account, status: HTTPStatus) -> Response:
        return json_response(status, render_account(account, self._urls, self._terms))


def _check_own(request: Request, signed: Signed) -> None:
    if request.parameters[0] != encode_id(signed.account.id):
        raise ServerError(ErrorKind.NOT_FOUND, "There is no such account.")


def _cursor(request: Request) -> OrderId | None:
    """Where the page begins that ``orders`` linked to. Raises ServerError(MALFORMED)."""
    query = request.target[len(request.path) :]
    if not query:
        return None
    order_id = parse_id(query.removeprefix(_CURSOR)) if query.startswith(_CURSOR) else None
    if order_id is None:
        raise ServerError(
            ErrorKind.MALFORMED,
            'There is no such page: take the URL from the Link with the relation "next".',
        )
    return OrderId(order_id)
