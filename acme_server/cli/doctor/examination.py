"""All checks, and how they are carried out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from acme_server.cli.doctor import (
    authority,
    database,
    files,
    listeners,
    machine,
    reachability,
)
from acme_server.cli.doctor.findings import Check, Finding
from acme_server.cli.doctor.site import Site

CHECKS = (
    Check(name="python", examine=machine.check_python),
    Check(name="packages", examine=machine.check_packages),
    Check(name="clock", examine=machine.check_clock),
    Check(name="disk", examine=machine.check_disk),
    Check(name="descriptors", examine=machine.check_descriptors),
    Check(name="memory", examine=machine.check_memory),
    Check(name="ipv6", examine=machine.check_ipv6),
    Check(name="data-directory", examine=files.check_data_directory),
    Check(name="configuration-file", examine=files.check_configuration_file),
    Check(name="master-key", examine=files.check_master_key),
    Check(name="tls-files", examine=files.check_tls_files),
    Check(name="ports", examine=listeners.check_ports),
    Check(name="privileged-ports", examine=listeners.check_privileged_ports),
    Check(name="exposure", examine=listeners.check_exposure),
    Check(name="allowed-networks", examine=listeners.check_allowed_networks),
    Check(name="resolvers", examine=reachability.check_resolvers),
    Check(name="external-url", examine=reachability.check_external_url),
    Check(name="status-url", examine=reachability.check_status_url),
    Check(name="processes", examine=authority.check_processes),
    Check(name="embedded", examine=database.check_embedded),
    Check(name="database", examine=database.check_database),
    Check(name="database-version", examine=database.check_database_version, needs_database=True),
    Check(name="durability", examine=database.check_durability, needs_database=True),
    Check(name="vacuum", examine=database.check_vacuum, needs_database=True),
    Check(name="roles", examine=database.check_roles, needs_database=True),
    Check(name="migrations", examine=database.check_migrations, needs_database=True),
    Check(name="partitions", examine=database.check_partitions, needs_database=True),
    Check(name="connections", examine=database.check_connections, needs_database=True),
    Check(name="issuers", examine=authority.check_issuers, needs_database=True),
    Check(name="crls", examine=authority.check_crls, needs_database=True),
    Check(name="published-crls", examine=reachability.check_published_crls, needs_database=True),
    Check(name="certificate-urls", examine=authority.check_certificate_urls, needs_database=True),
    Check(name="unfinished-work", examine=authority.check_unfinished_work, needs_database=True),
    # Last, so that it has seen the clock for as long as all the others took.
    Check(name="clock-steps", examine=machine.check_clock_steps),
)
# Most of the time is spent waiting for somebody's answer.
_THREADS = 8


def examine(site: Site) -> Iterator[Finding]:
    """Carry out all checks that apply; findings in the order of the checks."""
    wanted = [check for check in CHECKS if site.database is not None or not check.needs_database]
    with ThreadPoolExecutor(_THREADS) as executor:
        for findings in executor.map(lambda check: _carry_out(check, site), wanted[:-1]):
            yield from findings
    yield from _carry_out(wanted[-1], site)


def _carry_out(check: Check, site: Site) -> list[Finding]:
    return [dataclasses.replace(finding, check=check.name) for finding in check.examine(site)]
