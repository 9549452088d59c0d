"""Trees: as keys, how two of them differ, and the tree of a concept's birth."""

from __future__ import annotations

from dataclasses import replace

from registry.objects import Concept, Tree
from registry.trees import Changes, birth, brought, changes
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
