"""Units by Ray, one start of it for all: a worker that is killed loses nothing and changes no score."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from typer.testing import CliRunner

from cns.errors import MethodError
from cns_cli import optionfield, rayworkers
from cns_cli.main import app
from cns_cli.porcelain.check import check
from cns_cli.porcelain.gate import run as gate
from cns_cli.porcelain.options import CheckOptions
from cns_cli.progress import NullProgress
from cns_cli.rayworkers import RayWorkers
from cns_cli.workers import Work
from registry.refs import EVALUATIONS
from registry.repository import Repository
from tests.cli.test_workers import done_by, opened


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", str(2 * torch.get_num_threads()))  # each of two has as many as this process
        with rayworkers._connected():
            yield


def closed(place: str, _processes: int) -> Work:
    raise FileNotFoundError(f"no registry on {place}")


@pytest.mark.usefixtures("_ray")
def test_ray_does_a_killed_workers_unit_again_and_says_why_none_could_begin(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    steps: list[int] = []
    with RayWorkers(partial(opened, tmp_path), ["cpu", "cpu"]) as workers:
        assert dict(workers.each(range(5), steps.append)) == {0: 0, 1: 1, 3: 9, 4: 16}
        assert dict(workers.each([7], steps.append)) == {0: 49}
    first, second = done_by(tmp_path, 1)
    assert first != second
    assert steps == [1] * 5
    with RayWorkers(closed, ["cpu"]) as workers, pytest.raises(MethodError, match="no registry on cpu"):
        assert [*workers.each([1], int)]
    assert tuple(capfd.readouterr()) == ("", "")  # Ray says nothing of its own


class Killing(NullProgress):
    """Kills a worker of Ray's at its first pictures."""

    killed = 0

    def step(self, done: int, **_numbers: float) -> None:
        if not self.killed:
            children = psutil.Process().children(recursive=True)
            worker = next(one for one in children if " ".join(one.cmdline()).startswith("ray::_Actor.do"))
            worker.kill()
            self.killed = worker.pid


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_a_check_by_ray_finds_what_one_process_finds_though_a_worker_is_killed(
    learned: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tmp_path_factory.mktemp("alone") / "registry"
    shutil.copytree(learned, alone)
    options = {"images": 2, "max_drop": {"": 2.0}, "device": "cpu"}
    known = check(CheckOptions(start=alone, **options))
    monkeypatch.setattr(gate.CheckRun, "_open", None)  # nothing is left for this process
    progress = Killing()
    found = check(CheckOptions(start=learned, jobs=2, engine="ray", **options), progress)
    assert progress.killed
    assert Repository(learned).refs.all(EVALUATIONS) == Repository(alone).refs.all(EVALUATIONS)
    assert found.rows == known.rows


def test_where_ray_is_missing_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optionfield.importlib.util, "find_spec", lambda _: None)
    for words in (["check"], ["report", "--fill"], ["bisect", "run"]):
        done = CliRunner().invoke(app, [*words, "--engine", "ray"], prog_name="cns")
        assert done.exit_code == 2
        assert "Ray is not installed" in done.stderr
        assert "pip install 'cns-cli[ray]'" in done.stderr
