"""Computes the cells of the paper's figures and tables, by one process or several.

    python -m benchmarks paper --jobs 2 --minutes 480

`figure3`, `tuning`, `singles`, `stream` in the place of `paper` compute one of its parts. Cells are kept one by one;
the same command goes on where it was stopped. On several machines:

    python -m benchmarks paper --shard 1/2                       # on one
    python -m benchmarks paper --shard 2/2                       # on another
    python -m benchmarks paper --join OTHER/docs/benchmarks      # on one of them: what both found, and the tables

Cells that hang on what others find are not known before: where some are left, join and go on.
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


def run_part(part: str, *, quick: bool, minutes: float | None, jobs: int, shard: tuple[int, int] = (1, 1)) -> Paper:
    """Compute the missing cells of a part.

    Args:
        part: Of `PARTS`.
        quick: Tiny sizes; nothing is kept.
        minutes: Begin no cell after that.
        jobs: Processes; each computes with one thread.
        shard: As of `work`.
    """
    torch.set_num_threads(1)  # two processes of one thread get more done than one of two
    paper = Paper.of_size(QUICK if quick else FULL, keeps=not quick)
    for name in ROWS:
        if not is_available(name):
            print(f"  {name}: this version has no such regularizer; skipped", flush=True)
    limit = ["--minutes", str(minutes)] if minutes else []
    here = ["--shard", f"{shard[0]}/{shard[1]}"]
    command = [sys.executable, "-m", "benchmarks", part, "--worker", *here, *limit]
    others = (
        []
        if quick
        else [subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}) for _ in range(jobs - 1)]
    )
    try:
        work(partial(paper.plan, part), paper.store, minutes, jobs, shard)
        for other in others:
            other.wait()
    finally:
        for other in others:
            if other.poll() is None:
                other.terminate()
    for cells in paper.stores.values():
        cells.read()
    return paper
