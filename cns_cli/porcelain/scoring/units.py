"""What a check lacks, in units that may be computed apart: by several processes, or by several machines.

Keys that rest on the same pictures are one unit, and no other unit moves a bit of its scores. Whoever works on a unit
holds a kernel lock on it, so that commands that run side by side on one registry share the work. How much goes to which
shard hangs on what is asked for alone, and not on what is stored: all machines see the same parts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cns.errors import MethodError
from cns_cli.optionfield import Engine
from cns_cli.porcelain.scoring.keys import EvaluationKey, Evaluations
from cns_cli.porcelain.scoring.protocol import Protocol
from cns_cli.porcelain.scoring.scores import EvaluationStore
from cns_cli.progress import Progress, Stages
from cns_cli.rayworkers import RayWorkers
from cns_cli.workers import Work, Workers
from registry import fsio, locks
from registry.objects import Concept
from registry.repository import Repository

Unit = tuple[EvaluationKey, ...]


def units_of(evaluations: Evaluations, keys: Sequence[EvaluationKey]) -> list[Unit]:
    """Keys by the pictures that they rest on, those with most pictures first."""
    objects, found = evaluations.store.repo.objects, dict[object, list[EvaluationKey]]()
    for key in keys:
        kind, tree, about = key.pictures
        if kind == "class":  # concepts of one class noun have the same
            found.setdefault((kind, tree, objects.get(key.concept_id, Concept).class_noun), []).append(key)
        else:
            found.setdefault(("concept" if kind == "drift" else kind, tree, about), []).append(key)
    return sorted(map(tuple, found.values()), key=lambda unit: -evaluations.pictures(unit))


def part_of(evaluations: Evaluations, keys: Sequence[EvaluationKey], number: int, parts: int) -> list[EvaluationKey]:
    """The keys of one of several parts, counted from 1; each unit goes to the part that has least to draw."""
    loads, mine = [0] * parts, list[EvaluationKey]()
    for unit in units_of(evaluations, keys):
        least = loads.index(min(loads))
        loads[least] += evaluations.pictures(unit) + 1
        mine += unit if least == number - 1 else ()
    return mine


class Pool:
    """Computes evaluations in several processes, which start when the first is lacking and load the base once.

    Args:
        devices: Where to compute, a process each; of one of ours there is none, and all is left to the caller.
        engine: Who runs the processes.
        method: How ours start, see `Workers`.

    Attributes:
        images_made: Images that were generated.
        stored: Ids of the trees of which something was stored.
    """

    def __init__(self, devices: Sequence[str], engine: Engine = "processes", method: str = "spawn") -> None:
        self._devices, self._engine, self._method = devices, engine, method
        self._workers: Workers | RayWorkers | None = None
        self.images_made = 0
        self.stored: list[str] = []

    def evaluate(
        self, evaluations: Evaluations, keys: Sequence[EvaluationKey], progress: Progress
    ) -> list[EvaluationKey]:
        """Compute and store what is lacking of these keys; return what is lacking still, as what raises is."""
        lacking = [key for key in keys if not evaluations.has(key)]
        folder = evaluations.store.repo.folder
        needless = self._engine == "processes" and len(self._devices) == 1
        if not lacking or needless or not os.access(folder, os.W_OK):
            return lacking
        if self._workers is None:
            fsio.make_folder(folder / "cache")
            self._workers = self._start(evaluations.store.repo.root, evaluations.protocol)
        pictures, done = evaluations.pictures(lacking, lacking=True), 0
        progress.stage(f"generate and judge in {len(self._devices)} processes", pictures)

        def told(steps: int) -> None:
            nonlocal done
            done += steps
            progress.step(done)

        units = units_of(evaluations, lacking)
        for wait in (False, True):  # what another command is at comes last: it may have stored it by then
            busy = []
            for number, answer in self._workers.each([(unit, wait) for unit in units], told):
                if answer is None:
                    busy.append(units[number])
                    continue
                made, stored = answer
                self.images_made += made
                self.stored += stored
            units = busy
        evaluations.store.forget()
        return [key for key in lacking if not evaluations.has(key)]

    def _start(self, root: Path, protocol: Protocol) -> Workers | RayWorkers:
        """Start the processes; those of another machine take no other kind of device than was settled here."""
        opened = partial(_opened, root, protocol)
        if self._engine == "processes":
            return Workers(opened, self._devices, self._method)
        if "balanced" in self._devices:
            said = "a worker of Ray's has one GPU, and balanced spreads a base over all: expected --device auto"
            raise MethodError(said, "cns check --device balanced")
        return RayWorkers(opened, [protocol.device if one == "auto" else one for one in self._devices])

    def close(self) -> None:
        """End the processes."""
        if self._workers:
            self._workers.__exit__()


class _Counter(Progress):
    """Says how many images more were made."""

    def __init__(self) -> None:
        self.done = 0
        self.told: Callable[[int], None]

    def step(self, done: int, **_numbers: float) -> None:
        """Tell it."""
        self.told(done - self.done)
        self.done = done


def _opened(root: Path, protocol: Protocol, device: str, processes: int) -> Work:
    """What a process opens once. It draws as the protocol says, with its share of the cores, in whichever thread."""
    import torch

    from cns_cli.porcelain.models.session import Session
    from cns_cli.porcelain.scoring.evaluator import Evaluator

    threads = max(1, torch.get_num_threads() // processes)
    repo = Repository(root)
    session = Session.open(repo, device, protocol.encoder, protocol.dtype)
    session = replace(session, base=replace(session.base, family=protocol.family))
    evaluations, counter = Evaluations(EvaluationStore(repo), protocol), _Counter()
    evaluator = Evaluator(session, evaluations, Stages(), counter)

    def work(task: tuple[Unit, bool], told: Callable[[int], None]) -> tuple[int, list[str]] | None:
        unit, patient = task
        with locks.claim(repo.folder / "cache" / "claims", repr(unit), patient=patient) as ours:
            if not ours:
                return None
            torch.set_num_threads(threads)  # of this thread
            evaluations.store.forget()
            counter.told = told
            made, known = evaluator.images_made, len(evaluator.stored)
            evaluator.evaluate(unit)
            return evaluator.images_made - made, evaluator.stored[known:]

    return work
