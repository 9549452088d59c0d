"""The sweep behind the defaults: how much is learned against how much is forgotten, setting by setting.

A stream of three concepts is learned for every setting, on nouns that `learning.py` does not report on. Finished cells
are kept one by one in docs/benchmarks/sweep_cells.json and not computed again, so a sweep can be stopped at any time;
delete the file to start anew. One loaded model serves all cells.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cells import Cells
from benchmarks.report import FOLDER, Cell, Report, Table
from benchmarks.trainer import LearnedConcept, Trainer

STREAM = ("turtle", "guitar", "hamburger")
PER_PROMPT = 2
ZERO_SHOT_PROMPTS = 40
CELLS = FOLDER / "sweep_cells.json"
SETTINGS = ("captions", "score", "reg", "a", "b", "lr", "warm-up", "steps")
FIGURES = ("gain", "of the way", "first kept", "drop", "drop CLIP-I", "zero-shot")


def settings() -> Iterator[dict[str, Any]]:
    """Yield the settings that are tried, one dict of changes to the family's defaults each."""
    yield {}
    yield {"captioned": False}
    yield {"reg": "none"}
    for anchor in (0.1, 0.3, 3.0, 10.0):
        yield {"anchor_strength": anchor}
    yield {"score": "wanda"}
    yield {"score": "fisher"}
    yield {"reg": "weights", "reg_strength": 10.0}
    yield {"reg": "project"}
    yield {"reg": "project-hard"}
    for rate in (1.5e-3, 6e-3):
        yield {"lr": rate}
    for steps in (150, 400):
        yield {"steps": steps}
    for warmup, steps in ((60, 100), (30, 150), (30, 100)):
        yield {"warmup_steps": warmup, "steps": steps}
    for strength in (1.0, 30.0):
        yield {"reg_strength": strength}


def run(quick: bool) -> Report:
    """Compute the cells that are missing, and make the table of all; `quick` does one cell of a few steps."""
    trainer = Trainer()
    cells = Cells(None if quick else CELLS)
    for changes in [{"steps": 10}] if quick else list(settings()):
        cells.of(json.dumps(changes or "defaults", sort_keys=True), partial(_cell, trainer, changes))
    note = (
        f"Stream {', '.join(STREAM)}, {PER_PROMPT} images of each judge prompt. *Gain*: identity when learned less the "
        "noun alone on the base, mean of the three; *of the way*: as a share of the way to the references' own "
        "similarity. *First kept* and *drop*: identity of the first concept after all three, and what it lost. "
        f"*Zero-shot*: how far images of {ZERO_SHOT_PROMPTS} held-out calibration prompts moved after all three, "
        "1 - cosine of their identity features, same seeds."
    )
    return Report("sweep", [Table("The sweep", [*SETTINGS, *FIGURES], list(cells.values.values()), note)])


def _cell(trainer: Trainer, changes: dict[str, Any]) -> list[Cell]:
    """Learn the stream under one setting; return its row."""
    concepts: list[LearnedConcept] = []
    gains, ways, first, first_clip = [], [], 0.0, 0.0
    for noun in STREAM:
        concepts.append(trainer.learn(noun, concepts, **changes))
        now = concepts[-1]
        alone = trainer.similarity(trainer.draw([], noun, PER_PROMPT), now.references)
        images = trainer.draw(concepts, now.weights.phrase, PER_PROMPT)
        learned = trainer.similarity(images, now.references)
        gains.append(learned - alone)
        ways.append((learned - alone) / (trainer.ceiling(now.references) - alone))
        if len(concepts) == 1:
            first, first_clip = learned, trainer.similarity(images, now.references, "clip")
    images = trainer.draw(concepts, concepts[0].weights.phrase, PER_PROMPT)
    kept = trainer.similarity(images, concepts[0].references)
    drop_clip = first_clip - trainer.similarity(images, concepts[0].references, "clip")
    used = trainer.settings(**{name: value for name, value in changes.items() if name != "captioned"})
    captions = "yes" if changes.get("captioned", True) else "no"
    row: list[Cell] = [captions, used.score, used.reg, used.reg_strength, used.anchor_strength, used.lr]
    moved = trainer.zero_shot(concepts, ZERO_SHOT_PROMPTS)
    figures = (np.mean(gains), np.mean(ways), kept, first - kept, drop_clip, moved)
    return [*row, used.warmup_steps, used.steps, *(round(float(value), 3) for value in figures)]
