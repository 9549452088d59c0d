"""Writing history anew without a concept, or without its photos: which object becomes which, as a map of ids.

Objects are immutable, so that what must go takes everything that leads to it along: trees, concepts that were trained
in them, commits and their descendants, scores. Each of these is written again without it and has another id; weights of
other concepts are blobs that nobody touches. A commit of the concept alone is none any more: its id becomes that of its
parent. This module maps objects that it is given; it reads no store, moves no ref and deletes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from registry.dag import independent, needed_first
from registry.errors import SHORT
from registry.names import is_id
from registry.objects import (
    AnyObject,
    Blob,
    Commit,
    Concept,
    Evaluation,
    JsonObject,
    Record,
    References,
    Tree,
    object_id,
)
from registry.trees import brought

GONE = "[purged]"
"""What stands in messages in the place of a name."""

CONTEXT = "purged_from_context"
"""Field of a record: how many concepts that its concepts were trained beside were purged since."""

_BY_CONCEPT = ("drift", "overlap")  # tables of the record of a training whose keys are names of concepts
_OF_PHOTOS = ("previews", "image_digests")
_AN_ID = re.compile(rf"(?<![0-9a-f])(?:[0-9a-f]{{64}}|[0-9a-f]{{{SHORT}}})(?![0-9a-f])")


class Rewriting:
    """What becomes of the objects that some starts need.

    Attributes:
        purged: Ids of the concepts that go, or whose photos go.
        ids: {old id: new id}, of what changes; None: it is gone.
        made: {new id: object}, each after what it needs.
        dropped: Commits that held nothing else: they are their parent now.

    Args:
        objects: Every object that is no blob, by id: of `starts`, all that they need.
        starts: Ids of commits and evaluations.
        names: Of the concepts.
        photos_only: Their weights stay.
    """

    def __init__(
        self, objects: Mapping[str, AnyObject], starts: Iterable[str], names: Collection[str], *, photos_only: bool
    ) -> None:
        self.objects = objects
        self.photos_only = photos_only
        self.purged = purged_concepts(objects, names, with_photos=photos_only)
        concepts = [found for one in sorted(self.purged) if isinstance(found := objects.get(one), Concept)]
        self._photos = {concept.references for concept in concepts} if photos_only else set()
        self._names = frozenset(() if photos_only else names)  # that shall stand nowhere
        self._words = _any_of({*self._names, *(token for concept in concepts for token in concept.tokens)})
        self.ids: dict[str, str | None] = {}
        self._known: dict[str, str] = {}  # as people write them: whole or short
        self.made: dict[str, JsonObject] = {}
        self.dropped: set[str] = set()
        for one in needed_first(starts, self._before):
            if one in objects:
                self._write(one, objects[one])
                self._note(one)

    def new(self, old: str) -> str | None:
        """Return what an id is now; None where it is gone."""
        return self.ids.get(old, old)

    def text(self, text: str) -> str:
        """Return a message without the names and tokens of what was purged, and with ids as they are now."""
        named = self._words.sub(GONE, text) if self._names else text
        return _AN_ID.sub(lambda found: self._known.get(found.group(), found.group()), named)

    def names_it(self, text: str) -> bool:
        """True where a text has such a name or token."""
        return bool(self._names) and self._words.search(text) is not None

    def led_to_it(self) -> set[str]:
        """Return every object, reachable or not, that needs what was purged or that became another."""
        found = self.purged | self.ids.keys()
        for one in needed_first(sorted(self.objects), lambda current: links(self.objects, current)):
            obj = self.objects.get(one)
            named = isinstance(obj, Commit) and self.names_it(obj.message)
            if named or not found.isdisjoint(links(self.objects, one)):
                found.add(one)
        return found

    def _before(self, one: str) -> list[str]:
        """Return what must be written before an object: what it needs, and the commits that its record names."""
        obj = self.objects.get(one)
        record = self.objects.get(obj.record or "") if isinstance(obj, Commit) else None
        named = _ids_of(record.data) if isinstance(record, Record) else ()
        return [*(known for known in named if known in self.objects), *links(self.objects, one)]

    def _note(self, one: str) -> None:
        if one in self.ids:
            new = self.ids[one] or GONE
            self._known |= {one: new, one[:SHORT]: new[:SHORT]}

    def _write(self, one: str, old: AnyObject) -> None:
        if isinstance(old, Commit):
            new: AnyObject | None = self._commit(one, old)
        elif isinstance(old, Tree):
            new = replace(old, concepts=self._concepts(old))
        elif isinstance(old, Concept):
            new = self._concept(one, old)
        elif isinstance(old, References) and one in self._photos:
            new = replace(old, images=None, features={})
        elif isinstance(old, Evaluation):
            new = self._evaluation(old)
        else:
            new = old
        if one in self.dropped:
            return
        self.ids |= {} if new == old else {one: None if new is None else self._make(new)}

    def _make(self, new: AnyObject) -> str:
        assert not isinstance(new, Blob)
        made = object_id(new.object_kind, new.payload())
        self.made[made] = new
        return made

    def _concepts(self, tree: Tree) -> dict[str, str]:
        kept = {name: self.new(concept) for name, concept in tree.concepts.items()}
        return {name: concept for name, concept in kept.items() if concept is not None}

    def _concept(self, one: str, old: Concept) -> Concept | None:
        if one in self.purged and not self.photos_only:
            return None
        references, trained_on = self.new(old.references), self.new(old.trained_on)
        assert references is not None
        assert trained_on is not None
        return replace(old, references=references, trained_on=trained_on)

    def _evaluation(self, old: Evaluation) -> Evaluation | None:
        """Scores of a tree that held the concept are not scores of the tree that is left."""
        tree, concept = self.new(old.tree), self.new(old.concept)
        if self._held(old.tree) or tree is None or concept is None or self._is_of_a_lost_birth(old):
            return None
        scores = dict(old.scores)
        if isinstance(others := scores.get("others"), dict):  # by concept
            scores["others"] = {now: value for key, value in others.items() if (now := self.new(key)) is not None}
        return replace(old, tree=tree, concept=concept, scores=scores)

    def _is_of_a_lost_birth(self, old: Evaluation) -> bool:
        """True where scores were compared with a tree that is another now: K/V drift since birth, or since a tree."""
        concept = self.objects.get(old.concept)
        since_birth = "drift" in old.scores and isinstance(concept, Concept) and self._held(concept.trained_on)
        return since_birth or any(one in self.ids for one in _ids_of(old.protocol))

    def _held(self, tree_id: str) -> bool:
        tree = self.objects.get(tree_id)
        return not self.photos_only and isinstance(tree, Tree) and not self.purged.isdisjoint(tree.concepts.values())

    def _commit(self, one: str, old: Commit) -> Commit:
        parents = self._parents(old)
        tree = self.new(old.tree)
        assert tree is not None
        if self._is_nothing(old, parents, tree):
            self.dropped.add(one)
            self.ids[one] = parents[0]
            return old
        record = None if old.record is None else self._record(old.record, old)
        return replace(old, tree=tree, parents=parents, record=record, message=self.text(old.message))

    def _parents(self, old: Commit) -> tuple[str, ...]:
        """Return the parents as they are now; one that another one reaches is none any more, if it was moved there."""
        found = tuple(dict.fromkeys(new for parent in old.parents if (new := self.new(parent)) is not None))
        if len(old.parents) < 2 or not self.dropped.intersection(old.parents):
            return found
        alone = independent(found, lambda current: self._now(current).parents)
        return tuple(parent for parent in found if parent in alone)

    def _is_nothing(self, old: Commit, parents: tuple[str, ...], tree: str) -> bool:
        """True where a commit joined or changed something before, and does neither now."""
        if len(parents) != 1 or tree != self._now(parents[0]).tree:
            return False
        before = self.objects[old.parents[0]]
        return len(old.parents) > 1 or (isinstance(before, Commit) and before.tree != old.tree)

    def _now(self, commit_id: str) -> Commit:
        found = self.made.get(commit_id) or self.objects[commit_id]
        assert isinstance(found, Commit)
        return found

    def _record(self, record_id: str, commit: Commit) -> str:
        """Write a record without what names or shows the concept.

        The record of a training keeps its settings as they are, since a word there is no name; that of anything else
        is about concepts as a whole.
        """
        record = self.objects[record_id]
        assert isinstance(record, Record)
        new = self._brought(commit)
        data = dict(record.data)
        if commit.kind != "add":
            data = self._scrubbed(data)
        for table in _BY_CONCEPT:
            if isinstance(rows := data.get(table), dict):
                data[table] = {name: value for name, value in rows.items() if name not in self._names}
        if new & self.purged or (commit.kind != "add" and any(map(self._held, self._trees(commit)))):
            data = {key: value for key, value in data.items() if key not in _OF_PHOTOS}
        if lost := sum(map(self._lost_beside, new - self.purged)):
            data[CONTEXT] = data.get(CONTEXT, 0) + lost
        return record_id if data == record.data else self._make(Record(data))

    def _scrubbed(self, value: Any) -> Any:
        """Return JSON without the names, in keys, lists and texts, and with ids as they are now."""
        if isinstance(value, dict):
            return {key: self._scrubbed(one) for key, one in value.items() if key not in self._names}
        if isinstance(value, (list, tuple)):
            return [self._scrubbed(one) for one in value if self._stays(one)]
        if isinstance(value, str):
            return self.text(value)
        return value

    def _stays(self, one: object) -> bool:
        return not isinstance(one, str) or (one not in self._names and self.new(one) is not None)

    def _trees(self, commit: Commit) -> list[str]:
        """Return the tree of a commit and those of its parents, as they were."""
        parents = (self.objects[parent] for parent in commit.parents)
        return [commit.tree, *(parent.tree for parent in parents if isinstance(parent, Commit))]

    def _brought(self, commit: Commit) -> set[str]:
        after, *before = (tree.concepts for one in self._trees(commit) if isinstance(tree := self.objects[one], Tree))
        return set(brought(before, after).values())

    def _lost_beside(self, concept_id: str) -> int:
        concept = self.objects[concept_id]
        tree = self.objects.get(concept.trained_on) if isinstance(concept, Concept) else None
        if self.photos_only or not isinstance(tree, Tree):
            return 0
        return len(self.purged.intersection(tree.concepts.values()))


def purged_concepts(objects: Mapping[str, AnyObject], names: Collection[str], *, with_photos: bool = False) -> set[str]:
    """Return the ids of all concepts that have one of some names, or that a tree holds under one.

    Args:
        objects: Those to look through.
        names: The names.
        with_photos: Leave out concepts that have neither photos nor features of them.
    """
    found = {one for one, obj in objects.items() if isinstance(obj, Concept) and obj.name in names}
    for obj in objects.values():
        if isinstance(obj, Tree):
            found |= {obj.concepts[name] for name in names if name in obj.concepts}
    return {one for one in found if not with_photos or _has_photos(objects, one)}


def _has_photos(objects: Mapping[str, AnyObject], concept_id: str) -> bool:
    concept = objects.get(concept_id)
    references = objects.get(concept.references) if isinstance(concept, Concept) else None
    return not isinstance(references, References) or bool(references.images or references.features)


def links(objects: Mapping[str, AnyObject], one: str) -> tuple[str, ...]:
    """Return what an object needs; of blobs, and of what is not there, nothing."""
    return objects[one].links() if one in objects else ()


def _any_of(words: Collection[str]) -> re.Pattern[str]:
    """Return what finds whole words; a name may hold dots and dashes, and a sentence may end behind it."""
    either = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9_-])(?:{either})(?![A-Za-z0-9_-]|\.[A-Za-z0-9])")


def _ids_of(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, str):
        if is_id(value):
            yield value
    elif isinstance(value, Iterable):
        for one in value:
            yield from _ids_of(one)
