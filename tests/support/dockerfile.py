"""Reads a Dockerfile, finds bad habits in it, and carries out its steps below a scratch folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continued lines joined. ``stage`` counts the FROMs from 0."""

    stage: int
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words of the exec form, or of the shell form without flags."""
        if self.text.startswith("["):
            return [str(word) for word in json.loads(self.text)]
        return [word for word in shlex.split(self.text) if not word.startswith("--")]

    @property
    def flags(self) -> dict[str, str]:
        """The ``--name=value`` flags in front."""
        found: dict[str, str] = {}
        for word in self.text.split():
            if not word.startswith("--"):
                break
            name, _, value = word[2:].partition("=")
            found[name] = value
        return found


def parse(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile without comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found: list[Instruction] = []
    stage = -1
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        stage += name == "FROM"
        found.append(Instruction(stage, name, re.sub(r"\s+", " ", rest).strip()))
    return found


def lint(instructions: list[Instruction]) -> Iterator[str]:
    """What is wrong with the image that ``instructions`` make."""
    final = [item for item in instructions if item.stage == instructions[-1].stage]
    for item in instructions:
        yield from _lint_instruction(item)
    users = [item.text for item in final if item.name == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        yield "the last USER must be a number above 0, and so its group"
    for needed in ("HEALTHCHECK", "ENTRYPOINT", "VOLUME", "EXPOSE"):
        if needed not in {item.name for item in final}:
            yield f"{needed} is missing"


def _lint_instruction(item: Instruction) -> Iterator[str]:
    if item.name == "FROM" and not re.search(r":(?!latest)[\w.-]+", item.text):
        yield f"FROM {item.text}: no version"
    if item.name == "ADD":
        yield "ADD fetches and unpacks: use COPY"
    if item.name in {"ENTRYPOINT", "CMD"} and not item.text.startswith("["):
        yield f"{item.name} without brackets runs a shell that takes the signals"
    if item.name == "WORKDIR" and not item.text.startswith("/"):
        yield f"WORKDIR {item.text} is relative"
    if item.name in {"ENV", "ARG"} and re.search(r"(?i)password|secret|token|_key", item.text):
        yield f"{item.name} puts a secret into the image"
    if item.name == "RUN":
        yield from _lint_run(item.text)


def _lint_run(text: str) -> Iterator[str]:
    for command in re.split(r"&&|;|\|", text):
        if "apt-get install" in command and (
            "--no-install-recommends" not in command or " -y" not in command
        ):
            yield "apt-get install needs -y --no-install-recommends"
        if re.search(r"pip (install|wheel)\b", command) and not (
            "--require-hashes" in command or "--no-deps" in command
        ):
            yield f"pip without hashes: {command.strip()}"
        if re.search(r"\b(sudo|curl|wget)\b", command):
            yield f"fetches past the package managers: {command.strip()}"
    if "apt-get install" in text and "rm -rf /var/lib/apt/lists/*" not in text:
        yield "the package lists stay in the layer"


@dataclass(slots=True)
class Replay:
    """Carries out an image's build below ``root``, one folder per stage.

    Absolute paths of the image that the steps write to become paths below the stage's folder;
    ``apt-get``, ``useradd`` and the like are replaced by commands that note how they were called.
    """

    root: Path
    context: Path
    environment: dict[str, str] = field(default_factory=dict)
    noted: list[str] = field(default_factory=list)
    _names: dict[str, int] = field(default_factory=dict)
    _folder: str = "/"

    _MOVED = ("/opt", "/build", "/etc", "/var", "/usr/local/bin/container-entrypoint")
    _NOTED = ("apt-get", "groupadd", "useradd", "install")

    def stage(self, number: int) -> Path:
        """The folder that stands for the file system of a stage."""
        return self.root / f"stage{number}"

    def moved(self, stage: int, text: str) -> str:
        """``text`` with the image's own paths led below the stage's folder."""
        paths = "|".join(re.escape(path) for path in self._MOVED)
        return re.sub(
            rf"(?<![\w./-])({paths})(?=[/\s:\"'*]|$)",
            lambda path: f"{self.stage(stage)}{path[1]}",
            text,
        )

    def carry_out(self, instructions: list[Instruction]) -> None:
        """All steps; raises CalledProcessError where a RUN fails, with its output."""
        self._make_noting_commands()
        for item in instructions:
            step = getattr(self, f"_{item.name.lower()}", None)
            if step is not None:
                step(item)

    def _from(self, item: Instruction) -> None:
        words = item.words
        if "AS" in words:
            self._names[words[words.index("AS") + 1]] = item.stage
        self._folder = "/"
        self.environment = {}
        (self.stage(item.stage) / "usr/local/bin").mkdir(parents=True)

    def _workdir(self, item: Instruction) -> None:
        self._folder = item.text
        self._place(item.stage, ".").mkdir(parents=True, exist_ok=True)

    def _env(self, item: Instruction) -> None:
        for word in item.words:
            name, _, value = word.partition("=")
            self.environment[name] = value

    def _copy(self, item: Instruction) -> None:
        *sources, target = item.words
        origin = self.context
        if name := item.flags.get("from"):
            origin = self.stage(self._names[name])
        place = self._place(item.stage, target)
        for source in sources:
            path = origin / source.lstrip("/")
            if path.is_dir():
                shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True)
                continue
            file = place / path.name if target.endswith("/") else place
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, file)
            if mode := item.flags.get("chmod"):
                file.chmod(int(mode, 8))

    def _run(self, item: Instruction) -> None:
        result = subprocess.run(
            ["sh", "-euc", self.moved(item.stage, item.text)],
            cwd=self._place(item.stage, "."),
            env=os.environ | {"PATH": f"{self.root}/bin:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise RuntimeError(f"RUN {item.text}\n{result.stdout}\n{result.stderr}")
        self.noted = (self.root / "noted").read_text().splitlines()

    def _place(self, stage: int, path: str) -> Path:
        return self.stage(stage) / os.path.join(self._folder, path).lstrip("/")

    def _make_noting_commands(self) -> None:
        (self.root / "bin").mkdir(parents=True)
        (self.root / "noted").touch()
        for name in self._NOTED:
            command = self.root / "bin" / name
            command.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self.root}/noted"\n')
            command.chmod(0o755)
