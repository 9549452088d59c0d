"""`cns bisect run` without a program: real scores of a real, tiny lineage say good and bad."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cns_cli.main import app
from cns_cli.porcelain.check import check
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.scoring import units
from cns_cli.porcelain.scoring.keys import EvaluationKey
from registry import bisect_state
from registry.objects import Tree
from registry.repository import Repository
from registry.trees import with_concept, without_concept
from tests.porcelain.conftest import new_registry, teach_mug_without_mercy, teach_rex_and_tom
from tests.steps import take_few_steps

HARMFUL = 5
"""Number of the commit, after the first, that brings mug in."""


@pytest.fixture(scope="module", autouse=True)
def _warm() -> Iterator[None]:
    """In fewer steps mug does rex no harm that could be told from tom's coming and going."""
    take_few_steps(warm_up=20)
    yield
    take_few_steps()


@pytest.fixture(scope="module")
def _history(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, photos: dict[str, Path], mlflow_tables: Path
) -> Path:
    """Eight commits after rex; tom comes and goes, mug, which does harm, comes with the fifth and stays."""
    folder = tmp_path_factory.mktemp("history")
    teach_mug_without_mercy(teach_rex_and_tom(new_registry(folder, tiny_base, mlflow_tables), photos), photos)
    # Without its mirror: in a folder that was moved MLflow would begin anew in every test.
    shutil.rmtree(folder / ".cns" / "mlartifacts", ignore_errors=True)
    shutil.copy(mlflow_tables, folder / ".cns" / "mlflow.db")
    repo = Repository(folder)
    ids = repo.tree_of("HEAD").concepts
    repo.checkout("HEAD~2")  # rex alone

    def toggle_tom(tree: Tree) -> Tree:
        return without_concept(tree, "tom") if "tom" in tree.concepts else with_concept(tree, "tom", ids["tom"])

    for number in range(1, 9):
        change = (lambda tree: with_concept(tree, "mug", ids["mug"])) if number == HARMFUL else toggle_tom
        repo.commit(
            kind="import", message=f"commit {number}", author="ann", time=1_780_000_000 + number, record=None,
            change=change, seen=repo.head().commit, keep_as="x",
        )  # fmt: skip
    (folder / "pyproject.toml").write_text("[tool.cns.check]\nimages = 1\n")
    repo.create_branch("line")
    repo.checkout("line")
    return folder


@pytest.fixture
def history(tmp_path: Path, _history: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(_history, folder)
    return folder


@pytest.fixture
def cns(history: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(history)
    return lambda *words: CliRunner().invoke(app, list(words), prog_name="cns")


def rex(history: Path, rev: str) -> Any:
    options = CheckOptions(
        start=history, rev=rev, concepts=("rex",), metrics=("clip-i", "drift"), max_drop={"": 1e9, "drift": 1e9}
    )
    return check(options).rows[0]


def test_the_drift_finds_the_commit_in_the_logarithm_of_the_history(history: Path, cns: Callable[..., Result]) -> None:
    before, after = (rex(history, f"line~{8 - number}").drift for number in (HARMFUL - 1, HARMFUL))
    assert after > 10 * before
    limit = str((before + after) / 2)
    assert cns("bisect", "start", "--metric", "rex.drift", "--above", limit).exit_code == 0
    result = cns("bisect", "run", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["commit"]["message"] == f"commit {HARMFUL}"
    assert (found["added"], found["removable"]) == (["mug"], ["mug"])
    assert len(found["values"]) <= math.ceil(math.log2(8)) + 1
    assert found["values"][found["commit"]["id"]] == pytest.approx(after)


def test_a_score_finds_it_too_and_the_way_there_is_told(history: Path, cns: Callable[..., Result]) -> None:
    good, bad = (rex(history, rev).metric("clip-i").now for rev in ("line~8", "line"))
    assert abs(good - bad) > 0.001
    side = "--below" if bad < good else "--above"
    limit = str((good + bad) / 2)
    cns("bisect", "start", "--metric", "rex.clip_i", side, limit)
    result = cns("bisect", "run")
    assert result.exit_code == 0, result.output
    assert f"commit {HARMFUL}\nkind    import\nconcept mug (added)" in result.stdout
    assert "score   rex.clip-i " in result.stdout
    assert result.stderr.count(": rex.clip-i ") <= math.ceil(math.log2(8)) + 1
    assert "next: cns rm mug" in result.stderr


def test_several_processes_compute_ahead_and_the_same_commits_are_asked_about(
    history: Path, cns: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three: the bad commit with the middle and its two quarters, and then at once what is left of one of them."""
    shutil.copytree(history, history.parent / "other")
    limit = str(rex(history, "line").drift / 2)
    words = ("bisect", "start", "--metric", "rex.drift", "--above", limit)
    cns(*words)
    alone = cns("bisect", "run", "--json")
    assert json.loads(alone.stdout)["commit"]["message"] == f"commit {HARMFUL}"
    monkeypatch.chdir(history.parent / "other")
    asked = []

    class Counting(units.Pool):
        def evaluate(self, *given: Any) -> list[EvaluationKey]:
            lacking = super().evaluate(*given)
            asked.append(len(set(self.stored)))
            return lacking

    monkeypatch.setattr(units, "Pool", partial(Counting, method="fork"))
    monkeypatch.setattr("cns_cli.porcelain.gate.run.CheckRun._open", None)  # nothing is left for this process
    cns(*words)
    apart = cns("bisect", "run", "--jobs", "3", "--json")
    assert apart.exit_code == 0, apart.output
    assert apart.stdout == alone.stdout
    assert asked == [2, 3]  # trees, all told, after each of the two goes


def test_what_was_evaluated_is_not_computed_again(
    history: Path, cns: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("bisect", "start", "--metric", "rex.id.drop", "--above", "-1")
    cns(*words)
    first = cns("bisect", "run", "--json").stdout
    cns("bisect", "reset")
    monkeypatch.setattr("cns_cli.porcelain.models.session.Session.open", _never)
    cns(*words)
    assert cns("bisect", "run", "--json").stdout == first


def test_a_bad_end_that_is_not_bad_is_refused(history: Path, cns: Callable[..., Result]) -> None:
    cns("bisect", "start", "--metric", "rex.clip_i", "--below", "-0.99")
    result = cns("bisect", "run")
    assert result.exit_code == 4
    assert "expected a value below -0.99" in result.stderr
    assert len(bisect_state.load(history / ".cns").good) == 1  # type: ignore[union-attr]


def test_a_good_end_that_is_not_good_is_refused(history: Path, cns: Callable[..., Result]) -> None:
    cns("bisect", "start", "--metric", "rex.clip_i", "--below", "1")
    result = cns("bisect", "run")
    assert result.exit_code == 4
    assert "too: expected no value below 1" in result.stderr


def test_where_the_concept_is_not_there_the_commit_is_skipped(history: Path, cns: Callable[..., Result]) -> None:
    """tom comes and goes: the two in the middle of the commits 2 to 8 lack it."""
    cns("bisect", "start", "line", "line~7", "--metric", "tom.drift", "--above", "-1")
    result = cns("bisect", "run")
    assert "cannot be measured, skip" in result.stderr


def test_without_a_metric_a_program_is_needed(history: Path, cns: Callable[..., Result]) -> None:
    cns("bisect", "start", "line", "line~8")
    result = cns("bisect", "run")
    assert result.exit_code == 4
    assert "try: cns bisect run PROGRAM" in result.stderr


def _never(*_: object, **__: object) -> None:
    raise AssertionError("the base was needed")
