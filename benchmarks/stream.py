"""Twenty concepts one after another, by every method, in several orders: what is forgotten, what can be combined."""

from __future__ import annotations

from functools import partial

from benchmarks.experiment_setup import Setup
from benchmarks.figure3 import STREAM
from benchmarks.lineage_cell import Cell, learn_stream
from benchmarks.method import Method
from benchmarks.work import Job

EXPERIMENT = "stream"


def job(setup: Setup, method: Method, order: int) -> Job:
    """The cell of one method and one order, whose number is its seed too."""
    facts = setup.facts(
        STREAM, method=dict(method.settings), drawn=setup.drawing(STREAM), order=order, count=setup.size.stream
    )
    return Job(
        f"stream {order}: {method.name}",
        facts,
        partial(_learn, setup, method, order),
        setup.size.stream * (2.4 if setup.trains_twice(method.settings) else 1.4),
    )


def _learn(setup: Setup, method: Method, order: int) -> Cell:
    concepts = setup.stream(STREAM).order(order, setup.size.stream)
    whole = setup.size.stream >= len(setup.stream(STREAM).concepts)  # else some concepts of a group were not learned
    return learn_stream(setup.trainer, setup.judge(STREAM), method, concepts, order, groups=whole, bare=True)
