"""Trees: as keys, how two of them differ, and the tree of a concept's birth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.merging import ComposeDiffers, three_way
from registry.objects import Concept, Tree
from registry.trees import Changes, birth, brought, changes, composing, seen, trained_in
from tests.registry.making import DIGEST, OTHER, MemoryStore, one_of_each

THIRD = "c" * 64


def test_equal_trees_are_one_key_under_the_id_that_a_store_gives() -> None:
    tree = Tree(DIGEST, {"rex": OTHER, "tom": THIRD})
    assert {tree: 1}[Tree(DIGEST, {"tom": THIRD, "rex": OTHER})] == 1
    assert tree.id == MemoryStore().put(tree)


def test_changes_are_told_by_name() -> None:
    found = changes({"rex": OTHER, "tom": THIRD, "old": DIGEST}, {"tom": THIRD, "rex": DIGEST, "b": OTHER, "a": THIRD})
    assert found == Changes(added=("a", "b"), removed=("old",), replaced=("rex",))
    assert found.brought == ("a", "b", "rex")


def test_what_any_parent_has_under_its_name_was_not_brought() -> None:
    now = {"rex": OTHER, "tom": THIRD}
    assert brought([], now) == now
    assert brought([{"rex": OTHER}, {"tom": DIGEST}], now) == {"tom": THIRD}
    assert brought([{"max": OTHER}], now) == now


def test_a_birth_takes_the_place_of_what_had_the_name() -> None:
    store = MemoryStore()
    (concept,) = (one for one in one_of_each(store) if isinstance(one, Concept))
    trained_on = Tree(DIGEST, {"tom": THIRD, concept.name: OTHER})
    born = store.put(replace(concept, trained_on=store.put(trained_on)))
    assert birth(store, born) == Tree(DIGEST, {"tom": THIRD, concept.name: born})
    assert not store.has(birth(store, born).id)


def test_prompts_see_all_of_a_tree_or_what_they_name() -> None:
    tree = Tree(DIGEST, {"rex": OTHER, "tom": THIRD})
    named = composing(tree, "named")
    assert seen(tree, ["rex"]) is tree
    assert seen(tree, []) is tree
    assert seen(named, ["rex", "max"]) == Tree(DIGEST, {"rex": OTHER}, "named")
    assert seen(named, ["tom", "rex"]) == named
    assert seen(named, []) == seen(composing(Tree(DIGEST, {}), "named"), ["rex"]) == Tree(DIGEST, {})


def test_where_named_concepts_are_composed_one_learns_on_the_base_alone() -> None:
    """So that its birth is what its prompts see of every later tree: the same evaluation, found again."""
    store = MemoryStore()
    (concept,) = (one for one in one_of_each(store) if isinstance(one, Concept))
    tree = Tree(DIGEST, {"tom": THIRD, concept.name: OTHER}, "named")
    born = store.put(replace(concept, trained_on=store.put(trained_in(tree, concept.name))))
    later = replace(tree, concepts={**tree.concepts, concept.name: born})
    assert birth(store, born) == seen(later, [concept.name])
    assert trained_in(composing(tree, "all"), concept.name) == Tree(DIGEST, {"tom": THIRD})


def test_a_merge_of_trees_that_compose_differently_is_refused() -> None:
    base, ours = Tree(DIGEST, {}), Tree(DIGEST, {"rex": OTHER})
    theirs = Tree(DIGEST, {"tom": THIRD}, "named")
    for bases in ([base], [composing(base, "named")], [base, ours], []):
        for one, other in ((ours, theirs), (theirs, ours)):
            with pytest.raises(ComposeDiffers) as caught:
                three_way(bases, one, other)
            assert (caught.value.hint, caught.value.ours) == (f"cns config compose {other.compose}", one.compose)


def test_a_side_that_changed_nothing_follows_the_other_in_what_is_composed() -> None:
    base = Tree(DIGEST, {"rex": OTHER})
    named = composing(base, "named")
    assert three_way([base], base, named).compose == three_way([base], named, base).compose == "named"
    assert three_way([named], named, base).compose == "all"
    assert three_way([base], named, replace(named, concepts={})).compose == "named"
