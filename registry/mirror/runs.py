"""What a commit looks like in MLflow, without MLflow: its files, figures and tags, and refs as a log.

A commit's run holds the payload of every object that the commit brought, once, under a name that a person reads:
`mask.safetensors`, `delta.safetensors`, `concept.json`, `commit.json`; the file `objects.json` says which is which. A
payload is all that an id hashes, so the files are enough to make the objects again, bit for bit.
MLflow has no compare-and-swap, but model versions are numbered once and for all: they are the log of ref moves, and a
move counts only if its `old` is what the moves before it made. This module opens nothing but files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from registry import canonical, fsio
from registry.dag import reachable
from registry.envelope import MAX_BLOB_BYTES
from registry.errors import BadValue, NameTaken, ObjectCorrupt, UnknownFormat
from registry.names import is_alias, is_id
from registry.objects import Commit, Concept, Evaluation, Record, References, Tree
from registry.refs import ALIASES, HEADS, LOST, REMOTES, TAGS
from registry.store import ObjectStore

MANIFEST = "objects.json"
FORMAT = 1
# MLflow's own limits (3.17): a longer value is refused.
LONGEST_PARAM = 6000
LONGEST_MODEL_PARAM = 500
LONGEST_TAG = 5000
EVALUATION_TAG = "cns.evaluation"
GATE = "cns.gate"  # what the last check by the registry's own limits said of a commit; of runs, models and versions
UNCHECKED = "unchecked"
ALIAS_PREFIX = {HEADS: "branch-", TAGS: "tag-", LOST: "lost-", REMOTES: "remote-", ALIASES: "alias-"}

_PICTURES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}


@dataclass
class Figures:
    """What MLflow draws: single values, and curves of (step, value), from the tables of a record."""

    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    series: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def add(self, params: object, metrics: object, series: object, steps: object = None) -> Figures:
        """Return these figures and more; what has no number or no name that MLflow allows is left out or renamed."""
        for name, value in _table(params):
            text = value if isinstance(value, str) else canonical.encode(value).decode("utf-8")
            self.params[metric_key(name)] = text[:LONGEST_PARAM]
        for name, value in _table(metrics):
            if is_number(value):
                self.metrics[metric_key(name)] = float(value)
        for name, values in _table(series):
            if isinstance(values, (list, tuple)):
                at = dict(_table(steps)).get(name)
                places = at if isinstance(at, (list, tuple)) and len(at) == len(values) else range(len(values))
                pairs = zip(places, values, strict=True)
                self.series[metric_key(name)] = [(x, float(y)) for x, y in pairs if _is_step(x) and is_number(y)]
        return self


@dataclass
class MoveLog:
    """Refs as the moves that model versions log make them.

    Attributes:
        last: Number of the newest version that is in here.
        refs: {ref: value}: ids; for HEAD on a branch, `ref: <name>`.
        versions: {commit id: its newest version}, of the versions that were read.
    """

    last: int = 0
    refs: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def extended(self, versions: Iterable[Any]) -> MoveLog:
        """Return this log with more MLflow model versions, oldest first."""
        for version in versions:
            tags = version.tags
            self.versions[tags.get("cns.commit", "")] = str(version.version)
            self.last = int(version.version)
            if "ref" in tags:
                self.move(tags["ref"], tags.get("old", ""), tags.get("new", ""))
        return self

    def move(self, ref: str, old: str, new: str) -> None:
        """Move a ref; "" stands for no ref. Where `old` is not its value, the move lost a race and does not count."""
        if self.refs.get(ref, "") != old:
            return
        if new:
            self.refs[ref] = new
        else:
            self.refs.pop(ref, None)

    def commit_of(self, ref: str) -> str | None:
        """Return the commit that a ref means."""
        value = self.refs.get(ref, "")
        return self.refs.get(value.removeprefix("ref: ")) if value.startswith("ref: ") else value or None

    def save(self, path: Path, key: str) -> None:
        """Keep the log as a cache: only the versions that refs need."""
        needed = {self.commit_of(ref) for ref in self.refs}
        versions = {commit: version for commit, version in self.versions.items() if commit in needed}
        kept = {"format": FORMAT, "key": key, "last": self.last, "refs": self.refs, "versions": versions}
        fsio.make_folder(path.parent)
        fsio.replace(path, canonical.encode(kept))

    @classmethod
    def cached(cls, path: Path, key: str) -> MoveLog:
        """Return what `save` kept under that key, or an empty log."""
        try:
            kept = canonical.decode(fsio.read(path) or b"{}")
        except BadValue:
            return cls()
        if not isinstance(kept, dict) or (kept.get("format"), kept.get("key")) != (FORMAT, key):
            return cls()
        last, refs, versions = kept.get("last"), kept.get("refs"), kept.get("versions")
        if isinstance(last, int) and isinstance(refs, dict) and isinstance(versions, dict):
            return cls(last, refs, versions)
        return cls()


def closure(store: ObjectStore, starts: Iterable[str]) -> dict[str, str]:
    """Return {id: kind} of starts and of all that they need, history left out: parents of commits are not followed."""
    kinds: dict[str, str] = {}

    def needs(current: str) -> list[str]:
        kinds[current] = store.kind_of(current)
        if kinds[current] == "blob":
            return []  # it needs nothing, and may be large
        obj = store.load(current)
        parents = obj.parents if isinstance(obj, Commit) else ()
        return [needed for needed in obj.links() if needed not in parents]

    reachable(starts, needs)
    return kinds


def own_objects(store: ObjectStore, commit_id: str) -> dict[str, str]:
    """Return {id: kind} of what a commit brought: all that it needs and its parents do not."""
    before = closure(store, store.get(commit_id, Commit).parents)
    return {found: kind for found, kind in closure(store, [commit_id]).items() if found not in before}


@dataclass(frozen=True)
class RunFiles:
    """The files of a run: payloads of objects, and a manifest.

    Attributes:
        objects: {id: (kind, file name)}.
    """

    objects: dict[str, tuple[str, str]]

    @property
    def names(self) -> set[str]:
        """The names of all files, for which no object is read."""
        return {MANIFEST, *(path for _, path in self.objects.values())}

    def read(self, store: ObjectStore) -> dict[str, bytes]:
        """Return {file name: content}."""
        listed = {wanted: {"kind": kind, "path": path} for wanted, (kind, path) in self.objects.items()}
        files = {path: store.read(wanted)[1] for wanted, (_, path) in self.objects.items()}
        return {**files, MANIFEST: canonical.encode({"format": FORMAT, "objects": listed})}


def commit_files(store: ObjectStore, commit_id: str) -> RunFiles:
    """Return the files of a commit's run: payloads of the objects that it brought."""
    own = own_objects(store, commit_id)
    brought = _brought(store, commit_id)
    for concept_id in brought.values():  # also where an ancestor had it: a run can be read alone
        parts = store.get(concept_id, Concept).links()[:4]
        own |= {part: store.kind_of(part) for part in (concept_id, *parts)}
    return _run_files(own, _readable_names(store, commit_id, brought))


def evaluation_files(store: ObjectStore, evaluation_id: str) -> RunFiles:
    """Return the files of the run of an evaluation: itself, and its tree, which may be no commit's.

    A concept is compared with the tree of its birth; where two were added at once, no commit has that one.
    """
    tree = store.get(evaluation_id, Evaluation).tree
    own = {evaluation_id: "evaluation", tree: "tree"}
    return _run_files(own, {evaluation_id: "evaluation.json", tree: "tree.json"})


def read_files(folder: Path, store: ObjectStore, damaged: list[str]) -> list[str]:
    """Put the objects of a run's files in a store and return their ids.

    Args:
        folder: Of the files.
        store: Where the objects go.
        damaged: Is told of each file that is missing, or is not what the manifest says; the others are taken.

    Raises:
        BadValue: the manifest is broken.
        UnknownFormat: a newer version wrote the manifest.
    """
    content = fsio.read(folder / MANIFEST)
    if content is None:
        return []
    manifest = canonical.decode(content)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise UnknownFormat(f"the manifest {folder / MANIFEST}", found, FORMAT)
    objects = dict(_table(manifest.get("objects")))
    whole = []
    for wanted, entry in objects.items():
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("kind", "path")):
            raise BadValue(f"entry {wanted[:10]} of {folder / MANIFEST}", entry, "a kind and a path")
        try:
            _take(folder, wanted, entry["kind"], entry["path"], store)
        except ObjectCorrupt as error:
            damaged.append(error.message)
        else:
            whole.append(wanted)
    return whole


def _take(folder: Path, wanted: str, kind: str, path: str, store: ObjectStore) -> None:
    """Put the object of one file in a store; raises ObjectCorrupt where it is not the one that is wanted."""
    place = (folder / path).resolve()
    payload = fsio.read(place, MAX_BLOB_BYTES) if place.is_relative_to(folder.resolve()) else None
    if payload is None:
        raise ObjectCorrupt(wanted, f"its file {path} is missing in MLflow")
    try:
        found = store.write(kind, payload)
    except (BadValue, NameTaken) as error:
        raise ObjectCorrupt(wanted, f"its file {path} in MLflow: {error.message}") from error
    if found != wanted:
        raise ObjectCorrupt(wanted, f"its file {path} in MLflow has another hash")


def figures_of(store: ObjectStore, commit: Commit) -> Figures:
    """Return what a commit's record says under "params", "metrics", "series" and "series_steps"."""
    data = {} if commit.record is None else store.get(commit.record, Record).data
    return Figures().add(data.get("params"), data.get("metrics"), data.get("series"), data.get("series_steps"))


def tags_of(store: ObjectStore, commit_id: str) -> dict[str, str]:
    """Return the tags of a commit's run, model and version."""
    commit = store.get(commit_id, Commit)
    tree = store.get(commit.tree, Tree)
    tags = {
        "cns.commit": commit_id,
        "cns.parents": " ".join(commit.parents),
        "cns.kind": commit.kind,
        "cns.tree": commit.tree,
        "cns.concepts": " ".join(sorted(tree.concepts))[:LONGEST_TAG],
        "cns.compose": tree.compose,
        "cns.base": tree.base,
        GATE: UNCHECKED,
        "mlflow.note.content": commit.message[:LONGEST_TAG],
        "mlflow.user": commit.author[:LONGEST_TAG],
    }
    return {name: value for name, value in tags.items() if value}


def alias_of(ref: str) -> str:
    """Return the MLflow alias of a ref: of an alias its name, so that servers can follow it.

    MLflow allows letters, digits, '-' and '_'; others become '_' and their hex code.
    """
    if ref == "HEAD" or is_alias(ref.removeprefix(ALIASES)):
        return ref.removeprefix(ALIASES)
    prefix = next(space for space in ALIAS_PREFIX if ref.startswith(space))
    name = ref.removeprefix(prefix)
    return ALIAS_PREFIX[prefix] + re.sub(r"[^A-Za-z0-9-]", lambda match: f"_{ord(match.group()):02x}", name)


def metric_key(name: str, longest: int = 250) -> str:
    """Return a name that MLflow takes for a param or metric: it is also a path there."""
    return re.sub(r"[^\w.\- ]", "_", name, flags=re.ASCII)[:longest].strip(". ") or "_"


def is_number(value: object) -> TypeGuard[int | float]:
    """True for what MLflow can draw."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_step(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _run_files(own: dict[str, str], names: dict[str, str]) -> RunFiles:
    return RunFiles({one: (kind, names.get(one) or f"objects/{one}.{kind}") for one, kind in own.items()})


def _brought(store: ObjectStore, commit_id: str) -> dict[str, str]:
    """Return {name: concept id} of the concepts that no parent's tree has, by name."""
    commit = store.get(commit_id, Commit)
    parents = [store.get(store.get(parent, Commit).tree, Tree) for parent in commit.parents]
    before = {concept for parent in parents for concept in parent.concepts.values()}
    after = store.get(commit.tree, Tree).concepts
    return {name: after[name] for name in sorted(after) if after[name] not in before}


def _readable_names(store: ObjectStore, commit_id: str, brought: dict[str, str]) -> dict[str, str]:
    """Return {id: file name}: one concept's files stand at the top, those of several in a folder each."""
    commit = store.get(commit_id, Commit)
    names = {commit_id: "commit.json", commit.tree: "tree.json"}
    tree = store.get(commit.tree, Tree)
    names.setdefault(tree.base, "base.json")
    if commit.record is not None:
        names[commit.record] = "record.json"
        data = store.get(commit.record, Record).data
        names |= {blob: f"previews/{label}{_suffix(store, blob)}" for label, blob in _labelled(data.get("previews"))}
    for name, concept_id in brought.items():
        folder = "" if len(brought) == 1 else f"concepts/{name}/"
        concept = store.get(concept_id, Concept)
        parts = {
            concept_id: "concept.json",
            concept.mask: "mask.safetensors",
            concept.delta: "delta.safetensors",
            concept.embedding: "embedding.safetensors",
            concept.references: "references.json",
        }
        images = store.get(concept.references, References).images
        parts |= {images: "references.safetensors"} if images else {}
        names = {part: folder + file for part, file in parts.items()} | names
    unique: dict[str, str] = {}
    for wanted, name in names.items():
        unique.setdefault(name, wanted)
    return {wanted: name for name, wanted in unique.items()}


def _labelled(value: Any, label: str = "") -> list[tuple[str, str]]:
    if is_id(value):
        return [(label or "preview", value)]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    pairs = ((re.sub(r"[^A-Za-z0-9_-]", "_", str(key))[:64], inner) for key, inner in items)
    return [found for key, inner in pairs for found in _labelled(inner, f"{label}-{key}" if label else key)]


def _suffix(store: ObjectStore, blob: str) -> str:
    start = store.read(blob)[1][:4]
    return next((suffix for magic, suffix in _PICTURES.items() if start.startswith(magic)), ".bin")


def _table(value: object) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []
