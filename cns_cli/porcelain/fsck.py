"""`fsck`: is everything there, and is it what was written? With `rebuild`, make again what can be made again.

Objects, refs and reflogs are checked by the registry, which knows bytes; what the bytes of a concept mean is checked in
`porcelain.health.data`, which knows arrays. Neither needs torch, nor the base model.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cns_cli.porcelain.mlflow import sync
from cns_cli.porcelain.options import FsckOptions
from cns_cli.porcelain.result import Result
from cns_cli.progress import NullProgress, Progress
from registry import layout
from registry.errors import MlflowUnavailable, RegistryError
from registry.health import repair
from registry.health.findings import Finding, Findings, Graph
from registry.health.fsck import fsck as check_registry
from registry.repository import Repository


@dataclass(frozen=True, kw_only=True)
class FsckResult(Result):
    """What is there, and what is wrong with it.

    Attributes:
        objects: Whole objects by kind; bytes_read: size of their files.
        decoded: Concepts whose masks, integers, embeddings and references were decoded.
        damaged: At least one finding is an error.
        rebuilt: What was made again, in words.
    """

    also = ("schema",)

    folder: Path
    objects: Mapping[str, int]
    bytes_read: int
    refs: int
    reflog_entries: int
    decoded: int
    damaged: bool
    findings: tuple[Finding, ...]
    rebuilt: tuple[str, ...]
    elapsed_s: float

    @property
    def schema(self) -> Literal["cns-fsck/1"]:
        """Version of this document: a field that is renamed or removed makes a new one, one more does not."""
        return "cns-fsck/1"


def fsck(options: FsckOptions, progress: Progress | None = None) -> FsckResult:
    """Check the registry at or above a folder.

    Args:
        options: Where, how deep, and whether to make things again.
        progress: Told of progress.

    Raises:
        NotARegistry. UnknownFormat: a newer version made it; it is left as it is.
    """
    began = time.monotonic()
    progress = progress or NullProgress()
    folder = layout.find(options.start)
    progress.stage("read every object")
    report, graph = check_registry(folder)
    rebuilt: list[str] = []
    if options.rebuild:
        progress.stage("make again what can be")
        rebuilt, report, graph = _rebuild(folder, options, report)
    decoded = 0
    if options.read_data:
        from cns_cli.porcelain.health.data import check_data

        progress.stage("decode what was learned", report.objects.get("concept", 0))
        decoded, found = check_data(folder, graph, progress.step)
        report.findings += found
    return FsckResult.of(
        report,
        folder=folder,
        bytes_read=report.bytes,
        decoded=decoded,
        rebuilt=tuple(rebuilt),
        elapsed_s=time.monotonic() - began,
    )


def _rebuild(folder: Path, options: FsckOptions, before: Findings) -> tuple[list[str], Findings, Graph]:
    """Make again what can be, in the order in which one needs the other, and check anew."""
    commits = [one.object_id for one in before.findings if one.level == "error" and one.object_id]
    done = repair.rebuild_commits(folder, commits)
    done += repair.rebuild_names(folder, author=options.author, now=options.time)
    with contextlib.suppress(RegistryError):  # HEAD or a commit is still damaged: the check below says which
        done += repair.rebuild_index(Repository(folder.parent))
    report, graph = check_registry(folder)
    if any(finding.level == "error" and finding.object_id for finding in report.findings):
        what = "MLflow was left as it is: it may have a copy of what is damaged here"
        report.add("warning", "mirror-kept", what, "mlflow.db", "cns mlflow restore, then cns fsck --rebuild")
        return done, report, graph
    try:
        if told := sync(options).told:
            done.append(f"recorded {told} in MLflow again")
        report.findings = [finding for finding in report.findings if not finding.code.startswith("mirror-")]
    except MlflowUnavailable as error:
        report.add("warning", "mirror-unavailable", error.message, "mlflow.db", error.hint)
    except RegistryError as error:
        report.add("warning", "mirror-kept", f"MLflow was left as it is: {error.message}", "mlflow.db", error.hint)
    return done, report, graph
