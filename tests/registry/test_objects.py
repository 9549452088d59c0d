"""Objects: their bytes, their ids, and what they refuse."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from registry import canonical
from registry.errors import BadName, BadValue, NameTaken, UnknownFormat
from registry.objects import (
    KINDS,
    Base,
    Blob,
    Commit,
    Concept,
    Erasure,
    Evaluation,
    Record,
    References,
    Tree,
    decode,
    object_id,
)
from tests.registry.making import AUTHOR, DIGEST, OTHER, MemoryStore, base, one_of_each

# Ids are forever: if one of these changes, stored lineages no longer mean what they meant.
IDS = {
    "blob": "975e2fb4c79b8cb69f87a0a2f48371f6eeb2b2f6a86471d253e77f73aec101e6",
    "base": "cbf59ce1ac175de77c9ef97ee55345c6ecda8f339aeec53c3b7cf35761f453f1",
    "references": "7f43a4f81f6dd00521ca8b71bf3be32ce415d6d15150596b2fc7999fe8693c4a",
    "concept": "03f2a7f4316255ff0c5d8492e3993851a96394640fa5fdaf56b6a3e3979fa6ff",
    "erasure": "ba54be877663c29044210cc7d612c2c12a56e572265b505efd8cdafaa8730728",
    "tree": "edbaed09a6e6a14f90d92a94232b4b3bb81bd2186e1ea8b553fd3c670160a5dd",
    "record": "3d7e781c732a7c6508ec818e6e1058e60784fff27319b85d480524e0fdaac455",
    "commit": "2aba06119d178d7c9cabb65994ba88c65dbc0de4b4cca92454ebfaa50ae9e2f6",
    "evaluation": "0e990bfea0028d0ec4e828712b60806231834ca99695ecb9bbc0fb4276b57bf0",
}


def golden() -> list[tuple[Any, str]]:
    third = "c" * 64
    concept = Concept("rex", "dog", ("<rex>",), DIGEST, OTHER, third, {"templates": DIGEST, "c": None}, DIGEST, OTHER)
    return [
        (Blob(b"hello"), "blob"),
        (base(), "base"),
        (References(DIGEST, ("a <rex> dog", None), 2, 64, {OTHER: third}), "references"),
        (concept, "concept"),
        (Erasure(DIGEST, {"dog": "", "car": "bus"}, OTHER, third), "erasure"),
        (Tree(DIGEST, {"rex": OTHER, "Tom": third}), "tree"),
        (Record({"metrics": {"clip_i": 0.5}, "note": "ü"}), "record"),
        (Commit(DIGEST, (OTHER,), third, "add", "add rex", AUTHOR, 1_700_000_000), "commit"),
        (Evaluation(DIGEST, OTHER, "rex", {"images": 2}, "p1", {"clip_i": [0.25]}), "evaluation"),
    ]


@pytest.mark.parametrize(("obj", "kind"), golden(), ids=lambda value: value if isinstance(value, str) else "")
def test_ids_are_pinned(obj: Any, kind: str) -> None:
    assert object_id(kind, obj.payload()) == IDS[kind]


def test_a_tree_says_what_it_composes_only_where_that_is_not_all() -> None:
    """Every id of before is what it was, and a program of before refuses what it cannot compose."""
    tree = Tree(DIGEST, {"rex": OTHER, "Tom": "c" * 64})
    named = dataclasses.replace(tree, compose="named")
    assert tree.id == IDS["tree"]
    assert b"compose" not in tree.payload()
    assert named.id == "5bb86803878eb249363f73348aeb62085d147e4e7235eccb36e8242a8cfee405"
    assert decode("tree", named.payload()) == named != decode("tree", tree.payload())
    assert dataclasses.replace(named, concepts={}).compose == "named"


def test_a_tree_names_its_erasure_only_where_it_has_one() -> None:
    tree = Tree(DIGEST, {"rex": OTHER, "Tom": "c" * 64})
    erased = dataclasses.replace(tree, erasure=OTHER)
    assert b"erasure" not in tree.payload()
    assert erased.id == "9f87efc83baa4e51d6575e41f79180ff32edf4ef6a8dd5b14e1e08c1ea78aea6"
    assert decode("tree", erased.payload()) == erased
    assert erased.links() == (*tree.links(), OTHER)
    with pytest.raises(BadValue):
        Erasure(DIGEST, {}, OTHER, OTHER)


@pytest.mark.parametrize("said", ["all", "none", 1, None])
def test_a_tree_refuses_another_way_to_compose_and_two_ways_to_say_the_same(said: Any) -> None:
    fields = canonical.decode(Tree(DIGEST, {}).payload())
    with pytest.raises(BadValue):
        decode("tree", canonical.encode(fields | {"compose": said}))


def test_every_kind_has_a_pinned_id() -> None:
    assert set(IDS) == set(KINDS)


def test_commit_bytes_are_pinned() -> None:
    commit = Commit(DIGEST, (), None, "init", "init", "Ada", 7)
    assert commit.payload() == (
        b'{"author":"Ada","format":1,"kind":"init","message":"init","parents":[],"record":null,"time":7,'
        b'"tree":"' + DIGEST.encode() + b'"}'
    )


def test_objects_come_back_equal() -> None:
    for obj in one_of_each(MemoryStore()):
        assert decode(obj.object_kind, obj.payload()) == obj


def test_parent_participates() -> None:
    commit = Commit(DIGEST, (), None, "init", "init", "Ada", 7)
    child = dataclasses.replace(commit, parents=(DIGEST,))
    assert object_id("commit", commit.payload()) != object_id("commit", child.payload())


def test_kind_participates() -> None:
    assert object_id("blob", b"{}") != object_id("tree", b"{}")


def test_location_of_a_base_does_not_exist() -> None:
    assert "source" not in {field.name for field in dataclasses.fields(Base)}


def test_links_name_everything_that_is_needed() -> None:
    blob, other = "1" * 64, "2" * 64
    concept = Concept("rex", "dog", ("<rex>",), blob, other, DIGEST, {"templates": "3" * 64}, "4" * 64, "5" * 64)
    assert set(concept.links()) == {blob, other, DIGEST, "4" * 64, "5" * 64}
    assert References(None, (), 3, 64, {"x": blob}).links() == (blob,)
    assert References(other, (), 3, 64, {}).links() == (other,)
    assert Commit(DIGEST, (OTHER,), None, "add", "", "", 0).links() == (DIGEST, OTHER)
    assert Record({"previews": {"b": [blob, "text"], "a": other}, "else": DIGEST}).links() == (other, blob)
    assert Evaluation(DIGEST, OTHER, "rex", {}, "p", {}).links() == (DIGEST, OTHER)
    assert base().links() == ()
    assert Blob(b"").links() == ()


BAD: list[tuple[Any, dict[str, Any]]] = [
    (Tree, {"base": "short", "concepts": {}}),
    (Tree, {"base": DIGEST.upper(), "concepts": {}}),
    (Tree, {"base": DIGEST, "concepts": {"..": OTHER}}),
    (Tree, {"base": DIGEST, "concepts": {"rex": "no id"}}),
    (Tree, {"base": DIGEST, "concepts": ["rex"]}),
    (
        Commit,
        {"tree": DIGEST, "parents": (), "record": None, "kind": "made up", "message": "", "author": "", "time": 0},
    ),
    (Commit, {"tree": DIGEST, "parents": (), "record": None, "kind": "add", "message": "", "author": "", "time": -1}),
    (
        Commit,
        {"tree": DIGEST, "parents": (), "record": None, "kind": "add", "message": "", "author": "", "time": 2**40},
    ),
    (Commit, {"tree": DIGEST, "parents": (), "record": None, "kind": "add", "message": "", "author": "", "time": True}),
    (Commit, {"tree": DIGEST, "parents": "ab", "record": None, "kind": "add", "message": "", "author": "", "time": 0}),
    (Commit, {"tree": DIGEST, "parents": (), "record": "x", "kind": "add", "message": "", "author": "", "time": 0}),
    (Commit, {"tree": DIGEST, "parents": (), "record": None, "kind": "add", "message": 5, "author": "", "time": 0}),
    (References, {"images": None, "captions": (3,), "count": 1, "resolution": 64, "features": {}}),
    (References, {"images": None, "captions": (), "count": 1, "resolution": 0, "features": {}}),
    (References, {"images": None, "captions": (), "count": 1, "resolution": 64, "features": {"x": "y"}}),
    (Base, {"family": "x", "components": {"unet": {"a": "b"}}, "matrices": {}, "denoiser_parameters": 1}),
    (Base, {"family": "x", "components": {}, "matrices": {"k": {}}, "denoiser_parameters": 1}),
    (Record, {"data": []}),
]


@pytest.mark.parametrize(("kind", "fields"), BAD)
def test_refuses_wrong_fields(kind: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(BadValue):
        kind(**fields)


def test_concept_needs_an_allowed_name() -> None:
    with pytest.raises(BadName):
        Concept("../x", "dog", ("<rex>",), DIGEST, DIGEST, DIGEST, {}, DIGEST, DIGEST)
    with pytest.raises(BadValue):
        Concept("rex", "dog", ("<rex>",), DIGEST, DIGEST, DIGEST, {"a": 5}, DIGEST, DIGEST)  # type: ignore[dict-item]


def test_tree_refuses_one_concept_under_two_names() -> None:
    with pytest.raises(NameTaken) as caught:
        Tree(DIGEST, {"rex": OTHER, "tom": OTHER})
    assert (caught.value.name, caught.value.holder) == ("tom", "rex")


def test_newer_formats_are_refused_and_said_to_be_newer() -> None:
    fields = canonical.decode(Commit(DIGEST, (), None, "init", "", "", 0).payload())
    with pytest.raises(UnknownFormat) as caught:
        decode("commit", canonical.encode(fields | {"format": 2}))
    assert caught.value.found == 2
    with pytest.raises(UnknownFormat):
        decode("commit", canonical.encode(fields | {"signature": "x"}))
    with pytest.raises(UnknownFormat):
        decode("hologram", b"{}")


def test_missing_fields_and_other_shapes_are_refused() -> None:
    for payload in (b"{}", b"[]", b'"tree"'):
        with pytest.raises(BadValue):
            decode("tree", payload)
