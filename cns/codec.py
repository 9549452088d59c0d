"""How a concept's sparse change is written: one safetensors file for the mask, one for the integers.

Mask: the row-major positions of the changed weights, ascending, as gaps. The gap before a position is the number of
unchanged weights skipped; it is written as ``gap // 255`` bytes of 255 and one byte ``gap % 255``. At 6 % density that
is one byte a weight, which the store's zstd brings close to the entropy of the mask.

Integers: ``z = 2n`` for n >= 0 and ``-2n - 1`` below (zigzag), as two byte planes, all high bytes and then all low
bytes: small changes leave the high plane nearly constant.

Each file carries one metadata entry, ``cns``: canonical JSON with the format version and the shapes (mask) or grid
exponents (delta). One entry only, since safetensors does not promise the order of several. The bytes are a function
of the content alone, so they can be named by their hash. No torch here, and no knowledge of concepts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cns.errors import CodecError

FORMAT = 1
MAX_FILE_BYTES = 256 * 2**20  # as the largest blob of the registry: the delta of 100 million weights
MAX_HEADER_BYTES = 2**20  # names and shapes of thousands of matrices; JSON in memory is twenty times as large
MAX_MATRIX = 2**24  # weights; the largest cross-attention projection that is known has 3 million
MAX_IN_INT32 = 2**16  # deltas of 16 bits; an int32 holds their sum, and is summed in half the time of an int64
_ESCAPE = 255


@dataclass(frozen=True)
class SparseDelta:
    """The change of one matrix.

    Attributes:
        shape: (O, I) of the matrix.
        positions: Row-major positions of the changed weights, shape (n,), int64, strictly ascending.
        steps: Whole grid steps added at those positions, shape (n,), int16.
        exponent: The matrix's grid step is 2**exponent.
    """

    shape: tuple[int, int]
    positions: NDArray[np.int64]
    steps: NDArray[np.int16]
    exponent: int

    @property
    def count(self) -> int:
        """How many weights the mask holds."""
        return int(self.positions.size)


Delta = Mapping[str, SparseDelta]
"""Matrix name -> its change."""


def encode(delta: Delta) -> tuple[bytes, bytes]:
    """Return the mask file and the delta file of a concept, as bytes.

    Args:
        delta: Matrix name -> change.

    Raises:
        CodecError: Positions are not ascending or lie outside their matrix.
    """
    masks: dict[str, NDArray[np.uint8]] = {}
    values: dict[str, NDArray[np.uint8]] = {}
    for name in sorted(delta):
        sparse = delta[name]
        _check(name, sparse)
        masks[name] = _encode_gaps(sparse.positions)
        values[name] = _encode_steps(sparse.steps)
    shapes = {name: list(delta[name].shape) for name in delta}
    exponents = {name: delta[name].exponent for name in delta}
    return (
        save(masks, _metadata({"format": FORMAT, "shapes": shapes})),
        save(values, _metadata({"format": FORMAT, "exponents": exponents})),
    )


def decode(mask: bytes, delta: bytes) -> dict[str, SparseDelta]:
    """Read back what `encode` wrote.

    Raises:
        CodecError: Either file is damaged, of an unknown format, or the two do not belong together.
    """
    shapes = _read_metadata(mask, "shapes")
    exponents = _read_metadata(delta, "exponents")
    gaps, planes = _tensors(mask), _tensors(delta)
    if not (set(shapes) == set(exponents) == set(gaps) == set(planes)):
        raise CodecError("mask and delta name different matrices", hint="cns fsck")
    result = {}
    for name in sorted(gaps):
        shape = _shape(name, shapes[name])
        exponent = _whole(f"{name}: the exponent", exponents[name], -1100, 1100)
        positions = _decode_gaps(gaps[name], shape[0] * shape[1])
        sparse = SparseDelta(shape, positions, _decode_steps(planes[name]), exponent)
        _check(name, sparse)
        result[name] = sparse
    return result


def encode_rows(rows: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return the embedding file of a concept: one float32 tensor, shape (D,), for each special token."""
    return save({token: np.ascontiguousarray(row, np.float32) for token, row in rows.items()})


def decode_rows(data: bytes, tokens: Iterable[str] | None = None) -> dict[str, NDArray[np.float32]]:
    """Read back what `encode_rows` wrote.

    Args:
        data: The file.
        tokens: Those that it must hold, no more and no less; None takes it as it is.

    Raises:
        CodecError: It is damaged, holds other tokens, or a row is not one float32 vector of finite values.
    """
    rows = _load(data)
    if tokens is not None and set(rows) != set(tokens):
        raise CodecError("an embedding holds rows of other tokens than its concept has", hint="cns fsck")
    for token, row in rows.items():
        if row.dtype != np.float32 or row.ndim != 1 or not np.isfinite(row).all():
            raise CodecError(f"the embedding of {token!r} is not a finite float32 vector", hint="cns fsck")
    return rows


def encode_images(images: NDArray[np.uint8]) -> bytes:
    """Return the file of a concept's training images, shape (N, R, R, 3), uint8."""
    return save({"images": np.ascontiguousarray(images)})


def decode_images(data: bytes) -> NDArray[np.uint8]:
    """Read back what `encode_images` wrote.

    Raises:
        CodecError: It is damaged, or holds anything but N >= 1 square pictures.
    """
    images = _one(data, "images")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise CodecError(f"stored images of shape {images.shape} and type {images.dtype}", hint="cns fsck")
    if 0 in images.shape:
        raise CodecError("stored images that are none", hint="cns fsck")
    return images


def encode_features(features: NDArray[np.float32]) -> bytes:
    """Return the file of an encoder's features of the training images, shape (N, D), float32."""
    return save({"features": np.ascontiguousarray(features, np.float32)})


def decode_features(data: bytes) -> NDArray[np.float32]:
    """Read back what `encode_features` wrote.

    Raises:
        CodecError: It is damaged, or holds anything but N >= 1 finite float32 rows.
    """
    features = _one(data, "features")
    if features.dtype != np.float32 or features.ndim != 2 or features.size == 0 or not np.isfinite(features).all():
        raise CodecError(f"stored features of shape {features.shape} and type {features.dtype}", hint="cns fsck")
    return features


def total_steps(deltas: Iterable[SparseDelta], shape: tuple[int, int]) -> NDArray[np.int32] | NDArray[np.int64]:
    """Sum the integers of several concepts in one matrix, shape (O, I); exact, in any order."""
    parts = list(deltas)
    total = np.zeros(shape, np.int32 if len(parts) <= MAX_IN_INT32 else np.int64)
    flat = total.reshape(-1)
    for sparse in parts:
        np.add.at(flat, sparse.positions, sparse.steps.astype(total.dtype))
    return total


def count_weights(delta: Delta) -> int:
    """How many weights a concept may change: its neurons."""
    return sum(sparse.count for sparse in delta.values())


def _encode_gaps(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
    gaps = np.diff(positions, prepend=-1) - 1
    escapes = gaps // _ESCAPE
    ends = np.cumsum(escapes + 1) - 1
    out = np.full(int(ends[-1]) + 1 if ends.size else 0, _ESCAPE, np.uint8)
    out[ends] = (gaps % _ESCAPE).astype(np.uint8)
    return out


def _decode_gaps(data: NDArray[np.uint8], size: int) -> NDArray[np.int64]:
    """Positions within `size` weights; what would lie beyond is refused before memory is taken for it."""
    if data.ndim != 1 or (data.size and data[-1] == _ESCAPE):
        raise CodecError("a mask ends in the middle of a gap", hint="cns fsck")
    marks = data != _ESCAPE
    if int(data.sum(dtype=np.int64)) + int(np.count_nonzero(marks)) > size:
        raise CodecError(f"a mask marks positions beyond its {size} weights", hint="cns fsck")
    # A byte of 255 skips 255 weights; any other byte skips its value and then marks one.
    reached = np.cumsum(data, dtype=np.int32)
    reached += np.cumsum(marks, dtype=np.int32)
    return reached[marks].astype(np.int64) - 1


def _encode_steps(steps: NDArray[np.int16]) -> NDArray[np.uint8]:
    wide = steps.astype(np.int32)
    zigzag = (wide << 1) ^ (wide >> 31)
    return np.stack([zigzag >> 8, zigzag & 255]).astype(np.uint8)


def _decode_steps(planes: NDArray[np.uint8]) -> NDArray[np.int16]:
    if planes.ndim != 2 or planes.shape[0] != 2:
        raise CodecError("a delta is not two byte planes", hint="cns fsck")
    zigzag = (planes[0].astype(np.int32) << 8) | planes[1]
    return ((zigzag >> 1) ^ -(zigzag & 1)).astype(np.int16)


def _check(name: str, sparse: SparseDelta) -> None:
    positions, size = sparse.positions, sparse.shape[0] * sparse.shape[1]
    if positions.size != sparse.steps.size:
        raise CodecError(f"{name}: {positions.size} positions for {sparse.steps.size} values", hint="cns fsck")
    if positions.size and (positions[0] < 0 or positions[-1] >= size or (np.diff(positions) <= 0).any()):
        raise CodecError(f"{name}: positions are not ascending within {size} weights", hint="cns fsck")


def _shape(name: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise CodecError(f"{name}: its shape is {str(value)[:40]}; expected two sides", hint="cns fsck")
    rows, columns = (_whole(f"{name}: a side", side, 0, MAX_MATRIX) for side in value)
    if rows * columns > MAX_MATRIX:
        raise CodecError(f"{name}: {rows}x{columns} weights; at most {MAX_MATRIX:,} are read", hint="cns fsck")
    return rows, columns


def _whole(what: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise CodecError(f"{what} is {str(value)[:40]}; expected a whole number", hint="cns fsck")
    return value


def _one(data: bytes, name: str) -> NDArray[Any]:
    """The tensor of a file that holds one."""
    tensors = _load(data)
    if list(tensors) != [name]:
        raise CodecError(f"a file of {len(tensors)} tensors; expected one, '{name}'", hint="cns fsck")
    return tensors[name]


def _metadata(content: dict[str, Any]) -> dict[str, str]:
    return {"cns": json.dumps(content, sort_keys=True, separators=(",", ":"))}


def _read_metadata(data: bytes, key: str) -> dict[str, Any]:
    try:
        size = int.from_bytes(data[:8], "little")
        if not size <= min(len(data) - 8, MAX_HEADER_BYTES):
            raise ValueError(f"a header of {size} bytes")
        content = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["cns"])
        if content["format"] != FORMAT:
            raise CodecError(
                f"delta format {str(content['format'])[:40]}; this version reads {FORMAT}",
                hint="pip install -U cns-cli",
            )
        return dict(content[key])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CodecError(f"not a file of this format: {str(error)[:200]}", hint="cns fsck") from error


def _tensors(data: bytes) -> dict[str, NDArray[np.uint8]]:
    tensors = _load(data)
    if any(tensor.dtype != np.uint8 for tensor in tensors.values()):
        raise CodecError("a mask or delta tensor is not uint8", hint="cns fsck")
    return tensors


def _load(data: bytes) -> dict[str, NDArray[Any]]:
    if len(data) > MAX_FILE_BYTES or int.from_bytes(data[:8], "little") > MAX_HEADER_BYTES:
        raise CodecError(f"not a safetensors file that is read here: {len(data):,} bytes", hint="cns fsck")
    try:
        return dict(load(data))
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        raise CodecError(f"not a safetensors file: {str(error)[:200]}", hint="cns fsck") from error
