"""What interrupted trainings leave: the folder `.cns/resume`, one file a state.

A file is `cns-resume 1 <check>`, a line of canonical JSON (the facts), and the state's own bytes, which the facts name
by size and SHA-256. It is replaced as a whole, so that a crash leaves the state before or the state after. Nothing here
is an object or a ref, nothing refers to it, and deleting it costs work and no history. This module does not know what
a state holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time as clock
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import canonical, fsio
from registry.errors import BadValue, RegistryError
from registry.names import check_name, file_name, name_of_file

FOLDER = "resume"
SUFFIX = ".state"
MAGIC = b"cns-resume 1 "
ABANDONED_AFTER_S = 60.0
LONGEST_FACTS = 4_000_000  # the facts hold a line an image; a hostile file must not fill the memory
LONGEST_STATE = 2**31

_FIRST_LINE = re.compile(rb"cns-resume 1 ([0-9a-f]{64})\n")
_TEMPORARY = re.compile(re.escape(fsio.TEMPORARY) + r"(\d+)-[0-9a-f]+")


class StateCorrupt(RegistryError):
    """The state of an interrupted training cannot be used. No commit hangs on it."""

    def __init__(self, name: str, path: Path, reason: str) -> None:
        self.name = name
        self.path = path
        self.reason = reason
        super().__init__(
            f"the saved state of '{name}' is of no use: '{path}' {reason}; no commit hangs on it",
            f"cns add {name} IMAGES/",
        )


@dataclass(frozen=True)
class State:
    """One state on disk.

    Attributes:
        name: Of the concept.
        key: Tells states of one name apart.
        path: Its file.
        facts: What `save` was given.
        saved: Unix seconds of its last change.
        damage: What is wrong with it; empty for a state that reads well so far.
    """

    name: str
    key: str
    path: Path
    facts: Mapping[str, Any]
    saved: float
    damage: str = ""


class Pending:
    """The states below a `.cns` folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    def save(self, name: str, key: str, facts: Mapping[str, Any], data: bytes) -> None:
        """Make data the state of a name and a key, atomically and durably.

        Args:
            name: Of the concept.
            key: Hex digits.
            facts: JSON; what a reader wants to know without the data.
            data: The state.

        Raises:
            DiskFailed: the state before is intact.
        """
        described = {"facts": dict(facts), "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        line = canonical.encode(described)
        fsio.make_folder(self.folder)
        self._sweep()
        first = MAGIC + hashlib.sha256(line).hexdigest().encode()
        fsio.replace(self.path(name, key), b"\n".join((first, line, data)))

    def all(self) -> list[State]:
        """Return every state, the newest first. Their data are not looked at."""
        found = []
        for file in fsio.files_in(self.folder):
            stem, dot, key = file.removesuffix(SUFFIX).partition("@")
            name = name_of_file(stem)
            if file.endswith(SUFFIX) and dot and name is not None:
                found.append(self._described(name, key, self.folder / file))
        return sorted((state for state in found if state is not None), key=lambda state: -state.saved)

    def load(self, state: State) -> bytes:
        """Return a state's data, verified.

        Raises:
            StateCorrupt: they are not what was saved, or gone.
        """
        content = fsio.read(state.path, LONGEST_STATE)
        if content is None:
            raise StateCorrupt(state.name, state.path, "is gone")
        described, start, damage = _read_facts(content)
        if damage:
            raise StateCorrupt(state.name, state.path, damage)
        data = content[start:]
        if len(data) != described["size"] or hashlib.sha256(data).hexdigest() != described["sha256"]:
            raise StateCorrupt(state.name, state.path, "does not match its checksum")
        return data

    def remove(self, name: str) -> int:
        """Remove every state of a name, and return how many there were."""
        mine = [state for state in self.all() if state.name == name]
        return sum(fsio.remove(state.path) for state in mine)

    def path(self, name: str, key: str) -> Path:
        """Return the file of a state."""
        return self.folder / f"{file_name(check_name(name))}@{key}{SUFFIX}"

    def _described(self, name: str, key: str, path: Path) -> State | None:
        try:
            head = fsio.read_start(path, LONGEST_FACTS)
            saved = path.stat().st_mtime
        except FileNotFoundError:
            head = None
        except RegistryError as error:
            return State(name, key, path, {}, 0.0, f"is of no use: {error.message}")
        if head is None:  # another process has just committed it
            return None
        described, _, damage = _read_facts(head)
        return State(name, key, path, described.get("facts", {}), saved, damage)

    def _sweep(self) -> None:
        """Remove what killed writers left: half-written files whose process is gone."""
        with contextlib.suppress(OSError):
            for file in os.scandir(self.folder):
                match = _TEMPORARY.fullmatch(file.name)
                old = clock.time() - file.stat().st_mtime > ABANDONED_AFTER_S
                if match and (old or not fsio.is_alive(int(match[1]))):
                    Path(file.path).unlink(missing_ok=True)


def _read_facts(content: bytes) -> tuple[dict[str, Any], int, str]:
    """Return (what the second line says, where the data begin, what is wrong)."""
    first = _FIRST_LINE.match(content)
    if first is None:
        newer = re.match(rb"cns-resume (\d{1,9}) ", content)
        return {}, 0, "was written by a newer version" if newer and newer[1] != b"1" else "does not begin as a state"
    end = content.find(b"\n", first.end())
    line = content[first.end() : end]
    if end < 0 or hashlib.sha256(line).hexdigest().encode() != first[1]:
        return {}, 0, "does not match its checksum"
    try:
        described = canonical.decode(line)
    except BadValue as error:
        return {}, 0, f"does not hold facts: {error.message}"
    whole = isinstance(described, dict) and {"facts", "sha256", "size"} <= described.keys()
    if not whole or not isinstance(described["facts"], dict):
        return {}, 0, "does not hold facts"
    return described, end + 1, ""
