"""The table of the frontier at twenty concepts: what is left, what was forgotten, pairs and triples, bytes."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from benchmarks import twenty
from benchmarks.lineage_figures import lineage_figures
from benchmarks.paper import Paper
from benchmarks.report import Cell, Report, Table
from benchmarks.twenty import TRIAL, WHOLE, Trial

COLUMNS = {
    "gain": "gain identity",
    "left": "final identity",
    "BWT": "bwt identity",
    "CLIP-I": "final clip_i",
    "CLIP-T": "final clip_t",
    "zero-shot": "zero-shot",
}
"""Head -> figure of `lineage_figures`."""

GROUPS = ("pairs", "triples", "pairs, regions", "triples, regions")


def twenty_report(paper: Paper) -> Report:
    """Twenty concepts, and the settings that were tried on eight."""
    cells = [(one, cell) for one in twenty.TRIALS if (cell := paper.cell(twenty.job(paper.setup, one))) is not None]
    whole, tried = ([_row(one, cell) for one, cell in cells if one.count == count] for count in (WHOLE, TRIAL))
    note = (
        "The tuning stream, order 0. *Gain*: identity when learned less the noun alone on the base; *left*: identity "
        "after the last concept; *bare*: that of the concept's phrase alone as a prompt, beside the judge's prompts. "
        "*KiB*: what a concept stores, compressed. Pairs and triples: identity; CLIP-T. One seed: differences under "
        "about 0.005 are noise. "
        f"{len(cells)} of {len(twenty.TRIALS)} settings, in both tables."
    )
    few = (
        f"The first {TRIAL} concepts of the same order, and pairs and triples of neighbours among them; the same "
        "concepts, seeds and warm-ups in every row, and the base's tie b = 1."
    )
    heads: list[str] = ["setting", *COLUMNS, "bare", "KiB", *GROUPS]
    several = len(COLUMNS) + 3  # from here on pairs and triples
    shorter = [[*row[: len(COLUMNS) + 2], *row[several : several + 2]] for row in tried]
    shorter_heads = [*heads[: len(COLUMNS) + 2], *heads[several : several + 2]]
    tables = [
        Table("The frontier at twenty concepts", heads, whole, note),
        Table(f"Settings on {TRIAL} concepts", shorter_heads, shorter, few),
    ]
    return Report("twenty", tables, [], {})


def _row(trial: Trial, cell: Mapping[str, Any]) -> list[Cell]:
    found = lineage_figures(cell)
    bare = f"{fmean(row['identity'] for row in cell['bare']):.3f}" if "bare" in cell else ""
    groups = [
        f"{cell['together'][kind]['identity']:.3f}; {cell['together'][kind]['clip_t']:.3f}"
        if kind in cell.get("together", {})
        else ""
        for kind in GROUPS
    ]
    figures = [f"{found[key] + 0.0:.3f}".replace("-0.000", "0.000") for key in COLUMNS.values()]
    return [trial.method.name, *figures, bare, f"{fmean(cell['size_bytes']) / 1024:.0f}", *groups]
