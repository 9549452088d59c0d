"""Small real objects and lineages for the tests of the registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry import envelope
from registry.errors import ObjectMissing
from registry.objects import Base, Blob, Commit, Compose, Concept, Erasure, Evaluation, Record, References, Tree
from registry.refs import EVALUATIONS
from registry.repository import Committed, Repository
from registry.store import ObjectStore
from registry.trees import bare, composing, seen_of, with_concept

DIGEST = "a" * 64
OTHER = "b" * 64
AUTHOR = "Ada <ada@example.org>"


def base(family: str = "emoji-64") -> Base:
    return Base(
        family,
        {"unet": {"config.json": DIGEST, "diffusion_pytorch_model.safetensors": OTHER}},
        {"down.0.attn2.to_k": {"shape": [64, 128], "sha256": DIGEST, "exponent": -12}},
        1000,
    )


def compose(repository: Repository, compose: Compose) -> Committed:
    """Commit that prompts see all concepts, or those that they name."""
    tip = repository.head().commit
    return repository.commit(
        kind="compose", message=f"compose {compose}", author=AUTHOR, time=repository.commit_of(tip).time + 60,
        record=None, change=lambda tree: composing(tree, compose), seen=tip, keep_as="compose",
    )  # fmt: skip


def score_what_is_seen(repository: Repository) -> list[str]:
    """Store scores of what prompts about each concept of HEAD see, and of a class noun alone; return their ids."""
    tree, ids = repository.tree_of("HEAD"), []
    places = [(name, seen_of(tree, concept)) for name, concept in tree.concepts.items()]
    for name, place in [*places, (places[0][0], bare(tree))]:
        made = Evaluation(repository.objects.put(place), tree.concepts[name], name, {}, "p", {"clip_i": [0.5]})
        ids.append(repository.add_evaluation(made))
    return ids


class MemoryStore(ObjectStore):
    """A store in memory."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def has(self, object_id: str) -> bool:
        """See ObjectStore."""
        return object_id in self._contents

    def ids(self, prefix: str = "") -> Iterator[str]:
        """See ObjectStore."""
        return iter(sorted(known for known in self._contents if known.startswith(prefix)))

    def kind_of(self, object_id: str) -> str:
        """See ObjectStore."""
        if object_id not in self._contents:
            raise ObjectMissing(object_id)
        return envelope.kind_of(object_id, self._contents[object_id][: envelope.MAX_HEADER])

    def _content(self, object_id: str) -> bytes | None:
        return self._contents.get(object_id)

    def _store(self, object_id: str, kind: str, payload: bytes) -> None:
        self._contents[object_id] = envelope.seal(kind, payload)


def new_repository(folder: Path) -> Repository:
    return Repository.init(folder, base(), {"base.source": "emoji-64"}, author=AUTHOR, time=1_700_000_000)


def put_concept(store: ObjectStore, name: str, trained_on: str, seed: str = "", **fields: Any) -> str:
    def blob(part: str) -> str:
        return store.put(Blob(f"{part} of {name}{seed}".encode() * 10))

    references = References(blob("images"), ("a rex", None), 2, 64, {DIGEST: blob("features")})
    values: dict[str, Any] = {
        "name": name,
        "class_noun": "dog",
        "tokens": (f"<{name}>",),
        "embedding": blob("embedding"),
        "mask": blob("mask"),
        "delta": blob("delta"),
        "recipe": {"templates": DIGEST, "captions": None},
        "references": store.put(references),
        "trained_on": trained_on,
    }
    return store.put(Concept(**(values | fields)))


def add(repository: Repository, name: str, *, seen: str | None = None, seed: str = "", **fields: Any) -> Committed:
    """Commit a new concept on HEAD; times follow the tip's, a minute each."""
    worked_on = seen or repository.head().commit
    concept = put_concept(repository.objects, name, repository.commit_of(worked_on).tree, seed, **fields)
    sheet = repository.objects.put(Blob(b"\x89PNG sheet of " + name.encode()))
    record = Record(
        {
            "params": {"lr": 1e-4, "score": "wanda"},
            "metrics": {"clip_i": 0.5, "identity": 0.79},
            "series": {"loss": [1.0, 0.5, 0.25]},
            "previews": {"sheet": sheet},
            "neurons": {"k": 3},
        }
    )
    return repository.commit(
        kind="add",
        message=f"add {name}",
        author=AUTHOR,
        time=repository.commit_of(repository.head().commit).time + 60,
        record=record,
        change=lambda tree: with_concept(tree, name, concept),
        seen=worked_on,
        keep_as=name,
    )


def evaluation(repository: Repository, name: str, protocol: str = "p1", scores: Any = None) -> Evaluation:
    tree_id = repository.commit_of(repository.head().commit).tree
    concept = repository.objects.get(tree_id, Tree).concepts[name]
    return Evaluation(tree_id, concept, name, {"images": 2}, protocol, {"clip_i": scores or [0.25, 0.75]})


def evaluations(repository: Repository, tree: str, concept_id: str, protocol_digest: str) -> list[Evaluation]:
    """Return the stored scores of a concept in a tree under a protocol, by their ids."""
    held = repository.refs.all(EVALUATIONS)
    found = (repository.objects.get(one, Evaluation) for name, one in held.items() if name.split("/")[2] == tree)
    return [one for one in found if (one.concept, one.protocol_digest) == (concept_id, protocol_digest)]


def one_of_each(store: ObjectStore) -> list[Any]:
    """Put one object of each kind and return them."""
    base_id = store.put(base())
    empty = store.put(Tree(base_id, {}))
    concept_id = put_concept(store, "rex", empty)
    concept = store.get(concept_id, Concept)
    erasure = Erasure(base_id, {"dog": ""}, concept.mask, concept.delta)
    tree = Tree(base_id, {"rex": concept_id}, erasure=store.put(erasure))
    record = Record({"losses": [1.0, 0.5], "note": "ü", "previews": {"a": concept.mask}})
    commit = Commit(store.put(tree), (), store.put(record), "add", "add rex", AUTHOR, 5)
    score = Evaluation(store.put(tree), concept_id, "rex", {"n": 1}, "p", {"clip_i": [0.5]})
    references = store.get(concept.references, References)
    objects = [Blob(b""), Blob(b"bytes"), base(), references, concept, erasure, tree, record]
    return [*objects, commit, score]


def snapshot(repository: Repository) -> dict[str, bytes]:
    """Return {path: bytes} of every object and ref."""
    files = [repository.folder / "HEAD"]
    files += [path for name in ("objects", "refs") for path in (repository.folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(repository.folder)): path.read_bytes() for path in files}
