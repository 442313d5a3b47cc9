"""``profile list``, ``profile show`` and ``profile lint``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from acme_server.cli.errors import FAILED, CommandFailed
from acme_server.cli.invocation import Invocation, operator_command
from acme_server.cli.output import printable, render_facts, render_table, show

if TYPE_CHECKING:
    from acme_server.config.settings import Settings
    from acme_server.workflow.samples import SampleReport
    from policy.profiles import Profile

Document = dict[str, object]
_name = click.argument("name", required=False)


@click.group("profile")
def profile_group() -> None:
    """Look at certificate profiles, and try them out."""


@profile_group.command("list")
@operator_command
def list_profiles(invocation: Invocation) -> None:
    """List all profiles: those that come with the server, and yours."""
    documents = _documents(invocation.settings())
    rows = [
        (
            str(document["name"]),
            _offer(document),
            show(document["validity"]),
            show(document["extended_key_usages"]),
            str(document["description"]),
        )
        for document in documents
    ]
    invocation.answer(
        {"profiles": documents},
        lambda: render_table(("profile", "offered", "validity", "for", "description"), rows),
    )


@profile_group.command("show")
@click.argument("name")
@operator_command
def show_profile(invocation: Invocation, name: str) -> None:
    """Show everything that a profile says."""
    document = next((d for d in _documents(invocation.settings()) if d["name"] == name), None)
    if document is None:
        raise CommandFailed(f"there is no profile {name}")
    invocation.answer(document, lambda: render_facts(document))


@profile_group.command("lint")
@_name
@operator_command
def lint_profiles(invocation: Invocation, name: str | None) -> None:
    """Make a sample certificate of each profile with throw-away keys, and look for faults.

    Nothing is kept. The lint is the one that every certificate passes before it is signed; where
    OpenSSL is installed, it verifies the samples as well.
    """
    reports = _examine(_chosen(invocation.settings(), name))
    documents = [_report_document(report) for report in reports]
    invocation.answer({"profiles": documents}, lambda: "".join(map(_render_report, reports)))
    if any(report.findings for report in reports):
        sys.exit(FAILED)


def _chosen(settings: Settings, name: str | None) -> list[Profile]:
    from acme_server.config.profiles import all_profiles

    profiles = all_profiles(settings)
    if name is not None and name not in profiles:
        raise CommandFailed(f"there is no profile {name}")
    return [profile for profile in profiles.values() if name in (None, profile.name)]


def _examine(profiles: list[Profile]) -> list[SampleReport]:
    import shutil

    from acme_server.workflow.clock import SystemClock
    from acme_server.workflow.samples import ProfileSamples

    samples = ProfileSamples(SystemClock().now(), shutil.which("openssl"))
    return [samples.examine(profile) for profile in profiles]


def _documents(settings: Settings) -> list[Document]:
    from acme_server.config.profiles import all_profiles, default_profile

    default = default_profile(settings)
    return [
        _document(profile)
        | {
            "offered": profile.name in settings.acme.profiles,
            "default": profile.name == default,
        }
        for profile in all_profiles(settings).values()
    ]


def _document(profile: Profile) -> Document:
    """What a profile comes to, in the words of the configuration."""
    from acme_server.config.kinds import render_duration
    from acme_server.config.profilekinds import Curve, ExtensionText, Purpose

    purpose, extension = Purpose(), ExtensionText()
    return {
        "name": profile.name,
        "description": profile.description,
        "version": profile.version,
        "validity": render_duration(profile.validity),
        "maximum_validity": render_duration(profile.maximum_validity),
        "backdate": render_duration(profile.backdate),
        "ec_key_usages": sorted(profile.key_usages["ec"]),
        "rsa_key_usages": sorted(profile.key_usages["rsa"]),
        "extended_key_usages": [purpose.plain(oid) for oid in profile.extended_key_usages],
        "country": profile.subject.country,
        "organization": profile.subject.organization,
        "organizational_unit": profile.subject.organizational_unit,
        "common_name": profile.common_name.value,
        "identifier_types": sorted(profile.identifier_types),
        "maximum_identifiers": profile.maximum_identifiers,
        "must_staple": profile.allows_must_staple,
        "policies": list(profile.policies),
        "key_types": sorted(profile.keys.kinds),
        "curves": [c.value for c in Curve if c.library_name in profile.keys.curves],
        "minimum_rsa_bits": profile.keys.min_rsa_bits,
        "maximum_rsa_bits": profile.keys.max_rsa_bits,
        "challenge_types": sorted(profile.challenge_types),
        "issuer": profile.issuer,
        "extensions": [extension.plain(extra) for extra in profile.extensions],
        "baseline_requirements": profile.is_public,
        "needs_approval": profile.needs_approval,
    }


def _offer(document: Document) -> str:
    if document["default"]:
        return "default"
    return "yes" if document["offered"] else "no"


def _report_document(report: SampleReport) -> Document:
    from acme_server.cli.certificates import to_pem

    return {
        "name": report.profile,
        "findings": list(report.findings),
        "openssl": report.openssl,
        "certificates": [to_pem(certificate) for certificate in report.certificates],
    }


def _render_report(report: SampleReport) -> str:
    count = len(report.certificates)
    if not report.findings:
        lookers = "lint and openssl" if report.openssl else "lint; openssl is not installed"
        return f"{report.profile}: no faults in {count} samples ({lookers})\n"
    lines = (f"  {printable(finding)}\n" for finding in report.findings)
    return f"{report.profile}:\n" + "".join(lines)
