"""`report`: a lineage on one page, for people who will not install anything to read it.

It reads what is stored, makes the pictures of the contact sheets, draws the page and writes it. Scores are computed
only when asked to fill the matrix. Where nothing must be computed, torch is not imported and the base need not be
there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cns_cli.files import write_output
from cns_cli.porcelain.models.device import asked_dtype, dtype_for
from cns_cli.porcelain.options import ReportOptions
from cns_cli.porcelain.reporting.collect import Collector, known_family
from cns_cli.porcelain.reporting.data import CellVerdict, MetricTable, ReportData
from cns_cli.porcelain.reporting.page import page
from cns_cli.porcelain.reporting.pictures import Sheets
from cns_cli.porcelain.reporting.words import missing_cells, places, verdict
from cns_cli.porcelain.result import Result
from cns_cli.progress import NullProgress, Progress
from registry.repository import Repository

if TYPE_CHECKING:
    from cns_cli.porcelain.models.session import Session


@dataclass(frozen=True, kw_only=True)
class ReportResult(Result):
    """A page was written.

    Attributes:
        verdict: Its headline.
        measured, missing: Scores of the matrix that are stored, and those that are not.
        pictures: On the contact sheets.
        commits: Rows of the matrix, the oldest first: id, subject and names of each.
        concepts: Its columns, in the order in which they came: name, id and outcome of each.
        scores: The matrix of each metric that was measured, the main score first.
        left_out: What the bounds of the page cut off.
    """

    path: Path
    commit: str
    outcome: CellVerdict
    verdict: str
    bytes_written: int
    measured: int
    missing: int
    pictures: int
    elapsed_s: float
    commits: tuple[Mapping[str, object], ...] = ()
    concepts: tuple[Mapping[str, object], ...] = ()
    scores: tuple[MetricTable, ...] = ()
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def report(options: ReportOptions, progress: Progress | None = None) -> ReportResult:
    """Write the report of a revision.

    Args:
        options: Revision, file, what to compute.
        progress: Told of progress.

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision.
        ObjectMissing, ObjectCorrupt: The revision itself cannot be read.
        SettingsError, BadConfig, BaseModelError, EncoderMissingError: `fill` cannot compute a score.
    """
    began = time.monotonic()
    progress = progress or NullProgress()
    repo = Repository.discover(options.start)
    commit = repo.resolve(options.rev)
    data = Collector(repo, commit).collect(options.rev)
    if options.fill:
        from cns_cli.porcelain.reporting.fill import fill

        digest, warnings = fill(repo, data, options, progress)
        data = Collector(repo, commit, list(warnings)).collect(options.rev, digest)
    if options.pictures:
        data = _with_pictures(data, repo, options, progress)
    written = page(data).encode("utf-8")
    write_output(options.start / options.out, written)
    missing = missing_cells(data)
    return ReportResult(
        path=options.out,
        commit=commit,
        outcome=data.outcome,
        verdict=verdict(data),
        bytes_written=len(written),
        measured=places(data) - missing,
        missing=missing,
        pictures=sum(len(row.tiles) for sheet in data.sheets for row in (sheet.references, *sheet.rows)),
        elapsed_s=time.monotonic() - began,
        commits=tuple({"id": row.id, "subject": row.subject, "refs": row.refs} for row in data.rows),
        concepts=tuple(
            {"name": one.name, "id": one.id, "outcome": outcome}
            for one, outcome in zip(data.columns, data.outcomes, strict=True)
        ),
        scores=data.tables,
        left_out=data.left_out,
        warnings=data.warnings,
    )


def _with_pictures(data: ReportData, repo: Repository, options: ReportOptions, progress: Progress) -> ReportData:
    dtype = dtype_for(asked_dtype(repo, options.dtype), options.places[0])

    def opened() -> Session:
        from cns_cli.porcelain.models.session import Session

        return Session.open(repo, options.places[0], dtype=dtype)

    family = known_family(data.family)
    if family is None or not data.columns:
        return data
    sheets, told = Sheets(repo, family, opened, progress, dtype).sheets(data, options.images)
    left_out = tuple(one for one in told if not one.startswith("no pictures"))
    warnings = tuple(one for one in told if one.startswith("no pictures"))
    return replace(data, sheets=sheets, left_out=data.left_out + left_out, warnings=data.warnings + warnings)
