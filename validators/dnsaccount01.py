"""The DNS challenge whose label is the account's own (draft-ietf-acme-dns-account-label)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

from policy.model.authorizations import ValidationTask
from policy.model.identifiers import IdentifierType
from policy.model.ids import AccountId
from validators import causes
from validators.causes import ValidationFailure
from validators.dns01 import TextResolver, is_published
from validators.dnserrors import DnsError, NameMissing, NoRecords
from validators.excerpts import excerpt
from validators.keyauth import expected_txt
from validators.trace import Trace

# Fits a label, and base32 needs no padding for it.
_LABEL_BYTES = 10


def account_label(account_url: str) -> str:
    """The label of an account, in lower case: an underscore and 16 characters.

    ``account_url`` is taken as it is, character by character: it is what ``Location`` said.
    """
    digest = hashlib.sha256(account_url.encode("ascii")).digest()
    return "_" + base64.b32encode(digest[:_LABEL_BYTES]).decode("ascii").lower()


def record_name(name: str, account_url: str) -> str:
    """Where an account publishes its TXT records for ``name``."""
    return f"{account_label(account_url)}._acme-challenge.{name}"


class DnsAccount01Validator:
    """Looks for the digest among the TXT records at ``{label}._acme-challenge.{name}``.

    ``account_url`` gives the URL of an account, as clients know it.
    """

    type = "dns-account-01"

    def __init__(self, resolver: TextResolver, account_url: Callable[[AccountId], str]) -> None:
        self._resolver = resolver
        self._account_url = account_url

    async def prove(self, task: ValidationTask, trace: Trace) -> None:
        """Returns when control is proven; raises ValidationFailure when it is not."""
        if task.identifier.type is not IdentifierType.DNS:
            raise ValidationFailure(causes.IDENTIFIER_UNSUITED, type=self.type)
        account = self._account_url(task.account_id)
        name = record_name(task.identifier.value, account)
        expected = expected_txt(task.token, task.thumbprint)
        trace.begin("label", account=account, name=excerpt(name, 255))
        shown = {"name": name, "expected": expected, "account": account}
        try:
            records = await self._resolver.txt(name, trace)
        except NameMissing as error:
            raise ValidationFailure(causes.ACCOUNT_TXT_NAME_MISSING, **shown) from error
        except NoRecords as error:
            raise ValidationFailure(causes.ACCOUNT_TXT_MISSING, **shown) from error
        except DnsError as error:
            raise error.as_failure() from error
        if not is_published(expected, records.values):
            raise ValidationFailure(
                causes.TXT_DIFFERS,
                name=name,
                expected=expected,
                count=len(records.values),
                first=excerpt(records.values[0], 100),
            )
