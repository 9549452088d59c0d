"""What identity cannot tell: how alike are the example concepts' own pictures when their blocks are shuffled?

Controls of the judges alone: nothing is learned or drawn. Half a minute.
"""

from __future__ import annotations

from statistics import fmean

import numpy as np

from benchmarks.report import Cell, Report, Table
from benchmarks.trainer import CONCEPTS, Pixels, Trainer
from cns.files.images import load_images

GRIDS = (2, 4, 8)
"""Blocks a side."""
JUDGES = {"identity": "identity", "clip": "CLIP-I"}


def run(quick: bool) -> Report:
    """Score every example concept's pictures, whole, shuffled, and those of the other concepts."""
    trainer = Trainer("cpu")
    folders = [one for one in sorted(CONCEPTS.iterdir()) if one.is_dir()][: 2 if quick else None]
    pictures = [load_images(folder, trainer.base.resolution).pixels for folder in folders]
    shown = {"the pictures themselves": pictures}
    for grid in GRIDS:
        shown[f"blocks of 1/{grid} of the side, shuffled"] = [shuffled(one, grid) for one in pictures]
    means = {
        name: [fmean(_to_others(trainer, *two, judge) for two in zip(made, pictures, strict=True)) for judge in JUDGES]
        for name, made in shown.items()
    }
    rest = [np.concatenate([one for one in pictures if one is not mine]) for mine in pictures]
    means["pictures of the other concepts"] = [
        fmean(trainer.similarity(*two, judge) for two in zip(rest, pictures, strict=True)) for judge in JUDGES
    ]
    rows: list[list[Cell]] = [[name, *(f"{value:.3f}" for value in values)] for name, values in means.items()]
    note = (
        f"Mean cosine with a concept's training images, over {len(pictures)} example concepts; a picture is compared "
        "with the others of its concept, not with itself."
    )
    table = Table("Pictures in pieces", ["what is scored", *JUDGES.values()], rows, note)
    return Report("shuffled", [table], [], {name: values[0] for name, values in means.items()})


def shuffled(pixels: Pixels, grid: int) -> Pixels:
    """Pictures, shape (N, R, R, 3), each cut into grid x grid blocks that are laid out anew."""
    count, side = len(pixels), pixels.shape[1] // grid
    blocks = pixels.reshape(count, grid, side, grid, side, 3).swapaxes(2, 3).reshape(count, grid * grid, side, side, 3)
    blocks = blocks[:, np.random.default_rng(0).permutation(grid * grid)]
    return blocks.reshape(count, grid, grid, side, side, 3).swapaxes(2, 3).reshape(pixels.shape)


def _to_others(trainer: Trainer, made: Pixels, references: Pixels, judge: str) -> float:
    """Mean cosine of picture k with the references but the k-th."""
    cosines = trainer.features(made, judge) @ trainer.features(references, judge).T
    return float(cosines[~np.eye(len(cosines), dtype=bool)].mean())
