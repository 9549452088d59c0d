"""The frontier at twenty concepts: the whole tuning stream, so that what adds up over many commits is seen.

Settings are tried on the first eight concepts; what may become the default, and what it is compared with, learns all.
Images are drawn in mixed precision, as those of the reporting stream, except for the baseline's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial

from benchmarks.compared_methods import DEFAULT
from benchmarks.concept_stream import Stream
from benchmarks.experiment_setup import Setup
from benchmarks.judging import Judge
from benchmarks.lineage_cell import Cell, learn_stream
from benchmarks.method import Method
from benchmarks.named import TIED, Named
from benchmarks.ours import Ours
from benchmarks.trial_scores import LOWEST, RANDOM, RATIO
from benchmarks.work import Job

EXPERIMENT = "twenty"
STREAM = "tune"
TRIAL, WHOLE = 8, 20
"""Concepts on which a setting is tried, and all of the stream."""
RATES = ((4, 6e-3), (4, 1e-2), (11, 5e-3))
"""Rank and learning rate of the directions that were tried."""
CAPTIONS_ALONE = {name: value for name, value in DEFAULT.items() if name != "bare_share"}
"""The defaults as they were when no phrase alone was trained beside captions."""
BARE_SHARES = (0.0, 0.125, 0.25, 0.5)
"""Of the draws that see the phrase alone."""


@dataclass(frozen=True)
class Trial:
    """A setting that is tried.

    Attributes:
        method: Who learns.
        count: How many concepts of the order.
        order: Which, and the seed.
        mixed: Draw in mixed precision.
        groups: Draw pairs and triples at the end, and each concept's phrase alone when it was learned.
    """

    method: Method
    count: int = TRIAL
    order: int = 0
    mixed: bool = True
    groups: bool = True


def job(setup: Setup, trial: Trial) -> Job:
    """The cell of a trial."""
    method, count, order = trial.method, min(trial.count, setup.size.stream), trial.order
    drawn = {"drawn": "mixed"} if trial.mixed else {}
    facts = setup.facts(
        STREAM,
        method=dict(method.settings),
        order=order,
        count=count,
        **drawn,
        **({} if trial.groups else {"groups": 0}),
    )
    name = f"{EXPERIMENT} {order}: {method.name}" + (f", {count}" if count < WHOLE else "")
    return Job(name, facts, partial(_learn, setup, trial, count), count * 1.4)


def _learn(setup: Setup, trial: Trial, count: int) -> Cell:
    judge, order, whole = (
        judge_of(setup, trial.order, count, trial.mixed),
        trial.order,
        trial.count == WHOLE and trial.groups,
    )
    concepts, several = judge.stream.order(order, count), trial.groups and bool(judge.stream.triples)
    return learn_stream(
        setup.trainer, judge, trial.method, concepts, order, groups=several, regions=whole, bare=trial.groups
    )


@cache
def judge_of(setup: Setup, order: int, count: int, mixed: bool) -> Judge:
    """The judge of a stream of which only the first concepts are learned."""
    return Judge(setup.trainer, begun(setup.stream(STREAM), order, count), None, mixed=mixed)


def begun(stream: Stream, order: int, count: int) -> Stream:
    """A stream whose groups are of the first concepts of an order: its own where it is whole, else neighbours."""
    names = list(stream.orders[order][:count])
    if len(names) == len(stream.concepts):
        return stream
    pairs, triples = (
        [names[start : start + size] for start in range(0, len(names) - size + 1, size)] for size in (2, 3)
    )
    return replace(stream, pairs=pairs, triples=triples)


TRIALS = (
    Trial(Ours("CNS union"), WHOLE, mixed=False),
    Trial(Named("CNS", **DEFAULT), WHOLE),
    Trial(Named("CNS, captions alone", **CAPTIONS_ALONE), WHOLE),
    Trial(Named("CNS, captions alone, whole beside others", **{**CAPTIONS_ALONE, "company": 1.0}), WHOLE),
    Trial(Named("named, mask")),
    Trial(Named("named, mask, until next", reach="until next")),
    *(Trial(Named(f"named, {rank} directions, lr {lr:g}", directions=rank, lr=lr)) for rank, lr in RATES),
    *(Trial(Named(f"CNS, bare prompt {share:g}", **{**DEFAULT, "bare_share": share})) for share in BARE_SHARES),
    *(Trial(Named(f"CNS, lr {lr:g}", **{**DEFAULT, "lr": lr})) for lr in (3e-3, 3e-2)),
    *(Trial(Named(f"CNS, b = {tie:g}", **DEFAULT, anchor_strength=tie)) for tie in (0.1, 10.0)),
    *(Trial(Named(f"CNS, prompts of two things tied at {where}", **DEFAULT, tied=where)) for where in TIED),
    Trial(Ours("CNS union, a / J", shared=True), WHOLE, groups=False),
    *(
        Trial(Ours(f"CNS union, no L_reg, {score}", reg="none", score=score, keeps_general=True), WHOLE, groups=False)
        for score in ("gradient", RANDOM, LOWEST, RATIO)
    ),
)
"""What was tried, in the order of the tables."""
