"""Single tensors out of safetensors files, as float32 numpy arrays, without torch.

A safetensors file is a length, a JSON table and raw bytes. To identify a base a few matrices are read out of files of
several GB: one at a time, from their place. The table comes from a stranger and is checked against the file's size.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cns.errors import BaseModelError
from cns.files.plain import open_plain, reason_of

if TYPE_CHECKING:  # help pages name families, which look at the table of a base's files and at no number
    import numpy as np
    from numpy.typing import NDArray

# safetensors' own limit is a hundred times as much; the table of an SDXL has 0.2 MB, and JSON grows in memory by 20.
MAX_HEADER_BYTES = 8 * 2**20
MAX_TENSORS = 50_000
MAX_SIDES = 8
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

SCANNED_BYTES = 2**20  # a whole number of every type
EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
"""Floating types: how their bits are read, and those of the exponent."""


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """The table of a safetensors file: name -> {"dtype", "shape", "start", "end"}, byte places in the file.

    Raises:
        BaseModelError: the table is damaged or points outside the file.
    """
    return _read(path)[0]


def read_notes(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself, texts by name; raises as `read_header`."""
    return _read(path)[1]


def _read(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    try:
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if length > min(MAX_HEADER_BYTES, size - 8):
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            table = json.loads(file.read(length), object_pairs_hook=_without_doubles)
        notes = {str(key): str(value) for key, value in table.get("__metadata__", {}).items()}
        return dict(_entries(table, 8 + length, size)), notes
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BaseModelError(
            f"{path} is no whole safetensors file: {reason_of(error)}", source=str(path.parent)
        ) from error


def first_not_finite(path: Path) -> str | None:
    """The name of the first floating tensor of a safetensors file that holds NaN or infinity; None where none does.

    The file is read once, `SCANNED_BYTES` at a time. A number is none where all bits of its exponent are set (IEEE 754;
    bfloat16 is the upper half of a float32).

    Raises:
        BaseModelError: the table is damaged.
    """
    header = read_header(path)
    with open_plain(path) as file:
        for name, facts in sorted(header.items(), key=lambda item: item[1]["start"]):
            if facts["dtype"] in EXPONENTS and not _is_finite(file, facts):
                return name
    return None


def _is_finite(file: BufferedReader, facts: Mapping[str, Any]) -> bool:
    import numpy as np

    kind, exponent = EXPONENTS[facts["dtype"]]
    file.seek(facts["start"])
    left = facts["end"] - facts["start"]
    while left > 0 and (data := file.read(min(SCANNED_BYTES, left))):
        left -= len(data)
        if ((np.frombuffer(data, kind) & exponent) == exponent).any():
            return False
    return True


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table whose names differ: of two equal ones, two readers may take two different tensors."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands there twice")
    return table


def _entries(table: dict[str, Any], data_start: int, size: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tensors of a safetensors table, each checked against the size of the file."""
    if len(table) > MAX_TENSORS:
        raise ValueError(f"{len(table):,} tensors, at most {MAX_TENSORS:,} are read")
    for name, entry in table.items():
        if name == "__metadata__":
            continue
        start, end = (data_start + place for place in _whole(entry["data_offsets"]))
        shape = _whole(entry["shape"])
        if not data_start <= start <= end <= size or end - start != math.prod(shape) * ITEM_BYTES.get(
            entry["dtype"], 1
        ):
            raise ValueError(f"{name} lies outside the file or has another size than its shape {shape}")
        yield name, {"dtype": entry["dtype"], "shape": shape, "start": start, "end": end}


def _whole(values: Any) -> list[int]:
    """A short list of whole numbers >= 0."""
    if not isinstance(values, list) or len(values) > MAX_SIDES:
        raise ValueError(f"{str(values)[:40]} is no list of at most {MAX_SIDES} numbers")
    if not all(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48 for value in values):
        raise ValueError(f"{str(values)[:40]} holds what is no whole number >= 0")
    return values


def read_tensor(path: Path, facts: Mapping[str, Any]) -> NDArray[np.float32]:
    """One floating tensor of a safetensors file as float32, exactly.

    Args:
        path: The file.
        facts: The tensor's entry in `read_header(path)`.

    Raises:
        BaseModelError: its dtype is not F32, F16 or BF16.
    """
    import numpy as np

    with open_plain(path) as file:
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
