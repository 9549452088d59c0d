"""`cns promote` without a model: names, the list, the log; that a check decides: tests/porcelain/test_promote.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.refs import ALIASES
from tests.cli.conftest import modules_after


@pytest.fixture(autouse=True)
def _mirrored(lineage: Any) -> None:
    """Point MLflow at a port where nobody listens: no test pays for a database, and the move must stand anyway."""
    lineage.repo.set_config("mlflow.tracking_uri", "http://127.0.0.1:9")


def test_a_model_without_concepts_passes_and_the_move_is_logged(
    lineage: Any, cns: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNS_AUTHOR", "bea")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    first = lineage.repo.head().commit
    result = cns("promote", "champion")
    assert result.exit_code == 0
    assert result.stdout == f"champion moved from nowhere to {first[:10]}: no concept, nothing to forget\n"
    assert f"champion at {first[:10]} stands" in result.stderr
    assert lineage.repo.aliases() == {"champion": first}
    assert cns("promote").stdout == f"{first[:10]} champion\n"
    assert json.loads(cns("promote", "--json").stdout) == {"aliases": {"champion": first}}
    (move,) = json.loads(cns("promote", "--log", "champion", "--json").stdout)["moves"]
    assert (move["old"], move["new"], move["author"], move["time"]) == (None, first, "bea", 1790000000)
    assert cns("promote", "--log", "champion").stdout.splitlines() == [
        f"champion@{{0}}  {first[:10]}  2026-09-21 14:13 UTC  bea",
        "  promote: no concept, nothing to forget",
    ]


def test_an_alias_that_is_there_already_is_no_move(lineage: Any, cns: Any) -> None:
    cns("promote", "champion")
    assert "is already at" in cns("promote", "champion", "main").stdout
    assert len(lineage.repo.reflog(ALIASES + "champion")) == 1


def test_an_alias_is_a_revision(lineage: Any, cns: Any) -> None:
    cns("promote", "champion")
    first = lineage.repo.head().commit
    lineage.add("rex")
    for revision in ("champion", "champion@{0}", "aliases/champion", "refs/aliases/champion"):
        assert lineage.repo.resolve(revision) == first
    assert "(alias: champion)" in cns("log").stdout
    assert cns("checkout", "champion").exit_code == 0
    assert lineage.repo.head().branch is None


@pytest.mark.parametrize(
    "name", ["latest", "LATEST", "v1", "V12", "HEAD", "head", "a.b", "a/b", "branch-main", "-a", "é"]
)
def test_a_name_that_means_something_else_in_mlflow_is_refused_in_words(lineage: Any, cns: Any, name: str) -> None:
    result = cns("promote", "--", name)
    assert result.exit_code == 4
    assert "not HEAD, latest or v1" in result.stderr
    assert lineage.repo.aliases() == {}


def test_case_matters(lineage: Any, cns: Any) -> None:
    cns("promote", "champion")
    cns("promote", "Champion")
    assert list(lineage.repo.aliases()) == ["Champion", "champion"]


@pytest.mark.parametrize("kind", ["branch", "tag"])
def test_a_name_of_a_branch_or_tag_is_refused(lineage: Any, cns: Any, kind: str) -> None:
    cns(kind, "winter")
    result = cns("promote", "winter")
    assert result.exit_code == 4
    assert f"the {kind} name 'winter' is taken" in result.stderr
    assert lineage.repo.aliases() == {}


def test_the_log_of_an_alias_that_is_not_there_is_an_error(lineage: Any, cns: Any) -> None:
    result = cns("promote", "--log", "champion")
    assert result.exit_code == 4
    assert "there is no alias of this name" in result.stderr
    assert "  try: cns promote" in result.stderr
    assert cns("promote", "champion", "--log", "champion").exit_code == 2


def test_mlflow_can_be_demanded_and_the_move_stands(lineage: Any, cns: Any) -> None:
    lineage.repo.set_config("mlflow.required", True)
    assert cns("promote", "champion").exit_code == 8
    assert list(lineage.repo.aliases()) == ["champion"]


def test_an_unknown_revision_moves_nothing(lineage: Any, cns: Any) -> None:
    result = cns("promote", "champion", "nope")
    assert result.exit_code == 4
    assert "nope" in result.stderr
    assert lineage.repo.aliases() == {}


def test_the_list_loads_neither_model_nor_mlflow(lineage: Any, tmp_path: Path) -> None:
    assert not modules_after(["promote"], tmp_path) & {"numpy", "torch", "mlflow"}
