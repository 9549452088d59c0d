from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.conftest import Lineage, run
from tests.cli.sharing import cloned, shared


def test_what_others_pushed_comes_and_nothing_moves(lineage: Lineage, tmp_path: Path, monkeypatch: Any) -> None:
    lineage.add("rex")
    place = shared(lineage, tmp_path)
    bob = cloned(place, tmp_path, monkeypatch)
    assert run("fetch").stdout.startswith("up to date with origin")
    new = lineage.add("tom").id
    monkeypatch.chdir(tmp_path)
    run("tag", "v1", "HEAD~1")
    run("branch", "winter")
    run("push", "origin", "main", "winter", "--tags")
    monkeypatch.chdir(bob)
    run("tag", "v1")  # another commit, here, on the way
    run("tag", "-d", "v1")
    run("tag", "v1", "HEAD~1")
    result = run("fetch")
    assert result.exit_code == 0
    assert "origin/winter  new at" in result.stdout
    assert "received " in result.stdout
    assert "the tag 'v1' leads to another commit at origin" in result.stderr
    assert run("log", "origin/main", "-n", "1", "--json").exit_code == 0
    assert json.loads(run("log", "-n", "1", "--json").stdout) != json.loads(
        run("log", "origin/main", "-n", "1", "--json").stdout
    )
    assert new[:10] in run("log", "origin/main", "--oneline").stdout


def test_branches_that_are_gone_there_are_pruned(lineage: Lineage, tmp_path: Path, monkeypatch: Any) -> None:
    place = shared(lineage, tmp_path)
    run("branch", "winter")
    run("push", "origin", "winter")
    bob = cloned(place, tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    run("push", "origin", "--delete", "winter")
    monkeypatch.chdir(bob)
    assert json.loads(run("fetch", "--json").stdout)["moved"] == []
    assert "origin/winter  gone" in run("fetch", "--prune").stdout


def test_an_unknown_remote_is_an_error(lineage: Lineage) -> None:
    result = run("fetch", "nope")
    assert result.exit_code == 4
    assert "no remote 'nope'" in result.stderr
    assert result.stderr.endswith("\n  try: cns remote add nope URL\n")


def test_an_address_in_the_place_of_a_name_is_to_be_named_first(lineage: Lineage) -> None:
    for verb in ("push", "fetch", "pull"):
        assert run(verb, "../my share").stderr.endswith("\n  try: cns remote add origin '../my share'\n")
    said = run("push", "https://ann:s3cret@host:5000#studio").stderr
    assert "s3cret" not in said
    assert said.endswith("  try: cns remote add origin 'https://host:5000#studio'\n")
    run("remote", "add", "origin", "../share")
    assert run("push", "../other").stderr.endswith("\n  try: cns remote add NAME ../other\n")
