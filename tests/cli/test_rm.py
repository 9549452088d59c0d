from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from cns_cli.porcelain.options import Request
from cns_cli.porcelain.rm import rm
from cns_cli.progress import NullProgress
from cns_cli.signals import Interrupted
from registry.mirror.mirror import MlflowMirror


@pytest.fixture(autouse=True)
def _mirrored(lineage: Any) -> None:
    """Point MLflow at a port where nobody listens: no test pays for a database, and the commit must stand anyway."""
    lineage.repo.set_config("mlflow.tracking_uri", "http://127.0.0.1:9")


def test_the_concept_goes_and_history_keeps_it(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    before = lineage.add("tom").id
    result = cns("rm", "rex")
    assert result.exit_code == 0
    assert "removed rex (<rex>, a dog): commit " in result.stdout
    assert "exact weights" in result.stdout
    assert "effect" in result.stdout
    assert "Now outside their training context: tom" in result.stdout
    assert "  next: cns check" in result.stderr
    assert f"cns checkout {before[:10]}" in result.stderr
    assert list(lineage.repo.tree_of("HEAD").concepts) == ["tom"]
    assert sorted(lineage.repo.tree_of(before).concepts) == ["rex", "tom"]


def test_the_commit_stands_when_mlflow_is_away(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    result = cns("rm", "rex")
    assert result.exit_code == 0
    assert "warning: MLflow" in result.stderr
    assert "cns mlflow sync" in result.stderr


def test_mlflow_can_be_demanded(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    lineage.repo.set_config("mlflow.required", True)
    result = cns("rm", "rex")
    assert result.exit_code == 8
    assert lineage.repo.tree_of("HEAD").concepts == {}


def test_commit_says_who_when_and_why(lineage: Any, cns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage.add("rex")
    monkeypatch.setenv("CNS_AUTHOR", "bea")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    made = json.loads(cns("rm", "rex", "-m", "moved away", "--json").stdout)
    commit = lineage.repo.commit_of(made["commit"])
    assert (commit.kind, commit.author, commit.time, commit.message) == ("remove", "bea", 1790000000, "moved away")
    assert made["concepts"] == []


def test_an_unknown_concept_changes_nothing(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    before = lineage.repo.head()
    result = cns("rm", "tom")
    assert result.exit_code == 4
    assert "rex" in result.stderr
    assert lineage.repo.head() == before


def test_the_mirror_is_asked_at_the_address_of_the_environment(
    lineage: Any, cns: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lineage.add("rex")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:11")
    assert "http://127.0.0.1:11" in cns("rm", "rex").stderr
    assert MlflowMirror(lineage.repo).tracking_uri == "http://127.0.0.1:9"


def test_an_interruption_while_it_is_recorded_says_what_stands(lineage: Any) -> None:
    class Stopped(NullProgress):
        def stage(self, name: str, total: int | None = None) -> None:
            raise Interrupted(signal.SIGTERM)

    lineage.add("rex")
    with pytest.raises(Interrupted) as stop:
        rm(Request(start=lineage.repo.root), "rex", Stopped())
    made = lineage.repo.head().commit
    assert lineage.repo.tree_of(made).concepts == {}
    assert stop.value.number == signal.SIGTERM
    assert stop.value.message == f"rex is removed in {made[:10]}; MLflow may lack it"
    assert stop.value.hint == "cns mlflow sync"


def test_several_go_each_by_a_commit_or_none_does(lineage: Any, cns: Any) -> None:
    for name in ("rex", "tom", "kim"):
        lineage.add(name)
    before = lineage.repo.head().commit
    refused = cns("rm", "rex", "nobody", "--no-drift")
    assert refused.exit_code == 4
    assert lineage.repo.head().commit == before
    done = cns("rm", "rex", "tom", "--no-drift", "--json")
    assert [one["name"] for one in json.loads(done.stdout)] == ["rex", "tom"]
    assert list(lineage.repo.tree_of("HEAD").concepts) == ["kim"]
    assert lineage.repo.resolve("HEAD~2") == before
    assert "the model that still holds rex, tom" in done.stderr


def test_a_dry_run_says_who_was_trained_beside_it_and_writes_nothing(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    lineage.add("tom", noun="cat")
    before = lineage.repo.head().commit
    result = cns("rm", "rex", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "would remove rex (<rex>, a dog)",
        "  trained beside it, and without it afterwards: tom",
        "Nothing was written.",
    ]
    assert lineage.repo.head().commit == before
    assert json.loads(cns("rm", "rex", "tom", "--dry-run", "--json").stdout)[0]["beside"] == []
    assert cns("rm", "nobody", "--dry-run").exit_code == 4
