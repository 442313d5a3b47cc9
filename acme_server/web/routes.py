"""The table of what is served where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from acme_server.web.requests import Request
from acme_server.web.responses import Response
from policy.model.errors import ServerError

Handler = Callable[[Request], Awaitable[Response]]


class FrontEnd(Protocol):
    """What the edge asks of a front end besides its handlers."""

    def refuse(self, request: Request | None, error: ServerError) -> Response:
        """The front end's own form of ``error``; ``request`` is None if there was none to read."""
        ...

    def complete(self, request: Request | None, response: Response) -> None:
        """Add the headers that each answer carries, refusals included."""
        ...


class Route:
    """One resource: its handlers by method, and the front end that it belongs to.

    ``pattern`` is a path whose last segments may be parameters: ``/a/b``, ``/a/{id}``,
    ``/a/{id}/b`` or ``/a/{id}/{kind}``; text after a trailing parameter (``{shard}.crl``) is
    matched and cut off. GET serves HEAD unless HEAD has its own handler.
    """

    __slots__ = ("allow", "front_end", "handlers", "pattern")

    def __init__(self, pattern: str, front_end: FrontEnd, handlers: Mapping[str, Handler]) -> None:
        self.pattern = pattern
        self.front_end = front_end
        self.handlers = dict(handlers)
        if "GET" in self.handlers:
            self.handlers.setdefault("HEAD", self.handlers["GET"])
        self.allow = tuple(sorted(self.handlers))


class Routes:
    """Finds the route of a raw path, without decoding and without regular expressions.

    ``fallback`` answers for paths that nobody serves and for what is no HTTP request at all.
    """

    def __init__(self, fallback: FrontEnd, routes: Iterable[Route]) -> None:
        self.fallback = fallback
        self._exact: dict[str, Route] = {}
        # Keyed by the literal parts: before the parameter, and behind it.
        self._trailing: dict[str, list[tuple[str, Route]]] = {}
        self._enclosed: dict[tuple[str, str], Route] = {}
        self._pairs: dict[str, list[tuple[str, Route]]] = {}
        methods: set[str] = set()
        for route in routes:
            self._add(route)
            methods.update(route.handlers)
        # What isn't here is refused even where nothing is served.
        self.methods = tuple(sorted(methods))

    def find(self, path: str) -> tuple[Route, tuple[str, ...]] | None:
        """The route and the parameters of ``path``; None if nothing is served there."""
        route = self._exact.get(path)
        if route is not None:
            return route, ()
        before, _, last = path.rpartition("/")
        found = _match(self._trailing.get(before, ()), last)
        if found is not None:
            return found[0], (found[1],)
        prefix, _, middle = before.rpartition("/")
        if not middle:
            return None
        route = self._enclosed.get((prefix, last))
        if route is not None:
            return route, (middle,)
        found = _match(self._pairs.get(prefix, ()), last)
        return None if found is None else (found[0], (middle, found[1]))

    def _add(self, route: Route) -> None:
        literals, parameters, suffix = _split(route.pattern)
        if parameters == 0:
            taken = self._exact.setdefault(route.pattern, route)
        elif parameters == 2:
            self._pairs.setdefault(literals, []).append((suffix, route))
            return
        elif suffix.startswith("/"):
            taken = self._enclosed.setdefault((literals, suffix[1:]), route)
        else:
            self._trailing.setdefault(literals, []).append((suffix, route))
            return
        if taken is not route:
            raise ValueError(f"{route.pattern} is served twice")


def _match(candidates: Iterable[tuple[str, Route]], last: str) -> tuple[Route, str] | None:
    """The candidate whose literal end ``last`` has, and the parameter before it, never empty."""
    for suffix, route in candidates:
        if len(last) > len(suffix) and last.endswith(suffix):
            return route, last.removesuffix(suffix)
    return None


def _split(pattern: str) -> tuple[str, int, str]:
    """The literal start, the number of parameters, and the literal end of ``pattern``."""
    start, brace, rest = pattern.partition("/{")
    if not brace:
        return pattern, 0, ""
    _, _, rest = rest.partition("}")
    if not rest.startswith("/{"):
        return start, 1, rest
    _, _, suffix = rest[2:].partition("}")
    if "{" in suffix or "/" in suffix:
        raise ValueError(f"{pattern} has a shape that routes don't know")
    return start, 2, suffix
