"""The cells of the paper's figures and tables on the embedded base: which are wanted, in which order, which exist.

`multi` and `frontier` are tables of the cells of `stream` and `tuning`. The order makes a part of a run useful:
settings first, then every method in the first order, then the next. Knows neither tables nor processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import choosing, figure3, singles, stream, tuning, twenty
from benchmarks.cells import Cells
from benchmarks.compared_methods import BY_NAME, OURS, PEERS, ROWS, TunableMethod, is_available, row_method
from benchmarks.experiment_setup import Setup, Size
from benchmarks.method import Method
from benchmarks.tuning import Tuning
from benchmarks.work import FAILED, Job, cells_of, finished

PARTS = {
    "figure3": (figure3.EXPERIMENT,),
    "tuning": (tuning.EXPERIMENT,),
    "frontier": (tuning.EXPERIMENT,),
    "singles": (tuning.EXPERIMENT, singles.EXPERIMENT),
    "stream": (tuning.EXPERIMENT, stream.EXPERIMENT),
    "multi": (tuning.EXPERIMENT, stream.EXPERIMENT),
    "twenty": (twenty.EXPERIMENT,),
    "choosing": (choosing.EXPERIMENT,),
    "paper": (
        *(figure3.EXPERIMENT, tuning.EXPERIMENT, twenty.EXPERIMENT),
        *(singles.EXPERIMENT, stream.EXPERIMENT, choosing.EXPERIMENT),
    ),
}
"""Name on the command line -> experiments whose cells it needs."""

MakeJob = Callable[[Setup, Method, int], Job]
"""(setup, method, number of an order or seed) -> the job of its cell."""


@dataclass(frozen=True)
class Paper:
    """The cells of one run.

    Attributes:
        setup: The base and the size.
        stores: Experiment -> its cells.
        keeps: Whether anything is kept: cells, tables, pictures.
        rows: Which methods; sweeps of others are left out, unless it is all of them.
    """

    setup: Setup
    stores: dict[str, Cells]
    keeps: bool
    rows: Sequence[str] = ROWS

    @classmethod
    def of_size(cls, size: Size, *, keeps: bool = True, setup: Setup | None = None) -> Paper:
        """A run whose cells are in docs/benchmarks, or nowhere."""
        names = PARTS["paper"]
        return cls(setup or Setup(size), {name: cells_of(name) if keeps else Cells(None) for name in names}, keeps)

    @property
    def tuning(self) -> Tuning:
        """The sweeps."""
        return Tuning(self.setup, self.stores[tuning.EXPERIMENT])

    def plan(self, part: str) -> list[Job | None]:
        """The jobs of a part in the order of their worth."""
        wanted = PARTS[part]
        return [job for experiment, job in self._all() if experiment in wanted]

    def store(self, job: Job) -> Cells:
        """Where a job's cell is kept."""
        return self.stores[experiment_of(job)]

    def method(self, name: str) -> Method | None:
        """The method of a row, or None while its settings are not known."""
        return row_method(name, self.tuning.chosen)

    def cell(self, job: Job) -> Any:
        """A finished cell, or None; None too where the method failed."""
        found = self.store(job).values.get(job.key)
        return None if found is None or FAILED in found else found

    def cells(self, name: str, job: MakeJob) -> dict[int, Any]:
        """The finished cells of a row, by order or seed."""
        method = self.method(name) if is_available(name) else None
        if method is None:
            return {}
        found = {number: self.cell(job(self.setup, method, number)) for number in range(self.setup.size.orders)}
        return {number: cell for number, cell in found.items() if cell is not None}

    def _all(self) -> Iterator[tuple[str, Job | None]]:
        """Every job with its experiment."""
        sweeps, size = self.tuning, self.setup.size
        alone = [name for name in self.rows if name not in singles.SAME_AS]
        yield from _each(figure3.EXPERIMENT, figure3.plan(self.setup))
        yield from _each(tuning.EXPERIMENT, sweeps.plan(0, self._swept(PEERS)))
        yield from _each(tuning.EXPERIMENT, [*sweeps.baseline(0), *sweeps.plan(0, self._swept(OURS))])
        yield from _each(twenty.EXPERIMENT, [twenty.job(self.setup, trial) for trial in size.some(twenty.TRIALS)])
        for number in range(size.orders):
            yield from _each(stream.EXPERIMENT, self._rows(number, self.rows, stream.job))
            yield from _each(singles.EXPERIMENT, self._rows(number, alone, singles.job))
        choices = size.some(choosing.CHOICES)
        yield from _each(choosing.EXPERIMENT, [choosing.job(self.setup, choice) for choice in choices])
        for order in range(1, size.tuning_orders):
            yield from _each(tuning.EXPERIMENT, [*sweeps.baseline(order), *sweeps.plan(order, self._swept(OURS))])

    def _swept(self, tunables: Sequence[TunableMethod]) -> list[TunableMethod]:
        """Those of some tunable methods that the rows, or the frontier of a whole run, need."""
        needed = {*self.rows, *(BY_NAME[name].after for name in self.rows if name in BY_NAME)}
        return [one for one in tunables if one.name in needed or len(self.rows) == len(ROWS)]

    def _rows(self, number: int, names: Sequence[str], job: MakeJob) -> Iterator[Job | None]:
        """The jobs of some rows in one order; one that uses what another trained waits for it, to find it cached."""
        jobs: dict[str, Job | None] = {}
        for name in filter(is_available, names):
            method = self.method(name)
            before = jobs.get(BY_NAME[name].after) if name in BY_NAME else None
            waits = method is None or (before is not None and not finished(before, self.store))
            jobs[name] = None if method is None else job(self.setup, method, number)
            yield None if waits else jobs[name]


def _each(experiment: str, jobs: Iterable[Job | None]) -> Iterator[tuple[str, Job | None]]:
    return ((experiment, job) for job in jobs)


def experiment_of(job: Job) -> str:
    """The experiment of a job: the first word of its name."""
    return job.name.replace(":", " ").split()[0]
