"""Two clones that push to one branch at once, as two processes; what must hold when they have ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from registry.refs import HEADS
from registry.repository import Repository
from registry.sharing.opening import open_remote
from registry.sharing.remote import fold
from tests.registry.making import new_repository
from tests.registry.sharing.making import damage, fetch, push, twin

ROOT = Path(__file__).resolve().parents[3]


def race(scratch: Path, address: str, pushes: int, environment: Mapping[str, str]) -> int:
    """Let two clones push to main of a remote so often, and return how often one was told to merge first."""
    seed = new_repository(scratch / "seed")
    push(seed, open_remote(address))
    people = [twin(seed, scratch / name) for name in ("ann", "bob")]
    acknowledged = _raced(people, address, pushes, environment)
    remote = open_remote(address)
    moves = remote.moves()
    refs, counted = fold(moves)
    assert len(counted) == len(moves)  # none of the log was in vain
    last = new_repository(scratch / "last")
    fetch(last, remote)
    history = {one for one, _ in last.index.log([refs[HEADS + "main"]])}
    assert len(acknowledged) == 2 * pushes
    assert set(acknowledged) <= history
    assert len(last.tree_of(refs[HEADS + "main"]).concepts) == 2 * pushes
    assert [damage(repository) for repository in (last, *people)] == [[], [], []]
    return sum(len(last.parents(one)) > 1 for one in history)


def _raced(people: list[Repository], address: str, pushes: int, environment: Mapping[str, str]) -> list[str]:
    command = [sys.executable, "-m", "tests.registry.sharing.pusher"]
    started = [
        subprocess.Popen(
            [*command, str(one.root), address, one.root.name, str(pushes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=dict(environment),
        )
        for one in people
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0]
    return "".join(said).split()
