"""The frontier at twenty concepts: the whole tuning stream, so that what adds up over many commits is seen."""

from __future__ import annotations

from functools import partial

from benchmarks.experiment_setup import Setup
from benchmarks.lineage_cell import Cell, learn_stream
from benchmarks.method import Method
from benchmarks.work import Job

EXPERIMENT = "twenty"
STREAM = "tune"


def job(setup: Setup, method: Method, order: int) -> Job:
    """The cell of one method and one order, whose number is its seed too."""
    facts = setup.facts(STREAM, method=dict(method.settings), order=order, count=setup.size.stream)
    return Job(f"twenty {order}: {method.name}", facts, partial(_learn, setup, method, order), setup.size.stream * 1.4)


def _learn(setup: Setup, method: Method, order: int) -> Cell:
    concepts = setup.stream(STREAM).order(order, setup.size.stream)
    whole = setup.size.stream >= len(setup.stream(STREAM).concepts)  # else some concepts of a group were not learned
    return learn_stream(setup.trainer, setup.judge(STREAM), method, concepts, order, groups=whole, bare=True)
