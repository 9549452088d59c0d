"""Working through the cells of a plan: which one is next, what a time limit allows, how long it will take.

A plan is a list of jobs in the order in which they are worth having: it is made anew after every cell, because what a
later job does may hang on what earlier ones found (a learning rate, say). Any number of processes may work through the
same plan; each takes the first job that nobody has.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.cells import Cells
from benchmarks.report import FOLDER
from cns.errors import MethodError

WAIT_S = 10.0
DIGITS = 10  # of a key's hash
FAILED = "failed"
"""Key of a cell that holds an error in the place of figures."""


@dataclass(frozen=True)
class Job:
    """A cell that is wanted.

    Attributes:
        name: "EXPERIMENT: METHOD, WHAT"; for people.
        settings: All that the cell hangs on; a change makes another cell.
        compute: Makes it.
        cost: About how long it takes, in trainings of one concept.
    """

    name: str
    settings: Mapping[str, Any]
    compute: Callable[[], Any]
    cost: float

    @property
    def key(self) -> str:
        """Name and hash of the settings."""
        text = json.dumps(self.settings, sort_keys=True)
        return f"{self.name} #{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}"

    def part(self, parts: int) -> int:
        """Which of so many parts it is of, from 1: the same on every machine, whatever is computed."""
        return 1 + int(hashlib.sha256(self.key.encode()).hexdigest(), 16) % parts


Plan = Callable[[], Sequence[Job | None]]
"""Jobs in their order; None stands for one or more that are not known before others are finished."""


def cells_of(experiment: str) -> Cells:
    """The file of an experiment's cells."""
    return Cells(FOLDER / f"{experiment}_cells.json")


def work(
    plan: Plan,
    store: Callable[[Job], Cells],
    minutes: float | None = None,
    workers: int = 1,
    shard: tuple[int, int] = (1, 1),
) -> bool:
    """Compute the cells that are missing.

    Args:
        plan: What is wanted.
        store: Where a job's cell is kept; the same object for the same file.
        minutes: Begin no cell after that, nor one that would hardly be finished by then.
        workers: How many processes share the plan, for the estimate.
        shard: The part of the cells that is computed here, from 1, and how many parts there are.

    Returns:
        Whether all cells are there.
    """
    begun, spent, done = time.monotonic(), 0.0, 0.0
    pace = 0.0  # seconds a training
    while True:
        jobs = plan()
        pending = [job for job in jobs if job is None or not finished(job, store)]
        if not pending:
            return True
        if not any(pending):
            raise RuntimeError("the plan waits for cells that it does not list")
        wanted = [job for job in pending if job and job.part(shard[1]) == shard[0]]
        if not wanted:
            print(f"  {len(pending)} cells are missing, none of which is of shard {shard[0]}/{shard[1]}", flush=True)
            return False
        left = math.inf if minutes is None else 60 * minutes - (time.monotonic() - begun)
        fitting = [job for job in wanted if left > 0 and job.cost * pace <= left]
        if not fitting:
            print(f"  {minutes:g} minutes are over; {len(pending)} cells are missing", flush=True)
            return False
        took = next((made for job in fitting if (made := _attempt(job, store)) is not None), None)
        if took is None:
            time.sleep(WAIT_S)  # others compute what is left
            continue
        seconds, cost = took
        spent, done = spent + seconds, done + cost
        pace = spent / done
        trainings = sum(
            job.cost for job in plan() if job and job.part(shard[1]) == shard[0] and not finished(job, store)
        )
        hours = trainings * pace / workers / 3600
        print(f"  {seconds:.0f} s; {trainings:.0f} trainings are left, about {hours:.1f} h", flush=True)


def finished(job: Job, store: Callable[[Job], Cells]) -> bool:
    """Whether a job's cell is there."""
    return job.key in store(job).values


def _attempt(job: Job, store: Callable[[Job], Cells]) -> tuple[float, float] | None:
    """Compute a cell unless somebody else does or did; return its seconds and cost."""
    cells = store(job)
    with cells.claim(job.key) as ours:
        if not ours:
            return None
        print(f"{time.strftime('%H:%M:%S')} {job.name}", flush=True)
        start = time.monotonic()
        cells.add(job.key, _computed(job))
        return time.monotonic() - start, job.cost


def _computed(job: Job) -> Any:
    """The cell's value; a training that diverged is an outcome, and must not stop a night's work."""
    try:
        return job.compute()
    except MethodError as error:
        return {FAILED: str(error)}
