"""The chains that a certificate can be given with: ours, and alternates (RFC 8555, 7.4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acme_server.workflow.authority import Authority, AuthorityError

Chain = tuple[bytes, ...]
_SETTING = "ca.cross_certificates"


class Chains:
    """Which CA certificates go with a certificate.

    ``cross_certificates`` are files in PEM: a certificate that another CA made for one of ours,
    then those above it, without that CA's root. ``with_root`` offers the chain with our root.
    Raises AuthorityError for files that can't be used.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        cross_certificates: Sequence[Path] = (),
        with_root: bool = False,
    ) -> None:
        self._authority = authority
        self._with_root = with_root
        self._crosses = tuple(map(_read, cross_certificates))
        ours = {_identity(issuer.certificate) for issuer in authority.issuers()}
        for path, cross in zip(cross_certificates, self._crosses, strict=True):
            if _identity(cross[0]) not in ours:
                raise AuthorityError(
                    f"{_SETTING}: the first certificate in {path} has neither name and key of "
                    "our root nor of an issuing CA of ours"
                )
        self._chains = {
            issuer.name: tuple(self._chains_from(issuer.name)) for issuer in authority.issuers()
        }

    def of(self, issuer: str) -> tuple[Chain, ...]:
        """The chains (DER) above certificates of ``issuer``, the default one first."""
        return self._chains[issuer]

    def _chains_from(self, issuer: str) -> Iterator[Chain]:
        default = self._authority.chain(issuer)
        whole = (*default, self._authority.root_of(issuer))
        yield default
        for cross in self._crosses:
            for position, certificate in enumerate(whole):
                if _identity(certificate) == _identity(cross[0]):
                    yield (*whole[:position], *cross)
        if self._with_root:
            yield whole


def _identity(certificate: bytes) -> tuple[bytes, bytes]:
    """Name and key: what two certificates of one CA have in common."""
    parsed = x509.load_der_x509_certificate(certificate)
    spki = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return parsed.subject.public_bytes(), spki


def _read(path: Path) -> Chain:
    """The certificates in a file, each signed by the next one. Raises AuthorityError."""
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
        for lower, upper in pairwise(certificates):
            lower.verify_directly_issued_by(upper)
    except OSError as error:
        raise AuthorityError(f"{_SETTING}: can't read {path}: {error.strerror}") from error
    except InvalidSignature as error:
        raise AuthorityError(f"{_SETTING}: {path}: a signature is not by the next one") from error
    except (ValueError, TypeError) as error:
        raise AuthorityError(f"{_SETTING}: {path}: {error}") from error
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)
