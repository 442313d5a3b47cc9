"""Checks of the CA and its work: issuers, CRLs, what was left undone, the processes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from acme_server.cli.doctor.findings import Finding, error, info, ok, warning
from acme_server.cli.doctor.http import Unreachable, fetch
from acme_server.cli.doctor.ports import reachable
from acme_server.cli.doctor.site import Site

_NEXT_CA_NOTICE = timedelta(days=180)


def check_issuers(site: Site) -> Iterator[Finding]:
    """No CA expires before what it has issued, or unnoticed."""
    from cryptography import x509

    issuers = site.get_database().issuers
    if not issuers:
        yield info("there is no CA yet; the first start makes it")
    for issuer in issuers:
        end = x509.load_der_x509_certificate(issuer.certificate).not_valid_after_utc
        left = end - site.now()
        if left <= timedelta(0):
            judge, text = error, "expired on"
        elif issuer.is_active and left < site.settings.ca.certificate_lifetime:
            judge, text = error, "expires before new certificates would, on"
        elif left < _NEXT_CA_NOTICE:
            judge, text = warning, "expires on"
        else:
            yield ok(f"{issuer.name} is valid until {end:%Y-%m-%d}")
            continue
        yield judge(
            f"the CA {issuer.name} {text} {end:%Y-%m-%d}",
            "Plan its successor, and have the new root distributed before.",
        )


def check_crls(site: Site) -> Iterator[Finding]:
    """Every CRL that certificates point to is in the database, and will be made anew in time."""
    facts = site.get_database()
    known = {(crl.issuer, crl.shard): crl for crl in facts.crls}
    remedy = "The server makes them: see job_failed in its log, and that it runs."
    is_fresh = True
    for issuer in facts.issuers:
        for shard in range(issuer.shards):
            crl = known.get((issuer.name, shard))
            if crl is None:
                is_fresh = False
                yield error(f"the CRL {issuer.name}/{shard} was never made", remedy)
            elif crl.next_update <= site.now():
                is_fresh = False
                since = f"since {crl.next_update:%Y-%m-%d}"
                yield error(f"the CRL {issuer.name}/{shard} is out of date {since}", remedy)
            elif site.now() - crl.this_update > (crl.next_update - crl.this_update) / 2:
                is_fresh = False
                yield warning(f"the CRL {issuer.name}/{shard} is past half of its life", remedy)
    if known and is_fresh:
        yield ok(f"{len(known)} CRLs are fresh")


def check_certificate_urls(site: Site) -> Iterator[Finding]:
    """CAs point to where we say now that CRLs are."""
    from cryptography import x509

    url = f"{site.settings.server.status_url}/"
    others: set[str] = set()
    for issuer in site.get_database().issuers:
        extensions = x509.load_der_x509_certificate(issuer.certificate).extensions
        try:
            points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        except x509.ExtensionNotFound:
            continue
        names = [name.value for point in points for name in point.full_name or ()]
        others.update(name for name in names if not name.startswith(url))
    for name in sorted(others):
        yield warning(
            f"a CA's certificate points to {name}, and server.status_url is now {url}",
            "Keep the old URL served for as long as certificates with it live.",
        )
    if not others:
        yield ok("certificates point to server.status_url")


def check_unfinished_work(site: Site) -> Iterator[Finding]:
    """What a process left when it died is taken over by another."""
    facts = site.get_database()
    abandoned = {
        "validations": facts.abandoned_validations,
        "issuances": facts.abandoned_issuances,
    }
    for name, count in abandoned.items():
        if count:
            yield error(
                f"{count} {name} have been left for more than two minutes",
                "The background process takes them over: see that it runs, and its log.",
            )
    if not any(abandoned.values()):
        yield ok("no validation and no issuance is left behind")


def check_processes(site: Site) -> Iterator[Finding]:
    """The server runs, and all of its processes work."""
    place = reachable(site.settings.server.ops_listen)
    try:
        answer = fetch(f"http://{place}/readyz", site.seconds)
    except Unreachable:
        yield info("the server does not run here", "acme-server run")
        return
    if answer.status == 200:
        yield ok("the server runs and is ready")
    else:
        reason = answer.body[:200].decode("utf-8", "replace").strip()
        yield error(
            f"the server is not ready: {reason or answer.status}",
            "See its log: the database is away, workers die, or it is stopping.",
        )
