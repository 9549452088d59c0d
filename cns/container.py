"""The container of a concept's parts: a safetensors file with one metadata entry, written and read within limits.

One entry only, `cns`, canonical JSON, since safetensors does not promise the order of several. A file may come from a
stranger: sizes are looked at before memory is taken. What tensors and entries mean is said in `cns.codec`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from cns.errors import CodecError

MAX_FILE_BYTES = 256 * 2**20  # as the largest blob of the registry: the delta of 100 million weights
MAX_HEADER_BYTES = 2**20  # names and shapes of thousands of matrices; JSON in memory is twenty times as large
MAX_MATRIX = 2**24  # weights; the largest cross-attention projection that is known has 3 million


def shape_of(name: str, value: Any) -> tuple[int, int]:
    """(O, I) of a matrix, as an entry has it; raises CodecError."""
    if not isinstance(value, list) or len(value) != 2:
        raise CodecError(f"{name}: its shape is {str(value)[:40]}; expected two sides", hint="cns fsck")
    rows, columns = (whole(f"{name}: a side", side, 0, MAX_MATRIX) for side in value)
    if rows * columns > MAX_MATRIX:
        raise CodecError(f"{name}: {rows}x{columns} weights; at most {MAX_MATRIX:,} are read", hint="cns fsck")
    return rows, columns


def whole(what: str, value: Any, least: int, most: int) -> int:
    """A whole number within bounds, as an entry has it; raises CodecError."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise CodecError(f"{what} is {str(value)[:40]}; expected a whole number", hint="cns fsck")
    return value


def one_tensor(data: bytes, name: str) -> NDArray[Any]:
    """The tensor of a file that holds one, of this name; raises CodecError."""
    tensors = load_tensors(data)
    if list(tensors) != [name]:
        raise CodecError(f"a file of {len(tensors)} tensors; expected one, '{name}'", hint="cns fsck")
    return tensors[name]


def metadata(content: dict[str, Any]) -> dict[str, str]:
    """The one entry of a file, for `safetensors`."""
    return {"cns": json.dumps(content, sort_keys=True, separators=(",", ":"))}


def read_metadata(data: bytes, key: str, formats: Collection[int]) -> tuple[int, dict[str, Any]]:
    """The format of a file and what its entry says under a key.

    Raises:
        CodecError: It is damaged, or of none of these formats.
    """
    try:
        size = int.from_bytes(data[:8], "little")
        if not size <= min(len(data) - 8, MAX_HEADER_BYTES):
            raise ValueError(f"a header of {size} bytes")
        content = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["cns"])
        if content["format"] not in formats:
            raise CodecError(
                f"delta format {str(content['format'])[:40]}; this version reads {' and '.join(map(str, formats))}",
                hint="pip install -U cns-cli",
            )
        return int(content["format"]), dict(content[key])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CodecError(f"not a file of this format: {str(error)[:200]}", hint="cns fsck") from error


def byte_tensors(data: bytes) -> dict[str, NDArray[np.uint8]]:
    """The tensors of a file, all of bytes; raises CodecError."""
    tensors = load_tensors(data)
    if any(tensor.dtype != np.uint8 for tensor in tensors.values()):
        raise CodecError("a mask or delta tensor is not uint8", hint="cns fsck")
    return tensors


def load_tensors(data: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a file; raises CodecError."""
    if len(data) > MAX_FILE_BYTES or int.from_bytes(data[:8], "little") > MAX_HEADER_BYTES:
        raise CodecError(f"not a safetensors file that is read here: {len(data):,} bytes", hint="cns fsck")
    try:
        return dict(load(data))
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        raise CodecError(f"not a safetensors file: {str(error)[:200]}", hint="cns fsck") from error
