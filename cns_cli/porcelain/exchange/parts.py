"""What belongs to one concept alone, a file each: the vectors of its token, or all that is stored of its change."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cns.errors import AdapterError, BaseModelError
from cns.files.tensors import read_notes
from registry.objects import Base

if TYPE_CHECKING:  # they load torch and numpy
    import numpy as np
    from numpy.typing import NDArray

    from cns.codec import Delta
    from cns_cli.porcelain.exchange.order import Order

DELTA = "cns-delta/1"
"""Format of a `delta` file: tensors `mask`, `delta` and `embedding` are the bytes of the registry's blobs."""


def write_embedding(order: Order, folder: Path) -> None:
    """Write the vectors of each concept's token, (n, D), as A1111 names them; of two text encoders apart, as all do.

    One tensor a file, since ComfyUI takes the first and others refuse more. A file's name is the word in prompts.
    """
    import torch

    from cns.adapters.embeddings import TWO_ENCODERS
    from cns.text import embeddings
    from cns_cli.porcelain.exchange.files import cast, write_tensors
    from cns_cli.porcelain.exchange.order import word_of

    widths = [table.shape[1] for table in embeddings(order.session.base.model.pipeline)]
    names = ("emb_params",) if len(widths) == 1 else TWO_ENCODERS
    for concept in order.session.concepts(order.tree).values():
        rows = torch.stack(list(concept.rows.values()))
        word = word_of(tuple(concept.rows))
        facts = {**order.facts, "modelspec.title": word, "modelspec.trigger_phrase": word}
        parts = zip(names, cast(rows, order.dtype).split(widths, 1), strict=True)
        write_tensors(folder / f"{word}.safetensors", {name: part.contiguous() for name, part in parts}, facts)


def write_delta(order: Order, folder: Path) -> None:
    """Write mask, integers and vectors of each concept as the registry stores them."""
    import torch

    from cns_cli.porcelain.exchange.files import write_tensors
    from registry.objects import Blob
    from registry.trees import concepts_of

    store = order.session.repo.objects
    for name, concept in concepts_of(order.tree, store).items():
        blobs = {part: store.get(getattr(concept, part), Blob).data for part in ("mask", "delta", "embedding")}
        tensors = {part: torch.frombuffer(bytearray(data), dtype=torch.uint8) for part, data in blobs.items()}
        said = {"name": name, "class_noun": concept.class_noun, "tokens": concept.tokens, "recipe": concept.recipe}
        facts = {"cns.format": DELTA, "cns.concept": json.dumps(said, sort_keys=True), "cns.base": order.tree.base}
        write_tensors(folder / f"{name}.safetensors", tensors, {**order.facts, **facts})


@dataclass(frozen=True)
class Said:
    """What a `delta` file says of its concept, before its tensors are read.

    Attributes:
        name, class_noun, tokens: The concept's.
        kind: An object or a style.
        base: Id of the base that it is for.
    """

    name: str
    class_noun: str
    tokens: tuple[str, ...]
    kind: str
    base: str


def said_by_delta(file: Path) -> Said | None:
    """What a `delta` file says of itself; None of any other file.

    Raises:
        AdapterError: It is one, and says it in another way than `write_delta` does.
    """
    try:
        notes = read_notes(file) if file.suffix == ".safetensors" else {}
    except BaseModelError:  # whoever reads its tensors says what is wrong
        return None
    if notes.get("cns.format") != DELTA:
        return None
    try:
        said: dict[str, Any] = json.loads(notes["cns.concept"])
        kind = "style" if said["recipe"].get("kind") == "style" else "object"
        words = (said["name"], said["class_noun"], kind, notes["cns.base"])
        if not said["tokens"] or not all(isinstance(word, str) for word in (*words, *said["tokens"])):
            raise TypeError("a word that is none")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AdapterError(f"{file} does not say which concept it holds", "export it again", path=file) from error
    return Said(*words[:2], tuple(said["tokens"]), *words[2:])


def read_delta(file: Path, said: Said, base: Base) -> tuple[Delta, NDArray[np.float32]]:
    """The change and the vectors, shape (V, D), that `write_delta` wrote, both checked.

    Args:
        file: The file.
        said: What it says of itself.
        base: What it must be for.

    Raises:
        AdapterError, CodecError: It is damaged, or of other matrices or grids.
    """
    import numpy as np

    from cns import codec
    from cns.adapters.source import Source

    source = Source.open(file)
    if source.table.keys() != {"mask", "delta", "embedding"}:
        raise AdapterError(f"{file} holds {', '.join(sorted(source.table))[:80]}: no concept", path=file)
    delta = codec.decode(source.raw("mask"), source.raw("delta"))
    for name, one in delta.items():
        facts = base.matrices.get(name)
        if facts is None or (list(one.shape), one.matrix_exponent) != (facts["shape"], facts["exponent"]):
            raise AdapterError(f"{file} changes {name[:80]} as this base does not have it", path=file)
    rows = codec.decode_rows(source.raw("embedding"), said.tokens)
    return delta, np.stack([rows[token] for token in said.tokens])
