"""The tables of the paper's figures on our base, made of the cells that exist; a missing one is shown as missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import Any

import numpy as np

from benchmarks import figure3, paper_plots, singles, stream
from benchmarks.choosing_tables import choosing_report
from benchmarks.compared_methods import ABLATIONS, OURS, PEERS, ROWS, TUNED
from benchmarks.experiment_setup import DEFAULTS
from benchmarks.lineage_figures import lineage_figures
from benchmarks.paper import Paper
from benchmarks.paper_stats import (
    Cells,
    best_and_below,
    figures_of,
    finished,
    marked,
    on_common_orders,
    plain,
    shown,
    table_rows,
)
from benchmarks.report import Cell, Report, Table
from benchmarks.stream_tables import IMAGE_NAMES, TOGETHER_NAMES, intervals, stream_report
from benchmarks.tuning import MARGIN
from benchmarks.twenty_tables import twenty_report

# x100, from the paper's table of results: single CLIP-I, single CLIP-T (CLIPScore), multi CLIP-I, multi CLIP-T, MB, s.
PAPER = {
    "CNS": (74.88, 76.95, 67.21, 79.22, "0/0", 0),
    "textual inversion": (72.76, 72.69, 65.30, 65.00, "0/0", 0),
    "custom diffusion": (67.88, 74.92, 65.87, 68.70, "3547/0", 10),
    "C-LoRA": (71.82, 66.12, 66.15, 60.30, "2461/4747", 10),
}
PAPER_OVERLAP = 0.53
PEER = "custom diffusion"


def figure3_report(paper: Paper) -> Report:
    """Overlap of base and general neurons against the number of calibration prompts."""
    found = {job.settings["score"]: paper.cell(job) for job in figure3.plan(paper.setup)}
    curves = {
        f"{score}, {vote}": figure3.mean_curve(cell, vote)
        for score, cell in found.items()
        if cell
        for vote in figure3.VOTES
    }
    counts = list(paper.setup.size.calibration)
    rows: list[list[Cell]] = [
        [count, *(f"{curve[place]:.2f}" for curve in curves.values())] for place, count in enumerate(counts)
    ]
    picture = paper_plots.overlap(counts, curves, PAPER_OVERLAP) if curves and paper.keeps else ""
    note = (
        f"Share of a concept's base neurons that are general, mean of {paper.setup.size.singles} concepts. *All*: in "
        "the top quarter of their row for every prompt; *half*: for at least half of the prompts, as we select. "
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
    for name in ["CNS union, no L_reg", *(tunable.name for tunable in (*OURS, *PEERS))]:
        chosen = sweeps.chosen(name) if name in TUNED else None
        for order in range(paper.setup.size.tuning_orders):
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
        f"{paper.setup.size.tuning} concepts of the tuning stream, in each order three others; the plot shows order 0. "
        "*Gain*: identity when learned less the noun alone on the base. *Criterion*: mean of identity and CLIP-T over "
        "what was just learned and what is left at the end. The best in order 0 goes into the tables; what was tried "
        f"after a peer's first settings, or besides a = {DEFAULTS.reg_strength:g} for a regularizer of ours, must be "
        f"better by {MARGIN:g}. CNS itself keeps the family's defaults."
    )
    return Report("frontier", [Table("The settings that were tried", columns, rows, note + picture)])


FRONTIER = ("gain identity", "bwt identity", "bwt clip_i", "final identity", "final clip_t", "zero-shot", "criterion")
DEFAULT_SETTINGS = {"reg": DEFAULTS.reg, "reg_strength": DEFAULTS.reg_strength}


SCALES = (
    "the paper's columns are 100 x cosine (CLIP-I) and 250 x cosine (CLIP-T) on Stable Diffusion and another CLIP: "
    "compare within a column only."
)


def singles_report(paper: Paper) -> Report:
    """Single concepts."""
    cells = on_common_orders({name: paper.cells(singles.SAME_AS.get(name, name), singles.job) for name in ROWS})
    gains = figures_of(cells, _gain)
    ratios = {
        name: {order: gain / gains[PEER][order] for order, gain in row.items() if order in gains[PEER]}
        for name, row in gains.items()
    }
    columns = {"gain": marked(gains), f"gain / {PEER}'s": plain(ratios)}
    for score, label in IMAGE_NAMES.items():
        columns[label] = marked(figures_of(cells, partial(_mean, score)))
    for score in ("diversity", "copying"):
        columns[score] = plain(figures_of(cells, partial(_mean, score)))
    paper_s = [{name: f"{PAPER[name][place]:.2f}" if name in PAPER else "" for name in ROWS} for place in (0, 1)]
    rows = table_rows(ROWS, [*columns.values(), *paper_s])
    note = (
        f"{paper.setup.size.singles} concepts, each learned on the bare base. {intervals(cells, paper)} *Gain*: "
        "identity less the noun alone on the base. Where nothing was learned before, *CNS union, project* is "
        f"*CNS union*. Cosines are raw; {SCALES} *Diversity*: mean distance of two images; *copying*: distance to the "
        "nearest reference (small = "
        "copied); both in CLIP."
    )
    figures: dict[str, Cell] = {}
    if ratios["CNS"]:
        figures[f"gain against {PEER}"] = float(np.mean(list(ratios["CNS"].values())))
    table = Table("Single concepts", ["method", *columns, "paper CLIP-I", "paper CLIP-T"], rows, note)
    return Report("singles", [table, *_by_class(paper, cells)], [], figures)


def _by_class(paper: Paper, cells: Cells) -> list[Table]:
    """Single concepts of classes that the base was trained on, and of others; none where all are of one sort."""
    concepts = figure3.single_concepts(paper.setup)
    known, new = ({one.name for one in concepts if one.known is wanted} for wanted in (True, False))
    if not (known and new):
        return []
    columns = {
        f"{label}, {sort}": marked(figures_of(cells, partial(_mean, score, among=names)))
        for score, label in (("identity", "identity"), ("clip_t", "CLIP-T"))
        for sort, names in (("known", known), ("new", new))
    }
    rows = table_rows(ROWS, columns.values())
    note = (
        f"The same, apart: {len(known)} concepts of classes that the base knows, and of those that it never saw "
        f"({', '.join(sorted(new))})."
    )
    return [Table("Single concepts: known and new classes", ["method", *columns], rows, note)]


def multi_report(paper: Paper) -> Report:
    """Several concepts in one picture."""
    streams = {name: paper.cells(name, stream.job) for name in ROWS}
    together = {
        name: {order: cell["together"] for order, cell in row.items() if "together" in cell}
        for name, row in streams.items()
    }
    cells: Cells = on_common_orders(finished(together, paper.setup.size.orders))
    tables = []
    below: Counter[str] = Counter()
    below_union: Counter[str] = Counter()
    for kind in ("pairs", "pairs, regions", "triples", "triples, regions"):
        columns = {}
        for score, label in TOGETHER_NAMES.items():
            column = figures_of(cells, partial(_of_group, kind, score))
            columns[label] = marked(column)
            found = best_and_below(column)
            if found is not None and cells["CNS"]:
                below[label] += "CNS" in found[1]
            pair = {name: column[name] for name in ("CNS", "CNS union")}
            if (found := best_and_below(pair)) is not None and all(pair.values()):
                below_union[label] += "CNS" in found[1]
        tables.append(Table(f"Several concepts: {kind}", ["method", *columns], table_rows(ROWS, columns.values()), ""))
    rows: list[list[Cell]] = [
        [name, *_fused(cells[name]), *(PAPER[name][2:] if name in PAPER else [""] * 4)] for name in ROWS
    ]
    columns_ = ["method", "MiB", "s", "paper CLIP-I", "paper CLIP-T", "paper MB (GPU/CPU)", "paper s"]
    note = (
        "*MiB*, *s*: tensors that must be held, and time that it takes, before a pair or a triple can be drawn, beyond "
        "one model that all concepts are in. *None*: the method learns one concept after another in one model, also "
        "those (Custom Diffusion, C-LoRA) that the paper lets combine models of single concepts, which is what its "
        "figures are of. After all concepts. *Identity* in the best window of each picture, which need not lie in the "
        "concept's box, and two concepts may claim the same; *all there*: of the worst concept of each. CNS is kept "
        "from forgetting prompts of two concepts side by side, which no peer is. "
        f"{intervals(cells, paper)} Cosines are raw; {SCALES}"
    )
    figures: dict[str, Cell] = {f"tables with CNS below the best: {label}": count for label, count in below.items()}
    figures |= {f"tables with CNS below CNS union: {label}": count for label, count in below_union.items()}
    return Report("multi", [*tables, Table("Getting several concepts ready", columns_, rows, note)], [], figures)


def _gain(cell: dict[str, Any]) -> float:
    """Mean gain of identity of single concepts."""
    pairs = zip(cell["scores"], cell["base"], strict=True)
    return float(np.mean([row["identity"] - base["identity"] for row, base in pairs]))


def _of_group(kind: str, score: str, cell: dict[str, Any]) -> float:
    """A score of pairs or triples."""
    return float(cell[kind][score])


def _mean(score: str, cell: dict[str, Any], among: Container[str] | None = None) -> float:
    """Mean of a score over single concepts, all or some."""
    named = zip(cell["concepts"], cell["scores"], strict=True)
    return float(np.mean([row[score] for name, row in named if among is None or name in among]))


def _fused(cells: Mapping[int, Any]) -> list[Cell]:
    """What getting ready takes: MiB and seconds."""
    if cells and not any(cell["fuse_bytes"] for cell in cells.values()):
        return ["none", "none"]
    held, spent = [cell["fuse_bytes"] / 2**20 for cell in cells.values()], [cell["fuse_s"] for cell in cells.values()]
    return [shown(held), shown(spent)]


REPORTS: dict[str, Callable[[Paper], Report]] = {
    "figure3": figure3_report,
    "frontier": frontier_report,
    "twenty": twenty_report,
    "choosing": choosing_report,
    "singles": singles_report,
    "stream": stream_report,
    "multi": multi_report,
}


def reports(paper: Paper, part: str) -> list[Report]:
    """The tables of a part (of `paper.PARTS`), of the cells that there are."""
    names = tuple(REPORTS) if part == "paper" else ("frontier",) if part == "tuning" else (part,)
    return [REPORTS[name](paper) for name in names]
