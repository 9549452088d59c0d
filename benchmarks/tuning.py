"""Settings for every method, found on the tuning stream, and the frontier of learning against forgetting.

Each setting learns the same few concepts one after another. What is chosen is the setting with the best mean of
identity and CLIP-T over what was just learned and what is left at the end, so that a method that draws the concept
everywhere but forgets the prompt does not win. What is left at the end is what was learned less what was forgotten, and
the last concept cannot be forgotten: with three concepts a point of gain weighs as much as three points of forgetting.
Nothing of the reporting stream is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cells import Cells
from benchmarks.compared_methods import BY_NAME, OURS, Settings, TunableMethod, is_available
from benchmarks.experiment_setup import Setup
from benchmarks.lineage_cell import Cell, learn_stream
from benchmarks.ours import Ours
from benchmarks.work import FAILED, Job

EXPERIMENT = "tuning"
STREAM = "tune"
CRITERION = ("identity", "clip_t")
MARGIN = 0.003
"""By how much a later setting (more steps, a fourth rate) must beat the best of the first, and a regularizer's strength
the default: about the noise."""


class Tuning:
    """The sweeps of one run.

    Args:
        setup: The base and the size.
        cells: Where the finished settings are.
    """

    def __init__(self, setup: Setup, cells: Cells) -> None:
        self.setup, self.cells = setup, cells

    def plan(self, order: int, tunables: Sequence[TunableMethod]) -> list[Job | None]:
        """The jobs of some methods in one order; None where a later round is not known yet."""
        jobs: list[Job | None] = []
        for tunable in tunables:
            if is_available(tunable.name):
                jobs += self._rounds(tunable, order)
        return jobs

    def baseline(self, order: int) -> list[Job]:
        """The two ends of the frontier: no regularizer at all."""
        return [self._job("CNS union, no L_reg", {"reg": "none"}, order)]

    def chosen(self, name: str) -> Settings | None:
        """The best settings of a method in order 0; None while its sweep is not finished."""
        tunable = BY_NAME[name]
        rounds = self._rounds(tunable, 0)
        tried = [job for job in rounds if job is not None and job.key in self.cells.values]
        if len(tried) < len(rounds):
            return None
        first, later = tried[: len(tunable.first)], tried[len(tunable.first) :]
        standing = [job for job in first if job.settings["method"] == tunable.default]
        best = standing[0] if standing else max(first, key=self._score)
        for group in (first, later):
            challenger = max(group, key=self._score, default=best)
            if self._score(challenger) > self._score(best) + MARGIN:
                best = challenger
        settings: Settings = best.settings["method"]
        return settings

    def found(self, name: str, order: int) -> Iterator[tuple[Settings, Cell]]:
        """The finished cells of a method (or of "CNS union, no L_reg"): its settings and what came of them."""
        jobs = self._rounds(BY_NAME[name], order) if name in BY_NAME else self.baseline(order)
        for job in jobs:
            cell = self.cells.values.get(job.key) if job is not None else None
            if job is not None and cell is not None and FAILED not in cell:
                yield job.settings["method"], cell

    def _rounds(self, tunable: TunableMethod, order: int) -> list[Job | None]:
        start: Settings = {}
        if tunable.after:
            before = self.chosen(tunable.after)
            if before is None:
                return [None]
            start = before
        steps = {} if tunable in OURS else {"steps": self.setup.peer_steps}
        first = [self._job(tunable.name, {**steps, **start, **tried}, order) for tried in tunable.first]
        if any(job.key not in self.cells.values for job in first):
            return [*first, None] if tunable.then({**first[0].settings["method"]}, 1) else [*first]
        best = max(first, key=self._score).settings["method"]
        return [
            *first,
            *(self._job(tunable.name, tried, order) for tried in tunable.then(best, self.setup.peer_steps)),
        ]

    def _job(self, name: str, settings: Settings, order: int) -> Job:
        facts = self.setup.facts(STREAM, method=dict(settings), order=order, count=self.setup.size.tuning)
        title = f"tuning {order}: {name}, " + ", ".join(f"{key} {value}" for key, value in settings.items())
        cost = 0.2 if "factor" in settings else (2.0 if self.setup.trains_twice(settings) else 1.0)
        return Job(title, facts, partial(self._learn, name, settings, order), cost * self.setup.size.tuning)

    def _learn(self, name: str, settings: Settings, order: int) -> Cell:
        setup = self.setup
        ours = name not in BY_NAME or BY_NAME[name] in OURS
        method = Ours(name, **settings) if ours else BY_NAME[name].build(settings)
        concepts = setup.stream(STREAM).order(order, setup.size.tuning)
        return learn_stream(setup.trainer, setup.judge(STREAM), method, concepts, order, groups=False)

    def _score(self, job: Job) -> float:
        cell = self.cells.values[job.key]
        return -math.inf if FAILED in cell else criterion(cell)


def criterion(cell: Mapping[str, Any]) -> float:
    """Mean of identity and CLIP-T over the diagonal and the last row."""
    return float(np.mean([row[score] for part in ("diagonal", "final") for row in cell[part] for score in CRITERION]))
