"""A pipeline folder, with which plain diffusers makes the same images as `cns generate`.

Libraries write what they read themselves. Of a CLIP, programs on transformers 4 find neither the vocabulary, which
version 5 keeps in `tokenizer.json` alone, nor the tensors where their names lack `text_model.`; so both are put right.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cns_cli.porcelain.exchange.files import DTYPES

if TYPE_CHECKING:  # it loads torch
    from cns_cli.porcelain.exchange.order import Order


def write(order: Order, folder: Path) -> None:
    """Fill a folder with the pipeline of a set of concepts and their tokens.

    In float32, the masters' own precision, every weight outside the concepts' masks equals the base's bit for bit.
    """
    import torch

    from cns.quiet import quiet_libraries
    from cns.text import TOKENIZERS

    order.session.set_tree(order.tree)
    pipeline = order.session.base.model.pipeline
    with quiet_libraries():
        if order.dtype != "fp32":
            pipeline.to(dtype=getattr(torch, DTYPES[order.dtype]))
        pipeline.save_pretrained(folder, safe_serialization=True)
    if order.session.base.family.reads_by == "CLIP":
        for name in TOKENIZERS:
            if hasattr(pipeline, name):
                _write_vocabulary(folder / name)
        _name_tensors(folder / "text_encoder" / "model.safetensors")
    for config in folder.glob("*/config.json"):
        _write_json(config, {key: value for key, value in _read_json(config).items() if key != "_name_or_path"})


def _write_vocabulary(place: Path) -> None:
    """Write the three files that transformers 4 reads, out of the one of transformers 5."""
    whole = _read_json(place / "tokenizer.json")
    words, merges = whole["model"]["vocab"], whole["model"]["merges"]
    pairs = (pair if isinstance(pair, str) else " ".join(pair) for pair in merges)
    (place / "merges.txt").write_text("\n".join(("#version: 0.2", *pairs, "")), encoding="utf-8")
    _write_json(place / "vocab.json", words)
    added = {one["content"]: one["id"] for one in whole["added_tokens"] if one["content"] not in words}
    _write_json(place / "added_tokens.json", added)


def _name_tensors(file: Path) -> None:
    """Call the text encoder's tensors as transformers 4 does, which draws those at random that it does not find."""
    from safetensors.torch import load_file, save_file

    prefix, tensors = "text_model.", load_file(file)
    if any(not name.startswith(prefix) for name in tensors):
        named = {prefix + name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        save_file(named, file, metadata={"format": "pt"})


def _read_json(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _write_json(file: Path, data: dict[str, Any]) -> None:
    file.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
