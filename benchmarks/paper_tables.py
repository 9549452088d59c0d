"""The tables of the paper's figures on our base, made of the cells that exist; a missing one is shown as missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import figure3, paper_plots, singles, stream
from benchmarks.lab import DEFAULTS
from benchmarks.lineage_figures import GAINS, first_concept_curve, lineage_figures
from benchmarks.lineup import ABLATIONS, OURS, PEERS, ROWS, TUNED
from benchmarks.paper_stats import MISSING, ByOrder, marked, shown
from benchmarks.report import Cell, Report, Table
from benchmarks.tuning import MARGIN

if TYPE_CHECKING:
    from benchmarks.paper import Paper

# x100, from the paper's table of results: single CLIP-I, single CLIP-T (CLIPScore), multi CLIP-I, multi CLIP-T, MB, s.
PAPER = {
    "CNS": (74.88, 76.95, 67.21, 79.22, "0/0", 0),
    "textual inversion": (72.76, 72.69, 65.30, 65.00, "0/0", 0),
    "custom diffusion": (67.88, 74.92, 65.87, 68.70, "3547/0", 10),
    "C-LoRA": (71.82, 66.12, 66.15, 60.30, "2461/4747", 10),
}
PAPER_OVERLAP = 0.53
PEER = "custom diffusion"
IMAGE_NAMES = {"identity": "identity", "clip_i": "CLIP-I", "lite_i": "EfficientNet", "clip_t": "CLIP-T"}
INTERVALS = (
    "Mean ± half of Student's 95 % interval over orders and seeds. Bold: best; =: not significantly below it, pair by "
    "pair on the orders that all methods have, uncorrected for the number of comparisons."
)


def figure3_report(paper: Paper) -> Report:
    """Overlap of base and general neurons against the number of calibration prompts."""
    found = {job.settings["score"]: paper.cell(job) for job in figure3.plan(paper.lab)}
    curves = {
        f"{score}, {vote}": figure3.mean_curve(cell, vote)
        for score, cell in found.items()
        if cell
        for vote in figure3.VOTES
    }
    counts = list(paper.lab.size.calibration)
    rows: list[list[Cell]] = [
        [count, *(f"{curve[place]:.2f}" for curve in curves.values())] for place, count in enumerate(counts)
    ]
    picture = paper_plots.overlap(counts, curves, PAPER_OVERLAP) if curves and paper.keeps else ""
    note = (
        f"Share of a concept's base neurons that are general, mean of {paper.lab.size.singles} concepts. *All*: in the "
        "top quarter of their row for every prompt; *half*: for at least half of the prompts, as we select. "
        f"The paper's curve levels off at about {PAPER_OVERLAP:.0%}."
    )
    figures = {f"overlap, {name}": curve[-1] for name, curve in curves.items()}
    return Report(
        "figure3", [Table("Base neurons that are general", ["prompts", *curves], rows, note + picture)], [], figures
    )


def frontier_report(paper: Paper) -> Report:
    """Every setting that was tried on the tuning stream."""
    sweeps, points = paper.tuning, []
    rows: list[list[Cell]] = []
    for name in ["CNS, no L_reg", *(contender.name for contender in (*OURS, *PEERS))]:
        chosen = sweeps.chosen(name) if name in TUNED else None
        for order in range(paper.lab.size.tuning_orders):
            for settings, cell in sweeps.found(name, order):
                summary = lineage_figures(cell)
                text = ", ".join(f"{key} {value}" for key, value in settings.items() if key != "reg")
                use = "yes" if settings == chosen or name in ABLATIONS else ""
                use = "the default" if settings == DEFAULT_SETTINGS else use
                points.append((name, settings, summary["gain identity"], summary["bwt identity"], order, bool(use)))
                rows.append([name, text, order, *(shown([summary[key]]) for key in FRONTIER), use])
    picture = paper_plots.frontier(points) if points and paper.keeps else ""
    columns = ["method", "settings", "order", *FRONTIER, "in the tables"]
    note = (
        f"{paper.lab.size.tuning} concepts of the tuning stream. *Gain*: identity when learned less the noun alone on "
        "the base. *Criterion*: mean of identity and CLIP-T over what was just learned and what is left at the end; "
        "the best in order 0 goes into the tables, where what was tried after the first settings must be better by "
        f"{MARGIN:g}. CNS itself keeps the family's defaults."
    )
    return Report("frontier", [Table("The settings that were tried", columns, rows, note + picture)])


FRONTIER = ("gain identity", "bwt identity", "bwt clip_i", "final identity", "final clip_t", "zero-shot", "criterion")
DEFAULT_SETTINGS = {"reg": DEFAULTS.reg, "reg_strength": DEFAULTS.reg_strength}
Cells = Mapping[str, Mapping[int, Any]]
"""Method -> number of the order (or seed) -> its cell."""


def singles_report(paper: Paper) -> Report:
    """Single concepts."""
    cells = {name: paper.cells(singles.SAME_AS.get(name, name), singles.job) for name in ROWS}
    gains = _figures(cells, _gain)
    ratios = {
        name: {order: gain / gains[PEER][order] for order, gain in row.items() if order in gains[PEER]}
        for name, row in gains.items()
    }
    columns = {"gain": marked(gains), f"gain / {PEER}'s": _plain(ratios)}
    for score, label in IMAGE_NAMES.items():
        columns[label] = marked(_figures(cells, partial(_mean, score)))
    for score in ("diversity", "copying"):
        columns[score] = _plain(_figures(cells, partial(_mean, score)))
    rows: list[list[Cell]] = []
    for name in ROWS:
        paper_s = [f"{value:.2f}" for value in PAPER[name][:2]] if name in PAPER else ["", ""]
        rows.append([name, *(column[name] for column in columns.values()), *paper_s])
    note = (
        f"{paper.lab.size.singles} concepts, each learned on the bare base. {INTERVALS} The intervals are of seeds: "
        "they say nothing about other concepts. *Gain*: identity less the noun alone on the base. Cosines are raw; the "
        "paper's columns are 100 x cosine (CLIP-I) and 250 x cosine (CLIP-T) on Stable Diffusion and another CLIP: "
        "compare within a column only. *Diversity*: mean distance of two images; *copying*: distance to the nearest "
        "reference (small = copied); both in CLIP."
    )
    figures: dict[str, Cell] = {}
    if ratios["CNS"]:
        figures[f"gain against {PEER}"] = float(np.mean(list(ratios["CNS"].values())))
    table = Table("Single concepts", ["method", *columns, "paper CLIP-I", "paper CLIP-T"], rows, note)
    return Report("singles", [table], [], figures)


LINEAGE = ("gain {}", "final {}", "bwt {}", "bwt {} / gain", "retention {}")


def stream_report(paper: Paper) -> Report:
    """Forgetting over the stream, and what a commit costs."""
    cells = {name: paper.cells(name, stream.job) for name in ROWS}
    summaries = {name: {order: lineage_figures(cell) for order, cell in row.items()} for name, row in cells.items()}
    note = (
        f"{paper.lab.size.stream} concepts. {INTERVALS} *Gain*: when learned, less the noun alone on the base. "
        "*Final*: after the last concept. *BWT*: final less when learned, mean over all but the last, and as a share "
        "of the gain. *Retention*: what is left of the gain."
    )
    tables = []
    for score in GAINS:
        columns = _columns(summaries, [key.format(score) for key in LINEAGE])
        rows: list[list[Cell]] = [
            [name, *(column[name] for column in columns.values()), f"{len(cells[name])} of {paper.lab.size.orders}"]
            for name in ROWS
        ]
        heads = [key.replace(f" {score}", "") for key in columns]
        title = f"Twenty concepts in a row: {IMAGE_NAMES[score]}"
        tables.append(Table(title, ["method", *heads, "orders"], rows, note))
    columns = _columns(summaries, ["final lite_i", "bwt lite_i", "final clip_t", "bwt clip_t"])
    drift = _plain(_figures(summaries, lambda row: row["zero-shot"]))
    rows = [[name, *(column[name] for column in columns.values()), drift[name]] for name in ROWS]
    heads = [key.replace("lite_i", "EfficientNet").replace("clip_t", "CLIP-T") for key in columns]
    told = paper.lab.stream(figure3.STREAM)
    nouns = re.compile("|".join(rf"\b{concept.noun}\b" for concept in told.concepts.values()))
    more = (
        f"*Zero-shot*: how far images of {len(told.zero_shot)} held-out prompts moved from the base's, 1 - cosine of "
        f"identity; {sum(nouns.search(prompt) is not None for prompt in told.zero_shot)} of them name a class that the "
        "stream teaches."
    )
    curves = {
        IMAGE_NAMES[score]: {name: first_concept_curve(row.values(), score) for name, row in cells.items() if row}
        for score in GAINS
    }
    picture = paper_plots.first_concept(curves) if any(cells.values()) and paper.keeps else ""
    tables.append(Table("Twenty concepts in a row: the rest", ["method", *heads, "zero-shot"], rows, more + picture))
    figures: dict[str, Cell] = {
        f"{name}: {key}": float(np.mean([row[key] for row in values.values()]))
        for name, values in summaries.items()
        for key in ("bwt identity", "bwt clip_i", "retention identity")
        if values and all(key in row for row in values.values())
    }
    tables += [table for table in (_cost_table(cells), energy_table(cells)) if table]
    return Report("stream", tables, [], figures)


def multi_report(paper: Paper) -> Report:
    """Several concepts in one picture."""
    cells: Cells = {
        name: {order: cell["together"] for order, cell in paper.cells(name, stream.job).items() if "together" in cell}
        for name in ROWS
    }
    tables = []
    for kind in ("pairs", "pairs, regions", "triples", "triples, regions"):
        columns = {
            label: marked(_figures(cells, partial(_of_group, kind, score)))
            for score, label in {"identity": "identity", "all_there": "all there", **IMAGE_NAMES}.items()
        }
        rows: list[list[Cell]] = [[name, *(column[name] for column in columns.values())] for name in ROWS]
        tables.append(Table(f"Several concepts: {kind}", ["method", *columns], rows, ""))
    held = _plain(_figures(cells, lambda cell: cell["fuse_bytes"] / 2**20))
    spent = _plain(_figures(cells, lambda cell: cell["fuse_s"]))
    rows = [[name, held[name], spent[name], *(PAPER[name][2:] if name in PAPER else [""] * 4)] for name in ROWS]
    columns_ = ["method", "MB", "s", "paper CLIP-I", "paper CLIP-T", "paper MB (GPU/CPU)", "paper s"]
    note = (
        "*MB*, *s*: what must be held and done before a group can be drawn, beyond one model that all concepts are in. "
        "After all concepts. *Identity* in the best window of each picture; *all there*: of the worst concept of each. "
        + INTERVALS
    )
    return Report("multi", [*tables, Table("Getting several concepts ready", columns_, rows, note)])


def _figures(cells: Cells, figure: Callable[[Any], float]) -> dict[str, dict[int, float]]:
    """One figure of every cell."""
    return {name: {order: figure(cell) for order, cell in row.items()} for name, row in cells.items()}


def _plain(rows: Mapping[str, ByOrder]) -> dict[str, str]:
    """A column in which nothing is best."""
    return {name: shown(row.values()) for name, row in rows.items()}


def _columns(summaries: Cells, keys: Sequence[str]) -> dict[str, dict[str, str]]:
    """One marked column a key, where any row has it."""
    columns = {}
    for key in keys:
        values = {
            name: {order: row[key] for order, row in rows.items() if key in row} for name, rows in summaries.items()
        }
        if any(values.values()):
            columns[key] = marked(values)
    return columns


def _cost_table(cells: Cells) -> Table:
    """What a commit changes and stores."""
    rows: list[list[Cell]] = []
    for name, row in cells.items():
        counts = [value for cell in row.values() for value in cell["weights"]]
        sizes = [value for cell in row.values() for value in cell["size_bytes"]]
        if not counts:
            rows.append([name, *[MISSING] * 3])
            continue
        share, kv = np.mean(counts) / DENOISER_SIZE, np.mean(counts) / KV_SIZE
        rows.append([name, f"{share:.2%}", f"{kv:.1%}", f"{np.mean(sizes) / 1024:.0f} KiB"])
    note = (
        "Weights that one concept changes or adds, and what must be stored for it: of CNS compressed integers, as the "
        "registry stores them, of the others float32. The paper: 0.13 % of the model."
    )
    return Table("What a concept costs", ["method", "of the denoiser", "against K/V", "a commit"], rows, note)


def energy_table(cells: Cells) -> Table | None:
    """What a projection leaves of a training's last step, over the stream; None where nothing was projected."""
    curves = {
        name: [cell["figures"][ENERGY] for cell in row.values() if ENERGY in cell["figures"]]
        for name, row in cells.items()
    }
    measured = {name: list(zip(*found, strict=True)) for name, found in curves.items() if found}
    if not measured:
        return None
    count = len(next(iter(measured.values())))
    places = [place for place in ENERGY_PLACES if place <= count]
    rows: list[list[Cell]] = [
        [name, *(shown(columns[place - 1]) for place in places)] for name, columns in measured.items()
    ]
    note = "Share of the last step's squared length that is left, mean ± half of the 95 % interval over orders."
    heads = [{2: "2nd", 3: "3rd"}.get(place, f"{place}th") for place in places]
    return Table("Energy left under the projection, by the number of the concept", ["method", *heads], rows, note)


ENERGY = "energy_left"
ENERGY_PLACES = (2, 3, 5, 10, 15, 20)
"""The first concept has nothing to be kept from."""


KV_SIZE, DENOISER_SIZE = 442_368, 10_667_124  # of emoji-64-v1; a test compares them with the base


def _gain(cell: dict[str, Any]) -> float:
    """Mean gain of identity of single concepts."""
    pairs = zip(cell["scores"], cell["base"], strict=True)
    return float(np.mean([row["identity"] - base["identity"] for row, base in pairs]))


def _of_group(kind: str, score: str, cell: dict[str, Any]) -> float:
    """A score of pairs or triples."""
    return float(cell[kind][score])


def _mean(score: str, cell: dict[str, Any]) -> float:
    """Mean of a score over single concepts."""
    return float(np.mean([row[score] for row in cell["scores"]]))


REPORTS: dict[str, Callable[[Paper], Report]] = {
    "figure3": figure3_report,
    "frontier": frontier_report,
    "singles": singles_report,
    "stream": stream_report,
    "multi": multi_report,
}
