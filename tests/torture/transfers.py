"""One transfer between registries, as a process of its own that starts in a tenth of a second.

python -S -I -B transfers.py SEARCH_PATH OPERATION FOLDER
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path[:] = sys.argv[1].split(os.pathsep)

from registry.refs import HEADS, TAGS
from registry.repository import Repository
from registry.sharing import bundle, cloning, pack
from registry.sharing.folder import FolderRemote
from tests.registry.making import add, new_repository
from tests.registry.sharing.making import WHO, fetch, lineage, push

PACK_BYTES = 2500  # so that a small lineage has several packs


def do_push(folder: Path) -> None:
    push(Repository(folder / "ann"), FolderRemote(folder / "shared"))


def do_fetch(folder: Path) -> None:
    fetch(Repository(folder / "bob"), FolderRemote(folder / "full"))


def do_clone(folder: Path) -> None:
    cloning.clone(str(folder / "full"), folder / "new", lambda base: "emoji-64", **WHO)


def do_bundle(folder: Path) -> None:
    ann = Repository(folder / "ann")
    bundle.create(ann, folder / "x.bundle", ann.refs.all(HEADS, TAGS))


OPERATIONS: dict[str, Callable[[Path], None]] = {
    "push": do_push,
    "fetch": do_fetch,
    "clone": do_clone,
    "bundle": do_bundle,
}


def make(folder: Path) -> Path:
    """Make what every operation starts from: two registries, a remote that lacks commits, one that has them all."""
    pack.PACK_BYTES = PACK_BYTES
    ann = lineage(folder / "ann")
    push(ann, FolderRemote(folder / "shared"))
    bundle.create(ann, folder / "x.bundle", ann.refs.all(HEADS, TAGS))
    fetch(new_repository(folder / "bob"), FolderRemote(folder / "shared"))
    add(ann, "kim")
    add(ann, "lou")
    shutil.copytree(folder / "shared", folder / "full")
    push(ann, FolderRemote(folder / "full"))
    return folder


if __name__ == "__main__":
    pack.PACK_BYTES = PACK_BYTES
    OPERATIONS[sys.argv[2]](Path(sys.argv[3]))
    os._exit(0)
