"""Whether the packages that will be imported are ours.

``policy``, ``storage`` and ``validators`` are names that others use, too (on PyPI, in a working
directory): what is found under them must lie beside this package.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("policy", "storage", "validators")
_HOME = Path(__file__).resolve().parents[2]


def find_intruders() -> Iterator[tuple[str, str]]:
    """Each package that is not ours, and the path where it is; nothing is imported."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            yield name, "missing"
            continue
        places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else [])]
        if not any(Path(place).resolve().is_relative_to(_HOME / name) for place in places):
            yield name, places[0] if places else "unknown"
