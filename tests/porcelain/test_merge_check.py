"""`merge --check`: the gate decides before a branch moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.repository import Repository
from tests.cli.conftest import run


@pytest.fixture
def repo(harmed: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """main harms what `safe`, one commit before it, knows; HEAD is on safe."""
    monkeypatch.chdir(harmed)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    repo = Repository(harmed)
    repo.create_branch("safe", "HEAD~1")
    repo.checkout("safe")
    return repo


CHECK = ("--check", "--no-drift")


@pytest.mark.parametrize("words", [[], ["--no-ff"]], ids=["fast-forward", "commit"])
def test_nothing_moves_where_something_would_be_forgotten(repo: Repository, words: list[str]) -> None:
    before = repo.branches()
    result = run("merge", "main", *CHECK, *words)
    assert result.exit_code == 3, result.stderr
    assert "not kept: " in result.stdout
    assert "safe has not moved" in result.stdout
    assert (repo.branches(), repo.head().branch) == (before, "safe")
    assert "  next: cns check " in result.stderr


def test_a_merge_that_keeps_everything_is_made(repo: Repository) -> None:
    repo.create_branch("same", "safe~1")
    repo.checkout("same")
    result = run("merge", "safe", *CHECK, "--no-ff")
    assert result.exit_code == 0, result.stdout + result.stderr
    assert "kept: 2 concepts" in result.stdout
    assert repo.commit_of(repo.head().commit).kind == "merge"
    assert repo.tree_of("HEAD") == repo.tree_of("safe")
