"""Cells are computed once, by one process, and none is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cells import Cells
from benchmarks.work import FAILED, Job, finished, work
from cns.errors import MethodError


def job(name: str, made: list[str], value: object = 1) -> Job:
    def compute() -> object:
        made.append(name)
        return value

    return Job(name, {"name": name}, compute, cost=1.0)


def test_a_stopped_plan_goes_on_where_it_was(tmp_path: Path) -> None:
    made: list[str] = []
    jobs = [job(name, made) for name in "abc"]
    assert work(lambda: jobs[:2], lambda _job: Cells(tmp_path / "cells.json"))
    assert work(lambda: jobs, lambda _job: Cells(tmp_path / "cells.json"))
    assert made == ["a", "b", "c"]


def test_no_cell_is_begun_after_the_limit(tmp_path: Path) -> None:
    made: list[str] = []
    cells = Cells(tmp_path / "cells.json")
    assert not work(lambda: [job("a", made)], lambda _job: cells, minutes=0)
    assert made == []


def test_a_cell_that_would_not_be_finished_in_time_waits_for_another_run(tmp_path: Path) -> None:
    def slow() -> None:
        time.sleep(0.2)

    made: list[str] = []
    cells = Cells(tmp_path / "cells.json")
    first, long = Job("first", {}, slow, 1.0), replace(job("long", made), cost=1000.0)
    assert not work(lambda: [first, long, job("short", made)], lambda _job: cells, minutes=0.5)
    assert made == ["short"]


def test_what_later_jobs_need_is_computed_first(tmp_path: Path) -> None:
    made: list[str] = []
    cells, first = Cells(tmp_path / "cells.json"), job("first", made, value="found")

    def plan() -> Sequence[Job | None]:
        return [job(cells.values[first.key], made) if finished(first, lambda _job: cells) else None, first]

    assert work(plan, lambda _job: cells)
    assert made == ["first", "found"]


def test_shards_are_the_whole_and_none_is_computed_twice(tmp_path: Path) -> None:
    made: list[str] = []
    jobs = [job(name, made) for name in "abcdefgh"]
    one, two = (Cells(tmp_path / name / "some_cells.json") for name in ("one", "two"))
    for number, cells in ((1, one), (2, two)):
        assert not work(lambda: jobs, lambda _job, cells=cells: cells, shard=(number, 2))
    assert sorted(made) == [*"abcdefgh"]
    assert 0 < len(one.values) < 8
    one.join(two.path)
    assert work(lambda: jobs, lambda _job: one)
    assert len(made) == len(one.values) == 8


def test_a_shard_ends_where_it_waits_for_another_ones_cell(tmp_path: Path) -> None:
    made: list[str] = []
    first = job("first", made)
    assert not work(lambda: [None, first], lambda _job: Cells(tmp_path / "cells.json"), shard=(3 - first.part(2), 2))
    assert made == []


def test_a_plan_that_waits_for_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="waits for cells"):
        work(lambda: [None], lambda _job: Cells(tmp_path / "cells.json"))


def test_a_method_that_fails_does_not_stop_the_work(tmp_path: Path) -> None:
    def diverge() -> None:
        raise MethodError("the loss became NaN")

    made: list[str] = []
    cells = Cells(tmp_path / "cells.json")
    assert work(lambda: [Job("bad", {}, diverge, 1.0), job("good", made)], lambda _job: cells)
    assert made == ["good"]
    assert [value for key, value in cells.values.items() if key.startswith("bad")] == [{FAILED: "the loss became NaN"}]


def test_other_settings_make_another_cell() -> None:
    one, other = (Job("a", {"lr": rate}, lambda: None, 1.0) for rate in (1, 2))
    assert one.key != other.key
    assert Job("a", {"lr": 1}, lambda: None, 9.0).key == one.key


def test_a_claimed_cell_is_nobody_elses(tmp_path: Path) -> None:
    one, other = Cells(tmp_path / "cells.json"), Cells(tmp_path / "cells.json")
    with one.claim("key") as ours, other.claim("key") as theirs, other.claim("another") as free:
        assert (ours, theirs, free) == (True, False, True)
        one.add("key", 1)
    with other.claim("key") as again:
        assert not again  # finished meanwhile


def test_a_process_that_dies_leaves_no_claim(tmp_path: Path) -> None:
    script = "import os, sys; from pathlib import Path; from benchmarks.cells import Cells\n"
    script += "with Cells(Path(sys.argv[1])).claim('key') as ours: os._exit(0 if ours else 1)"
    path = tmp_path / "cells.json"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", script, path], cwd=root, check=False).returncode == 0
    with Cells(path).claim("key") as ours:
        assert ours


def test_cells_of_many_processes_are_all_kept(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from benchmarks.cells import Cells\n"
    script += "cells = Cells(Path(sys.argv[1]))\n[cells.add(f'{sys.argv[2]} {n}', n) for n in range(20)]"
    path, root = tmp_path / "cells.json", Path(__file__).resolve().parents[2]
    started = [
        subprocess.Popen([sys.executable, "-c", script, path, name], cwd=root, stdout=subprocess.DEVNULL)
        for name in "ab"
    ]
    assert [process.wait() for process in started] == [0, 0]
    assert len(json.loads(path.read_text())) == 40
