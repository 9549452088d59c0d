"""`cns add --samples N`: what the concept looks like every N steps, by the same prompts and seeds each time.

The pictures are what a training that ended there would leave, drawn as `cns generate` draws. Their prompts are those
that protect it later, the bare one first, and never the judge's: whoever stops at the step that looks best has not
chosen it by what it is judged by. Each step is a file, so that a training which is resumed has them all; together they
are a sheet with a row for each step.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from cns.compose import ConceptWeights
from cns.templates import fill_templates
from cns_cli.figures import place
from cns_cli.porcelain.learning.subject import Subject
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import AddOptions
from cns_cli.progress import Progress
from cns_cli.sheets import MARGIN, PAPER, as_png, contact_sheet
from registry import fsio
from registry.errors import DiskFailed
from registry.objects import Tree

PICTURES = 4
"""Of each step (chosen)."""


class Samples:
    """A `cns.report.Watch` that draws.

    Args:
        session: The registry and the base; the live model is set to what is drawn.
        subject: What is learned.
        parent: The tree that it is learned on.
        options: The request; without `samples` nothing is drawn.
        resumed: Whether what the folder has is of this very training.
        progress: Told where the sheet is.
    """

    def __init__(
        self, session: Session, subject: Subject, parent: Tree, options: AddOptions, resumed: bool, progress: Progress
    ) -> None:
        self._session, self._parent, self._every, self._progress = session, parent, options.samples, progress
        templates = session.base.family.templates(subject.kind).regularization
        self._prompts = fill_templates(templates[:PICTURES], subject.phrase)
        self._seeds = range(options.seed, options.seed + PICTURES)
        self._folder = session.repo.folder / "previews" / f"{subject.name}-steps"
        self._whole = self._folder.parent / f"{subject.name}-steps.png"
        for path in self._files() if self._every and not resumed else ():
            fsio.remove(path)

    @property
    def sheet(self) -> Path | None:
        """All steps on one sheet; None where nothing was drawn."""
        return self._whole if self._every and self._files() and self._whole.exists() else None

    def steps(self) -> dict[str, bytes]:
        """Label -> PNG of each step, as the record has them; those that cannot be read again are not there."""
        return {f"step-{path.stem}": data for path in self._files() if self._every and (data := fsio.read(path))}

    def due(self, step: int, /) -> bool:
        """Every N steps."""
        return self._every is not None and step % self._every == 0

    def __call__(self, step: int, weights: ConceptWeights, /) -> None:
        """Draw the concept, beside what it is learned beside, and write the sheet anew."""
        model = self._session.base.model
        beside = self._session.parts(self._parent)
        (model.set_named if self._parent.compose == "named" else model.set_concepts)([*beside, weights])
        pictures = self._session.base.images(self._prompts, self._seeds)
        row = contact_sheet([(f"step {step:,}", [*map(Image.fromarray, pictures)])])
        new = not self._files()
        with contextlib.suppress(DiskFailed):  # a training is worth more than its pictures
            fsio.make_folder(self._folder)
            fsio.replace(self._folder / f"{step:05}.png", as_png(row))
            fsio.replace(self._whole, as_png(_stacked([*self.steps().values()])))
        if new:
            self._progress.note(f"samples every {self._every} steps: {place(self._whole)}")

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.png"))


def _stacked(sheets: Sequence[bytes]) -> Image.Image:
    """Sheets of a row each below each other, their margins joined."""
    rows = [Image.open(BytesIO(sheet)) for sheet in sheets]
    heights = [row.height - MARGIN for row in rows]
    whole = Image.new("RGB", (max(row.width for row in rows), sum(heights) + MARGIN), PAPER)
    for row, top in zip(rows, itertools.accumulate([0, *heights]), strict=False):
        whole.paste(row, (0, top))
    return whole
