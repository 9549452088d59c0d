"""What a remote holds, by the indexes of its packs; and what a registry would have to send there.

Indexes are kept in `.cns/cache/packs`, by the name of their pack, which is their hash: deleting them costs a transfer.
A mark beside an index says that its pack was received as a whole, so that it is not asked for again when garbage
collection has removed some of it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from registry import fsio
from registry.dag import needed_first
from registry.errors import DiskFailed
from registry.objects import Evaluation
from registry.refs import EVALUATIONS
from registry.repository import Repository
from registry.sharing.pack import LARGEST_INDEX, Entry, Index, PackCorrupt, parse_index
from registry.sharing.remote import Remote
from registry.store import DiskStore
from registry.trees import can_be_seen


class Inventory:
    """The packs of a remote, in the order in which they are to be read.

    Attributes:
        indexes: By round, so that what an object needs comes before it.
    """

    def __init__(self, repo: Repository, remote: Remote) -> None:
        self._folder = repo.folder / "cache" / "packs"
        found = (self._index(remote, pack) for pack in remote.packs())
        self.indexes: list[Index] = sorted(found, key=lambda index: (index.round, index.name))

    def entries(self) -> Iterator[Entry]:
        """Yield every object that the remote holds."""
        for index in self.indexes:
            yield from index.entries

    @property
    def next_round(self) -> int:
        """The round of a pack that may need objects of any of these."""
        return max((index.round for index in self.indexes), default=0) + 1

    def was_received(self, index: Index) -> bool:
        """True where a pack came here as a whole, once."""
        return (self._folder / f"{index.name}.here").is_file()

    def mark_received(self, index: Index) -> None:
        """Note that a pack is here as a whole."""
        fsio.mark(self._folder / f"{index.name}.here")

    def _index(self, remote: Remote, pack: str) -> Index:
        path = self._folder / f"{pack}.idx"
        try:
            content = fsio.read(path, LARGEST_INDEX)
            if content is not None:
                return parse_index(pack, content)
        except (PackCorrupt, DiskFailed):
            pass  # of the cache; the remote has it
        content = remote.index_of(pack)
        index = parse_index(pack, content)
        fsio.make_folder(self._folder)
        fsio.place(path, content)
        return index


def to_send(repo: Repository, tips: Iterable[str], held: Container[str]) -> list[Entry]:
    """Return what a remote lacks of some commits and of the scores of their models, each after all that it needs.

    Args:
        repo: Where everything is.
        tips: Ids of commits.
        held: What the remote holds; with an object, it holds all that this needs.

    Raises:
        ObjectMissing, ObjectCorrupt: the registry is damaged.
    """
    store = repo.objects
    order = list(needed_first(sorted(tips, reverse=True), lambda one: needs_of(store, one), held.__contains__))
    sent = set(order)

    def holds(object_id: str) -> bool:
        return object_id in sent or object_id in held

    for name in repo.refs.names(EVALUATIONS):
        found = name.rpartition("/")[2]
        if found not in held and store.has(found):
            missing = [link for link in store.get(found, Evaluation).links() if not holds(link)]
            if all(can_be_seen(store, link, holds) for link in missing):
                order += [*missing, found]
                sent.update(missing)
    return [Entry(one, store.kind_of(one), store.path(one).stat().st_size) for one in order]


def needs_of(store: DiskStore, wanted: str) -> tuple[str, ...]:
    """Return what an object needs; raises ObjectMissing, ObjectCorrupt. A blob is not read, since it needs nothing."""
    return () if store.kind_of(wanted) == "blob" else store.load(wanted).links()
