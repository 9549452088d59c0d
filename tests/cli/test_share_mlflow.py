"""Two people and a real `mlflow server`, as they type it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from registry.repository import Repository
from tests.cli.conftest import Lineage, run
from tests.registry.making import snapshot

Person = Callable[..., Result]


def person(folder: Path) -> Person:
    """Return what runs a command line in a folder; it must end well, unless `code` says otherwise."""

    def command(*words: str, code: int = 0) -> Result:
        with contextlib.chdir(folder):
            result = run(*words)
        assert result.exit_code == code, result.output
        return result

    return command


@pytest.fixture
def address(tracking_server: str, request: pytest.FixtureRequest) -> str:
    return f"{tracking_server}#{request.node.name.replace('_', '-')[:60]}-{os.getpid()}"


def test_two_people_share_a_lineage(lineage: Lineage, tmp_path: Path, address: str) -> None:
    """Push, clone, pull, diverge, merge; then both registries are gone, and a third clone has every bit."""
    lineage.add("rex")
    ann = person(tmp_path)
    ann("remote", "add", "origin", address)
    assert address in ann("push").stdout

    ann("clone", address, "bob")
    bob = person(tmp_path / "bob")
    theirs = Lineage.__new__(Lineage)
    theirs.repo, theirs.time = Repository(tmp_path / "bob"), lineage.time + 1
    theirs.add("tom")
    bob("push")
    lineage.add("kim")
    refused = ann("push", code=4)
    assert "cns pull origin" in refused.stderr
    diverged = ann("pull", code=4)
    assert "cns merge origin/main" in diverged.stderr
    ann("merge", "origin/main")
    ann("push")
    assert sorted(json.loads(bob("pull", "--json").stdout)["concepts"]) == ["kim", "rex", "tom"]
    assert lineage.repo.head().commit == theirs.repo.head().commit

    before = {name: data for name, data in snapshot(theirs.repo).items() if "remotes" not in name}
    held = {one: lineage.repo.objects.read(one) for one in lineage.repo.objects.ids()}
    for root in (tmp_path, tmp_path / "bob"):
        shutil.rmtree(root / ".cns")
    ann("clone", address, "carol")
    carol = Repository(tmp_path / "carol")
    assert {name: data for name, data in snapshot(carol).items() if "remotes" not in name} == before
    assert all(held[one] == carol.objects.read(one) for one in carol.objects.ids())
    assert carol.objects.has(carol.head().commit)
    person(tmp_path / "carol")("fsck")


def test_a_lineage_without_a_name_gets_one(lineage: Lineage, tmp_path: Path, tracking_server: str) -> None:
    """Where the server holds none yet, it is called after its first commit."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_server)
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    ann = person(tmp_path)
    ann("remote", "add", "origin", tracking_server)
    first = lineage.repo.head().commit
    assert f"{tracking_server}#cns-{first[:10]}" in ann("push").stdout
    lineage.add("rex")
    ann("push")
    ann("clone", tracking_server, "bob")
    assert Repository(tmp_path / "bob").head().commit == lineage.repo.head().commit


def test_what_is_refused_names_no_password(lineage: Lineage, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    ann = person(tmp_path)
    refused = ann("remote", "add", "team", "http://ann:s3cret@127.0.0.1:9#studio", code=8)
    ann("remote", "add", "origin", "http://127.0.0.1:9#studio")
    away = ann("push", code=8)
    assert "127.0.0.1:9#studio" in away.stderr
    assert "s3cret" not in refused.stderr + away.stderr + (tmp_path / ".cns" / "config.toml").read_text()
