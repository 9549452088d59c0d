"""`gc`: remove what nothing has reached for a while."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cns_cli.porcelain.options import GcOptions
from cns_cli.porcelain.result import Result
from registry.health.gc import GRACE_S, collect
from registry.repository import Repository


@dataclass(frozen=True, kw_only=True)
class GcResult(Result):
    """What was removed, or would be.

    Attributes:
        reachable, young: Objects that stay: what a name reaches, and what is in its grace.
        removed: Objects that are gone, by kind; freed_bytes: the size of all files that are gone.
        evaluations: How many evaluations of models that nothing reaches lost their ref.
        moves: {ref: moves that its reflog dropped}.
        temporaries: What interrupted writes had left.
        cache_bytes: Size of `.cns/cache`, which is left alone.
    """

    folder: Path
    dry_run: bool
    reachable: int
    young: int
    removed: Mapping[str, int]
    freed_bytes: int
    evaluations: int
    moves: Mapping[str, int]
    temporaries: tuple[Path, ...]
    cache_bytes: int
    elapsed_s: float


def gc(options: GcOptions) -> GcResult:
    """Collect garbage in the registry at or above a folder.

    Raises:
        NotARegistry, LockBusy.
        NotCollected: something is damaged; nothing was removed.
    """
    began = time.monotonic()
    repo = Repository.discover(options.start)
    grace = GRACE_S if options.grace_s is None else options.grace_s
    report = collect(repo, grace_s=grace, dry_run=options.dry_run)
    cache = [path.lstat().st_size for path in (repo.folder / "cache").rglob("*") if path.is_file()]
    return GcResult.of(
        report,
        folder=repo.folder,
        evaluations=len(report.evaluations),
        cache_bytes=sum(cache),
        elapsed_s=time.monotonic() - began,
    )
