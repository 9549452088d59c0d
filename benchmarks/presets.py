"""What each preset costs and gains: two concepts a preset, taught by the commands to a new registry.

Drop: how much lower the first one's identity is once the second is learned, as `cns check` says; prompts of a new
registry see what they name, so that it is drawn with the same weights. Time is that of the processor, all of `cns add`,
in one thread: a machine with other work gives the same figure.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import shell
from benchmarks.cells import Cells
from benchmarks.report import FOLDER, Cell, Report, Table
from benchmarks.trainer import CONCEPTS
from cns.presets import PRESETS

NOUNS = ("dog", "cat")
CELLS = FOLDER / "presets_cells.json"
COLUMNS = ("preset", "processor time", "gain of identity", "identity", "CLIP-T before", "after", "drop of the first")
SCORES = ("identity_before", "identity_after", "clip_t_before", "clip_t_after")


def run(quick: bool) -> Report:
    """Teach the concepts under every preset; `quick` takes a few steps."""
    os.environ["OMP_NUM_THREADS"] = "1"
    cells = Cells(None if quick else CELLS)
    more = " --steps 5 --warmup 5" if quick else ""
    rows: list[list[Cell]] = []
    figures: dict[str, Cell] = {}
    for name in PRESETS:
        found = cells.of(name, partial(_taught, name, more))
        figures |= {f"{name} {key}": found[key] for key in ("seconds", "gain", "drop")}
        _, identity, *text = (f"{found[key]:.3f}" for key in SCORES)
        rows.append(
            [name, f"{found['seconds']:.0f} s", f"{found['gain']:+.3f}", identity, *text, f"{found['drop']:.3f}"]
        )
    note = f"Means over {' and '.join(NOUNS)} of the example concepts, seed 0."
    commands = [f"cns add {noun} {noun} --class {noun} --preset {name}{more}" for name in PRESETS for noun in NOUNS]
    return Report("presets", [Table("What a preset costs and gains", COLUMNS, rows, note)], commands, figures)


def _taught(preset: str, more: str) -> dict[str, float]:
    """Means of one preset: processor seconds of an `add`, scores, the gain; and the drop."""
    with tempfile.TemporaryDirectory() as name:
        folder, seconds, said = Path(name), [], []
        shell.cns("cns init", folder)
        for noun in NOUNS:
            shutil.copytree(CONCEPTS / noun, folder / noun)
            began = _processor_s()
            line = f"cns add {noun} {noun} --class {noun} --preset {preset}{more} --json"
            said.append(shell.cns(line, folder).json)
            seconds.append(_processor_s() - began)
        checked = shell.cns("cns check --metric id --json", folder, expect=(0, 3)).json
    first = next(row for row in checked["rows"] if row["concept"] == NOUNS[0])
    found = {key: float(np.mean([one[key] for one in said])) for key in SCORES}
    gain = found["identity_after"] - found["identity_before"]
    return {
        "seconds": float(np.mean(seconds)),
        "gain": gain,
        "drop": float(first["metrics"][0]["drop"] or 0.0),
        **found,
    }


def _processor_s() -> float:
    """Processor time of all commands that ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
