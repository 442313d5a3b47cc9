"""The certification authorities of this installation, with their keys ready to sign."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from acme_server.workflow.clock import Clock, new_id
from acme_server.workflow.nonces import KEY_PURPOSE as NONCE_KEY
from acme_server.workflow.sealing import MasterKey, SealError
from policy.csr import CertificateRequest
from policy.model.certificates import Issuer, Reservation
from policy.model.identifiers import Identifier
from policy.model.ids import CertificateId
from policy.profiles import Profile
from policy.signing.authorities import (
    AuthorityTemplate,
    issuer_facts,
    make_intermediate,
    make_root,
)
from policy.signing.lint import lint
from policy.signing.serials import make_serial
from policy.signing.signer import Signer, SoftwareSigner, check_determinism, generate_signer
from policy.signing.template import CertificateTemplate, IssuerFacts, assemble, build_tbs
from storage.issuers import Issuers
from storage.secrets import SealedSecret, SealedSecrets

ISSUER_KEY = "issuer-key"
AUDIT_KEY = "audit-key"
CHECK_VALUE = "master-key-check"
_SEALED = "sealed:"


class AuthorityError(Exception):
    """The CA can't be used; the text names the setting and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAuthority:
    """How the CA is made at the very first start (``ca`` in the configuration)."""

    name: str
    common_name: str
    organization: str | None
    key_type: str
    root_lifetime: timedelta
    issuing_lifetime: timedelta
    shards: int


class SigningIssuer:
    """One certification authority: what certificates say of it, and its signer."""

    def __init__(self, issuer: Issuer, facts: IssuerFacts, signer: Signer) -> None:
        self.issuer = issuer
        self.facts = facts
        self._signer = signer

    @property
    def name(self) -> str:
        """The name in URLs."""
        return self.issuer.name

    @property
    def is_deterministic(self) -> bool:
        """Whether signing again what was signed gives the same signature."""
        return self._signer.is_deterministic

    def template(
        self,
        *,
        profile: Profile,
        csr: CertificateRequest,
        identifiers: tuple[Identifier, ...],
        now: datetime,
        not_before: datetime | None,
        not_after: datetime | None,
    ) -> CertificateTemplate:
        """All that a certificate of ``profile`` for this request would say.

        Raises ServerError(MALFORMED) for a validity that profile and issuer can't give.
        """
        start, end = profile.validity_of(not_before, not_after, now, self.facts.not_after)
        return CertificateTemplate(
            profile=profile,
            issuer=self.facts,
            serial=make_serial(os.urandom),
            identifiers=identifiers,
            key=csr.key,
            spki=csr.spki,
            not_before=start,
            not_after=end,
            must_staple=csr.must_staple,
        )

    def reserve(self, certificate_id: CertificateId, template: CertificateTemplate) -> Reservation:
        """The exact bytes of a certificate, linted.

        Raises LintFailed for bytes that must not be signed: a defect, never the client's fault.
        """
        tbs = build_tbs(template)
        lint(tbs, template)
        return Reservation(
            id=certificate_id,
            serial=template.serial,
            issuer=self.name,
            shard=template.shard,
            profile=template.profile.name,
            profile_version=template.profile.version,
            identifiers=template.identifiers,
            not_before=template.not_before,
            not_after=template.not_after,
            spki_sha256=hashlib.sha256(template.spki).digest(),
            tbs=tbs,
        )

    async def sign(self, tbs: bytes) -> bytes:
        """The verified signature over committed bytes. Raises SigningFailed."""
        if self._signer.is_quick:
            return self._signer.sign(tbs)
        return await asyncio.to_thread(self._signer.sign, tbs)

    def assemble(self, tbs: bytes, signature: bytes) -> bytes:
        """The DER of a certificate or CRL of this issuer."""
        return assemble(tbs, self.facts.algorithm, signature)


class Authority:
    """All issuers; one of them is active."""

    def __init__(self, issuers: Iterable[SigningIssuer]) -> None:
        self._issuers: Mapping[str, SigningIssuer] = {issuer.name: issuer for issuer in issuers}
        self.active = next(i for i in self._issuers.values() if i.issuer.is_active)

    def get(self, name: str) -> SigningIssuer:
        """The issuer of that name. Raises KeyError."""
        return self._issuers[name]

    def for_profile(self, profile: Profile) -> SigningIssuer:
        """The issuer of certificates of ``profile``: the one it names, else the active one."""
        return self.active if profile.issuer is None else self._issuers[profile.issuer]

    def check_profiles(self, profiles: Iterable[Profile]) -> None:
        """Raises AuthorityError for a profile whose issuer is none that certificates come from."""
        usable = [name for name, entry in self._issuers.items() if entry.issuer.parent is not None]
        for profile in profiles:
            if profile.issuer is not None and profile.issuer not in usable:
                raise AuthorityError(
                    f'profiles.{profile.name}.issuer: there is no issuing CA "{profile.issuer}", '
                    f"only {', '.join(usable)}"
                )

    def issuers(self) -> Sequence[Issuer]:
        """All of them, roots and retired ones included."""
        return [entry.issuer for entry in self._issuers.values()]

    def signing(self) -> Sequence[SigningIssuer]:
        """All of them with their signers."""
        return list(self._issuers.values())

    def chain(self, name: str) -> tuple[bytes, ...]:
        """The certificates (DER) from issuer ``name`` up to, but without, the root."""
        chain: list[bytes] = []
        issuer = self._issuers[name].issuer
        while issuer.parent is not None:
            chain.append(issuer.certificate)
            issuer = self._issuers[issuer.parent].issuer
        return tuple(chain)

    def root(self) -> bytes:
        """The root (DER) above the active issuer."""
        return self.root_of(self.active.name)

    def root_of(self, name: str) -> bytes:
        """The root (DER) above issuer ``name``, or that it is."""
        issuer = self._issuers[name].issuer
        while issuer.parent is not None:
            issuer = self._issuers[issuer.parent].issuer
        return issuer.certificate


class Installation:
    """What is made once and shared by all replicas: the CA, and the keys of the server."""

    def __init__(
        self, issuers: Issuers, secrets: SealedSecrets, master_key: MasterKey, clock: Clock
    ) -> None:
        self._issuers = issuers
        self._secrets = secrets
        self._master_key = master_key
        self._clock = clock

    async def establish(self, new: NewAuthority, status_url: str) -> bool:
        """Make the installation if there is none; True if this call made it.

        One transaction: of two replicas that start together one makes it, and both load it.
        """
        if await self._issuers.list():
            return False
        root_signer, signer = generate_signer(new.key_type), generate_signer(new.key_type)
        secrets = [self._sealed(ISSUER_KEY, s.to_der()) for s in (root_signer, signer)]
        issuers = self._certify(new, status_url, root_signer, signer, secrets)
        secrets += [
            self._sealed(NONCE_KEY, os.urandom(32)),
            self._sealed(AUDIT_KEY, generate_signer("ec-p256").to_der()),
            SealedSecret(new_id(), CHECK_VALUE, self._master_key.check_value()),
        ]
        return await self._issuers.establish(issuers, secrets)

    async def check_master_key(self) -> None:
        """Raises AuthorityError if the database's secrets were sealed under another key."""
        check = await self._secrets.find_by_purpose(CHECK_VALUE)
        if check is not None and not self._master_key.opens_check_value(check.sealed):
            raise AuthorityError(
                "secrets.master_key is not the master key of this database: its secrets do not "
                "open; configure the key that it was created with"
            )

    async def load(self, status_url: str) -> Authority:
        """All issuers, their signers tested. Raises AuthorityError."""
        await self.check_master_key()
        issuers = await self._issuers.list()
        return Authority([await self._load_issuer(issuer, status_url) for issuer in issuers])

    async def secret(self, purpose: str) -> bytes:
        """The opened secret of a purpose. Raises AuthorityError."""
        row = await self._secrets.find_by_purpose(purpose)
        if row is None:
            raise AuthorityError(f"the database has no {purpose}; restore it from a backup")
        return self._open(row)

    async def _load_issuer(self, issuer: Issuer, status_url: str) -> SigningIssuer:
        row = await self._secrets.find(UUID(issuer.key.removeprefix(_SEALED)))
        if row is None:
            raise AuthorityError(f"the key of issuer {issuer.name} is missing in the database")
        signer = SoftwareSigner.from_der(self._open(row))
        check_determinism(signer)
        try:
            facts = issuer_facts(issuer.name, issuer.certificate, signer, status_url, issuer.shards)
        except ValueError as error:
            raise AuthorityError(str(error)) from error
        return SigningIssuer(issuer, facts, signer)

    def _certify(
        self,
        new: NewAuthority,
        status_url: str,
        root_signer: Signer,
        signer: Signer,
        keys: Sequence[SealedSecret],
    ) -> list[Issuer]:
        now = self._clock.now().replace(microsecond=0)
        names = (f"{new.name}-root", new.name)
        root_template, template = (
            AuthorityTemplate(
                common_name=f"{new.common_name} {role}",
                organization=new.organization,
                serial=make_serial(os.urandom),
                not_before=now,
                lifetime=lifetime,
                path_length=path_length,
            )
            for role, lifetime, path_length in (
                ("Root", new.root_lifetime, None),
                ("Issuing", min(new.issuing_lifetime, new.root_lifetime), 0),
            )
        )
        root = make_root(root_template, root_signer)
        facts = issuer_facts(names[0], root, root_signer, status_url, 1)
        issuing = make_intermediate(template, signer, facts, root_signer)
        return [
            Issuer(
                name=name,
                certificate=certificate,
                parent=parent,
                key=f"{_SEALED}{key.id}",
                shards=shards,
                is_active=parent is not None,
            )
            for name, certificate, parent, key, shards in (
                (names[0], root, None, keys[0], 1),
                (names[1], issuing, names[0], keys[1], new.shards),
            )
        ]

    def _sealed(self, purpose: str, plaintext: bytes) -> SealedSecret:
        row = new_id()
        return SealedSecret(
            row, purpose, self._master_key.seal(plaintext, purpose=purpose, row=row)
        )

    def _open(self, row: SealedSecret) -> bytes:
        try:
            return self._master_key.open(row.sealed, purpose=row.purpose, row=row.id)
        except SealError as error:
            raise AuthorityError(f"{error}; check secrets.master_key") from error
