from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.repository import Repository
from tests.cli.conftest import Lineage, run
from tests.cli.sharing import cloned, shared


@pytest.fixture
def bob(lineage: Lineage, tmp_path: Path, monkeypatch: Any) -> Repository:
    """A clone, in the current folder; `lineage` has pushed a commit more since."""
    lineage.add("rex")
    place = shared(lineage, tmp_path)
    folder = cloned(place, tmp_path, monkeypatch)
    lineage.add("tom")
    monkeypatch.chdir(tmp_path)
    assert run("push").exit_code == 0
    monkeypatch.chdir(folder)
    return Repository(folder)


def diverge(bob: Repository, lineage: Lineage) -> str:
    return bob.commit(
        kind="remove",
        message="",
        author="bob",
        time=lineage.time + 9,
        record=None,
        change=lambda tree: type(tree)(tree.base, {}),
        seen=bob.head().commit,
        keep_as="x",
    ).id


def test_the_branch_moves_forward(bob: Repository, lineage: Lineage) -> None:
    before = bob.head().commit
    result = run("pull")
    assert result.exit_code == 0
    assert f"main moved from {before[:10]} to {lineage.repo.head().commit[:10]}" in result.stdout
    assert "concepts: rex, tom" in result.stdout
    assert bob.head() == lineage.repo.head()
    assert bob.reflog()[0].message == "pull: fast-forward to origin/main"
    again = run("pull")
    assert again.exit_code == 0
    assert again.stdout.startswith("up to date with origin")


def test_histories_that_diverged_are_left_alone(bob: Repository, lineage: Lineage) -> None:
    mine = diverge(bob, lineage)
    result = run("pull")
    assert result.exit_code == 4
    assert "have both moved on" in result.stderr
    assert "  try: cns merge origin/main" in result.stderr
    assert bob.head().commit == mine
    assert bob.resolve("origin/main") == lineage.repo.head().commit


def test_what_is_ahead_may_be_pushed(bob: Repository, lineage: Lineage) -> None:
    run("pull")
    diverge(bob, lineage)
    result = run("pull")
    assert result.exit_code == 0
    assert "  next: cns push origin" in result.stderr
    assert json.loads(run("pull", "--json").stdout)["ahead"] is True


def test_a_detached_head_and_an_unknown_branch_are_refused(bob: Repository) -> None:
    run("branch", "mine")
    run("checkout", "mine")
    assert "cns push origin mine" in run("pull").stderr
    run("checkout", "HEAD~1")
    assert run("pull").exit_code == 4
