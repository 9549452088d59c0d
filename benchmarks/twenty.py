"""The frontier at twenty concepts: the whole tuning stream, so that what adds up over many commits is seen.

Settings are tried on the first eight concepts; what may become the default, and what it is compared with, learns all.
Images are drawn in mixed precision, as those of the reporting stream.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

from benchmarks.concept_stream import Stream
from benchmarks.experiment_setup import Setup
from benchmarks.judging import Judge
from benchmarks.lineage_cell import Cell, learn_stream
from benchmarks.method import Method
from benchmarks.work import Job

EXPERIMENT = "twenty"
STREAM = "tune"
TRIAL = 8
"""Concepts on which a setting is tried."""


def job(setup: Setup, method: Method, order: int, count: int | None = None) -> Job:
    """The cell of one method and one order, whose number is its seed too.

    Args:
        setup: The base and the size.
        method: Who learns.
        order: Which.
        count: How many concepts of it; None = all of the size's.
    """
    count = count or setup.size.stream
    facts = setup.facts(STREAM, method=dict(method.settings), order=order, count=count, drawn="mixed")
    return Job(
        f"twenty {order}: {method.name}, {count}", facts, partial(_learn, setup, method, order, count), count * 1.4
    )


def _learn(setup: Setup, method: Method, order: int, count: int) -> Cell:
    judge = _judge(setup, order, count)
    concepts = judge.stream.order(order, count)
    trainer, whole = setup.trainer, count > TRIAL
    return learn_stream(trainer, judge, method, concepts, order, groups=count > 1, regions=whole, bare=whole)


@cache
def _judge(setup: Setup, order: int, count: int) -> Judge:
    """The judge of a stream of which only the first concepts are learned."""
    return Judge(setup.trainer, begun(setup.stream(STREAM), order, count), None, mixed=True)


def begun(stream: Stream, order: int, count: int) -> Stream:
    """A stream whose groups are of the first concepts of an order: its own where it is whole, else neighbours."""
    names = list(stream.orders[order][:count])
    if len(names) == len(stream.concepts):
        return stream
    pairs, triples = (
        [names[start : start + size] for start in range(0, len(names) - size + 1, size)] for size in (2, 3)
    )
    return replace(stream, pairs=pairs, triples=triples)
