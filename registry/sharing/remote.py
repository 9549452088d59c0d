"""What a remote can do, whatever it stands on: keep packs, and keep a log of ref moves.

Nothing on a remote is ever changed: packs are added, moves are logged. A move counts only if its `old` is what the
moves before it made of the ref, so that of two that race one counts, and the other is told. Evaluations have no entry
in the log: they come with their packs and join by union. A remote does not know what is in a pack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.addresses import shown as without_secrets
from registry.errors import RegistryError

Moved = Callable[[int], None]
"""Is told how many more bytes have moved."""


class Meter:
    """Is told of a transfer how far it is. By itself it keeps silent."""

    def begin(self, what: str, size_bytes: int) -> None:
        """A transfer of so many bytes begins."""

    def moved(self, size_bytes: int) -> None:
        """So many more bytes have moved."""


class RemoteError(RegistryError):
    """Something about a remote; `address` holds no credentials."""

    def __init__(self, address: str, reason: str, hint: str = "cns remote list") -> None:
        self.address = without_secrets(address)
        self.reason = without_secrets(reason)
        super().__init__(f"the remote {self.address}: {self.reason}", without_secrets(hint))


class RemoteUnavailable(RemoteError):
    """It cannot be reached or used, or holds something else than a lineage."""


class RemoteReadOnly(RemoteError):
    """It cannot keep two writers apart, so that nothing is written there."""


@dataclass(frozen=True)
class Move:
    """One move of a ref; `old` and `new` are commit ids, None for a ref that is not there.

    Attributes:
        ref: Full name: refs/heads/…, refs/tags/… or refs/aliases/….
        nonce: 32 random hex digits, by which its writer finds it again.
    """

    ref: str
    old: str | None
    new: str | None
    author: str
    time: int
    message: str
    nonce: str


def fold(moves: Iterable[Move]) -> tuple[dict[str, str], set[str]]:
    """Return {ref: commit id} and the nonces of the moves that count, of a log, oldest first."""
    refs: dict[str, str] = {}
    counted: set[str] = set()
    for move in moves:
        if refs.get(move.ref) == move.old:
            counted.add(move.nonce)
            if move.new is None:
                refs.pop(move.ref, None)
            else:
                refs[move.ref] = move.new
    return refs, counted


class Remote(ABC):
    """One shared lineage. Its methods raise RemoteUnavailable, with an address that holds no credentials.

    Attributes:
        shown: The address for messages and records, without user information and without a query.
    """

    shown: str

    @abstractmethod
    def moves(self) -> list[Move]:
        """Return the log, oldest first, as it is now (nothing cached by the process)."""

    @abstractmethod
    def append(self, move: Move) -> bool:
        """Log a move, durably; False where another one came first, so that it does not count.

        Raises:
            RemoteReadOnly: this remote cannot keep two writers apart.
        """

    @abstractmethod
    def packs(self) -> list[str]:
        """Return the names of the packs that are there whole, sorted."""

    @abstractmethod
    def index_of(self, pack: str) -> bytes:
        """Return the index of a pack: a small file beside it."""

    @abstractmethod
    def receive(self, pack: str) -> Iterator[bytes]:
        """Yield the bytes of a pack, in pieces."""

    @abstractmethod
    def send(self, pack: str, index: bytes, source: Path, moved: Moved) -> None:
        """Add a pack from a file; one of that name that is there whole is left alone. The index goes last."""

    @abstractmethod
    def remove(self, pack: str) -> None:
        """Delete a pack and its index: for `purge` alone."""
