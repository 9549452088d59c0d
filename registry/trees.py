"""Trees: adding and removing concepts, how two of them differ, and what a tree must hold to be a model.

Nothing is changed in place: a change of a commit is a function from a tree to another, so that it can be applied again
to a tip that moved. This module does not move refs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from registry.errors import BaseDiffers, DeltaTaken, NameTaken, NothingToDo, TokenTaken, UnknownConcept
from registry.names import check_name
from registry.objects import Compose, Concept, Erasure, Record, References, Tree
from registry.store import ObjectStore

Change = Callable[[Tree], Tree]
DOES_NOT_FIT = (NameTaken, TokenTaken, DeltaTaken, UnknownConcept, BaseDiffers)  # on another tree


def with_concept(tree: Tree, name: str, concept: str, *, overwrite: bool = False) -> Tree:
    """Return the tree with a concept id under a name.

    Raises:
        NameTaken: another concept has the name and overwrite is False, or the concept is there under another name.
    """
    check_name(name)
    if tree.concepts.get(name) == concept:
        return tree
    if name in tree.concepts and not overwrite:
        raise NameTaken(name)
    return replace(tree, concepts={**tree.concepts, name: concept})


def without_concept(tree: Tree, name: str) -> Tree:
    """Return the tree without the concept of that name; raises UnknownConcept."""
    if name not in tree.concepts:
        raise UnknownConcept(name, list(tree.concepts))
    return replace(tree, concepts={known: concept for known, concept in tree.concepts.items() if known != name})


def changed(before: Tree, change: Change, base: str, what: str, *, joins: bool = False) -> Tree:
    """Return a tree as a change makes it that was meant for trees of a base model.

    Raises:
        BaseDiffers: the tree stands on another base.
        NothingToDo: the change, called `what`, leaves it as it is, and does not join histories either.
    """
    if before.base != base:
        raise BaseDiffers(before.base, base)
    after = change(before)
    if after == before and not joins:
        raise NothingToDo(what)
    return after


@dataclass(frozen=True)
class Changes:
    """What became of a tree: names of concepts, sorted. One that is `replaced` has another id under its name."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    replaced: tuple[str, ...]

    @property
    def brought(self) -> tuple[str, ...]:
        """Names whose concept the tree did not have before: added or replaced."""
        return tuple(sorted(self.added + self.replaced))


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> Changes:
    """Return how {name: concept id} of one tree differs from that of an earlier one."""
    kept = now.keys() & before.keys()
    return Changes(
        added=tuple(sorted(now.keys() - kept)),
        removed=tuple(sorted(before.keys() - kept)),
        replaced=tuple(sorted(name for name in kept if now[name] != before[name])),
    )


def brought(parents: Iterable[Mapping[str, str]], now: Mapping[str, str]) -> dict[str, str]:
    """Return {name: concept id} of what a tree has and no parent's tree has under that name."""
    known = [before.items() for before in parents]
    return {name: concept for name, concept in now.items() if all((name, concept) not in before for before in known)}


def birth(store: ObjectStore, concept_id: str) -> Tree:
    """Return the tree of a concept's birth, its baseline: what it was trained on and itself. It need not be stored."""
    concept = store.get(concept_id, Concept)
    trained_on = store.get(concept.trained_on, Tree)
    return with_concept(trained_on, concept.name, concept_id, overwrite=True)


def seen(tree: Tree, names: Iterable[str]) -> Tree:
    """Return the tree of what prompts see that name these concepts of a tree and no other; the rest is not there.

    Where all concepts are composed, prompts see the tree itself, whatever they name. Where those that are named are,
    it is a tree of these alone; of none, the base, which has no two ways to be composed. An erasure is seen by all.
    """
    if tree.compose == "all":
        return tree
    named = {name: tree.concepts[name] for name in names if name in tree.concepts}
    return replace(tree, concepts=named) if named else replace(bare(tree), erasure=tree.erasure)


def can_be_seen(store: ObjectStore, object_id: str, holds: Callable[[str], bool]) -> bool:
    """Tell whether an object is a tree that no commit need have: what prompts see that name held concepts, or none.

    Args:
        store: Where it may be.
        object_id: Its id.
        holds: Whether an object is kept, or sent: of a tree that counts, its base and its concepts are.
    """
    tree = store.load(object_id) if store.has(object_id) else None
    if not isinstance(tree, Tree) or (tree.compose == "all" and tree.concepts):
        return False
    return all(map(holds, tree.links()))


def seen_of(tree: Tree, concept: str) -> Tree:
    """Return the tree of what prompts see that name one concept of a tree, by its id, and no other."""
    return seen(tree, [name for name, held in tree.concepts.items() if held == concept])


def bare(tree: Tree) -> Tree:
    """Return the tree of a tree's base alone, with nothing learned and nothing erased."""
    return Tree(tree.base, {})


def trained_in(tree: Tree, name: str) -> Tree:
    """Return the tree that a concept of this name learns on: all others, or, where named ones are composed, none."""
    others = {} if tree.compose == "named" else tree.concepts
    return replace(tree, concepts={other: concept for other, concept in others.items() if other != name})


def composing(tree: Tree, compose: Compose) -> Tree:
    """Return the tree with the same concepts, of which prompts see others."""
    return replace(tree, compose=compose)


def erasing(tree: Tree, erasure: str | None) -> Tree:
    """Return the tree with the same concepts on a base that forgets something else, or nothing."""
    return replace(tree, erasure=erasure)


def erased_in(tree: Tree, store: ObjectStore) -> dict[str, str]:
    """Return {noun: what stands in its place} of what a tree erases."""
    return dict(store.get(tree.erasure, Erasure).nouns) if tree.erasure else {}


def concepts_of(tree: Tree, store: ObjectStore) -> dict[str, Concept]:
    """Return {name: concept} of a tree, by name."""
    return {name: store.get(tree.concepts[name], Concept) for name in sorted(tree.concepts)}


def check_brought(before: Iterable[Tree], after: Tree, record: Record | None, store: ObjectStore) -> None:
    """Refuse a change whose new objects are not all there, however long ago they were put.

    What the trees before need is held by their commits, the parents; what is new was put without the lock, and a
    collection of garbage may have come between. `check_tree` looks at the parts of a concept, this at the parts of its
    references.

    Raises:
        ObjectMissing: something is gone; putting it again is safe.
    """
    known = {concept for tree in before for concept in tree.concepts.values()}
    for name in sorted(name for name, concept in after.concepts.items() if concept not in known):
        references = store.get(store.get(after.concepts[name], Concept).references, References)
        for blob in references.links():
            store.require(blob, f"a reference image or feature of concept '{name}', object")
    for blob in () if record is None else record.links():
        store.require(blob, "a preview of the record, object")


def check_tree(tree: Tree, store: ObjectStore) -> None:
    """Refuse a tree that is no model: everything that it needs is there, no token and no delta is there twice.

    Raises:
        TokenTaken, DeltaTaken: two names share a token or a delta, or one's token is a further vector of the other's.
        ObjectMissing: the base, a concept, or something that a concept needs is not in the store.
    """
    store.require(tree.base, "base")
    for needed in store.get(tree.erasure, Erasure).links() if tree.erasure else ():
        store.require(needed, "a part of the erasure, object")
    tokens: dict[str, str] = {}
    deltas: dict[str, str] = {}
    for name, concept in concepts_of(tree, store).items():
        for needed in concept.links():
            store.require(needed, f"a part of concept '{name}', object")
        for token in concept.tokens:
            if tokens.setdefault(token, name) != name:
                raise TokenTaken(token, name, tokens[token])
        if deltas.setdefault(concept.delta, name) != name:
            raise DeltaTaken(concept.delta, name, deltas[concept.delta])
    for token, name in tokens.items():  # "<rex>_1" is the second vector of "<rex>" in every prompt
        stem, _, number = token.rpartition("_")
        if number.isdigit() and tokens.get(stem, name) != name:
            raise TokenTaken(token, name, tokens[stem])
