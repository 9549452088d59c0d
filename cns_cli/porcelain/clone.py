"""`clone`: a registry of a lineage that others share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cns.errors import BaseModelError
from cns.files.bases import check_base, pinned, resolve_base
from cns_cli.porcelain.fetch import ByteMeter, moment_of
from cns_cli.porcelain.options import DEFAULT_BASE, Request
from cns_cli.porcelain.result import Result
from cns_cli.progress import Progress
from registry.addresses import shown
from registry.errors import RegistryError
from registry.objects import Base
from registry.sharing import cloning


class NoFolderName(RegistryError):
    """The last part of an address is no name for a folder."""

    def __init__(self, address: str) -> None:
        super().__init__(f"'{shown(address)}' ends in no name for a folder: expected one", "cns clone URL FOLDER")


@dataclass(frozen=True, kw_only=True)
class CloneResult(Result):
    """A registry was made.

    Attributes:
        folder: Folder that now holds `.cns`.
        address: Where it came from, without credentials.
        base_source: Where the base model lies here; None: nobody has said it yet, and no model can be loaded.
        concepts: Names that the model of HEAD holds.
        packs, objects, size_bytes: What was transferred. evaluations: How many of the objects are scores.
    """

    folder: Path
    address: str
    branch: str
    commit: str
    concepts: tuple[str, ...]
    base_source: str | None
    packs: int
    objects: int
    size_bytes: int
    evaluations: int


def clone(
    request: Request, address: str, folder: Path | None, progress: Progress, *, base: str | None = None
) -> CloneResult:
    """Make a registry from a remote.

    Args:
        request: In which folder, and who asks.
        address: Of the remote, or a bundle's file.
        folder: Where to; None takes the last part of the address.
        progress: Is told of bytes.
        base: Where the base model lies: emoji-64, a folder, a single file, or a hub id; None finds the embedded one.

    Raises:
        AlreadyARegistry, NoFolderName, RemoteUnavailable, PackCorrupt, LockBusy.
        BaseModelError: what `base` names is not the base that the lineage stands on; the same command continues.
    """
    sources: list[str | None] = []

    def base_source(wanted: Base) -> str | None:
        sources.append(_source(wanted, base))
        return sources[-1]

    target = request.start / (folder or _name(address))
    who: dict[str, Any] = {"author": request.author, "time": moment_of(request)}
    repo, fetched = cloning.clone(address, target, base_source, meter=ByteMeter(progress), **who)
    head = repo.head()
    return CloneResult.of(
        fetched,
        folder=repo.root,
        address=shown(address),
        branch=head.branch or "",
        commit=head.commit,
        concepts=tuple(sorted(repo.tree_of(head.commit).concepts)),
        base_source=sources[-1],
    )


def _name(address: str) -> str:
    """Return the last part of an address, as a folder may be called: of a registered model, its name."""
    last = re.split(r"[/\\#]", address.rstrip("/"))[-1].removesuffix(".bundle")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9 ._-]*", last):
        raise NoFolderName(address)
    return last


def _source(wanted: Base, named: str | None) -> str | None:
    """Return where a base lies: as it was named, after a look at its files, or the embedded one where it is that."""
    source = named or DEFAULT_BASE
    try:
        folder = resolve_base(source)
        check_base(folder, wanted.components)
    except BaseModelError:
        if named is None:
            return None
        raise
    return pinned(source, folder)
