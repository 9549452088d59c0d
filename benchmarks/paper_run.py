"""Computes the cells of the paper's figures and tables, by one process or several.

    python -m benchmarks paper --jobs 2 --minutes 480

`figure3`, `tuning`, `singles`, `stream` in the place of `paper` compute one of its parts. Cells are kept one by one;
the same command goes on where it was stopped.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import torch

from benchmarks.compared_methods import ROWS, is_available
from benchmarks.experiment_setup import FULL, QUICK
from benchmarks.paper import Paper
from benchmarks.work import work


def run_part(part: str, *, quick: bool, minutes: float | None, jobs: int) -> Paper:
    """Compute the missing cells of a part.

    Args:
        part: Of `PARTS`.
        quick: Tiny sizes; nothing is kept.
        minutes: Begin no cell after that.
        jobs: Processes; each computes with one thread.
    """
    torch.set_num_threads(1)  # two processes of one thread get more done than one of two
    paper = Paper.of_size(QUICK if quick else FULL, keeps=not quick)
    for name in ROWS:
        if not is_available(name):
            print(f"  {name}: this version has no such regularizer; skipped", flush=True)
    limit = ["--minutes", str(minutes)] if minutes else []
    command = [sys.executable, "-m", "benchmarks", part, "--worker", *limit]
    others = (
        []
        if quick
        else [subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}) for _ in range(jobs - 1)]
    )
    try:
        work(partial(paper.plan, part), paper.store, minutes, jobs)
        for other in others:
            other.wait()
    finally:
        for other in others:
            if other.poll() is None:
                other.terminate()
    for cells in paper.stores.values():
        cells.read()
    return paper
