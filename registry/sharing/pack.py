r"""A pack: many objects in one file, and its index, which says what is in it.

    cns-index 1 <round> <number of objects>\n      cns-pack 1 <number of objects>\n
    <id> <kind> <size>\n …                          <id> <size>\n<the object's sealed envelope> …

A pack is named by the SHA-256 of its index, so that an index is verified by its name alone, and the same objects make
the same name. What an object is, its id says: every one is hashed on arrival. `round` is one more than that of any
pack which the writer saw: packs that are read by round, and in a pack in the order of its index, bring everything
before what needs it. Nothing is compressed anew, and no more than one object is in memory at a time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from registry import envelope
from registry.errors import BadValue, NameTaken, ObjectCorrupt, RegistryError, UnknownFormat
from registry.objects import KINDS, AnyObject, decode, object_id

VERSION = 1
PACK_BYTES = 32 * 2**20  # chosen: what a broken transfer sends again at most, but for one object that is larger
MOST_OBJECTS = 50_000  # of a pack; its index then has 4.3 MB
LARGEST_INDEX = 8 * 2**20
LAST_ROUND = 10**9

_HEAD = re.compile(rb"cns-(index|pack) ([1-9][0-9]{0,8}) ([0-9 ]{1,24})")
_INDEX_NUMBERS = re.compile(rb"([1-9][0-9]{0,9}) ([1-9][0-9]{0,5})")
_ENTRY = re.compile(r"([0-9a-f]{64}) ([a-z]{1,16}) ([1-9][0-9]{0,9})")


class PackCorrupt(RegistryError):
    """A pack or its index is not what it says it is; nothing of it was believed.

    Attributes:
        pack: Its name.
        object_id: The object that is not what its id names; None where the pack itself is at fault.
    """

    def __init__(self, pack: str, reason: str, object_id: str | None = None) -> None:
        self.pack = pack
        self.reason = reason
        self.object_id = object_id
        super().__init__(f"pack {pack[:10]} is refused: {reason}", "cns remote list")


class Entry(NamedTuple):
    """One object of a pack: what it is, and the size of its envelope in bytes."""

    object_id: str
    kind: str
    size: int


@dataclass(frozen=True)
class Index:
    """What is in a pack, in the order in which it lies there."""

    round: int
    entries: tuple[Entry, ...]

    @cached_property
    def encoded(self) -> bytes:
        """The bytes of its file."""
        head = f"cns-index {VERSION} {self.round} {len(self.entries)}\n"
        return (head + "".join(f"{one.object_id} {one.kind} {one.size}\n" for one in self.entries)).encode("ascii")

    @cached_property
    def name(self) -> str:
        """The name of the pack."""
        return hashlib.sha256(self.encoded).hexdigest()

    @property
    def pack_bytes(self) -> int:
        """The size of the pack."""
        return len(_pack_head(self)) + sum(len(_entry_head(one)) + one.size for one in self.entries)


def parse_index(pack: str, content: bytes) -> Index:
    """Return the index of a pack from its bytes, which may come from anybody.

    Raises:
        PackCorrupt: they are not those that the pack's name stands for, or no index.
        UnknownFormat: a newer version wrote it.
    """
    if len(content) > LARGEST_INDEX:
        raise PackCorrupt(pack, f"its index has {len(content):,} bytes; expected at most {LARGEST_INDEX:,}")
    if hashlib.sha256(content).hexdigest() != pack:
        raise PackCorrupt(pack, "its index has another hash than its name")
    line, _, rest = content.partition(b"\n")
    numbers = _INDEX_NUMBERS.fullmatch(_numbers(pack, "index", line))
    if numbers is None:
        raise PackCorrupt(pack, "its index does not begin as one")
    entries = tuple(_entry(pack, text) for text in rest.decode("ascii", "replace").splitlines())
    index = Index(int(numbers[1]), entries)
    if index.encoded != content or len({one.object_id for one in entries}) != len(entries):
        raise PackCorrupt(pack, "its index is not in the form that is written")
    if len(entries) > MOST_OBJECTS or index.round > LAST_ROUND:
        raise PackCorrupt(pack, f"its index has {len(entries):,} objects, round {index.round:,}: more than can be")
    return index


def split(entries: Iterable[Entry], first_round: int) -> Iterator[Index]:
    """Yield the indexes of packs of about `PACK_BYTES` each that hold all entries, in their order."""
    waiting: list[Entry] = []
    size = 0
    for entry in entries:
        if waiting and (size + entry.size > PACK_BYTES or len(waiting) == MOST_OBJECTS):
            yield Index(first_round, tuple(waiting))
            first_round += 1
            waiting, size = [], 0
        waiting.append(entry)
        size += entry.size
    if waiting:
        yield Index(first_round, tuple(waiting))


def pack_of(index: Index, sealed: Callable[[str], bytes]) -> Iterator[bytes]:
    """Yield the bytes of a pack, an object at a time.

    Args:
        index: What is in it.
        sealed: Returns the envelope of an object, as it lies in the store.

    Raises:
        ObjectCorrupt: an envelope is not of the size that the index says, or not whole.
    """
    yield _pack_head(index)
    for entry in index.entries:
        content = sealed(entry.object_id)
        if len(content) != entry.size:
            raise ObjectCorrupt(entry.object_id, f"its file has {len(content)} bytes and had {entry.size}")
        opened(entry, content)
        yield _entry_head(entry) + content


def unpacked(index: Index, pieces: Iterable[bytes]) -> Iterator[tuple[Entry, bytes]]:
    """Yield (entry, envelope) of each object in the bytes of a pack; the envelopes are not looked at.

    Raises:
        PackCorrupt: the bytes are not those of this pack: others, fewer, or more.
    """
    stream = _Stream(index.name, pieces)
    stream.expect(_pack_head(index))
    for entry in index.entries:
        stream.expect(_entry_head(entry))
        yield entry, stream.read(entry.size)
    stream.end()


def opened(entry: Entry, content: bytes, pack: str = "") -> AnyObject:
    """Return the object in an envelope.

    Args:
        entry: What it was announced as.
        content: The envelope.
        pack: Where it came from; empty for the own store.

    Raises:
        ObjectCorrupt: it is not the object that was announced; or, of a pack, PackCorrupt, which names it.
        UnknownFormat: a newer version wrote it.
    """
    try:
        kind, payload = envelope.unseal(entry.object_id, content)
        if kind != entry.kind:
            raise ObjectCorrupt(entry.object_id, f"it is a {kind} and was announced as a {entry.kind}")
        if object_id(kind, payload) != entry.object_id:
            raise ObjectCorrupt(entry.object_id, "its content has another hash")
        return decode(kind, payload)
    except (ObjectCorrupt, BadValue, NameTaken) as error:
        reason = error.reason if isinstance(error, ObjectCorrupt) else error.message
        if not pack:
            raise ObjectCorrupt(entry.object_id, reason) from error
        raise PackCorrupt(pack, f"{entry.kind} {entry.object_id[:10]} in it: {reason}", entry.object_id) from error


class _Stream:
    """Exactly so many bytes at a time, of pieces of any size."""

    def __init__(self, pack: str, pieces: Iterable[bytes]) -> None:
        self.pack = pack
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")  # no copy of what is left of a piece, for each object in it

    def read(self, size: int) -> bytes:
        parts = []
        while len(self._rest) < size:
            size -= len(self._rest)
            parts.append(self._rest)
            piece = next(self._pieces, None)
            if piece is None:
                raise PackCorrupt(self.pack, "it ends too early")
            self._rest = memoryview(piece)
        parts.append(self._rest[:size])
        self._rest = self._rest[size:]
        return b"".join(parts)

    def expect(self, wanted: bytes) -> None:
        if self.read(len(wanted)) != wanted:
            raise PackCorrupt(self.pack, f"it holds something else than {wanted[:24].decode('ascii')}…")

    def end(self) -> None:
        if self._rest or any(self._pieces):
            raise PackCorrupt(self.pack, "it holds more than its index says")


def _pack_head(index: Index) -> bytes:
    return f"cns-pack {VERSION} {len(index.entries)}\n".encode("ascii")


def _entry_head(entry: Entry) -> bytes:
    return f"{entry.object_id} {entry.size}\n".encode("ascii")


def _numbers(pack: str, what: str, line: bytes) -> bytes:
    match = _HEAD.fullmatch(line)
    if match is None or match[1] != what.encode():
        raise PackCorrupt(pack, f"its {what} does not begin as one")
    if int(match[2]) > VERSION:
        raise UnknownFormat(f"pack {pack[:10]}", int(match[2]), VERSION)
    return match[3]


def _entry(pack: str, text: str) -> Entry:
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise PackCorrupt(pack, "a line of its index is not one of an object")
    if match[2] not in KINDS:
        raise UnknownFormat(f"an object of kind '{match[2]}'", match[2], ", ".join(KINDS))
    size = int(match[3])
    if size > envelope.MAX_FILE_BYTES:
        raise PackCorrupt(pack, f"object {match[1][:10]} in it has {size:,} bytes, more than one can have", match[1])
    return Entry(match[1], match[2], size)
