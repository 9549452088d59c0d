"""A base model as files: where it is, which files it is made of, and which base it is.

A base is a diffusers folder. What makes it *this* base are the SHA-256 digests of the files that the method loads, and,
for each cross-attention K/V matrix, the digest of its float32 values and the exponent of its integer grid. Nothing
here knows where the folder lies, so two people with the same files have the same base; the fp16 and the fp32 files of
one model are different bases.

All of it works on bytes and numpy: no torch, so that checking a base costs no import. Files are streamed; a tensor is
read one at a time from its place in the safetensors file. `loading.py` turns the folder into a pipeline.
"""

from __future__ import annotations

import hashlib
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cns import grid
from cns.errors import BaseModelError
from cns.families import Family, family_of
from cns.files.hub import HUB_ID, HUB_PAGE, HUB_SOURCE, fetch_base
from cns.files.models import component_files, file_sha256, read_json, weight_files
from cns.files.pipelines import denoiser_part, latent_side, models_of, parts_of, unsupported
from cns.files.plain import typed_path
from cns.files.singlefile import converted
from cns.files.tensors import first_not_finite, read_header, read_tensor

BASES_FOLDER = Path(__file__).parents[1] / "bases"

EMBEDDED = {"emoji-64": "emoji-64-v1", "emoji-64-v1": "emoji-64-v1"}

ADAPTERS = ("adapter_config.json", "pytorch_lora_weights.safetensors")  # of PEFT, and of diffusers

KV_MATRIX = re.compile(r"\.attn2\.to_[kv]\.weight$")


@dataclass(frozen=True)
class BaseFacts:
    """What a base is, whatever folder it lies in.

    Attributes:
        family: Name of its family.
        components: component -> {file name: SHA-256 hex of the file}.
        matrices: parameter name of each K/V matrix ("….attn2.to_k.weight") -> {"shape": [O, I], "sha256": hex of its
            float32 little-endian bytes, "exponent": of its integer grid}.
        denoiser_parameters: Number of parameters of the denoiser.
    """

    family: str
    components: dict[str, dict[str, str]]
    matrices: dict[str, dict[str, Any]]
    denoiser_parameters: int


def resolve_base(
    source: str | Path,
    *,
    cache_folder: Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """Find the folder of a base model, fetching it from a hub if need be.

    Args:
        source: The embedded base's name ("emoji-64"), a folder with a `model_index.json`, one file with the whole model
            (`cns.checkpoints`), or a hub id, "owner/name" or "owner/name@revision", a branch, tag or commit there.
        cache_folder: Where a fetched or converted base is kept; None = the hub client's own cache.
        local_files_only: Never go to the network. A revision that is not here then gives way to the one that is.

    Raises:
        BaseModelError: nothing was found under this name.
    """
    text = str(source)
    if text in EMBEDDED:
        folder = BASES_FOLDER / EMBEDDED[text]
        if not (folder / "model_index.json").is_file():
            raise BaseModelError(f"the embedded base {text} is not installed: {folder} has no model", source=text)
        return folder
    folder = typed_path(source)
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise _no_pipeline(folder, text)
        return folder.resolve()
    if folder.is_file():
        return converted(folder.resolve(), cache_folder)
    if not HUB_SOURCE.match(text):
        page = HUB_PAGE.match(text)
        expected = f"{' or '.join(sorted(EMBEDDED))}, a folder, a file, or a hub id 'owner/name'"
        raise BaseModelError(
            f"no base model {text!r}: expected {expected}",
            f"cns init --base {page[1]}" if page else "in a new folder: cns init --base emoji-64",
            source=text,
        )
    return fetch_base(text, cache_folder, offline=local_files_only)


def _no_pipeline(folder: Path, source: str) -> BaseModelError:
    """The error for a folder without an index, which says what it holds instead."""
    hint = (
        "Name the folder with model_index.json, unet/ or transformer/, vae/, text_encoder/, tokenizer/ and scheduler/"
    )
    reason = "it has no model_index.json"
    if any((folder / name).exists() for name in ADAPTERS):
        reason = "it holds an adapter, a change of a base"
        hint = f"cns import {shlex.quote(source)} NAME, in a registry on the base that it was trained for"
    elif (folder / "config.json").is_file() and (part := read_json(folder / "config.json").get("_class_name")):
        reason = f"it holds one part alone, of class {part!r}"
    elif files := sorted(folder.glob("*.safetensors")):
        hint = f"one file may be a whole model: cns init --base {shlex.quote(str(files[0]))}"
    return BaseModelError(f"{source} is no diffusers pipeline: {reason}", hint, source=source)


def pinned(source: str, folder: Path) -> str:
    """What a registry writes down of where its base is: the whole path, or with the commit that a hub gave.

    Args:
        source: As it was typed; "main" of a hub moves, and so does the folder in which a command is typed.
        folder: Where `resolve_base` found it.
    """
    if source not in EMBEDDED and typed_path(source).exists():
        return str(typed_path(source).resolve())
    hub_id = source.partition("@")[0]
    return f"{hub_id}@{folder.name}" if HUB_ID.match(hub_id) and folder.parent.name == "snapshots" else source


def describe_base(folder: Path) -> BaseFacts:
    """Read what identifies a base: file digests, K/V digests and grid exponents.

    The whole of the base is read once, one chunk or one tensor at a time.

    Args:
        folder: A diffusers folder, as `resolve_base` returns it.

    Raises:
        BaseModelError: it is of no supported family, lacks a file, or holds a damaged safetensors file.
    """
    family = family_at(folder)
    matrices: dict[str, dict[str, Any]] = {}
    parameters = 0
    for path in weight_files(folder, denoiser_part(folder)):
        header = read_header(path)
        for name, facts in header.items():
            parameters += math.prod(facts["shape"])
            if KV_MATRIX.search(name):
                weight = read_tensor(path, facts)
                matrices[name] = {
                    "shape": list(facts["shape"]),
                    "sha256": hashlib.sha256(weight.astype("<f4").tobytes()).hexdigest(),
                    "exponent": grid.exponent(weight, family.grid_bits),
                }
    if not matrices:
        raise unsupported(folder, "it has no attn2.to_k or attn2.to_v matrix, and the method changes nothing else")
    return BaseFacts(family.name, file_digests(folder), dict(sorted(matrices.items())), parameters)


def check_finite(folder: Path) -> None:
    """Look at every weight of a base: one that is NaN makes every picture black.

    Raises:
        BaseModelError: one is NaN or infinite; names its tensor.
    """
    for component in models_of(folder):
        for path in weight_files(folder, component):
            if (name := first_not_finite(path)) is not None:
                raise BaseModelError(
                    f"{path} holds NaN or infinity, in {name}: every picture would be black",
                    "Get the base model again from where it is published, or save it anew, in float32",
                    source=str(folder),
                )


def check_base(folder: Path, components: Mapping[str, Mapping[str, str]]) -> None:
    """Make sure that a folder still holds the base it is said to hold.

    Args:
        folder: A diffusers folder.
        components: What `BaseFacts.components` was when the base was first described.

    Raises:
        BaseModelError: a file differs, is missing or is new; `changed` lists each with both digests.
    """
    found = file_digests(folder)
    changed = []
    for component in sorted({*components, *found}):
        expected_files, found_files = components.get(component, {}), found.get(component, {})
        for name in sorted({*expected_files, *found_files}):
            expected, actual = expected_files.get(name, "absent"), found_files.get(name, "absent")
            if expected != actual:
                changed.append((f"{component}/{name}", expected, actual))
    if changed:
        shown = "; ".join(f"{name} is {new[:12]}, expected {old[:12]}" for name, old, new in changed[:3])
        more = f"; and {len(changed) - 3} more files" if len(changed) > 3 else ""
        raise BaseModelError(
            f"the base model at {folder} is not the one that this registry was made on: {shown}{more}",
            "Put the original files back, or name their folder: cns config base.source FOLDER",
            source=str(folder),
            changed=changed,
        )


def file_digests(folder: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of every file that identifies a base: component -> {file name: hex}.

    Raises:
        BaseModelError: a component has no config or no weights.
    """
    parts = parts_of(folder)
    found = {part: {path.name: file_sha256(path) for path in component_files(folder, part)} for part in parts}
    if "text_encoder_2" in parts or "transformer" in parts:  # only there the index says how prompts are read
        found["pipeline"] = {"model_index.json": file_sha256(folder / "model_index.json")}
    return found


def family_at(folder: Path) -> Family:
    """The family of the base in a folder, by its configs; raises BaseModelError as `cns.families.family_of`."""
    texts = [part for part in parts_of(folder) if part.startswith("text_encoder")]
    return family_of(*(read_json(folder / part / "config.json") for part in (denoiser_part(folder), *texts)))


def resolution_of(folder: Path) -> int:
    """Side in pixels of the images that a base makes, by its configs, whatever its family.

    Raises:
        BaseModelError: they do not say it.
    """
    vae = read_json(folder / "vae" / "config.json")
    levels = vae.get("block_out_channels", vae.get("encoder_block_out_channels"))
    if not isinstance(levels, list):
        raise unsupported(folder, "its vae/config.json names no block_out_channels")
    return int(latent_side(read_json(folder / denoiser_part(folder) / "config.json")) * 2 ** (len(levels) - 1))
