"""What an adapter's file changes: the key and value matrices, and how much else.

Every dialect ends here as the same plain value. Modules are read one after another, so that of what a concept cannot
hold only its energy, the sum of squares of its change, is ever kept.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cns.adapters.directions import DIRECTIONS, outputs_along, read_directions
from cns.adapters.modules import Module, Modules
from cns.adapters.rules import PART_OF, Array, Method, decomposed, method_of
from cns.adapters.scales import configured_scale, network_scale, settings_of
from cns.adapters.source import Source, as_config, read_config
from cns.errors import AdapterError

KEY = re.compile(rf"(.+)\.({'|'.join(map(re.escape, sorted(PART_OF, key=len, reverse=True)))})")
PEFT_FILES = ("adapter_model.safetensors", "adapter_config.json")
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
HEADER = "lora_adapter_metadata"
WRITERS = {"lora_": "kohya", "lycoris_": "LyCORIS", "unet.": "diffusers", "text_encoder": "diffusers"}


@dataclass(frozen=True, eq=False)
class Change:
    """The change of one matrix.

    Attributes:
        weight: dW, shape (O, I), float64.
        positions: Row-major positions of the weights that it is about; None: all.
        factors: (s B, A), where it is their product.
        start: The base's weight, (O, I), float32, where the file holds its sum with the change, as rounded there.
    """

    weight: Array
    positions: NDArray[np.int64] | None = None
    factors: tuple[Array, Array] | None = None
    start: NDArray[np.float32] | None = None


@dataclass
class Update:
    """What a file changes.

    Attributes:
        dialect: Who writes such files, and the methods in it.
        file: The file that was read; `sha256`: its digest, hex.
        changes: Name of a K/V matrix, as in the UNet's state dict -> its change.
        outside: Kind of module -> the energy of all changes of its kind, which a concept cannot hold.
        scales: Every scale of a K/V matrix that was applied, ascending.
        modules: How many modules it changes.
    """

    dialect: str
    file: Path
    sha256: str
    changes: dict[str, Change] = field(default_factory=dict)
    outside: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    scales: tuple[float, ...] = ()
    modules: int = 0

    @property
    def energy(self) -> float:
        """Of the K/V matrices."""
        return sum(float((change.weight**2).sum()) for change in self.changes.values())

    @property
    def share_outside(self) -> dict[str, float]:
        """Kind of module -> its share of the whole update's energy, the largest first."""
        whole = self.energy + sum(self.outside.values())
        shares = {kind: energy / whole if whole else 0.0 for kind, energy in self.outside.items() if energy}
        return dict(sorted(shares.items(), key=lambda pair: -pair[1]))

    def times(self, weight: float) -> Update:
        """The update with its change multiplied."""
        if weight == 1:
            return self
        for name, one in self.changes.items():
            factors = one.factors and (one.factors[0] * weight, one.factors[1])
            self.changes[name] = Change(one.weight * weight, one.positions, factors)
        self.outside = {kind: energy * weight**2 for kind, energy in self.outside.items()}
        return self


def read_update(path: Path, modules: Modules) -> Update:
    """Read what a file, or a folder of PEFT, changes of a base.

    Args:
        path: A safetensors file, a folder of diffusers with one (`DIFFUSERS_FILE`), or one of PEFT (`PEFT_FILES`).
        modules: The base's.

    Raises:
        AdapterError: It is of no dialect that is read, damaged, made for another base, or says two things of its scale.
    """
    config = None
    if (path / DIFFUSERS_FILE).is_file():
        path = path / DIFFUSERS_FILE
    elif path.is_dir():
        weights, settings = (path / name for name in PEFT_FILES)
        if not weights.is_file() or not settings.is_file():
            inside = sorted((one.stat().st_size, one) for one in path.rglob("*.safetensors") if one.is_file())
            hint = f"cns import {shlex.quote(str(inside[-1][1]))} NAME" if inside else ""
            raise AdapterError(f"{path} is no folder of PEFT: expected {' and '.join(PEFT_FILES)}", hint, path=path)
        path, config = weights, read_config(settings)
    source = Source.open(path)
    named = _by_module(source, modules)
    scales = _Scales(source, config)
    update = Update("", path, source.sha256, modules=len(named))
    applied, methods, writers = set(), set(), set()
    for spelled, keys in named.items():
        module = modules.spelled[spelled]
        method = method_of(keys)
        writers.add(scales.writer or next(who for start, who in WRITERS.items() if spelled.startswith(start)))
        if method is None:
            _only_bias(update, source, spelled, keys)
            continue
        methods.add("DoRA" if {"magnitude", "vector"} & keys.keys() else method.name)
        change, scale = _change_of(source, module, method, keys, scales)
        if module.is_kv:
            name = f"{module.name}.weight"
            if name in update.changes:
                raise AdapterError(f"{path} changes {module.name} twice, under two names", path=path)
            update.changes[name] = change
            applied.add(scale)
        else:
            update.outside[module.kind] += float((change.weight**2).sum())
        _add_bias(update, source, keys)
    update.scales = tuple(sorted(applied))
    update.dialect = f"{' and '.join(sorted(writers))} {' and '.join(sorted(methods))}"
    return update


class _Scales:
    """Where a file says its scales: beside the tensors, in its header, or in the settings of its folder."""

    def __init__(self, source: Source, config: dict[str, Any] | None) -> None:
        self._source, self._config = source, config
        self.writer = "" if config is None else "PEFT"
        header = source.notes.get(HEADER)
        self._header = as_config(source.path, header) if header and config is None else {}
        alphas = [key for key in source.table if key.endswith(".alpha")]
        if alphas and (self._header or config is not None):
            raise AdapterError(
                f"{source.path} says its scale twice: in {alphas[0]}, and in "
                + (HEADER if config is None else PEFT_FILES[1]),
                "keep one of them where it was made",
                path=source.path,
            )

    def of(self, module: Module, method: Method, parts: Mapping[str, Array]) -> float:
        """The scale of a module; raises AdapterError for one that cannot be meant."""
        try:
            return self._scale(module, method, parts) if method.scaled else 1.0
        except ValueError as error:
            path = self._source.path
            hint = "save it again with the scale that is meant where it was made"
            raise AdapterError(f"{path} says no scale of {module.name}: {error}", hint, path=path) from error

    def _scale(self, module: Module, method: Method, parts: Mapping[str, Array]) -> float:
        rank = method.rank(parts)
        config = settings_of(self._header, module.part) if self._config is None else self._config
        if config is not None:
            return configured_scale(config, module.name, rank)
        alpha = parts.get("alpha")
        return network_scale(None if alpha is None else float(alpha.reshape(-1)[0]), rank)


def _by_module(source: Source, modules: Modules) -> dict[str, dict[str, str]]:
    """Module as the file spells it -> part -> key.

    Raises:
        AdapterError: A key is of no dialect, or names no module of the base.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for key in sorted(source.table):
        match = KEY.fullmatch(key)
        if match is None:
            raise AdapterError(
                f"{source.path} holds {key[:80]!r}, which is of no dialect that is read",
                "docs/import.md lists what is read",
                path=source.path,
            )
        if match[1] not in modules.spelled:
            raise AdapterError(
                f"{source.path} changes {match[1][:80]!r}, which this base does not have: it was made for another",
                "cns init --base FOLDER with the base that it was made for, in a new folder",
                path=source.path,
            )
        found[match[1]][PART_OF[match[2]]] = key
    return found


def _change_of(
    source: Source, module: Module, method: Method, keys: Mapping[str, str], scales: _Scales
) -> tuple[Change, float]:
    """The change of a module and its scale.

    Raises:
        AdapterError: Its tensors do not fit each other or the base's weight.
    """
    parts = {part: source.read(key) for part, key in keys.items() if part != "bias"}
    try:
        scale = scales.of(module, method, parts)
        weight = method.change(parts, module.shape) * scale
        if weight.shape != module.shape:
            raise ValueError(f"a change of shape {weight.shape}, and the base has {module.shape}")
        if {"magnitude", "vector"} & parts.keys():
            return Change(decomposed(module.weight(), weight, parts)), scale
    except (ValueError, IndexError) as error:
        raise AdapterError(
            f"{source.path} does not fit {module.name}: {str(error).splitlines()[0][:160]}",
            "cns init --base FOLDER with the base that it was made for, in a new folder",
            path=source.path,
        ) from error
    start = module.weight() if method.name == "weights" else None
    weight = weight if start is None else weight - start
    if method.name == "SHiRA":
        rows, columns = parts["indices"].astype(np.int64)
        return Change(weight, np.unique(rows * module.shape[1] + columns)), scale
    factors = _factors(source, method, parts, weight, scale) if module.is_kv else None
    return Change(weight, None, factors, None if start is None else start.astype(np.float32)), scale


def _factors(
    source: Source, method: Method, parts: Mapping[str, Array], weight: Array, scale: float
) -> tuple[Array, Array] | None:
    """The factors of a change, where a file has them, or names the directions of its whole changes."""
    if method.name == "LoRA" and "mid" not in parts:
        return parts["up"] * scale, parts["down"]
    if method.name in ("full", "weights") and DIRECTIONS in source.notes:
        directions = read_directions(source.path, source.notes[DIRECTIONS], weight.shape[1])
        return outputs_along(directions, weight), directions
    return None


def _add_bias(update: Update, source: Source, keys: Mapping[str, str]) -> None:
    if "bias" in keys:
        update.outside["biases"] += float((source.read(keys["bias"]) ** 2).sum())


def _only_bias(update: Update, source: Source, spelled: str, keys: Mapping[str, str]) -> None:
    """Count a module of which nothing but a bias is changed; raises AdapterError where parts are missing."""
    if keys.keys() != {"bias"}:
        raise AdapterError(
            f"{source.path} lacks a part of {spelled[:80]}: it has {', '.join(sorted(keys))}",
            "get the file again from where it is published",
            path=source.path,
        )
    _add_bias(update, source, keys)
