"""Orders, from the names asked for to the certificate's URL (RFC 8555, section 7.4)."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from acme_server.acme.gate import Gate
from acme_server.acme.wire import parse_finalize, parse_new_order, render_order
from acme_server.web.requests import Request
from acme_server.web.responses import Response, json_response
from acme_server.web.urls import Urls
from acme_server.workflow.issuance import IssuanceUseCases
from acme_server.workflow.orders import OrderUseCases
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import OrderId, parse_id
from policy.model.orders import Order, OrderStatus

# How long a client is asked to wait before it looks again.
_RETRY_SECONDS = "1"
_WORTH_ANOTHER_LOOK = frozenset({OrderStatus.PENDING, OrderStatus.PROCESSING})


class OrderResources:
    """newOrder, the order and its finalize URL."""

    def __init__(
        self, gate: Gate, orders: OrderUseCases, issuance: IssuanceUseCases, urls: Urls
    ) -> None:
        self._gate = gate
        self._orders = orders
        self._issuance = issuance
        self._urls = urls

    async def new_order(self, request: Request) -> Response:
        """RFC 8555, section 7.4."""
        signed = await self._gate.by_account(request)
        order = await self._orders.create(signed.caller, parse_new_order(signed.payload))
        return self._respond(order, HTTPStatus.CREATED)

    async def order(self, request: Request) -> Response:
        """POST-as-GET."""
        signed = await self._gate.read_only(request)
        order = await self._orders.get(signed.caller, _order_id(request))
        return self._respond(order, HTTPStatus.OK)

    async def finalize(self, request: Request) -> Response:
        """The answer has the order as it is now: mostly valid, else processing."""
        signed = await self._gate.by_account(request)
        csr = parse_finalize(signed.payload)
        order = await self._issuance.finalize(signed.caller, _order_id(request), csr)
        return self._respond(order, HTTPStatus.OK)

    def _respond(self, order: Order, status: HTTPStatus) -> Response:
        location = ("Location", self._urls.order(order.id))
        response = json_response(status, render_order(order, self._urls), location)
        if order.status in _WORTH_ANOTHER_LOOK:
            response.headers.append(("Retry-After", _RETRY_SECONDS))
        return response


def _order_id(request: Request) -> OrderId:
    order_id: UUID | None = parse_id(request.parameters[0])
    if order_id is None:
        raise ServerError(ErrorKind.NOT_FOUND, "There is no such order.")
    return OrderId(order_id)
