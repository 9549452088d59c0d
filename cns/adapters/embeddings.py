"""Textual inversions: the vectors of a new token, as diffusers, A1111 and ComfyUI write them.

    diffusers   {"<token>": (D,) or (V, D)}, safetensors or a pickle
    A1111       {"emb_params": (V, D)}, or the pickle {"string_to_param": {"*": (V, D)}, …}
    ComfyUI     {"clip_l": (V, D)}; with `clip_g` beside it, of a base with two text encoders: rows stand side by side

Vectors are float32, as the registry stores them. A pickle is opened by torch with `weights_only`, which runs no code
and knows tensors and plain containers alone; anything else in it is refused.
"""

from __future__ import annotations

import pickle  # noqa: TID251  only for the name of the error by which torch refuses one
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cns.adapters.source import PICKLES, Source
from cns.adapters.update import KEY
from cns.errors import AdapterError
from cns.files.plain import reason_of

MAX_PICKLE_BYTES = 2**26
MAX_VECTORS = 64
TWO_ENCODERS = ("clip_l", "clip_g")
"""Names of their vectors, in the order of the encoders."""

OTHER_ENCODERS = ("clip_g", "t5xxl")


def holds_vectors(path: Path) -> bool:
    """Whether a file is a textual inversion, by its name and the names in it; raises AdapterError for a damaged one."""
    if path.suffix.lower() in PICKLES:
        return True
    return not path.is_dir() and not any(map(KEY.fullmatch, Source.open(path).table))


def read_vectors(path: Path, widths: Sequence[int]) -> NDArray[np.float32]:
    """The vectors of a textual inversion, shape (V, D), float32.

    Args:
        path: The file.
        widths: Of the rows of each of the base's text encoders; D is their sum.

    Raises:
        AdapterError: It holds none, several tokens, vectors of another width, or NaN.
    """
    if path.suffix.lower() in PICKLES:
        tensors = dict(_unpickled(path))
    else:
        source = Source.open(path)
        tensors = {name: source.read(name) for name in source.table}
    if len(widths) == len(TWO_ENCODERS):
        tensors = {"both": _side_by_side(path, tensors)}
    elif other := [name for name in OTHER_ENCODERS if name in tensors]:
        raise AdapterError(f"{path} holds vectors of {other[0]}, a second text encoder that this base lacks", path=path)
    if len(tensors) != 1:
        raise AdapterError(
            f"{path} holds {len(tensors)} tensors and no adapter that is read: expected the vectors of one token",
            "docs/import.md lists what is read",
            path=path,
        )
    (vectors,) = tensors.values()
    vectors = np.atleast_2d(vectors)
    if vectors.ndim != 2 or not 1 <= len(vectors) <= MAX_VECTORS or vectors.shape[1] != sum(widths):
        raise AdapterError(
            f"{path} holds a tensor of shape {vectors.shape}: expected 1 to {MAX_VECTORS} vectors of {sum(widths)} "
            "numbers, as this base's tokens have",
            path=path,
        )
    if not np.isfinite(vectors).all():
        raise AdapterError(f"{path} holds NaN or infinity: the training diverged", path=path)
    return vectors.astype(np.float32)


def _side_by_side(path: Path, tensors: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """The vectors of both text encoders, shape (V, D)."""
    if tensors.keys() != set(TWO_ENCODERS):
        raise AdapterError(
            f"{path} holds {', '.join(sorted(tensors))[:80]}: expected {' and '.join(TWO_ENCODERS)}, the vectors of a "
            "token in both text encoders of this base",
            path=path,
        )
    parts = [np.atleast_2d(tensors[name]) for name in TWO_ENCODERS]
    if {part.ndim for part in parts} != {2} or len({len(part) for part in parts}) > 1:
        raise AdapterError(f"{path} holds another number of vectors for each text encoder", path=path)
    return np.concatenate(parts, 1)


def _unpickled(path: Path) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The tensors of a pickle of diffusers or A1111."""
    import torch

    refused = f"{path} is a pickle that holds more than tensors, which could run code: expected a .safetensors file"
    try:
        if _size(path) > MAX_PICKLE_BYTES:
            raise AdapterError(f"{path} has more than {MAX_PICKLE_BYTES:,} bytes: no textual inversion", path=path)
        data: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise AdapterError(f"{path} cannot be read: {reason_of(error)}", path=path) from error
    except pickle.UnpicklingError as error:
        raise AdapterError(refused, "save it as safetensors where it was made", path=path) from error
    if isinstance(data, Mapping) and isinstance(data.get("string_to_param"), Mapping):
        data = data["string_to_param"]
    if not isinstance(data, Mapping):
        raise AdapterError(f"{path} holds no table of tensors", path=path)
    for name, value in data.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            yield str(name), value.detach().double().numpy()


def _size(path: Path) -> int:
    """Bytes of a file, or of what it unpacks to where it is packed, as torch's files may be."""
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as packed:
        return sum(one.file_size for one in packed.infolist())
