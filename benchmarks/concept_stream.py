"""A stream of concepts: pictures, class nouns, orders, prompts and seeds, as `base_model/streams.py` fixed them.

Everything that a figure hangs on and that is not a method comes from one committed file, whose hash goes into the key
of every cell. Nothing here loads a model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cns.files.images import ImageSet, load_images
from cns.templates import fill_templates

FOLDER = Path(__file__).resolve().parent / "streams"
SIDE = 64  # pixels


@dataclass(frozen=True)
class Concept:
    """One concept of a stream.

    Attributes:
        name: Its name; the class noun with hyphens.
        noun: Its class noun.
        known: Whether the base was trained on other drawings of the noun.
        number: Its place in the stream's file; seeds are made of it.
        images: Pictures and captions.
    """

    name: str
    noun: str
    known: bool
    number: int
    images: ImageSet

    @property
    def token(self) -> str:
        """Its special token, in every method."""
        return f"<{self.name}1>"

    @property
    def phrase(self) -> str:
        """How prompts call it, in every method."""
        return f"{self.token} {self.noun}"


@dataclass(frozen=True)
class Stream:
    """What is learned, in which order, and how it is judged.

    Attributes:
        name: "tune" or "report".
        digest: SHA-256 hex of its file.
        concepts: By name.
        orders: Permutations of the names; order k goes with seed k.
        templates: Judge templates.
        per_prompt: Images of each.
        first_seed: Seed of the first image; the next ones count up.
        zero_shot: Prompts about other things.
        pairs: Names that are asked for together.
        triples: Likewise.
        together_templates: What follows "a X and a Y"; `{}` stands for that.
    """

    name: str
    digest: str
    concepts: Mapping[str, Concept]
    orders: Sequence[Sequence[str]]
    templates: Sequence[str]
    per_prompt: int
    first_seed: int
    zero_shot: Sequence[str]
    pairs: Sequence[Sequence[str]]
    triples: Sequence[Sequence[str]]
    together_templates: Sequence[str]

    def order(self, number: int, count: int | None = None) -> list[Concept]:
        """The concepts in an order, or the first few."""
        return [self.concepts[name] for name in self.orders[number][:count]]

    def prompts(self, phrase: str) -> list[str]:
        """The judge's prompts with a phrase, one for each image."""
        return [prompt for prompt in fill_templates(self.templates, phrase) for _ in range(self.per_prompt)]

    def seeds(self, count: int) -> list[int]:
        """Seeds of so many judged images; the same at every commit and for every method."""
        return list(range(self.first_seed, self.first_seed + count))


def load_stream(name: str) -> Stream:
    """Read a stream and its pictures."""
    data = (FOLDER / f"{name}.json").read_bytes()
    content = json.loads(data)
    concepts = {
        entry["name"]: Concept(
            entry["name"], entry["noun"], entry["known"], number, load_images(FOLDER / name / entry["name"], SIDE)
        )
        for number, entry in enumerate(content["concepts"])
    }
    return Stream(
        name,
        hashlib.sha256(data).hexdigest(),
        concepts,
        content["orders"],
        content["prompts"],
        content["per_prompt"],
        content["first_seed"],
        content["zero_shot"],
        content["pairs"],
        content["triples"],
        content["together_prompts"],
    )


def training_seed(concept: Concept, number: int) -> int:
    """Seed of a concept's training in seed (and order) `number`: the same for every method and place in an order."""
    return 1000 * number + concept.number
