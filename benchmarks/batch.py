"""Are batches of five enough? Each concept is learned by the command twice, in batches of five and of ten.

A batch of half the size takes half the arithmetic, and may be noisier. Pairs share base, images, seed and number of
steps.
"""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import shell
from benchmarks.cells import Cells
from benchmarks.report import FOLDER, Cell, Report, Table
from benchmarks.trainer import CONCEPTS
from cns.gate import studentised_interval

NOUNS = ("dog", "cat", "frog", "penguin", "koala", "car")
SEEDS = (0, 1, 2)
HALF, WHOLE = 5, 10
COMMAND = "cns add rex {images} --class {noun} --seed {seed} --batch-size {size}"
SCORES = {"identity": "identity_after", "without a background": "identity_alone", "CLIP-T": "clip_t_after"}
CELLS = FOLDER / "batch_cells.json"
BAR = 0.01


def run(quick: bool) -> Report:
    """Learn what is missing; `quick` learns one concept in a few steps."""
    cells, more = Cells(None if quick else CELLS), " --steps 5 --warmup 5 --preview 10" if quick else ""
    seeds, nouns = (SEEDS[:1], NOUNS[:2]) if quick else (SEEDS, NOUNS)
    pairs = [(noun, seed) for seed in seeds for noun in nouns]

    def scores(size: int) -> list[dict[str, float]]:
        return [
            cells.of(f"{noun}, seed {seed}, {size}", partial(_learned, noun, seed, size, more)) for noun, seed in pairs
        ]

    halves, wholes = scores(HALF), scores(WHOLE)
    rows, figures = list[list[Cell]](), dict[str, Cell]()
    for score in SCORES:
        half, whole = (np.array([one[score] for one in learned]) for learned in (halves, wholes))
        low, high = studentised_interval(half - whole)
        rows.append([score, f"{half.mean():.3f}", f"{whole.mean():.3f}", f"{(half - whole).mean():+.4f}"])
        rows[-1].append(f"{low:+.4f} to {high:+.4f}")
        figures |= {f"{score}: difference": float((half - whole).mean()), f"{score}: low": low, f"{score}: high": high}
    note = (
        f"{len(pairs)} pairs: {len(nouns)} concepts, each alone on the bare base, from {len(seeds)} seeds; all other "
        f"settings by default. *Between*: 95 % for the mean difference, over pairs; bar: identity within {BAR:g}."
    )
    columns = ["mean of pictures", f"batches of {HALF}", f"of {WHOLE}", "difference", "between"]
    command = COMMAND.format(images="examples/concepts/dog", noun="dog", seed=0, size=HALF)
    return Report("batch", [Table("Half the batch", columns, rows, note)], [command], figures)


def _learned(noun: str, seed: int, size: int, more: str) -> dict[str, float]:
    """What `cns add` says of one concept in a new registry."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shell.cns("cns init", folder)
        line = COMMAND.format(images=CONCEPTS / noun, noun=noun, seed=seed, size=size)
        said = json.loads(shell.cns(f"{line}{more} --json", folder, threads=1).stdout)
    return {score: round(said[field], 5) for score, field in SCORES.items()}
