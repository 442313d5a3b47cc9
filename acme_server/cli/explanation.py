"""What an order's history means: which answer was expected where, what was met, what to do."""

from __future__ import annotations

import re
import string
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from acme_server.cli.documents import (
    Document,
    account_document,
    authorization_document,
    certificate_document,
    event_document,
    order_document,
    validation_document,
)
from acme_server.cli.output import printable, render_facts, render_table, show
from acme_server.workflow.reports import OrderReport, RecordedValidation
from policy.model.authorizations import Authorization
from policy.model.errors import Problem
from validators.causes import CAUSES, Cause
from validators.keyauth import expected_txt, key_authorization

_WIDTH = 100
_STEP_FACTS_HIDDEN = frozenset({"step", "at_ms", "der"})


def explanation_document(report: OrderReport, http_port: int, tls_port: int) -> Document:
    """All about the order; each validation with target, expectation and meaning."""
    return {
        "order": order_document(report.order),
        "account": None if report.account is None else account_document(report.account),
        "authorizations": [
            authorization_document(authorization)
            | {
                "validations": list(_validations(report, authorization, (http_port, tls_port))),
            }
            for authorization in report.authorizations
        ],
        "certificate": (
            None if report.certificate is None else certificate_document(report.certificate)
        ),
        "events": [event_document(event) for event in report.events],
    }


def render_explanation(document: Document) -> str:
    """The document on one screen, for an order of a few names."""
    order, account = document["order"], document["account"]
    facts = {
        "order": f"{order['id']}  {order['status']}",
        "account": account and f"{account['id']}  {account['status']}  {show(account['contacts'])}",
        "names": order["identifiers"],
        "profile": order["profile"],
        "created": order["created_at"],
        "expires": order["expires_at"],
        "error": order["error"] and order["error"]["detail"],
    }
    parts = [render_facts(facts)]
    parts += [_render_authorization(entry) for entry in document["authorizations"]]
    if (certificate := document["certificate"]) is not None:
        names = ("serial", "status", "issuer", "not_before", "not_after", "revoked_at")
        parts.append("certificate\n" + render_facts({n: certificate[n] for n in names}, "  "))
    rows = [
        (show(event["at"]), event["actor"], event["action"], _words(event["detail"] or {}))
        for event in document["events"]
    ]
    parts.append(render_table(("event", "actor", "action", "detail"), rows))
    return "\n".join(parts)


def explain_problem(problem: Problem) -> dict[str, str]:
    """What was seen, the likely cause and the remedy, where the cause is one of the catalogue."""
    cause = CAUSES.get(problem.cause or "")
    found = None if cause is None else _pattern(cause).fullmatch(problem.detail)
    if found is None:
        return {"seen": problem.detail}
    return {name: text for name, text in found.groupdict().items() if text}


def _validations(
    report: OrderReport, authorization: Authorization, ports: tuple[int, int]
) -> Iterator[Document]:
    for validation in report.validations:
        if validation.authorization_id != authorization.id:
            continue
        meaning = {} if validation.problem is None else explain_problem(validation.problem)
        yield validation_document(validation) | {
            "target": _target(authorization, validation, ports),
            "expected": _expected(report, authorization, validation),
            "addresses": _addresses(validation),
            **meaning,
        }


def _target(
    authorization: Authorization, validation: RecordedValidation, ports: tuple[int, int]
) -> str:
    """Where control is to be shown (RFC 8555, 8.3 and 8.4; RFC 8737, 3; the drafts)."""
    kind, name = validation.type, authorization.identifier.value
    host = f"[{name}]" if ":" in name else name
    http_port, tls_port = ports
    if kind == "http-01":
        place = host if http_port == 80 else f"{host}:{http_port}"
        token = authorization.challenges[0].token
        return f"http://{place}/.well-known/acme-challenge/{token}"
    if kind == "dns-01":
        return f"TXT _acme-challenge.{name}"
    if kind == "dns-account-01":
        labelled = [step for step in _steps(validation.evidence) if step.get("step") == "label"]
        return f"TXT {labelled[0].get('name') if labelled else name}"
    if kind == "dns-persist-01":
        return f"TXT _validation-persist.{name}"
    return f"{host}:{tls_port}, ALPN acme-tls/1"


def _expected(
    report: OrderReport, authorization: Authorization, validation: RecordedValidation
) -> str | None:
    if report.account is None or validation.type == "dns-persist-01":
        return None
    token, thumbprint = authorization.challenges[0].token, report.account.thumbprint
    if validation.type in ("dns-01", "dns-account-01"):
        return expected_txt(token, thumbprint)
    return key_authorization(token, thumbprint)


def _addresses(validation: RecordedValidation) -> list[str]:
    """Where connections were tried, each once, in order; refused addresses say so."""
    places: dict[str, None] = {}
    for step in _steps(validation.evidence):
        if step.get("step") == "connect":
            places[str(step.get("endpoint"))] = None
        elif step.get("step") == "refuse":
            places[f"{step.get('address')} (refused: {step.get('reason')})"] = None
    return list(places)


def _steps(evidence: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    facts = (evidence or {}).get("facts", {})
    for attempt in facts.get("attempts", ()):
        yield from attempt


def _render_authorization(entry: Document) -> str:
    name = f"*.{entry['identifier']}" if entry["wildcard"] else entry["identifier"]
    offered = show([challenge["type"] for challenge in entry["challenges"]])
    lines = [f"authorization  {name}  {entry['status']}  (offered: {offered})\n"]
    if not entry["validations"]:
        lines.append("  no challenge was answered yet\n")
    lines += [_render_validation(validation) for validation in entry["validations"]]
    return "".join(lines)


def _render_validation(validation: Document) -> str:
    answered = show(validation["answered_at"])
    head = (
        f"  {validation['type']}  {validation['status']}  answered {answered}"
        f", attempt {validation['attempt']} by {validation['owner']}\n"
    )
    names = ("target", "expected", "addresses", "seen", "likely", "remedy")
    facts = {name: validation.get(name) for name in names}
    lines = [_wrap(line) for line in render_facts(facts, "    ").splitlines()]
    attempts = (validation["evidence"] or {}).get("facts", {}).get("attempts", ())
    lines += [_wrap(line) for line in _render_attempts(attempts)]
    return head + "".join(lines)


def _render_attempts(attempts: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    for number, steps in enumerate(attempts, 1):
        words = [
            f"{step.get('step')} "
            + _words({k: v for k, v in step.items() if k not in _STEP_FACTS_HIDDEN})
            for step in steps
        ]
        yield f"    try {number}      {printable('; '.join(words))}"


def _words(facts: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_word(value)}" for name, value in facts.items())


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_word, value))}]"
    if isinstance(value, dict):
        return f"{{{_words(value)}}}"
    return str(value)


def _wrap(line: str) -> str:
    """The line cut at spaces; what is to be copied, such as a URL, stays whole beside its name."""
    indent = " " * 15
    if len(line.split()) == 2:
        return f"{line}\n"
    return (
        "\n".join(
            textwrap.wrap(
                line,
                _WIDTH,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
        + "\n"
    )


def _pattern(cause: Cause) -> re.Pattern[str]:
    """The format of a cause's detail as a pattern with its three sentences as groups."""
    sentences = (("seen", cause.seen), ("likely", cause.likely), ("remedy", cause.next_step))
    groups = [f"(?P<{name}>{_format_pattern(text)})" for name, text in sentences if text]
    return re.compile(" ".join(groups), re.DOTALL)


def _format_pattern(text: str) -> str:
    return "".join(
        re.escape(literal) + (".*?" if field is not None else "")
        for literal, field, _, _ in string.Formatter().parse(text)
    )
