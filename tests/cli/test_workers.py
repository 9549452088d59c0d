"""Units in several processes: one that is killed loses nothing, and an end ends all."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from cns_cli.workers import Work, Workers
from registry import locks
from registry.fsio import is_alive


def opened(folder: Path, place: str, processes: int) -> Work:
    """Squares numbers and writes down who did so; 1 kills its process the first time, 2 always raises."""

    def work(unit: int, told: Callable[[int], None]) -> int:
        with (folder / str(unit)).open("a", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        if unit == 1 and len(done_by(folder, 1)) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if unit == 2:
            raise ValueError(place)
        told(processes)
        return unit * unit

    return work


def done_by(folder: Path, unit: int) -> list[int]:
    return [*map(int, (folder / str(unit)).read_text(encoding="ascii").split())]


def test_a_unit_of_a_killed_process_is_done_by_another_and_what_raises_is_not_answered(tmp_path: Path) -> None:
    steps: list[int] = []
    with Workers(partial(opened, tmp_path), ["here", "there"]) as workers:
        assert dict(workers.each(range(5), steps.append)) == {0: 0, 1: 1, 3: 9, 4: 16}
        first, second = done_by(tmp_path, 1)
        assert first != second
        assert dict(workers.each([7], steps.append)) == {0: 49}  # by the one that is left
    assert done_by(tmp_path, 7) == [second]
    assert steps == [2] * 5
    assert not is_alive(second)


def test_where_no_process_is_left_nothing_is_answered(tmp_path: Path) -> None:
    with Workers(partial(opened, tmp_path), ["here"]) as workers:
        assert [*workers.each([1, 3], int)] == []


def test_an_interruption_ends_all(tmp_path: Path) -> None:
    workers = Workers(partial(opened, tmp_path), ["here", "there"])
    next(workers.each(range(3, 9), int))
    with pytest.raises(KeyboardInterrupt), workers:
        raise KeyboardInterrupt
    begun = [unit for unit in range(3, 9) if (tmp_path / str(unit)).exists()]
    assert begun
    assert not any(is_alive(process) for unit in begun for process in done_by(tmp_path, unit))


def test_a_claim_goes_with_its_process(tmp_path: Path) -> None:
    """Kernel locks are between processes: a child claims, and is killed with it in hand."""
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        with locks.claim(tmp_path / "claims", "a unit") as ours:
            os.write(go, b"y" if ours else b"n")
            signal.pause()
    try:
        assert os.read(ready, 1) == b"y"
        with locks.claim(tmp_path / "claims", "a unit") as ours, locks.claim(tmp_path / "claims", "another") as other:
            assert (ours, other) == (False, True)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with locks.claim(tmp_path / "claims", "a unit", patient=True) as ours:
        assert ours
