"""The reflog: where each ref was, one checked JSON line a move, so that no move is forgotten.

A move is logged and fsynced before the ref moves. A crash between the two leaves an entry of a move that never came;
the next entry, or the ref itself, gives it away, and reading drops it. `HEAD@{n}` is the value n moves ago.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry import canonical, fsio
from registry.errors import BadValue
from registry.names import file_name, is_id
from registry.objects import LATEST_TIME
from registry.refs import NAMESPACES, names_in, split_name

LONGEST_LINE = 65_536  # bytes; a message is cut at 120 characters, an author has no limit but this

_CHECKOUT = re.compile(r"(?:(?:un|re)do: )?checkout: moving from (\S+) to ")


@dataclass(frozen=True)
class ReflogEntry:
    """One move of a ref.

    Attributes:
        old: The id before; None for a ref that was new.
        new: The id after; None for a ref that was deleted.
        author: Who moved it. time: Unix seconds, UTC. message: Why, such as "checkout: moving from main to dev".
    """

    old: str | None
    new: str | None
    author: str
    time: int
    message: str

    @property
    def came_from(self) -> str | None:
        """The branch, or the id of the commit, that HEAD was on before a checkout; None for any other move."""
        found = _CHECKOUT.match(self.message)
        return None if found is None else found.group(1)


class Reflog:
    """The logs below a `.cns` folder. Writers hold the lock of the repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, ref: str) -> Path:
        """Return the log file of "HEAD" or of a full ref name."""
        if ref == "HEAD":
            return self.folder / "HEAD"
        namespace, rest = split_name(ref)
        return self.folder / namespace / file_name(rest)

    def append(self, ref: str, entry: ReflogEntry) -> None:
        """Add an entry, durably."""
        path = self.path(ref)
        fsio.make_folder(path.parent)
        text = canonical.encode(asdict(entry))
        if len(text) > LONGEST_LINE - 100:
            raise BadValue("the author of a commit", entry.author, "a shorter name")
        fsio.append(path, _check(ref, text) + b" " + text + b"\n")

    def read(self, ref: str, current: str | None) -> list[ReflogEntry]:
        """Return the moves of a ref, newest first. Damaged lines are left out: see `damaged`.

        Args:
            ref: "HEAD" or a full ref name.
            current: What the ref holds now: an entry that says otherwise, at the end, is of a move that never came.
        """
        kept: list[ReflogEntry] = []
        for entry in reversed(self.entries(ref)):
            follows = kept[-1].old if kept else current
            if entry.new != follows and entry.old == follows:
                continue
            kept.append(entry)
        return kept

    def damaged(self, ref: str) -> list[int]:
        """Return the line numbers, from 1, that do not match their checksum."""
        return [number for number, entry in enumerate(self._parsed(ref), 1) if entry is None]

    def entries(self, ref: str) -> list[ReflogEntry]:
        """Return every intact line, oldest first, also of moves that never came."""
        return [entry for entry in self._parsed(ref) if entry is not None]

    def torn(self, ref: str) -> bool:
        """True where the last line is without its end or begins with zeros, as an interrupted write leaves it."""
        content = fsio.read(self.path(ref)) or b""
        tail = content.rpartition(b"\n")[2]
        if tail:
            return _parse(ref, tail[:-1]) is None  # a whole line whose newline changed was not torn
        return content[:-1].rpartition(b"\n")[2].startswith(b"\0")

    def names(self) -> list[str]:
        """Return "HEAD" and the full names of the refs that have a log, also of refs that are gone."""
        return ["HEAD"] * self.path("HEAD").is_file() + names_in(self.folder, NAMESPACES)

    def rewrite(self, ref: str, entries: list[ReflogEntry]) -> None:
        """Replace a log by these entries, oldest first, as a whole and durably."""
        path = self.path(ref)
        fsio.make_folder(path.parent)
        texts = [canonical.encode(asdict(entry)) for entry in entries]
        fsio.replace(path, b"".join(_check(ref, text) + b" " + text + b"\n" for text in texts))

    def _parsed(self, ref: str) -> list[ReflogEntry | None]:
        lines = (fsio.read(self.path(ref)) or b"").splitlines(keepends=True)
        return [_parse(ref, line[:-1]) if line.endswith(b"\n") else None for line in lines]


def _parse(ref: str, line: bytes) -> ReflogEntry | None:
    check, _, text = line.partition(b" ")
    if len(line) > LONGEST_LINE or check != _check(ref, text):
        return None
    try:
        data: dict[str, Any] = canonical.decode(text)
        entry = ReflogEntry(**data)
    except (BadValue, TypeError):
        return None
    whole = (
        all(end is None or is_id(end) for end in (entry.old, entry.new))
        and isinstance(entry.author, str)
        and isinstance(entry.message, str)
        and isinstance(entry.time, int)
        and 0 <= entry.time <= LATEST_TIME
    )
    return entry if whole else None


def _check(ref: str, text: bytes) -> bytes:
    return hashlib.sha256(ref.encode() + b"\n" + text).hexdigest()[:16].encode()
