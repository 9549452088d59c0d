"""Conflicts of a merge are answers, and what they say to type settles them."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from cns import codec
from registry.objects import Blob, Concept
from tests.cli.branches import both_add, concepts, give_rows, on, parted, replaced
from tests.registry.making import snapshot

pytestmark = pytest.mark.usefixtures("alone")


def test_a_conflict_is_an_answer_and_nothing_is_written(lineage: Any, cns: Any) -> None:
    both_add(lineage, "rex", "rex")
    before = snapshot(lineage.repo)
    result = cns("merge", "pets")
    assert (result.exit_code, snapshot(lineage.repo)) == (4, before)
    assert "1 conflict: nothing was committed" in result.stdout
    ours, theirs = (lineage.repo.branches()[name][:10] for name in ("main", "pets"))
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("rex ")]
    assert re.split(" {2,}", row) == ["rex", "both added it", f"added in {ours}, a dog", f"added in {theirs}, a cat"]
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize(("number", "names"), [(0, ["rex"]), (1, ["rex"]), (2, ["rex", "rex2"])])
def test_the_commands_of_a_conflict_settle_it(lineage: Any, cns: Any, number: int, names: list[str]) -> None:
    both_add(lineage, "rex", "rex")
    give_rows(lineage, "pets", "rex")
    sides = [concepts(lineage, "main")["rex"], concepts(lineage, "pets")["rex"]]
    answer = json.loads(cns("merge", "pets", "--json").stdout)
    assert answer["outcome"] == "conflicts"
    result = cns(*shlex.split(answer["commands"][number])[1:])
    assert result.exit_code == 0, result.stderr
    assert sorted(concepts(lineage)) == names
    assert concepts(lineage)["rex"] == sides[1 if number == 1 else 0]


def test_a_renamed_concept_keeps_its_weights_and_gets_a_token_of_its_own(lineage: Any, cns: Any) -> None:
    both_add(lineage, "rex", "rex")
    give_rows(lineage, "pets", "rex")
    was = lineage.repo.objects.get(concepts(lineage, "pets")["rex"], Concept)
    assert cns("merge", "pets", "--rename", "rex=max", "--no-drift").exit_code == 0
    now = lineage.repo.concepts(lineage.repo.tree_of("HEAD"))["max"]
    assert (now.delta, now.mask, now.class_noun, now.trained_on) == (was.delta, was.mask, "cat", was.trained_on)
    assert (now.name, now.tokens) == ("max", ("<max>",))
    rows = codec.decode_rows(lineage.repo.objects.get(now.embedding, Blob).data, now.tokens)
    assert rows["<max>"].tolist() == [0.5] * 4


def test_a_change_against_a_removal_is_a_conflict(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    parted(lineage)
    lineage.remove("rex")
    on(lineage, "pets")
    replaced(lineage, "rex")
    on(lineage, "main")
    result = cns("merge", "pets")
    assert result.exit_code == 4
    assert "rex      changed and removed  removed  changed in" in result.stdout
    assert cns("merge", "pets", "--ours", "rex", "--no-drift").exit_code == 0
    assert concepts(lineage) == {}


def test_each_conflict_can_be_settled_on_its_own(lineage: Any, cns: Any) -> None:
    parted(lineage)
    for branch in ("pets", "main"):
        on(lineage, branch)
        for name in ("rex", "tom", "mug"):
            lineage.add(name)
    ours, theirs = concepts(lineage, "main"), concepts(lineage, "pets")
    result = cns("merge", "pets", "--theirs", "rex", "--ours", "tom", "--json")
    assert [one["name"] for one in json.loads(result.stdout)["conflicts"]] == ["mug"]
    assert "cns merge pets --ours tom --theirs rex -X ours" in json.loads(result.stdout)["commands"]
    assert cns("merge", "pets", "--theirs", "rex", "-X", "ours", "--no-drift").exit_code == 0
    assert concepts(lineage) == {"rex": theirs["rex"], "tom": ours["tom"], "mug": ours["mug"]}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--ours", "max"], ["rex"]),
        (["--theirs", "rex"], ["max"]),
        (["-X", "ours"], ["rex"]),
        (["-X", "theirs"], ["max"]),
        (["--rename", "max=moritz"], ["moritz", "rex"]),
    ],
)
def test_a_token_that_two_names_share_is_a_conflict_too(
    lineage: Any, cns: Any, words: list[str], names: list[str]
) -> None:
    parted(lineage)
    lineage.add("rex")
    on(lineage, "pets")
    replaced(lineage, "max", token="<rex>")
    give_rows(lineage, "pets", "max")
    result = cns("merge", "pets")
    assert result.exit_code == 4
    assert "max      has the token of rex  nothing  added in" in result.stdout
    for choice in (["--ours", "max"], ["--theirs", "rex"], ["--rename", "max=max2"]):
        assert f"  {' '.join(choice)}\n" in result.stdout
    assert cns("merge", "pets", *words, "--no-drift").exit_code == 0
    assert sorted(concepts(lineage)) == names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ours", "mug"], "'mug' has no meaning: it is in no conflict; expected one of: rex"),
        (["--ours", "rex", "--theirs", "rex"], "there are two"),
        (["--rename", "rex=tom"], "the name 'tom' is taken"),
        (["--rename", "rex=.."], "expected 1 to 64"),
    ],
)
def test_a_choice_that_cannot_be_followed_is_refused(lineage: Any, cns: Any, words: list[str], said: str) -> None:
    lineage.add("tom")
    both_add(lineage, "rex", "rex")
    before = snapshot(lineage.repo)
    result = cns("merge", "pets", "-X", "ours", *words)
    assert (result.exit_code, snapshot(lineage.repo)) == (4, before)
    assert said in result.stderr


@pytest.mark.parametrize("text", ["rex", "rex=", "=max"])
def test_a_new_name_is_typed_behind_the_old_one(lineage: Any, cns: Any, text: str) -> None:
    assert cns("merge", "main", "--rename", text).exit_code == 2


def test_merge_bases_that_disagree_are_a_conflict_where_the_sides_do(lineage: Any, cns: Any) -> None:
    """A criss-cross: each branch took the other's tip and settled rex for itself, so that both tips are bases."""
    parted(lineage)
    lineage.add("rex")
    one = lineage.repo.head().commit
    on(lineage, "pets")
    lineage.add("rex")
    other = lineage.repo.head().commit
    cns("merge", one, "-X", "ours", "--no-drift")
    on(lineage, "main")
    cns("merge", other, "-X", "ours", "--no-drift")
    answer = json.loads(cns("merge", "pets", "--json").stdout)
    assert sorted(answer["bases"]) == sorted([one, other])
    assert [(row["name"], row["why"]) for row in answer["conflicts"]] == [("rex", "the merge bases disagree")]
