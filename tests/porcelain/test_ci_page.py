"""docs/ci.md: what it tells people to type is typed here, on tiny registries, as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from cns_cli.porcelain.check import check
from cns_cli.porcelain.mlflow import sync
from cns_cli.porcelain.options import CheckOptions, Request
from registry.repository import Repository
from tests.porcelain.conftest import copied
from tests.steps import FEW_STEPS

PAGE = (Path(__file__).parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")
ENVIRONMENT = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def ours(lines: list[str]) -> list[str]:
    """The lines that start a program of ours or pytest; what a CI server brings along is left out."""
    return [line.strip() for text in lines for line in text.splitlines() if re.match(r"(cns|pytest) ", line.strip())]


def type_line(line: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell, as CI does, with the programs of this environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, **ENVIRONMENT, **FEW_STEPS, "PATH": path, **env},
    )  # fmt: skip


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory, _harmed: Path) -> Path:
    """On main rex and tom, judged by limits under which both are kept; on the branch `harmed` mug, too."""
    folder = copied(_harmed, tmp_path_factory.mktemp("ci"))
    repo = Repository(folder)
    repo.create_branch("harmed")
    tip, before = repo.resolve("main"), repo.resolve("main~1")
    repo.move_ref("refs/heads/main", tip, before, author="ann", time=0, message="mug was a mistake")
    (folder / "pyproject.toml").write_text("[tool.cns.check]\nimages = 1\nmax-drop = 2\n")
    for rev in ("HEAD", "HEAD~1"):
        assert check(CheckOptions(start=folder, rev=rev)).passed
    repo.create_tag("v1", "HEAD~1")
    return folder


@pytest.fixture
def project(tmp_path: Path, registry: Path) -> Path:
    shutil.copytree(registry, tmp_path / "project")
    return tmp_path / "project"


def steps(workflow: dict[str, Any]) -> list[str]:
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def test_the_github_workflow(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an empty checkout: restore, check, pytest, report; the summary is written and nothing is marked."""
    monkeypatch.chdir(tmp_path)  # where MLflow puts the artifacts of a database that says nothing else
    server = f"sqlite:///{tmp_path / 'server.db'}"
    sync(Request(start=project, mlflow_uri=server))
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    shutil.copy(project / "pyproject.toml", checkout)
    workflow = yaml.safe_load(fenced("yaml")[0])
    (job,) = workflow["jobs"].values()
    assert set(job["env"]) == {"MLFLOW_TRACKING_URI"}
    summary = tmp_path / "summary.md"
    commands = ours(steps(workflow))
    assert [line.split()[:2] for line in commands] == [
        ["cns", "mlflow"], ["cns", "check"], ["pytest", "--cns"], ["cns", "report"],
    ]  # fmt: skip
    for line in commands:
        done = type_line(
            line, checkout, MLFLOW_TRACKING_URI=server, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary)
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert "::error" not in done.stdout + done.stderr
    uploaded = next(step["with"]["path"] for step in job["steps"] if "upload-artifact" in step.get("uses", ""))
    assert all((checkout / name).stat().st_size for name in uploaded.split())
    assert "✅ kept" in summary.read_text(encoding="utf-8")
    assert (checkout / "cns.md").read_text(encoding="utf-8") in summary.read_text(encoding="utf-8")


def test_a_forgotten_concept_fails_the_job_and_is_marked(project: Path, tmp_path: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.cns.check]\nimages = 1\nmax-drop = 2\nmin = 1\n")
    summary = tmp_path / "summary.md"
    line = next(line for line in ours(steps(yaml.safe_load(fenced("yaml")[0]))) if line.startswith("cns check"))
    done = type_line(line, project, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 3, done.stderr
    assert "::error title=cns check%3A rex%3A forgot::id is " in done.stdout
    assert "❌ forgot" in summary.read_text(encoding="utf-8")


def test_the_gitlab_job(project: Path) -> None:
    (job,) = yaml.safe_load(fenced("yaml")[1]).values()
    for line in (line for line in ours(job["script"]) if "restore" not in line):
        assert type_line(line, project).returncode == 0
    report = ElementTree.parse(project / job["artifacts"]["reports"]["junit"]).getroot()
    assert {case.get("classname") for case in report.iter("testcase")} == {"cns.rex", "cns.tom"}


def test_the_limits_are_read(project: Path) -> None:
    (limits,) = fenced("toml")
    assert set(tomllib.loads(limits)["tool"]["cns"]["check"]) == {"metrics", "images", "max-drop", "min"}
    (project / "pyproject.toml").write_text(limits.replace("images = 2", "images = 1"))
    (row,) = check(CheckOptions(start=project, concepts=("tom",))).rows
    assert [(one.metric, one.max_drop, one.minimum) for one in row.metrics] == [
        ("id", 0.02, None), ("clip-i", 0.03, 0.6),
    ]  # fmt: skip


def test_the_pytest_lines(project: Path) -> None:
    lines = ours([fenced("sh")[0]])
    assert len(lines) == 4
    # Two steps of training on noise drift further than limits that were calibrated on a real base.
    (project / "pyproject.toml").write_text(
        "[tool.cns.check]\nimages = 1\n[tool.cns.check.max-drop]\nid = 2\nclip-i = 2\ndrift = 100\n"
    )
    for line in lines:
        done = type_line(f"{line} -v", project)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert "cns::rex" in done.stdout


def test_the_tests_of_a_team(project: Path) -> None:
    (example,) = fenced("python")
    (project / "test_model.py").write_text(example)
    done = type_line("pytest -W error --strict-markers", project)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def harmed(project: Path) -> Path:
    """The project with HEAD on the branch where mug did harm."""
    Repository(project).checkout("harmed")
    return project


def test_the_search_by_metric(harmed: Path) -> None:
    """With the limit that this lineage needs instead of the page's."""
    options: dict[str, Any] = {
        "start": harmed, "concepts": ("rex",), "metrics": ("clip-i",), "max_drop": {"": 2.0}, "images": 1,
    }  # fmt: skip
    before, after = (check(CheckOptions(rev=rev, **options)).rows[0].metrics[0].now for rev in ("HEAD~1", "HEAD"))
    lines = ours([fenced("sh")[1]])
    assert len(lines) == 3
    side = "--below" if after < before else "--above"
    lines[0] = lines[0].replace("--below 0.70", f"{side} {(before + after) / 2}")
    answers = [type_line(line, harmed) for line in lines]
    assert [one.returncode for one in answers] == [0, 0, 0], [one.stderr for one in answers]
    assert "concept mug (added)" in answers[1].stdout


def test_the_search_by_program(harmed: Path) -> None:
    (harmed / "pyproject.toml").write_text("[tool.cns.check]\nmetrics = ['drift']\nmax-drop = {drift = 1e-3}\n")
    lines = ours([fenced("sh")[2]])
    assert len(lines) == 4
    answers = [type_line(line, harmed) for line in lines]
    assert [one.returncode for one in answers] == [0, 0, 0, 0], [one.stderr for one in answers]
    assert "concept mug (added)" in answers[1].stdout, answers[1].stdout
    assert answers[2].stdout.startswith("cns bisect start\n")
