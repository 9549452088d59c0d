"""Region control on the golden registry: do two concepts side by side come out better with boxes than without?

Two concepts stand side by side on the grass. Each half of the picture (a square of 32 pixels, enlarged) is compared
with the references of the concept that is asked for there, by the identity encoder: in the order of the prompt, and the
other way round, which the prompt alone cannot ask for. Three ways of wording a box's prompt are compared; what
`cns.regions.concept_region` takes is the mean of the first two. Same seeds everywhere; some minutes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.report import Cell, Report, Table
from cns.boxes import Box
from cns.compose import ConceptWeights
from cns.regions import Region, concept_region, regional
from cns.sampling import Pixels, sample
from cns_cli.porcelain.models.session import Session
from registry.repository import Repository
from tests.golden import unpack

PAIRS = (("rex", "tom"), ("pip", "jet"), ("hop", "rex"), ("tom", "hop"), ("jet", "pip"))
"""The way to word prompts was chosen on the first three; the others came afterwards."""

BOXES = (Box(0, 0.2, 0.5, 0.8), Box(0.5, 0.2, 1, 0.8))
SEEDS = 32
TOP, SIDE = 16, 32  # pixels: the square of each half that is judged
WAYS = ("no region", "alone", "crowd", "both")


def run(quick: bool) -> Report:
    """Make the pictures of every pair and way, and score their halves."""
    seeds = 2 if quick else SEEDS
    rows: list[list[Cell]] = []
    figures: dict[str, Cell] = {"seeds": seeds}
    with tempfile.TemporaryDirectory() as name:
        session = Session.open(Repository(unpack(Path(name))), "cpu")
        tree = session.repo.tree_of(session.repo.resolve("clean"))
        session.set_tree(tree)
        concepts = session.concepts(tree)
        references = {one: session.references(tree.concepts[one])["identity"] for one in concepts}
        for pair in PAIRS[:1] if quick else PAIRS:
            prompt = f"a {concepts[pair[0]].phrase} and a {concepts[pair[1]].phrase} on the grass"
            for way in WAYS:
                cells: list[Cell] = []
                for order in (pair, pair[::-1]):
                    pictures = _pictures(session, prompt, _regions(way, prompt, order, concepts), seeds)
                    scores = np.stack([_halves(session, pictures, references[one], k) for k, one in enumerate(order)])
                    error = scores.mean(0).std(ddof=1) / seeds**0.5
                    cells += [
                        f"{scores.mean():.3f} ± {error:.3f}",
                        " / ".join(f"{half:.2f}" for half in scores.mean(1)),
                    ]
                    figures[f"{'+'.join(order)} {way}"] = float(scores.mean())
                rows.append([" + ".join(pair), way, *cells])
    note = (
        f"Identity of the half that each concept is asked for in, {seeds} seeds: mean ± standard error, and each half. "
        "*Alone*: the box's prompt names its concept once; *crowd*: in the place of every concept; *both*: their mean, "
        "which `cns generate --region` takes. Chosen on the first three pairs; the last two came after, of which the "
        "last is the second turned round."
    )
    columns = ("pair", "prompt of a box", "as in the prompt", "halves", "the other way round", "halves")
    return Report("regions", [Table("Two concepts side by side", columns, rows, note)], figures=figures)


def _regions(way: str, prompt: str, order: Sequence[str], concepts: Mapping[str, ConceptWeights]) -> list[Region]:
    """The boxes of a way, the first of `order` on the left."""
    whole = [concept_region(prompt, name, concepts, box) for name, box in zip(order, BOXES, strict=True)]
    chosen = {"no region": slice(0, 0), "alone": slice(0, 1), "crowd": slice(1, 2), "both": slice(0, 2)}[way]
    return [Region(one.box, one.prompts[chosen]) for one in whole if one.prompts[chosen]]


def _pictures(session: Session, prompt: str, regions: Sequence[Region], seeds: int) -> Pixels:
    base = session.base
    defaults = base.family.defaults
    with regional(base.model.pipeline, regions):
        return sample(
            base.model.pipeline, [prompt] * seeds, range(seeds), steps=defaults.sampler_steps,
            guidance=defaults.guidance, size=base.resolution,
        )  # fmt: skip


def _halves(session: Session, pictures: Pixels, references: NDArray[np.float32], half: int) -> NDArray[np.float32]:
    """Identity of one half of each picture with the references, shape (N,)."""
    left = half * SIDE
    parts = [Image.fromarray(one[TOP : TOP + SIDE, left : left + SIDE]) for one in pictures]
    side = session.base.resolution
    enlarged = np.stack([np.asarray(one.resize((side, side), Image.Resampling.BICUBIC)) for one in parts])
    features = session.base.encoders["identity"].image_features(enlarged)
    scores: NDArray[np.float32] = (features @ references.T).mean(1)
    return scores
