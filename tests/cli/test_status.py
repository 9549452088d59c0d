from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cns import codec
from cns_cli.porcelain.views.concepts import training_context
from registry.objects import Blob, Concept, Tree
from registry.trees import composing, with_concept
from tests.cli.conftest import modules_after


def test_says_where_head_is_and_what_the_model_holds(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    tom = lineage.add("tom", noun="cat").id
    result = cns("status")
    assert result.stdout.startswith(f"on branch main at {tom[:10]}\nbase emoji-64, family emoji-64, id ")
    for part in ("rex", "dog", "<rex>", "34,567", "5.8 %", "cat", tom[:10]):
        assert part in result.stdout
    assert "outside" not in result.stdout
    assert result.stderr == ""
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_an_empty_registry_says_what_to_type(lineage: Any, cns: Any) -> None:
    result = cns("status")
    assert "no concept yet" in result.stdout
    assert "cns add NAME IMAGES/" in result.stderr


def test_a_bisection_that_goes_on_is_said(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    assert "bisect" not in cns("status").stdout
    cns("bisect", "start")
    assert "\na bisection is going on: " in cns("status").stdout
    cns("bisect", "reset")
    assert json.loads(cns("status", "--json").stdout)["bisecting"] is False


def test_a_removal_puts_later_concepts_outside_their_context(lineage: Any, cns: Any) -> None:
    for name in ("rex", "tom", "pip"):
        lineage.add(name)
    lineage.remove("tom")
    result = cns("status")
    assert "pip runs outside its training context: trained with tom, not here now" in result.stdout
    assert "rex runs" not in result.stdout
    assert "cns check" in result.stderr
    outside = {c["name"]: c["outside_context"] for c in json.loads(cns("status", "--json").stdout)["concepts"]}
    assert outside == {"rex": False, "pip": True}


def test_a_concept_that_a_revert_brings_back_keeps_its_figures(lineage: Any, cns: Any) -> None:
    """Such a commit records none: neurons and shares are counted from the mask."""
    repo = lineage.repo
    sparse = codec.SparseDelta((4, 4), np.array([1, 5, 6]), np.array([3, -2, 7], np.int16), -16)
    mask, delta = (repo.objects.put(Blob(data)) for data in codec.encode({"mid.attn2.to_k": sparse}))
    bare = repo.objects.get(lineage.concept("rex", trained_on=repo.commit_of(repo.head().commit).tree), Concept)
    concept = repo.objects.put(replace(bare, mask=mask, delta=delta))
    lineage.commit("revert", "rex", "bring rex back", None, lambda tree: with_concept(tree, "rex", concept))
    (rex,) = json.loads(cns("status", "--json").stdout)["concepts"]
    assert (rex["neurons"], rex["share_kv"], rex["share_denoiser"]) == (3, 3 / 16, 3 / 20_000_000)
    assert rex["bytes"] > 0


def test_concepts_of_two_lineages_are_strangers(lineage: Any, cns: Any) -> None:
    empty = lineage.repo.commit_of(lineage.repo.head().commit).tree
    lineage.add("rex")
    other = lineage.concept("tom", trained_on=empty)
    lineage.commit("import", "tom", "bring tom", None, lambda tree: with_concept(tree, "tom", other))
    lines = cns("status").stdout
    assert "rex runs outside its training context: never trained beside tom" in lines
    assert "tom runs outside its training context: never trained beside rex" in lines


def test_context_knows_a_replaced_concept() -> None:
    old, new, tom = (letter * 64 for letter in "abc")
    tree, trained_on = Tree("d" * 64, {"rex": new, "tom": tom}), {"tom": {"rex": old}, "rex": {"tom": tom}}
    assert training_context("tom", tree, trained_on, str) == (["rex"], [])
    assert training_context("rex", tree, trained_on, str) == ([], [])
    assert training_context("rex", composing(tree, "named"), trained_on, str) == (["tom"], [])
    assert training_context("tom", composing(tree, "named"), {"tom": {}, "rex": {}}, str) == ([], [])


def test_concepts_stand_in_the_order_in_which_they_came(lineage: Any, cns: Any) -> None:
    for name in ("zoe", "max", "ann"):
        lineage.add(name)
    assert [c["name"] for c in json.loads(cns("status", "--json").stdout)["concepts"]] == ["zoe", "max", "ann"]


def test_a_damaged_object_is_named(lineage: Any, cns: Any) -> None:
    added = lineage.add("rex")
    path = lineage.repo.objects.path(added.commit.tree)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-3] + b"xyz")
    result = cns("status")
    assert result.exit_code == 4
    assert added.commit.tree[:10] in result.stderr


def test_capacity_is_shown_from_the_record_without_numpy(lineage: Any, cns: Any, tmp_path: Path) -> None:
    shares = {"capacity_held": 0.058, "general_share": 0.25, "capacity_free": 0.7}
    lineage.add("rex", metrics=shares)
    result = cns("status")
    assert "K/V weights: 5.8 % held by concepts, 25 % general, 70 % free" in result.stdout
    assert json.loads(cns("status", "--json").stdout)["capacity"] == shares
    assert "numpy" not in modules_after(["status"], tmp_path)


def test_without_a_record_of_it_nothing_is_said_of_capacity(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    result = cns("status")
    assert result.exit_code == 0
    assert "K/V weights" not in result.stdout
