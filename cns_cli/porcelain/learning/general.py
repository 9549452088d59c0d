"""The general neurons of a base, found once and kept in the registry's cache."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cns.compose import Weights
from cns.general import Vote, find_general_neurons
from cns.masks import pack, unpack
from cns.report import Report
from cns.task import Settings
from cns_cli.porcelain.models.base import LoadedBase
from registry import fsio

ZIP_ENTRY_BYTES = 1024  # beside its data: numpy's header of a mask in the cache


def general_neurons_cached(
    base: LoadedBase, settings: Settings, cache: Path | None, base_id: str, report: Report
) -> dict[str, Tensor]:
    """General neurons of the base under a score, from the cache or computed; changes the live weights.

    They belong to the base and not to a training, so they do not depend on the training's seed.

    Args:
        base: The base.
        settings: Score, ratio and vote.
        cache: Folder to keep them in, or None.
        base_id: Id of the base, part of the cache's key.
        report: Told of progress.
    """
    path = _general_path(base, settings, cache, base_id)
    if path is not None and (found := _read_masks(path, base.model.base)):
        return found
    how = Vote(settings.score, settings.general_ratio, settings.general_vote)
    general = find_general_neurons(base.model, base.calibration.selection, how, report)
    if path is not None:
        buffer = BytesIO()
        np.savez(buffer, **{name: pack(mask) for name, mask in general.items()})  # type: ignore[arg-type]
        fsio.make_folder(path.parent)
        fsio.replace(path, buffer.getvalue())
    return general


def general_neurons_for(
    base: LoadedBase, settings: Settings, cache: Path | None, base_id: str, report: Report
) -> dict[str, Tensor]:
    """What a training must leave alone: as `general_neurons_cached`; nothing where it acts along directions."""
    return {} if settings.directions else general_neurons_cached(base, settings, cache, base_id, report)


def general_neurons_known(base: LoadedBase, settings: Settings, cache: Path | None, base_id: str) -> bool:
    """Whether none must be looked for: `general_neurons_for` has none, or finds them in the cache."""
    path = _general_path(base, settings, cache, base_id)
    return settings.directions > 0 or (path is not None and path.exists())


def _general_path(base: LoadedBase, settings: Settings, cache: Path | None, base_id: str) -> Path | None:
    """Where the general neurons of a base under a score are kept."""
    if cache is None:
        return None
    key = [
        base_id,
        settings.score,
        settings.general_ratio,
        settings.general_vote,
        base.calibration.digest,
        torch.__version__,
    ]
    if base.dtype != "float32":
        key.append(base.dtype)
    if "score" in settings.plugins:
        key.append(settings.plugins["score"])  # another version of a plugin is another score
    return cache / f"general-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.npz"


def _read_masks(path: Path, base: Weights) -> dict[str, Tensor] | None:
    """Masks from the cache; None where there are none or the file is damaged: it can be made again."""
    most = sum(weight.numel() // 8 + 1 + ZIP_ENTRY_BYTES for weight in base.values())
    try:
        with zipfile.ZipFile(path) as packed:  # it may have come with a registry: look before unpacking
            if sum(entry.file_size for entry in packed.infolist()) > most:
                return None
        with np.load(path, allow_pickle=False) as stored:
            return {name: unpack(stored[name], weight.shape) for name, weight in base.items()}
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error):
        return None
