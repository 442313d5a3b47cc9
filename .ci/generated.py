"""Files, and parts of files, that are made from the code: writes them, or checks that they are up
to date.

    python .ci/generated.py --write | --check
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from acme_server.config.reference import (  # noqa: E402 - the tree's own packages
    configuration_page,
    example_file,
)
from policy.model.accounts import ACCOUNT_MOVES  # noqa: E402
from policy.model.authorizations import AUTHORIZATION_MOVES, CHALLENGE_MOVES  # noqa: E402
from policy.model.certificates import CERTIFICATE_MOVES  # noqa: E402
from policy.model.orders import ORDER_MOVES  # noqa: E402

ARCHITECTURE = Path("docs/architecture.md")

State = TypeVar("State", bound=StrEnum)


def state_diagram(moves: Mapping[State, frozenset[State]]) -> str:
    """A Mermaid diagram of a table of moves; what has no way out ends."""
    first = next(iter(moves))
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.value}"]
    for state, targets in moves.items():
        lines += [f"    {state.value} --> {target.value}" for target in moves if target in targets]
        if not targets:
            lines.append(f"    {state.value} --> [*]")
    return "\n".join([*lines, "```"])


def with_diagrams(text: str) -> str:
    """``text`` with every part between ``<!-- states: NAME -->`` and ``<!-- end -->`` made anew."""
    diagrams = {
        "accounts": state_diagram(ACCOUNT_MOVES),
        "orders": state_diagram(ORDER_MOVES),
        "authorizations": state_diagram(AUTHORIZATION_MOVES),
        "challenges": state_diagram(CHALLENGE_MOVES),
        "certificates": state_diagram(CERTIFICATE_MOVES),
    }
    for name, diagram in diagrams.items():
        start = f"<!-- states: {name} -->"
        part = re.compile(re.escape(start) + r".*?<!-- end -->", re.DOTALL)
        if not part.search(text):
            raise SystemExit(f"{ARCHITECTURE}: {start} is missing")
        text = part.sub(f"{start}\n{diagram}\n<!-- end -->", text)
    return text


def generated() -> Iterator[tuple[Path, str]]:
    """Each generated file with the text that it should have."""
    yield ARCHITECTURE, with_diagrams((ROOT / ARCHITECTURE).read_text(encoding="utf-8"))
    yield Path("docs/configuration.md"), configuration_page()
    yield Path("config.example.yaml"), example_file()


def main(arguments: list[str]) -> int:
    """The exit status: 1 if a file is out of date, 2 for wrong arguments."""
    if arguments not in (["--write"], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    status = 0
    for path, text in generated():
        file = ROOT / path
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        if arguments == ["--write"]:
            file.write_text(text, encoding="utf-8")
        else:
            print(f"{path} is out of date: run python .ci/generated.py --write")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
