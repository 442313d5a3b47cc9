"""Settings given by the environment: ``ACME_SERVER__SERVER__LISTEN`` is ``server.listen``."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from acme_server.config.addresses import ENVIRONMENT_PREFIX
from acme_server.config.declaration import Declaration
from acme_server.config.documents import RawMapping, RawNode, RawScalar, parse_document
from acme_server.config.kinds import Keyed, Listed, Mapped
from acme_server.config.problems import ConfigurationError, Place, Problem


def variable_of(key: str) -> str:
    """The name of the environment variable for a setting."""
    return ENVIRONMENT_PREFIX + key.upper().replace(".", "__")


def read_environment(
    environ: Mapping[str, str], declared: Mapping[str, Declaration]
) -> tuple[RawMapping, list[Problem]]:
    """The tree of all settings in ``environ``, and what is wrong with them.

    Words are taken as they are, an empty one as no value; lists and mappings are written as
    YAML's ``[a, b]`` and ``{certificate: a, key: b}``, the latter's members also by
    variables of their own.
    """
    known = dict(_variables(declared))
    root = RawMapping(Place("environment"))
    problems: list[Problem] = []
    for variable in sorted(name for name in environ if name.startswith(ENVIRONMENT_PREFIX)):
        place = Place(variable)
        if variable not in known:
            problems.append(Problem(place, None, _unknown(variable, known)))
            continue
        path, takes_yaml = known[variable]
        try:
            node = _read_value(environ[variable], place, takes_yaml=takes_yaml)
        except ConfigurationError as error:
            problems += [Problem(place, None, found.message) for found in error.problems]
            continue
        _insert(root, path, place, node)
    return root, problems


def _variables(
    declared: Mapping[str, Declaration],
) -> list[tuple[str, tuple[tuple[str, ...], bool]]]:
    """Each variable with the path of its setting, and whether brackets in it mean something."""
    variables = []
    for key, declaration in declared.items():
        path = tuple(key.split("."))
        kind = declaration.kind
        variables.append((variable_of(key), (path, isinstance(kind, Keyed | Listed | Mapped))))
        if isinstance(kind, Mapped):
            variables += [
                (variable_of(f"{key}.{member}"), ((*path, member), False))
                for member in kind.members
            ]
    return variables


def _unknown(variable: str, known: Mapping[str, object]) -> str:
    if any(name.startswith(f"{variable}__") for name in known):
        example = next(name for name in known if name.startswith(f"{variable}__"))
        return f"is a section; set its settings, such as {example}"
    near = get_close_matches(variable.upper(), list(known), n=1, cutoff=0.75)
    return "unknown setting" + (f", did you mean {near[0]}?" if near else "")


def _read_value(text: str, place: Place, *, takes_yaml: bool) -> RawNode:
    if not text:
        return RawScalar(place, text, tag="null")
    if takes_yaml and text.lstrip().startswith(("[", "{")):
        node, problems = parse_document(text, place.source)
        if problems:
            raise ConfigurationError(problems)
        assert node is not None
        return node
    return RawScalar(place, text)


def _insert(root: RawMapping, path: tuple[str, ...], place: Place, node: RawNode) -> None:
    section = root
    for name in path[:-1]:
        _, below = section.entries.setdefault(name, (place, RawMapping(place)))
        if not isinstance(below, RawMapping):
            # ``…__TLS`` and ``…__TLS__KEY`` at once: the members, which come later, say more.
            below = RawMapping(place)
            section.entries[name] = (place, below)
        section = below
    section.entries[path[-1]] = (place, node)
