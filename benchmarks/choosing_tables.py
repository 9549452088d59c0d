"""The table of what choosing is worth: gain against what the change would say to prompts of other things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.choosing import CHOICES, COUNT, NO_CHANGE, NO_TOKEN, Choice, job
from benchmarks.paper import Paper
from benchmarks.report import Cell, Report, Table

HEADS = ("chosen", "share of K/V", "lr", "token", "gain", NO_CHANGE, NO_TOKEN, "drift, own", "drift, others", "ratio")


def choosing_report(paper: Paper) -> Report:
    """A row each choice that was tried."""
    cells = {choice: paper.cell(job(paper.setup, choice)) for choice in CHOICES}
    rows = [_row(choice, cell) for choice, cell in cells.items() if cell is not None]
    note = (
        f"The first {COUNT} concepts of the tuning stream, each learned alone on the base; seed 0. *Gain*: identity "
        f"less the noun's there; *{NO_CHANGE}*: the same with the token alone; *{NO_TOKEN}*: with the change of "
        "the weights and the noun's own embedding as the token. *Drift*: how far the change moves keys and values "
        "(`cns.drift`), on the concept's own prompts, and on those of the stream's other nouns if it were seen there; "
        "*ratio*: of the two. Four concepts and one seed: differences of gain under about 0.01 are noise. "
        f"{len(rows)} of {len(CHOICES)} choices."
    )
    return Report("choosing", [Table("What choosing is worth", HEADS, rows, note)])


def _row(choice: Choice, cell: Mapping[str, Any]) -> list[Cell]:
    share = f"{choice.share * 100:g} %" if choice.share else "4 directions"
    head: list[Cell] = [choice.what, share, f"{choice.lr:g}", "frozen" if choice.frozen else "trained"]
    rows = cell["rows"]
    gains = [_gain(rows, name) if name in rows[0] else "" for name in ("scores", NO_CHANGE, NO_TOKEN)]
    own, others = (fmean(row[name] for row in rows) for name in ("own", "others"))
    return [*head, *gains, f"{own:.4f}", f"{others:.5f}", f"{own / others:.1f}" if others else ""]


def _gain(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    return f"{fmean(row[name]['identity'] - row['base']['identity'] for row in rows):.3f}"
