"""Object stores: put an object, get its id; give an id, get the object, verified.

Every read hashes what it read and compares it with the id, so that a damaged file is an error and never a model. The
disk store keeps one file an object, `objects/ab/cdef…`, written once and durable before `put` returns. The tests have a
store that keeps the same bytes in a dict; both pass one suite of contract tests. Stores know objects, not refs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar, cast

from registry import envelope, fsio
from registry.errors import BadValue, NameTaken, NotPlain, ObjectCorrupt, ObjectMissing, RegistryError, WrongKind
from registry.names import is_id
from registry.objects import AnyObject, Blob, JsonObject, decode, object_id

T = TypeVar("T", Blob, JsonObject)
Found = TypeVar("Found", bound=AnyObject)


class ObjectStore(ABC):
    """A set of immutable objects by id. Putting one twice is the same as once."""

    def put(self, obj: AnyObject) -> str:
        """Store an object, durably, and return its id. One that is there already counts as put now."""
        return self.write(obj.object_kind, obj.payload())

    def get(self, object_id: str, kind: type[Found]) -> Found:
        """Return an object of a kind, such as `get(id, Tree)`.

        Raises:
            ObjectMissing: the store does not have it.
            WrongKind: it is of another kind.
            ObjectCorrupt: its bytes are not those that the id names.
            UnknownFormat: a newer version wrote it.
        """
        found, payload = self.read(object_id, kind.object_kind)
        if found != kind.object_kind:
            raise WrongKind(object_id, found, kind.object_kind)
        return cast(Found, _decoded(object_id, found, payload))

    def holds(self, object_id: str, kind: type[Found]) -> bool:
        """True where an object of a kind is there and whole."""
        try:
            self.get(object_id, kind)
        except RegistryError:
            return False
        return True

    def require(self, object_id: str, expected: str) -> None:
        """Raise ObjectMissing where an object is not there; `expected` says what it is wanted as."""
        if not self.has(object_id):
            raise ObjectMissing(object_id, expected)

    def load(self, object_id: str) -> AnyObject:
        """Return an object of any kind; raises as `get` does."""
        kind, payload = self.read(object_id)
        return _decoded(object_id, kind, payload)

    def read(self, wanted: str, expected: str = "object") -> tuple[str, bytes]:
        """Return (kind, payload) of an object, its hash verified; raises as `get` does."""
        content = self._content(wanted) if is_id(wanted) else None
        if content is None:
            raise ObjectMissing(wanted, expected)
        kind, payload = envelope.unseal(wanted, content)
        if object_id(kind, payload) != wanted:
            raise ObjectCorrupt(wanted, "its content has another hash")
        return kind, payload

    def write(self, kind: str, payload: bytes) -> str:
        """Store the payload of an object that may come from elsewhere, and return its id.

        Raises:
            BadValue, UnknownFormat: the payload is not a canonical object of that kind.
        """
        decode(kind, payload)
        new = object_id(kind, payload)
        self._store(new, kind, payload)
        return new

    @abstractmethod
    def has(self, object_id: str) -> bool:
        """True where the store has an object of that id; its bytes are not read."""

    @abstractmethod
    def ids(self, prefix: str = "") -> Iterator[str]:
        """Yield the ids that start with prefix, sorted."""

    @abstractmethod
    def kind_of(self, object_id: str) -> str:
        """Return the kind that an object's header names, without reading its payload."""

    @abstractmethod
    def _content(self, object_id: str) -> bytes | None: ...

    @abstractmethod
    def _store(self, object_id: str, kind: str, payload: bytes) -> None: ...


class DiskStore(ObjectStore):
    """A store in a folder. A file is written once; a damaged one is replaced when its object is put again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path) -> DiskStore:
        """Make the folders of a store, durably, all at once: a later put then syncs one file and one folder."""
        fsio.make_folders(folder, [f"{shard:02x}" for shard in range(256)])
        return cls(folder)

    def path(self, object_id: str) -> Path:
        """Return where the file of an object is or would be."""
        return self.folder / object_id[:2] / object_id[2:]

    def has(self, object_id: str) -> bool:
        """See ObjectStore."""
        return is_id(object_id) and self.path(object_id).is_file()

    def ids(self, prefix: str = "") -> Iterator[str]:
        """See ObjectStore."""
        for shard in fsio.files_in(self.folder):
            if len(shard) == 2 and (shard.startswith(prefix) or prefix.startswith(shard)):
                for rest in fsio.files_in(self.folder / shard):
                    if is_id(shard + rest) and (shard + rest).startswith(prefix):
                        yield shard + rest

    def kind_of(self, object_id: str) -> str:
        """See ObjectStore."""
        try:
            start = fsio.read_start(self.path(object_id), envelope.MAX_HEADER)
        except NotPlain as error:
            raise ObjectCorrupt(object_id, f"its file is {error.what}") from error
        if start is None:
            raise ObjectMissing(object_id)
        return envelope.kind_of(object_id, start)

    def sealed(self, object_id: str) -> bytes:
        """Return the envelope of an object as it lies there; nothing is verified. Raises ObjectMissing."""
        content = self._content(object_id) if is_id(object_id) else None
        if content is None:
            raise ObjectMissing(object_id)
        return content

    def adopt(self, object_id: str, content: bytes) -> None:
        """Keep the envelope of an object that the caller has verified; it is durable after the next `settle`."""
        path = self.path(object_id)
        if not path.parent.is_dir():
            fsio.make_folder(path.parent)
        fsio.place(path, content, mode=0o444)

    def settle(self) -> None:
        """Make the names of all objects durable, also of those that a killed process adopted."""
        for shard in fsio.files_in(self.folder):
            if (self.folder / shard).is_dir():
                fsio.sync_folder(self.folder / shard)

    def _content(self, object_id: str) -> bytes | None:
        try:
            return fsio.read(self.path(object_id), envelope.MAX_FILE_BYTES)
        except NotPlain as error:
            raise ObjectCorrupt(object_id, f"its file is {error.what}") from error

    def _store(self, object_id: str, kind: str, payload: bytes) -> None:
        path = self.path(object_id)
        if self._intact(object_id) and fsio.touch(path):
            # Another process may have renamed it in and not have synced the folders yet: its object, our commit.
            fsio.sync_folder(path.parent)
        else:
            if not path.parent.is_dir():  # all were made, durably, with the store: an empty one needs no second look
                fsio.make_folder(path.parent)
            fsio.replace(path, envelope.seal(kind, payload), mode=0o444)

    def _intact(self, object_id: str) -> bool:
        try:
            self.read(object_id)
        except (ObjectMissing, ObjectCorrupt):
            return False
        return True


def _decoded(object_id: str, kind: str, payload: bytes) -> AnyObject:
    try:
        return decode(kind, payload)
    except (BadValue, NameTaken) as error:
        raise ObjectCorrupt(object_id, error.message) from error
