"""One round trip through the registry's own MLflow file; what a mirror holds is tested with the registry."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from cns_cli.errors import boundary
from registry.objects import Evaluation


@pytest.mark.slow
def test_sync_then_restore_brings_every_id_back(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    before = cns("log", "--json").stdout
    first = json.loads(cns("mlflow", "sync", "--json").stdout)
    assert len(first["commits"]) == 2
    assert first["tracking_uri"].startswith("sqlite:///")
    again = cns("mlflow", "sync")
    assert again.stdout.startswith("everything was recorded already\n")

    shutil.rmtree(lineage.repo.folder / "objects")
    broken = cns("log")
    assert broken.exit_code == 4
    assert broken.stderr.endswith("  try: cns mlflow restore\n")
    restored = cns("mlflow", "restore")
    assert restored.exit_code == 0
    assert restored.stdout.startswith("MLflow held ")
    assert cns("log", "--json").stdout == before


@pytest.mark.slow
def test_a_restore_that_lacks_something_says_so_and_fails(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    tree = lineage.repo.tree_of("HEAD")
    scored = [Evaluation(tree.id, tree.concepts["rex"], "rex", {}, f"p{n}", {"clip_i": [0.5]}) for n in range(30)]
    for one in scored[:-1]:
        lineage.repo.add_evaluation(one)
    cns("mlflow", "sync")
    shutil.rmtree(lineage.repo.folder / "objects")
    shutil.rmtree(lineage.repo.folder / "refs")
    restored = cns("mlflow", "restore")
    assert restored.exit_code == 0
    assert len(restored.stdout.splitlines()) < 6, "hashes of scores are counted"
    assert "set 29 refs of scores\n" in restored.stdout

    lineage.repo.add_evaluation(scored[-1])
    shutil.rmtree(lineage.repo.folder / "objects")
    found = cns("fsck")
    assert len(found.stdout.splitlines()) < 30
    assert re.search(r"error  and 2\d more of [a-z-]+: cns fsck -v", found.stdout)
    assert cns("fsck", "-v").stdout.count("is not in the store") > 30
    lacking = cns("mlflow", "restore", "-v")
    assert lacking.exit_code == 8
    assert "MLflow does not hold all of 1 score, first object" in lacking.stderr
    assert lacking.stdout.count("set refs/evaluations/") == 29
    assert cns("log").exit_code == 0


def test_nothing_to_restore_from(cns: Any, tmp_path: Path) -> None:
    result = cns("mlflow", "restore")
    assert result.exit_code == 8
    assert "mlflow.db" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_away(lineage: Any, cns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    result = cns("mlflow", "sync")
    assert result.exit_code == 8
    assert result.stdout == ""
    assert "127.0.0.1:9" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("  hint: start that server, or name another"), "not the same again"


@pytest.mark.parametrize("uri", ["127.0.0.1:5000", "team.example.org:5000/prefix"])
def test_an_address_without_its_scheme(lineage: Any, cns: Any, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    result = cns("mlflow", "sync")
    assert result.exit_code == 8
    assert "its address names no protocol" in result.stderr
    assert f"export MLFLOW_TRACKING_URI=http://{uri}\n" in result.stderr


PASSWORD = "s3cretpw"


WITH_PASSWORD = f"http://ann:{PASSWORD}@127.0.0.1:9/mlflow?token={PASSWORD}"


def files_with_password(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and PASSWORD.encode() in file.read_bytes()]


def test_no_password_is_shown_or_kept(
    lineage: Any, cns: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Passwords usually stand in the variable: the shell has it, and nothing else gets it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", WITH_PASSWORD)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    lineage.add("rex")
    for words in (["mlflow", "sync"], ["mlflow", "restore"], ["-v", "rm", "rex", "--json"], ["ui"]):
        result = cns(*words)
        assert "127.0.0.1:9" in result.stderr + result.stdout
        assert PASSWORD not in result.stderr + result.stdout
    for words in (["doctor"], ["remote", "add", "origin", WITH_PASSWORD], ["clone", WITH_PASSWORD, "there"],
                  ["config", "base.source", WITH_PASSWORD], ["config", "check.encoder", WITH_PASSWORD],
                  ["init", "--base", WITH_PASSWORD]):  # fmt: skip
        result = cns(*words)
        assert PASSWORD not in result.stderr + result.stdout
    assert PASSWORD not in caplog.text
    assert files_with_password(tmp_path) == []


def test_what_a_person_wrote_into_the_settings_is_shown_without_a_password(lineage: Any, cns: Any) -> None:
    with (lineage.repo.folder / "config.toml").open("a") as file:
        file.write(f'[mlflow]\ntracking_uri = "{WITH_PASSWORD}"\n[remote.origin]\nurl = "{WITH_PASSWORD}"\n')
    for words in (["config"], ["config", "--json"], ["config", "mlflow.tracking_uri"], ["remote", "list"], ["push"],
                  ["config", "remote.origin.url"], ["doctor"], ["doctor", "--json"], ["fetch"], ["mlflow", "sync"],
                  ["ui"]):  # fmt: skip
        result = cns(*words)
        assert PASSWORD not in result.stderr + result.stdout, words
    assert files_with_password(lineage.repo.root) == [lineage.repo.folder / "config.toml"]


def test_the_report_of_a_bug_holds_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    """The lines above the error are what people paste into a public issue."""
    with pytest.raises(typer.Exit), boundary("cns"):
        raise RuntimeError(f"no route to {WITH_PASSWORD}")
    said = capsys.readouterr().err
    assert "RuntimeError: no route to http://127.0.0.1:9/mlflow" in said
    assert "a bug in cns" in said
    assert PASSWORD not in said


def test_an_address_with_a_password_is_no_setting(lineage: Any, cns: Any) -> None:
    result = cns("config", "mlflow.tracking_uri", f"http://ann:{PASSWORD}@host:5000")
    assert result.exit_code == 4
    assert "MLFLOW_TRACKING_URI may hold more" in result.stderr
    assert PASSWORD not in result.stderr + (lineage.repo.folder / "config.toml").read_text()


def test_the_workspace_is_named(lineage: Any, cns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable everything would be recorded again, in the workspace `default`."""
    monkeypatch.setenv("MLFLOW_WORKSPACE", "red")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert "http://127.0.0.1:9 (workspace red) is not usable" in cns("mlflow", "sync").stderr


def test_a_database_whose_driver_is_missing(lineage: Any, cns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLAlchemy 2.1 takes psycopg 3 for `postgresql://`."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://ann:{PASSWORD}@127.0.0.1:9/mlflow")
    result = cns("mlflow", "sync")
    assert result.exit_code == 7
    assert "MLflow at postgresql://127.0.0.1:9/mlflow is not usable" in result.stderr
    assert "pip install 'psycopg[binary]'; then: cns mlflow sync" in result.stderr
