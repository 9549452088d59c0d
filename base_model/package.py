"""Packaging: the trained parts as one folder in plain diffusers format, fp16, with the judges and the word lists.

`StableDiffusionPipeline.from_pretrained(folder)` loads it; nothing in it is the project's own format except
`identity/`, whose class is `cns.judges.identity.IdentityEncoder`.
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from base_model.calibration import calibration_table, vocabulary_table
from base_model.clip import write_preprocessor
from base_model.stages import Workspace
from base_model.unet import new_scheduler
from cns.judges.identity import IdentityEncoder

MAX_BYTES = 48 * 2**20  # so that the wheel stays small enough to commit and to install


class PackageSizeError(RuntimeError):
    """The packaged folder is over the limit."""


def package(work: Workspace, folder: Path) -> None:
    """Write the packaged base from the results of the trainings; files of other names in the folder stay.

    Raises:
        PackageSizeError: the folder is over 48 MiB.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = CLIPTokenizer.from_pretrained(work.stage("clip") / "tokenizer")
    trained = work.stage("unet")
    unet = UNet2DConditionModel.from_pretrained(trained / "unet")
    vae = AutoencoderKL.from_pretrained(work.stage("vae") / "model")
    for part, name in ((unet, "unet"), (vae, "vae")):
        part.half().save_pretrained(folder / name)
        _forget_origin(folder / name / "config.json")
    text_encoder = CLIPTextModel.from_pretrained(trained / "text_encoder", dtype=torch.float16)
    text_encoder.config.eos_token_id = tokenizer.eos_token_id
    text_encoder.save_pretrained(folder / "text_encoder")
    new_scheduler().save_pretrained(folder / "scheduler")
    tokenizer.save_pretrained(folder / "tokenizer")
    package_judges(work, folder, tokenizer)
    _write_json(folder / "model_index.json", model_index())
    _write_json(folder / "nouns.json", vocabulary_table())
    _write_json(folder / "calibration.json", calibration_table())
    check_size(folder)


def package_judges(work: Workspace, folder: Path, tokenizer: CLIPTokenizer) -> None:
    """Write `clip/` and `identity/`."""
    CLIPModel.from_pretrained(work.stage("clip") / "model", dtype=torch.float16).save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    write_preprocessor(folder / "clip")
    IdentityEncoder.from_pretrained(work.stage("identity") / "model").half().save_pretrained(folder / "identity")


def model_index() -> dict:
    """The contents of `model_index.json`: explicit classes, no safety checker, no feature extractor."""
    absent = [None, None]
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": version("diffusers"),
        "feature_extractor": absent,
        "image_encoder": absent,
        "requires_safety_checker": False,
        "safety_checker": absent,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def folder_bytes(folder: Path) -> int:
    """Sum of the sizes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check_size(folder: Path) -> None:
    """Stop if the folder is too large.

    Raises:
        PackageSizeError: it is.
    """
    found = folder_bytes(folder)
    if found > MAX_BYTES:
        raise PackageSizeError(f"{folder} holds {found} bytes, the limit is {MAX_BYTES}")


def replace_package(built: Path, folder: Path) -> None:
    """Put a freshly built package in the place of an earlier one."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(built, folder)


def _forget_origin(config: Path) -> None:
    """Drop the path that a part was loaded from: it names a folder of the maintainer's machine."""
    contents = json.loads(config.read_text())
    contents.pop("_name_or_path", None)
    _write_json(config, contents)


def _write_json(path: Path, contents: dict) -> None:
    path.write_text(json.dumps(contents, indent=2) + "\n")
