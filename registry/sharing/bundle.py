r"""A bundle: a lineage in one file, for a disk or an attachment. To read from, it is a remote like any other.

    cns-bundle 1 <size of the head>\n<the head, canonical JSON><index of a pack><the pack> …

The head names the refs and the sizes of what follows. The same history makes the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import canonical, fsio
from registry.errors import BadName, BadValue, UnknownFormat
from registry.names import is_id
from registry.objects import Commit
from registry.refs import HEADS, TAGS, split_name
from registry.repository import Repository
from registry.sharing.incoming import checked
from registry.sharing.inventory import to_send
from registry.sharing.pack import LARGEST_INDEX, pack_of, parse_index, split, unpacked
from registry.sharing.remote import Meter, Move, Moved, Remote, RemoteReadOnly, RemoteUnavailable, fold

VERSION = 1
PIECE_BYTES = 2**20

_FIRST_LINE = re.compile(rb"cns-bundle ([1-9][0-9]{0,8}) ([1-9][0-9]{0,6})\n")
_LONGEST_LINE = 32


@dataclass(frozen=True)
class Part:
    """A pack in a bundle: its name, where its index begins, and the sizes of both."""

    pack: str
    start: int
    index_bytes: int
    pack_bytes: int


@dataclass(frozen=True)
class Contents:
    """What is in a bundle; refs are {full name: commit id}."""

    refs: Mapping[str, str]
    objects: int
    size_bytes: int


def create(repo: Repository, file: Path, refs: Mapping[str, str], meter: Meter | None = None) -> Contents:
    """Write a bundle of branches and tags with all their history and the scores of their models.

    Args:
        repo: The registry.
        file: Replaced as a whole, durably.
        refs: {full name: commit id}.
        meter: Is told of bytes.

    Raises:
        ObjectMissing, ObjectCorrupt: the registry is damaged. DiskFailed.
    """
    meter = meter or Meter()
    packs = list(split(to_send(repo, refs.values(), ()), 1))
    parts = [[index.name, len(index.encoded), index.pack_bytes] for index in packs]
    head = canonical.encode({"packs": parts, "refs": dict(refs)})
    size = sum(len(index.encoded) + index.pack_bytes for index in packs)
    meter.begin("bundle", size)

    def pieces() -> Iterator[bytes]:
        yield b"cns-bundle %d %d\n" % (VERSION, len(head)) + head
        for index in packs:
            yield index.encoded
            for piece in pack_of(index, repo.objects.sealed):
                yield piece
                meter.moved(len(piece))

    fsio.stream(file, pieces())
    return Contents(refs, sum(len(index.entries) for index in packs), size)


def verify(remote: Remote) -> Contents:
    """Read all that a bundle, or any remote, holds: every object is what its id says, and all that it needs is there.

    Raises:
        PackCorrupt, RemoteUnavailable, UnknownFormat: what is not.
    """
    refs, _ = fold(remote.moves())
    indexes = [parse_index(pack, remote.index_of(pack)) for pack in remote.packs()]
    kinds: dict[str, str] = {}
    for index in sorted(indexes, key=lambda one: (one.round, one.name)):
        for entry, content in unpacked(index, remote.receive(index.name)):
            checked(index, entry, content, kinds.get)
            kinds[entry.object_id] = entry.kind
    for ref, commit in refs.items():
        if kinds.get(commit) != Commit.object_kind:
            raise RemoteUnavailable(remote.shown, f"it lacks commit {commit[:10]}, which {ref} names")
    return Contents(refs, len(kinds), sum(len(index.encoded) + index.pack_bytes for index in indexes))


class BundleRemote(Remote):
    """The remote that a bundle is; nothing can be sent there.

    Attributes:
        refs: {full name: commit id}.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.shown = str(file)
        try:
            self.refs, self._parts = self._head()
        except OSError as error:
            raise RemoteUnavailable(self.shown, f"{error.strerror}; expected a bundle") from error

    def moves(self) -> list[Move]:
        """See Remote: each ref is set once."""
        return [Move(ref, None, commit, "", 0, "bundle", commit[:32]) for ref, commit in self.refs.items()]

    def append(self, move: Move) -> bool:  # noqa: ARG002
        """See Remote."""
        raise RemoteReadOnly(self.shown, "a bundle is read-only", "cns bundle create FILE")

    def packs(self) -> list[str]:
        """See Remote."""
        return sorted(self._parts)

    def index_of(self, pack: str) -> bytes:
        """See Remote."""
        part = self._parts[pack]
        return b"".join(self._slice(part.start, part.index_bytes))

    def receive(self, pack: str) -> Iterator[bytes]:
        """See Remote."""
        part = self._parts[pack]
        return self._slice(part.start + part.index_bytes, part.pack_bytes)

    def send(self, pack: str, index: bytes, source: Path, moved: Moved) -> None:  # noqa: ARG002
        """See Remote."""
        raise RemoteReadOnly(self.shown, "a bundle is read-only", "cns bundle create FILE")

    def remove(self, pack: str) -> None:  # noqa: ARG002
        """See Remote."""
        raise RemoteReadOnly(self.shown, "a bundle is read-only", "cns bundle create FILE")

    def _head(self) -> tuple[dict[str, str], dict[str, Part]]:
        with self.file.open("rb") as read:
            match = _FIRST_LINE.match(read.read(_LONGEST_LINE))
            if match is None:
                raise RemoteUnavailable(self.shown, "it does not begin as a bundle", "cns bundle create FILE")
            if int(match[1]) > VERSION:
                raise UnknownFormat(f"the bundle '{self.file}'", int(match[1]), VERSION)
            read.seek(match.end())
            content = read.read(min(int(match[2]), canonical.MAX_BYTES + 1))
            end = read.seek(0, 2)
        try:
            refs, parts = parse_head(content, match.end() + len(content))
        except BadValue as error:
            raise RemoteUnavailable(self.shown, f"its head cannot be read: {error.message}") from error
        wanted = max((one.start + one.index_bytes + one.pack_bytes for one in parts.values()), default=end)
        if wanted != end:
            raise RemoteUnavailable(self.shown, f"it has {end:,} bytes; expected {wanted:,}")
        return refs, parts

    def _slice(self, start: int, size: int) -> Iterator[bytes]:
        try:
            with self.file.open("rb") as read:
                read.seek(start)
                while size and (piece := read.read(min(size, PIECE_BYTES))):
                    yield piece
                    size -= len(piece)
        except OSError as error:
            raise RemoteUnavailable(self.shown, error.strerror or str(error)) from error


def parse_head(content: bytes, start: int) -> tuple[dict[str, str], dict[str, Part]]:
    """Return (refs, parts by pack) of a bundle's head, whose parts begin at an offset; raises BadValue."""
    data: Any = canonical.decode(content)
    if not isinstance(data, dict) or set(data) != {"packs", "refs"} or not isinstance(data["refs"], dict):
        raise BadValue("the head of a bundle", content[:40], "refs and packs")
    for ref, commit in data["refs"].items():
        try:
            space, _ = split_name(ref)
        except BadName as error:
            raise BadValue("a ref of a bundle", ref, "the full name of a branch or a tag") from error
        if space not in (HEADS, TAGS) or not is_id(commit):
            raise BadValue("a ref of a bundle", ref, "a branch or a tag at a commit id")
    parts: dict[str, Part] = {}
    listed: list[Any] = data["packs"] if isinstance(data["packs"], list) else [None]
    for one in listed:
        whole = isinstance(one, list) and len(one) == 3 and is_id(one[0]) and one[0] not in parts
        if not whole or not all(type(size) is int and 0 < size < 2**50 for size in one[1:]) or one[1] > LARGEST_INDEX:
            raise BadValue("a pack of a bundle", one, "a new name and the sizes of its index and itself")
        parts[one[0]] = Part(one[0], start, one[1], one[2])
        start += one[1] + one[2]
    return data["refs"], parts
