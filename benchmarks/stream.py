"""Twenty concepts one after another, by every method, in several orders: what is forgotten, what can be combined."""

from __future__ import annotations

from functools import partial

from benchmarks.figure3 import STREAM
from benchmarks.lab import Lab
from benchmarks.lineage_cell import Cell, learn_stream
from benchmarks.method import Method
from benchmarks.work import Job

EXPERIMENT = "stream"


def job(lab: Lab, method: Method, order: int) -> Job:
    """The cell of one method and one order, whose number is its seed too."""
    facts = lab.facts(
        STREAM, method=dict(method.settings), drawn=lab.drawing(STREAM), order=order, count=lab.size.stream
    )
    twice = method.settings.get("steps", 0) > lab.peer_steps
    return Job(
        f"stream {order}: {method.name}",
        facts,
        partial(_learn, lab, method, order),
        lab.size.stream * (2.4 if twice else 1.4),
    )


def _learn(lab: Lab, method: Method, order: int) -> Cell:
    concepts = lab.stream(STREAM).order(order, lab.size.stream)
    whole = lab.size.stream >= len(lab.stream(STREAM).concepts)  # else some concepts of a group were not learned
    return learn_stream(lab.room, lab.judge(STREAM), method, concepts, order, groups=whole)
