"""docs/machines.md: its recipes for arrays of jobs are run here as they stand there, in two parts of a tiny check."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from cns_cli.porcelain.check import check
from cns_cli.porcelain.options import CheckOptions
from registry.refs import EVALUATIONS
from registry.repository import Repository
from tests.porcelain.test_ci_page import type_line

PAGE = (Path(__file__).parents[2] / "docs" / "machines.md").read_text(encoding="utf-8")


def fenced(language: str) -> str:
    """The first such block of the page."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, _learned: Path) -> Path:
    folder = tmp_path_factory.mktemp("machines") / "registry"
    shutil.copytree(_learned, folder)
    (folder / "pyproject.toml").write_text("[tool.cns.check]\nimages = 1\nmax-drop = 2\n")
    return folder


@pytest.mark.slow
def test_an_array_of_jobs_by_submitit_computes_what_one_process_computes(registry: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    shutil.copytree(registry, tmp_path / "parts")
    program = fenced("python").replace("/8", "/2").replace("range(1, 9)", "range(1, 3)")
    write(tmp_path / "parts" / "submit.py", program)
    done = type_line("python submit.py", tmp_path / "parts")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\b[12] of 2: ", done.stdout)) == 2
    known = check(CheckOptions(start=registry, device="cpu"))
    assert known.images_made
    assert Repository(tmp_path / "parts").refs.all(EVALUATIONS) == Repository(registry).refs.all(EVALUATIONS)


def write(path: Path, text: str) -> int:
    return path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("first", [0, 1])
def test_a_slurm_array_and_an_indexed_job_ask_for_each_part_once(first: int, tmp_path: Path) -> None:
    """The words that reach `cns`, which a program in its place writes down."""
    write(tmp_path / "cns", '#!/bin/sh\necho "$*" >> asked\n')
    (tmp_path / "cns").chmod(0o755)
    write(tmp_path / "check.sh", fenced("bash"))
    words = yaml.safe_load(fenced("yaml"))["command"]
    for task in (0, 1):
        numbers = {"SLURM_ARRAY_TASK_ID": task + first, "SLURM_ARRAY_TASK_MIN": first, "SLURM_ARRAY_TASK_COUNT": 2}
        environment = {name: str(number) for name, number in numbers.items()}
        place = f"PATH={tmp_path}:$PATH"
        assert type_line(f"{place} bash check.sh", tmp_path, **environment).returncode == 0
        assert type_line(f"{place}; {words[2]}", tmp_path, JOB_COMPLETION_INDEX=str(task)).returncode == 0
    asked = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert asked == [
        "check --shard 1/2", "-C /registry check --shard 1/8", "check --shard 2/2", "-C /registry check --shard 2/8",
    ]  # fmt: skip
