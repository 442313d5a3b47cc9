"""The TLS ALPN challenge (RFC 8737; for addresses RFC 8738)."""

from __future__ import annotations

import ipaddress

from policy.model.authorizations import ValidationTask
from policy.model.identifiers import Identifier, IdentifierType
from validators import causes
from validators.causes import ValidationFailure
from validators.challengecertificates import CertificateRefused, DigestDiffers, check_certificate
from validators.connections import Connection
from validators.excerpts import excerpt
from validators.keyauth import expected_digest, key_authorization
from validators.network import Dialer, TlsOffer, host_of, unverified_tls
from validators.trace import Trace

PROTOCOL = "acme-tls/1"
# OpenSSL's word for alert 120, by which a server declines all the protocols offered.
_NO_PROTOCOL = "no application protocol"


class TlsAlpn01Validator:
    """Does a TLS handshake for ``acme-tls/1`` and examines the certificate presented."""

    type = "tls-alpn-01"

    def __init__(self, dialer: Dialer, port: int = 443) -> None:
        self._dialer = dialer
        self._port = port
        self._tls = unverified_tls(PROTOCOL)

    async def prove(self, task: ValidationTask, trace: Trace) -> None:
        """Returns when control is proven; raises ValidationFailure when it is not."""
        if task.wildcard:
            raise ValidationFailure(causes.WILDCARD_NEEDS_DNS, type=self.type)
        offer = TlsOffer(context=self._tls, server_name=server_name(task.identifier))
        host = host_of(task.identifier)
        try:
            dialled = await self._dialer.dial(host, self._port, trace, tls=offer)
        except ValidationFailure as failure:
            if _NO_PROTOCOL in str(failure.values.get("reason", "")):
                raise ValidationFailure(causes.ALPN_REFUSED, **failure.values) from failure
            raise
        protocol, certificate = _presented(dialled.connection)
        # Nothing is exchanged after the handshake (RFC 8737, section 4). It must reach the
        # server to its end, or there it counts as failed.
        dialled.connection.close()
        step = trace.begin("certificate", protocol=protocol, size=len(certificate))
        places = {"endpoint": dialled.endpoint, "host": excerpt(str(host), 255)}
        if protocol != PROTOCOL:
            raise ValidationFailure(causes.ALPN_MISSING, **places)
        step["der"] = certificate.hex()[:8192]
        try:
            digest = expected_digest(task.token, task.thumbprint)
            check_certificate(certificate, task.identifier, digest)
        except DigestDiffers as error:
            expected = key_authorization(task.token, task.thumbprint)
            raise ValidationFailure(causes.ALPN_DIGEST, **places, expected=expected) from error
        except CertificateRefused as error:
            raise ValidationFailure(causes.ALPN_CERTIFICATE, **places, reason=error) from error


def server_name(identifier: Identifier) -> str:
    """What goes into SNI: the name itself, for an address its reverse name (RFC 8738, 6)."""
    if identifier.type is IdentifierType.IP:
        return ipaddress.ip_address(identifier.value).reverse_pointer
    return identifier.value


def _presented(connection: Connection) -> tuple[str | None, bytes]:
    """The protocol negotiated, and the server's own certificate as DER, the first it sent."""
    session = connection.transport.get_extra_info("ssl_object")
    return session.selected_alpn_protocol(), session.getpeercert(binary_form=True) or b""
