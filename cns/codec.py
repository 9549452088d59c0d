"""How a concept's change is written: one file for where it acts, a mask or directions, and one for its integers.

Mask: the row-major positions of the changed weights, ascending, as gaps. The gap before a position is the number of
unchanged weights skipped; it is written as ``gap // 255`` bytes of 255 and one byte ``gap % 255``. At 6 % density that
is one byte a weight, which the store's zstd brings close to the entropy of the mask.

Integers: ``z = 2n`` for n >= 0 and ``-2n - 1`` below (zigzag), as two byte planes, all high bytes and then all low
bytes: small changes leave the high plane nearly constant.

Directions (`cns.factors`): U as signed bytes in the place of the mask, O as byte planes in that of its integers.

Each file (`cns.container`) says its format version and the shapes (mask) or grid exponents (delta). The bytes are a
function of the content alone, so they can be named by their hash. No torch here, and no knowledge of concepts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from cns.container import byte_tensors, load_tensors, metadata, one_tensor, read_metadata, shape_of, whole
from cns.errors import CodecError
from cns.factors import MAX_RANK, FactorDelta

FORMAT = 1
FACTORS_FORMAT = 2  # U and O in the place of a mask and its integers
FORMATS = (FORMAT, FACTORS_FORMAT)
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

    @property
    def matrix_exponent(self) -> int:
        """Exponent of the matrix's own grid: the same."""
        return self.exponent


Delta = Mapping[str, SparseDelta | FactorDelta]
"""Matrix name -> its change: all masks, or all factors with one U."""


def encode(delta: Delta, of: str = "") -> tuple[bytes, bytes]:
    """Return the mask file and the delta file of a concept, as bytes.

    Args:
        delta: Matrix name -> change.
        of: Whose change it is, written into the delta file: no two concepts share one, not even of no change at all.

    Raises:
        CodecError: Positions are not ascending or lie outside their matrix.
    """
    factors = {name: one for name, one in sorted(delta.items()) if isinstance(one, FactorDelta)}
    if factors:
        return _encode_factors(factors)
    masks: dict[str, NDArray[np.uint8]] = {}
    values: dict[str, NDArray[np.uint8]] = {}
    for name, sparse in sorted(delta.items()):
        assert isinstance(sparse, SparseDelta)  # a change is all of one kind
        _check(name, sparse)
        masks[name] = _encode_gaps(sparse.positions)
        values[name] = _encode_steps(sparse.steps)
    shapes = {name: list(delta[name].shape) for name in delta}
    exponents = {name: delta[name].exponent for name in delta}
    return (
        save(masks, metadata({"format": FORMAT, "shapes": shapes})),
        save(values, metadata({"format": FORMAT, "exponents": exponents, **({"of": of} if of else {})})),
    )


def decode(mask: bytes, delta: bytes) -> dict[str, SparseDelta | FactorDelta]:
    """Read back what `encode` wrote.

    Raises:
        CodecError: Either file is damaged, of an unknown format, or the two do not belong together.
    """
    kind, shapes = read_metadata(mask, "shapes", FORMATS)
    other, exponents = read_metadata(delta, "exponents", FORMATS)
    if kind != other:
        raise CodecError(f"a mask of format {kind} and a delta of format {other}", hint="cns fsck")
    read = _decode_factors if kind == FACTORS_FORMAT else _decode_masks
    return read(shapes, exponents, mask, delta)


def _decode_masks(
    shapes: dict[str, Any], exponents: dict[str, Any], mask: bytes, delta: bytes
) -> dict[str, SparseDelta | FactorDelta]:
    gaps, planes = byte_tensors(mask), byte_tensors(delta)
    if not (set(shapes) == set(exponents) == set(gaps) == set(planes)):
        raise CodecError("mask and delta name different matrices", hint="cns fsck")
    result: dict[str, SparseDelta | FactorDelta] = {}
    for name in sorted(gaps):
        shape = shape_of(name, shapes[name])
        exponent = whole(f"{name}: the exponent", exponents[name], -1100, 1100)
        positions = _decode_gaps(gaps[name], shape[0] * shape[1])
        sparse = SparseDelta(shape, positions, _decode_steps(planes[name]), exponent)
        _check(name, sparse)
        result[name] = sparse
    return result


def _encode_factors(delta: Mapping[str, FactorDelta]) -> tuple[bytes, bytes]:
    """U as signed bytes, once; O of each matrix as byte planes."""
    basis = np.ascontiguousarray(next(iter(delta.values())).basis)  # safetensors writes memory as it lies
    if any(not np.array_equal(one.basis, basis) for one in delta.values()):
        raise CodecError("the matrices of a change have different directions", hint="cns fsck")
    shapes = {name: list(one.shape) for name, one in delta.items()}
    exponents = {name: one.exponent for name, one in delta.items()}
    values = {name: _encode_steps(one.outputs.reshape(-1)) for name, one in delta.items()}
    return (
        save({"basis": basis.view(np.uint8)}, metadata({"format": FACTORS_FORMAT, "shapes": shapes})),
        save(values, metadata({"format": FACTORS_FORMAT, "exponents": exponents})),
    )


def _decode_factors(
    shapes: dict[str, Any], exponents: dict[str, Any], mask: bytes, delta: bytes
) -> dict[str, SparseDelta | FactorDelta]:
    directions, planes = byte_tensors(mask), byte_tensors(delta)
    if not (set(shapes) == set(exponents) == set(planes)) or set(directions) != {"basis"}:
        raise CodecError("directions and delta name different matrices", hint="cns fsck")
    basis = directions["basis"]
    if basis.ndim != 2 or not 1 <= basis.shape[1] <= MAX_RANK:
        raise CodecError(f"directions of shape {basis.shape}: expected 1 to {MAX_RANK} columns", hint="cns fsck")
    result: dict[str, SparseDelta | FactorDelta] = {}
    for name in sorted(planes):
        rows, columns = shape_of(name, shapes[name])
        outputs = _decode_steps(planes[name])
        if columns != len(basis) or outputs.size != rows * basis.shape[1]:
            raise CodecError(f"{name}: {outputs.size} outputs for {rows}x{columns} weights", hint="cns fsck")
        exponent = whole(f"{name}: the exponent", exponents[name], -1100, 1100)
        result[name] = FactorDelta(outputs.reshape(rows, -1), basis.view(np.int8), exponent)
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
    rows = load_tensors(data)
    if tokens is not None and set(rows) != set(tokens):
        raise CodecError("an embedding holds rows of other tokens than its concept has", hint="cns fsck")
    for token, row in rows.items():
        if row.dtype != np.float32 or row.ndim != 1 or not np.isfinite(row).all():
            raise CodecError(f"the embedding of {token!r} is not a finite float32 vector", hint="cns fsck")
    return rows


def encode_images(
    images: NDArray[np.uint8], masks: NDArray[np.uint8] | None = None, framings: NDArray[np.int32] | None = None
) -> bytes:
    """Return the file of a concept's training images.

    Args:
        images: Shape (N, R, R, 3), uint8.
        masks: Shape (N, R, R), uint8.
        framings: How each was cut out, see `cns.files.squares.Framing`, shape (N, 4), int32.
    """
    parts = {"images": images, "masks": masks, "framings": framings}
    return save({name: np.ascontiguousarray(one) for name, one in parts.items() if one is not None})


def decode_images(data: bytes) -> NDArray[np.uint8]:
    """Read back the images that `encode_images` wrote.

    Raises:
        CodecError: The file is damaged, or holds anything but N >= 1 square pictures, and perhaps a mask for each.
    """
    return decode_masked_images(data)[0]


def decode_masked_images(data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Read back the images and masks that `encode_images` wrote; raises as `decode_images`."""
    return decode_photos(data)[:2]


def decode_photos(
    data: bytes,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[np.int32] | None]:
    """Read back all that `encode_images` wrote; raises as `decode_images`."""
    tensors = load_tensors(data)
    masks, framings = tensors.pop("masks", None), tensors.pop("framings", None)
    if list(tensors) != ["images"]:
        raise CodecError(f"a file of {len(tensors)} tensors; expected one, 'images'", hint="cns fsck")
    images = tensors["images"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise CodecError(f"stored images of shape {images.shape} and type {images.dtype}", hint="cns fsck")
    if 0 in images.shape:
        raise CodecError("stored images that are none", hint="cns fsck")
    if masks is not None and (masks.dtype != np.uint8 or masks.shape != images.shape[:3]):
        raise CodecError(f"masks of shape {masks.shape} for images of shape {images.shape}", hint="cns fsck")
    if framings is not None and (framings.dtype != np.int32 or framings.shape != (len(images), 4)):
        raise CodecError(f"framings of shape {framings.shape} for images of shape {images.shape}", hint="cns fsck")
    return images, masks, framings


def encode_features(features: NDArray[np.float32]) -> bytes:
    """Return the file of an encoder's features of the training images, shape (N, D), float32."""
    return save({"features": np.ascontiguousarray(features, np.float32)})


def decode_features(data: bytes) -> NDArray[np.float32]:
    """Read back what `encode_features` wrote.

    Raises:
        CodecError: It is damaged, or holds anything but N >= 1 finite float32 rows.
    """
    features = one_tensor(data, "features")
    if features.dtype != np.float32 or features.ndim != 2 or features.size == 0 or not np.isfinite(features).all():
        raise CodecError(f"stored features of shape {features.shape} and type {features.dtype}", hint="cns fsck")
    return features


def total_steps(
    deltas: Iterable[SparseDelta | FactorDelta], shape: tuple[int, int]
) -> NDArray[np.int32] | NDArray[np.int64]:
    """Sum the integers of several concepts in one matrix, shape (O, I), on the `finest` grid; exact, in any order."""
    parts = list(deltas)
    exponent = finest(parts)
    narrow = len(parts) <= MAX_IN_INT32 and all(one.exponent == exponent and one.steps.itemsize == 2 for one in parts)
    total = np.zeros(shape, np.int32 if narrow else np.int64)
    flat = total.reshape(-1)
    for one in parts:
        steps = one.steps.astype(total.dtype) << (one.exponent - exponent)
        if isinstance(one, FactorDelta):
            flat += steps
        else:
            np.add.at(flat, one.positions, steps)
    return total


def finest(deltas: Sequence[SparseDelta | FactorDelta], exponent: int = 0) -> int:
    """Exponent of the finest grid that changes of one matrix are on; without any, the one given."""
    return min((one.exponent for one in deltas), default=exponent)


def count_weights(delta: Delta) -> int:
    """How many weights a concept may change: its neurons."""
    return sum(sparse.count for sparse in delta.values())


def rank_of(delta: Delta) -> int:
    """The rank of a change along directions; 0 where it has a mask."""
    return max((one.rank for one in delta.values() if isinstance(one, FactorDelta)), default=0)


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
