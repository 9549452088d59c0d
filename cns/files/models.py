"""The files of a model folder, as little as must be known to trust them: configs, weights, digests.

A folder may come from anybody. Configs are small JSON objects of bounded numbers; weights are safetensors, never a
pickle, and their tables are read before their bytes; whatever would have a library load something else than what was
looked at (a table of shards that leads elsewhere, an adapter, another implementation named in a config) is refused.
Links are followed, since a hub's cache is made of them, but only to plain files. No torch here.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from cns.errors import BaseModelError
from cns.files.plain import open_plain, reason_of
from cns.files.tensors import read_header

MAX_CONFIG_BYTES = 2**20
MAX_TOKENIZER_BYTES = 64 * 2**20  # of one file; CLIP's has 4 MB, Gemma's 34
MAX_NUMBER = 2**20  # in a config; the largest known is a vocabulary of 256,000
MAX_LAYERS = 64
MAX_ITEMS = 1000  # of a list in a config, such as the betas of a scheduler
MAX_CONFIG_DEPTH = 6
HASHED_BYTES = 2**24  # read at a time: beside a thread that computes, each piece waits for its turn

# Keys by which a config has a library run or load something that is not in the folder, or in another way.
REFUSED_KEYS = {
    "auto_map", "custom_pipeline", "quantization_config", "attn_implementation", "_attn_implementation",
    "_attn_implementation_internal", "experts_implementation", "base_model_name_or_path", "trust_remote_code",
}  # fmt: skip
ENDLESS = ("lambda_min_clipped", -math.inf)  # of DPM++ schedulers as diffusers writes them: nothing is clipped
SENTENCEPIECE = "spiece.model"  # the vocabulary of a T5 as it was published: protocol buffers, no code
REFUSED_FILES = ("adapter_config.json",)


def check_part(folder: Path, component: str) -> None:
    """Look at one part of a model folder before a library does.

    Args:
        folder: The model's folder.
        component: Its part: a folder in it, or "." for a folder that is one model.

    Raises:
        BaseModelError: a config holds what no supported model needs, or would have something else loaded.
    """
    place = folder / component
    for name in REFUSED_FILES:
        if (place / name).exists():
            raise _refused(place / name, "it would have another model loaded")
    for path in sorted([*place.glob("*.json"), *place.glob(SENTENCEPIECE)]):
        if path.stat().st_size > MAX_TOKENIZER_BYTES:
            raise _refused(path, f"it has more than {MAX_TOKENIZER_BYTES:,} bytes")
        if path.name.endswith("config.json"):
            check_config(path)


def check_config(path: Path) -> dict[str, Any]:
    """Read a config whose numbers a library takes for sizes; raises BaseModelError as `check_part`."""
    config = read_json(path)
    is_tokenizer = path.name == "tokenizer_config.json"  # its numbers are ids and lengths, and its lists are long
    _check_values(path, "", config, 0, is_tokenizer)
    return config


def tensors_of(paths: list[Path]) -> int:
    """Number of weights in safetensors files, by their tables; raises BaseModelError where one is damaged."""
    return sum(math.prod(facts["shape"]) for path in paths for facts in read_header(path).values())


def _check_values(path: Path, key: str, value: Any, depth: int, is_tokenizer: bool) -> None:
    if depth > MAX_CONFIG_DEPTH:
        raise _refused(path, "it is nested too deeply")
    if isinstance(value, dict):
        if odd := sorted(name for name in REFUSED_KEYS & value.keys() if value[name] is not None):
            raise _refused(path, f"{odd[0]} would have something loaded that is not in this folder")
        for name, inner in value.items():
            _check_values(path, name, inner, depth + 1, is_tokenizer)
    elif isinstance(value, list) and not is_tokenizer:
        if len(value) > MAX_ITEMS:
            raise _refused(path, f"{key} is a list of {len(value):,}; at most {MAX_ITEMS:,} are read")
        for inner in value:
            _check_values(path, key, inner, depth + 1, is_tokenizer)
    elif isinstance(value, (int, float)) and not is_tokenizer:
        most = MAX_LAYERS if "layers" in key else MAX_NUMBER
        if not abs(value) <= most and (key, value) != ENDLESS:
            raise _refused(path, f"{key} is {str(value)[:40]}; at most {most:,} is read")


def _refused(path: Path, reason: str) -> BaseModelError:
    return BaseModelError(
        f"{path} is not used: {reason}",
        "Get the base model again from where it is published",
        source=str(path.parent),
    )


def component_files(folder: Path, component: str) -> list[Path]:
    """The files of one component that the method loads, in the order of their names."""
    place = folder / component
    if component.startswith("tokenizer"):
        files = [*place.glob("*.json"), *place.glob("merges.txt"), *place.glob(SENTENCEPIECE)]
    elif component == "scheduler":
        files = list(place.glob("scheduler_config.json"))
    else:
        files = [*place.glob("config.json"), *weight_files(folder, component)]
    if not files:
        raise BaseModelError(f"the base at {folder} lacks its {component}", source=str(folder))
    return sorted(files)


def weight_files(folder: Path, component: str) -> list[Path]:
    """The safetensors files of a component: one, or its shards, of the fp16 variant only where there is no other.

    Raises:
        BaseModelError: there is none.
    """
    stem = "model" if component.startswith("text_encoder") else "diffusion_pytorch_model"
    place = folder / component
    for suffix in ("", ".fp16"):
        for pattern in (f"{stem}{suffix}.safetensors", f"{stem}{suffix}-?????-of-?????.safetensors"):
            if files := sorted(place.glob(pattern)):
                _check_table_of_shards(place, stem, suffix, files)
                return files
    pickles = sorted(path.name for path in place.glob("*.bin"))
    raise BaseModelError(
        f"{place} has no {stem}.safetensors"
        + (f"; {pickles[0]} is a pickle, which can run code and is never loaded" if pickles else ""),
        "Save the model as safetensors: pipeline.save_pretrained(FOLDER, safe_serialization=True)",
        source=str(folder),
    )


def _check_table_of_shards(place: Path, stem: str, suffix: str, files: list[Path]) -> None:
    """Make sure that what the libraries load by the table of shards is what `weight_files` names.

    They look for the table first: one beside a whole file, or one that names files elsewhere, would have other weights
    loaded than those whose digests were compared.

    Raises:
        BaseModelError: it would.
    """
    names = {path.name for path in files}
    for table in (f"{stem}.safetensors.index{suffix}.json", f"{stem}{suffix}.safetensors.index.json"):
        path = place / table
        if path.exists():
            listed = read_json(path).get("weight_map")
            if not isinstance(listed, dict) or set(map(str, listed.values())) != names:
                raise BaseModelError(
                    f"{path} names other files than {', '.join(sorted(names)[:3])}: they would be loaded unchecked",
                    "Remove it, or get the base model again from where it is published",
                    source=str(place.parent),
                )


def file_sha256(path: Path) -> str:
    """SHA-256 hex of a file, streamed.

    Raises:
        BaseModelError: it is not there, or is no regular file.
    """
    try:
        digest = hashlib.sha256()
        with open_plain(path) as file:
            while piece := file.read(HASHED_BYTES):
                digest.update(piece)
        return digest.hexdigest()
    except OSError as error:
        raise BaseModelError(f"{path} cannot be read: {reason_of(error)}", source=str(path.parent)) from error


def read_json(path: Path) -> dict[str, Any]:
    """A config file.

    Raises:
        BaseModelError: it is missing, larger than a megabyte, or no JSON object.
    """
    try:
        with open_plain(path) as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
        if len(content) > MAX_CONFIG_BYTES:
            raise ValueError(f"it has more than {MAX_CONFIG_BYTES:,} bytes")
        data = json.loads(content.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BaseModelError(f"{path} cannot be read: {reason_of(error)}", source=str(path.parent)) from error
    if not isinstance(data, dict):
        raise BaseModelError(f"{path} holds no JSON object", source=str(path.parent))
    return data
