"""Drives a server with ``acme``, certbot's protocol library; runs in the environment of certbot.

    python -P acme_library.py STORY DIRECTORY_URL HTTP_PORT

prints a JSON document of what happened. Nothing of the server or of its tests is imported; -P keeps
this folder's modules from being taken for the library's.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import josepy
from acme import challenges, client, crypto_util, jws, messages, standalone
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


class Applicant:
    """One account, and its answers to http-01 on ``http_port``."""

    def __init__(self, directory_url: str, http_port: int) -> None:
        self._http_port = http_port
        self.key = new_key()
        self.net = client.ClientNetwork(self.key, alg=josepy.ES256)
        self.directory = client.ClientV2.get_directory(directory_url, self.net)
        self.acme = client.ClientV2(self.directory, self.net)
        registration = messages.NewRegistration.from_data(terms_of_service_agreed=True)
        self.account = self.acme.new_account(registration)

    def order(self, *names: str) -> messages.OrderResource:
        """A new order, with a new key for its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self.acme.new_order(crypto_util.make_csr(pem, list(names)))

    def certify(self, *names: str) -> messages.OrderResource:
        """A finished order with its chains."""
        order = self.order(*names)
        deadline = dt.datetime.now() + dt.timedelta(seconds=60)  # noqa: DTZ005
        with self.answering(*order.authorizations):
            self.acme.poll_authorizations(order, deadline)
        return self.acme.finalize_order(order, deadline, fetch_alternative_chains=True)

    def preauthorize(self, name: str) -> messages.AuthorizationResource:
        """A proof of control ahead of any order (RFC 8555, section 7.4.1)."""
        identifier = messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name)
        wanted = messages.NewAuthorization(identifier=identifier)
        made = self.net.post(
            self.directory["newAuthz"], wanted, new_nonce_url=self.directory["newNonce"]
        )
        authorization = messages.AuthorizationResource(
            body=messages.Authorization.from_json(made.json()), uri=made.headers["Location"]
        )
        with self.answering(authorization):
            while authorization.body.status == messages.STATUS_PENDING:
                authorization, _ = self.acme.poll(authorization)
        return authorization

    def change_key(self) -> None:
        """Replace the account's key (RFC 8555, section 7.3.5); this client has the new one then."""
        url, new = self.directory["keyChange"], new_key()
        change = {"account": self.account.uri, "oldKey": self.key.public_key().to_partial_json()}
        inner = jws.JWS.sign(
            json.dumps(change).encode(), key=new, alg=josepy.ES256, nonce=None, url=url
        )
        self.net.post(url, inner, new_nonce_url=self.directory["newNonce"])
        self.key = self.net.key = new

    def orders(self) -> list[str]:
        """The URLs of the account's orders (RFC 8555, section 7.1.2.1)."""
        return list(self._read(self._read(self.account.uri)["orders"])["orders"])

    def revoke(self, chain: str) -> str:
        """Revoke a certificate; "revoked", or the type of the error."""
        try:
            self.acme.revoke(x509.load_pem_x509_certificate(chain.encode()), 4)
        except messages.Error as error:
            return error.code or ""
        return "revoked"

    def _read(self, url: str) -> Any:
        return self.net.post(url, None, new_nonce_url=self.directory["newNonce"]).json()

    @contextmanager
    def answering(self, *authorizations: messages.AuthorizationResource) -> Iterator[None]:
        """A web server for the open http-01 challenges, which are asked to be looked at."""
        found = [
            (body, *body.response_and_validation(self.key))
            for authorization in authorizations
            for body in authorization.body.challenges
            if isinstance(body.chall, challenges.HTTP01) and body.status == messages.STATUS_PENDING
        ]
        answers = {
            standalone.HTTP01RequestHandler.HTTP01Resource(
                chall=body.chall, response=response, validation=validation
            )
            for body, response, validation in found
        }
        with standalone.HTTP01Server(("127.0.0.1", self._http_port), answers) as web:
            threading.Thread(target=web.serve_forever, daemon=True).start()
            for body, response, _ in found:
                self.acme.answer_challenge(body, response)
            yield
            web.shutdown()


def new_key() -> josepy.JWKEC:
    """A key for an account."""
    return josepy.JWKEC(key=ec.generate_private_key(ec.SECP256R1()))


def key_change(*lab: Any) -> dict[str, Any]:
    """What works before and after an account's key is replaced, and with which of the keys."""
    applicant = Applicant(*lab)
    applicant.certify("before.acme.localhost")
    old = applicant.key
    applicant.change_key()
    after = applicant.certify("after.acme.localhost")
    applicant.net.key = old
    try:
        applicant.order("old.acme.localhost")
    except messages.Error as error:
        return {"chain": after.fullchain_pem, "with_old_key": error.code}
    return {"chain": after.fullchain_pem, "with_old_key": "accepted"}


def preauthorization(*lab: Any) -> dict[str, Any]:
    """A name that is proven ahead, and the order that needs no further proof."""
    applicant = Applicant(*lab)
    proven = applicant.preauthorize("ahead.acme.localhost")
    order = applicant.order("ahead.acme.localhost")
    return {
        "proven": proven.body.status.name,
        "proof": proven.uri,
        "proofs_of_order": [authorization.uri for authorization in order.authorizations],
        "order": order.body.status.name,
    }


def order_list(*lab: Any) -> dict[str, Any]:
    """The orders that one account made, and those that the list of each account has."""
    applicant, other = Applicant(*lab), Applicant(*lab)
    made = [applicant.order(f"{letter}.list.localhost").uri for letter in "abc"]
    return {"made": made, "listed": applicant.orders(), "listed_for_other": other.orders()}


def third_party_revocation(*lab: Any) -> dict[str, Any]:
    """An account that got the certificate, one without and one with proofs for all its names."""
    names = ("one.third.localhost", "two.third.localhost")
    chain = Applicant(*lab).certify(*names).fullchain_pem
    other = Applicant(*lab)
    without = other.revoke(chain)
    other.preauthorize(names[0])
    with_one = other.revoke(chain)
    other.preauthorize(names[1])
    return {"chain": chain, "tries": [without, with_one, other.revoke(chain), other.revoke(chain)]}


def alternates(*lab: Any) -> dict[str, Any]:
    """All chains of one certificate."""
    order = Applicant(*lab).certify("chains.acme.localhost")
    return {"default": order.fullchain_pem, "alternates": order.alternative_fullchains_pem}


STORIES = (key_change, preauthorization, order_list, third_party_revocation, alternates)

if __name__ == "__main__":
    stories = {story.__name__: story for story in STORIES}
    print(json.dumps(stories[sys.argv[1]](sys.argv[2], int(sys.argv[3]))))
