"""What belongs to one concept alone, a file each: the vectors of its token, or all that is stored of its change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # they load torch
    from cns_cli.porcelain.exchange.order import Order

DELTA = "cns-delta/1"
"""Format of a `delta` file: tensors `mask`, `delta` and `embedding` are the bytes of the registry's blobs."""


def write_embedding(order: Order, folder: Path) -> None:
    """Write the vectors of each concept's token, (n, D), as A1111 names them.

    One tensor a file, since ComfyUI takes the first and others refuse more. A file's name is the word in prompts.
    """
    import torch

    from cns_cli.porcelain.exchange.files import cast, write_tensors
    from cns_cli.porcelain.exchange.order import word_of

    for concept in order.session.concepts(order.tree).values():
        rows = torch.stack(list(concept.rows.values()))
        word = word_of(tuple(concept.rows))
        facts = {**order.facts, "modelspec.title": word, "modelspec.trigger_phrase": word}
        write_tensors(folder / f"{word}.safetensors", {"emb_params": cast(rows, order.dtype)}, facts)


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
