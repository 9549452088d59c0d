"""A concept with another name: the same weights, another word in prompts, and history keeps the old one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cns import codec
from registry.objects import Blob, Concept, Record
from registry.trees import with_concept
from tests.cli.branches import concepts, on, parted
from tests.cli.learned import learn

pytestmark = pytest.mark.usefixtures("alone")


def held(lineage: Any, name: str, rev: str = "HEAD") -> Concept:
    return lineage.repo.objects.get(concepts(lineage, rev)[name], Concept)


def test_the_name_and_the_token_are_new_and_the_weights_are_not(lineage: Any, cns: Any) -> None:
    made = learn(lineage, "rex", {0: 3}).id
    before = held(lineage, "rex")
    result = cns("mv", "rex", "bello")
    assert result.exit_code == 0, result.output
    assert "renamed rex to bello: commit " in result.stdout
    assert "Prompts say <bello>, and <rex> no more; its weights are the same." in result.stdout
    assert 'next: cns generate "a <bello> dog"' in result.stderr
    now = held(lineage, "bello")
    assert (now.name, now.tokens) == ("bello", ("<bello>",))
    assert (now.mask, now.delta, now.references) == (before.mask, before.delta, before.references)
    rows = [codec.decode_rows(lineage.repo.objects.get(one.embedding, Blob).data, one.tokens) for one in (before, now)]
    assert np.array_equal(rows[0]["<rex>"], rows[1]["<bello>"])
    assert list(concepts(lineage)) == ["bello"]
    assert list(concepts(lineage, made)) == ["rex"]


@pytest.mark.parametrize(("name", "kind"), [("main", "a branch"), ("v1", "a tag")])
def test_a_name_that_means_another_commit_is_warned_of(lineage: Any, cns: Any, name: str, kind: str) -> None:
    learn(lineage, "rex", {0: 3})
    cns("tag", "v1")
    assert "as a revision" not in cns("mv", "rex", "bello").stderr
    result = cns("mv", "bello", name)
    assert result.exit_code == 0
    assert f"warning: {name} is {kind}, too: as a revision, {name} means the {kind[2:]}; concept:{name} the " in (
        result.stderr
    )


def test_the_commit_says_who_when_why_and_what_it_was(lineage: Any, cns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    born = learn(lineage, "rex", {0: 3}, identity_after=0.75)
    was = concepts(lineage)["rex"]
    monkeypatch.setenv("CNS_AUTHOR", "bea")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    made = json.loads(cns("mv", "rex", "bello", "-m", "its owner's word", "--json").stdout)
    commit = lineage.repo.commit_of(made["commit"])
    facts = (commit.kind, commit.author, commit.time, commit.message, commit.parents)
    assert facts == ("rename", "bea", 1790000000, "its owner's word", (born.id,))
    record = lineage.repo.objects.get(commit.record, Record).data
    assert record["renamed"] == {"name": "rex", "concept": was, "commit": born.id}
    assert record["metrics"]["identity_after"] == 0.75, "figures stay with what they are of"
    assert "identity after" in cns("show", "bello").stdout


def test_what_learned_it_is_named_to_whoever_verifies_it(lineage: Any, cns: Any) -> None:
    born = learn(lineage, "rex", {0: 3}).id
    cns("mv", "rex", "bello")
    cns("mv", "bello", "kim")
    renamed = cns("verify", "HEAD~1")
    assert renamed.exit_code == 5
    assert f"try: cns verify {born[:10]}" in renamed.stderr
    assert f"try: cns verify {born[:10]}" in cns("verify", "HEAD").stderr


def test_a_token_that_somebody_chose_stays(lineage: Any, cns: Any) -> None:
    learn(lineage, "rex", {0: 3})
    old = held(lineage, "rex")
    row = lineage.repo.objects.put(Blob(codec.encode_rows({"zwx": np.zeros(4, np.float32)})))
    other = lineage.repo.objects.put(replace(old, tokens=("zwx",), embedding=row))
    lineage.commit("import", "rex", "", None, lambda tree: with_concept(tree, "rex", other, overwrite=True))
    result = cns("mv", "rex", "bello")
    assert "Prompts say zwx, as before" in result.stdout
    assert (held(lineage, "bello").tokens, held(lineage, "bello").embedding) == (("zwx",), row)


def test_every_vector_has_a_new_name(lineage: Any, cns: Any) -> None:
    learn(lineage, "rex", {0: 3})
    rows = {f"<rex>{end}": np.full(4, place, np.float32) for place, end in enumerate(("", "_1", "_2"))}
    several = lineage.repo.objects.put(Blob(codec.encode_rows(rows)))
    three = lineage.repo.objects.put(replace(held(lineage, "rex"), tokens=tuple(rows), embedding=several))
    lineage.commit("import", "rex", "", None, lambda tree: with_concept(tree, "rex", three, overwrite=True))
    assert "Prompts say <bello> +2, and <rex> +2 no more" in cns("mv", "rex", "bello").stdout
    assert held(lineage, "bello").tokens == ("<bello>", "<bello>_1", "<bello>_2")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nobody", "bello"), 4, "no concept 'nobody'"),
        (("rex", "tom"), 4, "the concept name 'tom' is taken"),
        (("rex", "rex"), 4, "the concept name 'rex' is taken"),
        (("rex", "../up"), 4, "expected 1 to 64 of A-Z"),
        (("rex",), 2, "NEW"),
    ],
)
def test_what_cannot_be_renamed_so_is_refused(
    lineage: Any, cns: Any, words: tuple[str, ...], code: int, said: str
) -> None:
    learn(lineage, "rex", {0: 3})
    before = learn(lineage, "tom", {1: 4}).id
    result = cns("mv", *words)
    assert (result.exit_code, lineage.repo.head().commit) == (code, before)
    assert said in result.stderr
    assert "cns rm" not in result.stderr, "no advice takes anything away"


def test_a_token_of_another_concept_is_not_taken(lineage: Any, cns: Any) -> None:
    learn(lineage, "rex", {0: 3})
    learn(lineage, "tom", {1: 4})
    row = lineage.repo.objects.put(Blob(codec.encode_rows({"<bello>": np.zeros(4, np.float32)})))
    other = lineage.repo.objects.put(replace(held(lineage, "tom"), tokens=("<bello>",), embedding=row))
    lineage.commit("import", "tom", "", None, lambda tree: with_concept(tree, "tom", other, overwrite=True))
    result = cns("mv", "rex", "bello")
    assert result.exit_code == 4
    assert "the token '<bello>' of 'bello' belongs to 'tom'" in result.stderr


def test_it_is_undone_reverted_and_merged_as_any_change(lineage: Any, cns: Any) -> None:
    learn(lineage, "rex", {0: 3})
    was = concepts(lineage)
    parted(lineage)
    cns("mv", "rex", "bello")
    renamed = concepts(lineage)
    assert cns("undo").exit_code == 0
    assert concepts(lineage) == was
    assert cns("undo").exit_code == 0
    assert cns("revert", "HEAD", "--no-drift").exit_code == 0
    assert concepts(lineage) == was
    cns("undo")
    on(lineage, "pets")
    learn(lineage, "tom", {1: 4})
    assert cns("merge", "main", "--no-drift").exit_code == 0
    assert concepts(lineage) == {**renamed, "tom": concepts(lineage)["tom"]}


def test_company_that_was_renamed_is_the_same_company(lineage: Any, cns: Any) -> None:
    learn(lineage, "rex", {0: 3})
    learn(lineage, "tom", {1: 4})
    cns("mv", "rex", "bello")
    cns("mv", "tom", "kim")
    status = json.loads(cns("status", "--json").stdout)["concepts"]
    assert {one["name"]: (one["missing"], one["strangers"]) for one in status} == {"bello": ([], []), "kim": ([], [])}
    assert "outside" not in cns("blame", "kim").stdout


def test_purge_asks_for_both_names(lineage: Any, cns: Any) -> None:
    learn(lineage, "rex", {0: 3})
    cns("mv", "rex", "bello")
    refused = cns("purge", "rex", "--yes")
    assert "cns purge rex bello" in refused.stderr
    assert cns("purge", "rex", "bello", "--yes").exit_code == 0
    assert "rex" not in cns("log").stdout
    assert "bello" not in cns("log").stdout
    assert cns("fsck").exit_code == 0
