from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cns_cli.commands import purge as command
from registry.health.fsck import fsck
from registry.mirror.mirror import MlflowMirror
from registry.mirror.server import MlflowStore
from registry.repository import Repository


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database as MLflow makes it, without a run."""
    store = MlflowStore(tmp_path_factory.mktemp("mlflow"), None)
    store.connect()
    return store.file


@pytest.fixture
def mirrored(lineage: Any, tables: Path) -> Any:
    """rex; tom, trained beside it; rex out of the model; all of it in the registry's own MLflow."""
    (lineage.repo.folder / "mlflow.db").write_bytes(tables.read_bytes())
    lineage.add("rex")
    lineage.add("tom")
    lineage.remove("rex")
    MlflowMirror(lineage.repo).sync()
    return lineage


def test_it_says_what_it_would_do_and_does_nothing(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    lineage.add("tom")
    head = lineage.repo.head()
    result = cns("purge", "rex", "--dry-run")
    assert result.exit_code == 0
    assert "would purge rex" in result.stdout
    assert "1 commit written anew, 1 dropped" in result.stdout
    assert "refs moved: heads/main" in result.stdout
    assert "concepts with a new id, their weights as before: tom" in result.stdout
    assert "  next: cns purge rex   (do it" in result.stderr
    assert lineage.repo.head() == head


def test_it_needs_a_yes(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    head = lineage.repo.head()
    result = cns("purge", "rex")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert lineage.repo.head() == head


@pytest.mark.parametrize("answer", ["y", "n"])
def test_on_a_terminal_it_asks(lineage: Any, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    from typer.testing import CliRunner

    from cns_cli.main import app

    class Terminal:
        def isatty(self) -> bool:
            return True

    lineage.add("rex")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:11")  # where nothing was ever recorded
    monkeypatch.setattr(command, "sys", type("sys", (), {"stdin": Terminal()}))
    result = CliRunner().invoke(app, ["purge", "rex"], prog_name="cns", input=f"{answer}\n")
    assert result.exit_code == 0
    assert "would purge rex" in result.stderr
    assert "cannot be undone" in result.stderr
    assert ("rex" in Repository(lineage.repo.root).tree_of("HEAD").concepts) == (answer == "n")


def test_nothing_of_it_is_left_in_mlflow_either(mirrored: Any, cns: Any) -> None:
    rex = mirrored.repo.tree_of("HEAD~1").concepts["rex"]
    result = cns("purge", "rex", "--yes", "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert (said["done"], said["commits"], said["dropped"], said["renewed"]) == (True, 1, 2, ["tom"])
    assert said["freed_bytes"] > 1000
    assert said["objects"]["commit"] == 3
    left = b"\n".join(path.read_bytes() for path in mirrored.repo.folder.rglob("*") if path.is_file())
    assert rex.encode() not in left
    assert b"rex" not in left
    now = Repository(mirrored.repo.root)
    assert MlflowMirror(now).sync().commits == []  # the mirror was made anew
    report, _ = fsck(now.folder)
    assert [finding for finding in report.findings if finding.level == "error"] == []
    for words in (["log"], ["status"], ["show"], ["reflog"], ["fsck"]):
        answer = cns(*words)
        assert answer.exit_code == 0, answer.stderr
        assert "rex" not in answer.stdout


def test_a_server_that_cannot_be_reached_keeps_it_and_so_nothing_is_done(
    lineage: Any, cns: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lineage.add("rex")
    lineage.repo.set_config("mlflow.name", "dogs-1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:11")
    head = lineage.repo.head()
    result = cns("purge", "rex", "--yes")
    assert result.exit_code == 8
    assert Repository(lineage.repo.root).head() == head


def test_an_unknown_name_is_an_error(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    result = cns("purge", "tom", "--yes")
    assert result.exit_code == 4
    assert "rex" in result.stderr
