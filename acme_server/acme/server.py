"""The ACME front end: the table of its resources, and what all of its answers have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from acme_server.acme.accounts import AccountResources
from acme_server.acme.authorizations import AuthorizationResources
from acme_server.acme.certificates import CertificateResources
from acme_server.acme.directory import DirectoryMeta, DirectoryResources
from acme_server.acme.gate import Gate
from acme_server.acme.keychanges import KeyChangeResources
from acme_server.acme.orders import OrderResources
from acme_server.acme.problems import PROBLEMS, render_error
from acme_server.acme.revocations import RevocationResources
from acme_server.web import urls as paths
from acme_server.web.requests import Request
from acme_server.web.responses import Response, problem_response
from acme_server.web.routes import Handler, Route
from acme_server.web.urls import Urls
from acme_server.workflow.accounts import AccountUseCases
from acme_server.workflow.authorizations import AuthorizationUseCases
from acme_server.workflow.certificates import CertificateUseCases
from acme_server.workflow.issuance import IssuanceUseCases
from acme_server.workflow.key_changes import KeyChangeUseCases
from acme_server.workflow.nonces import NonceUseCases
from acme_server.workflow.orders import OrderUseCases
from acme_server.workflow.preauthorizations import PreauthorizationUseCases
from acme_server.workflow.revocation import RevocationUseCases
from policy.keys import AccountKey, check_account_key
from policy.model.errors import CallerStale, ErrorKind, ServerError
from policy.model.ids import parse_id

# Browsers may use the server from anywhere and read what the protocol needs (RFC 8555, 6.1);
# no cookie or other ambient authority exists that this could lend out.
_CROSS_ORIGIN = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Link, Location, Replay-Nonce, Retry-After"),
)
_PREFLIGHT = (
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "86400"),
)
_NO_STORE = ("Cache-Control", "no-store")


class AcmeFrontEnd:
    """RFC 8555 over the use cases."""

    def __init__(
        self,
        *,
        urls: Urls,
        meta: DirectoryMeta,
        accounts: AccountUseCases,
        orders: OrderUseCases,
        authorizations: AuthorizationUseCases,
        preauthorizations: PreauthorizationUseCases,
        issuance: IssuanceUseCases,
        certificates: CertificateUseCases,
        revocations: RevocationUseCases,
        key_changes: KeyChangeUseCases,
        nonces: NonceUseCases,
        check_key: Callable[[AccountKey], None] = check_account_key,
        issuer_names: Sequence[str] = (),
    ) -> None:
        self._urls = urls
        self._terms = meta.terms_of_service
        self._nonces = nonces
        self._index = ("Link", f'<{urls.directory}>;rel="index"')
        self._gate = Gate(accounts, nonces, urls, check_key)
        self._directory = DirectoryResources(self._gate, urls, meta)
        self._accounts = AccountResources(self._gate, accounts, orders, urls, self._terms)
        self._orders = OrderResources(self._gate, orders, issuance, urls)
        self._authorizations = AuthorizationResources(
            self._gate, authorizations, preauthorizations, urls, issuer_names
        )
        self._certificates = CertificateResources(self._gate, certificates, urls)
        self._revocations = RevocationResources(self._gate, revocations)
        self._key_changes = KeyChangeResources(self._gate, key_changes, urls, self._terms)

    def routes(self) -> list[Route]:
        """All resources of the front end."""
        directory = self._directory
        table: Mapping[str, Mapping[str, Handler]] = {
            paths.DIRECTORY: {"GET": directory.directory, "POST": directory.read_directory},
            paths.NEW_NONCE: {
                "HEAD": directory.head_nonce,
                "GET": directory.nonce,
                "POST": directory.read_nonce,
            },
            paths.NEW_ACCOUNT: {"POST": self._accounts.new_account},
            paths.ACCOUNT: {"POST": self._accounts.account},
            paths.ACCOUNT_ORDERS: {"POST": self._accounts.orders},
            paths.NEW_ORDER: {"POST": self._orders.new_order},
            paths.ORDER: {"POST": self._orders.order},
            paths.FINALIZE: {"POST": self._orders.finalize},
            paths.NEW_AUTHORIZATION: {"POST": self._authorizations.new_authorization},
            paths.AUTHORIZATION: {"POST": self._authorizations.authorization},
            paths.CHALLENGE: {"POST": self._authorizations.challenge},
            paths.CERTIFICATE: {"POST": self._certificates.certificate},
            paths.CERTIFICATE_ALTERNATE: {"POST": self._certificates.alternate},
            paths.REVOKE_CERTIFICATE: {"POST": self._revocations.revoke},
            paths.KEY_CHANGE: {"POST": self._key_changes.change},
        }
        return [self._route(path, handlers) for path, handlers in table.items()]

    def refuse(self, request: Request | None, error: ServerError) -> Response:
        """The problem document of ``error`` (RFC 8555, section 6.7)."""
        document = render_error(error)
        headers: list[tuple[str, str]] = []
        if error.retry_after is not None:
            headers.append(("Retry-After", str(error.retry_after)))
        if error.kind is ErrorKind.METHOD_NOT_ALLOWED:
            headers.append(("Allow", ", ".join(error.allowed)))
        elif error.kind is ErrorKind.CONFLICT and error.location is not None:
            if (account_id := parse_id(error.location)) is not None:
                headers.append(("Location", self._urls.account(account_id)))
        elif error.kind is ErrorKind.USER_ACTION_REQUIRED and self._terms is not None:
            document["instance"] = self._terms
            headers.append(("Link", f'<{self._terms}>;rel="terms-of-service"'))
        return problem_response(PROBLEMS[error.kind].status, document, error.kind, *headers)

    def complete(self, request: Request | None, response: Response) -> None:
        """Add what every answer carries; a fresh nonce to all but plain reads of the directory,
        which may be cached, and preflights."""
        headers = response.headers
        headers += _CROSS_ORIGIN
        path = None if request is None else request.path
        if path != self._urls.served(paths.DIRECTORY):
            headers.append(self._index)
        if (
            request is None
            or request.method == "POST"
            or path == self._urls.served(paths.NEW_NONCE)
        ):
            headers.append(("Replay-Nonce", self._nonces.issue()))
            headers.append(_NO_STORE)

    def _route(self, path: str, handlers: Mapping[str, Handler]) -> Route:
        guarded = {method: self._guard(handler) for method, handler in handlers.items()}
        methods = ", ".join([*handlers, "OPTIONS"])

        async def preflight(request: Request) -> Response:
            headers = [("Allow", methods), ("Access-Control-Allow-Methods", methods), *_PREFLIGHT]
            return Response(HTTPStatus.NO_CONTENT, headers=headers)

        return Route(self._urls.served(path), self, {**guarded, "OPTIONS": preflight})

    def _guard(self, handler: Handler) -> Handler:
        """A handler whose caller may turn out to be somebody else by now."""

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except CallerStale as stale:
                raise await self._gate.explain_stale(request) from stale

        return guarded
