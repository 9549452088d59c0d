"""`bundle`: a lineage in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cns_cli.porcelain.fetch import ByteMeter
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from cns_cli.progress import Progress
from registry.errors import UnknownRevision
from registry.refs import HEADS, TAGS
from registry.repository import Repository
from registry.sharing import bundle


@dataclass(frozen=True, kw_only=True)
class BundleResult(Result):
    """What a bundle holds; refs are {full name: commit id}."""

    file: Path
    refs: Mapping[str, str]
    objects: int
    size_bytes: int


def create(request: Request, file: Path, names: Sequence[str], progress: Progress) -> BundleResult:
    """Write branches and tags, with all their history, to a file.

    Args:
        request: Where the registry is.
        file: Where to; an older one is replaced.
        names: Of branches and tags; none: all.
        progress: Is told of bytes.

    Raises:
        NotARegistry, ObjectMissing, ObjectCorrupt, DiskFailed.
        UnknownRevision: there is no branch or tag of a name.
    """
    repo = Repository.discover(request.start)
    known = repo.refs.all(HEADS, TAGS)
    chosen = [_full(name, known) for name in names] or list(known)
    done = bundle.create(repo, file, {ref: known[ref] for ref in sorted(chosen)}, ByteMeter(progress))
    return BundleResult.of(done, file=file)


def verify(file: Path) -> BundleResult:
    """Read a bundle as a whole and refuse what is not as it says; needs no registry.

    Raises:
        RemoteUnavailable, PackCorrupt, UnknownFormat.
    """
    return BundleResult.of(bundle.verify(bundle.BundleRemote(file)), file=file)


def _full(name: str, known: Mapping[str, str]) -> str:
    found = next((ref for ref in (HEADS + name, TAGS + name, name) if ref in known), None)
    if found is None:
        raise UnknownRevision(name, "there is no branch or tag of this name, and a bundle holds those", "cns branch")
    return found
