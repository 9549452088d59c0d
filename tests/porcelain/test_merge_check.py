"""`merge --check`: the gate decides before a branch moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.repository import Repository
from tests.cli.conftest import run
from tests.porcelain.conftest import copied

CHECK = ("--check", "--no-drift")


@pytest.fixture
def repo(tmp_path: Path, _harmed: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """main harms what `safe`, one commit before it, knows; HEAD is on safe. The drift alone decides: no image."""
    copied(_harmed, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    repo = Repository(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.cns.check]\nmetrics = ["drift"]\nmax-drop = { drift = 0.01 }\n')
    repo.create_branch("safe", "HEAD~1")
    repo.checkout("safe")
    return repo


@pytest.mark.parametrize("words", [[], ["--no-ff"]], ids=["fast-forward", "commit"])
def test_nothing_moves_where_something_would_be_forgotten(repo: Repository, words: list[str]) -> None:
    before = repo.branches()
    result = run("merge", "main", *CHECK, *words)
    assert result.exit_code == 3, result.stderr
    assert "not kept: rex" in result.stdout
    assert "safe has not moved" in result.stdout
    assert (repo.branches(), repo.head().branch) == (before, "safe")
    assert "  next: cns check " in result.stderr


def test_a_merge_that_keeps_everything_is_made(repo: Repository) -> None:
    repo.create_branch("earlier", "safe~1")
    repo.checkout("earlier")
    result = run("merge", "safe", *CHECK, "--no-ff")
    assert result.exit_code == 0, result.stdout + result.stderr
    assert "kept: 2 concepts" in result.stdout
    assert repo.commit_of(repo.head().commit).kind == "merge"
    assert repo.tree_of("HEAD") == repo.tree_of("safe")
