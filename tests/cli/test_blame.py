"""`cns blame`: every figure against changes that were written by hand, every commit against the history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.trees import with_concept
from tests.cli.conftest import modules_after
from tests.cli.learned import MATRIX, learn


@pytest.fixture
def family(lineage: Any) -> dict[str, str]:
    """Teach tom, rex and pip: rex shares 2 of 4 neurons with tom, 1 with pip, and 1 with both."""
    return {
        "tom": learn(lineage, "tom", {0: 2, 1: 4, 2: 2}).id,
        "rex": learn(lineage, "rex", {1: 2, 2: -2, 3: 6, 4: 4}).id,
        "pip": learn(lineage, "pip", {2: 1, 9: 5}).id,
    }


def test_figures_are_those_of_the_deltas(family: dict[str, str], cns: Any) -> None:
    found = json.loads(cns("blame", "rex", "--json").stdout)
    assert (found["own"]["neurons"], found["share_kv"], found["alone"]) == (4, 0.25, 2)
    tom, pip = found["others"]
    # in half units: rex (2, -2, 6, 4) at 1 to 4; tom (2, 4, 2) at 0 to 2; pip (1, 5) at 2 and 9
    assert (tom["name"], pip["name"]) == ("tom", "pip")
    assert tom["overlap"] == {
        "neurons": 4, "others": 3, "shared": 2, "share": 0.5, "chance": 4 * 3 / 16 / 4,
        "energy": (16 + 4) / (4 + 4), "cosine": pytest.approx((2 * 4 - 2 * 2) / (60 * 24) ** 0.5),
    }  # fmt: skip
    assert pip["overlap"]["shared"] == 1
    assert pip["overlap"]["energy"] == 1 / 4
    assert tom["matrices"] == [{**tom["overlap"], "matrix": MATRIX}]


def test_each_line_names_the_commit_that_brought_the_concept(family: dict[str, str], cns: Any) -> None:
    found = json.loads(cns("blame", "rex", "--json").stdout)
    assert found["own"]["commit"] == family["rex"]
    assert (found["own"]["author"], found["own"]["time"]) == ("ann", 1_780_000_000 + 120)
    assert {line["name"]: line["commit"] for line in found["others"]} == {n: family[n] for n in ("tom", "pip")}
    assert {line["name"]: line["when"] for line in found["others"]} == {"tom": "before", "pip": "after"}
    text = cns("blame", "rex").stdout.splitlines()
    assert text[0].startswith("rex at ")
    assert text[3].startswith(f"{family['rex'][:10]}  2026-05-28  rex ")
    assert max(map(len, text)) <= 80


def test_a_concept_that_was_taught_anew_is_blamed_on_the_newer_commit(
    lineage: Any, family: dict[str, str], cns: Any
) -> None:
    anew = learn(lineage, "tom", {1: 1}).id
    (line,) = [one for one in json.loads(cns("blame", "rex", "--json").stdout)["others"] if one["name"] == "tom"]
    assert (line["commit"], line["when"], line["in_context"]) == (anew, "after", True)
    assert json.loads(cns("blame", "rex", "--json").stdout)["missing"] == ["tom"]
    assert "rex was trained with tom, not here now" in cns("blame", "rex").stdout
    (line, _) = json.loads(cns("blame", "rex", "HEAD~1", "--json").stdout)["others"]
    assert line["commit"] == family["tom"]


def test_who_never_knew_each_other_is_told(lineage: Any, cns: Any) -> None:
    empty = lineage.repo.tree_of(lineage.repo.head().commit)
    learn(lineage, "rex", {0: 1})
    learn(lineage, "tom", {0: 2}, on=empty)
    assert [line["in_context"] for line in json.loads(cns("blame", "rex", "--json").stdout)["others"]] == [False]
    result = cns("blame", "rex")
    assert "after, apart" in result.stdout
    assert "  next: cns check " in result.stderr


def test_a_concept_on_another_line_of_history_is_beside(lineage: Any, cns: Any) -> None:
    root = lineage.repo.head().commit
    empty = lineage.repo.tree_of(root)
    learn(lineage, "rex", {0: 1})
    mine = lineage.repo.head().commit
    rex = lineage.repo.tree_of(mine).concepts["rex"]
    cns("branch", "side", root)
    cns("checkout", "side")
    theirs = learn(lineage, "tom", {0: 2}, on=empty).id
    cns("checkout", "main")
    tom = lineage.repo.tree_of(theirs).concepts["tom"]
    lineage.repo.commit(
        kind="merge", message="merge side", author="bea", time=lineage.time, record=None, seen=mine, keep_as="side",
        change=lambda tip: with_concept(tip, "tom", tom), merged=[theirs],
    )  # fmt: skip
    found = json.loads(cns("blame", "rex", "--json").stdout)
    assert found["own"]["concept_id"] == rex
    assert [(line["commit"], line["when"]) for line in found["others"]] == [(theirs, "beside")]


def test_a_concept_alone_shares_nothing(lineage: Any, cns: Any) -> None:
    learn(lineage, "rex", {0: 1, 5: 2})
    found = json.loads(cns("blame", "rex", "--json").stdout)
    assert (found["others"], found["alone"]) == ([], 2)
    assert "shared with" not in cns("blame", "rex").stdout


def test_matrices_are_listed_where_they_are_asked_for(family: dict[str, str], cns: Any) -> None:
    assert "with tom" not in cns("blame", "rex").stdout
    assert cns("blame", "rex", "--matrices").stdout.count("mid.attn2.to K") == 2


@pytest.mark.parametrize(("words", "said"), [(["blame", "nope"], "nope"), (["blame", "rex", "nope"], "nope")])
def test_what_is_not_there_is_refused(
    words: list[str], said: str, family: dict[str, str], cns: Any, tmp_path: Path
) -> None:
    result = cns(*words)
    assert result.exit_code == 4
    assert said in result.stderr


def test_it_needs_no_torch(family: dict[str, str], tmp_path: Path) -> None:
    loaded = modules_after(["blame", "rex"], tmp_path)
    assert "numpy" in loaded
    assert not loaded & {"torch", "diffusers", "transformers", "mlflow"}
