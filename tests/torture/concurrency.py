"""R6: many processes commit to one branch while others read. Every commit is kept, and nobody sees half of one."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import RegistryError
from registry.repository import Repository
from tests.registry.making import new_repository
from tests.torture.injection import isolated
from tests.torture.scratch import scratch_folder
from tests.torture.table import Size, Trial
from tests.torture.verify import Broken, check_with_fsck, state_of

PROGRAM = Path(__file__).with_name("concurrent_process.py")
SIZES: dict[Size, tuple[int, int, int]] = {"quick": (8, 25, 2), "full": (32, 100, 4)}


@dataclass
class Outcome:
    """What the processes did, and what is wrong with that."""

    commits: int = 0
    reads: int = 0
    lost: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)


def run_together(folder: Path, committers: int, count: int, readers: int) -> Outcome:
    """Let committers make `count` commits each beside readers, and look at what is there then."""
    repository = new_repository(folder)
    writing = [_start("commit", folder, f"p{number}", str(count)) for number in range(committers)]
    reading = [_start("read", folder, "reader", "0") for _ in range(readers)]
    outcome = Outcome()
    acknowledged: list[str] = []
    for process in writing:
        acknowledged += _ended(process, outcome).split()
    for process in reading:
        outcome.reads += int(_ended(process, outcome) or 0)
    outcome.commits = len(acknowledged)
    line = dict(Repository(repository.root).log())
    outcome.lost += [commit for commit in acknowledged if commit not in line]
    if len(line) != committers * count + 1:
        outcome.corrupt.append(f"{len(line)} commits are in the line: expected {committers * count + 1}")
    if any(len(commit.parents) != 1 for commit in line.values() if commit.kind != "init"):
        outcome.corrupt.append("history is not one line")
    if len(repository.reflog("main")) != committers * count + 1:
        outcome.corrupt.append("a move is missing in the reflog")
    try:
        state_of(Repository(repository.root))
        check_with_fsck(repository)
    except (Broken, RegistryError) as error:
        outcome.corrupt.append(str(error))
    return outcome


def _start(*words: str | Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(isolated(PROGRAM, *words), stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _ended(process: subprocess.Popen[str], outcome: Outcome) -> str:
    """Close a process's stdin, wait for it and return what it wrote; anything on its stderr is a fault."""
    out, err = process.communicate(timeout=3600)
    if process.returncode or err:
        outcome.corrupt.append(f"a process ended with {process.returncode}: {err.strip()[-300:]}")
    return out


def run(size: Size) -> list[Trial]:
    """8 x 25 commits beside 2 readers, or 32 x 100 beside 4."""
    committers, count, readers = SIZES[size]
    began = time.monotonic()
    with scratch_folder() as scratch:
        outcome = run_together(scratch / "dogs", committers, count, readers)
    note = (
        "; ".join([*outcome.corrupt, *outcome.lost][:3]) or f"{outcome.reads} reads beside them, none of them partial"
    )
    what = f"{committers} processes, {count} commits each, {readers} readers"
    seconds = time.monotonic() - began
    return [Trial("R6", what, outcome.commits, len(outcome.lost), len(outcome.corrupt), note, seconds)]
