from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.objects import References
from tests.cli.sharing import cloned, shared


@pytest.fixture(autouse=True)
def _filled(lineage: Any) -> None:
    lineage.add("rex")


def test_what_is_missing_is_sent_and_no_more(lineage: Any, cns: Any, tmp_path: Path) -> None:
    cns("remote", "add", "origin", str(tmp_path / "shared"))
    result = cns("push")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"to origin ({tmp_path / 'shared'})"
    assert "main  new at" in result.stdout
    assert "send (" in result.stderr
    assert cns("push").stdout == f"up to date: origin ({tmp_path / 'shared'})\n"
    before, after = lineage.repo.head().commit, lineage.add("tom").id
    assert f"main  {before[:10]}..{after[:10]}" in cns("push").stdout


def test_a_branch_that_others_moved_is_refused_with_the_next_command(
    lineage: Any, cns: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    from registry.repository import Repository

    place = shared(lineage, tmp_path)
    bob = cloned(place, tmp_path, monkeypatch)
    theirs = lineage.add("tom").id
    monkeypatch.chdir(tmp_path)
    from tests.cli.conftest import run

    assert run("push").exit_code == 0
    monkeypatch.chdir(bob)
    assert run("branch", "mine").exit_code == 0
    repo = Repository(bob)
    repo.commit(
        kind="add",
        message="",
        author="bob",
        time=lineage.time + 9,
        record=None,
        change=lambda tree: type(tree)(tree.base, {}),
        seen=repo.head().commit,
        keep_as="x",
    )
    result = run("push")
    assert result.exit_code == 4
    assert "it has commits that this branch has not" in result.stderr
    assert "  try: cns pull origin" in result.stderr
    assert theirs[:10] in result.stderr


def test_photos_are_named_once(lineage: Any, cns: Any, tmp_path: Path) -> None:
    repo = lineage.repo
    cns("remote", "add", "origin", str(tmp_path / "shared"))
    assert "training photo" not in cns("push").stderr  # of concepts without photos
    (tmp_path / "shared").rename(tmp_path / "other")
    blob = next(one for one in repo.objects.ids() if repo.objects.kind_of(one) == "blob")
    references = repo.objects.put(References(blob, (None,) * 3, 3, 64, {}))
    concept = lineage.concept("kim", trained_on=repo.commit_of(repo.head().commit).tree)
    from dataclasses import replace

    from registry.objects import Concept
    from registry.trees import with_concept

    kept = repo.objects.put(replace(repo.objects.get(concept, Concept), references=references))
    lineage.commit("add", "kim", "add kim", None, lambda tree: with_concept(tree, "kim", kept))
    assert "3 training photos travel with the lineage; cns add --no-keep-images" in cns("push").stderr
    lineage.add("lou")
    assert "training photo" not in cns("push").stderr


def test_branches_tags_and_deletion(lineage: Any, cns: Any, tmp_path: Path) -> None:
    shared(lineage, tmp_path)
    cns("branch", "winter")
    cns("tag", "v1")
    answer = json.loads(cns("push", "origin", "winter", "--tags", "--json").stdout)
    assert [one["ref"] for one in answer["moved"]] == ["refs/heads/winter", "refs/tags/v1"]
    assert "winter  gone" in cns("push", "origin", "--delete", "winter").stdout
    assert cns("push", "origin", "--delete", "winter").exit_code == 4
    assert cns("push", "origin", "nope").exit_code == 4


def test_a_dry_run_writes_nothing(lineage: Any, cns: Any, tmp_path: Path) -> None:
    cns("remote", "add", "origin", str(tmp_path / "shared"))
    result = cns("push", "--dry-run")
    assert "would send" in result.stdout
    assert not (tmp_path / "shared").exists()


def test_without_a_remote_the_next_command_is_named(cns: Any) -> None:
    result = cns("push")
    assert result.exit_code == 4
    assert "  try: cns remote add origin URL" in result.stderr


def test_a_detached_head_needs_a_branch(lineage: Any, cns: Any, tmp_path: Path) -> None:
    shared(lineage, tmp_path)
    cns("checkout", "HEAD~1")
    result = cns("push")
    assert result.exit_code == 4
    assert "cns push origin BRANCH" in result.stderr


def test_a_remote_that_is_read_only_says_so(cns: Any) -> None:
    cns("remote", "add", "origin", "memory://x")
    result = cns("push")
    assert result.exit_code == 8
    assert "read-only" in result.stderr


def test_an_address_from_elsewhere_is_not_contacted(lineage: Any, cns: Any, tmp_path: Path) -> None:
    shared(lineage, tmp_path)
    path = tmp_path / ".cns" / "config.toml"
    path.write_text(path.read_text().replace(str(tmp_path / "shared"), str(tmp_path / "evil")))
    for words in (["push"], ["fetch"], ["pull"]):
        result = cns(*words)
        assert result.exit_code == 4
        assert f"cns remote set-url origin {tmp_path / 'evil'}" in result.stderr
    assert not (tmp_path / "evil").exists()
