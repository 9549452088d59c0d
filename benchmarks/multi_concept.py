"""Several concepts in one picture: what is drawn, how it is scored, and what it costs to make a method ready for it.

Without regions the prompt names the concepts side by side; with regions each is also asked for in a box of its own, by
the same cross-attention processor for every method. A concept's identity is taken in the best window of the picture,
the same windows for every method; *all there* is the worst concept of each picture.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.concept_stream import Concept
from benchmarks.judging import Judge
from benchmarks.method import Method
from benchmarks.trainer import Pixels, Trainer
from cns.boxes import Box
from cns.regions import Region, regional
from cns.templates import fill_template

PER_PROMPT = 2
TOP, BOTTOM = 0.2, 0.95  # of every box; the base's own pairs stand there
NAMES = {2: "pairs", 3: "triples"}


def group_scores(trainer: Trainer, judge: Judge, method: Method, state: Any, *, regions: bool = True) -> dict[str, Any]:
    """Score all pairs and triples of a stream, without and, if that is asked for, with regions.

    Returns:
        "pairs", "pairs, regions", … -> score -> mean; and "fuse_s", "fuse_bytes": what it took to get a group ready.
    """
    stream, found = judge.stream, {}
    costs = []
    for groups in (stream.pairs, stream.triples):
        rows: dict[bool, list[dict[str, float]]] = {boxed: [] for boxed in (False, True)[: 1 + regions]}
        for names in groups:
            costs.append(fuse_cost(trainer, method, state, names))
            concepts = [stream.concepts[name] for name in names]
            for boxed in rows:
                rows[boxed].append(scores_of(judge, *pictures(trainer, judge, concepts, regions=boxed), concepts))
        for boxed, scores in rows.items():
            key = NAMES[len(groups[0])] + (", regions" if boxed else "")
            found[key] = {name: round(float(np.mean([row[name] for row in scores])), 4) for name in scores[0]}
    fuse_s, fuse_bytes = (round(float(np.mean(column)), 4) for column in zip(*costs, strict=True))
    return {**found, "fuse_s": fuse_s, "fuse_bytes": int(fuse_bytes)}


def fuse_cost(trainer: Trainer, method: Method, state: Any, names: Sequence[str]) -> tuple[float, float]:
    """Get a group ready to be drawn; return seconds and bytes of tensors that this took beyond the model itself.

    A method whose state is one model has nothing to fuse: writing that model is what every method must do.
    """
    start = time.monotonic()
    trainer.reset()
    reset_s = time.monotonic() - start  # `put` begins with it
    start = time.monotonic()
    method.put(trainer, state, names)
    seconds, held = time.monotonic() - start, method.fused_bytes(state, names)
    return (max(0.0, seconds - reset_s), float(held)) if held else (0.0, 0.0)


def pictures(
    trainer: Trainer, judge: Judge, concepts: Sequence[Concept], *, regions: bool = False
) -> tuple[Pixels, list[str]]:
    """Draw some concepts side by side on every background: pictures, the same seeds for all groups, and their prompts.

    Args:
        trainer: Whose live model is ready to draw them.
        judge: Of their stream.
        concepts: From left to right.
        regions: Ask for each in a box of its own.
    """
    prompts, images = [], []
    for place, template in enumerate(judge.stream.together_templates):
        prompt = fill_template(template, " and ".join(f"a {concept.phrase}" for concept in concepts))
        first = judge.stream.first_seed + place * PER_PROMPT
        seeds = list(range(first, first + PER_PROMPT))
        prompts += [prompt] * PER_PROMPT
        with regional(trainer.model.pipeline, _regions(concepts, template) if regions else []):
            images.append(judge.draw([prompt] * PER_PROMPT, seeds))
    return np.concatenate(images), prompts


def scores_of(judge: Judge, images: Pixels, prompts: Sequence[str], concepts: Sequence[Concept]) -> dict[str, float]:
    """Scores of pictures that should show all of these concepts."""
    windows = np.stack([judge.in_windows(images, concept) for concept in concepts])  # (concepts, N)
    found = {"identity": float(windows.mean()), "all_there": float(windows.min(0).mean())}
    for concept in concepts:
        for score, value in judge.of_images(images, prompts, concept).items():
            if score in ("clip_i", "lite_i"):
                found[score] = found.get(score, 0.0) + value / len(concepts)
    return {**found, "clip_t": judge.text_score(images, prompts, concepts)}


def _regions(concepts: Sequence[Concept], template: str) -> list[Region]:
    """A box for each concept, from left to right, with the two prompts that `cns generate --region` makes of it."""
    width, regions = 1 / len(concepts), []
    for place, concept in enumerate(concepts):
        alone = fill_template(template, f"a {concept.phrase}")
        crowd = fill_template(template, " and ".join([f"a {concept.phrase}"] * len(concepts)))
        box = Box(place * width, TOP, min(1.0, (place + 1) * width), BOTTOM)
        regions.append(Region(box, (alone, crowd)))
    return regions
