"""Two clones of one lineage and the folder that they share."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from registry.refs import HEADS
from registry.repository import Repository
from registry.sharing import incoming, outgoing
from registry.sharing.folder import FolderRemote
from registry.sharing.incoming import Fetched
from registry.sharing.outgoing import Pushed
from registry.sharing.remote import Remote
from tests.registry.making import AUTHOR, add, evaluation, new_repository

WHO: dict[str, Any] = {"author": AUTHOR, "time": 1_800_000_000}


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
    """A copy of a registry before anything is added: two people who started from the same first commit."""
    shutil.copytree(repository.root, folder)
    return Repository(folder)


def shared(folder: Path) -> FolderRemote:
    return FolderRemote(folder)


def push(repository: Repository, remote: Remote, *branches: str, **more: Any) -> Pushed:
    """Push some branches, all where none is named, and all tags."""
    here = repository.branches()
    asked: dict[str, str | None] = {HEADS + name: here[name] for name in branches or here}
    asked |= {f"refs/tags/{name}": commit for name, commit in repository.tags().items()}
    return outgoing.push(repository, remote, "origin", asked, **(WHO | more))


def fetch(repository: Repository, remote: Remote, **more: Any) -> Fetched:
    return incoming.fetch(repository, remote, "origin", **(WHO | more))
