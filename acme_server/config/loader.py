"""Loads the configuration: a file, the environment over it, defaults below it, all faults at once.

Without a file and without an external URL it is lab mode, whose defaults are other ones.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from acme_server.config.addresses import host_of
from acme_server.config.declaration import Declaration, declarations
from acme_server.config.decoding import Decoded
from acme_server.config.documents import RawMapping, RawScalar, parse_document, read_file
from acme_server.config.environment import read_environment
from acme_server.config.problems import ConfigurationError, Place, Problem
from acme_server.config.profilekinds import ProfileName
from acme_server.config.profilesettings import SECTION as PROFILES
from acme_server.config.profilesettings import build_table, declarations_of
from acme_server.config.rules import check_rules
from acme_server.config.settings import ROOT_DATA_DIR, Settings
from acme_server.config.values import TlsMode
from policy.shippedprofiles import SHIPPED

DECLARED: Mapping[str, Declaration] = {item.key: item for item in declarations(Settings)}


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, and for each that was given the place that gave it."""

    settings: Settings
    places: Mapping[str, Place]


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings from the file at ``path`` (None: no file) and from ``environ``.

    Raises ConfigurationError with everything that is wrong.
    """
    return load_configuration(path, environ).settings


def load_configuration(path: Path | None, environ: Mapping[str, str]) -> Configuration:
    """``load_settings`` that also tells where each value comes from."""
    decoded = Decoded()
    root = RawMapping(Place("")) if path is None else _read_file(path, decoded)
    is_whole = root is not None
    names = _take_profile_names(root, decoded) if root is not None else []
    declared = dict(DECLARED) | {
        item.key: item for name in (*SHIPPED, *names) for item in declarations_of(name)
    }
    if root is not None:
        decoded.read(root, declared)
    overrides, problems = read_environment(environ, declared)
    decoded.problems += problems
    decoded.read(overrides, declared)

    is_lab = path is None and "server.external_url" not in decoded.places
    settings = build_settings(decoded.values, is_lab=is_lab, profiles=names)
    if is_whole:
        _apply_rules(settings, decoded, path)
    if decoded.problems:
        raise ConfigurationError(sorted(decoded.problems, key=_order))
    return Configuration(settings, decoded.places)


def build_settings(
    values: Mapping[str, Any], *, is_lab: bool, profiles: Sequence[str] = ()
) -> Settings:
    """The settings with ``values`` by key, and defaults for the rest. ``profiles`` are the names
    of those that the configuration has, besides the ones that have values."""
    complete = {
        key: declared.lab if is_lab and declared.lab is not MISSING else declared.default
        for key, declared in DECLARED.items()
    } | dict(values)
    _derive(complete, values)
    sections: dict[str, Any] = {}
    for field in dataclasses.fields(Settings):
        if isinstance(field.default_factory, type):
            prefix = f"{field.name}."
            sections[field.name] = field.default_factory(
                **{
                    key.removeprefix(prefix): value
                    for key, value in complete.items()
                    if key.startswith(prefix)
                }
            )
    given = (key.split(".")[1] for key in values if key.startswith(f"{PROFILES}."))
    names = dict.fromkeys((*profiles, *given))
    return Settings(
        lab=is_lab,
        data_dir=complete["data_dir"],
        profiles=build_table(names, values),
        **sections,
    )


def _derive(complete: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Fill in the defaults that depend on other settings."""
    if "data_dir" not in given and os.geteuid() == 0:
        complete["data_dir"] = ROOT_DATA_DIR
    complete["data_dir"] = complete["data_dir"].absolute()
    if "server.external_url" not in given:
        scheme = "http" if complete["server.tls"] is TlsMode.OFF else "https"
        complete["server.external_url"] = _origin(
            scheme, "localhost", complete["server.listen"].port
        )
    if "server.status_url" not in given:
        complete["server.status_url"] = _origin(
            "http", host_of(complete["server.external_url"]), complete["server.status_listen"].port
        )


def _origin(scheme: str, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    is_default = port == {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{shown}" + ("" if is_default else f":{port}")


def _read_file(path: Path, decoded: Decoded) -> RawMapping | None:
    """The tree of the file; None where there is nothing to take in."""
    try:
        root, problems = _read_root(path)
    except ConfigurationError as error:
        decoded.problems += error.problems
        return None
    decoded.problems += problems
    return root


def _take_profile_names(root: RawMapping, decoded: Decoded) -> list[str]:
    """The names of the profiles in the tree; those that can't be names are refused and taken out
    of it."""
    _, section = root.entries.get(PROFILES, (None, None))
    if not isinstance(section, RawMapping):
        return []
    for name, (place, _) in list(section.entries.items()):
        try:
            ProfileName().parse(name)
        except ValueError as error:
            decoded.refuse(f"{PROFILES}.{name}", place, str(error))
            del section.entries[name]
    return list(section.entries)


def _read_root(path: Path) -> tuple[RawMapping, list[Problem]]:
    whole = Place(str(path))
    root, problems = parse_document(read_file(path), str(path))
    if root is None or (isinstance(root, RawScalar) and root.is_null):
        message = "is empty; without a file, lab mode is started"
        raise ConfigurationError([Problem(whole, None, message)])
    if not isinstance(root, RawMapping):
        message = 'must be a mapping, with sections such as "server:"'
        raise ConfigurationError([*problems, Problem(root.place, None, message)])
    return root, problems


def _apply_rules(settings: Settings, decoded: Decoded, path: Path | None) -> None:
    """Note what breaks a rule, unless a setting concerned has a fault of its own."""
    for finding in check_rules(settings, frozenset(decoded.values)):
        if not decoded.faulty.intersection(finding.keys):
            # The first of them that was given is the one to look at.
            places = (decoded.places[key] for key in finding.keys if key in decoded.places)
            place = next(places, None if path is None else Place(str(path)))
            decoded.problems.append(Problem(place, finding.keys[0], finding.message))


def _order(problem: Problem) -> tuple[bool, Place]:
    """Those of the file first, in its order, then those of the environment by name."""
    place = problem.place or Place("")
    return place.line == 0, place
