"""Is it the concept, and is the first one still there after two more? By identity, against artists and peers.

Singles: each example concept is learned on the bare base; its images are compared with its references, with the same
noun by other artists, and with what training *all* K/V weights for the same steps reaches (at the better of two
learning rates). Stream: the commands themselves, three adds, with the default regularizer and with `--reg none`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shell
from benchmarks.cells import Cells
from benchmarks.report import FOLDER, Cell, Report, Table
from benchmarks.trainer import CONCEPTS, Trainer

SINGLES = ("dog", "cat", "frog", "penguin", "car", "rocket")
# It begins with the drawing that is least like its class noun: the most to learn, and the most to lose.
STREAMS = (("cat", "dog", "car"),)
CELLS = FOLDER / "learning_cells.json"
STREAM_COLUMNS = (
    *("concept", "verdict", "identity: born", "now", "drop ≤ upper bound", "CLIP-I: born", "now", "drop ≤ upper bound"),
    *("`cns add`", "memory", "of K/V", "bits a weight"),
)
PEER_RATES = (5e-4, 1e-3)  # of all K/V weights: 17 times as many move, so each moves less
PER_PROMPT = 4
NEAREST_BAR, GAIN_BAR, PEER_BAR = 0.8, 0.6, 0.85


def run(quick: bool) -> Report:
    """Run singles and streams; `quick` learns one concept for a few steps."""
    changes: dict[str, Any] = {"steps": 20} if quick else {}
    cells = Cells(None if quick else CELLS)
    singles, figures = _singles(cells, SINGLES[:1] if quick else SINGLES, 1 if quick else PER_PROMPT, changes)
    tables, commands = [singles], []
    drops: dict[str, list[dict[str, float]]] = {"features": [], "none": []}
    for nouns in (STREAMS[0][:2],) if quick else STREAMS:
        for reg, found in drops.items():
            more = " --steps 20" if quick else ""
            cell = cells.of(f"{' '.join(nouns)}, {reg}", partial(_stream, nouns, reg, more))
            tables.append(Table(f"{', '.join(nouns)}, `--reg {reg}`", STREAM_COLUMNS, cell["rows"]))
            commands += cell["commands"]
            found.append(cell["first"])
    figures["first concept's drop, features, upper bound"] = max(row["high"] for row in drops["features"])
    figures["first concept's drop, none"] = max(row["drop"] for row in drops["none"])
    return Report("learning", tables, commands, figures)


def _singles(
    cells: Cells, nouns: tuple[str, ...], per_prompt: int, changes: dict[str, Any]
) -> tuple[Table, dict[str, Cell]]:
    """Learn each noun alone; return the table and the means that the bars are about."""
    load = cache(Trainer)  # when a cell is missing
    rows: list[list[float]] = [cells.of(noun, partial(_single, load, noun, per_prompt, changes)) for noun in nouns]
    means = np.mean(rows, axis=0)
    shown: list[list[Cell]] = [
        [noun, *(f"{value:.2f}" for value in row)] for noun, row in zip(nouns, rows, strict=True)
    ]
    shown.append(["**mean**", *(f"**{value:.2f}**" for value in means)])
    shown.append(["bar", "", "", "", f"{NEAREST_BAR}", f"{GAIN_BAR}", "", f"{PEER_BAR}"])
    columns = ["concept", "noun alone", "learned", "references", "nearest", "of the way", "all K/V", "gain / all K/V"]
    rates = " and ".join(f"{rate:g}" for rate in PEER_RATES)
    note = (
        f"Identity, {per_prompt} images a judge prompt. *Of the way*: gain over the noun alone, as a share of the "
        "way to the references' own similarity. *All K/V*: every K/V weight and the token, trained for the same "
        f"steps at the better of the learning rates {rates}."
    )
    named = {"nearest": means[3], "of the way": means[4], "gain over peer": means[6]}
    return Table("Is it the concept?", columns, shown, note), {key: float(value) for key, value in named.items()}


def _single(load: Callable[[], Trainer], noun: str, per_prompt: int, changes: dict[str, Any]) -> list[float]:
    """Learn one noun on the bare base, and its peers."""
    trainer = load()
    learned = trainer.learn(noun, **changes)
    before = trainer.similarity(trainer.draw([], noun, per_prompt), learned.references)
    images = trainer.draw([learned], learned.weights.phrase, per_prompt)
    after, ceiling = trainer.similarity(images, learned.references), trainer.ceiling(learned.references)
    peer = max(_peer(trainer, noun, rate, per_prompt, changes) for rate in PEER_RATES)
    near = trainer.nearest(images, learned.references, noun)
    row = [
        before,
        after,
        ceiling,
        near,
        (after - before) / (ceiling - before),
        peer,
        (after - before) / (peer - before),
    ]
    return [round(float(value), 3) for value in row]


def _peer(trainer: Trainer, noun: str, rate: float, per_prompt: int, changes: dict[str, Any]) -> float:
    """Identity after training all K/V weights without a regularizer."""
    everything = {"budget": trainer.model.kv_size, "reg": "none", "lr": rate}
    learned = trainer.learn(noun, general=trainer.no_general_neurons(), **{**changes, **everything})
    return trainer.similarity(trainer.draw([learned], learned.weights.phrase, per_prompt), learned.references)


def _stream(nouns: tuple[str, ...], reg: str, more: str) -> dict[str, Any]:
    """Add the nouns one after another by the commands, then check; rows in the order of learning."""
    lines = [f"cns add {noun} pictures/{noun} --class {noun} --reg {reg}{more}" for noun in nouns]
    lines.append("cns check")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for noun in nouns:
            shutil.copytree(CONCEPTS / noun, folder / "pictures" / noun)
        shell.cns("cns init --compose all", folder)  # where one concept can harm another
        added = [shell.cns(f"{line} --json", folder) for line in lines[:-1]]
        checked = shell.cns("cns check --json", folder, expect=(0, 3)).json
    rows, first = stream_rows(nouns, added, checked)
    return {"rows": rows, "commands": lines, "first": first}


def stream_rows(
    names: Sequence[str], added: Sequence[shell.Ran], checked: dict[str, Any]
) -> tuple[list[list[Cell]], dict[str, float]]:
    """Rows of what `cns add --json` and `cns check --json` said, and the drop of the first concept's identity."""
    verdicts = {row["concept"]: row["verdict"] for row in checked["rows"]}
    scores = {row["concept"]: {score["metric"]: score for score in row["metrics"]} for row in checked["rows"]}
    rows: list[list[Cell]] = []
    for name, ran in zip(names, added, strict=True):
        cells: list[Cell] = [name, verdicts[name]]
        for score in (scores[name]["id"], scores[name]["clip-i"]):
            cells += [f"{score['baseline']:.3f}", f"{score['now']:.3f}", f"{score['drop']:+.3f} ≤ {score['high']:+.3f}"]
        cells += [f"{ran.elapsed_s:.0f} s", f"{ran.peak_bytes / 2**30:.2f} GiB"]
        cells += [f"{100 * ran.json['share_kv']:.2f} %", f"{ran.json['bits_per_weight']:.1f}"]
        rows.append(cells)
    first = scores[names[0]]["id"]
    return rows, {"drop": first["drop"], "high": first["high"]}
