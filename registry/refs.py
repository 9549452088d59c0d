"""Refs and HEAD: names that move over commits that do not.

A ref is a file of one line, `<commit id> <check>`; HEAD holds `ref: <ref name> <check>` or `commit: <commit id>
<check>`. The check hashes the line together with the ref's own name, so that a flipped bit, or a file that was copied
over another, is an error. Refs move by compare-and-swap, under the lock of the repository, which the caller holds.
This module knows neither objects nor the reflog.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from registry import fsio
from registry.errors import BadName, BadValue, NotPlain, RefCorrupt, RefMoved
from registry.names import EXPECTED, file_name, is_id, is_ref_name, name_of_file

HEADS = "refs/heads/"
TAGS = "refs/tags/"
LOST = "refs/lost/"
REMOTES = "refs/remotes/"
ALIASES = "refs/aliases/"
EVALUATIONS = "refs/evaluations/"
COMMITS = (HEADS, TAGS, LOST, REMOTES, ALIASES)  # whose refs hold commits
NAMESPACES = (*COMMITS, EVALUATIONS)

LONGEST_LINE = 4096  # bytes of a file that is to hold one line; read, it does not match its checksum
_LINE = re.compile(rb"(.{1,300}) ([0-9a-f]{16})\n")


@dataclass(frozen=True)
class Head:
    """Where HEAD is: on a branch (its short name) or, detached, on a commit alone.

    Attributes:
        branch: Such as "main"; None when detached.
        commit: The id of the commit that HEAD means.
    """

    branch: str | None
    commit: str


def check_line(name: str, text: str) -> bytes:
    """Return the checked line of text that belongs to the file called name."""
    return f"{text} {_check(name, text)}\n".encode()


def read_checked_line(name: str, line: bytes) -> str | None:
    """Return the text of a checked line, or None where the line does not match its check."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    try:
        text = match.group(1).decode("ascii")
    except UnicodeDecodeError:
        return None
    return text if _check(name, text).encode() == match.group(2) else None


def split_name(name: str) -> tuple[str, str]:
    """Return (namespace, rest) of a full ref name, or raise BadName."""
    for namespace in NAMESPACES:
        if name.startswith(namespace) and is_ref_name(name[len(namespace) :]):
            return namespace, name[len(namespace) :]
    raise BadName("ref name", name, f"one of {', '.join(NAMESPACES)} and a name: {EXPECTED}")


def names_in(folder: Path, namespaces: Iterable[str]) -> list[str]:
    """Return the full names of the refs that have a file below a folder, sorted in each namespace."""
    found: list[str] = []
    for space in namespaces:
        files = map(name_of_file, fsio.files_in(folder / space))
        found += sorted(space + name for name in files if name is not None and is_ref_name(name))
    return found


class Refs:
    """The refs below a `.cns` folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the file of a full ref name, such as "refs/heads/main"."""
        namespace, rest = split_name(name)
        return self.folder / namespace / file_name(rest)

    def get(self, name: str) -> str | None:
        """Return the id that a ref holds, or None where there is no such ref.

        Raises:
            RefCorrupt: its line does not match its checksum.
        """
        path = self.path(name)
        content = _line(name, path)
        if content is None:
            return None
        value = read_checked_line(name, content)
        if value is None or not is_id(value):
            raise RefCorrupt(name, path)
        return value

    def names(self, *namespaces: str) -> list[str]:
        """Return the full names of the refs in some namespaces, sorted in each."""
        return names_in(self.folder, namespaces)

    def all(self, *namespaces: str) -> dict[str, str]:
        """Return {full name: id} of some namespaces; raises RefCorrupt as `get` does."""
        values = ((name, self.get(name)) for name in self.names(*namespaces))
        return {name: value for name, value in values if value is not None}

    def compare_and_swap(self, name: str, old: str | None, new: str | None) -> None:
        """Move a ref from old to new, durably; None stands for a ref that does not exist. The caller holds the lock.

        Raises:
            RefMoved: the ref is not at old; nothing was written.
        """
        found = self.get(name)
        if found != old:
            raise RefMoved(name, old, found)
        if new == old:
            return
        if new is None:
            fsio.remove(self.path(name))
        else:
            self.overwrite(name, new)

    def overwrite(self, name: str, new: str) -> None:
        """Set a ref whatever it holds, also one that is corrupt: for `restore`. The caller holds the lock.

        Raises:
            BadValue: new is no id; it may come from elsewhere.
        """
        if not is_id(new):
            raise BadValue(name, new, "an id: 64 hex digits")
        path = self.path(name)
        fsio.make_folder(path.parent)
        fsio.replace(path, check_line(name, new))

    def head(self) -> tuple[str | None, str | None]:
        """Return (full ref name, None) where HEAD is on a branch, (None, commit id) where it is detached.

        Raises:
            RefCorrupt: HEAD is missing, or does not match its checksum.
        """
        path = self.folder / "HEAD"
        text = read_checked_line("HEAD", _line("HEAD", path) or b"")
        kind, _, value = (text or "").partition(" ")
        if kind == "ref:" and value.startswith(HEADS) and is_ref_name(value[len(HEADS) :]):
            return value, None
        if kind == "commit:" and is_id(value):
            return None, value
        raise RefCorrupt("HEAD", path)

    def set_head(self, *, ref: str | None = None, commit: str | None = None) -> None:
        """Put HEAD on a branch (its full ref name) or on a commit, durably. The caller holds the lock.

        Raises:
            BadValue: what HEAD is to hold is neither; it may come from elsewhere.
        """
        if not (is_id(commit) if ref is None else ref.startswith(HEADS) and is_ref_name(ref[len(HEADS) :])):
            raise BadValue("HEAD", commit if ref is None else ref, "a branch, or an id: 64 hex digits")
        text = f"ref: {ref}" if ref is not None else f"commit: {commit}"
        fsio.replace(self.folder / "HEAD", check_line("HEAD", text))


def _line(name: str, path: Path) -> bytes | None:
    try:
        return fsio.read(path, LONGEST_LINE)
    except NotPlain as error:
        raise RefCorrupt(name, path, f"is {error.what}") from error


def _check(name: str, text: str) -> str:
    return hashlib.sha256(f"{name}\n{text}".encode()).hexdigest()[:16]
