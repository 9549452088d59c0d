"""The objects of the registry: frozen dataclasses and their canonical bytes.

An object is immutable and named by what it says: its id is the SHA-256 of `cns <kind> <size>`, a newline and its
uncompressed payload. The payload of a blob is its bytes; of any other object, canonical JSON. A tree is the model; a
commit says how the tree came to be. This module does not know where objects are kept, nor what a blob's bytes mean.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_args

from registry import canonical
from registry.errors import BadValue, NameTaken, UnknownFormat
from registry.names import check_name, is_id

FORMAT = 1
LATEST_TIME = 253_402_300_799  # the last second of the year 9999: later dates have no printed form
MAX_TOKENS = 64  # of one concept; each is a row of the text encoder's embedding
LONGEST_TOKEN = 64
EXPONENTS = (-1100, 1100)  # of a grid step: what a float64 can hold
LONGEST_SIDE = 2**31
COMMIT_KINDS = (
    "init", "add", "remove", "revert", "merge", "cherry-pick", "import", "compose", "rename", "erase",
)  # fmt: skip
Compose = Literal["all", "named"]
"""What a prompt sees of a tree: all of its concepts, or those that the prompt names."""
COMPOSES: tuple[str, ...] = get_args(Compose)


def object_id(kind: str, payload: bytes) -> str:
    """Return the id, 64 hex digits, of an object of that kind with that payload."""
    digest = hashlib.sha256(b"cns %s %d\n" % (kind.encode("ascii"), len(payload)))
    digest.update(payload)
    return digest.hexdigest()


class Need(NamedTuple):
    """One object that another needs: its id, which kinds it may be of, and as what."""

    object_id: str
    kinds: tuple[str, ...]
    role: str


class _Needing:
    """What every object can say of itself."""

    object_kind: ClassVar[str]

    def needs(self) -> tuple[Need, ...]:
        """Return what this object needs, in a fixed order: of most, nothing."""
        return ()

    def links(self) -> tuple[str, ...]:
        """Return the ids of the objects that this one needs, in the order of `needs`."""
        return tuple(need.object_id for need in self.needs())


@dataclass(frozen=True)
class Blob(_Needing):
    """Bytes: the safetensors of a mask, a delta or an embedding row, pictures, features."""

    object_kind: ClassVar[str] = "blob"
    data: bytes

    def payload(self) -> bytes:
        """Return the bytes that the id hashes."""
        return self.data

    @classmethod
    def from_payload(cls, payload: bytes) -> Blob:
        """Return the blob of these bytes."""
        return cls(payload)


class JsonObject(_Needing):
    """What the dataclasses below share: fields <-> canonical JSON. Unknown fields mean a newer format.

    Attributes:
        later: Fields that came after the format, with what they are where they are not written: only another value is,
            so that every older object keeps its bytes, and its id.
    """

    later: ClassVar[Mapping[str, Any]] = {}

    def payload(self) -> bytes:
        """Return the canonical JSON that the id hashes."""
        known = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return canonical.encode(
            {name: value for name, value in known.items() if name not in self.later or value != self.later[name]}
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Return the object of canonical JSON bytes.

        Raises:
            UnknownFormat: it has a format number or a field that this version does not know.
            BadValue: it is not canonical JSON, or a field is missing or of the wrong shape.
        """
        data = canonical.decode(payload)
        if not isinstance(data, dict):
            raise BadValue(cls.object_kind, data, "a JSON object")
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if "format" in known and data.get("format") != FORMAT:
            raise UnknownFormat(cls.object_kind, data.get("format"), FORMAT)
        if extra := sorted(data.keys() - known):
            raise UnknownFormat(f"a {cls.object_kind} with the field '{extra[0][:40]}'", "newer", FORMAT)
        if missing := sorted(known - data.keys() - cls.later.keys()):
            raise BadValue(cls.object_kind, missing, "no missing field")
        for name in data.keys() & cls.later.keys():
            if data[name] == cls.later[name]:
                raise BadValue(f"{cls.object_kind}.{name}", data[name], "no field that says what goes without saying")
        return cls(**data)


@dataclass(frozen=True)
class Base(JsonObject):
    """A base model by content: digests of its files and of the matrices that concepts touch. No location.

    Attributes:
        family: The line of models it belongs to, such as "sd-1".
        components: {"unet": {"config.json": SHA-256 hex, ...}, ...}.
        matrices: {matrix name: {"shape": [O, I], "sha256": fp32 digest, "exponent": grid exponent e, step 2^e}}.
        denoiser_parameters: Number of weights of the denoiser.
    """

    object_kind: ClassVar[str] = "base"
    family: str
    components: dict[str, dict[str, str]]
    matrices: dict[str, dict[str, Any]]
    denoiser_parameters: int
    format: int = FORMAT

    def __post_init__(self) -> None:
        _text(self.family, "base.family")
        _whole(self.denoiser_parameters, "base.denoiser_parameters", 0)
        for part, files in _table(self.components, "base.components").items():
            for file, digest in _table(files, f"base.components.{part}").items():
                _id(digest, f"base.components.{part}.{file}")
        for name, facts in _table(self.matrices, "base.matrices").items():
            if set(_table(facts, f"base.matrices.{name}")) != {"shape", "sha256", "exponent"}:
                raise BadValue(f"base.matrices.{name}", sorted(facts), "the keys shape, sha256 and exponent")
            _id(facts["sha256"], f"base.matrices.{name}.sha256")
            _whole(facts["exponent"], f"base.matrices.{name}.exponent", *EXPONENTS)
            sides = _list(facts["shape"], f"base.matrices.{name}.shape")
            if len(sides) != 2:
                raise BadValue(f"base.matrices.{name}.shape", sides, "two sides")
            for side in sides:
                _whole(side, f"base.matrices.{name}.shape", 1, LONGEST_SIDE)


@dataclass(frozen=True)
class References(JsonObject):
    """What a concept was shown: the pictures as decoded crops (a blob), or only features and the count.

    Attributes:
        images: Blob id of a safetensors file, uint8 (N, R, R, 3); None where the pictures were not kept.
        captions: One a picture, None where it had none.
        count: N. resolution: R, in pixels.
        features: {encoder digest: blob id}.
    """

    object_kind: ClassVar[str] = "references"
    images: str | None
    captions: tuple[str | None, ...]
    count: int
    resolution: int
    features: dict[str, str]

    def __post_init__(self) -> None:
        _optional_id(self.images, "references.images")
        captions = _list(self.captions, "references.captions")
        for caption in captions:
            if caption is not None:
                _text(caption, "references.captions")
        object.__setattr__(self, "captions", captions)
        _whole(self.count, "references.count", 0)
        _whole(self.resolution, "references.resolution", 1)
        for encoder, blob in _table(self.features, "references.features").items():
            _id(blob, f"references.features.{encoder}")

    def needs(self) -> tuple[Need, ...]:
        """Return the blobs of pictures and features."""
        blobs = (*filter(None, (self.images,)), *(self.features[key] for key in sorted(self.features)))
        return tuple(Need(blob, ("blob",), "images" if blob == self.images else "features") for blob in blobs)


@dataclass(frozen=True)
class Concept(JsonObject):
    """What was learned: a token with its embedding row(s), and a delta: a mask and one integer a kept weight.

    A change along directions has these in the blob `mask` and their outputs in the blob `delta`.

    Attributes:
        recipe: Digests of what its prompts are made of, such as the template set and the captions.
        trained_on: Id of the tree that it was trained in; its baseline is that tree and itself.
    """

    object_kind: ClassVar[str] = "concept"
    name: str
    class_noun: str
    tokens: tuple[str, ...]
    embedding: str
    mask: str
    delta: str
    recipe: dict[str, str | None]
    references: str
    trained_on: str

    def __post_init__(self) -> None:
        check_name(self.name)
        _text(self.class_noun, "concept.class_noun")
        tokens = _list(self.tokens, "concept.tokens")
        for token in tokens:
            _text(token, "concept.tokens")
            if not 1 <= len(token) <= LONGEST_TOKEN:
                raise BadValue("concept.tokens", token, f"1 to {LONGEST_TOKEN} characters")
        if len(tokens) > MAX_TOKENS:
            raise BadValue("the number of concept.tokens", len(tokens), f"at most {MAX_TOKENS}")
        object.__setattr__(self, "tokens", tokens)
        for field in ("embedding", "mask", "delta", "references", "trained_on"):
            _id(getattr(self, field), f"concept.{field}")
        for key, value in _table(self.recipe, "concept.recipe").items():
            if value is not None:
                _text(value, f"concept.recipe.{key}")

    def needs(self) -> tuple[Need, ...]:
        """Return its blobs, its references and the tree that it was trained in."""
        blobs = (Need(getattr(self, part), ("blob",), part) for part in ("embedding", "mask", "delta"))
        references = Need(self.references, ("references",), "references")
        return (*blobs, references, Need(self.trained_on, ("tree",), "trained_on"))


@dataclass(frozen=True)
class Erasure(JsonObject):
    """What a model forgets of its base: nouns, and one change of the weights, for all of them together.

    Attributes:
        base: Id of the base.
        nouns: {noun: what stands in its place}; nothing, or another noun.
        mask, delta: Blobs of the change, as of a concept.
    """

    object_kind: ClassVar[str] = "erasure"
    base: str
    nouns: dict[str, str]
    mask: str
    delta: str

    def __post_init__(self) -> None:
        for field in ("base", "mask", "delta"):
            _id(getattr(self, field), f"erasure.{field}")
        if not _table(self.nouns, "erasure.nouns"):
            raise BadValue("erasure.nouns", self.nouns, "at least one noun")
        for noun, other in self.nouns.items():
            _text(other, f"erasure.nouns.{noun}")

    def needs(self) -> tuple[Need, ...]:
        """Return the base and its blobs."""
        blobs = (Need(getattr(self, part), ("blob",), part) for part in ("mask", "delta"))
        return (Need(self.base, ("base",), "base"), *blobs)


@dataclass(frozen=True)
class Tree(JsonObject):
    """The model: a base and a set of named concepts. One concept is there under one name only. It can be a key.

    Attributes:
        base: Id of the base.
        concepts: {name: id of a concept}.
        compose: What a prompt sees. "all": the base plus every concept; "named": the base plus those concepts one of
            whose tokens stands in it, so that a prompt without a token, the empty one too, sees the base bit for bit.
        erasure: Id of what it forgets of its base, which every prompt sees; None: nothing.
    """

    object_kind: ClassVar[str] = "tree"
    later: ClassVar[Mapping[str, Any]] = {"compose": "all", "erasure": None}
    base: str
    concepts: dict[str, str]
    compose: Compose = "all"
    erasure: str | None = None

    def __post_init__(self) -> None:
        _id(self.base, "tree.base")
        _optional_id(self.erasure, "tree.erasure")
        if self.compose not in COMPOSES:
            raise BadValue("tree.compose", self.compose, " or ".join(COMPOSES))
        holders: dict[str, str] = {}
        for name, concept in _table(self.concepts, "tree.concepts").items():
            check_name(name)
            _id(concept, f"tree.concepts.{name}")
            if concept in holders:
                raise NameTaken(name, "concept", holders[concept])
            holders[concept] = name

    @cached_property
    def id(self) -> str:
        """Its id, whether it is stored or not."""
        return object_id(self.object_kind, self.payload())

    def __hash__(self) -> int:
        return hash(self.id)

    def needs(self) -> tuple[Need, ...]:
        """Return the base, the concepts, by name, and the erasure."""
        concepts = (Need(self.concepts[name], ("concept",), f"concept {name}") for name in sorted(self.concepts))
        erasure = () if self.erasure is None else (Need(self.erasure, ("erasure",), "erasure"),)
        return (Need(self.base, ("base",), "base"), *concepts, *erasure)


@dataclass(frozen=True)
class Record(JsonObject):
    """How a commit came: free JSON, never part of a concept's identity. Blob ids stand under "previews"."""

    object_kind: ClassVar[str] = "record"
    data: dict[str, Any]

    def __post_init__(self) -> None:
        _table(self.data, "record.data")

    def needs(self) -> tuple[Need, ...]:
        """Return the blob ids under "previews", in the order of their keys."""
        return tuple(Need(blob, ("blob",), "preview") for blob in _ids_in(self.data.get("previews")))


@dataclass(frozen=True)
class Commit(JsonObject):
    """One change of the set: which tree, from which parents, by whom, when (unix seconds, UTC) and why."""

    object_kind: ClassVar[str] = "commit"
    tree: str
    parents: tuple[str, ...]
    record: str | None
    kind: str
    message: str
    author: str
    time: int
    format: int = FORMAT

    def __post_init__(self) -> None:
        _id(self.tree, "commit.tree")
        parents = _list(self.parents, "commit.parents")
        for parent in parents:
            _id(parent, "commit.parents")
        object.__setattr__(self, "parents", parents)
        _optional_id(self.record, "commit.record")
        if self.kind not in COMMIT_KINDS:
            raise BadValue("commit.kind", self.kind, "one of " + ", ".join(COMMIT_KINDS))
        _text(self.message, "commit.message")
        _text(self.author, "commit.author")
        _whole(self.time, "commit.time", 0, LATEST_TIME)

    @property
    def subject(self) -> str:
        """What the commit did, in a line; see `subject_of`."""
        return subject_of(self.message, self.kind)

    def needs(self) -> tuple[Need, ...]:
        """Return the tree, the record and the parents."""
        record = () if self.record is None else (Need(self.record, ("record",), "record"),)
        parents = (Need(parent, ("commit",), "parent") for parent in self.parents)
        return (Need(self.tree, ("tree",), "tree"), *record, *parents)


def subject_of(message: str, kind: str) -> str:
    """Return the first line of a commit's message, or its kind when it has none."""
    return message.strip().split("\n")[0] or kind


@dataclass(frozen=True)
class Evaluation(JsonObject):
    """Raw scores of one concept in one tree under one protocol."""

    object_kind: ClassVar[str] = "evaluation"
    tree: str
    concept: str
    concept_name: str
    protocol: dict[str, Any]
    protocol_digest: str
    scores: dict[str, Any]

    def __post_init__(self) -> None:
        _id(self.tree, "evaluation.tree")
        _id(self.concept, "evaluation.concept")
        check_name(self.concept_name)
        _table(self.protocol, "evaluation.protocol")
        _text(self.protocol_digest, "evaluation.protocol_digest")
        _table(self.scores, "evaluation.scores")

    def needs(self) -> tuple[Need, ...]:
        """Return the tree and the concept; the base itself is judged, too."""
        return (Need(self.tree, ("tree",), "tree"), Need(self.concept, ("concept", "base"), "concept"))


AnyObject = Blob | JsonObject
KINDS: dict[str, type[Blob | JsonObject]] = {
    cls.object_kind: cls for cls in (Blob, Base, References, Concept, Erasure, Tree, Record, Commit, Evaluation)
}


def decode(kind: str, payload: bytes) -> AnyObject:
    """Return the object of a kind and a payload; raises UnknownFormat or BadValue."""
    if kind not in KINDS:
        raise UnknownFormat(f"an object of kind '{kind[:40]}'", kind, ", ".join(KINDS))
    return KINDS[kind].from_payload(payload)


def _ids_in(value: Any) -> Iterator[str]:
    if is_id(value):
        yield value
    elif isinstance(value, dict):
        for key in sorted(value):
            yield from _ids_in(value[key])
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _ids_in(inner)


def _id(value: object, where: str) -> None:
    if not is_id(value):
        raise BadValue(where, value, "an id: 64 hex digits")


def _optional_id(value: object, where: str) -> None:
    if value is not None:
        _id(value, where)


def _text(value: object, where: str) -> None:
    if not isinstance(value, str):
        raise BadValue(where, value, "a string")


def _whole(value: object, where: str, least: int, most: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BadValue(where, value, f"a whole number >= {least}")
    if most is not None and value > most:
        raise BadValue(where, value, f"a whole number <= {most}")


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise BadValue(where, value, "an object with string keys")
    return value


def _list(value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise BadValue(where, value, "a list")
    return tuple(value)
