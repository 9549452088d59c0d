"""Two clones of one lineage and the folder that they share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry.health.fsck import fsck
from registry.refs import HEADS, REMOTES
from registry.repository import Repository
from registry.sharing import incoming, outgoing
from registry.sharing.folder import FolderRemote
from registry.sharing.incoming import Fetched
from registry.sharing.outgoing import Pushed
from registry.sharing.remote import Remote
from registry.trees import with_concept
from tests.registry.making import AUTHOR, add, evaluation, new_repository

WHO: dict[str, Any] = {"author": AUTHOR, "time": 1_800_000_000}


class Breaking(FolderRemote):
    """A remote whose connection breaks after so many packs, in the middle of the next one."""

    def __init__(self, folder: Path, after: int = 10**6) -> None:
        super().__init__(folder)
        self.left = after
        self.packs_moved: list[str] = []

    def receive(self, pack: str) -> Iterator[bytes]:
        """See Remote."""
        self.left -= 1
        for piece in super().receive(pack):
            if self.left < 0:
                yield piece[: len(piece) // 2]
                raise ConnectionResetError
            yield piece
        self.packs_moved.append(pack)

    def send(self, pack: str, index: bytes, source: Path, moved: Any) -> None:
        """See Remote."""
        self.left -= 1
        if self.left < 0:
            raise ConnectionResetError
        super().send(pack, index, source, moved)
        self.packs_moved.append(pack)


def lineage(folder: Path) -> Repository:
    """Two concepts on main, one more on dev, a tag, scores."""
    repository = new_repository(folder)
    add(repository, "rex")
    repository.create_branch("dev", time=0)
    add(repository, "tom")
    repository.create_tag("v1", "HEAD~1", time=0)
    repository.add_evaluation(evaluation(repository, "rex"))
    repository.checkout("dev", time=0)
    add(repository, "old")
    repository.checkout("main", time=0)
    return repository


def twin(repository: Repository, folder: Path) -> Repository:
    """A copy of a registry: what two people have who started from one."""
    shutil.copytree(repository.root, folder)
    return Repository(folder)


def push(repository: Repository, remote: Remote, *branches: str, **more: Any) -> Pushed:
    """Push some branches, all where none is named, and all tags."""
    here = repository.branches()
    asked: dict[str, str | None] = {HEADS + name: here[name] for name in branches or here}
    asked |= {f"refs/tags/{name}": commit for name, commit in repository.tags().items()}
    return outgoing.push(repository, remote, "origin", asked, **(WHO | more))


def fetch(repository: Repository, remote: Remote, **more: Any) -> Fetched:
    return incoming.fetch(repository, remote, "origin", **(WHO | more))


def join(repository: Repository, branch: str = "main") -> str:
    """Merge what a remote has of a branch: the concepts of both sides."""
    theirs = repository.refs.all(REMOTES)[f"{REMOTES}origin/{branch}"]
    concepts = repository.tree_of(theirs).concepts
    seen = repository.head().commit

    def change(tree: Any) -> Any:
        for name, concept in concepts.items():
            tree = with_concept(tree, name, concept)
        return tree

    facts: dict[str, Any] = {"record": None, "change": change, "seen": seen, "keep_as": "merge", "merged": [theirs]}
    return repository.commit(kind="merge", message="merge", **WHO, **facts).id


def objects(repository: Repository) -> dict[str, bytes]:
    """Return {id: file content} of every object."""
    return {one: repository.objects.sealed(one) for one in repository.objects.ids()}


def damage(repository: Repository) -> list[str]:
    """Return what fsck minds."""
    report, _ = fsck(repository.folder)
    return [finding.what for finding in report.findings if finding.level != "info"]
