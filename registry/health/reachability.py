"""What keeps an object alive: the names that hold it, and what it needs in turn.

Roots are refs of every namespace, HEAD, the ends of every move in the reflogs, and ids in the files of what is in
progress (a bisect, an interrupted add). From there everything that an object needs is reachable too. The scores of a
model are kept while that model is: of a tree that something reaches, of the baseline of a concept that something
reaches, or of what prompts see that name such concepts. This module reads; it removes nothing, and it does not say what
damage means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from registry import fsio
from registry.errors import DiskFailed, RegistryError
from registry.objects import Concept
from registry.refs import COMMITS, Refs
from registry.store import ObjectStore
from registry.trees import birth, can_be_seen

# What a `.cns` holds that names no object which would otherwise be free: all else there is a state of something.
_OWN = {"format", "HEAD", "config.toml", "lock", "mlflow.lock", "objects", "refs", "logs", "mlartifacts", "cache"}
_DATABASE = re.compile(r"(index|mlflow)\.db.*")
_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_CHUNK = 2**20


def in_progress(folder: Path) -> dict[Path, list[str]]:
    """Return {file: ids in it} of every file of a `.cns` that belongs to none of its known parts.

    Such a file says how far something is that goes on later, and the objects that it names are still wanted. Whatever
    its format is, an id in it is 64 hex digits.
    """
    found = {}
    for name in fsio.files_in(folder):
        if name not in _OWN and not _DATABASE.fullmatch(name):
            for path in _files(folder / name):
                if ids := _ids_in(path):
                    found[path] = ids
    return found


def tips(refs: Refs) -> dict[str, str]:
    """Return {name: id} of HEAD and of every ref that holds a commit; raises RefCorrupt."""
    found = refs.all(*COMMITS)
    branch, commit = refs.head()
    if branch is None and commit is not None:
        found["HEAD"] = commit
    return found


class Marks:
    """The objects that are reachable, as far as they were looked for.

    Attributes:
        seen: Ids of everything reached. A blob is taken on the word of what needs it and is not opened.
        tolerant: Go on where an object is missing or damaged.
    """

    def __init__(self, store: ObjectStore, seen: Iterable[str] = (), *, tolerant: bool = False) -> None:
        self.store = store
        self.seen: set[str] = set(seen)
        self.tolerant = tolerant
        self._waiting: list[str] = []
        self._concepts: list[str] = []

    def extend(self, starts: Iterable[str]) -> None:
        """Mark starts and all that they need.

        Raises:
            ObjectMissing, ObjectCorrupt, UnknownFormat, DiskFailed: of an object that may name others.
        """
        self._waiting += starts
        while self._waiting:
            current = self._waiting[-1]
            needed: list[str] = []
            if current not in self.seen:
                try:
                    needed = self._needed(current)
                except RegistryError:
                    if not self.tolerant:
                        raise  # it still waits, so that a second call does not take what is behind it for unneeded
            self._waiting.pop()
            self.seen.add(current)
            self._waiting += needed

    def baselines(self) -> set[str]:
        """Return the ids of the trees that the marked concepts are compared with: trained_on and the concept itself."""
        return {birth(self.store, concept).id for concept in self._concepts}

    def can_be_seen(self, tree_id: str) -> bool:
        """Whether a tree is what prompts may see that name some marked concepts, or none; no commit need have it."""
        return can_be_seen(self.store, tree_id, self.seen.__contains__)

    def _needed(self, current: str) -> list[str]:
        if self.store.kind_of(current) == "blob":
            return []
        obj = self.store.load(current)
        if isinstance(obj, Concept):
            self._concepts.append(current)
        needed = obj.needs()
        self.seen |= {need.object_id for need in needed if need.kinds == ("blob",)}
        return [need.object_id for need in needed if need.object_id not in self.seen]


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink():
        return
    if path.is_dir():
        for name in fsio.files_in(path):
            yield from _files(path / name)
    elif path.is_file():
        yield path


def _ids_in(path: Path) -> list[str]:
    """Return the ids in a file of any size, each once."""
    found: dict[str, None] = {}
    try:
        with path.open("rb") as file:
            rest = b""
            while chunk := file.read(_CHUNK):
                window = rest + chunk
                found |= dict.fromkeys(match.group().decode() for match in _ID.finditer(window))
                rest = window[-66:]
    except OSError as error:
        raise DiskFailed("read", path, error) from error
    return list(found)
