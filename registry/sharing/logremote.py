"""A remote that is files in a place: packs, their indexes, and a log with one file a move.

    packs/<name>.pack  packs/<name>.idx      log/00000001, log/00000002, …

An index is written after its pack and is what makes it count. A move is written by creating the file of the next
number, which only one writer can do: what the log said before that number is known to who created it, so that a move
that stands there counts. The place may belong to anybody: sizes are bounded, and nothing that is read is believed
before its form is right. This module does not know what kind of place it is.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from registry import canonical
from registry.errors import BadName, BadValue
from registry.names import is_id
from registry.objects import LATEST_TIME
from registry.refs import EVALUATIONS, split_name
from registry.sharing.pack import LARGEST_INDEX
from registry.sharing.remote import Move, Moved, Remote, RemoteReadOnly, RemoteUnavailable, fold

LOG = "log"
PACKS = "packs"
PROBES = "probes"
LARGEST_MOVE = 65_536
LISTINGS = 5  # of a log that others write to, until a gap in its numbers is one

_NUMBER = re.compile(r"[0-9]{8}")
_NONCE = re.compile(r"[0-9a-f]{32}")


def encode_move(move: Move) -> bytes:
    """Return the canonical bytes of a move."""
    return canonical.encode(dataclasses.asdict(move))


def decode_move(content: bytes) -> Move:
    """Return the move of some bytes, which may come from anybody; raises BadValue."""
    data: Any = canonical.decode(content)
    try:
        move = Move(**data)
        namespace, _ = split_name(move.ref)
    except (TypeError, BadName, AttributeError) as error:
        raise BadValue("a move of a log", content[:40], "the fields of one, and a ref's full name") from error
    whole = (
        namespace != EVALUATIONS
        and all(end is None or is_id(end) for end in (move.old, move.new))
        and isinstance(move.author, str)
        and isinstance(move.message, str)
        and isinstance(move.nonce, str)
        and _NONCE.fullmatch(move.nonce) is not None
        and type(move.time) is int
        and 0 <= move.time <= LATEST_TIME
    )
    if not whole:
        raise BadValue("a move of a log", content[:40], "ids, texts, a time and a nonce")
    return move


class LogRemote(Remote):
    """What every place has in common. Its `_` methods raise RemoteUnavailable, and that is all they raise."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self._read_so_far: list[Move] = []
        self._proven = False

    def moves(self) -> list[Move]:
        """See Remote. A move that was read once is not read again: its file is never written twice."""
        for _ in range(LISTINGS):
            numbers = [int(name) for name in self._names(LOG) if _NUMBER.fullmatch(name)]
            if numbers == list(range(1, len(numbers) + 1)):
                break  # else a listing can show a later file of two that were made meanwhile, and not the earlier
        else:
            raise RemoteUnavailable(self.shown, f"its log of {len(numbers)} moves has gaps; expected none")
        if len(numbers) < len(self._read_so_far):
            raise RemoteUnavailable(self.shown, "moves of its log are gone")
        names = [_entry_name(number) for number in numbers[len(self._read_so_far) :]]
        for name, content in zip(names, self._read_all(names, LARGEST_MOVE), strict=True):
            try:
                self._read_so_far.append(decode_move(content))
            except BadValue as error:
                raise RemoteUnavailable(self.shown, f"'{name}' in it is not a move: {error.message}") from error
        return list(self._read_so_far)

    def append(self, move: Move) -> bool:
        """See Remote."""
        self._prove()
        while True:
            moves = self.moves()
            refs, counted = fold(moves)
            if refs.get(move.ref) != move.old or move.nonce in counted:
                return move.nonce in counted  # ours, where an answer was lost and the client asked again
            self._create(_entry_name(len(moves) + 1), encode_move(move))

    def packs(self) -> list[str]:
        """See Remote."""
        stems = (name.removesuffix(".idx") for name in self._names(PACKS) if name.endswith(".idx"))
        return sorted(stem for stem in stems if is_id(stem))

    def index_of(self, pack: str) -> bytes:
        """See Remote."""
        (content,) = self._read_all([f"{PACKS}/{pack}.idx"], LARGEST_INDEX)
        return content

    def receive(self, pack: str) -> Iterator[bytes]:
        """See Remote."""
        return self._pieces(f"{PACKS}/{pack}.pack")

    def send(self, pack: str, index: bytes, source: Path, moved: Moved) -> None:
        """See Remote."""
        self._prove()
        if pack not in self.packs():
            self._upload(f"{PACKS}/{pack}.pack", source, moved)
            self._write(f"{PACKS}/{pack}.idx", index)

    def remove(self, pack: str) -> None:
        """See Remote."""
        self._prove()
        self._delete(f"{PACKS}/{pack}.idx")
        self._delete(f"{PACKS}/{pack}.pack")

    def _prove(self) -> None:
        """Find out, once, whether this place lets one of two create a file; where it does not, nothing is written."""
        if self._proven:
            return
        self._require_exclusive()
        name = f"{PROBES}/{secrets.token_hex(16)}"
        first, second = self._create(name, b"first"), self._create(name, b"second")
        (held,) = self._read_all([name], 16)
        self._delete(name)
        if (first, second, held) != (True, False, b"first"):
            raise RemoteReadOnly(
                self.shown, "it lets a second writer overwrite what a first one created; it is read-only"
            )
        self._proven = True

    @abstractmethod
    def _require_exclusive(self) -> None:
        """Raise RemoteReadOnly where this kind of place is known not to keep two writers apart, or not known to."""

    @abstractmethod
    def _names(self, folder: str) -> list[str]:
        """Return the sorted names in a folder as they are now; none where there is no folder."""

    @abstractmethod
    def _read_all(self, paths: Sequence[str], most: int) -> list[bytes]:
        """Return the contents of small files; one of more than `most` bytes, or that is not there, is an error."""

    @abstractmethod
    def _pieces(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of a file."""

    @abstractmethod
    def _create(self, path: str, data: bytes) -> bool:
        """Make a file, durably, where there is none; False where there is one."""

    @abstractmethod
    def _write(self, path: str, data: bytes) -> None:
        """Make data the content of a file, as a whole and durably."""

    @abstractmethod
    def _upload(self, path: str, source: Path, moved: Moved) -> None:
        """Make the content of a local file that of a file, as a whole and durably."""

    @abstractmethod
    def _delete(self, path: str) -> None:
        """Remove a file; no error where there is none."""


def _entry_name(number: int) -> str:
    return f"{LOG}/{number:08}"
