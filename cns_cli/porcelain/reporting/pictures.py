"""The contact sheets of a report: the same prompts and seeds at several commits, beside the reference images.

A picture is made by the protocol of the scores: prompt p's k-th image has the seed that the judge gave it. Each is kept
in `.cns/cache/report`, so that a second report loads neither torch nor the base; a file there that does not match its
checksum is made again. What cannot be made (a damaged concept, a base that is not at hand) leaves a note in its place.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from cns.errors import MethodError
from cns.families import Family
from cns.templates import Kind, fill_template
from cns_cli import figures
from cns_cli.mark import MADE_BY_MODEL, xmp
from cns_cli.porcelain.reporting.data import ConceptFacts, ReportData, Sheet, SheetRow, Tile
from cns_cli.porcelain.scoring.protocol import image_seed, library_versions
from cns_cli.progress import Progress
from registry import fsio
from registry.errors import DiskFailed, RegistryError
from registry.objects import Blob, Concept, References, Tree
from registry.repository import Repository
from registry.trees import bare

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cns_cli.porcelain.models.session import Session

MAX_SHEETS = 12
MAX_STATES = 6
MAX_REFERENCES = 6
PROMPTS = 3
SIDE = 160  # pixels; larger pictures are made smaller for the page
QUALITY = 90


@dataclass(frozen=True)
class Wanted:
    """One picture: the tree, the prompt and the seed that make it, what else it hangs on, and the tree that is seen."""

    tree: str
    prompt: str
    seed: int
    how: str
    seen: str

    @property
    def key(self) -> str:
        """Name of its file in the cache."""
        words = "\n".join((self.seen, self.how, str(self.seed), self.prompt))
        return hashlib.sha256(words.encode()).hexdigest()


SheetPlan = list[tuple[SheetRow, list[Wanted]]]
"""Rows without their pictures yet, and the pictures that they need."""


@dataclass
class Sheets:
    """Makes, keeps and finds pictures.

    Attributes:
        repo: The registry.
        family: The base's family: its judge prompts.
        open_session: Loads the base; called when a picture is not in the cache.
        progress: Told of progress.
        dtype: Number format in which it makes pictures.
    """

    repo: Repository
    family: Family
    open_session: Callable[[], Session]
    progress: Progress
    dtype: str = "float32"

    def sheets(self, data: ReportData, images: int) -> tuple[tuple[Sheet, ...], tuple[str, ...]]:
        """Return a sheet a concept, and what is to be said about them.

        Args:
            data: The report so far.
            images: Pictures of each prompt.
        """
        shown = [concept for concept in data.columns if concept.current]
        told = []
        if len(shown) > MAX_SHEETS:
            told.append(f"pictures of {MAX_SHEETS} of {len(shown)} concepts are shown, those that came last")
        shown = shown[-MAX_SHEETS:]
        plans = [(concept, self._plan(data, concept, images)) for concept in shown]
        if any(len(_states(data, concept)) > MAX_STATES for concept in shown):
            told.append(f"each contact sheet shows at most {MAX_STATES} states: the first, the last, some between")
        made, failed = self._make([one for _, plan in plans for _, wanted in plan for one in wanted])
        sheets = tuple(self._sheet(concept, plan, images, made, failed) for concept, plan in plans)
        return sheets, (*told, *sorted(set(failed.values())))

    def _plan(self, data: ReportData, concept: ConceptFacts, images: int) -> SheetPlan:
        """The class noun on the base, then the states, oldest first."""
        empty = Tree(data.base, {}).id
        base = SheetRow("base", fill_template("a {} …", concept.class_noun))
        rows = [(base, self._row(data, empty, empty, concept.class_noun, images, concept.kind))]
        for place in _chosen_states(data, concept):
            commit = data.rows[place]
            detail = f"#{place + 1} {figures.short_id(commit.id)}"
            row = SheetRow(commit.subject, detail, _score(data, place, concept))
            rows.append(
                (row, self._row(data, commit.tree, commit.seen(concept.id), concept.phrase, images, concept.kind))
            )
        return rows

    def _row(self, data: ReportData, tree: str, seen: str, phrase: str, images: int, kind: Kind) -> list[Wanted]:
        recorded = data.protocol.get("seed", 0)
        seed = recorded if isinstance(recorded, int) else 0
        return [
            Wanted(tree, fill_template(template, phrase), image_seed(seed, place, k), self._how, seen)
            for place, template in _prompts(self.family, kind)
            for k in range(images)
        ]

    def _make(self, wanted: Sequence[Wanted]) -> tuple[dict[str, bytes], dict[str, str]]:
        """Find or make pictures: (key -> WebP, tree id -> why it could not be made)."""
        made = {one.key: found for one in wanted if (found := self._cached(one.key)) is not None}
        missing: dict[str, dict[str, Wanted]] = {}
        makers: dict[str, str] = {}
        for one in (one for one in wanted if one.key not in made):
            missing.setdefault(makers.setdefault(one.key, one.tree), {})[one.key] = one
        if not missing:
            return made, {}
        try:
            self.progress.stage("load the model")
            session = self.open_session()
        except (MethodError, RegistryError) as error:
            return made, dict.fromkeys(missing, f"no pictures: {error.message}")
        failed: dict[str, str] = {}
        self.progress.stage("make pictures", sum(map(len, missing.values())))
        for tree, jobs in missing.items():
            try:
                session.write(_tree(self.repo, tree))
            except (MethodError, RegistryError) as error:
                failed[tree] = f"no pictures of the tree {figures.short_id(tree)}: {error.message}"
                continue
            pixels = session.base.images([one.prompt for one in jobs.values()], [one.seed for one in jobs.values()])
            for key, picture in zip(jobs, pixels, strict=True):
                made[key] = webp(picture, made=True)
                self._keep(key, made[key])
            self.progress.step(len(made))
        return made, failed

    def _sheet(
        self, concept: ConceptFacts, plan: SheetPlan, images: int, made: Mapping[str, bytes], failed: Mapping[str, str]
    ) -> Sheet:
        shown = []
        for row, wanted in plan:
            missing = next((one.tree for one in wanted if one.key not in made), None)
            if missing is not None:
                shown.append(replace(row, note=failed.get(missing, "not made")))
            else:
                words = [f"{one.prompt}, seed {one.seed}, by {row.label} {row.detail}" for one in wanted]
                tiles = [_tile(made[one.key], what) for one, what in zip(wanted, words, strict=True)]
                shown.append(replace(row, tiles=tuple(tiles)))
        phrases = tuple(fill_template(template, "…") for _, template in _prompts(self.family, concept.kind))
        return Sheet(concept.name, phrases, images, self._references(concept), tuple(shown))

    def _references(self, concept: ConceptFacts) -> SheetRow:
        detail = figures.plural(concept.references or 0, "image")
        if not concept.photos_kept:
            return SheetRow("references", detail, note="the photos were not kept, only features of them")
        try:
            pictures = _reference_pixels(self.repo, concept.id)
        except (RegistryError, MethodError) as error:
            return SheetRow("references", detail, note=f"the photos cannot be read: {error}")
        named = enumerate(pictures[:MAX_REFERENCES], 1)
        tiles = tuple(_tile(webp(one), f"{concept.name}, reference {number}") for number, one in named)
        return SheetRow("references", detail, tiles=tiles)

    def _cached(self, key: str) -> bytes | None:
        try:
            content = (self._folder / f"{key}.webp").read_bytes()
        except OSError:
            return None
        return content[32:] if hashlib.sha256(content[32:]).digest() == content[:32] else None

    def _keep(self, key: str, data: bytes) -> None:
        """Keep a picture; a cache that cannot be written is done without."""
        with contextlib.suppress(DiskFailed):
            fsio.make_folder(self._folder)
            fsio.replace(self._folder / f"{key}.webp", hashlib.sha256(data).digest() + data)

    @cached_property
    def _how(self) -> str:
        """What every picture depends on beside weights, prompt and seed; libraries count, devices do not."""
        defaults = self.family.defaults
        how = f"{library_versions()} {defaults.sampler_steps} {defaults.guidance} {SIDE} {QUALITY} {MADE_BY_MODEL}"
        return how if self.dtype == "float32" else f"{how} {self.dtype}"

    @property
    def _folder(self) -> Path:
        return self.repo.folder / "cache" / "report"


def webp(pixels: NDArray[np.uint8], *, made: bool = False) -> bytes:
    """Encode a picture for the page; one that is larger than `SIDE` becomes smaller.

    Args:
        pixels: Shape (H, W, 3), uint8, sRGB.
        made: Say in it that a model made it; references are people's own.
    """
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    picture.save(buffer, format="WEBP", quality=QUALITY, method=4, xmp=xmp().encode() if made else b"")
    return buffer.getvalue()


def _reference_pixels(repo: Repository, concept_id: str) -> NDArray[np.uint8]:
    """The stored training images, shape (N, R, R, 3)."""
    from cns import codec

    references = repo.objects.get(repo.objects.get(concept_id, Concept).references, References)
    return codec.decode_images(repo.objects.get(references.images or "", Blob).data)


def _tile(data: bytes, what: str) -> Tile:
    """The side is read back from the picture: it may come from a cache of another size."""
    from PIL import Image

    with Image.open(BytesIO(data), formats=["WEBP"]) as picture:
        return Tile(data, max(picture.size), what)


def _tree(repo: Repository, wanted: str) -> Tree:
    """A stored tree; the empty one need not be stored."""
    empty = bare(repo.tree_of(repo.head().commit))
    return empty if empty.id == wanted else repo.objects.get(wanted, Tree)


def _prompts(family: Family, kind: Kind) -> list[tuple[int, str]]:
    """A few judge prompts of a kind of concept, spread over all, with their places."""
    templates = family.templates(kind).judge
    places = sorted({len(templates) * part // PROMPTS for part in range(PROMPTS)})
    return [(place, templates[place]) for place in places]


def _states(data: ReportData, concept: ConceptFacts) -> list[int]:
    """The rows that hold a concept, but for those whose pictures are those of the row before."""
    held = [place for place, row in enumerate(data.rows) if concept.id in row.concepts.values()]
    trees = [data.rows[place].seen(concept.id) for place in held]
    return [place for place, tree, before in zip(held, trees, ["", *trees], strict=False) if tree != before]


def _chosen_states(data: ReportData, concept: ConceptFacts) -> list[int]:
    """At most `MAX_STATES` rows that hold a concept: first and last, both ends of its largest fall, some between."""
    states = _states(data, concept)
    if len(states) <= MAX_STATES:
        return states
    step = data.worst[data.columns.index(concept)]
    ends = {step.before, step.commit} if step else set()
    chosen = {states[0], states[-1], *(place for place in states if data.rows[place].id in ends)}
    for part in range(1, MAX_STATES):
        if len(chosen) < MAX_STATES:
            chosen.add(states[(len(states) - 1) * part // (MAX_STATES - 1)])
    return sorted(chosen)


def _score(data: ReportData, place: int, concept: ConceptFacts) -> str:
    """The main score of a concept in a state, as it stands beside its pictures."""
    cell = data.tables[0].cells[place][data.columns.index(concept)] if data.tables else None
    return "" if cell is None else f"{data.tables[0].label} {cell.value:.3f}"
