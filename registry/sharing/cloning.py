"""A registry made from a remote.

It is built in `.cns.tmp-clone` beside its place and renamed into it when it is whole. A clone that was interrupted
leaves that folder; the same command goes on in it, and objects that have come are not fetched again. Of the remote,
objects and refs are taken; the settings are made here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from registry import config, fsio, layout, locks
from registry.errors import AlreadyARegistry, RegistryError
from registry.objects import Base
from registry.reflog import ReflogEntry
from registry.refs import HEADS
from registry.repository import Repository
from registry.sharing.incoming import Fetched, fetch
from registry.sharing.opening import local_path, open_remote, scheme_of
from registry.sharing.remote import Meter, RemoteUnavailable, fold
from registry.sharing.remotes import DEFAULT, TABLE, settings_of

BUILDING = f"{layout.FOLDER}{fsio.TEMPORARY}clone"
SOURCE = "base.source"


def clone(
    address: str,
    folder: Path,
    base_source: Callable[[Base], str | None],
    *,
    author: str,
    time: int,
    meter: Meter | None = None,
) -> tuple[Repository, Fetched]:
    """Make a registry in a folder from a remote, which is called `origin` there; HEAD is on its main branch.

    Args:
        address: Of the remote.
        folder: Where `.cns` goes; made where there is none.
        base_source: Says where the base model lies here, or None; what it raises leaves a clone to be continued.
        author: For the reflogs.
        time: The same, unix seconds.
        meter: Is told of bytes.

    Raises:
        AlreadyARegistry, LockBusy: somebody else clones there now.
        RemoteUnavailable, PackCorrupt: as `fetch`.
    """
    root = folder.resolve()
    if os.path.lexists(root / layout.FOLDER):
        raise AlreadyARegistry(root)
    remote = open_remote(address)
    if not any(ref.startswith(HEADS) for ref in fold(remote.moves())[0]):
        if scheme_of(address) in ("", "file") and not local_path(address).exists():
            raise RemoteUnavailable(remote.shown, "there is no such file or folder", "cns clone --help")
        raise RemoteUnavailable(remote.shown, "it holds no branch yet", "cns push")
    building = root / BUILDING
    fsio.make_folder(building)
    with locks.hold(building / "lock", timeout_s=0):
        repo = _skeleton(building, address)
        fetched = fetch(repo, remote, DEFAULT, author=author, time=time, meter=meter)
        _start(repo, fetched.heads, f"clone: from {remote.shown}", author, time)
        base = repo.objects.get(repo.tree_of(repo.head().commit).base, Base)
        repo.set_config(SOURCE, base_source(base))
        repo.index.close()
        if not fsio.move_folder(repo.folder, root / layout.FOLDER):
            raise AlreadyARegistry(root)
    shutil.rmtree(building, ignore_errors=True)
    return Repository(root), fetched


def main_branch(heads: Iterable[str]) -> str:
    """Return the branch that a clone begins on: main, or else the one that was pushed first."""
    names = list(heads)
    return layout.FIRST_BRANCH if layout.FIRST_BRANCH in names else names[0]


def _skeleton(building: Path, address: str) -> Repository:
    """Return the registry that is being built; one from elsewhere, or without its form, is begun anew."""
    place = building / layout.FOLDER
    try:
        repo = Repository(building)
        begun = config.lookup(repo.config, f"{TABLE}.{DEFAULT}")
        if begun == settings_of(place, address):
            return repo
    except RegistryError:
        pass
    shutil.rmtree(place, ignore_errors=True)
    fsio.make_folder(place)
    layout.write_skeleton(place, {TABLE: {DEFAULT: settings_of(place, address)}})
    return Repository(building)


def _start(repo: Repository, heads: dict[str, str], message: str, author: str, time: int) -> None:
    """Make the branch that HEAD is on."""
    branch = main_branch(heads)
    ref, commit = HEADS + branch, heads[branch]
    with repo.locked():
        entry = ReflogEntry(repo.refs.get(ref), commit, author, time, message)
        if entry.old != commit:
            repo.reflogs.append(ref, entry)
            repo.refs.compare_and_swap(ref, entry.old, commit)
        repo.reflogs.append("HEAD", ReflogEntry(None, commit, author, time, message))
        repo.refs.set_head(ref=ref)
