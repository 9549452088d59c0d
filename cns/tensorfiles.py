"""Single tensors out of safetensors files, as float32 numpy arrays, without torch.

A safetensors file is a length, a JSON table and raw bytes. To identify a base a few matrices are read out of files of
several GB: one at a time, from their place. The table comes from a stranger and is checked against the file's size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cns.errors import BaseModelError

MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """The table of a safetensors file: name -> {"dtype", "shape", "start", "end"}, byte places in the file.

    Raises:
        BaseModelError: the table is damaged or points outside the file.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(MAX_HEADER_BYTES, size - 8):
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            table = json.loads(file.read(length))
        return dict(_entries(table, 8 + length, size))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseModelError(f"{path} is no whole safetensors file: {error}", source=str(path.parent)) from error


def _entries(table: dict[str, Any], data_start: int, size: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tensors of a safetensors table, each checked against the size of the file."""
    for name, entry in table.items():
        if name == "__metadata__":
            continue
        start, end = (data_start + int(place) for place in entry["data_offsets"])
        shape = [int(side) for side in entry["shape"]]
        if not data_start <= start <= end <= size or end - start != math.prod(shape) * ITEM_BYTES.get(
            entry["dtype"], 1
        ):
            raise ValueError(f"{name} lies outside the file or has another size than its shape {shape}")
        yield name, {"dtype": entry["dtype"], "shape": shape, "start": start, "end": end}


def read_tensor(path: Path, facts: Mapping[str, Any]) -> NDArray[np.float32]:
    """One floating tensor of a safetensors file as float32, exactly.

    Args:
        path: The file.
        facts: The tensor's entry in `read_header(path)`.

    Raises:
        BaseModelError: its dtype is not F32, F16 or BF16.
    """
    with path.open("rb") as file:
        file.seek(facts["start"])
        data = file.read(facts["end"] - facts["start"])
    if facts["dtype"] == "BF16":  # the upper half of a float32
        flat = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    elif facts["dtype"] in ("F16", "F32"):
        flat = np.frombuffer(data, "<f2" if facts["dtype"] == "F16" else "<f4").astype(np.float32)
    else:
        raise BaseModelError(
            f"{path} holds {facts['dtype']} weights: expected F32, F16 or BF16", source=str(path.parent)
        )
    return flat.reshape(facts["shape"])
