"""A request for pictures at work: batches are made, written or shrunk onto a sheet as they come.

A sheet is of a single model, or one that travels through history, a row for each commit.

The model is loaded once; a range composes each of its trees once, and a tree that comes again is not generated again.
Memory does not grow with the number of images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from cns.boxes import is_prompt
from cns.prompts import names
from cns.regions import Region, concept_region, regional
from cns.sampling import Pixels, batches, cut_off, default_batch
from cns.weighting import weighing, words_of
from cns_cli import __version__
from cns_cli.figures import short_id
from cns_cli.files import write_numbered, write_output
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.models.stored import kind_of
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.porcelain.pictures.files import encode_picture, holds_record
from cns_cli.porcelain.pictures.plan import Plan, Stop
from cns_cli.porcelain.pictures.record import PictureRecord
from cns_cli.porcelain.pictures.together import about_pairs
from cns_cli.porcelain.pictures.words import other_syntax, read_without, tokens_in, unknown_tokens, without_concepts
from cns_cli.progress import Progress
from cns_cli.sheets import TILE, Row, contact_sheet
from cns_cli.signals import Interrupted, explained, number_of
from registry.objects import Concept
from registry.trees import erased_in

LARGE_TILE = 256  # pixels, for images that are larger than a small tile
WIDE = 8
"""Columns of a sheet, until it would be longer than wide."""


@dataclass
class GenerateRun:
    """One request at work.

    Attributes:
        before: Images of the stage that other requests made.
        made: Images so far.
    """

    options: GenerateOptions
    plan: Plan
    session: Session
    progress: Progress
    before: int = 0
    made: int = 0

    def __post_init__(self) -> None:
        defaults, own = self.session.base.family.defaults, self.session.base.resolution
        options = self.options
        self.width, self.height = options.width or own, options.height or own
        self.sized = (self.width, self.height) != (own, own)
        self.size = max(self.width, self.height)
        self.steps = options.steps or defaults.sampler_steps
        asked = float(defaults.guidance if options.guidance is None else options.guidance)
        self.guidance = max(1.0, asked)  # what is less is off, as 1 is
        self.negative = (options.negative or "").strip() if self.guidance > 1 else ""
        self.idle = tuple(_without_effect(options, asked))
        self.batch = min(options.batch or default_batch(self.size), options.n)
        self.paths = list(self.plan.paths)
        self.seeds = [options.seed + k for k in range(options.n)]
        get = self.plan.repo.objects.get
        self.concepts = {name: get(concept_id, Concept) for name, concept_id in self.plan.concepts.items()}
        self.texts = {
            "the prompt": [options.prompt],
            "the prompt of a region": [what for what, _ in self.plan.regions if is_prompt(what)],
            "the negative prompt": [self.negative] if self.negative else [],
        }

    @property
    def all_texts(self) -> list[str]:
        """Everything that the model reads."""
        return [text for texts in self.texts.values() for text in texts]

    @property
    def used(self) -> list[str]:
        """Names of the concepts that a text or a region names."""
        named = {*tokens_in(self.all_texts, self.concepts), *(what for what, _ in self.plan.regions)}
        return [name for name in self.concepts if name in named]

    @property
    def side_by_side(self) -> list[str]:
        """Names of the concepts that the prompt itself names and the last model has, as they stand in it."""
        there = tokens_in([self.options.prompt], {n: self.concepts[n] for n in self.plan.stops[-1].tree.concepts})
        return sorted(there, key=lambda name: self.options.prompt.find(self.concepts[name].tokens[0]))

    def write_files(self) -> None:
        """Write each image to its own file as soon as its batch is there."""
        written = 0
        try:
            for data in self.files():
                self._write(written, data)
                written += 1
        except KeyboardInterrupt as signal:
            what = f"{written} of {len(self.paths)} images were written"
            raise Interrupted(number_of(signal), what, "run the command again") from None

    def files(self) -> Iterator[bytes]:
        """Yield the bytes of each image's file as soon as its batch is there."""
        (stop,) = self.plan.stops
        images = (image for batch in self._images(stop) for image in batch)
        for image, seed, path in zip(images, self.seeds, self.plan.paths, strict=True):
            yield encode_picture(Image.fromarray(image), path, self._record(stop, seed), mark=self.options.mark)

    def write_sheet(self) -> None:
        """Write all images as one sheet: of one commit in rows as they come, of a range a row for each commit."""
        tile, stops = TILE if self.size <= TILE else LARGE_TILE, self.plan.stops
        shown: dict[str, list[Image.Image]] = {}
        with explained("no sheet was written", "run the command again"):
            for stop in stops:
                if stop.tree.id not in shown:
                    shown[stop.tree.id] = small_copies(self._images(stop), tile)
        if self.plan.is_range:
            rows = _range_rows(stops, shown, self.used)
        else:
            rows = _grid_rows(shown[stops[0].tree.id], self.seeds)
        sheet = contact_sheet(rows, title=self.options.prompt, tile=tile)
        record = self._record(stops[-1], self.seeds[0])
        self._write(0, encode_picture(sheet, self.paths[0], record, mark=self.options.mark))

    def _write(self, index: int, data: bytes) -> None:
        """Write a file: a name that was made from the prompt replaces nothing, also of what came meanwhile."""
        if self.options.out is None:
            self.paths[index] = write_numbered(self.paths[index], data)
        else:
            write_output(self.paths[index], data)

    def warnings(self) -> Iterator[str]:
        """What the user should know about prompt and file."""
        stops, pipeline = self.plan.stops, self.session.base.model.pipeline
        known = [token for concept in self.concepts.values() for token in concept.tokens]
        yield from self.idle
        # A base may have tokens of its own.
        yield from unknown_tokens(self.all_texts, known, pipeline.tokenizer.get_added_vocab())
        yield from other_syntax(map(words_of, self.all_texts), self.concepts)
        for what, texts in self.texts.items():
            for text in texts:
                if tokens := cut_off(pipeline, words_of(text)):
                    yield f"{what} is too long: its last {tokens} tokens were not read"
        for noun in erased_in(stops[-1].tree, self.plan.repo.objects):
            if any(names(text, [noun], self.session.base.nouns) for text in self.all_texts):
                yield f"{noun} is erased in this model, so that it is not drawn: cns status"
        things = [name for name in self.side_by_side if kind_of(self.concepts[name]) == "object"]
        if len(things) > 1 and not self.plan.regions:
            yield about_pairs(self.plan.repo, stops[-1].tree, things)
        for name in self.used:
            if lacking := sum(name not in stop.tree.concepts for stop in stops):
                one = self.concepts[name]
                yield f"{lacking} of {len(stops)} commits have no {name}: {one.tokens[0]} is {read_without(one)} there"
        if not holds_record(self.plan.paths[0]):
            yield f"{self.plan.paths[0].suffix} files cannot say how a picture was made; .png, .jpg and .webp can"

    def _images(self, stop: Stop) -> Iterator[Pixels]:
        """The images of one model, a batch at a time."""
        options, pipeline = self.options, self.session.base.model.pipeline
        self.session.write(stop.tree)
        missing = [concept for name, concept in self.concepts.items() if name not in stop.tree.concepts]
        prompt = without_concepts(options.prompt, missing)
        negative = without_concepts(self.negative, missing) if self.negative else None
        weighted = [prompt, negative or "", *(what for what, _ in self.plan.regions if is_prompt(what))]
        with weighing(pipeline, weighted), regional(pipeline, self._regions(missing)):
            for images in batches(
                pipeline, [words_of(prompt)] * options.n, self.seeds, steps=self.steps, guidance=self.guidance,
                negative=words_of(negative or "") or None, size=(self.height, self.width), batch_size=self.batch,
            ):  # fmt: skip
                yield images
                self.made += len(images)
                self.progress.step(self.before + self.made)

    def _regions(self, missing: Sequence[Concept]) -> list[Region]:
        """What each box shows, for a model that lacks some of the range's concepts."""
        known = {name: self.session.concept(concept_id) for name, concept_id in self.plan.concepts.items()}
        regions = []
        for what, box in self.plan.regions:
            words, drawn = words_of(self.options.prompt), words_of(what)
            prompts = (drawn,) if is_prompt(what) else concept_region(words, what, known, box).prompts
            regions.append(Region(box, tuple(without_concepts(text, missing) for text in prompts)))
        return regions

    def _record(self, stop: Stop, seed: int) -> PictureRecord:
        options = self.options
        return PictureRecord(
            prompt=options.prompt, negative=self.negative or None, seed=seed, first_seed=self.seeds[0], n=options.n,
            batch=self.batch, steps=self.steps, guidance=self.guidance,
            sampler=type(self.session.base.model.pipeline.scheduler).__name__, width=self.width, height=self.height,
            sized=self.sized,
            regions=options.regions, at=self.plan.at, commit=stop.commit_id, tree=stop.commit.tree,
            base=stop.tree.base, concepts={name: self.plan.concepts[name] for name in self.used},
            compose=stop.tree.compose,
            grid=options.grid or self.plan.is_range, version=__version__,
            dtype=None if self.session.base.dtype == "float32" else self.session.base.dtype,
        )  # fmt: skip


def _without_effect(options: GenerateOptions, guidance: float) -> Iterator[str]:
    """What was asked for and changes no picture."""
    if guidance < 1:
        yield f"--guidance {guidance:g} is taken as 1: both turn guidance off"
    if options.negative and guidance <= 1:
        yield f"--negative has no effect at --guidance {max(1.0, guidance):g}: it needs more than 1"
    elif options.negative and not options.negative.strip():
        yield "--negative is blank and has no effect"


def small_copies(batches: Iterable[Pixels], side: int) -> list[Image.Image]:
    """Return images no larger than a sheet shows them, so that a thousand of 512x512 pixels are 200 MB and not 800."""
    copies = []
    for image in (Image.fromarray(one) for batch in batches for one in batch):
        if max(image.size) > side:
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
        copies.append(image)
    return copies


def _grid_rows(tiles: Sequence[Image.Image], seeds: Sequence[int]) -> list[Row]:
    """All images of one model, in rows as they come; each row says its seeds."""
    columns = max(min(WIDE, len(seeds)), math.isqrt(len(seeds)))
    rows: list[Row] = []
    for start in range(0, len(seeds), columns):
        part = seeds[start : start + columns]
        label = f"seed {part[0]}" if len(part) == 1 else f"seeds {part[0]} to {part[-1]}"
        rows.append((label, tiles[start : start + columns]))
    return rows


def _range_rows(stops: Sequence[Stop], tiles: Mapping[str, Sequence[Image.Image]], used: Sequence[str]) -> list[Row]:
    """A row for each commit, the oldest first: its short id, its message, and which of the concepts used it lacks."""
    rows: list[Row] = []
    for stop in stops:
        lacking = [name for name in used if name not in stop.tree.concepts]
        without = f"   (without {', '.join(lacking)})" if lacking else ""
        rows.append((f"{short_id(stop.commit_id)}  {stop.commit.subject}{without}", tiles[stop.tree.id]))
    return rows
