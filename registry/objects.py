"""The objects of the registry: frozen dataclasses and their canonical bytes.

An object is immutable and named by what it says: its id is the SHA-256 of `cns <kind> <size>`, a newline and its
uncompressed payload. The payload of a blob is its bytes; of any other object, canonical JSON. A tree is the model; a
commit says how the tree came to be. This module does not know where objects are kept, nor what a blob's bytes mean.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from registry import canonical
from registry.errors import BadValue, UnknownFormat
from registry.names import is_id
from registry.shapes import CommitKind, Id, Matrix, Members, Name, Time, Tokens, check_fields, whole

FORMAT = 1


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

    Raises:
        BadValue: a field does not hold what its type says; see `registry.shapes`.
    """

    def __post_init__(self) -> None:
        check_fields(self, self.object_kind)

    def payload(self) -> bytes:
        """Return the canonical JSON that the id hashes."""
        return canonical.encode({f.name: getattr(self, f.name) for f in dataclasses.fields(self)})  # type: ignore[arg-type]

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
        if missing := sorted(known - data.keys()):
            raise BadValue(cls.object_kind, missing, "no missing field")
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
    components: dict[str, dict[str, Id]]
    matrices: dict[str, Matrix]
    denoiser_parameters: Annotated[int, whole(0)]
    format: int = FORMAT


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
    images: Id | None
    captions: tuple[str | None, ...]
    count: Annotated[int, whole(0)]
    resolution: Annotated[int, whole(1)]
    features: dict[str, Id]

    def needs(self) -> tuple[Need, ...]:
        """Return the blobs of pictures and features."""
        blobs = (*filter(None, (self.images,)), *(self.features[key] for key in sorted(self.features)))
        return tuple(Need(blob, ("blob",), "images" if blob == self.images else "features") for blob in blobs)


@dataclass(frozen=True)
class Concept(JsonObject):
    """What was learned: a token with its embedding row(s), and a delta: a mask and one integer a kept weight.

    Attributes:
        recipe: Digests of what its prompts are made of, such as the template set and the captions.
        trained_on: Id of the tree that it was trained in; its baseline is that tree and itself.
    """

    object_kind: ClassVar[str] = "concept"
    name: Name
    class_noun: str
    tokens: Tokens
    embedding: Id
    mask: Id
    delta: Id
    recipe: dict[str, str | None]
    references: Id
    trained_on: Id

    def needs(self) -> tuple[Need, ...]:
        """Return its blobs, its references and the tree that it was trained in."""
        blobs = (Need(getattr(self, part), ("blob",), part) for part in ("embedding", "mask", "delta"))
        references = Need(self.references, ("references",), "references")
        return (*blobs, references, Need(self.trained_on, ("tree",), "trained_on"))


@dataclass(frozen=True)
class Tree(JsonObject):
    """The model: a base and a set of named concepts. One concept is there under one name only. It can be a key."""

    object_kind: ClassVar[str] = "tree"
    base: Id
    concepts: Members

    @cached_property
    def id(self) -> str:
        """Its id, whether it is stored or not."""
        return object_id(self.object_kind, self.payload())

    def __hash__(self) -> int:
        return hash(self.id)

    def needs(self) -> tuple[Need, ...]:
        """Return the base and the concepts, by name."""
        concepts = (Need(self.concepts[name], ("concept",), f"concept {name}") for name in sorted(self.concepts))
        return (Need(self.base, ("base",), "base"), *concepts)


@dataclass(frozen=True)
class Record(JsonObject):
    """How a commit came: free JSON, never part of a concept's identity. Blob ids stand under "previews"."""

    object_kind: ClassVar[str] = "record"
    data: dict[str, Any]

    def needs(self) -> tuple[Need, ...]:
        """Return the blob ids under "previews", in the order of their keys."""
        return tuple(Need(blob, ("blob",), "preview") for blob in _ids_in(self.data.get("previews")))


@dataclass(frozen=True)
class Commit(JsonObject):
    """One change of the set: which tree, from which parents, by whom, when (unix seconds, UTC) and why."""

    object_kind: ClassVar[str] = "commit"
    tree: Id
    parents: tuple[Id, ...]
    record: Id | None
    kind: CommitKind
    message: str
    author: str
    time: Time
    format: int = FORMAT

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
    tree: Id
    concept: Id
    concept_name: Name
    protocol: dict[str, Any]
    protocol_digest: str
    scores: dict[str, Any]

    def needs(self) -> tuple[Need, ...]:
        """Return the tree and the concept; the base itself is judged, too."""
        return (Need(self.tree, ("tree",), "tree"), Need(self.concept, ("concept", "base"), "concept"))


AnyObject = Blob | JsonObject
KINDS: dict[str, type[Blob | JsonObject]] = {
    cls.object_kind: cls for cls in (Blob, Base, References, Concept, Tree, Record, Commit, Evaluation)
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
