"""safetensors files whose bytes follow from what they hold: the header sorted, the tensors in the order of their names.

`safetensors.save_file` writes metadata in an order that differs from process to process, so a file of two entries has
no digest that could be compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""Number format -> its name in torch."""

_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "uint8": "U8"}
_ALIGNED = 8  # bytes; readers map the file and take tensors from where they lie


def cast(tensor: Tensor, dtype: str) -> Tensor:
    """A tensor in the number format that was asked for, fp32, fp16 or bf16, on the CPU."""
    import torch

    return tensor.detach().to("cpu", getattr(torch, DTYPES[dtype]))


def write_tensors(file: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write a safetensors file.

    Args:
        file: Where.
        tensors: Name -> float32, float16, bfloat16 or uint8, on the CPU.
        facts: The header's metadata; `sshs_model_hash`, by which A1111 and others know a file, is added: SHA-256 of
            all that follows the header.
    """
    ordered, start, digest = sorted(tensors.items()), 0, hashlib.sha256()
    table: dict[str, object] = {}
    for name, tensor in ordered:
        end = start + tensor.numel() * tensor.element_size()
        kind = _NAMES[str(tensor.dtype).removeprefix("torch.")]
        table[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
        digest.update(_bytes(tensor))
    table["__metadata__"] = {**facts, "sshs_model_hash": digest.hexdigest()}
    header = json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _ALIGNED)
    with file.open("wb") as out:
        out.write(len(header).to_bytes(8, "little") + header)
        for _, tensor in ordered:
            out.write(_bytes(tensor))


def _bytes(tensor: Tensor) -> memoryview:
    import torch

    return memoryview(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
