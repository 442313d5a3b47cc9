"""The kind of settings that name causes of failed validations."""

from __future__ import annotations

from difflib import get_close_matches

from acme_server.config.kinds import Scalar
from validators.causes import CAUSES

# For these a second attempt is the same as the first.
_POINTLESS = frozenset(
    {"internal", "type_unsupported", "wildcard_needs_dns", "identifier_unsuited"}
)


class CauseCode(Scalar[str]):
    """The code of a cause, as in logs and in ``order explain``."""

    form = "code of a cause"

    def parse(self, text: str) -> str:
        """The code; raises ValueError for what is no cause, or one that no attempt changes."""
        if text in _POINTLESS:
            raise ValueError(f'"{text}" does not pass: another attempt would end the same')
        if text not in CAUSES:
            near = get_close_matches(text, list(CAUSES), n=1)
            hint = f', did you mean "{near[0]}"?' if near else ""
            raise ValueError(f'"{text}" is no cause of a failed validation{hint}')
        return text
